"""Losses on logits: values computed elsewhere, differences, the least value, shapes, and what float32 can stand."""

import json
import re
from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distill.losses import kl_divergence
from distill.nn.features import FEATURES
from distill.nn.losses import (
    LOSSES,
    Loss,
    cross_entropy,
    decoupled,
    dist,
    jensen_shannon,
    logit_mse,
    response,
    reverse_kl,
)
from distill.nn.ops import combine, log_softmax
from distill.nn.vector import Array

# Both computed in float64 by other programs, each for the logits and labels of its "fixture".
GOLDEN = json.loads((Path(__file__).parent / "golden" / "losses.json").read_text())
AUTOGRAD = json.loads((Path(__file__).parent / "golden" / "features.json").read_text())["logits"]
LABELS = np.array(GOLDEN["fixture"]["labels"])
STUDENT, TEACHER = (np.array(GOLDEN["fixture"][k], float) for k in ("student_logits", "teacher_logits"))

# A loss that is in neither looks at the teacher, and not at the labels.
WITHOUT_TEACHER = {"cross_entropy"}
WITH_LABELS = {"cross_entropy", "decoupled"}

OPTIONS: Mapping[str, list[dict[str, Any]]] = {
    "cross_entropy": [{}, {"smoothing": 0.1}, {"smoothing": 1.0}],
    **{
        name: [{"temperature": t, "t_squared": squared} for t, squared in product((0.5, 1.0, 4.0, 20.0), (True, False))]
        for name in ("response", "soft_cross_entropy", "reverse_kl")
    },
    "jensen_shannon": [
        {"beta": b, "temperature": t, "t_squared": squared}
        for b, t, squared in product((0.0, 0.1, 0.5, 0.9, 1.0), (1.0, 4.0), (True, False))
    ],
    "decoupled": [{}, {"target": 0.0, "temperature": 1.0}, {"others": 0.0, "temperature": 2.0}],
    "dist": [{}, {"inter": 0.0, "temperature": 1.0}, {"intra": 0.0, "temperature": 1.0}],
}
CASES = [(name, options) for name in LOSSES for options in OPTIONS.get(name, [{}])]
SAFE = {"all": "raise", "under": "ignore"}  # a probability may underflow to 0, and nothing else may go wrong


def test_what_is_never_negative_is_never_below_0_by_rounding() -> None:
    """Nothing to learn costs 0, which prints without a sign, in every loss and any precision."""
    rng = np.random.default_rng(0)
    for name, dtype, size in product(LOSSES | FEATURES, ("f4", "f8"), (1e-3, 1, 50, 1e4)):
        for _ in range(20):
            z = (rng.normal(size=(7, 5)) * size).astype(dtype)
            value, _ = (LOSSES | FEATURES)[name](z, z * z.dtype.type(1 + 1e-7), z.argmax(axis=1))
            assert f"{value:+.4f}"[0] == "+", (name, dtype, size)
    p = np.array([[0.1, 0.2, 0.7]])
    assert f"{kl_divergence(p, p * (1 + 1e-12)):+.4f}" == "+0.0000"


def sides(n: int, classes: int = 5, seed: int = 1) -> tuple[Array, Array, Array]:
    """Logits of a student and a teacher (n, classes), and labels; from the third row on, every third row has none."""
    student, teacher = np.random.default_rng(seed).normal(size=(2, n, classes)) * 2
    labels = np.arange(n) % classes
    labels[2::3] = -1
    return student, teacher, labels


def slopes(
    f: Callable[[Array], float], at: Array, gradient: Array, seed: int, within: Array | float = 1.0
) -> tuple[float, float]:
    """Analytic and numeric slope (fourth-order central differences) along a random unit direction, cut to `within`."""
    direction = np.random.default_rng(seed).normal(size=at.shape) * within
    direction /= np.linalg.norm(direction)
    step = 2e-4
    near, far = (f(at + k * step * direction) - f(at - k * step * direction) for k in (1, 2))
    return float(np.vdot(gradient, direction)), (8 * near - far) / (12 * step)


