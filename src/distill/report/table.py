"""Console text and CSV of what the commands print: the table of a run, the plan of `check`, figures and predictions."""

import csv
import io
from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import Any

from distill.config.dump import dump
from distill.config.schema import LABELS_ONLY, Config, stages_of, teacher_weights
from distill.data.rows import Data
from distill.model import network_for
from distill.nn.network import Network
from distill.nn.vector import Array
from distill.report.experiment import MODELS
from distill.report.formula import formula
from distill.report.results import SPLITS, WHENCE, describe
from distill.student import control_stages, student_data

TITLE_WIDTH = 13  # of the first column
TEXT_WIDTH = 107


def run_text(results: Mapping[str, Any]) -> str:
    """Return the console text of a run."""
    verdict, ratio = results["verdict"], results["compression_ratio"]
    size = "-" if ratio is None else f"the teacher has {ratio:.2f} times the student's parameters"
    return "\n".join(
        [
            _data_text(results["data"]),
            *_teachers_text(results["teachers"]),
            "",
            *_align(_figures(results)),
            "",
            *_fold("compression:", size),
            *_fold("student:", results["objective"]),
            *_fold("control:", f"{results['control_objective']}, with the same initial weights and batches"),
            f"verdict:     {verdict['text']} (student - control, {SPLITS[verdict['split']]} accuracy)",
            *_failed_text(results["failed_seeds"]),
            *(f"{'':{TITLE_WIDTH}}{line}" for sentence in results["advice"] for line in wrap(sentence, 92)),
            f"total:       {results['timings']['total_seconds']:.2f} s",
        ]
    )


def _figures(results: Mapping[str, Any]) -> list[list[str]]:
    """Return the table of teacher, student and control."""
    table = [["", *MODELS]]
    for split, name in SPLITS.items():
        if name in results["data"]["rows"]:
            table.append([f"{name} accuracy", *(_figure(results[f"{model}_{split}_accuracy"]) for model in MODELS)])
            table.append([f"{name} cross-entropy", *(_figure(results[f"{model}_{split}_ce"]) for model in MODELS)])
            prefix = "" if split == "val" else f"{split}_"
            agreements = [_figure(results[f"{prefix}{key}"]) for key in ("agreement", "control_agreement")]
            table.append([f"{name} agreement with the teacher", "-", *agreements])
    counts = [results["teacher_params"], *[results["student_params"]] * 2]
    table.append(["parameters", *("-" if count is None else f"{count:,}" for count in counts)])
    timings = [results["timings"].get(model) for model in MODELS]
    table.append(["training seconds", *("-" if timing is None else f"{timing['seconds']:.2f}" for timing in timings)])
    return table


def _failed_text(failed: Sequence[Mapping[str, Any]], most: int = 5) -> list[str]:
    """Return a line for each seed that could not be run, or for the first of many."""
    lines = [f"seed {seed['seed']}: {seed['error']}" for seed in failed[:most]]
    lines += [f"and {len(failed) - most} more, in results.json"] if len(failed) > most else []
    return [part for i, line in enumerate(lines) for part in _fold("" if i else "failed:", line)]


def _teachers_text(teachers: Mapping[str, Any]) -> list[str]:
    """Return a line for each teacher; none for a single one that was trained on the labels."""
    if not any(teacher["share"] for teacher in teachers.values()):
        return ["teacher:     for comparison; no term of the student uses it"]
    if len(teachers) == 1 and all(teacher["origin"] == "trained" for teacher in teachers.values()):
        return []
    lines: list[str] = []
    for name, teacher in teachers.items():
        figures = [f"validation accuracy {_figure(teacher['val_accuracy'])}"]
        if teacher["train_accuracy"] is not None:
            figures = [f"right on {100 * teacher['train_accuracy']:.1f} % of the labelled training rows"]
        figures += [f"{teacher['parameters']:,} parameters"] if teacher["parameters"] is not None else []
        figures.append(teacher["objective"] or _origin(teacher))
        lines += _fold("teachers:" if not lines else "", f"{name}: {', '.join(figures)}")
    return lines


def _origin(teacher: Mapping[str, Any]) -> str:
    """Return where a teacher that was not trained comes from; of predictions, their kind."""
    return f"from {WHENCE[teacher['origin']]}".replace("predictions", teacher["kind"] or "predictions")


def plan_text(plan: Config, data: Data, *, nothing_written: bool = True) -> str:
    """Return the console text of a plan and its data."""
    student = network_for(plan.student, data)
    return "\n".join(
        [
            dump(plan),
            _data_text(describe(data, student_data(plan.student, data, plan.distillation.random_seed))),
            *_planned_teachers(plan, data),
            f"student:     {_size(student)}",
            f"compression: {_compression(plan, data, student.size)}",
            *_fold("objective:", formula(plan.student.stages)),
            *_fold("control:", formula(control_stages(plan.student.stages))),
            "The plan is sound; nothing was trained" + (" and nothing written." if nothing_written else "."),
        ]
    )


