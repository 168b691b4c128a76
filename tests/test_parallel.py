"""Workers: forked processes that share the items, run no code that may own threads, and end with a message."""

import gc
import itertools
import logging
import multiprocessing
import os
import signal
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import distill
from conftest import SMALL
from distill.nn.vector import Array
from distill.system import processes
from distill.teacher import python_teacher

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc to see other processes")


class BoundToProcess:
    """Guesses at random, and only in the process that it was made in, as one that waits for its threads."""

    def __init__(self) -> None:
        self.pid = os.getpid()

    def predict_proba(self, x: Array) -> Array:
        assert os.getpid() == self.pid, "called in a worker"
        p = np.random.default_rng(0).dirichlet(np.ones(10), len(x))
        favoured = x.reshape(len(x), -1).sum(axis=1).astype(int) % 10
        p[np.arange(len(x)), favoured] += 1
        return p / p.sum(axis=1, keepdims=True)


class ThreadOwner:
    """An object that would wait for its threads when it is finalised."""

    cycle: Any = None
    count: Any = None

    def __del__(self) -> None:
        self.count.value += 1


class Pids(logging.Handler):
    """A handler of the user's, such as one that sends its records from a thread."""

    def __init__(self) -> None:
        super().__init__()
        self.pids: set[int] = set()

    def emit(self, record: logging.LogRecord) -> None:
        self.pids.add(os.getpid())


@pytest.mark.parametrize("stage", ["one", "several"])
def test_an_object_from_python_that_predicts_noisy_rows_is_called_in_the_parent(
    stage: str, caplog: pytest.LogCaptureFixture
) -> None:
    response = {"loss": "response", "weight": 1, "teacher": "it"}
    labels = {"loss": "cross_entropy", "weight": 1}
    evidence = {"seeds": 3, "share_teacher": True}
    stages = [{"epochs": 1, "terms": [term]} for term in (response, labels)]
    distillation = SMALL["distillation"] | {"weak_teacher": "warn"}
    plan = SMALL | {
        "distillation": distillation,
        "student": {"noise": 0.1} | ({"terms": [response]} if stage == "one" else {"stages": stages}),
    }
    with caplog.at_level(logging.INFO, "distill"):
        results = [
            distill.run(plan | {"evidence": evidence | {"workers": n}}, teachers={"it": BoundToProcess()})
            for n in (1, 2)
        ]
    assert results[0]["seeds"] == results[1]["seeds"]
    assert results[0]["verdict"] == results[1]["verdict"]
    assert "further seeds run in this process: an object from Python (it) is asked about rows with noise" in caplog.text


def test_an_object_from_python_is_never_called_in_a_worker() -> None:
    predict = python_teacher.method_of("it", BoundToProcess())
    with pytest.raises(distill.DistillError, match=r"'it': an object from Python was asked in a worker .*workers: 1"):
        list(processes.map_in_processes(lambda rows: predict(np.ones((rows, 4)), 10), [1, 2], 2))
    assert len(predict(np.ones((2, 4)), 10)) == 2


def test_workers_log_nothing() -> None:
    handler, log = Pids(), logging.getLogger("distill")

    def log_and_list(_: int) -> list[int]:
        log.error("text")
        return sorted(handler.pids)

    log.addHandler(handler)
    try:
        assert list(processes.map_in_processes(log_and_list, [1, 2, 3], 2)) == [[], [], []]
    finally:
        log.removeHandler(handler)


def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(processes, "STALL_SECONDS", 1.0)


@needs_proc
def test_workers_that_do_nothing_end_in_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch)
    lock = threading.Lock()

    def wait_for_ever(item: int) -> int:
        return item if item == 0 else lock.acquire()

    lock.acquire()
    results = processes.map_in_processes(wait_for_ever, [0, 1, 2], 2)
    assert next(results) == 0
    with pytest.raises(distill.DistillError, match=r"did no work for 1 s.*set evidence\.workers: 1"):
        next(results)
    assert multiprocessing.active_children() == []


def test_workers_ignore_signals_of_a_terminal() -> None:
    def signal_itself(number: int) -> int:
        os.kill(os.getpid(), number)
        return number

    numbers = [signal.SIGHUP, signal.SIGINT, signal.SIGHUP]
    assert list(processes.map_in_processes(signal_itself, numbers, 2)) == numbers


@pytest.mark.parametrize("share", [0.5, 2.0])
def test_threads_that_only_wait_do_not_count_as_work(share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch)
    checks = itertools.count()
    step = processes.POLL_SECONDS * processes.MIN_LOAD * share
    monkeypatch.setattr(processes, "_processor_seconds", lambda _: next(checks) * step)
    results = processes.map_in_processes(lambda _: time.sleep(2.5), [0, 1], 2)
    if share > 1:
        assert list(results) == [None, None]
    else:
        with pytest.raises(distill.DistillError, match="did no work"):
            next(results)


def test_temporary_files_of_workers_are_removed_and_inherited_objects_are_not_finalised() -> None:
    finalised, owners = multiprocessing.get_context("fork").Value("i", 0), [ThreadOwner()]
    owners[0].cycle, owners[0].count = owners[0], finalised
    gc.disable()
    try:
        owners.clear()  # garbage, which only a collection frees

        def work(_: int) -> str:
            gc.collect()
            return tempfile.mkstemp()[1]

        paths = list(processes.map_in_processes(work, [1, 2, 3], 2))
        assert finalised.value == 0
    finally:
        gc.enable()
    assert not any(Path(path).exists() for path in paths)


@needs_proc
def test_slow_work_and_a_stopped_process_are_no_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch)

    def work(seconds: float) -> float:
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass
        return seconds

    def stop(seconds: float) -> float:
        if not os.fork():  # a process that wakes it
            time.sleep(seconds)
            os.kill(os.getppid(), signal.SIGCONT)
            os._exit(0)
        os.kill(os.getpid(), signal.SIGSTOP)
        return seconds

    assert list(processes.map_in_processes(work, [2.5, 0.1], 2)) == [2.5, 0.1]
    assert list(processes.map_in_processes(stop, [2.5, 0.1], 2)) == [2.5, 0.1]


class OddError(Exception):
    """An error that cannot be made again from its message."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"odd {a + b}")


def raises(error: Any) -> Any:
    raise error


def test_an_error_comes_in_its_item_s_place_and_with_its_words() -> None:
    for error, kind, words in (
        (ValueError("no"), ValueError, "^no"),
        (OddError(1, 2), RuntimeError, "^OddError: odd 3"),
    ):
        results = processes.map_in_processes(
            lambda item, error=error: raises(error) if item == 2 else item, [1, 2, 3], 2
        )
        assert next(results) == 1
        with pytest.raises(kind, match=words):
            next(results)
