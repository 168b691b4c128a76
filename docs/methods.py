"""Measure every method of METHODS.md on one benchmark: `python docs/methods.py --write` puts its tables into that page.

The plans are the YAML blocks under the page's ### headings, each on top of a common base. Under one seed all methods
share split, labels, initial weights and batches, and the teacher where they have none of their own. The control is one
for all, on the labels as they are, without smoothing or noise. Stages keep their proportions, and last as many epochs
together as the other methods have.
"""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from distill import config, pipeline
from distill.config import Output
from distill.evidence import verdict
from distill.parallel import each
from distill.record import Record

PAGE = Path(__file__).with_name("METHODS.md")
BEGIN, END = "<!-- measured: python docs/methods.py --write -->", "<!-- end -->"
SIZES = {"teacher_hidden": [256, 256], "student_hidden": [64, 64]}
BASES: dict[str, dict[str, Any]] = {
    "digits": {
        "distillation": SIZES,
        "student": {"labels": 100, "unlabelled": "drop", "epochs": 100},
    },
    "letter": {
        "data": {"source": "letter/letter-recognition.data", "label": 0, "test_ratio": 0.1},
        "distillation": SIZES | {"learning_rate": 3e-3, "batch_size": 64, "schedule": "cosine", "teacher_epochs": 20},
        "student": {"epochs": 20},
    },
}
PLAIN = "response"


def methods() -> dict[str, dict[str, Any]]:
    """Heading -> plan, in the order of the page."""
    pattern = re.compile(r"^### (.+?)\n(.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)
    found = {}
    for heading, text in pattern.findall(PAGE.read_text(encoding="utf-8")):
        if block := re.search(r"```yaml\n(.*?)```", text, re.DOTALL):
            found[heading.strip("`")] = yaml.safe_load(block[1])
    return found


def plan_of(base: dict[str, Any], method: dict[str, Any], epochs: int | None = None) -> config.Config:
    """A method on top of a base: sections are merged key by key."""
    merged = {name: dict(section) for name, section in base.items()}
    for name, section in method.items():
        merged[name] = merged.get(name, {}) | section
    student = merged["student"]
    student["epochs"] = epochs or student["epochs"]
    if "stages" in student:
        total, lengths = student.pop("epochs"), [stage["epochs"] for stage in student["stages"]]
        ends = [round(total * sum(lengths[: i + 1]) / sum(lengths)) for i in range(len(lengths))]
        spans = [end - begin for begin, end in zip([0, *ends], ends, strict=False)]
        student["stages"] = [stage | {"epochs": span} for stage, span in zip(student["stages"], spans, strict=True)]
    return config.load(merged)


def measure(name: str, seeds: int, epochs: int | None) -> dict[str, list[dict[str, Any]]]:
    """Method -> the figures of every seed."""
    base, plans = BASES[name], {key: plan_of(BASES[name], method, epochs) for key, method in methods().items()}
    own = {key for key, method in methods().items() if "teachers" in method}
    common = plan_of(base, {}, epochs)
    quiet = Record(common, lambda *_: None)
    assert common.output == Output(None)

    def once(seed: int) -> dict[str, dict[str, Any]]:
        data = pipeline.load_data(common, seed)
        first = pipeline.experiment(common, seed, quiet, data)
        control = {key: value for key, value in first.figures().items() if key in ("control_accuracy", "control_ce")}
        found = {}
        for key, plan in plans.items():
            found[key] = pipeline.experiment(plan, seed, quiet, data, None if key in own else first).figures() | control
        return found

    rows = list(each(once, range(seeds), None))
    return {key: [row[key] for row in rows] for key in plans}


def table(name: str, found: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    """The results as Markdown."""
    control = np.mean([one["control_accuracy"] for one in found[PLAIN]])
    teacher = np.mean([one["teacher_accuracy"] for one in found[PLAIN]])
    rows, seeds = found[PLAIN][0]["rows"], len(found[PLAIN])
    split = {"val": "validation", "test": "test"}[found[PLAIN][0]["split"]]
    base = BASES[name]["student"]
    labels = f"{base['labels']} labels" if "labels" in base else "all labels"
    yield f"**{name}**, {labels}, {seeds} seeds, {rows:,} {split} rows each."
    yield f"Teacher {100 * teacher:.1f} %, control {100 * control:.1f} %."
    yield ""
    yield "| method | student, % | student - control, points | outcome | student - `response`, points |"
    yield "|---|---|---|---|---|"
    for key, figures in found.items():
        against = verdict(figures)
        plain = verdict([_against(one, other) for one, other in zip(figures, found[PLAIN], strict=True)])
        mean = 100 * float(np.mean([one["student_accuracy"] for one in figures]))
        outcome = {"no measurable difference": "none"}.get(against["outcome"], f"**{against['outcome']}**")
        shown = key if key[0].isupper() else f"`{key}`"
        beside = "" if key == PLAIN else _interval(plain)
        yield f"| {shown} | {mean:.1f} | {_interval(against)} | {outcome} | {beside} |"
    yield ""


def _against(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """The figures with another student in the control's place; only differences over seeds are looked at."""
    return one | {"control_accuracy": other["student_accuracy"], "control_ce": other["student_ce"]}


def _interval(found: dict[str, Any]) -> str:
    low, high = found["ci95"]
    return f"{100 * found['gain']:+.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def main() -> None:
    """Measure, print, and with --write put the tables into the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--only", choices=BASES, help="one of the data sets")
    parser.add_argument("--epochs", type=int, help="of student and control, in place of the benchmark's own")
    parser.add_argument("--write", action="store_true", help=f"replace the tables in {PAGE.name}")
    args = parser.parse_args()
    lines: list[str] = []
    for name in [args.only] if args.only else BASES:
        lines += table(name, measure(name, args.seeds, args.epochs))
    text = "\n".join(lines)
    print(text)
    if args.write:
        page = PAGE.read_text(encoding="utf-8")
        before, _, rest = page.partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
