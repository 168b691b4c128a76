"""The arguments of the command line."""

import argparse
from pathlib import Path

from distill.cli.console import STDOUT
from distill.system import environment
from distill.version import __version__

EPILOG = """\
exit codes: 0 done, 1 run failed, 2 usage or configuration, 3 diverged, 4 bad model or data file,
5 output not writable or locked, 129/130/143 stopped by a signal
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="distill",
        description="Knowledge distillation you can trust, in NumPy. Without a command: run; see distill run --help.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"distill {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name: str, description: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=description, description=description, epilog=EPILOG, allow_abbrev=False)

    _add_run_arguments(add("run", "train a teacher, distil a student, train the control (the default)"))
    _add_check_arguments(add("check", "validate a configuration and its data, and print the whole plan"))
    bench = add("bench", "time the steps of a configuration's networks on this machine; trains and writes nothing")
    _add_plan_arguments(bench)
    bench.add_argument("--json", action="store_true", help="print the figures as JSON")
    predict = add("predict", "classes and probabilities of new rows")
    _add_model_arguments(predict)
    predict.add_argument("--output", type=_output, metavar="FILE", help="a CSV file (default: -, stdout)")
    evaluate = add("evaluate", "judge a model on labelled rows")
    _add_model_arguments(evaluate)
    evaluate.add_argument("--label", metavar="COLUMN", help="the label's column name or index in a CSV")
    evaluate.add_argument("--json", action="store_true", help="print the figures as JSON")
    page = add("report", "one HTML page about a finished run")
    page.add_argument("folder", type=_path, metavar="FOLDER", help="the run's folder, such as runs/config")
    page.add_argument("--output", type=_output, metavar="FILE", help="where to (default: FOLDER/report.html)")
    return parser


def _add_run_arguments(parser: argparse.ArgumentParser) -> None:
    _add_plan_arguments(parser)
    parser.add_argument("--output", type=_output, metavar="FILE", help="write the results to this JSON file too")
    parser.add_argument("--json", action="store_true", help="print the results as JSON instead of the table")
    verbosity = parser.add_mutually_exclusive_group()
    verbosity.add_argument("--verbose", action="store_true", help="one line per epoch")
    verbosity.add_argument("--quiet", action="store_true", help="print nothing but errors (and --json)")


def _add_check_arguments(parser: argparse.ArgumentParser) -> None:
    _add_plan_arguments(parser)
    rows_help = "write which rows of the source are in which set (CSV; - prints them alone)"
    parser.add_argument("--rows", type=_output, metavar="FILE", help=rows_help)


def _add_plan_arguments(parser: argparse.ArgumentParser) -> None:
    default = environment.variable("DISTILL_CONFIG", "config.yaml")
    escaped = default.replace("%", "%%")  # argparse formats its help texts
    parser.add_argument("--config", type=_path, default=default, metavar="FILE", help=f"the plan (default: {escaped})")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override, as distillation.alpha=0.5"
    )


def _add_model_arguments(parser: argparse.ArgumentParser) -> None:
    kinds = "a CSV, NPZ or NPY file, or IDX images; - is a CSV on stdin"
    parser.add_argument("--model", type=_path, required=True, metavar="FILE", help="a teacher.npz or student.npz")
    parser.add_argument("--data", type=environment.expand_home, required=True, metavar="PATH", help=kinds)


def _path(text: str) -> Path:
    return Path(environment.expand_home(text))


def _output(text: str) -> Path:
    return STDOUT if text == "-" else _path(text)
