"""The sections of a run's page that are made from its results alone: verdict, figures, teachers, plots, confusion."""

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from distill.nn.vector import Array
from distill.report import plots
from distill.report.experiment import MODELS
from distill.report.page_html import flow, image, inert, preformatted, section, wide_table
from distill.report.results import SPLITS, WHENCE

TABLE_CLASSES = 20  # a confusion matrix of more classes is drawn as a picture

# Figure in the results -> its name and format.
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


def verdict(results: Mapping[str, Any]) -> str:
    """Return the verdict, what it rests on, and the advice."""
    outcome = results["verdict"]
    css_class = {"helped": "helped", "hurt": "hurt"}.get(outcome["outcome"], "even")
    failed = [f"Seed {seed['seed']} could not be run: {seed['error']}" for seed in results.get("failed_seeds", ())]
    advice = "".join(f"<li>{inert(sentence)}</li>" for sentence in [*failed, *results["advice"]])
    ratio = results["compression_ratio"]
    size = "" if ratio is None else f"The teacher has {ratio:.2f} times the student's parameters."
    return (
        f"<h1>Did distillation help? {inert(results['data']['source'])}</h1>"
        f"<p class='verdict {css_class}'>{escape(outcome['text'][0].upper() + outcome['text'][1:])}</p>"
        f"<p>Student minus control in {SPLITS[outcome['split']]} accuracy; {escape(outcome['test'])} test, "
        f"p = {outcome['p_value']:.2g}. The student trains on <b>{inert(results['objective'])}</b>, the control on "
        f"<b>{inert(results['control_objective'])}</b>, from the same initial weights, on the same batches and labels. "
        f"{size}</p>" + (f"<ul>{advice}</ul>" if advice else "")
    )


def models(results: Mapping[str, Any]) -> str:
    """Return the figures of teacher, student and control side by side."""
    return section("The three models", _first_seed_note(results) + _measures(results))


def teachers(results: Mapping[str, Any]) -> str:
    """Return the figures of each teacher; nothing for a single one that was trained on the labels."""
    figures = results["teachers"]
    if len(figures) == 1 and all(teacher["origin"] == "trained" for teacher in figures.values()):
        return ""
    rows = (
        [
            inert(name),
            f"{teacher['share']:.2f}",
            _format("{:.4f}", teacher["val_accuracy"]),
            _format("{:,}", teacher["parameters"]),
            inert(teacher["objective"] or WHENCE[teacher["origin"]]),
        ]
        for name, teacher in figures.items()
    )
    head = ("teacher", "share", "validation accuracy", "parameters", "learned from")
    return section("The teachers", wide_table(head, rows))


def seeds(results: Mapping[str, Any]) -> str:
    """Return the gain of every seed; nothing for a single seed."""
    if len(results["seeds"]) == 1:
        return ""
    return section("Every seed", image(plots.gains(results["seeds"], results["verdict"]), "gain of every seed"))


def curves(results: Mapping[str, Any]) -> str:
    """Return the learning curves."""
    return section("Learning curves", image(plots.curves(results["history"]), "learning curves"))


def size_and_calibration(results: Mapping[str, Any]) -> str:
    """Return accuracy against parameters and against confidence, on the rows of the verdict."""
    split = results["verdict"]["split"]
    images = [
        image(plots.sizes(results["models"], split), "accuracy against parameters"),
        image(plots.reliability(results["models"], split), "accuracy against confidence"),
    ]
    return section("Size and calibration", flow(images))


def confusion(results: Mapping[str, Any]) -> str:
    """Return the confusion matrices on the rows of the verdict."""
    split, classes = results["verdict"]["split"], [inert(label) for label in results["data"]["classes"]]
    judged = {name: results["models"][name][split] for name in MODELS}
    matrices = (
        _confusion_matrix(name, np.array(figures["confusion"]), classes) for name, figures in judged.items() if figures
    )
    note = f"<p class=soft>{SPLITS[split]} rows by true class (down) and chosen class (across).</p>"
    return section("Confusion matrices", note + flow(matrices))


def machine(results: Mapping[str, Any]) -> str:
    """Return versions, machine and timings."""
    facts = {key: results[key] for key in ("versions", "machine", "timings")}
    return section("Where it ran", preformatted(json.dumps(facts, indent=2)))


def _first_seed_note(results: Mapping[str, Any]) -> str:
    """Return which seed the figures below are of, if the verdict is over several."""
    first, count = results["seeds"][0]["seed"], len(results["seeds"])
    if count == 1 and not results.get("failed_seeds"):
        return ""
    seeds = f"{count} seeds" if count > 1 else "one seed"
    note = f"The verdict is over {seeds}; the figures, curves and rows from here on are those of seed {first}"
    return f"<p class=soft>{note}, except under Every seed.</p>"


def _measures(results: Mapping[str, Any]) -> str:
    models, timings = results["models"], results["timings"]
    rows = [
        [f"{SPLITS[split]} {label}", *(_format(form, (models[name][split] or {}).get(key)) for name in MODELS)]
        for split in SPLITS
        if split in models["student"]
        for key, (label, form) in MEASURES.items()
    ]
    rows.append(["parameters", *(_format("{:,}", models[name]["parameters"]) for name in MODELS)])
    kilobytes = [models[name]["bytes"] and models[name]["bytes"] / 1024 for name in MODELS]
    rows.append(["weights", *(_format("{:,.1f} kB", size) for size in kilobytes)])
    for batch_size in (1, 256):
        times = [timings.get(name, {}).get(f"row_us_batch_{batch_size}") for name in MODELS]
        rows.append([f"inference per row, batch {batch_size}", *(_format("{:.2f} µs", time) for time in times)])
    rows.append(["epoch of the model", *(_epoch(models[name]) for name in MODELS)])
    return wide_table(("", *MODELS), [[escape(cell) for cell in row] for row in rows])


def _format(form: str, value: float | None) -> str:
    return "–" if value is None else form.format(value)


def _epoch(model: Mapping[str, Any]) -> str:
    """Return the epoch whose weights the model has."""
    if not model["last"]:
        return "–" if model["kept"] is None else "untrained"
    return f"{model[model['kept']]['epoch']} of {model['last']['epoch']} (best {model['best']['epoch']})"


def _confusion_matrix(name: str, counts: Array, classes: Sequence[str]) -> str:
    if len(classes) > TABLE_CLASSES:
        picture = f"<img class=heat alt='confusion matrix of the {name}' src='{plots.heat(counts)}'>"
        return f"<figure>{picture}<figcaption>{name}, {len(classes)} classes</figcaption></figure>"
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    head = "".join(f"<th title='{label}'>{label}</th>" for label in classes)
    body = "".join(
        f"<tr><th title='{label}'>{label}</th>{''.join(map(_cell, [name] * len(row), row, row_shares))}</tr>"
        for label, row, row_shares in zip(classes, counts.tolist(), shares.tolist(), strict=True)
    )
    table = f"<table class=cells><tr><th></th>{head}</tr>{body}</table>"
    return f"<figure class=wide><figcaption>{name}</figcaption>{table}</figure>"


def _cell(name: str, count: int, share: float) -> str:
    colour = f"color-mix(in srgb,{plots.COLOURS[name]} {80 * share:.0f}%,transparent)"
    return f"<td style='background:{colour}'>{count or ''}</td>"
