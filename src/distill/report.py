"""Results -> something a person would rather look at: the table of a run, and the plan that `check` prints."""

import csv
import io
from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import Any

from distill.config import Config, dump
from distill.data import Data
from distill.evidence import control_terms
from distill.nn import mlp
from distill.nn.vector import Array
from distill.objective import formula
from distill.results import MODELS, SPLITS, describe
from distill.student import view


def run_text(results: Mapping[str, Any]) -> str:
    """What one run found, for the console."""
    table = [["", *MODELS]]
    for split, name in SPLITS.items():
        if name in results["data"]["rows"]:
            table.append([f"{name} accuracy", *(f"{results[f'{model}_{split}_accuracy']:.4f}" for model in MODELS)])
            table.append([f"{name} cross-entropy", *(f"{results[f'{model}_{split}_ce']:.4f}" for model in MODELS)])
            prefix = "" if split == "val" else f"{split}_"
            shares = [f"{results[f'{prefix}{key}']:.4f}" for key in ("agreement", "control_agreement")]
            table.append([f"{name} agreement with the teacher", "-", *shares])
    params = [results["teacher_params"], *[results["student_params"]] * 2]
    table.append(["parameters", *(f"{count:,}" for count in params)])
    table.append(["training seconds", *(f"{results['timings'][model]['seconds']:.2f}" for model in MODELS)])
    found = results["verdict"]
    return "\n".join(
        [
            _rows_text(results["data"]),
            "",
            *_aligned(table),
            "",
            f"compression: the teacher has {results['compression_ratio']:.2f} times the student's parameters",
            f"student:     {results['objective']}",
            f"control:     {results['control_objective']}, with the same initial weights and batches",
            f"verdict:     {found['text']} (student - control, {SPLITS[found['split']]} accuracy)",
            *(f"{'':13}{line}" for sentence in results["advice"] for line in wrap(sentence, 92)),
            f"total:       {results['timings']['total_seconds']:.2f} s",
        ]
    )


def plan_text(plan: Config, data: Data) -> str:
    """The whole plan of a run and what it comes to, for `check`."""
    (name, teacher), *_ = plan.teachers.items()
    sizes = [(data.features, *network.hidden, len(data.classes)) for network in (teacher, plan.student)]
    params = [mlp.count(one) for one in sizes]
    layers = [" - ".join(map(str, one)) for one in sizes]
    return "\n".join(
        [
            dump(plan),
            _rows_text(describe(data, view(plan.student, data, plan.distillation.random_seed))),
            f"teacher:     {layers[0]}, {params[0]:,} parameters" + ("" if name == "teacher" else f" ({name})"),
            f"student:     {layers[1]}, {params[1]:,} parameters",
            f"compression: {params[0] / params[1]:.5f}",
            f"objective:   {formula(plan.student.terms)}",
            f"control:     {formula(control_terms(plan.student.terms))}",
            "The plan is sound; nothing was trained and nothing written.",
        ]
    )


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
    return f"data:        {what}{student}"


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in table]


def predictions_csv(classes: Sequence[Any], probabilities: Array) -> str:
    """One line a row: the most probable class, then every class's probability."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["class", *(f"p_{name}" for name in classes)])
    for row, best in zip(probabilities.tolist(), probabilities.argmax(axis=1).tolist(), strict=True):
        writer.writerow([classes[best], *(f"{p:.9g}" for p in row)])
    return buffer.getvalue()
