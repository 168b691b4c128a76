"""Every way a run can end badly, each with its exit code. Only `cli` turns them into text and an exit."""

import signal
from collections.abc import Sequence
from typing import Any


def printable(text: str) -> str:
    """One line whatever the text holds: file names, class names and keys are a user's, and hold anything."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class DistillError(Exception):
    """The run failed for a reason the user can act on."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), str(self))  # from one process to another: the kind and the words


def _again(kind: type[DistillError], message: str) -> DistillError:
    error = kind.__new__(kind)
    Exception.__init__(error, message)
    return error


class ConfigError(DistillError):
    """The command line or the configuration is wrong; `faults` holds one message each, all found at once."""

    exit_code = 2
    faults: tuple[str, ...] = ()

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(map(printable, faults))
        Exception.__init__(self, "\n".join(self.faults))


class DivergedError(DistillError):
    """A loss became NaN or infinite. `name` says whose; `model` is what it was after its last good epoch, or None."""

    exit_code = 3
    name = ""
    model: Any = None

    def __init__(self, message: str, name: str, model: Any = None) -> None:
        super().__init__(message)
        self.name, self.model = name, model


class DataError(DistillError):
    """A data or model file cannot be used."""

    exit_code = 4


class OutputError(DistillError):
    """An output cannot be written, or another run holds its folder."""

    exit_code = 5


class Stopped(BaseException):
    """A signal asked the program to stop; like KeyboardInterrupt it passes every `except Exception`."""

    def __init__(self, signal_number: int) -> None:
        by = "Ctrl-C" if signal_number == signal.SIGINT else f"signal {signal_number}"
        super().__init__(f"stopped by {by}")
        self.exit_code = 128 + signal_number
