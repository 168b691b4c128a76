"""The command line: run (the default), check, bench, predict, evaluate, report. The only room that prints and exits.

Results go to stdout, messages to stderr. NumPy is loaded only after BLAS is kept to one thread.
"""

import argparse
import io
import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.errors import ConfigError, DistillError, OutputError, Stopped
from distill.system import environment
from distill.system.signals import Signals
from distill.version import __version__

if TYPE_CHECKING:
    from distill.config.schema import Config, Logging
    from distill.data.table import Table
    from distill.model import Model

log = logging.getLogger("distill")
STDOUT = Path("/dev/stdout")  # where an output called `-` goes
LOG_FORMAT = "%(asctime)s - %(name)s - %(levelname)s - %(message)s"

EPILOG = """\
exit codes: 0 done, 1 run failed, 2 usage or configuration, 3 diverged, 4 bad model or data file,
5 output not writable or locked, 129/130/143 stopped by a signal
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    for name in ("stdout", "stderr"):
        if isinstance(stream := getattr(sys, name), io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
        elif stream is None:  # closed by whoever started us, as some daemons do
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115, PTH123
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help", "--version")):
        arguments.insert(0, "run")
    args = parser().parse_args(arguments)
    signals = Signals()
    try:
        signals.install()
        code = _carry_out(args)
        signals.release(restore=argv is not None)
    except BaseException:  # a signal that comes while a library loads may end it in any way
        signals.release(restore=not signals.number)
        if not signals.number:
            raise
        stopped = Stopped(signals.number)
        code = _fail(stopped, stopped.exit_code)
    finally:
        _close_log()
    return code


def _carry_out(args: argparse.Namespace) -> int:
    """Run a command; returns its exit code."""
    try:
        COMMANDS[args.command](args)
        sys.stdout.flush()
        return 0
    except DistillError as error:
        return _fail(error, error.exit_code)
    except MemoryError as error:
        return _fail(f"not enough memory: {error}; make the networks, the batch or the data smaller", 1)
    except KeyboardInterrupt:
        return _fail(Stopped(signal.SIGINT), 128 + signal.SIGINT)
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        _drop_output()
        return 128 + signal.SIGPIPE
    except OSError as error:  # every room turns its own into a DistillError; what is left is ours: printing
        _drop_output()
        return _fail(f"the output cannot be printed: {error.strerror or error}; make room, or print elsewhere", 5)


def parser() -> argparse.ArgumentParser:
    """What the command line may hold."""
    top = argparse.ArgumentParser(
        prog="distill",
        description="Knowledge distillation you can trust, in NumPy. Without a command: run; see distill run --help.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"distill {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name: str, what: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=what, description=what, epilog=EPILOG, allow_abbrev=False)

    run = add("run", "train a teacher, distil a student, train the control (the default)")
    _plan_options(run)
    run.add_argument("--output", type=_output, metavar="FILE", help="write the results to this JSON file too")
    run.add_argument("--json", action="store_true", help="print the results as JSON instead of the table")
    loudness = run.add_mutually_exclusive_group()
    loudness.add_argument("--verbose", action="store_true", help="one line per epoch")
    loudness.add_argument("--quiet", action="store_true", help="print nothing but errors (and --json)")

    check = add("check", "validate a configuration and its data, and print the whole plan")
    _plan_options(check)
    check.add_argument(
        "--rows",
        type=_output,
        metavar="FILE",
        help="write which rows of the source are in which set (CSV; - prints them alone)",
    )

    bench = add("bench", "time the steps of a configuration's networks on this machine; trains and writes nothing")
    _plan_options(bench)
    bench.add_argument("--json", action="store_true", help="print the figures as JSON")

    for name, what in (
        ("predict", "classes and probabilities of new rows"),
        ("evaluate", "judge a model on labelled rows"),
    ):
        command = add(name, what)
        kinds = "a CSV, NPZ or NPY file, or IDX images; - is a CSV on stdin"
        command.add_argument("--model", type=_path, required=True, metavar="FILE", help="a teacher.npz or student.npz")
        command.add_argument("--data", type=environment.expand_home, required=True, metavar="PATH", help=kinds)
        if name == "predict":
            command.add_argument("--output", type=_output, metavar="FILE", help="a CSV file (default: -, stdout)")
        else:
            command.add_argument("--label", metavar="COLUMN", help="the label's column name or index in a CSV")
            command.add_argument("--json", action="store_true", help="print the figures as JSON")

    page = add("report", "one HTML page about a finished run")
    page.add_argument("folder", type=_path, metavar="FOLDER", help="the run's folder, such as runs/config")
    page.add_argument("--output", type=_output, metavar="FILE", help="where to (default: FOLDER/report.html)")
    return top


def _path(text: str) -> Path:
    return Path(environment.expand_home(text))


def _output(text: str) -> Path:
    return STDOUT if text == "-" else _path(text)


def _file(output: Path | None) -> Path | None:
    """The output where it is a file, which must not take another's place."""
    return None if output == STDOUT else output


