"""What several test files share: the real data folder, a small plan, and a run of it."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

import distill
from distill.data.rows import Rows
from distill.nn.mlp import MLP
from distill.nn.vector import Array, Vector
from distill.train.outputs import TeacherOutputs
from distill.train.state import Progress, State

# How fast a shared machine is must never decide a test, nor which examples it happened to draw.
settings.register_profile("steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")

# Absolute at once: tests change the working directory.
DATA = Path(os.environ.get("DISTILL_DATA") or "../shared/data").absolute()
SMALL = {"distillation": {"max_samples": 200, "teacher_epochs": 3, "student_epochs": 2, "teacher_hidden": 16}}


@pytest.fixture
def real_data() -> Callable[[str], Path]:
    """A file or folder of the real data, or a skip that says what is missing."""

    def find(name: str) -> Path:
        path = DATA / name
        if not path.exists():
            pytest.skip(f"needs {name} in {DATA}; set DISTILL_DATA to the folder of real data")
        return path

    return find


@pytest.fixture
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and no settings from the environment."""
    for name in ("DISTILL_CONFIG", "DISTILL_LOG_LEVEL", "DISTILL_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def small_run() -> distill.Results:
    """One small run on the digits, kept in memory."""
    return distill.run(SMALL)


def small(*overrides: str, **sections: Any) -> distill.Results:
    """Another small run, with overrides or further sections."""
    return distill.run(SMALL | sections, overrides)


def held(rows: Rows) -> Array:
    """The features of rows that are in memory."""
    assert isinstance(rows.x, np.ndarray)
    return rows.x


def blobs(rows: int = 120, classes: int = 3, features: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Well separated classes: x (rows, features), y (rows,)."""
    rng = np.random.default_rng(seed)
    y = np.arange(rows) % classes
    return rng.normal(size=(rows, features)) + 4 * rng.normal(size=(classes, features))[y], y


def network_of(weights: Vector) -> MLP:
    """The perceptron that weights of these shapes belong to."""
    shapes = list(weights.shapes.values())
    return MLP((shapes[0][1] - 1, *(units for units, _ in shapes)))


def state_of(weights: Vector, rng: np.random.Generator, adapters: Sequence[Vector] = ()) -> State:
    """The state before a first step from these weights, with one stream for batches and noise."""
    count = len(weights.networks())
    return State(weights, list(adapters) or [Vector({}) for _ in range(count)], rng, rng, [Progress()] * count)


def answered(logits: dict[str, Array]) -> dict[str, TeacherOutputs]:
    """Teachers by what they say of all rows."""
    return {name: TeacherOutputs(z, {}, np.arange(len(z))) for name, z in logits.items()}
