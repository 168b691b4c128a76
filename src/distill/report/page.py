"""A run's folder -> one self-contained HTML page: the verdict first, then what it rests on."""

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from distill import data as rows
from distill.config.dump import dump
from distill.config.load import load
from distill.config.schema import Config
from distill.data import Data
from distill.data.table import once_only
from distill.errors import ConfigError, DataError, printable
from distill.model import load_model
from distill.nn import mlp
from distill.nn.ops import combine, log_softmax
from distill.nn.vector import Array
from distill.report import plots
from distill.report.paths import remaining_input_files
from distill.report.plan_origin import plan_file
from distill.report.results import MODELS, SPLITS, WHENCE
from distill.report.run_files import RESULTS, is_run_file, teacher_file

UNSURE_ROWS = 12  # rows shown with their soft targets
BARS = 6  # classes shown of each
TABLE_CLASSES = 20  # a confusion matrix of more classes is drawn as a picture

MEASURES = {
    "accuracy": ("accuracy", "{:.4f}"),
    "macro_f1": ("macro F1", "{:.4f}"),
    "ce": ("cross-entropy", "{:.4f}"),
    "ece": ("expected calibration error", "{:.4f}"),
    "brier": ("Brier score", "{:.4f}"),
    "agreement": ("agreement with the teacher", "{:.4f}"),
    "kl_to_teacher": ("KL to the teacher, T = 1", "{:.4f}"),
    "retention": ("retention of the teacher's accuracy", "{:.1f} %"),
}

# The page needs nothing from outside and runs nothing; a browser is told so.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
STYLE = Path(__file__).with_name("page.css")


def build(folder: Path) -> str:
    """The page of a finished run. Raises DataError where the folder holds none, DistillError without matplotlib.

    The rows on which the teacher is least sure are shown where the run's data can still be read, and are the same.
    """
    try:
        return _page(folder)
    except (KeyError, TypeError, IndexError, ValueError) as error:
        what = f"the results are not those of a run: {type(error).__name__} {error}"
        raise DataError(f"{folder / RESULTS}: {what}; run it again with this version") from None


def files(folder: Path) -> list[Path]:
    """What a run's page is made from, so that it replaces none of it."""
    origin = plan_file(folder)
    return [
        *remaining_input_files(_plan(folder)),
        *([origin] if origin else []),
        *(file for file in folder.iterdir() if is_run_file(file.name)),
    ]


def _page(folder: Path) -> str:
    results = _results(folder)
    split = results["verdict"]["split"]
    models, classes = results["models"], [_name(c) for c in results["data"]["classes"]]
    parts = [
        _verdict(results),
        _section("The three models", _one_seed(results) + _measures(results)),
        _teachers(results["teachers"]),
        _section("Every seed", _image(plots.gains(results["seeds"], results["verdict"]), "gain of every seed"))
        if len(results["seeds"]) > 1
        else "",
        _section("Learning curves", _image(plots.curves(results["history"]), "learning curves")),
        _section(
            "Size and calibration",
            _flow(
                [
                    _image(plots.sizes(models, split), "accuracy against parameters"),
                    _image(plots.reliability(models, split), "accuracy against confidence"),
                ]
            ),
        ),
        _section(
            "What the teacher is least sure of",
            _unsure(folder, split, results),
        ),
        _section(
            "Confusion matrices",
            f"<p class=soft>{SPLITS[split]} rows by true class (down) and chosen class (across).</p>"
            + _flow(
                _confusion(name, np.array(models[name][split]["confusion"]), classes)
                for name in MODELS
                if models[name][split]
            ),
        ),
        _section("The plan, as it ran", f"<pre>{escape(dump(_plan(folder)))}</pre>"),
        _section(
            "Where it ran",
            f"<pre>{escape(json.dumps({k: results[k] for k in ('versions', 'machine', 'timings')}, indent=2))}</pre>",
        ),
    ]
    return (
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8>"
        f'<meta http-equiv=Content-Security-Policy content="{POLICY}">'
        "<meta name=viewport content='width=device-width, initial-scale=1'><link rel=icon href='data:,'>"
        f"<title>{escape(printable(results['verdict']['text']))}</title><style>{STYLE.read_text(encoding='utf-8')}</style></head>\n"
        f"<body>{''.join(parts)}</body></html>\n"
    )


def _results(folder: Path) -> dict[str, Any]:
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


def _plan(folder: Path) -> Config:
    try:
        return load(folder / "config.yaml")
    except ConfigError as error:
        raise DataError(f"{folder}: its config.yaml cannot be read: {error.faults[0]}") from None


