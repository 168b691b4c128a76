"""Measure every method of METHODS.md on its two benchmarks: `python docs/methods.py --write` puts the tables there.

All plans stand in the page: those that the benchmarks share under "## Measured", the methods' own under the ###
headings; sections are merged key by key (`--plan digits Noise` prints the result). Under one seed all methods share
split, labels, initial weights and batches, and the teacher where they have none of their own. The control is one for
all, on the labels as they are, without smoothing or noise. Stages keep their proportions, and last as many epochs
together as the other methods have.

Kernels of OpenBLAS round differently, so the tables are made once with each of `--kernels`, and a verdict counts only
where all of them give it.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from distill import config, pipeline
from distill.nn import blas
from distill.report.record import Record
from distill.report.verdict import verdict
from distill.system.processes import map_in_processes
from distill.train.fit import Run

PAGE = Path(__file__).with_name("METHODS.md")
BEGIN, END = "<!-- measured: python docs/methods.py --write -->", "<!-- end -->"
KERNELS = ("Haswell", "SkylakeX")  # AVX2 and AVX-512
PLAIN = "response"

Plan = Mapping[str, Mapping[str, Any]]
Figures = Mapping[str, Sequence[Mapping[str, Any]]]  # method -> a record per seed


def bases() -> dict[str, Plan]:
    """Benchmark -> the plan that all methods share, from the page."""
    measured = PAGE.read_text(encoding="utf-8").partition("## Measured")[2]
    return {name: yaml.safe_load(text) for name, text in re.findall(r"```yaml\n# (\w+)\n(.*?)```", measured, re.DOTALL)}


def methods() -> dict[str, Plan]:
    """Heading -> plan, in the order of the page."""
    pattern = re.compile(r"^### (.+?)\n(.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)
    plans = {}
    for heading, text in pattern.findall(PAGE.read_text(encoding="utf-8")):
        if block := re.search(r"```yaml\n(.*?)```", text, re.DOTALL):
            plans[heading.strip("`")] = yaml.safe_load(block[1])
    return plans


def plan_of(base: Plan, method: Plan, epochs: int | None = None, overrides: Sequence[str] = ()) -> config.Config:
    """A method on top of a benchmark's plan."""
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
    return config.load(merged, overrides)


def measure(
    name: str, seeds: int | None = None, epochs: int | None = None, overrides: Sequence[str] = ()
) -> dict[str, list[dict[str, Any]]]:
    """Method -> the figures of every seed, with the kernel that this process has."""
    base = bases()[name]
    common = plan_of(base, {}, epochs, overrides)
    plans = {key: plan_of(base, method, epochs, overrides) for key, method in methods().items()}
    with_teachers = {key for key, method in methods().items() if "teachers" in method}
    quiet = Record(common, lambda *_: None)
    source = pipeline.load_data(common).raw

    def once(seed: int) -> dict[str, dict[str, Any]]:
        data = pipeline.load_data(common, seed, source)
        run = Run(seed)
        first = pipeline.experiment(common, data, run, quiet, {})
        control = {key: value for key, value in first.figures().items() if key in ("control_accuracy", "control_ce")}
        return {
            key: pipeline.experiment(plan, data, run, quiet, {}, None if key in with_teachers else first).figures()
            | control
            for key, plan in plans.items()
        }

    rows = list(map_in_processes(once, range(seeds or common.evidence.seeds), None))
    return {key: [row[key] for row in rows] for key in plans}


def measure_with(kernel: str, name: str, options: Sequence[str]) -> Figures:
    """`measure` in a process whose NumPy computes with this kernel."""
    command = [sys.executable, __file__, "--only", name, "--json", *options]
    done = subprocess.run(command, env=os.environ | {"OPENBLAS_CORETYPE": kernel}, stdout=subprocess.PIPE, check=True)
    answer = json.loads(done.stdout)
    if answer["kernel"] != kernel:
        sys.exit(f"NumPy computes with {answer['kernel']} where {kernel} was asked for; leave it out of --kernels")
    return answer["figures"]


