"""Results -> something a person would rather look at: the table of a run, and the plan that `check` prints."""

import csv
import io
from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import Any

from distill.config.dump import dump
from distill.config.schema import LABELS_ONLY, Config, stages_of, teacher_weights
from distill.data import Data
from distill.model import network_for
from distill.nn.network import Network
from distill.nn.vector import Array
from distill.report.experiment import MODELS
from distill.report.formula import formula
from distill.report.results import SPLITS, WHENCE, describe
from distill.student import control_stages, student_data


def run_text(results: Mapping[str, Any]) -> str:
    """What one run found, for the console."""
    table = [["", *MODELS]]
    for split, name in SPLITS.items():
        if name in results["data"]["rows"]:
            table.append([f"{name} accuracy", *(_share(results[f"{model}_{split}_accuracy"]) for model in MODELS)])
            table.append([f"{name} cross-entropy", *(_share(results[f"{model}_{split}_ce"]) for model in MODELS)])
            prefix = "" if split == "val" else f"{split}_"
            shares = [_share(results[f"{prefix}{key}"]) for key in ("agreement", "control_agreement")]
            table.append([f"{name} agreement with the teacher", "-", *shares])
    params = [results["teacher_params"], *[results["student_params"]] * 2]
    table.append(["parameters", *("-" if count is None else f"{count:,}" for count in params)])
    seconds = [results["timings"].get(model) for model in MODELS]
    table.append(["training seconds", *("-" if one is None else f"{one['seconds']:.2f}" for one in seconds)])
    found, ratio = results["verdict"], results["compression_ratio"]
    size = "-" if ratio is None else f"the teacher has {ratio:.2f} times the student's parameters"
    return "\n".join(
        [
            _rows_text(results["data"]),
            *_teachers_text(results["teachers"]),
            "",
            *_aligned(table),
            "",
            *_folded("compression:", size),
            *_folded("student:", results["objective"]),
            *_folded("control:", f"{results['control_objective']}, with the same initial weights and batches"),
            f"verdict:     {found['text']} (student - control, {SPLITS[found['split']]} accuracy)",
            *_failed_text(results["failed_seeds"]),
            *(f"{'':13}{line}" for sentence in results["advice"] for line in wrap(sentence, 92)),
            f"total:       {results['timings']['total_seconds']:.2f} s",
        ]
    )


def _failed_text(failed: Sequence[Mapping[str, Any]], most: int = 5) -> list[str]:
    """A line for each seed that could not be run, or for the first of many."""
    lines = [f"seed {one['seed']}: {one['error']}" for one in failed[:most]]
    lines += [f"and {len(failed) - most} more, in results.json"] if len(failed) > most else []
    return [part for i, line in enumerate(lines) for part in _folded("" if i else "failed:", line)]


def _teachers_text(teachers: Mapping[str, Any]) -> list[str]:
    """A line for each teacher, where there is more to say than that one was trained on the labels."""
    if not any(one["share"] for one in teachers.values()):
        return ["teacher:     for comparison; the student does not listen to it"]
    if len(teachers) == 1 and all(one["origin"] == "trained" for one in teachers.values()):
        return []
    lines: list[str] = []
    for name, one in teachers.items():
        figures = [f"validation accuracy {_share(one['val_accuracy'])}"]
        if one["train_accuracy"] is not None:
            figures = [f"right on {100 * one['train_accuracy']:.1f} % of the labelled training rows"]
        figures += [f"{one['parameters']:,} parameters"] if one["parameters"] is not None else []
        figures += [
            one["objective"] or f"from {WHENCE[one['origin']]}".replace("predictions", one["kind"] or "predictions")
        ]
        lines += _folded("teachers:" if not lines else "", f"{name}: {', '.join(figures)}")
    return lines