def both(*shapes: tuple[int, ...]) -> str:
    """What matches a message that states all of these shapes, in this order."""
    return ".*".join(re.escape(str(shape)) for shape in shapes)


# --- values computed elsewhere ----------------------------------------------------------------------------------------


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


def test_logit_mse_of_centred_logits_is_that_limit_times_the_number_of_classes() -> None:
    student, teacher = (z - z.mean(axis=1, keepdims=True) for z in (STUDENT, TEACHER))
    assert logit_mse(student, teacher)[0] == pytest.approx(4 * GOLDEN["response_high_T_limit"], rel=1e-12)


def test_reverse_kl_is_the_golden_value() -> None:
    assert reverse_kl(STUDENT, TEACHER, temperature=1.0)[0] == pytest.approx(GOLDEN["reverse_kl_T1"], rel=1e-12)


@pytest.mark.parametrize(("beta", "value"), GOLDEN["jsd_generalised"].items())
def test_jensen_shannon_is_the_golden_value_its_end_points_too(beta: str, value: float) -> None:
    found = jensen_shannon(STUDENT, TEACHER, beta=float(beta.split()[0]), temperature=1.0)[0]
    assert found == pytest.approx(value, rel=1e-10)


@pytest.mark.parametrize("t_squared", [True, False])
@pytest.mark.parametrize(("beta", "kl"), [(0.0, response), (1.0, reverse_kl)])
def test_the_end_points_of_jensen_shannon_are_the_two_kls(beta: float, kl: Loss, t_squared: bool) -> None:
    value, gradient = jensen_shannon(STUDENT, TEACHER, beta=beta, temperature=3.0, t_squared=t_squared)
    expected, slope = kl(STUDENT, TEACHER, temperature=3.0, t_squared=t_squared)
    assert value == expected
    np.testing.assert_array_equal(gradient, slope)


@pytest.mark.parametrize(
    ("target", "others", "key"), [(1.0, 0.0, "tckd"), (0.0, 1.0, "nckd"), (1.0, 8.0, "alpha1_beta8")]
)
def test_decoupled_is_the_golden_value(target: float, others: float, key: str) -> None:
    found = decoupled(STUDENT, TEACHER, LABELS, target=target, others=others, temperature=4.0)[0]
    assert found == pytest.approx(GOLDEN["dkd_T4"][key], rel=1e-12)


@pytest.mark.parametrize(("t", "shares"), GOLDEN["softmax_of_[2,1,0.1]"].items())
def test_softmax_is_the_golden_one_to_its_four_digits(t: str, shares: list[float]) -> None:
    found = np.exp(log_softmax(np.array([[2, 1, 0.1]]), temperature=float(t.removeprefix("T="))))
    np.testing.assert_allclose(found, [shares], atol=5.1e-5)


@pytest.mark.parametrize(
    ("how", "key"),
    [("probabilities", "row0_mean_of_probabilities_T1"), ("logits", "row0_softmax_of_mean_logits_T1")],
)
def test_an_ensemble_of_two_teachers_says_what_the_golden_one_says(how: str, key: str) -> None:
    golden = GOLDEN["ensemble_of_two_rows"]
    found = combine([TEACHER, np.array(golden["second_teacher_logits"], float)], [0.5, 0.5], how, 1.0)
    np.testing.assert_allclose(np.exp(log_softmax(found))[0], golden[key], rtol=1e-12)


@pytest.mark.parametrize("one", AUTOGRAD["references"], ids=lambda one: f"{one['loss']}-{one['options']}")
def test_value_and_gradient_are_those_of_automatic_differentiation(one: dict[str, Any]) -> None:
    student, teacher, labels = (np.array(AUTOGRAD["fixture"][k]) for k in ("student", "teacher", "labels"))
    value, gradient = LOSSES[one["loss"]](student, teacher, labels, **one["options"])
    assert value == pytest.approx(one["value"], rel=1e-10)
    np.testing.assert_allclose(gradient, one["gradient"], rtol=1e-10, atol=1e-13)