def _planned_teachers(plan: Config, data: Data) -> list[str]:
    """Return a line for each teacher of a plan: its layers, or where it comes from."""
    lines: list[str] = []
    for name, teacher in plan.teachers.items():
        if teacher.origin == "trained":
            text = _size(network_for(teacher, data))
            objective = formula(stages_of(teacher, teacher.terms)) if teacher.terms != LABELS_ONLY else ""
            text += "" if name == "teacher" else f" ({name}{': ' + objective if objective else ''})"
        else:
            text = f"from {WHENCE[teacher.origin]} ({name}: {getattr(teacher, teacher.origin)})"
        lines += _fold("teacher:" if not lines else "", text)
    return lines


def _compression(plan: Config, data: Data, student_count: int) -> str:
    """Return how many times the student's parameters its teachers have together; "-" if that is unknown."""
    teachers = [plan.teachers[name] for name in teacher_weights(plan.student.every_term) if name in plan.teachers]
    teachers = teachers or [list(plan.teachers.values())[-1]]  # the one that is there for comparison
    if any(teacher.origin != "trained" for teacher in teachers):
        return "-"
    count = sum(network_for(teacher, data).size for teacher in teachers)
    return f"{count / student_count:.5f}"


def bench_text(figures: Mapping[str, Any]) -> str:
    """Return the console text of what `bench` measured."""
    lines = []
    for name, case in figures["models"].items():
        layers = _layers(case["sizes"])
        lines.append(f"{name}: {layers}, batches of {case['batch_size']}, {case['mflop']:.2f} MFLOP a step")
        table = [["  threads", "us a step", "GFLOP/s", "products alone", "outside them"]]
        for threads, measured in case["threads"].items():
            rates = [f"{measured[key]:.1f}" for key in ("step_us", "gflops", "products_gflops")]
            table.append([f"  {threads}", *rates, f"{100 * measured['outside_products']:.0f} %"])
        lines += [*_align(table), ""]
    peak = figures["peak_memory_mb"]
    return "\n".join([*lines, f"peak memory: {f'{peak:.0f} MB' if peak else 'unknown'}"])


def evaluation_text(figures: Mapping[str, Any]) -> str:
    """Return the console text of a model's figures."""
    table = [[name, f"{value:.4f}" if isinstance(value, float) else f"{value:,}"] for name, value in figures.items()]
    return "\n".join(_align(table))


def rows_csv(data: Data) -> str:
    """Return the number of every row of the source that is used, from 0, and the set that it is in, as CSV."""
    sets = {"training": data.train} | {SPLITS[name]: rows for name, rows in data.judged.items() if not rows.tested}
    lines = sorted((int(i), name) for name, rows in sets.items() for i in rows.ids)
    return "row,set\n" + "".join(f"{i},{name}\n" for i, name in lines)


def predictions_csv(classes: Sequence[Any], probabilities: Array) -> str:
    """Return a line a row as CSV: the most probable class, then every class's probability."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["class", *(f"p_{name}" for name in classes)])
    for row, best in zip(probabilities.tolist(), probabilities.argmax(axis=1).tolist(), strict=True):
        writer.writerow([classes[best], *(f"{p:.9g}" for p in row)])
    return buffer.getvalue()


def _data_text(data: Mapping[str, Any]) -> str:
    """Return the lines about a run's data: rows, features, classes, what the student sees of them, and notes."""
    rows = ", ".join(f"{count:,} {name}" for name, count in data["rows"].items())
    lines = [f"data:        {data['source']}: {rows} rows, {data['features']} features, {len(data['classes'])} classes"]
    student_rows = data["student_rows"]
    if student_rows["labelled"] < data["rows"]["train"]:
        counts = f"{student_rows['labelled']:,} labelled and {student_rows['unlabelled']:,} unlabelled rows"
        lines.append(f"student:     sees {counts}")
    for i, note in enumerate(data["notes"]):
        lines += _fold("note:" if not i else "", note)
    return "\n".join(lines)


def _size(network: Network) -> str:
    return f"{_layers(network.units)}, {network.size:,} parameters"


def _layers(sizes: Sequence[int]) -> str:
    return " - ".join(map(str, sizes))


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _fold(title: str, text: str) -> list[str]:
    """Return a title and a text as lines of at most TEXT_WIDTH characters, indented beside the title."""
    first, further = f"{title:{TITLE_WIDTH}}", " " * TITLE_WIDTH
    return wrap(text, TEXT_WIDTH, initial_indent=first, subsequent_indent=further) or [title]


def _align(table: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows of a table as lines: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in table]
