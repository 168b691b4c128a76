"""The same function on many items, on all cores, with the same results whatever their number."""

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

# Seconds between two looks at the workers, and after how many without a result and without work they are given up.
POLL, SILENCE = 0.5, 120.0
GIVEN_UP = 10.0  # until a killed process that the system does not end is left to itself
LEAST_WORK = 0.001  # of a core's time: a thread that only waits takes less

_is_worker = False


def inside_worker() -> bool:
    """Whether this process is a worker of `each`, in which the threads of its parent do not exist."""
    return _is_worker


def each(function: Callable[[Any], Any], items: Sequence[Any], workers: int | None) -> Iterator[Any]:
    """The results in the items' order, each as soon as it and those before it are there.

    With more than one worker (None: one a core) the items are shared among forked processes, which inherit `function`
    and what it refers to; only items and results travel. Where the system cannot fork safely, one worker does it all.
    Raises what the function raises, and DistillError where a worker dies, or none of them works for SILENCE seconds.
    """
    if not items:
        return
    import multiprocessing  # 20 ms of start-up that a run of one seed need not pay

    workers = min(workers or os.cpu_count() or 1, len(items))
    can_fork = "fork" in multiprocessing.get_all_start_methods() and os.uname().sysname != "Darwin"
    if workers < 2 or not can_fork or multiprocessing.current_process().daemon:
        yield from map(function, items)
        return
    with ExitStack() as end:
        scratch: str | None = None
        with suppress(OSError):  # what a worker that is killed leaves there ends with the folder
            folder = tempfile.TemporaryDirectory(prefix="distill-workers-", ignore_cleanup_errors=True)
            scratch = end.enter_context(folder)
        yield from _shared(function, items, end.enter_context(_crew(function, workers, scratch)))


class _Worker:
    """A forked process, the pipe to it, and the number of the item that it is at."""

    def __init__(self, function: Callable[[Any], Any], scratch: str | None) -> None:
        from multiprocessing import get_context

        context = get_context("fork")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(
            target=_serve, args=(function, theirs, self.pipe, os.getpid(), scratch), daemon=True
        )
        self.process.start()
        theirs.close()  # so that the pipe ends with the worker
        self.item: int | None = None

    def take(self, number: int, item: Any) -> None:
        """Begin with an item."""
        self.item = number
        with suppress(OSError):  # it is dead: its pipe tells
            self.pipe.send(item)

    def result(self) -> tuple[int, Exception | None, Any]:
        """The number of the item that it is done with, and its error or its value."""
        assert self.item is not None
        try:
            error, value = self.pipe.recv()
        except (EOFError, OSError):
            time.sleep(0.2)  # a signal to all of us is raised here rather than told as their death
            what = "a worker process was killed, perhaps for want of memory; lower evidence.workers, or free memory"
            raise DistillError(what) from None
        number, self.item = self.item, None
        return number, error, value


@contextmanager
def _crew(function: Callable[[Any], Any], size: int, scratch: str | None) -> Iterator[list[_Worker]]:
    """So many workers, killed at the end rather than waited for."""
    import warnings

    crew: list[_Worker] = []
    try:
        with _signals_held(), warnings.catch_warnings():  # a child minds signals in its own way before it hears any
            warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads: BLAS has handlers for that
            while len(crew) < size:
                crew.append(_Worker(function, scratch))
        yield crew
    finally:
        with _signals_held():
            for worker in crew:
                worker.process.kill()
            for worker in crew:
                worker.process.join(GIVEN_UP)
                worker.pipe.close()


@contextmanager
def _signals_held() -> Iterator[None]:
    """Signals wait, so that no child is started and forgotten."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPED_BY)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _shared(function: Callable[[Any], Any], items: Sequence[Any], crew: Sequence[_Worker]) -> Iterator[Any]:
    """The results in order. An error is raised in its item's place."""
    from multiprocessing.connection import wait

    done: dict[int, tuple[Exception | None, Any]] = {}
    left, watch = iter(enumerate(items)), _Watch()
    for worker, job in zip(crew, left, strict=False):  # never more workers than items
        worker.take(*job)
    for number in range(len(items)):
        while number not in done:
            busy = {worker.pipe: worker for worker in crew if worker.item is not None}
            ready = wait(list(busy), POLL)
            watch.look([worker.process.pid for worker in busy.values()], moved=bool(ready))
            for pipe in ready:
                worker = busy[pipe]  # type: ignore[index]
                finished, error, value = worker.result()
                done[finished] = error, value
                if following := next(left, None):
                    worker.take(*following)
        error, value = done.pop(number)
        if error is not None:
            raise error
        yield value


class _Watch:
    """Counts the looks at which nothing had moved: a clock would count a suspended machine's sleep, too."""

    def __init__(self) -> None:
        self.silent, self.worked = 0, 0.0

    def look(self, processes: Sequence[int | None], moved: bool) -> None:
        """Raise DistillError where the busy workers did nothing at all these looks for too long."""
        worked = _seconds(processes)
        self.silent += 1
        if moved or worked is None or abs(worked - self.worked) > LEAST_WORK * self.silent * POLL:
            self.silent, self.worked = 0, worked or 0.0
        if self.silent * POLL >= SILENCE:
            what = f"the worker processes did no work for {self.silent * POLL:.0f} s, and were ended"
            raise DistillError(
                f"{what}; they may wait for threads of a library, which do not exist in them: set evidence.workers: 1"
            )


def _seconds(processes: Sequence[int | None]) -> float | None:
    """Processor time that they have taken together; None where the system does not tell, or one of them is stopped."""
    ticks = 0
    for process in processes:
        try:
            text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
        state = text.rpartition(")")[2].split()  # the name before it holds anything
        if state[0] in "Tt":
            return None
        ticks += int(state[11]) + int(state[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _serve(function: Callable[[Any], Any], pipe: Any, parents: Any, parent: int, scratch: str | None) -> NoReturn:
    """The life of a worker: item after item, until its parent has no more."""
    global _is_worker
    _is_worker = True
    for number in (signal.SIGINT, signal.SIGHUP):  # the parent hears what a terminal sends, and ends its workers
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPED_BY)
    gc.freeze()  # objects that may own threads are not finalised here
    logging.disable()  # handlers are the parent's: a file that rotates, a thread that does not exist here
    tempfile.tempdir = scratch or tempfile.tempdir
    parents.close()
    Thread(target=_end_with, args=(parent,), daemon=True).start()
    while True:
        try:
            item = pipe.recv()
        except (EOFError, OSError):
            os._exit(0)
        try:
            answer = pickle.dumps((None, function(item)))
        except Exception as error:
            answer = _packed(error)
        with suppress(OSError):
            pipe.send_bytes(answer)


def _packed(error: Exception) -> bytes:
    """An error as it can travel: as it is, with the place that it comes from; or in words."""
    error.add_note(f"in a worker process:\n{format_exc()}")
    try:
        packed = pickle.dumps((error, None))
        pickle.loads(packed)
    except Exception:
        return pickle.dumps((RuntimeError(f"{type(error).__name__}: {error}"), None))
    return packed


def _end_with(parent: int) -> None:
    """A worker whose parent was killed would wait for ever, and hold the lock of the run's folder."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