def test_every_loss_has_a_value_computed_elsewhere() -> None:
    assert {one["loss"] for one in AUTOGRAD["references"]} == LOSSES.keys()


@pytest.mark.parametrize("name", LOSSES)
def test_the_defaults_are_those_that_the_documentation_names(name: str) -> None:
    defaults = {
        "cross_entropy": {"smoothing": 0.0},
        "jensen_shannon": {"beta": 0.5, "temperature": 4.0, "t_squared": True},
        "logit_mse": {},
        "decoupled": {"target": 1.0, "others": 8.0, "temperature": 4.0},
        "dist": {"inter": 1.0, "intra": 1.0, "temperature": 4.0},
    }.get(name, {"temperature": 4.0, "t_squared": True})
    arguments = sides(6)
    value, gradient = LOSSES[name](*arguments)
    expected, slope = LOSSES[name](*arguments, **defaults)
    assert value == expected
    np.testing.assert_array_equal(gradient, slope)


# --- differences ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3, 32])
@pytest.mark.parametrize(("name", "options"), CASES)
def test_the_gradient_is_that_of_central_differences(name: str, options: dict[str, Any], n: int) -> None:
    student, teacher, labels = sides(n)
    gradient = LOSSES[name](student, teacher, labels, **options)[1]
    for seed in range(4):
        analytic, numeric = slopes(
            lambda z: LOSSES[name](z, teacher, labels, **options)[0], student, gradient, seed=seed
        )
        # Rounding leaves 1e-10 or so where there is no slope at all, as for DIST by class in a batch of two.
        assert abs(analytic - numeric) <= 1e-6 * max(abs(analytic), abs(numeric)) + 2e-10


# --- the least value --------------------------------------------------------------------------------------------------


def best(name: str, teacher: Array, labels: Array) -> tuple[Array, float, dict[str, float]]:
    """The student that no other beats, the least value that it reaches, and the options for both."""
    if name == "cross_entropy":
        target = 0.9 * (labels[:, None] == np.arange(teacher.shape[1])) + 0.1 / teacher.shape[1]
        return np.log(target), -float((target * np.log(target)).sum(axis=1).mean()), {"smoothing": 0.1}
    if name == "soft_cross_entropy":
        p = np.exp(teacher / 3) / np.exp(teacher / 3).sum(axis=1, keepdims=True)
        return teacher, -9 * float((p * np.log(p)).sum(axis=1).mean()), {"temperature": 3.0}
    return teacher, 0.0, {}


@pytest.mark.parametrize("n", [1, 2, 32])
@pytest.mark.parametrize("name", LOSSES)
def test_a_student_that_says_what_the_target_says_has_the_least_value_and_no_gradient(name: str, n: int) -> None:
    _, teacher, _ = sides(n)
    labels = np.arange(n) % 5
    student, least, options = best(name, teacher, labels)
    value, gradient = LOSSES[name](student, teacher, labels, **options)
    assert value == pytest.approx(least, rel=1e-12, abs=1e-13)
    np.testing.assert_allclose(gradient, 0, atol=1e-13)
    for seed in range(5):
        nearby = student + 1e-2 * np.random.default_rng(seed).normal(size=student.shape)
        assert LOSSES[name](nearby, teacher, labels, **options)[0] > least + 1e-9


@pytest.mark.parametrize(("z", "value"), [([[0.0, 0, 0, 0]], np.log(4)), ([[np.log(3), 0, 0, 0]], np.log(2))])
def test_cross_entropy_of_logits_that_can_be_checked_by_hand(z: list[list[float]], value: float) -> None:
    assert cross_entropy(np.array(z), None, np.array([0]))[0] == pytest.approx(value, rel=1e-12)


