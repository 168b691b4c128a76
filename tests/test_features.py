"""Losses on hidden layers: values computed elsewhere, differences, the least value, shapes, rows without direction."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distill.nn import features
from distill.nn.features import (
    FEATURES,
    SAME_UNITS,
    attention,
    contrast,
    cosine,
    hint,
    novelty,
    probabilistic,
    relation_angle,
    relation_distance,
    similarity,
)
from distill.nn.vector import Array
from test_losses import SAFE, both, slopes

# Computed in float64 by another program, for the features of its "fixture"; some of their rows are zeros.
GOLDEN = json.loads((Path(__file__).parent / "golden" / "features.json").read_text())["features"]
FIXTURE = {side: np.array(rows) for side, rows in GOLDEN["fixture"].items()}

OPTIONS: Mapping[str, list[dict[str, Any]]] = {
    "contrast": [{}, {"tau": 0.5}, {"tau": 2.0}],
    "novelty": [{}, {"margin": 0.0}, {"margin": -0.9}],
}
CASES = [(name, options) for name in FEATURES for options in OPTIONS.get(name, [{}])]
WIDTHS = [(name, options, width) for name, options in CASES for width in ((6,) if name in SAME_UNITS else (6, 4, 9))]
ANY_WIDTH = sorted(FEATURES.keys() - SAME_UNITS)
BY_DIRECTION = ["cosine", "attention", "probabilistic", "contrast", "novelty"]


def sides(n: int, width: int = 6, seed: int = 1) -> tuple[Array, Array]:
    """What a layer of six units and one of `width` say of n rows."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 6)), rng.normal(size=(n, width))


# --- values computed elsewhere ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "one", GOLDEN["references"], ids=lambda one: f"{one['loss']}-{one['options']}-{one['teacher']}"
)
def test_value_and_gradient_are_those_of_automatic_differentiation(one: dict[str, Any]) -> None:
    value, gradient = FEATURES[one["loss"]](FIXTURE["student"], FIXTURE[one["teacher"]], None, **one["options"])
    assert value == pytest.approx(one["value"], rel=1e-10)
    np.testing.assert_allclose(gradient, one["gradient"], rtol=1e-10, atol=1e-13)


def test_every_loss_has_a_value_computed_elsewhere_for_each_kind_of_width() -> None:
    assert {one["loss"] for one in GOLDEN["references"]} == FEATURES.keys()
    assert {one["loss"] for one in GOLDEN["references"] if one["teacher"] == "wider"} == FEATURES.keys() - SAME_UNITS


def test_what_keeps_similarities_from_zero_hardly_moves_the_value_of_the_paper() -> None:
    value = probabilistic(FIXTURE["student"], FIXTURE["teacher"])[0]
    assert value == pytest.approx(GOLDEN["probabilistic_without_floor"], rel=1e-5)


@pytest.mark.parametrize(("name", "defaults"), [("contrast", {"tau": 0.1}), ("novelty", {"margin": 0.5})])
def test_the_defaults_are_those_that_the_documentation_names(name: str, defaults: dict[str, float]) -> None:
    assert FEATURES[name](*sides(6))[0] == FEATURES[name](*sides(6), **defaults)[0]


# --- values that can be checked by hand -------------------------------------------------------------------------------

X, Y = [1.0, 0.0], [0.0, 1.0]
LINE = np.array([[0.0], [1.0], [2.0]])
EQUILATERAL = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(0.75)]])


def test_hint_is_a_mean_over_rows_and_units() -> None:
    value, gradient = hint(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0, 0.0], [0.0, 4.0]]))
    assert value == (4 + 9) / 4
    np.testing.assert_array_equal(gradient, [[0, 1], [1.5, 0]])


@pytest.mark.parametrize(
    ("teacher", "value"), [([3.0, 0.0], 0), ([0.0, 5.0], 1), ([-2.0, 0.0], 2), ([1.0, 1.0], 1 - 0.5**0.5)]
)
def test_cosine_of_known_angles(teacher: list[float], value: float) -> None:
    assert cosine(np.array([[2.0, 0.0]]), np.array([teacher]))[0] == pytest.approx(value, rel=1e-12, abs=1e-15)


