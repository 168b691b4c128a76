"""Threads that share the pieces of a step. Who does which piece changes no bit of any result."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from statistics import median
from threading import Lock, Thread
from typing import Any

import numpy as np

# Where another program keeps a core busy, waiting for a helper costs more than it gives. So a team that works together
# tries now and then what its caller does alone, and one that does not tries to work together, often enough to judge.
TRY_AFTER, TRIES, REMEMBERED = 100, {False: 1, True: 3}, 5


class Team:
    """The calling thread and its helpers, each of which takes the next job as soon as it has done one."""

    def __init__(self, threads: int, paced: bool = True) -> None:
        """A team of `threads`, the caller among them, or of as many as the system allows; `paced`, it lets them rest
        while that is quicker."""
        self.helpers: list[_Helper] = []
        with suppress(RuntimeError):  # no more threads
            while len(self.helpers) < threads - 1:
                self.helpers.append(_Helper(self))
        self.paced = paced
        self.together = bool(self.helpers)
        self.function: Callable[[Any], None] = _nothing
        self.jobs: Iterator[Any] = iter(())
        self._took: dict[bool, deque[float]] = {way: deque(maxlen=REMEMBERED) for way in (False, True)}
        self._trying, self._left = False, TRIES[True]

    def run(self, function: Callable[[Any], None], jobs: Sequence[Any]) -> None:
        """Call `function` on every job; jobs must not depend on each other. Raises what a job raised."""
        if not self.together:
            for job in jobs:
                function(job)
            return
        self.function, self.jobs = function, iter(jobs)
        helpers = self.helpers[: max(0, len(jobs) - 1)]
        for helper in helpers:
            helper.start.release()
        try:
            self.work()
        finally:
            for helper in helpers:
                helper.done.acquire()
            errors = [helper.error for helper in helpers if helper.error]
            for helper in helpers:
                helper.error = None
        if errors:
            raise errors[0]

    def work(self) -> None:
        """Take jobs until there are none."""
        for job in self.jobs:  # under the GIL an iterator hands out each item once
            self.function(job)

    def hear(self, seconds: float) -> None:
        """Learn what some work took, always for the same amount, and choose whether the next ones are shared."""
        if not self.helpers or not self.paced:
            return
        now, other = self._took[self.together], self._took[not self.together]
        now.append(seconds)
        self._left -= 1
        slower = bool(other) and len(now) == REMEMBERED and median(now) > 1.2 * median(other)
        if self._left > 0 and (self._trying or not slower):
            return
        if self._trying:
            self.together = median(self._took[True]) <= median(self._took[False])
            self._trying, self._left = False, TRY_AFTER
        else:
            self.together = not self.together
            self._took[self.together].clear()
            self._trying, self._left = True, TRIES[self.together]

    def dismiss(self) -> None:
        """End the helpers."""
        for helper in self.helpers:
            helper.ended = True
            with suppress(RuntimeError):  # an interrupt came before it woke: then it wakes to end
                helper.start.release()
        self.helpers, self.together = [], False


class _Helper:
    def __init__(self, team: Team) -> None:
        self.start, self.done = Lock(), Lock()
        self.start.acquire()
        self.done.acquire()
        self.error: BaseException | None = None
        self.ended = False
        self.rules = np.geterr()  # they belong to a thread or to its context, and a new one would warn
        Thread(target=self._serve, args=(team,), daemon=True).start()

    def _serve(self, team: Team) -> None:
        with np.errstate(**self.rules):
            while True:
                self.start.acquire()
                if self.ended:
                    return
                try:
                    team.work()
                except BaseException as error:
                    self.error = error
                self.done.release()


def _nothing(job: object) -> None:
    pass


ALONE = Team(1)


@contextmanager
def team_of(threads: int, paced: bool = True) -> Iterator[Team]:
    """A team that is dismissed at the end."""
    team = Team(threads, paced)
    try:
        yield team
    finally:
        team.dismiss()
