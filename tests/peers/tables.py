"""Figures -> Markdown."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from contest import AGAINST, DISTILL, LABELS, MACHINE, SCRIPTS, TOLERANCE

Figures = Mapping[str, Any]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, its first column a name and the others numbers."""
    lines = [head, ["---" if k == 0 else "---:" for k in range(len(head))], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def machine(found: Figures) -> str:
    """When and where."""
    packages = ", ".join(f"{name} {version}" for name, version in found["packages"].items())
    place = f"{found['cores']} cores of {found['processor']}, {found['system']}"
    return f"Measured on {found['date']}: {place}, Python {found['python']}, {packages}.\n"


def steps(cases: Sequence[Figures]) -> str:
    """Everything that the turns gave."""
    alone = [case for case in cases if case["networks"] == 1]
    stacks = [case for case in cases if case["networks"] > 1]
    parts = []
    for title, some in (("one network", alone), ("a stack of networks, per network and step", stacks)):
        if some:
            names = [name for name in SCRIPTS if any(name in case["seconds"] for case in some)]
            parts.append(f"## Microseconds per step: {title}\n\nMedians.\n")
            parts.append(table(["work", *names], [[case["name"], *_times(case, names)] for case in some]))
            others = [name for name in names if name not in (DISTILL, LABELS, MACHINE)]
            parts.append("Times as long as distill took: median, least and most of the ratios of each turn.\n")
            parts.append(table(["work", *others], [[case["name"], *_ratios(case, others)] for case in some]))
    if shares := [case for case in alone if MACHINE in case["seconds"]]:
        parts.append("## The machine's own rate of matrix products\n")
        parts.append("GFLOP/s of the step's products; a contender's include all else that it does in the time.\n")
        names = [name for name in SCRIPTS if name != LABELS]
        head = ["work", *names, "distill's share of the products' rate"]
        parts.append(table(head, [[case["name"], *_rates(case, names)] for case in shares]))
    parts.append("## The same work\n")
    parts.append(
        f"The largest distance |a - b| / (1 + |b|) of a loss from distill's over the first steps; it must be at most "
        f"{TOLERANCE:g}. scikit-learn learns from labels only, which is less work, and is held against distill doing "
        "just that.\n"
    )
    head = ["work", "steps compared", *AGAINST]
    parts.append(table(head, [[case["name"], str(case["compared"]), *_apart(case)] for case in cases]))
    parts.append("## Forms\n")
    parts.append("The fastest form of each, which is the one above, and its first call, compilation included.\n")
    forms = [
        [case["name"], name, ready["form"], f"{ready['first']:.2f} s", _tried(ready, case["networks"])]
        for case in cases
        for name, ready in case["ready"].items()
    ]
    parts.append(table(["work", "contender", "form", "first call", "others tried, microseconds"], forms))
    notes = [
        f"- {case['name']}, {name}: {_first_line(text)}" for case in cases for name, text in case["failed"].items()
    ]
    notes += [
        f"- {case['name']}, {name}, {form}: {_first_line(text)}"
        for case in cases
        for name, ready in case["ready"].items()
        for form, text in ready["failed"].items()
    ]
    if notes:
        parts.append("Left out:\n\n" + "\n".join(notes) + "\n")
    return "\n".join(parts)


def whole(found: Figures) -> str:
    """Complete programs, start-up included."""
    ratios = {name: _each_turn(found["seconds"], name) for name in found["seconds"]}
    rows = [
        [name, f"{median(times):.2f}", f"{min(times):.2f}", f"{max(times):.2f}", _spread(ratios[name])]
        + [f"{found['accuracies'][name][model]:.4f}" for model in ("teacher", "student", "control")]
        for name, times in found["seconds"].items()
    ]
    head = ["program", "seconds, median", "least", "most", "times distill's", "teacher", "student", "control"]
    return f"## The whole command\n\nWith validation accuracies.\n\n{table(head, rows)}"


def growth(found: Figures) -> str:
    """How time and memory grow; a slope of 1 on logarithmic scales is linear growth."""
    parts = ["## Growth\n"]
    for series in found["series"]:
        slope = f"Slope on logarithmic scales: {series['slope']:.3f}.\n"
        rows = [[f"{value:,}", f"{number:,.4g}"] for value, number in series["points"]]
        parts += [f"### {series['title']}\n", table([series["along"], series["unit"]], rows), slope]
    return "\n".join(parts)


def _times(case: Figures, names: Iterable[str]) -> list[str]:
    seconds, scale = case["seconds"], 1e6 / case["networks"]
    return [f"{scale * median(seconds[name]):,.1f}" if seconds.get(name) else "-" for name in names]


def _each_turn(seconds: Mapping[str, Sequence[float]], name: str) -> list[float]:
    return [theirs / ours for theirs, ours in zip(seconds[name], seconds[DISTILL], strict=True)]


def _spread(ratios: Sequence[float]) -> str:
    return f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def _ratios(case: Figures, names: Iterable[str]) -> list[str]:
    return [_spread(_each_turn(case["seconds"], name)) if name in case["seconds"] else "-" for name in names]


def _rates(case: Figures, names: Iterable[str]) -> list[str]:
    seconds = case["seconds"]
    rates = [f"{case['operations'] / median(seconds[name]) / 1e9:.0f}" if name in seconds else "-" for name in names]
    return [*rates, f"{median(_each_turn(seconds, MACHINE)):.0%}"]


def _apart(case: Figures) -> list[str]:
    found = case["apart"]
    return [
        f"{found[name]:.0e}{'' if found[name] <= TOLERANCE else ' (!)'}" if name in found else "-" for name in AGAINST
    ]


def _tried(ready: Figures, networks: int) -> str:
    others = {form: 1e6 * seconds / networks for form, seconds in ready["tried"].items() if form != ready["form"]}
    return "; ".join(f"{form} {microseconds:,.0f}" for form, microseconds in others.items()) or "-"


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0]