def test_dist_of_rows_that_rank_the_classes_in_reverse_is_two() -> None:
    """Row by row the correlation of (a, 0, b) with (b, 0, a) is -1 where the middle one is the mean; so it is 2."""
    student = np.log([[0.5, 0.3, 0.1], [0.2, 0.3, 0.4]])
    teacher = student[:, ::-1].copy()
    assert dist(student, teacher, temperature=1.0, intra=0.0)[0] == pytest.approx(2, rel=1e-12)


def test_dist_leaves_out_what_does_not_vary() -> None:
    """One of the two rows and one of the three classes has no correlation; the mean counts them as 0."""
    student = np.log([[0.2, 0.3, 0.5], [1 / 3, 1 / 3, 1 / 3]])
    teacher = np.log([[0.5, 0.3, 0.2], [0.3, 0.3, 0.4]])
    correlation = np.corrcoef([0.2, 0.3, 0.5], [0.5, 0.3, 0.2])[0, 1]
    value, gradient = dist(student, teacher, temperature=1.0, intra=0.0)
    assert value == pytest.approx((1 - correlation) / 2, rel=1e-12)
    assert not gradient[1].any()
    assert gradient[0].any()
    # The first class falls for the teacher and rises for the student (2), the second stays for the teacher (0), the
    # third falls for the student and rises for the teacher (2).
    assert dist(student, teacher, temperature=1.0, inter=0.0)[0] == pytest.approx(4 / 3, rel=1e-9)


def test_dist_by_class_has_nothing_to_say_of_a_single_row() -> None:
    student, teacher, _ = sides(1)
    value, gradient = dist(student, teacher, inter=0.0)
    assert value == 0
    assert not gradient.any()


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_decoupled_of_two_classes_is_response_as_there_are_no_others(temperature: float) -> None:
    student, teacher, _ = sides(6, classes=2)
    labels = np.arange(6) % 2
    value, gradient = decoupled(student, teacher, labels, others=5.0, temperature=temperature)
    expected, slope = response(student, teacher, temperature=temperature)
    assert value == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(gradient, slope, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_the_same_rows_five_times_over_are_worth_the_same(name: str, options: dict[str, Any]) -> None:
    """A mean over the rows, never a sum, and never a mean over the classes as well."""
    student, teacher, labels = sides(3)
    value, gradient = LOSSES[name](student, teacher, labels, **options)
    more, slope = LOSSES[name](*(np.concatenate([x] * 5) for x in (student, teacher, labels)), **options)
    assert more == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(slope[:3] * 5, gradient, rtol=1e-9, atol=1e-13)


# --- labels -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(LOSSES.keys() - WITH_LABELS))
def test_labels_that_a_loss_does_not_look_at_may_be_left_out(name: str) -> None:
    student, teacher, labels = sides(6)
    value, gradient = LOSSES[name](student, teacher, labels)
    expected, slope = LOSSES[name](student, teacher)
    assert value == expected
    np.testing.assert_array_equal(gradient, slope)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_a_teacher_has_no_say_in_cross_entropy(smoothing: float) -> None:
    student, teacher, labels = sides(6)
    value, gradient = cross_entropy(student, teacher, labels, smoothing=smoothing)
    expected, slope = cross_entropy(student, None, labels, smoothing=smoothing)
    assert value == expected
    np.testing.assert_array_equal(gradient, slope)


@pytest.mark.parametrize(("name", "options"), [case for case in CASES if case[0] in WITH_LABELS])
def test_unlabelled_rows_get_no_gradient_and_do_not_move_the_value(name: str, options: dict[str, Any]) -> None:
    student, teacher, labels = sides(9)
    has = labels >= 0
    assert not has.all()
    value, gradient = LOSSES[name](student, teacher, labels, **options)
    expected, slope = LOSSES[name](student[has], teacher[has], labels[has], **options)
    assert value == pytest.approx(expected, rel=1e-14)
    np.testing.assert_allclose(gradient[has], slope, rtol=1e-13, atol=1e-16)
    assert not gradient[~has].any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("name", "options"), [case for case in CASES if case[0] in WITH_LABELS])
