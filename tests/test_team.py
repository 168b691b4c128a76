"""Threads that share work: every job once, no error lost, none left behind, the same rules for numbers in each."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from distill.train import threads as room
from distill.train.threads import ALONE, Team, team_of

WAIT = 30.0  # how long a test waits at most for what takes no time


@pytest.fixture(autouse=True)
def _nobody_stays() -> Iterator[None]:
    """Every test here ends with the threads that it began with."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(WAIT)
        assert not thread.is_alive(), "a helper outlived its team"


def all_at_once(threads: int, job: Callable[[], None]) -> Callable[[int], None]:
    """A function that does the job in each of so many threads: none begins before every one has taken its own."""
    meeting = threading.Barrier(threads, timeout=WAIT)

    def function(_: int) -> None:
        meeting.wait()
        job()

    return function


@pytest.mark.parametrize("jobs", [0, 1, 2, 7, 1000])
@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_every_job_is_done_once(threads: int, jobs: int) -> None:
    done: list[int] = []
    with team_of(threads) as team:
        for _ in range(20):
            team.run(done.append, range(jobs))
            team.run(done.append, [-1 - i for i in range(jobs)])
    assert Counter(done) == dict.fromkeys(range(-jobs, jobs), 20)


def test_when_run_returns_every_job_is_over() -> None:
    over: list[int] = []

    def slow(i: int) -> None:
        time.sleep(0.01)
        over.append(i)

    with team_of(3) as team:
        for jobs in (1, 3, 4):
            over.clear()
            team.run(slow, range(jobs))
            assert sorted(over) == list(range(jobs))


def test_jobs_are_done_at_the_same_time_by_all_threads_the_caller_among_them() -> None:
    seen: set[int] = set()
    with team_of(3) as team:
        team.run(all_at_once(3, lambda: seen.add(threading.get_ident())), range(3))
    assert len(seen) == 3
    assert threading.get_ident() in seen


@pytest.mark.parametrize("alone", [Team(1), ALONE], ids=["a team of one", "ALONE"])
def test_one_thread_works_in_order_and_starts_no_other(alone: Team) -> None:
    before, done = threading.active_count(), []

    def note(i: int) -> None:
        done.append((i, threading.get_ident(), threading.active_count()))

    alone.run(note, iter([3, 1, 2]))
    assert done == [(i, threading.get_ident(), before) for i in (3, 1, 2)]


# --- errors -----------------------------------------------------------------------------------------------------------


class JobError(Exception):
    """What no job of ours raises."""


def test_an_error_in_a_helpers_job_is_raised_by_run() -> None:
    caller = threading.get_ident()

    def fails() -> None:
        if threading.get_ident() != caller:
            raise JobError("a helper's")

    with team_of(2) as team:
        for _ in range(3):
            with pytest.raises(JobError, match="a helper's"):
                team.run(all_at_once(2, fails), range(2))


def test_an_error_in_the_callers_job_is_raised_when_the_helpers_are_done() -> None:
    caller, done = threading.get_ident(), []

    def fails() -> None:
        if threading.get_ident() == caller:
            raise JobError("the caller's")
        time.sleep(0.05)
        done.append(1)

    with team_of(3) as team:
        with pytest.raises(JobError, match="the caller's"):
            team.run(all_at_once(3, fails), range(3))
        assert done == [1, 1]


def test_of_several_errors_one_is_raised_and_none_is_kept_for_later() -> None:
    def fails() -> None:
        raise JobError

    done: list[int] = []
    with team_of(3) as team:
        with pytest.raises(JobError):
            team.run(all_at_once(3, fails), range(3))
        team.run(done.append, range(10))  # which has no part in it
    assert sorted(done) == list(range(10))


def test_a_team_of_one_raises_at_once() -> None:
    done: list[int] = []

    def fails(i: int) -> None:
        if i == 2:
            raise JobError
        done.append(i)

    with pytest.raises(JobError):
        Team(1).run(fails, range(5))
    assert done == [0, 1]


# --- the end ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_helpers_end_with_the_team(threads: int) -> None:
    before = set(threading.enumerate())
    with team_of(threads) as team:
        team.run(lambda _: None, range(10))
        helpers = set(threading.enumerate()) - before
        assert len(helpers) == threads - 1
        assert all(helper.daemon for helper in helpers), "an interpreter that ends would wait for them"
    for helper in helpers:
        helper.join(WAIT)
        assert not helper.is_alive()


def test_helpers_end_with_the_team_after_an_error_too() -> None:
    before, helpers = set(threading.enumerate()), set()

    def breaks() -> None:
        with team_of(3):
            helpers.update(set(threading.enumerate()) - before)
            raise JobError

    with pytest.raises(JobError):
        breaks()
    assert len(helpers) == 2
    for helper in helpers:
        helper.join(WAIT)
        assert not helper.is_alive()


def test_a_dismissed_team_works_on_with_its_caller_alone() -> None:
    done: list[int] = []
    with team_of(3) as team:
        pass
    team.dismiss()  # twice is once
    team.run(done.append, range(5))
    assert done == list(range(5))