def _verdict(results: Mapping[str, Any]) -> str:
    found = results["verdict"]
    kind = {"helped": "helped", "hurt": "hurt"}.get(found["outcome"], "even")
    failed = [f"Seed {one['seed']} could not be run: {one['error']}" for one in results.get("failed_seeds", ())]
    advice = "".join(f"<li>{escape(printable(sentence))}</li>" for sentence in [*failed, *results["advice"]])
    return (
        f"<h1>Did distillation help? {_name(results['data']['source'])}</h1>"
        f"<p class='verdict {kind}'>{escape(found['text'][0].upper() + found['text'][1:])}</p>"
        f"<p>Student minus control in {SPLITS[found['split']]} accuracy; {escape(found['test'])} test, "
        f"p = {found['p_value']:.2g}. The student trains on <b>{_name(results['objective'])}</b>, the control on "
        f"<b>{_name(results['control_objective'])}</b>, from the same initial weights, on the same batches and labels. "
        + _size(results["compression_ratio"])
        + "</p>"
        + (f"<ul>{advice}</ul>" if advice else "")
    )


def _size(ratio: float | None) -> str:
    return "" if ratio is None else f"The teacher has {ratio:.2f} times the student's parameters."


def _one_seed(results: Mapping[str, Any]) -> str:
    """With several seeds the verdict is over all of them; what the page shows below is one run."""
    first, count = results["seeds"][0]["seed"], len(results["seeds"])
    if count == 1 and not results.get("failed_seeds"):
        return ""
    over = f"{count} seeds" if count > 1 else "one seed"
    what = f"The verdict is over {over}; the figures, curves and rows from here on are those of seed {first}"
    return f"<p class=soft>{what}, except under Every seed.</p>"


def _measures(results: Mapping[str, Any]) -> str:
    models, timings = results["models"], results["timings"]
    lines = []
    for split in (split for split in SPLITS if split in models["student"]):
        for key, (label, form) in MEASURES.items():
            found = [(models[name][split] or {}).get(key) for name in MODELS]
            lines.append([f"{SPLITS[split]} {label}", *(_known(form, value) for value in found)])
    lines.append(["parameters", *(_known("{:,}", models[name]["parameters"]) for name in MODELS)])
    kilobytes = [models[name]["bytes"] and models[name]["bytes"] / 1024 for name in MODELS]
    lines.append(["weights", *(_known("{:,.1f} kB", one) for one in kilobytes)])
    for rows_ in (1, 256):
        key = f"row_us_batch_{rows_}"
        times = [timings.get(name, {}).get(key) for name in MODELS]
        lines.append([f"inference per row, batch {rows_}", *(_known("{:.2f} µs", one) for one in times)])
    lines.append(["epoch of the model", *(_epoch(models[name]) for name in MODELS)])
    head = "".join(f"<th>{name}</th>" for name in ("", *MODELS))
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in line) + "</tr>" for line in lines)
    return f"<div class=wide><table><tr>{head}</tr>{body}</table></div>"


def _teachers(teachers: Mapping[str, Any]) -> str:
    """Each teacher by itself, where the table's teacher is several, or learned from another."""
    if len(teachers) == 1 and all(one["origin"] == "trained" for one in teachers.values()):
        return ""
    head = "<tr><th>teacher</th><th>share</th><th>validation accuracy</th><th>parameters</th><th>learned from</th></tr>"
    lines = (
        [
            _name(name),
            f"{one['share']:.2f}",
            _known("{:.4f}", one["val_accuracy"]),
            _known("{:,}", one["parameters"]),
            _name(one["objective"] or WHENCE[one["origin"]]),
        ]
        for name, one in teachers.items()
    )
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in line) + "</tr>" for line in lines)
    return _section("The teachers", f"<div class=wide><table>{head}{body}</table></div>")


def _known(form: str, value: float | None) -> str:
    return "–" if value is None else form.format(value)


def _epoch(model: Mapping[str, Any]) -> str:
    if not model["last"]:
        return "–" if model["kept"] is None else "untrained"
    return f"{model[model['kept']]['epoch']} of {model['last']['epoch']} (best {model['best']['epoch']})"