def table(name: str, measured: Mapping[str, Figures]) -> Iterator[str]:
    """The results of one benchmark, by kernel, as Markdown."""
    (kernel, shown), *others = measured.items()
    mean = lambda records, key: 100 * float(np.mean([record[key] for record in records]))  # noqa: E731
    rows, seeds = shown[PLAIN][0]["rows"], len(shown[PLAIN])
    split = {"val": "validation", "test": "test"}[shown[PLAIN][0]["split"]]
    yield f"**{name}**, {seeds} seeds, {rows:,} {split} rows each; kernel {kernel}."
    teacher, control = (mean(shown[PLAIN], f"{model}_accuracy") for model in ("teacher", "control"))
    yield f"Teacher {teacher:.1f} %, control {control:.1f} %."
    for other, figures in others:
        apart = [
            abs(a["student_accuracy"] - b["student_accuracy"])
            for key in shown
            for a, b in zip(shown[key], figures[key], strict=True)
        ]
        means = [abs(mean(shown[key], "student_accuracy") - mean(figures[key], "student_accuracy")) for key in shown]
        yield f"With the kernel {other} a student differs by up to {round(max(apart) * rows)} rows in one seed,"
        yield f"the mean over the seeds by up to {max(means):.1f} points."
    yield ""
    columns = ["method", "student, %", "student - control, points", *(f"with {other}" for other, _ in others)]
    yield f"| {' | '.join([*columns, 'outcome', 'student - `response`, points'])} |"
    yield "|---" * (len(columns) + 2) + "|"
    for key, records in shown.items():
        verdicts = [verdict(figures[key]) for figures in measured.values()]
        plain = verdict([_against(a, b) for a, b in zip(records, shown[PLAIN], strict=True)])
        cells = [key if key[0].isupper() else f"`{key}`", f"{mean(records, 'student_accuracy'):.1f}"]
        cells += [*map(_interval, verdicts), _outcome(verdicts), "" if key == PLAIN else _interval(plain)]
        yield f"| {' | '.join(cells)} |"
    yield ""


def _outcome(verdicts: Sequence[Mapping[str, Any]]) -> str:
    """The verdict that all kernels give; none where they differ."""
    outcomes = {each_verdict["outcome"] for each_verdict in verdicts}
    return f"**{outcomes.pop()}**" if len(outcomes) == 1 and outcomes <= {"helped", "hurt"} else "none"


def _against(record: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """The figures with another student in the control's place; only differences over seeds are looked at."""
    return dict(record) | {"control_accuracy": other["student_accuracy"], "control_ce": other["student_ce"]}


def _interval(result: Mapping[str, Any]) -> str:
    low, high = result["ci95"]
    return f"{100 * result['gain']:+.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def main() -> None:
    """Measure, print, and with --write put the tables into the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, help="in place of the benchmark's own")
    parser.add_argument("--only", choices=bases(), help="one of the benchmarks")
    parser.add_argument("--epochs", type=int, help="of student and control, in place of the benchmark's own")
    parser.add_argument("--kernels", nargs="+", default=KERNELS, help=f"of OpenBLAS (default: {' '.join(KERNELS)})")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override, for every method")
    parser.add_argument("--json", action="store_true", help="print the figures of --only with this process's kernel")
    parser.add_argument("--plan", nargs=2, metavar=("BENCHMARK", "METHOD"), help="print the whole plan of one row")
    parser.add_argument("--write", action="store_true", help=f"replace the tables in {PAGE.name}")
    args = parser.parse_args()
    if args.plan:
        print(config.dump(plan_of(bases()[args.plan[0]], methods()[args.plan[1]], None, args.set)), end="")
    elif args.json:
        print(json.dumps({"kernel": blas.kernel(), "figures": measure(args.only, args.seeds, args.epochs, args.set)}))
    else:
        limits = {"seeds": args.seeds, "epochs": args.epochs}
        options = [f"--{key}={value}" for key, value in limits.items() if value] + [
            f"--set={text}" for text in args.set
        ]
        lines = [f"Python {platform.python_version()}, NumPy {np.__version__}, {platform.machine()}.", ""]
        for name in [args.only] if args.only else bases():
            measured = {kernel: measure_with(kernel, name, options) for kernel in args.kernels}
            lines += table(name, measured)
        text = "\n".join(lines)
        print(text)
        if args.write:
            before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
            PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