def test_a_team_can_be_dismissed_before_its_helpers_have_woken() -> None:
    """Ctrl-C may come when they were called and are still asleep; it must not turn into another error."""
    for _ in range(200):
        team = Team(3)
        for helper in team.helpers:
            helper.start.release()  # as `run` does
        team.dismiss()


# --- numbers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["ignore", "raise"])
def test_every_thread_treats_numbers_as_the_one_that_made_the_team(rule: Any) -> None:
    """What NumPy does about an overflow belongs to a thread, or to its context; a new one would warn."""
    seen: list[set[Any]] = []
    with np.errstate(all=rule), team_of(3) as team:
        team.run(all_at_once(3, lambda: seen.append(set(np.geterr().values()))), range(3))
    assert seen == [{rule}] * 3


def test_no_thread_prints_a_warning_where_they_are_switched_off() -> None:
    large = np.full(4, 3e38, np.float32)

    def overflow() -> None:
        assert np.isinf(large * large).all()
        assert np.isnan(large * np.inf - large * np.inf).all()

    with np.errstate(all="ignore"), team_of(3) as team:  # warnings are errors here, and `run` would raise them
        team.run(all_at_once(3, overflow), range(3))


# --- rest -------------------------------------------------------------------------------------------------------------


def heard(team: room.Team, rounds: int, together: float, alone: float) -> list[bool]:
    """Which of so many rounds were shared, where a shared one takes so long and one of the caller alone so long."""
    ways = []
    for _ in range(rounds):
        ways.append(team.together)
        team.hear(together if team.together else alone)
    return ways


def test_a_team_rests_while_its_caller_is_quicker_alone_and_tries_again_from_time_to_time() -> None:
    first, again = room.TRIES[True], room.TRY_AFTER
    with team_of(2) as team:
        ways = heard(team, first + 1 + 3 * (again + first), 2.0, 1.0)
    assert ways[: first + 2] == [True] * first + [False, False]
    assert sum(ways) == first + 3 * first, "a few shared rounds after every so many"


def test_a_team_stays_together_while_that_is_quicker_and_tries_the_caller_alone() -> None:
    with team_of(2) as team:
        ways = heard(team, 3 * room.TRY_AFTER, 1.0, 2.0)
    assert ways[: room.TRIES[True] + 2] == [True] * room.TRIES[True] + [False, True]
    assert 2 <= sum(not one for one in ways) <= 3


def test_a_team_comes_back_when_the_other_program_is_gone() -> None:
    with team_of(2) as team:
        assert not all(heard(team, 20, 5.0, 1.0)[-10:])
        heard(team, room.TRY_AFTER + 5, 0.5, 1.0)
        assert team.together


def test_a_team_rests_soon_after_another_program_has_come() -> None:
    with team_of(2) as team:
        heard(team, 30, 1.0, 1.8)
        assert team.together
        assert not any(heard(team, 20, 5.0, 1.8)[-10:])


def test_delays_are_no_verdict() -> None:
    """Two slow rounds among quick ones, such as those of a process that the system lets wait."""
    with team_of(2) as team:
        heard(team, 20, 1.0, 3.0)
        heard(team, 2, 1000.0, 3.0)
        assert all(heard(team, 20, 1.0, 3.0))


def test_while_a_team_rests_the_caller_does_everything_in_order() -> None:
    done: list[tuple[int, int]] = []
    with team_of(3) as team:
        heard(team, 10, 2.0, 1.0)
        assert not team.together
        team.run(lambda i: done.append((i, threading.get_ident())), range(50))
    assert done == [(i, threading.get_ident()) for i in range(50)]


@pytest.mark.parametrize(("threads", "paced"), [(1, True), (1, False), (2, False)])
def test_a_team_of_one_or_without_pace_heeds_no_time(threads: int, paced: bool) -> None:
    with team_of(threads, paced) as team:
        for _ in range(2 * room.TRY_AFTER):
            assert team.together == (threads > 1)
            team.hear(100.0)


def test_a_team_is_as_large_as_the_system_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    allowed = iter(range(2))

    class Refused(room.Thread):
        def start(self) -> None:
            if next(allowed, None) is None:
                raise RuntimeError("can't start new thread")
            super().start()

    monkeypatch.setattr(room, "Thread", Refused)
    done: list[int] = []
    with team_of(100) as team:
        assert len(team.helpers) == 2
        team.run(done.append, range(10))
    assert sorted(done) == list(range(10))


def test_no_more_helpers_are_woken_than_there_are_jobs_for() -> None:
    with team_of(4, paced=False) as team:
        woken: list[int] = []
        for i, helper in enumerate(team.helpers):
            original = helper.start

            class Watched:
                def __init__(self, number: int, lock: Any) -> None:
                    self.number, self.lock = number, lock

                def release(self) -> None:
                    woken.append(self.number)
                    self.lock.release()

                def acquire(self) -> None:
                    self.lock.acquire()

            helper.start = Watched(i, original)  # type: ignore[assignment]
        team.run(lambda job: None, range(2))
        assert woken == [0]
        team.run(lambda job: None, range(1))
        assert woken == [0]