def test_attention_sees_how_active_a_unit_is_and_not_its_sign() -> None:
    assert attention(np.array([X]), np.array([Y]))[0] == pytest.approx(2, rel=1e-12)
    assert attention(np.array([[-1.0, 2.0]]), np.array([[2.0, -4.0]]))[0] == pytest.approx(0, abs=1e-15)
    # Squares of (1, 1) point to (1, 1), those of (2, 1) to (4, 1).
    expected = 2 - 2 * 5 / np.sqrt(2 * 17)
    assert attention(np.array([[1.0, 1.0]]), np.array([[2.0, 1.0]]))[0] == pytest.approx(expected, rel=1e-12)


def test_similarity_of_orthogonal_rows_to_equal_ones() -> None:
    """Each of the two rows is (1, 0) on the one side and (1, 1) / sqrt(2) on the other."""
    value = similarity(np.array([X, Y]), np.array([X, X]))[0]
    assert value == pytest.approx(2 * (2 - np.sqrt(2)) / 4, rel=1e-12)


def test_probabilistic_does_not_compare_a_row_with_itself() -> None:
    """Teacher: all at right angles, so all shares are 1 / 2. Student: so is the third row to the two that are equal."""
    value = probabilistic(np.array([X, X, Y]), np.eye(3))[0]
    kl = np.log(0.5 / (2 / 3)) / 2 + np.log(0.5 / (1 / 3)) / 2  # of the first row and of the second; the third agrees
    assert value == pytest.approx(2 * kl / 3, rel=1e-6)


def test_relation_distance_is_in_units_of_the_mean_distance() -> None:
    """Distances 1, 1, 2 in units of 4 / 3 against 1, 1, 1."""
    value = relation_distance(LINE, EQUILATERAL)[0]
    assert value == pytest.approx((0.25**2 + 0.25**2 + 0.5**2) / 2 / 3, rel=1e-12)


def test_relation_distance_grows_linearly_beyond_one() -> None:
    """One row far out: distances 1, 9, 10 in units of 20 / 3 against 1, 1, 1 -- and the other way round against 0."""
    far = np.array([[0.0], [1.0], [10.0]])
    assert relation_distance(far, EQUILATERAL)[0] == pytest.approx((0.85**2 + 0.35**2 + 0.5**2) / 2 / 3, rel=1e-12)
    collapsed = (0.15**2 / 2 + (1.35 - 0.5) + (1.5 - 0.5)) / 3
    assert relation_distance(np.ones((3, 1)), far)[0] == pytest.approx(collapsed, rel=1e-12)


def test_relation_distance_sees_small_distances_between_rows_that_are_far_from_others() -> None:
    """Distances 0.001, 9.999, 10 in units of 20 / 3 against 1, 1, 1."""
    near = np.array([[0.0], [0.001], [10.0]])
    shares = np.array([0.001, 9.999, 10]) * 3 / 20
    value, gradient = relation_distance(near, EQUILATERAL)
    assert value == pytest.approx(((shares - 1) ** 2).mean() / 2, rel=1e-9)
    assert gradient[0, 0] == pytest.approx(-gradient[1, 0], rel=0.2)  # it is these two above all that are pushed apart
    assert gradient[0, 0] > 0.02


def test_relation_distance_does_not_suffer_from_an_origin_that_is_far_off() -> None:
    """Multiples of 1 / 8 beside 2^20, so that the rows themselves are exact, in float32 too."""
    student, teacher = (np.round(8 * x) / 8 for x in sides(32, 4))
    value, gradient = relation_distance(student, teacher)
    for dtype in (np.float32, np.float64):
        moved, slope = relation_distance((student + 2**20).astype(dtype), (teacher - 2**20).astype(dtype))
        assert moved == pytest.approx(value, rel=1e-7)
        np.testing.assert_allclose(slope, gradient, atol=1e-6 * np.abs(gradient).max())


