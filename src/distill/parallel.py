"""The same function on many items, on all cores, with the same results whatever their number."""

import os
import signal
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from threading import Thread
from typing import Any

from distill.errors import DistillError

_task: Callable[[Any], Any] | None = None


def each(function: Callable[[Any], Any], items: Sequence[Any], workers: int | None) -> Iterator[Any]:
    """The results in the items' order, each as soon as it and those before it are there.

    With more than one worker (None: one a core) the items are shared among forked processes, which inherit `function`
    and what it refers to; only items and results travel. Where the system cannot fork safely, one worker does it all.
    """
    if not items:
        return
    import multiprocessing  # 20 ms of start-up that a run of one seed need not pay
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    workers = min(workers or os.cpu_count() or 1, len(items))
    can_fork = "fork" in multiprocessing.get_all_start_methods() and os.uname().sysname != "Darwin"
    if workers < 2 or not can_fork or multiprocessing.current_process().daemon:
        yield from map(function, items)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads: BLAS has handlers for that
        with ProcessPoolExecutor(
            workers, multiprocessing.get_context("fork"), _inherit, (function, os.getpid())
        ) as pool:
            try:
                yield from pool.map(_call, items)
            except BrokenProcessPool:
                what = "a worker process was killed, perhaps for want of memory; lower evidence.workers, or free memory"
                raise DistillError(what) from None
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for child in multiprocessing.active_children():
                    child.kill()  # rather than wait for the item that it is at
                    child.join()
                raise


def _inherit(function: Callable[[Any], Any], parent: int) -> None:
    global _task
    _task = function
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears Ctrl-C and ends its workers
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """A worker whose parent was killed would wait for ever, and hold the lock of the run's folder."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _call(item: Any) -> Any:
    assert _task is not None
    return _task(item)
