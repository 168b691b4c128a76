"""The commands: run, check, bench, predict, evaluate, report.

Each imports what it needs itself, as NumPy is loaded only after BLAS is kept to one thread.
"""

import argparse
import re
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from distill.cli.console import STDOUT, Progress, log, open_log, output_file, write_output
from distill.errors import DataError
from distill.system import environment

if TYPE_CHECKING:
    from distill.config.schema import Config
    from distill.data.table import Table
    from distill.model import Model


def run(args: argparse.Namespace) -> None:
    """Train and compare the networks of a plan."""
    plan = _load_plan(args)
    from distill import pipeline
    from distill.report import paths, table
    from distill.system import files

    paths.check(plan, {"logging.file": plan.logging.file, "--output": output_file(args.output)})
    open_log(plan.logging, quiet=args.quiet)
    log.info("run of %s", args.config)
    with Progress(plan, args) as on_epoch:
        results = pipeline.run(plan, on_epoch=on_epoch)
    if args.output:
        write_output(args.output, files.to_json(results))
    if args.output == STDOUT:
        return
    if args.json:
        print(files.to_json(results), end="")
    elif not args.quiet:
        print(table.run_text(results))


def check(args: argparse.Namespace) -> None:
    """Validate a plan and its data, and print the plan or the sets of the rows."""
    plan = _load_plan(args)
    from distill import pipeline
    from distill.report import paths, table
    from distill.report.plan_origin import replacement_warning

    paths.check(plan, {"logging.file": plan.logging.file, "--rows": output_file(args.rows)})
    if warning := replacement_warning(plan):
        log.warning(warning)
    data = pipeline.load_data(plan)
    if args.rows:  # without reading the teachers: their predictions of these rows may not be made yet
        write_output(args.rows, table.rows_csv(data))
    else:
        pipeline.examine(plan, data)
    if args.rows != STDOUT:
        print(table.plan_text(plan, data, nothing_written=not args.rows))


def bench(args: argparse.Namespace) -> None:
    """Time the training steps of a plan's networks."""
    plan = _load_plan(args)
    from distill import bench, pipeline
    from distill.report import table

    data = pipeline.load_data(plan)
    pipeline.examine(plan, data)
    _print_figures(args, bench.measure(plan, data), table.bench_text)


def predict(args: argparse.Namespace) -> None:
    """Write the classes and probabilities of new rows."""
    model, rows = _load_model_and_rows(args, label=None)
    from distill.data.source import locate
    from distill.report import paths, table
    from distill.system import files

    if output := output_file(args.output):
        files.check_writable(output, [args.model, *paths.files_in(locate(args.data))])
    text = table.predictions_csv(model.classes, model.predict_proba(rows.x))
    _print_notes(rows)
    write_output(args.output or STDOUT, text)


def evaluate(args: argparse.Namespace) -> None:
    """Print a model's accuracy and cross-entropy on labelled rows."""
    is_index = re.fullmatch("-?[0-9]{1,9}", args.label or "")
    model, rows = _load_model_and_rows(args, int(args.label) if is_index else args.label)
    from distill.data.classes import class_numbers
    from distill.nn import metrics
    from distill.report import table

    if rows.y is None:
        raise DataError(f"{args.data}: has no labels to judge by; add them, or name their column with --label")
    labels, logits = class_numbers(rows, model.classes), model.logits(rows.x)
    figures = {
        "rows": len(labels),
        "accuracy": metrics.accuracy(logits, labels),
        "ce": metrics.cross_entropy(logits, labels),
        "parameters": model.n_parameters,
    }
    _print_notes(rows)
    _print_figures(args, figures, table.evaluation_text)


def report(args: argparse.Namespace) -> None:
    """Write the HTML page of a finished run."""
    environment.limit_blas_threads()
    from distill.report import page
    from distill.system import files

    output = args.output or args.folder / "report.html"
    text = page.build(args.folder)
    if output != STDOUT:
        files.check_writable(output, page.files(args.folder))
    write_output(output, text)
    if output != STDOUT:
        print(output)


COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {
    "run": run,
    "check": check,
    "bench": bench,
    "predict": predict,
    "evaluate": evaluate,
    "report": report,
}


def _load_plan(args: argparse.Namespace) -> "Config":
    """Return the configuration, and keep BLAS to one thread. Raises ConfigError before NumPy is loaded."""
    from distill.config.load import load

    plan = load(args.config, args.set)
    environment.threads(plan.performance.threads)  # reports an invalid variable before anything is read
    environment.limit_blas_threads()
    return plan


def _load_model_and_rows(args: argparse.Namespace, label: int | str | None) -> "tuple[Model, Table]":
    environment.threads()  # reports an invalid variable before anything is read
    environment.limit_blas_threads()
    from distill.data.new_rows import read_new
    from distill.model import load_model

    model = load_model(args.model)
    return model, read_new(args.data, model.scaling, model.names, model.label, label, model.dropped)


def _print_figures(
    args: argparse.Namespace, figures: Mapping[str, Any], to_text: Callable[[Mapping[str, Any]], str]
) -> None:
    """Print figures as JSON if --json is set, else as a table."""
    from distill.system import files

    print(files.to_json(figures) if args.json else f"{to_text(figures)}\n", end="")


def _print_notes(rows: "Table") -> None:
    for note in rows.notes:
        print(f"note: {note}", file=sys.stderr)
