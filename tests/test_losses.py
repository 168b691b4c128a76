"""Losses against values computed elsewhere, and the properties that distillation rests on."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from distill.nn.losses import cross_entropy, response
from distill.nn.ops import log_softmax
from distill.nn.vector import Array

# Computed in float64 by another program, for the logits and labels of its "fixture".
GOLDEN = json.loads((Path(__file__).parent / "golden" / "losses.json").read_text())
STUDENT, TEACHER, LABELS = (np.array(GOLDEN["fixture"][k]) for k in ("student_logits", "teacher_logits", "labels"))
STUDENT, TEACHER = STUDENT.astype(float), TEACHER.astype(float)

LOGITS = arrays(np.float64, (4, 5), elements=st.floats(-20, 20))
TEMPERATURES = st.floats(0.5, 20)


def test_cross_entropy_is_the_golden_value() -> None:
    assert cross_entropy(STUDENT, None, LABELS)[0] == pytest.approx(GOLDEN["cross_entropy"], rel=1e-12)


@pytest.mark.parametrize(("t", "value"), GOLDEN["response"].items())
def test_response_is_the_golden_value(t: str, value: float) -> None:
    assert response(STUDENT, TEACHER, temperature=float(t))[0] == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize(("t", "norm"), GOLDEN["response_gradient_norm"].items())
def test_response_gradient_has_the_golden_norm(t: str, norm: float) -> None:
    assert np.linalg.norm(response(STUDENT, TEACHER, temperature=float(t))[1]) == pytest.approx(norm, rel=1e-9)


@pytest.mark.parametrize(("t", "value"), GOLDEN["response_without_T2"].items())
def test_response_without_t_squared_is_the_golden_value(t: str, value: float) -> None:
    found = response(STUDENT, TEACHER, temperature=float(t), t_squared=False)[0]
    assert found == pytest.approx(value, rel=1e-9)


def test_response_tends_to_its_high_temperature_limit() -> None:
    assert response(STUDENT, TEACHER, temperature=1e4)[0] == pytest.approx(GOLDEN["response_high_T_limit"], rel=1e-4)


def test_the_kl_is_summed_over_classes_and_averaged_over_rows() -> None:
    one = response(STUDENT[:1], TEACHER[:1])[0]
    other = response(STUDENT[1:], TEACHER[1:])[0]
    assert response(STUDENT, TEACHER)[0] == pytest.approx((one + other) / 2, rel=1e-12)
    twice = response(np.tile(STUDENT, (5, 1)), np.tile(TEACHER, (5, 1)))
    assert twice[0] == pytest.approx(response(STUDENT, TEACHER)[0], rel=1e-12)
    np.testing.assert_allclose(twice[1][:2] * 5, response(STUDENT, TEACHER)[1], rtol=1e-12)


@pytest.mark.parametrize("shape", [(2, 3), (3, 4), (2,)])
def test_shapes_that_do_not_fit_are_named(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\(2, 4\).*" + str(shape).replace("(", r"\(").replace(")", r"\)")):
        response(STUDENT, np.zeros(shape))
    with pytest.raises(ValueError, match=r"\(2, 4\).*\(2,\).*\(3,\)"):
        cross_entropy(STUDENT, None, np.zeros(3, int))


@pytest.mark.parametrize("size", [1e4, 1e30])
def test_float32_is_safe_at_extreme_logits(size: float) -> None:
    student = np.array([[size, -size, 0], [-size, size, 0]], np.float32)
    for value, gradient in (
        cross_entropy(student, None, np.array([0, 1])),
        response(student / 2, -student / 2, temperature=1.0),
    ):
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()


@given(LOGITS, TEMPERATURES)
def test_response_is_zero_when_the_student_is_the_teacher(z: Array, t: float) -> None:
    value, gradient = response(z, z.copy(), temperature=t)
    assert abs(value) <= 1e-12 * t * t
    assert np.abs(gradient).max() <= 1e-12 * t


@given(LOGITS, LOGITS, TEMPERATURES)
def test_response_is_never_negative_and_its_gradient_sums_to_zero_in_each_row(z: Array, y: Array, t: float) -> None:
    value, gradient = response(z, y, temperature=t)
    assert value >= -1e-9
    np.testing.assert_allclose(gradient.sum(axis=1), 0, atol=1e-12 * t)


@given(LOGITS, LOGITS, st.floats(-50, 50), TEMPERATURES)
def test_a_constant_added_to_a_row_changes_nothing(z: Array, y: Array, shift: float, t: float) -> None:
    np.testing.assert_allclose(response(z + shift, y, temperature=t)[1], response(z, y, temperature=t)[1], atol=1e-9)


@given(LOGITS, LOGITS, st.permutations(range(5)), st.permutations(range(4)))
def test_the_order_of_classes_and_rows_does_not_matter(z: Array, y: Array, classes: list[int], rows: list[int]) -> None:
    value, gradient = response(z, y)
    moved_value, moved = response(z[rows][:, classes], y[rows][:, classes])
    assert moved_value == pytest.approx(value, rel=1e-9, abs=1e-12)
    np.testing.assert_allclose(moved, gradient[rows][:, classes], atol=1e-12)


@given(arrays(np.float64, (1, 6), elements=st.floats(-5, 5), unique=True), st.floats(0.5, 20), st.floats(1.05, 3))
def test_entropy_strictly_rises_with_temperature(z: Array, t: float, factor: float) -> None:
    z += np.arange(6)  # logits that differ clearly

    def entropy(at: float) -> float:
        log_p = log_softmax(z, temperature=at)
        return -float((np.exp(log_p) * log_p).sum())

    assert entropy(t * factor) > entropy(t)


@given(LOGITS, TEMPERATURES)
def test_softmax_rows_sum_to_one(z: Array, t: float) -> None:
    np.testing.assert_allclose(np.exp(log_softmax(z, temperature=t)).sum(axis=1), 1, rtol=1e-12)


def test_t_squared_keeps_the_gradient_in_place_from_t_1_to_20() -> None:
    rng = np.random.default_rng(0)
    student, teacher = rng.normal(size=(2, 2000, 10))
    norms = [np.linalg.norm(response(student, teacher, temperature=t)[1]) for t in range(1, 21)]
    without = [np.linalg.norm(response(student, teacher, temperature=t, t_squared=False)[1]) for t in (1, 20)]
    assert max(norms) / min(norms) < 1.15
    assert without[0] / without[1] > 300


@settings(max_examples=30)
@given(LOGITS)
def test_cross_entropy_is_the_kl_to_a_certain_teacher(z: Array) -> None:
    labels = np.arange(4) % 5
    certain = np.where(np.arange(5) == labels[:, None], 500.0, 0.0)
    value, gradient = response(z, certain, temperature=1.0)
    expected, slope = cross_entropy(z, None, labels)
    assert value == pytest.approx(expected, rel=1e-9, abs=1e-9)
    np.testing.assert_allclose(gradient, slope, atol=1e-12)
