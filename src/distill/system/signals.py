"""Ctrl-C, SIGTERM and a closed terminal end the program with one line, however many signals arrive."""

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
GRACE_SECONDS = 10.0  # for closing files and ending workers after a signal


class Signals:
    """Raise Stopped for the first signal of STOPPED_BY.

    Further signals are ignored while files are closed and workers are ended. After GRACE_SECONDS the signal is sent
    once more, and others count again, in case a library caught Stopped or the program does not come to its end.
    """

    def __init__(self) -> None:
        self.number, self.raised_at, self.active = 0, -math.inf, True
        self.previous_handlers: dict[int, Any] = {}
        self.previous_hook = sys.unraisablehook
        self.reminder: Timer | None = None

    def install(self) -> None:
        """Handle signals from now on."""
        sys.unraisablehook = self._raise_again
        atexit.unregister(_ignore_signals)  # once is enough
        atexit.register(_ignore_signals)
        for number in STOPPED_BY:
            self.previous_handlers[number] = signal.getsignal(number)
            if self.previous_handlers[number] is not signal.SIG_IGN:  # as in the background, or under nohup
                signal.signal(number, self._handle)

    def release(self, *, restore: bool) -> None:
        """Raise nothing from now on; with `restore`, give signals back to their previous handlers."""
        self.active = False
        if self.reminder:
            self.reminder.cancel()
        if restore:
            self._restore()

    def _restore(self) -> None:
        sys.unraisablehook = self.previous_hook
        for number, handler in self.previous_handlers.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _handle(self, number: int, _: object) -> None:
        within_grace = time.monotonic() - self.raised_at <= GRACE_SECONDS
        if self.active and not within_grace:
            self.number, self.raised_at = self.number or number, time.monotonic()
            self.reminder = Timer(GRACE_SECONDS + 0.1, os.kill, (os.getpid(), self.number))
            self.reminder.daemon = True
            self.reminder.start()
            raise Stopped(self.number)
        if self.number and not within_grace:  # a program that went on after `main`, or does not come to its end
            self._restore()
            os.kill(os.getpid(), number)

    def _raise_again(self, dropped: "sys.UnraisableHookArgs") -> None:
        """Send the signal again if Stopped was raised in a callback whose exceptions Python drops. Once stopped, other
        dropped exceptions are only its consequences and are not reported."""
        if not self.number:
            self.previous_hook(dropped)
        elif self.active and isinstance(dropped.exc_value, Stopped):
            self.raised_at = -math.inf
            Timer(0.01, os.kill, (os.getpid(), self.number)).start()


def _ignore_signals() -> None:
    """Ignore signals during Python's own shutdown, which they could only interrupt."""
    for number in STOPPED_BY:
        signal.signal(number, signal.SIG_IGN)
