"""The softmax, and several teachers as one."""

import json
from pathlib import Path

import numpy as np
import pytest

from distill.nn.ops import combine, log_softmax, softmax

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "losses.json").read_text())


def test_log_softmax_is_the_log_of_the_definition() -> None:
    for n, t in ((1, 0.5), (32, 1.0), (32, 4.0)):
        z = np.random.default_rng(1).normal(size=(n, 7))
        p = np.exp(z / t) / np.exp(z / t).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(log_softmax(z, temperature=t), np.log(p), rtol=1e-12)
    for t, shares in GOLDEN["softmax_of_[2,1,0.1]"].items():
        found = softmax(np.array([[2, 1, 0.1]]), temperature=float(t.removeprefix("T=")))
        np.testing.assert_allclose(found, [shares], atol=5.1e-5)


@pytest.mark.parametrize(
    ("how", "key"), [("probabilities", "row0_mean_of_probabilities_T1"), ("logits", "row0_softmax_of_mean_logits_T1")]
)
def test_an_ensemble_of_two_teachers_is_the_golden_one(how: str, key: str) -> None:
    golden = GOLDEN["ensemble_of_two_rows"]
    members = [np.array(z, float) for z in (GOLDEN["fixture"]["teacher_logits"], golden["second_teacher_logits"])]
    np.testing.assert_allclose(softmax(combine(members, [0.5, 0.5], how, 1.0))[0], golden[key], rtol=1e-12)


def test_members_far_apart_and_tiny_shares_are_combined_without_loss() -> None:
    """A share that float32 takes for 0 has a logarithm all the same."""
    members = [np.array([[1000.0, 0, 0]], np.float32), np.array([[0, 1000.0, 0]], np.float32)]
    found = combine(members, [1 - 1e-60, 1e-60], "probabilities", 2.0)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [[0, 2 * np.log(1e-60), -1000]], rtol=1e-6, atol=1e-4)
