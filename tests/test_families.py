"""A third family of networks, unknown to the package, teaches and learns in everything that a run does."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import distill
from distill import cli
from distill.config.families import FAMILIES
from distill.nn.mlp import MLP
from distill.nn.vector import Vector
from tanh_network import Tanh

TERMS = [
    {"loss": "cross_entropy", "weight": 0.3},
    {"loss": "response", "weight": 0.7},
    {"loss": "hint", "weight": 0.5},
]
PLAN: dict[str, Any] = {
    "distillation": {"max_samples": 600, "teacher_hidden": 48, "student_hidden": 16, "teacher_epochs": 12},
    "student": {"network": "tanh", "terms": TERMS, "epochs": 12},
    "teachers": {"teacher": {"network": "tanh"}},
}


@pytest.fixture(autouse=True)
def tanh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FAMILIES, "tanh", "tanh_network:Tanh")


def test_the_family_is_trained_distilled_saved_loaded_evaluated_and_judged(
    in_tmp: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = distill.run(PLAN | {"output": {"folder": "run"}, "evidence": {"seeds": 2}})
    assert results.teacher is not None
    assert (results.teacher.network, results.student.network) == (Tanh(64, 48, 10), Tanh(64, 16, 10))
    assert min(results[f"{name}_val_accuracy"] for name in ("teacher", "student", "control")) > 0.8
    assert results["objective"].endswith("0.5 hint(teacher)")
    assert results["verdict"]["seeds"] == 2
    loaded = distill.load_model("run/student.npz")
    assert (loaded.network, loaded.fingerprint()) == (results.student.network, results.student.fingerprint())
    assert distill.load_adapters("run/student.full.npz")["teacher.1-1"].shape == (48, 17)
    assert cli.main(["evaluate", "--model", "run/student.npz", "--data", "digits", "--json"]) == 0
    assert '"parameters": 1184' in capsys.readouterr().out
    again = distill.run(PLAN | {"teachers": {"teacher": {"load": "run/teacher.npz"}}})
    assert again.student.fingerprint() == results.student.fingerprint()


def test_families_learn_from_each_other_and_a_plan_repeats_itself(in_tmp: Path) -> None:
    mixed = PLAN | {"teachers": {}, "output": {"folder": "run"}}
    results = distill.run(mixed)
    assert results.teacher is not None
    assert isinstance(results.teacher.network, MLP)
    assert ("network" in results["config"]["teachers"]["teacher"], results["config"]["student"]["network"]) == (
        False,
        "tanh",
    )
    again = distill.run("run/config.yaml", ["output.folder=null"])
    assert again.student.fingerprint() == results.student.fingerprint()


def test_a_family_that_is_not_there_is_refused_by_name() -> None:
    with pytest.raises(distill.ConfigError, match=r"student\.network.*'gru'.*must be one of mlp"):
        distill.load_config({"student": {"network": "gru"}})


def test_its_gradient_is_the_slope_of_the_loss() -> None:
    """The tape of the test itself, so that what is shown is the engine's part and not a mistake of its own."""
    network, rng = Tanh(5, 4, 3), np.random.default_rng(0)
    weights = Vector(network.shapes, np.float64)
    network.initialise(weights, rng)
    gradient, x, d = weights.like(), rng.normal(size=(7, 5)), rng.normal(size=(3, 7))
    tape = network.tape(weights, gradient, 1, 7)
    tape.x[...] = x
    tape.forward(slice(None))(0)
    tape.d[0] = d
    tape.differentiate(0)
    direction = rng.normal(size=weights.flat.shape)
    moved = [Vector(network.shapes, flat=weights.flat + step * direction) for step in (1e-6, -1e-6)]
    near, far = (float((network.apply(w, x)[0].T * d).sum()) for w in moved)
    assert float(gradient.flat @ direction) == pytest.approx((near - far) / 2e-6, rel=1e-6)
