"""Map a function over items in forked processes; the number of workers changes no result."""

import gc
import logging
import os
import pickle
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Thread
from traceback import format_exc
from typing import Any, NoReturn

from distill.errors import DistillError
from distill.system.signals import STOPPED_BY

POLL_SECONDS = 0.5  # between two checks of the workers
STALL_SECONDS = 120.0  # without a result and without processor time, after which the workers are ended
KILL_SECONDS = 10.0  # to wait for a killed process
MIN_LOAD = 0.001  # of a core's time: a thread that only waits takes less

_is_worker = False


def inside_worker() -> bool:
    """Return whether this process is a worker of `map_in_processes`; the parent's threads do not exist in one."""
    return _is_worker


def map_in_processes(function: Callable[[Any], Any], items: Sequence[Any], workers: int | None) -> Iterator[Any]:
    """Yield `function(item)` for each item, in order, each as soon as it and those before it are computed.

    With more than one worker (None: one a core) the items are shared among forked processes, which inherit `function`
    and all that it refers to; only items and results are sent. Where the system cannot fork safely, everything is
    computed in this process. Raises what `function` raises, and DistillError if a worker dies or if no worker does
    anything for STALL_SECONDS.
    """
    if not items:
        return
    import multiprocessing  # takes 20 ms, which a run of one seed need not spend

    workers = min(workers or os.cpu_count() or 1, len(items))
    can_fork = "fork" in multiprocessing.get_all_start_methods() and os.uname().sysname != "Darwin"
    if workers < 2 or not can_fork or multiprocessing.current_process().daemon:
        yield from map(function, items)
        return
    with ExitStack() as stack:
        scratch: str | None = None
        with suppress(OSError):  # temporary files of a killed worker are removed with this folder
            folder = tempfile.TemporaryDirectory(prefix="distill-workers-", ignore_cleanup_errors=True)
            scratch = stack.enter_context(folder)
        yield from _results_in_order(items, stack.enter_context(_worker_pool(function, workers, scratch)))


class _Worker:
    """A forked process, the pipe to it, and the number of the item that it works on (None: idle)."""

    def __init__(self, function: Callable[[Any], Any], scratch: str | None) -> None:
        from multiprocessing import get_context

        context = get_context("fork")
        self.pipe, worker_end = context.Pipe()
        self.process = context.Process(
            target=_work, args=(function, worker_end, self.pipe, os.getpid(), scratch), daemon=True
        )
        self.process.start()
        worker_end.close()  # so that reading from the pipe ends with the worker
        self.number: int | None = None

    def start(self, number: int, item: Any) -> None:
        """Send item `number` to the worker."""
        self.number = number
        with suppress(OSError):  # of a dead worker; `receive` reports it
            self.pipe.send(item)

    def receive(self) -> tuple[int, Exception | None, Any]:
        """Return the number of the finished item, its error and its value. Raises DistillError if the worker died."""
        assert self.number is not None
        try:
            error, value = self.pipe.recv()
        except (EOFError, OSError):
            time.sleep(0.2)  # a signal that ended all processes of the group is to be raised here, not this error
            problem = "a worker process was killed, perhaps for want of memory"
            raise DistillError(f"{problem}; lower evidence.workers, or free memory") from None
        number, self.number = self.number, None
        return number, error, value


