"""What a user sees while a command runs: output, progress, log and error messages."""

import argparse
import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.errors import ConfigError, OutputError

if TYPE_CHECKING:
    from distill.config.schema import Config, Logging

log = logging.getLogger("distill")
STDOUT = Path("/dev/stdout")  # the path of an output that is called -
LOG_FORMAT = "%(asctime)s - %(name)s - %(levelname)s - %(message)s"


def write_output(output: Path, text: str) -> None:
    """Print a text, or write it to a file."""
    if output == STDOUT:
        print(text, end="")
    else:
        from distill.system import files

        files.write_text(output, text)


def output_file(output: Path | None) -> Path | None:
    """Return an output if it is a file, which must not replace another one; None for stdout."""
    return None if output == STDOUT else output


class Progress:
    """Show the training: a line per epoch with --verbose, a bar on a terminal if tqdm is installed, or nothing."""

    def __init__(self, plan: "Config", args: argparse.Namespace) -> None:
        networks = 2 + plan.student.peers
        self.epochs = sum(teacher.epochs for teacher in plan.teachers.values()) + networks * plan.student.epochs
        self.verbose = args.verbose
        self.bar: Any = None
        if not args.verbose and not args.quiet and sys.stderr.isatty():
            with suppress(ImportError):
                from tqdm import tqdm

                self.bar = tqdm(total=self.epochs, unit="epoch", leave=False, file=sys.stderr)

    def __enter__(self) -> Callable[[str, dict[str, Any]], None]:
        return self.show_epoch

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            with suppress(OSError):  # of a terminal that was closed
                self.bar.close()

    def show_epoch(self, name: str, epoch: dict[str, Any]) -> None:
        """Show one more epoch of a network."""
        if self.bar is not None:
            self.bar.set_description(name, refresh=False)
            self.bar.update()
        elif self.verbose:
            figures = "  ".join(f"{key} {value:.4f}" for key, value in epoch.items() if key != "epoch")
            print(f"{name:<8} epoch {epoch['epoch']:>4}  {figures}", file=sys.stderr)


def open_log(settings: "Logging", *, quiet: bool) -> None:
    """Log to stderr, errors alone if `quiet`, and to the plan's file. Raises OutputError if that cannot be written."""
    from logging.handlers import RotatingFileHandler

    log.setLevel(settings.level)
    log.propagate = False
    console = logging.StreamHandler(sys.stderr)
    console.setLevel(logging.ERROR if quiet else logging.NOTSET)
    console.setFormatter(logging.Formatter("%(message)s"))
    log.addHandler(console)
    if settings.file is not None:
        path = Path(settings.file)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = RotatingFileHandler(path, maxBytes=1_000_000, backupCount=3, encoding="utf-8")
        except OSError as error:
            raise OutputError(
                f"{path}: the log cannot be written: {error.strerror}; set logging.file elsewhere"
            ) from None
        file.setFormatter(logging.Formatter(LOG_FORMAT))
        log.addHandler(file)


def close_log() -> None:
    """Close the log's handlers."""
    for handler in log.handlers[:]:
        log.removeHandler(handler)
        handler.close()


def discard_output() -> None:
    """Send what is left in the buffer of stdout nowhere, so that Python does not fail to flush it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def report_error(error: object, code: int) -> int:
    """Print an error, write it to the log file, and return the exit code. A ConfigError is printed a fault a line."""
    text = str(error)
    for handler in log.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handle(log.makeRecord(log.name, logging.ERROR, __file__, 0, text, (), None))
    with suppress(OSError, ValueError):
        print(text if isinstance(error, ConfigError) else f"error: {text}", file=sys.stderr)
    return code
