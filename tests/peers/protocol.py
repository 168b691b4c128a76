"""How the main process and a contender talk: a question and an answer, each one line of JSON, over a pipe.

Every contender is a process of its own, so that thread pools and settings of one cannot disturb another. It lives as
long as the comparison, and sleeps on its standard input while it is not asked.
"""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from time import perf_counter, sleep
from types import TracebackType
from typing import Any, Protocol

from cases import Case

HERE = Path(__file__).parent
# A measurement repeats the training until it lasts this long: the fast ones would drown in the clock's and the
# scheduler's noise, and the slow ones need no repetition.
AT_LEAST = 0.3
# How long one form of a contender is tried before the fastest is chosen.
TRIAL = 1.0
# Before a measurement: thread pools that have just worked wait busily for more, and would disturb the next contender.
PAUSE = 0.1


class Trainer(Protocol):
    """One form of a contender, ready to train one case."""

    def reset(self) -> None:
        """Go back to the first weights and an optimiser without memory. Not timed."""

    def train(self) -> Any:
        """Do the whole training, to its end; returns the loss of every step, or (steps, networks)."""


Forms = Mapping[str, Callable[[], Trainer]]


def serve(forms: Callable[[Case], Forms]) -> None:
    """Answer the main process until it closes the pipe. `forms` names the ways in which a contender can do a case."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # libraries that print must not speak into the answers
    trainer: Trainer | None = None
    case: Case | None = None
    for line in sys.stdin:
        question = json.loads(line)
        if question["do"] == "setup":
            fields = question["case"]
            case = Case(**fields | {"sizes": tuple(fields["sizes"]), "alphas": tuple(fields["alphas"])})
            trainer = None  # what it holds is not needed any more
            trainer, answer = _fastest(forms(case), case)
        else:
            assert trainer, "asked for the time of no case"
            assert case
            answer = {"seconds": _measure(trainer) / case.steps}
        # On Linux in kilobytes.
        answer["peak_memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        answers.write(json.dumps(answer) + "\n")


def _timed(trainer: Trainer) -> tuple[float, Any]:
    trainer.reset()
    started = perf_counter()
    losses = trainer.train()
    return perf_counter() - started, losses


def _measure(trainer: Trainer) -> float:
    """Seconds of one training."""
    total, times = 0.0, 0
    while total < AT_LEAST:
        total += _timed(trainer)[0]
        times += 1
    return total / times


def _fastest(forms: Forms, case: Case) -> tuple[Trainer | None, dict[str, Any]]:
    """Try every form for a while and keep the fastest. The first call of each, which may compile, stands apart."""
    best: Trainer | None = None
    answer: dict[str, Any] = {"tried": {}, "failed": {}}
    for form, make in forms.items():
        try:
            trainer = make()
            first, losses = _timed(trainer)
            seconds: list[float] = []
            while len(forms) > 1 and sum(seconds) < TRIAL:
                seconds.append(_timed(trainer)[0])
        except Exception as error:  # a form that cannot work here is no reason to lose the others
            answer["failed"][form] = f"{type(error).__name__}: {error}"[:2000]
            continue
        answer["tried"][form] = min(seconds, default=first) / case.steps
        if min(answer["tried"], key=answer["tried"].__getitem__) == form:
            best = trainer
            answer |= {"form": form, "first": first, "losses": _plain(losses, case)}
    return best, answer


def _plain(losses: Any, case: Case) -> list[list[float]] | None:
    if losses is None:
        return None
    return [one if isinstance(one, list) else [one] for one in losses[: case.compared].tolist()]


class ContenderError(Exception):
    """A contender ended, or can do a case in no form."""


class Contender:
    """A contender as the main process sees it."""

    def __init__(self, name: str, python: Path, script: str, environment: Mapping[str, str], logs: Path) -> None:
        """Start `script`, the name of a file in this folder with its arguments."""
        self.name = name
        self.log = logs / f"{name.replace(' ', '-')}.log"
        file, *arguments = script.split()
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [python, HERE / file, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment,
            )
        assert self.process.stdin
        assert self.process.stdout
        self.questions, self.answers = self.process.stdin, self.process.stdout

    def __enter__(self) -> "Contender":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if kind is not None:
            self.process.kill()
        with suppress(BrokenPipeError):  # it ended before
            self.questions.close()  # the sign to end
        self.process.wait()
        self.answers.close()

    def setup(self, case: Case) -> dict[str, Any]:
        """Make ready for a case; what it says of its forms, its first call and its first losses."""
        answer = self._ask({"do": "setup", "case": asdict(case)})
        if not answer["tried"]:
            raise ContenderError("; ".join(f"{form}: {text}" for form, text in answer["failed"].items()))
        return answer

    def time(self) -> float:
        """Seconds of one step of the case, the mean over a training."""
        sleep(PAUSE)
        return float(self._ask({"do": "time"})["seconds"])

    def _ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        try:
            self.questions.write(json.dumps(question) + "\n")
            self.questions.flush()
            line = self.answers.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise ContenderError(f"ended with {self.process.poll()}: {self.log.read_text()[-2000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer
