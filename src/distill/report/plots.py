"""The plots of a run's page, drawn with matplotlib (the extra `report`) and returned as data URLs for <img>.

Text and axes are of a grey that can be read on a light and a dark background; the background is transparent.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from distill.errors import DistillError
from distill.nn.vector import Array

COLOURS = {"teacher": "#8a63d2", "student": "#e0572f", "control": "#2a9d8f"}
GREY = "#868686"
MAX_POINTS = 300  # of a curve; of a longer one, some are left out

STYLE: Any = {
    "axes.edgecolor": GREY,
    "axes.labelcolor": GREY,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": GREY,
    "font.size": 9.0,
    "grid.alpha": 0.35,
    "grid.color": GREY,
    "legend.frameon": False,
    "legend.labelcolor": GREY,
    "svg.hashsalt": "distill",
    "text.color": GREY,
    "xtick.color": GREY,
    "ytick.color": GREY,
}


def curves(history: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Plot validation accuracy and cross-entropy of every model over the epochs."""
    figure, axes = _figure(2)
    for axis, key, title in zip(axes, ("val_accuracy", "val_ce"), ("accuracy", "cross-entropy"), strict=True):
        for name, epochs in history.items():
            if name not in COLOURS:
                continue
            points = [
                epochs[i] for i in sorted({round(k) for k in np.linspace(0, len(epochs) - 1, MAX_POINTS)}) if epochs
            ]
            axis.plot([p["epoch"] for p in points], [p[key] for p in points], color=COLOURS[name], label=name)
        axis.set(title=f"validation {title}", xlabel="epoch")
    axes[0].legend()
    return _svg(figure)


def sizes(models: Mapping[str, Mapping[str, Any]], split: str) -> str:
    """Plot accuracy against parameters."""
    figure, (axis,) = _figure(1)
    for name, model in models.items():
        if model["parameters"] is None or not model[split]:
            continue
        axis.scatter(model["parameters"], model[split]["accuracy"], 60, COLOURS[name], label=name)
    axis.set(xscale="log", xlabel="parameters", title="accuracy against parameters")
    axis.legend()
    return _svg(figure)


def reliability(models: Mapping[str, Mapping[str, Any]], split: str) -> str:
    """Plot accuracy against confidence in bins; a dot's area grows with its share of the rows. A calibrated model is on
    the diagonal."""
    figure, (axis,) = _figure(1)
    axis.plot([0, 1], [0, 1], color=GREY, linestyle=":")
    for name, model in models.items():
        if not model[split]:
            continue
        bins = model[split]["reliability"]
        x, y = [b["confidence"] for b in bins], [b["accuracy"] for b in bins]
        axis.plot(x, y, color=COLOURS[name], alpha=0.35)
        axis.scatter(x, y, [6 + 160 * b["share"] for b in bins], COLOURS[name], label=name)
    axis.set(xlabel="confidence", title="accuracy against confidence", xlim=(0, 1.02), ylim=(0, 1.02))
    axis.legend()
    return _svg(figure)


def gains(seeds: Sequence[Mapping[str, Any]], verdict: Mapping[str, Any]) -> str:
    """Plot student minus control of every seed, in points, with the mean and its interval."""
    figure, (axis,) = _figure(1)
    points = sorted(100 * (seed["student_accuracy"] - seed["control_accuracy"]) for seed in seeds)
    low, high = (100 * bound for bound in verdict["ci95"])
    axis.axvline(0, color=GREY, linestyle=":")
    axis.axvspan(low, high, color=COLOURS["student"], alpha=0.2, linewidth=0)
    axis.axvline(100 * verdict["gain"], color=COLOURS["student"])
    axis.scatter(points, range(1, len(points) + 1), 25, COLOURS["student"])
    axis.set(xlabel="student - control, points of accuracy", title="gain of every seed, in order", yticks=[])
    return _svg(figure)


def picture(pixels: Array) -> str:
    """Return a grey picture of pixels (height, width) from 0 to 1, dark where they are high."""
    buffer = io.BytesIO()
    _pyplot().imsave(buffer, 1 - np.clip(pixels, 0, 1), cmap="gray", vmin=0, vmax=1, format="png")
    return _data_url("image/png", buffer.getvalue())


def heat(counts: Array) -> str:
    """Return a confusion matrix (M,M) as a picture, each row as shares of its class."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    buffer = io.BytesIO()
    _pyplot().imsave(buffer, shares, cmap="magma_r", vmin=0, vmax=1, format="png")
    return _data_url("image/png", buffer.getvalue())


def _pyplot() -> Any:
    try:
        import matplotlib
    except ImportError:
        raise DistillError("the report needs matplotlib; install it with: pip install 'distill[report]'") from None
    matplotlib.use("agg")
    matplotlib.rcParams.update(STYLE)
    from matplotlib import pyplot

    return pyplot


def _figure(count: int) -> tuple[Any, Any]:
    figure, axes = _pyplot().subplots(1, count, figsize=(4.2 * count, 3.1), squeeze=False, layout="constrained")
    for axis in axes[0]:
        axis.grid(True)
    return figure, axes[0]


def _svg(figure: Any) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    _pyplot().close(figure)
    return _data_url("image/svg+xml", buffer.getvalue())


def _data_url(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