def test_relation_angle_is_that_of_known_triangles() -> None:
    """Cosines of 1, -1, 1 against 1 / 2 thrice; the middle one differs by 1.5, beyond the bend."""
    assert relation_angle(LINE, EQUILATERAL)[0] == pytest.approx((0.5**2 / 2 * 2 + (1.5 - 0.5)) / 3, rel=1e-12)


@pytest.mark.parametrize("tau", [0.1, 1.0])
def test_contrast_of_orthogonal_rows_with_themselves(tau: float) -> None:
    value = contrast(np.eye(4), np.eye(4), tau=tau)[0]
    assert value == pytest.approx(np.log1p(3 * np.exp(-1 / tau)), rel=1e-12)


def test_contrast_without_any_sign_is_the_logarithm_of_the_number_of_rows() -> None:
    for student, teacher in ((np.zeros((7, 3)), sides(7, 6)[1][:, :3]), (sides(7)[0], np.ones((7, 6)))):
        value, gradient = contrast(student, teacher)
        assert value == pytest.approx(np.log(7), rel=1e-12)
        np.testing.assert_allclose(gradient, 0, atol=1e-12)


def test_contrast_looks_for_the_teachers_row_and_not_for_the_students() -> None:
    """Given the teacher's first row, both student rows are sure of it; given the student's, each would be torn."""
    student, teacher = np.array([X, X]), np.array([X, Y])
    expected = (np.log1p(np.exp(-2.0)) + np.log1p(np.exp(2.0))) / 2
    assert contrast(student, teacher, tau=0.5)[0] == pytest.approx(expected, rel=1e-12)
    assert contrast(teacher, student, tau=0.5)[0] == pytest.approx(np.log(2), rel=1e-12)


def test_novelty_is_what_the_cosine_exceeds_the_margin_by() -> None:
    student, teacher = np.array([[3.0, 4.0], X, [-1.0, 0.0]]), np.array([X, X, X])
    value, gradient = novelty(student, teacher, margin=0.25)
    assert value == pytest.approx((0.6 - 0.25 + 1 - 0.25) / 3, rel=1e-12)
    # d cos / dx = (v - cos u) / |x| = ((1, 0) - 0.6 (0.6, 0.8)) / 5, and 0 where student and teacher are parallel.
    np.testing.assert_allclose(gradient * 3, [[0.64 / 5, -0.48 / 5], [0, 0], [0, 0]], atol=1e-15)


# --- differences ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3, 32])
@pytest.mark.parametrize(("name", "options", "width"), WIDTHS)
def test_the_gradient_is_that_of_central_differences(name: str, options: dict[str, Any], width: int, n: int) -> None:
    student, teacher = sides(n, width)
    if name == "novelty":  # it has a bend there, which the differences must not straddle
        cosines = (student * teacher).sum(axis=1) / np.linalg.norm(student, axis=1) / np.linalg.norm(teacher, axis=1)
        assert np.abs(cosines - options.get("margin", 0.5)).min() > 1e-3
    gradient = FEATURES[name](student, teacher, **options)[1]
    for seed in range(4):
        analytic, numeric = slopes(lambda x: FEATURES[name](x, teacher, **options)[0], student, gradient, seed=seed)
        assert abs(analytic - numeric) <= 1e-6 * max(abs(analytic), abs(numeric)) + 1e-11


@pytest.mark.parametrize(("name", "options", "width"), WIDTHS)
def test_a_row_of_zeros_and_two_equal_rows_do_not_spoil_the_gradient_of_others(
    name: str, options: dict[str, Any], width: int
) -> None:
    student, teacher = sides(8, width)
    student[2] = 0
    student[4] = student[5]
    teacher[6:] = 0
    within = np.isin(np.arange(8), [0, 1, 3, 6, 7])[:, None]  # those that are moved; at the rest there may be a kink
    gradient = FEATURES[name](student, teacher, **options)[1]
    for seed in range(4):
        analytic, numeric = slopes(
            lambda x: FEATURES[name](x, teacher, **options)[0], student, gradient, seed=seed, within=within
        )
        assert abs(analytic - numeric) <= 1e-6 * max(abs(analytic), abs(numeric)) + 1e-11


