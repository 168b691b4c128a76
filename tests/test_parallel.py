"""Workers: forked processes that share the items, run no code that may own threads, and never end in silence."""

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


class Homebound:
    """Guesses at random, and only in the process that it was made in, as one that waits for its threads."""

    def __init__(self) -> None:
        self.home = os.getpid()

    def predict_proba(self, x: Array) -> Array:
        assert os.getpid() == self.home, "asked in a worker"
        p = np.random.default_rng(0).dirichlet(np.ones(10), len(x))
        shown = x.reshape(len(x), -1).sum(axis=1).astype(int)
        p[np.arange(len(x)), shown % 10] += 1
        return p / p.sum(axis=1, keepdims=True)


class Owner:
    """Something that would wait for its threads when it is taken away."""

    itself: Any = None
    finalised: Any = None

    def __del__(self) -> None:
        self.finalised.value += 1


class Pids(logging.Handler):
    """A handler of the user's, such as one that sends what it is given by a thread."""

    def __init__(self) -> None:
        super().__init__()
        self.pids: set[int] = set()

    def emit(self, record: logging.LogRecord) -> None:
        self.pids.add(os.getpid())


@pytest.mark.parametrize("stage", ["one", "several"])
def test_an_object_from_python_that_hears_noise_is_asked_at_home(stage: str, caplog: pytest.LogCaptureFixture) -> None:
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
        found = [
            distill.run(plan | {"evidence": evidence | {"workers": n}}, teachers={"it": Homebound()}) for n in (1, 2)
        ]
    assert found[0]["seeds"] == found[1]["seeds"]
    assert found[0]["verdict"] == found[1]["verdict"]
    assert "further seeds run in this process: an object from Python (it) is asked about rows with noise" in caplog.text


def test_an_object_from_python_is_never_asked_in_a_worker() -> None:
    ask = python_teacher.method_of("it", Homebound())
    with pytest.raises(distill.DistillError, match=r"'it': an object from Python was asked in a worker .*workers: 1"):
        list(processes.each(lambda rows: ask(np.ones((rows, 4)), 10), [1, 2], 2))
    assert len(ask(np.ones((2, 4)), 10)) == 2


def test_handlers_of_the_log_are_the_parents() -> None:
    handler, log = Pids(), logging.getLogger("distill")

    def heard(_: int) -> list[int]:
        log.error("a word")
        return sorted(handler.pids)

    log.addHandler(handler)
    try:
        assert list(processes.each(heard, [1, 2, 3], 2)) == [[], [], []]
    finally:
        log.removeHandler(handler)


def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "POLL", 0.05)
    monkeypatch.setattr(processes, "SILENCE", 1.0)


@needs_proc
def test_workers_that_do_nothing_end_in_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch)
    lock = threading.Lock()

    def wait_for_ever(one: int) -> int:
        return one if one == 0 else lock.acquire()

    lock.acquire()
    results = processes.each(wait_for_ever, [0, 1, 2], 2)
    assert next(results) == 0
    with pytest.raises(distill.DistillError, match=r"did no work for 1 s.*set evidence\.workers: 1"):
        next(results)
    assert multiprocessing.active_children() == []


def test_what_a_terminal_sends_is_left_to_the_parent() -> None:
    def struck(number: int) -> int:
        os.kill(os.getpid(), number)
        return number

    numbers = [signal.SIGHUP, signal.SIGINT, signal.SIGHUP]
    assert list(processes.each(struck, numbers, 2)) == numbers


@pytest.mark.parametrize("share", [0.5, 2.0])
def test_threads_that_only_wait_are_no_work(share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch)
    looks = itertools.count()
    monkeypatch.setattr(processes, "_seconds", lambda _: next(looks) * processes.POLL * processes.LEAST_WORK * share)
    results = processes.each(lambda _: time.sleep(2.5), [0, 1], 2)
    if share > 1:
        assert list(results) == [None, None]
    else:
        with pytest.raises(distill.DistillError, match="did no work"):
            next(results)


def test_what_a_worker_leaves_is_gone_and_what_it_inherits_is_not_finalised() -> None:
    finalised, kept = multiprocessing.get_context("fork").Value("i", 0), [Owner()]
    kept[0].itself, kept[0].finalised = kept[0], finalised
    gc.disable()
    try:
        kept.clear()  # garbage, which only a collection takes away

        def work(_: int) -> str:
            gc.collect()
            return tempfile.mkstemp()[1]

        left = list(processes.each(work, [1, 2, 3], 2))
        assert finalised.value == 0
    finally:
        gc.enable()
    assert not any(Path(path).exists() for path in left)


@needs_proc
def test_slow_work_and_a_stopped_machine_are_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
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

    assert list(processes.each(work, [2.5, 0.1], 2)) == [2.5, 0.1]
    assert list(processes.each(stop, [2.5, 0.1], 2)) == [2.5, 0.1]


class OddError(Exception):
    """An error that cannot be made again from its message."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"odd {one + two}")


def raises(error: Any) -> Any:
    raise error


def test_an_error_comes_in_its_item_s_place_and_with_its_words() -> None:
    for error, kind, words in (
        (ValueError("no"), ValueError, "^no"),
        (OddError(1, 2), RuntimeError, "^OddError: odd 3"),
    ):
        results = processes.each(lambda one, error=error: raises(error) if one == 2 else one, [1, 2, 3], 2)
        assert next(results) == 1
        with pytest.raises(kind, match=words):
            next(results)
