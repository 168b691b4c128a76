"""Ctrl-C, SIGTERM and a closed terminal end the program in one line, however many signals come."""

import atexit
import math
import os
import signal
import sys
import time
from threading import Timer
from typing import Any

from distill.errors import Stopped

STOPPED_BY = (signal.SIGINT, signal.SIGTERM, *((signal.SIGHUP,) if hasattr(signal, "SIGHUP") else ()))  # not Windows
PATIENCE = 10.0  # seconds


class Signals:
    """Turns the signals of STOPPED_BY into Stopped. While that closes files and ends workers, further signals change
    nothing; they count again where it has come to nothing for PATIENCE seconds."""

    def __init__(self) -> None:
        self.number, self.raised_at, self.listening = 0, -math.inf, True
        self.before: dict[int, Any] = {}
        self.hook = sys.unraisablehook

    def listen(self) -> None:
        """From here on."""
        sys.unraisablehook = self._again
        atexit.unregister(_ignore_signals)  # once is enough
        atexit.register(_ignore_signals)
        for number in STOPPED_BY:
            self.before[number] = signal.getsignal(number)
            if self.before[number] is not signal.SIG_IGN:  # as of a program in the background, or under nohup
                signal.signal(number, self._hear)

    def forget(self, *, restore: bool) -> None:
        """Raise nothing from here on; with `restore` others hear of signals again."""
        self.listening = False
        if restore:
            self._restore()

    def _restore(self) -> None:
        sys.unraisablehook = self.hook
        for number, handler in self.before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _hear(self, number: int, _: object) -> None:
        patient = time.monotonic() - self.raised_at <= PATIENCE
        if self.listening and not patient:
            self.number, self.raised_at = self.number or number, time.monotonic()
            raise Stopped(self.number)
        if self.number and not patient:  # a program that went on after us, or does not come to its end
            self._restore()
            os.kill(os.getpid(), number)

    def _again(self, lost: "sys.UnraisableHookArgs") -> None:
        """A signal that fell into a callback whose errors Python drops is raised once more. What else is dropped after
        one comes of what it broke off."""
        if not self.number:
            self.hook(lost)
        elif self.listening and isinstance(lost.exc_value, Stopped):
            self.raised_at = -math.inf
            Timer(0.01, os.kill, (os.getpid(), self.number)).start()


def _ignore_signals() -> None:
    """On the way out, where a signal could only interrupt Python's own end."""
    for number in STOPPED_BY:
        signal.signal(number, signal.SIG_IGN)