def test_relation_angle_is_the_same_however_few_rows_are_worked_on_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    student, teacher = sides(11, 4)
    value, gradient = relation_angle(student, teacher)
    for rows in (1, 3, 10):
        monkeypatch.setattr(features, "BLOCK_NUMBERS", rows * 11 * 11)
        blocked, slope = relation_angle(student, teacher)
        assert blocked == pytest.approx(value, rel=1e-13)
        np.testing.assert_allclose(slope, gradient, rtol=1e-12, atol=1e-16)


@pytest.mark.parametrize("name", ANY_WIDTH)
def test_too_few_rows_to_relate_have_neither_value_nor_gradient(name: str) -> None:
    for n in range(1, {"probabilistic": 3, "relation_angle": 3}.get(name, 2)):
        value, gradient = FEATURES[name](*sides(n, 4))
        assert value == pytest.approx(0, abs=1e-15)
        assert gradient.shape == (n, 6)
        np.testing.assert_allclose(gradient, 0, atol=1e-15)


# --- student equals teacher -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3, 32])
@pytest.mark.parametrize("name", sorted(FEATURES.keys() - {"contrast", "novelty"}))
def test_a_student_whose_features_are_the_teachers_has_no_loss_and_no_gradient(name: str, n: int) -> None:
    _, teacher = sides(n)
    value, gradient = FEATURES[name](teacher.copy(), teacher)
    assert value == pytest.approx(0, abs=1e-14)
    np.testing.assert_allclose(gradient, 0, atol=1e-14)
    for seed in range(5):
        nearby = teacher + 1e-2 * np.random.default_rng(seed).normal(size=teacher.shape)
        # A single row has no other to relate to, nor have two an angle; two are always at their mean distance.
        if n > 2 or name in SAME_UNITS:
            assert FEATURES[name](nearby, teacher)[0] > 1e-9


@pytest.mark.parametrize("n", [1, 2, 32])
@pytest.mark.parametrize("margin", [-1.0, 0.0, 0.5])
def test_novelty_is_greatest_for_a_student_that_repeats_the_teacher(margin: float, n: int) -> None:
    _, teacher = sides(n)
    value, gradient = novelty(teacher.copy(), teacher, margin=margin)
    assert value == pytest.approx(1 - margin, rel=1e-12)
    np.testing.assert_allclose(gradient, 0, atol=1e-14)
    assert novelty(teacher + 0.1 * sides(n)[0], teacher, margin=margin)[0] < value


@pytest.mark.parametrize("n", [2, 32])
@pytest.mark.parametrize("tau", [0.1, 1.0])
def test_contrast_of_a_student_that_repeats_the_teacher_is_small_yet_not_least(tau: float, n: int) -> None:
    """Each row finds itself best of all, so it beats guessing; to drift off from the others would be better still."""
    _, teacher = sides(n)
    value, gradient = contrast(teacher.copy(), teacher, tau=tau)
    assert np.log1p((n - 1) * np.exp(-2 / tau)) < value < np.log(n)
    assert contrast(teacher - 1e-3 * gradient, teacher, tau=tau)[0] < value


def test_contrast_with_a_single_row_has_nothing_to_tell_apart() -> None:
    value, gradient = contrast(*sides(1))
    assert value == 0
    np.testing.assert_allclose(gradient, 0, atol=1e-15)


# --- rows without a direction -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BY_DIRECTION)
def test_a_row_of_zeros_gets_no_gradient_from_what_goes_by_direction(name: str) -> None:
    student, teacher = sides(5)
    student[1] = 0
    gradient = FEATURES[name](student, teacher)[1]
    assert not gradient[1].any()
    assert name == "novelty" or gradient[0].any()