def _unsure(folder: Path, split: str, results: Mapping[str, Any]) -> str:
    """The rows of least confidence, each with its picture where it is one."""
    plan = _plan(folder)
    try:
        short = plan.distillation
        for name in (plan.data.source, plan.data.test):
            if name and once_only(rows.locate(name)):
                raise DataError(f"{name}: could be read only once")
        seed = short.random_seed if plan.evidence.share_teacher else results["seeds"][0]["seed"]
        data = rows.load(plan.data, short.train_ratio, short.max_samples, seed)
        if data.fingerprint() != results["data"]["sha256"]:
            raise DataError(f"{plan.data.source}: its rows are no longer those of the run")
        shown, student = data.judged[split], load_model(folder / "student.npz")
        s, t = mlp.logits(student.weights, shown.x), _teacher_logits(folder, plan, results, shown.x)
    except (DataError, KeyError) as error:
        return f"<p>Left out, as the run's data are not at hand any more: {escape(str(error))}</p>"
    softened = [term.options["temperature"] for term in plan.student.terms if "temperature" in term.options]
    temperature = softened[0] if softened else 1.0
    p, q = (np.exp(log_softmax(z.astype(np.float64), temperature=temperature)) for z in (t, s))
    sure = np.exp(log_softmax(t.astype(np.float64))).max(axis=1)
    cards = (
        _card(data, i, p[i], q[i], shown.x[i], int(shown.y[i])) for i in np.argsort(sure, kind="stable")[:UNSURE_ROWS]
    )
    what = (
        f"Rows of the {SPLITS[split]} set. Above the teacher's soft targets at T = {temperature:g}, below the "
        "student's probabilities at that temperature. The shares of a row's classes are what distillation hands over."
    )
    return f"<p class=soft>{what}</p>{_flow(cards)}"


def _teacher_logits(folder: Path, plan: Config, results: Mapping[str, Any], x: Any) -> Array:
    """What the student listened to, where it was networks of the run."""
    shares = {name: one["share"] for name, one in results["teachers"].items() if one["share"]}
    shares = shares or {list(plan.teachers)[-1]: 1.0}  # for comparison
    members = []
    for name in shares:
        if plan.teachers[name].origin != "trained":
            raise DataError(f"the teacher {name!r} is no network of the run")
        members.append(mlp.logits(load_model(folder / f"{teacher_file(name, plan.teachers)}.npz").weights, x))
    return combine(members, list(shares.values()), "probabilities")


def _card(data: Data, row: int, p: Array, q: Array, x: Array, y: int) -> str:
    image = ""
    if data.picture:
        low, high = float(x.min()), float(x.max())
        pixels = ((x - low) / max(high - low, 1e-12)).reshape(data.picture)
        image = f"<img class=pixels alt='row {row}' src='{plots.picture(pixels)}'>"
    bars = "".join(
        f"<div><span title='{_name(data.classes[k])}'>{_name(data.classes[k])}</span>"
        f"<span><i style='width:{100 * p[k]:.1f}%'></i><i style='width:{100 * q[k]:.1f}%'></i></span></div>"
        for k in np.argsort(-(p + q), kind="stable")[:BARS]
    )
    what = f"<div class=soft>row {row}, label {_name(data.classes[y])}</div>"
    return f"<div class=card>{what}<div class=flow>{image}<div class=bars>{bars}</div></div></div>"


def _confusion(name: str, counts: Array, classes: Sequence[str]) -> str:
    if len(classes) > TABLE_CLASSES:
        image = f"<img class=heat alt='confusion matrix of the {name}' src='{plots.heat(counts)}'>"
        return f"<figure>{image}<figcaption>{name}, {len(classes)} classes</figcaption></figure>"
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    head = "".join(f"<th title='{c}'>{c}</th>" for c in classes)
    body = "".join(
        f"<tr><th title='{c}'>{c}</th>{''.join(map(_cell, [name] * len(line), line, part))}</tr>"
        for c, line, part in zip(classes, counts.tolist(), shares.tolist(), strict=True)
    )
    table = f"<table class=cells><tr><th></th>{head}</tr>{body}</table>"
    return f"<figure class=wide><figcaption>{name}</figcaption>{table}</figure>"


def _cell(name: str, count: int, share: float) -> str:
    colour = f"color-mix(in srgb,{plots.COLOURS[name]} {80 * share:.0f}%,transparent)"
    return f"<td style='background:{colour}'>{count or ''}</td>"


def _name(label: object) -> str:
    """A class name as inert text; long ones are cut by the page, whole in the title."""
    return escape(printable(str(label)))


def _section(title: str, content: str) -> str:
    return f"<section><h2>{title}</h2>{content}</section>\n"


def _flow(parts: Iterable[str]) -> str:
    return f"<div class=flow>{''.join(parts)}</div>"


def _image(address: str, what: str) -> str:
    return f"<img alt='{what}' src='{address}'>"
