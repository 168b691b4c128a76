"""Threads that share the pieces of a step. Who does which piece changes no bit of any result."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import Lock, Thread
from typing import Any


class Team:
    """The calling thread and its helpers, each of which takes the next job as soon as it has done one."""

    def __init__(self, threads: int) -> None:
        """A team of `threads`, the caller among them."""
        self.helpers = [_Helper(self) for _ in range(threads - 1)]
        self.alone = not self.helpers
        self.function: Callable[[Any], None] = _nothing
        self.jobs: Iterator[Any] = iter(())

    def run(self, function: Callable[[Any], None], jobs: Iterable[Any]) -> None:
        """Call `function` on every job; jobs must not depend on each other. Raises what a job raised."""
        if self.alone:
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
        for helper in self.helpers:
            if error := helper.error:
                helper.error = None
                raise error

    def work(self) -> None:
        """Take jobs until there are none."""
        for job in self.jobs:  # a list's iterator hands out each item once, whatever the number of threads
            self.function(job)

    def dismiss(self) -> None:
        """End the helpers."""
        for helper in self.helpers:
            helper.ended = True
            helper.start.release()
        self.helpers = []


class _Helper:
    def __init__(self, team: Team) -> None:
        self.start, self.done = Lock(), Lock()
        self.start.acquire()
        self.done.acquire()
        self.error: BaseException | None = None
        self.ended = False
        Thread(target=self._serve, args=(team,), daemon=True).start()

    def _serve(self, team: Team) -> None:
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
def team_of(threads: int) -> Iterator[Team]:
    """A team that is dismissed at the end."""
    team = Team(threads)
    try:
        yield team
    finally:
        team.dismiss()