def test_cosine_counts_zeros_as_at_right_angles_and_two_of_them_as_equal() -> None:
    zero, some = np.zeros((1, 2)), np.array([X])
    assert cosine(zero, some)[0] == 1
    assert cosine(some, zero)[0] == 1
    assert cosine(zero, zero)[0] == 0
    for student, teacher in ((zero, some), (some, zero), (zero, zero)):
        assert not cosine(student, teacher)[1].any()


def test_attention_and_novelty_of_zeros() -> None:
    zero, some = np.zeros((1, 2)), np.array([X])
    assert attention(zero, some)[0] == attention(some, zero)[0] == 1
    assert attention(zero, zero)[0] == 0
    assert novelty(zero, some)[0] == novelty(some, zero)[0] == novelty(zero, zero)[0] == 0
    assert novelty(zero, some, margin=-0.5)[0] == 0.5


@pytest.mark.parametrize("name", FEATURES)
def test_two_collapsed_sides_agree(name: str) -> None:
    """All rows equal on both sides: nothing to relate, and nothing to tell apart."""
    rows = np.tile([[0.3, -2.0, 1.1]], (5, 1))
    value, gradient = FEATURES[name](rows, rows.copy())
    assert value == pytest.approx({"contrast": np.log(5), "novelty": 0.5}.get(name, 0.0), abs=1e-14)
    np.testing.assert_allclose(gradient, 0, atol=1e-14)


# --- labels and shapes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FEATURES)
def test_labels_are_not_looked_at(name: str) -> None:
    value, gradient = FEATURES[name](*sides(6))
    expected, slope = FEATURES[name](*sides(6), np.array([0, 1, -1, 99, 0, 0]))
    assert value == expected
    np.testing.assert_array_equal(gradient, slope)


# The latter three are shapes that NumPy would broadcast without a word.
@pytest.mark.parametrize("shape", [(3, 6), (5, 6), (1, 6), (6,), ()])
@pytest.mark.parametrize("name", FEATURES)
def test_rows_that_do_not_fit_are_refused_with_both_shapes(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=both((4, 6), shape)):
        FEATURES[name](sides(4)[0], np.zeros(shape))


@pytest.mark.parametrize("name", FEATURES)
def test_features_that_are_no_table_are_refused_with_both_shapes(name: str) -> None:
    for student, teacher in (((4,), (4,)), ((4, 2, 3), (4, 2, 3))):
        with pytest.raises(ValueError, match=both(student, teacher)):
            FEATURES[name](np.ones(student), np.ones(teacher))


@pytest.mark.parametrize("width", [1, 5, 7])
@pytest.mark.parametrize("name", FEATURES)
def test_other_widths_are_refused_with_both_shapes_where_units_are_compared(name: str, width: int) -> None:
    student, teacher = sides(4, width)
    if name in SAME_UNITS:
        with pytest.raises(ValueError, match=both((4, 6), (4, width)) + ".*adapter"):
            FEATURES[name](student, teacher)
    else:
        assert FEATURES[name](student, teacher)[1].shape == (4, 6)


def test_those_that_compare_units_are_among_the_losses() -> None:
    assert SAME_UNITS.issubset(FEATURES)


# --- float32 ----------------------------------------------------------------------------------------------------------


