"""Threads that share the pieces of a step. Who does which piece changes no bit of any result."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from threading import Lock, Thread
from typing import Any

import numpy as np

# A team that works together tries from time to time what its caller does alone, and the other way round: where another
# program keeps a core busy, waiting for a helper costs more than it gives. One try in so many.
TRY_EVERY = 50


class Team:
    """The calling thread and its helpers, each of which takes the next job as soon as it has done one."""

    def __init__(self, threads: int, paced: bool = True) -> None:
        """A team of `threads`, the caller among them; `paced`, it lets them rest while that is quicker."""
        self.helpers = [_Helper(self) for _ in range(threads - 1)]
        self.paced = paced
        self.together = bool(self.helpers)
        self.function: Callable[[Any], None] = _nothing
        self.jobs: Iterator[Any] = iter(())
        self._heard = 0
        self._took: dict[bool, float] = {}

    def run(self, function: Callable[[Any], None], jobs: Iterable[Any]) -> None:
        """Call `function` on every job; jobs must not depend on each other. Raises what a job raised."""
        if not self.together:
            for job in jobs:
                function(job)
            return
        self.function, self.jobs = function, iter(jobs)
        for helper in self.helpers:
            helper.start.release()
        try:
            self.work()
        finally:
            for helper in self.helpers:
                helper.done.acquire()
            errors = [helper.error for helper in self.helpers if helper.error]
            for helper in self.helpers:
                helper.error = None
        if errors:
            raise errors[0]

    def work(self) -> None:
        """Take jobs until there are none."""
        for job in self.jobs:  # a list's iterator hands out each item once, whatever the number of threads
            self.function(job)

    def hear(self, seconds: float) -> None:
        """Learn what some work took, always for the same amount, and choose whether the next ones are shared."""
        if not self.helpers or not self.paced:
            return
        self._heard += 1
        self._took[self.together] = min(seconds, 2 * self._took.get(self.together, seconds))  # one delay is no verdict
        if len(self._took) < 2 or self._heard % TRY_EVERY == 0:
            self.together = not self.together
        else:
            self.together = self._took[True] <= self._took[False]

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