def _write(output: Path, text: str) -> None:
    if output == STDOUT:
        print(text, end="")
    else:
        from distill.system import files

        files.write_text(output, text)


def _plan_options(parser: argparse.ArgumentParser) -> None:
    default = environment.variable("DISTILL_CONFIG", "config.yaml")
    escaped = default.replace("%", "%%")  # argparse formats its help texts
    parser.add_argument("--config", type=_path, default=default, metavar="FILE", help=f"the plan (default: {escaped})")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override, as distillation.alpha=0.5"
    )


def _plan(args: argparse.Namespace) -> "Config":
    """The configuration, before anything loads NumPy."""
    from distill.config.load import load

    plan = load(args.config, args.set)
    environment.threads(plan.performance.threads)  # a bad variable is found before anything is read
    environment.limit_blas_threads()
    return plan


def _run(args: argparse.Namespace) -> None:
    plan = _plan(args)
    from distill import pipeline
    from distill.report import paths
    from distill.report import table as report
    from distill.system import files

    paths.check(plan, {"logging.file": plan.logging.file, "--output": _file(args.output)})
    _open_log(plan.logging, quiet=args.quiet)
    log.info("run of %s", args.config)
    with _Progress(plan, args) as on_epoch:
        results = pipeline.run(plan, on_epoch=on_epoch)
    if args.output:
        _write(args.output, files.to_json(results))
    if args.output == STDOUT:
        return
    if args.json:
        print(files.to_json(results), end="")
    elif not args.quiet:
        print(report.run_text(results))


def _check(args: argparse.Namespace) -> None:
    plan = _plan(args)
    from distill import pipeline
    from distill.report import paths
    from distill.report import table as report
    from distill.report.plan_origin import replacement_warning

    paths.check(plan, {"logging.file": plan.logging.file, "--rows": _file(args.rows)})
    if warning := replacement_warning(plan):
        log.warning(warning)
    data = pipeline.load_data(plan)
    if args.rows:  # before the teachers are looked at: their predictions may not be made yet
        _write(args.rows, report.rows_csv(data))
    else:
        pipeline.examine(plan, data)
    if args.rows != STDOUT:
        print(report.plan_text(plan, data, nothing_written=not args.rows))


def _bench(args: argparse.Namespace) -> None:
    plan = _plan(args)
    from distill import bench, pipeline
    from distill.report import table as report
    from distill.system import files

    data = pipeline.load_data(plan)
    pipeline.examine(plan, data)
    figures = bench.measure(plan, data)
    print(files.to_json(figures) if args.json else report.bench_text(figures), end="" if args.json else "\n")


def _predict(args: argparse.Namespace) -> None:
    model, table = _model_and_rows(args, asked=None)
    from distill import data
    from distill.report import paths
    from distill.report import table as report
    from distill.system import files

    if output := _file(args.output):
        files.check_writable(output, [args.model, *paths.files_in(data.locate(args.data))])
    text = report.predictions_csv(model.classes, model.predict_proba(table.x))
    _tell(table)
    _write(args.output or STDOUT, text)


