"""Losses on hidden layers where their formulas say nothing or lose digits: zeros, equal rows, few rows, blocks."""

import numpy as np
import pytest

from distill.nn import features
from distill.nn.features import FEATURES, attention, contrast, cosine, novelty, relation_angle, relation_distance
from loss_cases import ANY_WIDTH, AUTOGRAD, Case, assert_close

ZERO, X = np.zeros((1, 2)), np.array([[1.0, 0.0]])
EQUILATERAL = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(0.75)]])


def test_a_row_of_zeros_is_at_right_angles_to_everything_and_gets_no_gradient() -> None:
    some = np.random.default_rng(1).normal(size=(7, 2))
    for f, student, teacher, value in (
        (cosine, ZERO, X, 1),
        (cosine, X, ZERO, 1),
        (cosine, ZERO, ZERO, 0),  # two of them agree
        (attention, ZERO, X, 1),
        (attention, X, ZERO, 1),
        (attention, ZERO, ZERO, 0),
        (novelty, ZERO, X, 0),
        (novelty, X, ZERO, 0),
        (lambda x, y: novelty(x, y, margin=-0.5), ZERO, X, 0.5),
        (contrast, 0 * some, some, np.log(7)),
        (contrast, some, 0 * some, np.log(7)),
    ):
        assert_close((f, student, teacher), f(student, teacher), (value, 0 * student), atol=0)


def test_too_few_rows_to_relate_and_two_collapsed_sides_have_neither_value_nor_gradient() -> None:
    rows = np.tile([[0.3, -2.0, 1.1]], (5, 1))
    for loss, f in FEATURES.items():
        least = {"contrast": np.log(5), "novelty": 0.5}.get(loss, 0.0)
        assert_close(loss, f(rows, rows.copy()), (least, 0 * rows), atol=1e-14)
    for loss in (*ANY_WIDTH, "contrast"):
        for n in range(1, 3 if loss in ("probabilistic", "relation_angle") else 2):
            assert_close((loss, n), FEATURES[loss](*Case(loss, {}).batch(n)), (0, np.zeros((n, 6))), atol=1e-15)


def test_what_keeps_similarities_from_zero_hardly_moves_the_value_of_the_paper() -> None:
    golden = AUTOGRAD["features"]
    student, teacher = (np.array(golden["fixture"][side]) for side in ("student", "teacher"))
    result = FEATURES["probabilistic"](student, teacher)[0]
    assert result == pytest.approx(golden["probabilistic_without_floor"], rel=1e-5)


def test_the_fewest_rows_that_can_be_related() -> None:
    """Worked out by hand: distances 1, 1, 2 in units of their mean 4 / 3 against 1, 1, 1, for example."""
    x, y, line = X[0], np.array([0.0, 1.0]), np.array([[0.0], [1.0], [2.0]])
    shares = np.log(0.5 / (2 / 3)) / 2 + np.log(0.5 / (1 / 3)) / 2  # of the first row and the second; the third agrees
    for loss, student, teacher, value in (
        ("similarity", [x, y], [x, x], 2 * (2 - np.sqrt(2)) / 4),
        ("probabilistic", [x, x, y], np.eye(3), 2 * shares / 3),
        ("relation_angle", line, EQUILATERAL, (0.5**2 / 2 * 2 + (1.5 - 0.5)) / 3),
        ("relation_distance", line, EQUILATERAL, (0.25**2 + 0.25**2 + 0.5**2) / 2 / 3),
        ("relation_distance", np.ones((2, 1)), line[:2], 0.5),
        ("relation_distance", np.ones((3, 1)), line**2, (0.375**2 / 2 + (1.125 - 0.5) + (1.5 - 0.5)) / 3),
    ):
        assert FEATURES[loss](np.array(student), np.array(teacher))[0] == pytest.approx(value, rel=1e-6), loss


def test_relation_distance_sees_small_distances_between_rows_that_are_far_from_others_or_from_the_origin() -> None:
    """Distances 0.001, 9.999, 10 in units of 20 / 3 against 1, 1, 1."""
    shares = np.array([0.001, 9.999, 10]) * 3 / 20
    value, gradient = relation_distance(np.array([[0.0], [0.001], [10.0]]), EQUILATERAL)
    assert value == pytest.approx(((shares - 1) ** 2).mean() / 2, rel=1e-9)
    assert gradient[0, 0] == pytest.approx(-gradient[1, 0], rel=0.2)  # it is these two above all that are pushed apart
    assert gradient[0, 0] > 0.02
    # Multiples of 1 / 8 beside 2^20, so that the rows themselves are exact, in float32 too.
    student, teacher = (np.round(8 * x) / 8 for x in Case("relation_distance", {}, 4).batch(32)[:2])
    value, gradient = relation_distance(student, teacher)
    for dtype in (np.float32, np.float64):
        moved = relation_distance((student + 2**20).astype(dtype), (teacher - 2**20).astype(dtype))
        assert_close(dtype, moved, (value, gradient), rtol=1e-7, atol=1e-6 * np.abs(gradient).max())


def test_relation_angle_is_the_same_however_few_rows_are_worked_on_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    student, teacher, _ = Case("relation_angle", {}, 4).batch(11)
    whole = relation_angle(student, teacher)
    for rows in (0, 1, 3, 10):
        monkeypatch.setattr(features, "BLOCK_NUMBERS", rows * 11 * 11)
        assert_close(rows, relation_angle(student, teacher), whole, rtol=1e-12, atol=1e-16)
