"""What the complete scripts share, in NumPy: config.yaml's plan, its rows, first weights, order of batches, results."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Layers = list[tuple[Array, Array]]  # weights (C,M) and biases (M,) of each layer

TEACHER, STUDENT = (64, 128, 10), (64, 32, 10)
EPOCHS, BATCH, RATE, TEMPERATURE, ALPHA, SEED = 10, 32, 0.01, 4.0, 0.7, 0


class Rows(NamedTuple):
    """Scaled rows (N,D) float32 and labels (N,)."""

    x: Array
    y: Array


def digits(path: str) -> tuple[Rows, Rows]:
    """Training and validation rows: a fifth of every class is held out; mean 0 and deviation 1 over training rows."""
    with np.load(path) as file:
        x, y = file["X"].reshape(len(file["y"]), -1).astype(np.float64), file["y"]
    rng = np.random.default_rng(SEED)
    held_out = np.zeros(len(y), bool)
    for label in np.unique(y):
        rows = rng.permutation(np.flatnonzero(y == label))
        held_out[rows[: round(0.2 * len(rows))]] = True
    mean, deviation = x[~held_out].mean(axis=0), x[~held_out].std(axis=0)
    scaled = ((x - mean) / np.where(deviation > 0, deviation, 1)).astype(np.float32)
    return Rows(scaled[~held_out], y[~held_out]), Rows(scaled[held_out], y[held_out])


def first(sizes: tuple[int, ...]) -> Layers:
    """Normal weights of variance 2/C, or 1/C before the logits, and biases of 0."""
    rng, last = np.random.default_rng(SEED + 1), len(sizes) - 2
    spread = [((2 if k < last else 1) / c) ** 0.5 for k, c in enumerate(sizes[:-1])]
    return [
        (rng.standard_normal((c, m)).astype(np.float32) * np.float32(scale), np.zeros(m, np.float32))
        for (c, m), scale in zip(pairwise(sizes), spread, strict=True)
    ]


def orders(rows: int) -> Array:
    """The order of the rows in every epoch (epochs, rows)."""
    rng = np.random.default_rng(SEED + 2)
    return np.stack([rng.permutation(rows) for _ in range(EPOCHS)])


def finish(models: dict[str, Layers], validation: Rows) -> None:
    """Judge the models and write everything into the working directory."""
    results = {}
    for name, layers in models.items():
        h = validation.x
        for w, b in layers[:-1]:
            h = np.maximum(h @ w + b, 0)
        logits = h @ layers[-1][0] + layers[-1][1]
        results[f"{name}_val_accuracy"] = float((logits.argmax(axis=1) == validation.y).mean())
        np.savez(f"{name}.npz", *(array for layer in layers for array in layer))
    Path("results.json").write_text(json.dumps(results, indent=1) + "\n")