def _evaluate(args: argparse.Namespace) -> None:
    asked = int(args.label) if re.fullmatch("-?[0-9]{1,9}", args.label or "") else args.label
    model, table = _model_and_rows(args, asked)
    from distill import data
    from distill.errors import DataError
    from distill.nn import metrics
    from distill.report import table as report
    from distill.system import files

    if table.y is None:
        raise DataError(f"{args.data}: has no labels to judge by; add them, or name their column with --label")
    labels, logits = data.class_numbers(table, model.classes), model.logits(table.x)
    figures = {
        "rows": len(labels),
        "accuracy": metrics.accuracy(logits, labels),
        "ce": metrics.cross_entropy(logits, labels),
        "parameters": model.n_parameters,
    }
    _tell(table)
    print(files.to_json(figures) if args.json else report.evaluation_text(figures), end="" if args.json else "\n")


def _model_and_rows(args: argparse.Namespace, asked: int | str | None) -> "tuple[Model, Table]":
    environment.threads()  # a bad variable is found before anything is read
    environment.limit_blas_threads()
    from distill import data
    from distill.model import load_model

    model = load_model(args.model)
    return model, data.read_new(args.data, model.scaling, model.names, model.label, asked, model.dropped)


def _tell(table: "Table") -> None:
    for note in table.notes:
        print(f"note: {note}", file=sys.stderr)


def _report(args: argparse.Namespace) -> None:
    environment.limit_blas_threads()
    from distill.report import page
    from distill.system import files

    output = args.output or args.folder / "report.html"
    text = page.build(args.folder)
    if output == STDOUT:
        print(text, end="")
        return
    files.check_writable(output, page.files(args.folder))
    files.write_text(output, text)
    print(output)


COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {
    "run": _run,
    "check": _check,
    "bench": _bench,
    "predict": _predict,
    "evaluate": _evaluate,
    "report": _report,
}


class _Progress:
    """What a person sees while networks train: a line an epoch, a bar where tqdm is installed, or nothing."""

    def __init__(self, plan: "Config", args: argparse.Namespace) -> None:
        learners = 2 + plan.student.peers
        self.epochs = sum(one.epochs for one in plan.teachers.values()) + learners * plan.student.epochs
        self.verbose = args.verbose
        self.bar: Any = None
        if not args.verbose and not args.quiet and sys.stderr.isatty():
            with suppress(ImportError):
                from tqdm import tqdm

                self.bar = tqdm(total=self.epochs, unit="epoch", leave=False, file=sys.stderr)

    def __enter__(self) -> Callable[[str, dict[str, Any]], None]:
        return self.hear

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            with suppress(OSError):  # of a terminal that was closed
                self.bar.close()

    def hear(self, name: str, epoch: dict[str, Any]) -> None:
        if self.bar is not None:
            self.bar.set_description(name, refresh=False)
            self.bar.update()
        elif self.verbose:
            figures = "  ".join(f"{key} {value:.4f}" for key, value in epoch.items() if key != "epoch")
            print(f"{name:<8} epoch {epoch['epoch']:>4}  {figures}", file=sys.stderr)


def _open_log(plan: "Logging", *, quiet: bool) -> None:
    from logging.handlers import RotatingFileHandler

    log.setLevel(plan.level)
    log.propagate = False
    console = logging.StreamHandler(sys.stderr)
    console.setLevel(logging.ERROR if quiet else logging.NOTSET)
    console.setFormatter(logging.Formatter("%(message)s"))
    log.addHandler(console)
    if plan.file is not None:
        path = Path(plan.file)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = RotatingFileHandler(path, maxBytes=1_000_000, backupCount=3, encoding="utf-8")
        except OSError as error:
            raise OutputError(
                f"{path}: the log cannot be written: {error.strerror}; set logging.file elsewhere"
            ) from None
        file.setFormatter(logging.Formatter(LOG_FORMAT))
        log.addHandler(file)


def _close_log() -> None:
    for handler in log.handlers[:]:
        log.removeHandler(handler)
        handler.close()


def _drop_output() -> None:
    """What is still in the buffer of stdout goes nowhere, so that Python does not complain on its way out."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _fail(error: object, code: int) -> int:
    """Tell the user, and the log file where there is one; a configuration's faults stand a line each."""
    text = str(error)
    for handler in log.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handle(log.makeRecord(log.name, logging.ERROR, __file__, 0, text, (), None))
    with suppress(OSError, ValueError):
        print(text if isinstance(error, ConfigError) else f"error: {text}", file=sys.stderr)
    return code