@contextmanager
def _worker_pool(function: Callable[[Any], Any], size: int, scratch: str | None) -> Iterator[list[_Worker]]:
    """Start `size` workers; kill them at the end."""
    import warnings

    workers: list[_Worker] = []
    try:
        with _signals_blocked(), warnings.catch_warnings():  # until a child has set its own handlers
            warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads: BLAS has handlers for that
            while len(workers) < size:
                workers.append(_Worker(function, scratch))
        yield workers
    finally:
        with _signals_blocked():
            for worker in workers:
                worker.process.kill()
            for worker in workers:
                worker.process.join(KILL_SECONDS)
                worker.pipe.close()


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Delay signals, so that no child is started without being recorded."""
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPED_BY)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


def _results_in_order(items: Sequence[Any], workers: Sequence[_Worker]) -> Iterator[Any]:
    """Yield the results in the items' order; raise an item's error in its place."""
    from multiprocessing.connection import wait

    finished: dict[int, tuple[Exception | None, Any]] = {}
    remaining, stall_detector = iter(enumerate(items)), _StallDetector()
    for worker, job in zip(workers, remaining, strict=False):  # never more workers than items
        worker.start(*job)
    for number in range(len(items)):
        while number not in finished:
            busy = {worker.pipe: worker for worker in workers if worker.number is not None}
            ready = wait(list(busy), POLL_SECONDS)
            stall_detector.check([worker.process.pid for worker in busy.values()], progress=bool(ready))
            for pipe in ready:
                worker = busy[pipe]  # type: ignore[index]
                finished_number, error, value = worker.receive()
                finished[finished_number] = error, value
                if job_left := next(remaining, None):
                    worker.start(*job_left)
        error, value = finished.pop(number)
        if error is not None:
            raise error
        yield value


class _StallDetector:
    """Counts checks in a row without progress. A clock would also count the time that a machine is suspended."""

    def __init__(self) -> None:
        self.idle_checks, self.processor_seconds = 0, 0.0

    def check(self, pids: Sequence[int | None], *, progress: bool) -> None:
        """Raise DistillError if the busy workers have done nothing for STALL_SECONDS."""
        seconds = _processor_seconds(pids)
        self.idle_checks += 1
        least = MIN_LOAD * self.idle_checks * POLL_SECONDS
        if progress or seconds is None or abs(seconds - self.processor_seconds) > least:
            self.idle_checks, self.processor_seconds = 0, seconds or 0.0
        if (idle_seconds := self.idle_checks * POLL_SECONDS) >= STALL_SECONDS:
            problem = f"the worker processes did no work for {idle_seconds:.0f} s, and were ended"
            raise DistillError(
                f"{problem}; they may wait for threads of a library, which do not exist in them: "
                "set evidence.workers: 1"
            )


def _processor_seconds(pids: Sequence[int | None]) -> float | None:
    """Return the processor time of these processes together; None if it is unknown or one of them is stopped."""
    ticks = 0
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
        fields = text.rpartition(")")[2].split()  # after the program's name, which may hold any character
        if fields[0] in "Tt":
            return None
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _work(function: Callable[[Any], Any], pipe: Any, parent_end: Any, parent_pid: int, scratch: str | None) -> NoReturn:
    """Compute one item after another until the parent closes the pipe. Runs in the worker."""
    global _is_worker
    _is_worker = True
    for number in (signal.SIGINT, signal.SIGHUP):  # the parent handles a terminal's signals, and ends its workers
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPED_BY)
    gc.freeze()  # objects that may own threads are not finalised here
    logging.disable()  # handlers are the parent's: a file that rotates, a thread that does not exist here
    tempfile.tempdir = scratch or tempfile.tempdir
    parent_end.close()
    Thread(target=_exit_with_parent, args=(parent_pid,), daemon=True).start()
    while True:
        try:
            item = pipe.recv()
        except (EOFError, OSError):
            os._exit(0)
        try:
            message = pickle.dumps((None, function(item)))
        except Exception as error:
            message = _pickle_error(error)
        with suppress(OSError):
            pipe.send_bytes(message)


def _pickle_error(error: Exception) -> bytes:
    """Return an error with its traceback as a note, pickled; a RuntimeError with its text if it cannot be."""
    error.add_note(f"in a worker process:\n{format_exc()}")
    try:
        pickled = pickle.dumps((error, None))
        pickle.loads(pickled)
    except Exception:
        return pickle.dumps((RuntimeError(f"{type(error).__name__}: {error}"), None))
    return pickled


def _exit_with_parent(parent_pid: int) -> None:
    """End this worker when its parent is gone: it would wait for ever, and hold the lock of the run's folder."""
    while os.getppid() == parent_pid:
        time.sleep(0.5)
    os._exit(1)
