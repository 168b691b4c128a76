"""Run one command, and turn errors and signals into a message and an exit code."""

import argparse
import io
import os
import signal
import sys
from collections.abc import Sequence

from distill.cli.commands import COMMANDS
from distill.cli.console import close_log, discard_output, report_error
from distill.cli.parser import build_parser
from distill.errors import DistillError, Stopped
from distill.system.signals import Signals

WITHOUT_COMMAND = ("-h", "--help", "--version")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    _prepare_streams()
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in WITHOUT_COMMAND):
        arguments.insert(0, "run")
    args = build_parser().parse_args(arguments)
    signals = Signals()
    try:
        signals.install()
        code = _run_command(args)
        signals.release(restore=argv is not None)
    except BaseException:  # a signal that arrives while a library loads may end it with any exception
        signals.release(restore=not signals.number)
        if not signals.number:
            raise
        stopped = Stopped(signals.number)
        code = report_error(stopped, stopped.exit_code)
    finally:
        close_log()
    return code


def _prepare_streams() -> None:
    """Make stdout and stderr writable: characters that they cannot encode are escaped, closed ones are replaced."""
    for name in ("stdout", "stderr"):
        if isinstance(stream := getattr(sys, name), io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
        elif stream is None:  # closed by the parent process, as some daemons do
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115, PTH123


def _run_command(args: argparse.Namespace) -> int:
    """Run a command; return its exit code."""
    try:
        COMMANDS[args.command](args)
        sys.stdout.flush()
        return 0
    except DistillError as error:
        return report_error(error, error.exit_code)
    except MemoryError as error:
        return report_error(f"not enough memory: {error}; make the networks, the batch or the data smaller", 1)
    except KeyboardInterrupt:
        return report_error(Stopped(signal.SIGINT), 128 + signal.SIGINT)
    except BrokenPipeError:  # the reader of the output, such as `head`, has ended
        discard_output()
        return 128 + signal.SIGPIPE
    except OSError as error:  # of stdout: errors of other files are DistillErrors
        discard_output()
        reason = error.strerror or error
        return report_error(f"the output cannot be printed: {reason}; make room, or print elsewhere", 5)
