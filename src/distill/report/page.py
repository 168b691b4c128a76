"""A run's folder -> one self-contained HTML page: the verdict first, then what it rests on."""

import json
from pathlib import Path
from typing import Any

from distill.config.dump import dump
from distill.config.load import load
from distill.config.schema import Config
from distill.errors import ConfigError, DataError
from distill.report import page_sections as sections
from distill.report.page_html import document, preformatted, section
from distill.report.page_rows import least_sure
from distill.report.paths import remaining_input_files
from distill.report.plan_origin import plan_file
from distill.report.run_files import PLAN, RESULTS, is_run_file


def build(folder: Path) -> str:
    """Return the page of a finished run. Raises DataError if the folder holds none, DistillError without matplotlib."""
    try:
        return _page(folder)
    except (KeyError, TypeError, IndexError, ValueError) as error:
        problem = f"the results are not those of a run: {type(error).__name__} {error}"
        raise DataError(f"{folder / RESULTS}: {problem}; run it again with this version") from None


def files(folder: Path) -> list[Path]:
    """Return the files that a run's page is made from."""
    origin = plan_file(folder)
    return [
        *remaining_input_files(_read_plan(folder)),
        *([origin] if origin else []),
        *(file for file in folder.iterdir() if is_run_file(file.name)),
    ]


def _page(folder: Path) -> str:
    results, plan = _read_results(folder), _read_plan(folder)
    parts = [
        sections.verdict(results),
        sections.models(results),
        sections.teachers(results),
        sections.seeds(results),
        sections.curves(results),
        sections.size_and_calibration(results),
        least_sure(folder, plan, results),
        sections.confusion(results),
        section("The plan, as it ran", preformatted(dump(plan))),
        sections.machine(results),
    ]
    return document(results["verdict"]["text"], "".join(parts))


def _read_results(folder: Path) -> dict[str, Any]:
    path = folder / RESULTS
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        missing = {"verdict", "models", "seeds", "history", "data", "teachers"} - results.keys()
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(
            f"{path}: no results of a run: {error}; give the folder of a finished run, such as runs/config"
        ) from None
    if missing:
        raise DataError(f"{path}: no results of a run: {min(missing)!r} is missing; run it again with this version")
    return dict(results)


def _read_plan(folder: Path) -> Config:
    try:
        return load(folder / PLAN)
    except ConfigError as error:
        raise DataError(f"{folder}: its config.yaml cannot be read: {error.faults[0]}") from None