def extremes(n: int) -> dict[str, tuple[Array, Array]]:
    student, teacher = sides(n)
    collapsed, half = np.tile(student[:1], (n, 1)), student * (np.arange(n) % 2)[:, None]
    return {
        "large": (1e4 * student, 1e4 * teacher),
        "small": (1e-4 * student, 1e-4 * teacher),
        "large and small": (1e4 * student, 1e-4 * teacher),
        "far from the origin": (1e4 + student, teacher - 1e4),
        "all zeros": (0 * student, 0 * teacher),
        "student all zeros": (0 * student, teacher),
        "teacher all zeros": (student, 0 * teacher),
        "every other row zeros": (half, teacher),
        "other rows zeros": (half, teacher * (np.arange(n) % 2 == 0)[:, None]),
        "student collapsed": (collapsed, teacher),
        "teacher collapsed": (student, collapsed),
        "both collapsed": (collapsed, collapsed * 3),
        "equal": (student, student.copy()),
        "opposite": (student, -student),
        "rows in opposite pairs": (collapsed * (-1.0) ** np.arange(n)[:, None], teacher),
        "all ones large": (np.full_like(student, 1e4), np.full_like(teacher, -1e4)),
    }


@pytest.mark.parametrize("n", [1, 2, 3, 32])
@pytest.mark.parametrize("case", extremes(1))
@pytest.mark.parametrize("name", FEATURES)
def test_float32_is_safe_at_extreme_and_collapsed_features(name: str, case: str, n: int) -> None:
    student, teacher = (x.astype(np.float32) for x in extremes(n)[case])
    with np.errstate(**SAFE):
        value, gradient = FEATURES[name](student, teacher)
    assert isinstance(value, float)
    assert np.isfinite(value)
    assert value >= -1e-6
    assert gradient.dtype == np.float32
    assert gradient.shape == student.shape
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("name", ["cosine", "probabilistic", "contrast", "novelty"])
def test_lengths_that_float32_could_not_square_do_not_matter_to_directions(name: str) -> None:
    student, teacher = (x.astype(np.float32) for x in sides(8))
    value, gradient = FEATURES[name](student, teacher)
    sizes = np.array([1e25, 1e-25, 1, 1e30, 1e-30, 1e10, 1e-10, 1e20], np.float32)[:, None]
    with np.errstate(**SAFE):
        sized, slope = FEATURES[name](student * sizes, teacher / sizes)
    assert sized == pytest.approx(value, rel=1e-5)
    np.testing.assert_allclose(slope.astype(float) * sizes, gradient, atol=1e-5 * np.abs(gradient).max())


@pytest.mark.parametrize("size", [1e-25, 1e25])
@pytest.mark.parametrize("name", ["relation_distance", "relation_angle"])
def test_nor_do_they_matter_to_relations(name: str, size: float) -> None:
    student, teacher = (x.astype(np.float32) for x in sides(8))
    value, gradient = FEATURES[name](student, teacher)
    with np.errstate(**SAFE):
        sized, slope = FEATURES[name](student * np.float32(size), teacher / np.float32(size))
    assert sized == pytest.approx(value, rel=1e-5)
    np.testing.assert_allclose(slope.astype(float) * size, gradient, atol=1e-5 * np.abs(gradient).max())


@pytest.mark.parametrize(("name", "options", "width"), WIDTHS)
def test_float32_sees_that_rows_coincide_as_float64_does(name: str, options: dict[str, Any], width: int) -> None:
    student, teacher = (np.tile(x, (2, 1)).astype(np.float32) for x in sides(8, width))
    exact, slope = FEATURES[name](student.astype(float), teacher.astype(float), **options)
    value, gradient = FEATURES[name](student, teacher, **options)
    assert value == pytest.approx(exact, rel=1e-5)
    np.testing.assert_allclose(gradient, slope, atol=1e-4 * np.abs(slope).max())


@pytest.mark.parametrize(("name", "options", "width"), WIDTHS)
def test_float32_gives_what_float64_gives(name: str, options: dict[str, Any], width: int) -> None:
    student, teacher = sides(32, width)
    exact, slope = FEATURES[name](student, teacher, **options)
    value, gradient = FEATURES[name](student.astype(np.float32), teacher.astype(np.float32), **options)
    assert isinstance(value, float)
    assert value == pytest.approx(exact, rel=1e-5)
    assert gradient.dtype == np.float32
    np.testing.assert_allclose(gradient, slope, atol=1e-4 * np.abs(slope).max())