def test_without_any_label_there_is_no_loss(name: str, options: dict[str, Any], dtype: type) -> None:
    student, teacher, _ = sides(4)
    with np.errstate(all="raise"):
        value, gradient = LOSSES[name](student.astype(dtype), teacher.astype(dtype), np.full(4, -1), **options)
    assert value == 0
    assert gradient.dtype == dtype
    assert gradient.shape == (4, 5)
    assert not gradient.any()


# --- shapes -----------------------------------------------------------------------------------------------------------

# Apart from the first two, these are shapes that NumPy would broadcast without a word.
MISFITS = [(2, 3), (3, 4), (1, 4), (2, 1), (4,), ()]


@pytest.mark.parametrize("shape", MISFITS)
@pytest.mark.parametrize("name", sorted(LOSSES.keys() - WITHOUT_TEACHER))
def test_logits_that_do_not_fit_are_refused_with_both_shapes(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=both((2, 4), shape)):
        LOSSES[name](STUDENT, np.zeros(shape), LABELS)


@pytest.mark.parametrize("beta", [0.0, 1.0])
def test_the_end_points_of_jensen_shannon_refuse_them_too(beta: float) -> None:
    with pytest.raises(ValueError, match=both((2, 4), (1, 4))):
        jensen_shannon(STUDENT, TEACHER[:1], beta=beta)


@pytest.mark.parametrize("shape", [(3,), (1,), (2, 1), (2, 4), ()])
@pytest.mark.parametrize("name", sorted(WITH_LABELS))
def test_labels_that_do_not_fit_are_refused_with_both_shapes(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=both((2, 4), (2,), shape)):
        LOSSES[name](STUDENT, TEACHER, np.zeros(shape, int))


# --- float32 ----------------------------------------------------------------------------------------------------------

EXTREMES = {
    "opposite": ([[1e4, -1e4, 0], [-1e4, 1e4, 0]], [[-1e4, 1e4, 0], [1e4, -1e4, 0]]),
    "alike": ([[1e4, -1e4, 0], [-1e4, 1e4, 0]], [[1e4, -1e4, 0], [-1e4, 1e4, 0]]),
    "a sure teacher": ([[0.3, -1, 0], [0, 1, 0.5]], [[1e4, -1e4, -1e4], [-1e4, -1e4, 1e4]]),
    "a sure student": ([[1e4, -1e4, -1e4], [-1e4, -1e4, 1e4]], [[0.3, -1, 0], [0, 1, 0.5]]),
    "equal and large": ([[1e4, 1e4, 1e4], [-1e4, -1e4, -1e4]], [[-1e4, -1e4, -1e4], [1e4, 1e4, 1e4]]),
    "on the brink of underflow": ([[0, -95, -103], [-400, 0, -88]], [[-103, 0, -87], [-89, -100, 0]]),
    "zeros": ([[0, 0, 0], [0, 0, 0]], [[0, 0, 0], [0, 0, 0]]),
}


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("case", EXTREMES)
@pytest.mark.parametrize(("name", "options"), CASES)
def test_float32_is_safe_at_extreme_logits(name: str, options: dict[str, Any], case: str, n: int) -> None:
    student, teacher = (np.array(z, np.float32)[:n] for z in EXTREMES[case])
    for labels in np.array([[0, 1], [1, 2], [2, 0]]):
        with np.errstate(**SAFE):
            value, gradient = LOSSES[name](student, teacher, labels[:n], **options)
        assert isinstance(value, float)
        assert np.isfinite(value)
        assert gradient.dtype == np.float32
        assert np.isfinite(gradient).all()
        if name == "dist" and "underflow" in case:
            continue  # whether a class of probabilities near 1e-38 varies at all is a matter of precision
        exact, slope = LOSSES[name](student.astype(float), teacher.astype(float), labels[:n], **options)
        assert value == pytest.approx(exact, rel=1e-4, abs=1e-5)
        np.testing.assert_allclose(gradient, slope, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "options", "value"),
    [
        ("cross_entropy", {}, 2e4),
        ("cross_entropy", {"smoothing": 0.3}, 0.7 * 2e4 + 0.1 * (2e4 + 0 + 1e4)),
        ("response", {"temperature": 1.0}, 2e4),
        ("response", {"temperature": 2.0}, 4 * 1e4),
        ("soft_cross_entropy", {"temperature": 1.0}, 2e4),
        ("reverse_kl", {"temperature": 1.0}, 2e4),
        ("jensen_shannon", {"temperature": 1.0}, np.log(2)),
        ("logit_mse", {}, (4e8 + 4e8) / 2),
        ("decoupled", {"temperature": 1.0, "others": 0.0}, 2e4),
        ("decoupled", {"temperature": 1.0, "target": 0.0, "others": 1.0}, 1e4),
        ("dist", {"temperature": 1.0, "intra": 0.0}, 1.5),
    ],
)
def test_a_sure_and_wrong_student_costs_what_it_should(name: str, options: dict[str, Any], value: float) -> None:
    """No logarithm is cut off, at whatever small number: a student is told how wrong it is."""
    student, teacher = np.array([[-1e4, 1e4, 0]], np.float32), np.array([[1e4, -1e4, 0]], np.float32)
    with np.errstate(**SAFE):
        found, gradient = LOSSES[name](student, teacher, np.array([0]), **options)
    assert found == pytest.approx(value, rel=1e-6)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("name", ["cross_entropy", "response", "soft_cross_entropy"])