def _folded(title: str, text: str) -> list[str]:
    return wrap(text, 107, initial_indent=f"{title:13}", subsequent_indent=f"{'':13}") or [title]


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def plan_text(plan: Config, data: Data, *, nothing_written: bool = True) -> str:
    """The whole plan of a run and what it comes to, for `check`."""
    lines: list[str] = []
    for name, teacher in plan.teachers.items():
        title = "teacher:" if not lines else ""
        if teacher.origin == "trained":
            what = _size(network_for(teacher, data))
            objective = formula(stages_of(teacher, teacher.terms)) if teacher.terms != LABELS_ONLY else ""
            what += "" if name == "teacher" else f" ({name}{': ' + objective if objective else ''})"
        else:
            what = f"from {WHENCE[teacher.origin]} ({name}: {getattr(teacher, teacher.origin)})"
        lines += _folded(title, what)
    student = network_for(plan.student, data)
    teachers = [plan.teachers[name] for name in teacher_weights(plan.student.every_term) if name in plan.teachers]
    teachers = teachers or [list(plan.teachers.values())[-1]]
    known = all(teacher.origin == "trained" for teacher in teachers)
    total = sum(network_for(teacher, data).size for teacher in teachers)
    return "\n".join(
        [
            dump(plan),
            _rows_text(describe(data, student_data(plan.student, data, plan.distillation.random_seed))),
            *lines,
            f"student:     {_size(student)}",
            f"compression: {total / student.size:.5f}" if known else "compression: -",
            *_folded("objective:", formula(plan.student.stages)),
            *_folded("control:", formula(control_stages(plan.student.stages))),
            "The plan is sound; nothing was trained" + (" and nothing written." if nothing_written else "."),
        ]
    )


def _size(network: Network) -> str:
    return f"{' - '.join(map(str, network.units))}, {network.size:,} parameters"


def bench_text(figures: Mapping[str, Any]) -> str:
    """What `bench` measured, for the console."""
    lines = []
    for name, case in figures["models"].items():
        layers = " - ".join(map(str, case["sizes"]))
        lines.append(f"{name}: {layers}, batches of {case['batch_size']}, {case['mflop']:.2f} MFLOP a step")
        table = [["  threads", "us a step", "GFLOP/s", "products alone", "outside them"]]
        for threads, one in case["threads"].items():
            rates = [f"{one[key]:.1f}" for key in ("step_us", "gflops", "products_gflops")]
            table.append([f"  {threads}", *rates, f"{100 * one['outside_products']:.0f} %"])
        lines += [*_aligned(table), ""]
    peak = figures["peak_memory_mb"]
    return "\n".join([*lines, f"peak memory: {f'{peak:.0f} MB' if peak else 'unknown'}"])


def evaluation_text(figures: Mapping[str, Any]) -> str:
    """What `evaluate` found, for the console."""
    lines = [[name, f"{value:.4f}" if isinstance(value, float) else f"{value:,}"] for name, value in figures.items()]
    return "\n".join(_aligned(lines))


def _rows_text(data: Mapping[str, Any]) -> str:
    rows = ", ".join(f"{count:,} {name}" for name, count in data["rows"].items())
    seen = data["student_rows"]
    fewer = seen["labelled"] < data["rows"]["train"]
    student = (
        f"\nstudent:     sees {seen['labelled']:,} labelled and {seen['unlabelled']:,} unlabelled rows" if fewer else ""
    )
    what = f"{data['source']}: {rows} rows, {data['features']} features, {len(data['classes'])} classes"
    notes = [line for i, note in enumerate(data["notes"]) for line in _folded("note:" if not i else "", note)]
    return "\n".join([f"data:        {what}{student}", *notes])


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in table]


def rows_csv(data: Data) -> str:
    """The number of every row of the source that is used, from 0, and the set that it is in."""
    own = {"training": data.train} | {SPLITS[name]: rows for name, rows in data.judged.items() if not rows.tested}
    lines = sorted((int(i), name) for name, rows in own.items() for i in rows.ids)
    return "row,set\n" + "".join(f"{i},{name}\n" for i, name in lines)


def predictions_csv(classes: Sequence[Any], probabilities: Array) -> str:
    """One line a row: the most probable class, then every class's probability."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["class", *(f"p_{name}" for name in classes)])
    for row, best in zip(probabilities.tolist(), probabilities.argmax(axis=1).tolist(), strict=True):
        writer.writerow([classes[best], *(f"{p:.9g}" for p in row)])
    return buffer.getvalue()
