"""The section of a run's page on the rows of which the teacher is least sure; it reads the run's data and models."""

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from distill.config.schema import Config
from distill.data.load import load as load_data
from distill.data.rows import Data
from distill.data.source import locate
from distill.data.table import once_only
from distill.errors import DataError
from distill.model import load_model
from distill.nn.ops import combine, log_softmax
from distill.nn.vector import Array
from distill.report import plots
from distill.report.page_html import flow, inert, section
from distill.report.results import SPLITS
from distill.report.run_files import teacher_file

ROWS = 12  # shown with their soft targets
BARS = 6  # classes shown of each row


def least_sure(folder: Path, plan: Config, results: Mapping[str, Any]) -> str:
    """Return the rows of least confidence, each with its picture where it is one.

    Where the run's data cannot be read any more, or are no longer the same, a sentence says so.
    """
    title, split = "What the teacher is least sure of", results["verdict"]["split"]
    try:
        data = _load_data(plan, results)
        shown, student = data.judged[split], load_model(folder / "student.npz")
        student_logits, _ = student.outputs(shown.x)
        teacher_logits = _teacher_logits(folder, plan, results, shown.x)
    except (DataError, KeyError) as error:
        return section(title, f"<p>Left out, as the run's data are not at hand any more: {escape(str(error))}</p>")
    softened = [term.options["temperature"] for term in plan.student.terms if "temperature" in term.options]
    temperature = softened[0] if softened else 1.0
    p, q = (
        np.exp(log_softmax(logits.astype(np.float64), temperature=temperature))
        for logits in (teacher_logits, student_logits)
    )
    confidence = np.exp(log_softmax(teacher_logits.astype(np.float64))).max(axis=1)
    cards = (
        _card(data, i, p[i], q[i], shown.x[i], int(shown.y[i])) for i in np.argsort(confidence, kind="stable")[:ROWS]
    )
    note = (
        f"Rows of the {SPLITS[split]} set. Above the teacher's soft targets at T = {temperature:g}, below the "
        "student's probabilities at that temperature. The shares of a row's classes are what distillation hands over."
    )
    return section(title, f"<p class=soft>{note}</p>{flow(cards)}")


def _load_data(plan: Config, results: Mapping[str, Any]) -> Data:
    """Return the data of the run's first seed. Raises DataError if they are not the same any more."""
    settings = plan.distillation
    for name in (plan.data.source, plan.data.test):
        if name and once_only(locate(name)):
            raise DataError(f"{name}: could be read only once")
    seed = settings.random_seed if plan.evidence.share_teacher else results["seeds"][0]["seed"]
    data = load_data(plan.data, settings.train_ratio, settings.max_samples, seed)
    if data.fingerprint() != results["data"]["sha256"]:
        raise DataError(f"{plan.data.source}: its rows are no longer those of the run")
    return data


def _teacher_logits(folder: Path, plan: Config, results: Mapping[str, Any], x: Any) -> Array:
    """Return the logits of the teachers in the student's terms, combined. Raises DataError if one was not trained."""
    shares = {name: teacher["share"] for name, teacher in results["teachers"].items() if teacher["share"]}
    shares = shares or {list(plan.teachers)[-1]: 1.0}  # the one that is there for comparison
    members = []
    for name in shares:
        if plan.teachers[name].origin != "trained":
            raise DataError(f"the teacher {name!r} is no network of the run")
        members.append(load_model(folder / f"{teacher_file(name, plan.teachers)}.npz").outputs(x)[0])
    return combine(members, list(shares.values()), "probabilities")


def _card(data: Data, row: int, p: Array, q: Array, x: Array, y: int) -> str:
    """Return one row: its label, its picture, and the probabilities of teacher `p` and student `q` as bars."""
    picture = ""
    if data.picture:
        low, high = float(x.min()), float(x.max())
        pixels = ((x - low) / max(high - low, 1e-12)).reshape(data.picture)
        picture = f"<img class=pixels alt='row {row}' src='{plots.picture(pixels)}'>"
    bars = "".join(
        f"<div><span title='{inert(data.classes[k])}'>{inert(data.classes[k])}</span>"
        f"<span><i style='width:{100 * p[k]:.1f}%'></i><i style='width:{100 * q[k]:.1f}%'></i></span></div>"
        for k in np.argsort(-(p + q), kind="stable")[:BARS]
    )
    title = f"<div class=soft>row {row}, label {inert(data.classes[y])}</div>"
    return f"<div class=card>{title}<div class=flow>{picture}<div class=bars>{bars}</div></div></div>"