def test_float32_is_safe_at_any_logits_where_only_the_student_is_wrong(name: str) -> None:
    student = np.array([[1e30, -1e30, 0], [-1e30, 1e30, 0]], np.float32)
    with np.errstate(**SAFE):
        value, gradient = LOSSES[name](student, -student, np.array([1, 0]))
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize(("name", "options"), CASES)
def test_float32_gives_what_float64_gives(name: str, options: dict[str, Any]) -> None:
    student, teacher, labels = sides(32)
    exact, slope = LOSSES[name](student, teacher, labels, **options)
    value, gradient = LOSSES[name](student.astype(np.float32), teacher.astype(np.float32), labels, **options)
    assert isinstance(value, float)
    assert value == pytest.approx(exact, rel=1e-3, abs=1e-6)
    assert gradient.dtype == np.float32
    np.testing.assert_allclose(gradient, slope, atol=1e-4 * np.abs(slope).max())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("classes", [3, 10])
def test_dist_gives_no_gradient_to_classes_that_do_not_vary_however_many_rows(classes: int, dtype: type) -> None:
    """An untrained student often says the same of every row."""
    teacher = sides(1000, classes)[1].astype(dtype)
    for n in (32, 64, 128, 256, 1000):
        for student in np.zeros((n, classes), dtype), np.tile(teacher[-1], (n, 1)):
            value, gradient = dist(student, teacher[:n], temperature=1.0, inter=0.0)
            assert value == 0
            assert not gradient.any()


# --- the factor T^2 ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1])
def test_t_squared_keeps_the_gradient_in_place_from_t_1_to_20(seed: int) -> None:
    """Within 5 % over a large batch of standard-normal logits. It does not hold of a few rows, nor of larger logits."""
    student, teacher = np.random.default_rng(seed).normal(size=(2, 4096, 10))
    norms = [np.linalg.norm(response(student, teacher, temperature=t)[1]) for t in range(1, 21)]
    assert max(norms) / min(norms) < 1.05
    without = [np.linalg.norm(response(student, teacher, temperature=t, t_squared=False)[1]) for t in (1, 20)]
    assert without[0] / without[1] == pytest.approx(400, rel=0.05)
