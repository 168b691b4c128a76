"""The faces for Python: values computed elsewhere, differences, what is refused, and that they are what a run uses."""

import contextlib
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as some

import distill
from conftest import answered
from distill import DistillationLoss, EnsembleDistiller, ProgressiveDistiller, kl_divergence, softmax
from distill.config.schema import Term
from distill.nn import features, losses, ops
from distill.nn.vector import Array
from distill.train import outputs
from distill.train.adapters import adapters
from distill.train.outputs import TeacherOutputs

# From shared/golden/losses.json, computed in float64 by another program: the "fixture", and the values named below.
STUDENT = [[1, 2, 0.5, -1], [0, -0.5, 3, 1]]
TEACHER = [[2, 1, 0.1, -2], [1, 0, 2.5, -1]]
SECOND = [[0, 3, -1, 1], [2, 0, 0.5, 1]]
LABELS = [0, 2]
CROSS_ENTROPY = 0.845094548329725
RESPONSE = {
    1: 0.3054091446212851,
    2: 0.4035097147191497,
    4: 0.4560376530942165,
    20: 0.4889501017462338,
    1000: 0.4948889487180479,
}
GRADIENT_NORM = {1: 0.296454026810414, 4: 0.33254309821719635, 20: 0.34813435197820314}
# ensemble_of_two_rows: the first row of TEACHER and SECOND together, at T = 1
MEAN_OF_PROBABILITIES = [0.34625626814916377, 0.5352471782687211, 0.05630490734895779, 0.06219164623315729]
SOFTMAX_OF_MEAN_LOGITS = [0.23946461784074632, 0.6509323192353904, 0.05617128439517501, 0.05343177852868827]
# softmax_of_[2,1,0.1]
SHARES = {1: [0.659, 0.2424, 0.0986], 3: [0.445, 0.3188, 0.2362]}

LOGITS = st.floats(-50, 50)


def tables() -> st.SearchStrategy[Array]:
    """Tables of logits (N,4)."""
    return st.integers(1, 6).flatmap(lambda n: some.arrays(np.float64, (n, 4), elements=LOGITS))


def pairs(count: int = 2, width: int = 4) -> st.SearchStrategy[Array]:
    """So many tables of equal shape, (count,N,width)."""
    return st.integers(1, 6).flatmap(lambda n: some.arrays(np.float64, (count, n, width), elements=LOGITS))


def normal(*shape: int, seed: int = 0) -> Array:
    return 2 * np.random.default_rng(seed).normal(size=shape)


def slopes(f: Callable[[Array], float], at: Array, gradient: Array, seed: int = 1) -> tuple[float, float]:
    """Analytic and numeric slope (fourth-order central differences) along a random unit direction."""
    direction = np.random.default_rng(seed).normal(size=at.shape)
    direction /= np.linalg.norm(direction)
    step = 2e-4
    near, far = (f(at + k * step * direction) - f(at - k * step * direction) for k in (1, 2))
    return float(np.vdot(gradient, direction)), (8 * near - far) / (12 * step)


def both(*parts: object) -> str:
    """What matches a message with all of these, in this order."""
    return ".*".join(re.escape(str(part)) for part in parts)


# --- softmax ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("t", "shares"), SHARES.items())
def test_softmax_is_the_golden_one_to_its_four_digits(t: int, shares: list[float]) -> None:
    np.testing.assert_allclose(softmax([2, 1, 0.1], t), shares, atol=5e-5)
    np.testing.assert_allclose(softmax([[2, 1, 0.1], [2, 1, 0.1]], t), [shares, shares], atol=5e-5)


@pytest.mark.parametrize("shape", [(1,), (5,), (1, 1), (3, 5), (2, 3, 5)], ids=str)
def test_softmax_is_over_the_last_axis_and_keeps_the_shape(shape: tuple[int, ...]) -> None:
    z = normal(*shape)
    found = softmax(z, 2.0)
    assert found.shape == shape
    np.testing.assert_allclose(found, np.exp(z / 2) / np.exp(z / 2).sum(axis=-1, keepdims=True), rtol=1e-12)


def test_softmax_of_a_table_is_the_one_of_its_rows() -> None:
    z = normal(4, 3)
    assert softmax(z).tobytes() == np.stack([softmax(row) for row in z]).tobytes()


@given(tables(), st.floats(0.05, 1000))
def test_softmax_gives_probabilities_in_the_order_of_the_logits(z: Array, t: float) -> None:
    p = softmax(z, t)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-12)
    assert (p >= 0).all()
    assert (np.diff(np.take_along_axis(p, z.argsort(axis=1), axis=1), axis=1) >= 0).all()


@given(tables(), st.floats(-1e4, 1e4))
def test_softmax_does_not_see_what_all_logits_have_in_common(z: Array, shift: float) -> None:
    np.testing.assert_allclose(softmax(z + shift), softmax(z), rtol=1e-8, atol=1e-12)


@given(tables(), st.floats(0.1, 10), st.floats(1.01, 10))
def test_a_higher_temperature_is_softer(z: Array, t: float, factor: float) -> None:
    assert (softmax(z, t * factor).max(axis=1) <= softmax(z, t).max(axis=1) + 1e-12).all()
    np.testing.assert_allclose(softmax(z, t * factor), softmax(z / factor, t), rtol=1e-9, atol=1e-12)


def test_softmax_at_the_ends_of_the_temperature() -> None:
    z = np.array([[1.0, 3.0, 2.0]])
    np.testing.assert_allclose(softmax(z, 1e-6), [[0, 1, 0]], atol=1e-15)
    np.testing.assert_allclose(softmax(z, 1e9), [[1 / 3] * 3], rtol=1e-8)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1.0, 0.3])
def test_softmax_is_exact_for_logits_of_any_size(dtype: type, size: float) -> None:
    """No warning, which would be an error here, and no NaN."""
    most = np.array(size * float(np.finfo(dtype).max) * 0.999).astype(dtype)
    assert softmax(np.array([most, -most], dtype)).tolist() == [1, 0]
    assert softmax(np.array([most, most, 0], dtype)).tolist() == [0.5, 0.5, 0]
    assert softmax(np.array([-most, -most], dtype), 1e-3).tolist() == [0.5, 0.5]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_softmax_at_a_temperature_that_the_type_cannot_hold_is_its_limit(dtype: type) -> None:
    """Or refused, but never NaN or a warning."""
    with contextlib.suppress(ValueError):
        assert softmax(np.array([1, 2], dtype), 1e-300).tolist() == [0, 1]


# --- numbers of any kind ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_type", "kept"),
    [("f4", "f4"), ("f8", "f8"), ("f2", "f8"), ("i1", "f8"), ("i8", "f8"), ("u2", "f8"), (">f8", "f8")],
)
def test_float32_stays_and_every_other_kind_becomes_float64(given_type: str, kept: str) -> None:
    z, t = np.array([[1, 2, 0], [0, 1, 3]], given_type), np.array([[2, 1, 0], [1, 1, 2]])
    expected = np.dtype(kept)
    assert softmax(z).dtype == expected
    value, gradient = DistillationLoss()(z, t, [0, 1])
    assert (type(value), gradient.dtype) == (float, expected)
    assert EnsembleDistiller().combine([z, z]).dtype == expected
    assert EnsembleDistiller().backward(z, [t, t], [0, 1]).dtype == expected
    value, gradient = ProgressiveDistiller().distill_layer(z, t)
    assert (type(value), gradient.dtype) == (float, expected)
    progress = ProgressiveDistiller()
    assert [one.dtype for one in progress.forward([z], [np.ones((2, 5))], z, t)[1]] == [expected, expected]
    assert progress.adapters[0].dtype == progress.slopes[0].dtype == expected


def test_lists_tuples_and_whole_numbers_are_as_good_as_arrays() -> None:
    loss = DistillationLoss(4, 0.5)
    array = loss(np.array(STUDENT), np.array(TEACHER, float), np.array(LABELS))
    for way in (loss(STUDENT, TEACHER, LABELS), loss(tuple(map(tuple, STUDENT)), np.array(TEACHER), tuple(LABELS))):
        assert way[0] == array[0]
        np.testing.assert_array_equal(way[1], array[1])
    assert softmax([0, 0]).tolist() == [0.5, 0.5]
    assert kl_divergence([1, 0], [1, 0]) == 0
    whole = loss([[1, 2], [3, 4]], [[0, 1], [1, 0]], [0, 1])[0]
    assert whole == loss([[1.0, 2.0], [3.0, 4.0]], [[0.0, 1.0], [1.0, 0.0]], [0, 1])[0]


def test_nothing_that_is_given_is_written_to() -> None:
    student, teacher, wide = normal(3, 4), normal(3, 4, seed=1), normal(3, 6, seed=2)
    for one in (student, teacher, wide):
        one.flags.writeable = False
    labels = np.array([0, 1, -1])
    labels.flags.writeable = False
    softmax(student)
    DistillationLoss()(student, teacher, labels)
    EnsembleDistiller()(student, [teacher, teacher], labels)
    ProgressiveDistiller().forward([student, student], [teacher, wide], student, teacher)


CALLS: dict[str, Callable[[Any], Any]] = {
    "logits": lambda bad: softmax(bad),
    "p": lambda bad: kl_divergence(bad, [0.5, 0.5]),
    "q": lambda bad: kl_divergence([0.5, 0.5], bad),
    "student logits": lambda bad: DistillationLoss()(bad, TEACHER, LABELS),
    "teacher logits": lambda bad: DistillationLoss()(STUDENT, bad, LABELS),
    "logits of teacher 1": lambda bad: EnsembleDistiller().combine([TEACHER, bad]),
    "student layer": lambda bad: ProgressiveDistiller().distill_layer(bad, TEACHER),
    "teacher layer": lambda bad: ProgressiveDistiller().distill_layer(STUDENT, bad),
}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", CALLS)
def test_what_is_not_finite_is_refused_by_name(name: str, bad: float) -> None:
    with pytest.raises(ValueError, match=rf"^{name} of shape \(2, 4\) hold {bad}; must be finite"):
        CALLS[name](np.array([[1, 2, bad, 0], [0, 1, 0, 0]]))


@pytest.mark.parametrize(
    "bad", [3.0, [], [[]], "text", [None, 1], [1j, 2], ["a", "b"], None], ids=lambda bad: repr(bad)
)
@pytest.mark.parametrize("name", CALLS)
def test_what_is_no_table_of_numbers_is_refused_by_name(name: str, bad: Any) -> None:
    with pytest.raises(ValueError, match=rf"^{name} of \S+ \(.*\); must be numbers, at least one"):
        CALLS[name](bad)


@pytest.mark.parametrize("bad", [0, -1, np.nan, np.inf, True], ids=str)
@pytest.mark.parametrize(
    "call",
    [
        lambda t: softmax([1, 2], t),
        lambda t: DistillationLoss(temperature=t),
        lambda t: EnsembleDistiller(temperature=t),
        lambda t: ProgressiveDistiller(temperature=t),
    ],
    ids=["softmax", "DistillationLoss", "EnsembleDistiller", "ProgressiveDistiller"],
)
def test_a_temperature_is_above_0(call: Callable[[Any], Any], bad: Any) -> None:
    with pytest.raises(ValueError, match=rf"^temperature is {bad}; must be a number above 0"):
        call(bad)


@pytest.mark.parametrize("bad", [-0.1, 1.1, np.nan, np.inf, True], ids=str)
def test_alpha_is_from_0_to_1(bad: Any) -> None:
    for call in (lambda: DistillationLoss(alpha=bad), lambda: EnsembleDistiller()(STUDENT, [TEACHER], LABELS, bad)):
        with pytest.raises(ValueError, match=rf"^alpha is {bad}; must be a number from 0 to 1"):
            call()


# --- kl_divergence ----------------------------------------------------------------------------------------------------


def test_kl_of_known_probabilities() -> None:
    assert kl_divergence([0.5, 0.5], [0.25, 0.75]) == pytest.approx(0.5 * np.log(4 / 3), rel=1e-12)
    assert kl_divergence([1, 0], [0.25, 0.75]) == pytest.approx(np.log(4), rel=1e-12)
    assert kl_divergence([[0.5, 0.5], [1, 0]], [[0.25, 0.75]] * 2) == pytest.approx(
        (0.5 * np.log(4 / 3) + np.log(4)) / 2, rel=1e-12
    )


@pytest.mark.parametrize("t", RESPONSE)
def test_kl_of_the_golden_logits(t: int) -> None:
    found = t * t * kl_divergence(softmax(TEACHER, t), softmax(STUDENT, t))
    assert found == pytest.approx(RESPONSE[t], rel=1e-7 if t == 1000 else 1e-11)


def test_kl_where_something_is_0() -> None:
    assert kl_divergence([1, 0], [1, 0]) == 0
    assert kl_divergence([0, 1], [0.5, 0.5]) == pytest.approx(np.log(2))
    assert kl_divergence([0.5, 0.5], [1, 0]) == np.inf
    assert kl_divergence([[1, 0], [0.5, 0.5]], [[1, 0], [1, 0]]) == np.inf
    assert kl_divergence([1e-300, 1], [1e-310, 1]) == pytest.approx(0, abs=1e-12)


@given(pairs(), st.floats(0.2, 10))
def test_kl_is_not_negative_and_0_for_equal_ones(z: Array, t: float) -> None:
    p, q = softmax(z[0], t), softmax(z[1], t)
    assert kl_divergence(p, q) >= -1e-12
    assert kl_divergence(p, p) == 0


@given(pairs(), st.permutations(range(4)))
def test_kl_does_not_care_for_the_order_of_the_classes(z: Array, order: list[int]) -> None:
    p, q = softmax(z[0], 5), softmax(z[1], 5)
    assert kl_divergence(p[:, order], q[:, order]) == pytest.approx(kl_divergence(p, q), rel=1e-9, abs=1e-12)


@given(pairs(), st.floats(0.5, 10))
def test_kl_is_the_response_of_the_logits(z: Array, t: float) -> None:
    expected = losses.response(z[1], z[0], temperature=t, t_squared=False)[0]
    assert kl_divergence(softmax(z[0], t), softmax(z[1], t)) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_kl_of_float32_rows_whose_sums_are_rounded() -> None:
    z = normal(50, 10).astype(np.float32)
    found = kl_divergence(softmax(z), softmax(z[::-1]))
    assert found == pytest.approx(kl_divergence(softmax(z.astype(float)), softmax(z[::-1].astype(float))), rel=1e-4)


@pytest.mark.parametrize(
    ("p", "q", "said"),
    [
        ([0.5, 0.5], [0.2, 0.3, 0.5], both("p (1, 2) and q (1, 3) must have one shape")),
        ([[0.5, 0.5]], [[0.5, 0.5]] * 2, both("p (1, 2) and q (2, 2) must have one shape")),
        ([0.5, 0.6], [0.5, 0.5], both("row 0 of p is [0.5, 0.6]; must be probabilities that sum to 1")),
        ([[0.5, 0.5], [1, 2]], [[0.5, 0.5]] * 2, both("row 1 of p is [1.0, 2.0]")),
        ([0.5, 0.5], [1.5, -0.5], both("row 0 of q is [1.5, -0.5]")),
        ([[0.5, 0.5]] * 3, [[1, 0], [0, 1], [0, 0]], both("row 2 of q is [0.0, 0.0]")),
        (np.full((2, 2, 2), 0.5), np.full((2, 2, 2), 0.5), both("(2, 2, 2)")),
        (np.full((2, 3, 2), 0.9), np.full((2, 3, 2), 0.5), both("(2, 3, 2)")),
    ],
)
def test_kl_refuses_what_is_no_pair_of_probabilities(p: Any, q: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        kl_divergence(p, q)


# --- DistillationLoss -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("t", RESPONSE)
@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.7, 1.0])
def test_the_loss_is_the_golden_one(alpha: float, t: int) -> None:
    found = DistillationLoss(t, alpha).forward(STUDENT, TEACHER, LABELS)
    assert found == pytest.approx((1 - alpha) * CROSS_ENTROPY + alpha * RESPONSE[t], rel=1e-9)


@pytest.mark.parametrize("t", GRADIENT_NORM)
def test_the_gradient_has_the_golden_norm(t: int) -> None:
    gradient = DistillationLoss(t, 1.0).backward(STUDENT, TEACHER, LABELS)
    assert np.linalg.norm(gradient) == pytest.approx(GRADIENT_NORM[t], rel=1e-11)


def test_the_defaults_are_those_of_the_field() -> None:
    loss = DistillationLoss()
    assert (loss.temperature, loss.alpha) == (3.0, 0.7)
    assert loss.forward(STUDENT, TEACHER, LABELS) == DistillationLoss(3, 0.7).forward(STUDENT, TEACHER, LABELS)


@pytest.mark.parametrize("labels", [[0, 1, 2, 3, 0], [0, -1, 2, -1, -1], [-1] * 5], ids=str)
@pytest.mark.parametrize("alpha", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("t", [0.5, 3.0, 20.0])
def test_its_gradient_is_that_of_central_differences(t: float, alpha: float, labels: list[int]) -> None:
    loss, student, teacher = DistillationLoss(t, alpha), normal(5, 4), normal(5, 4, seed=1)
    analytic, numeric = slopes(
        lambda z: loss.forward(z, teacher, labels), student, loss.backward(student, teacher, labels)
    )
    assert abs(analytic - numeric) <= 1e-6 * max(1e-3, abs(numeric))


def test_calling_it_gives_what_forward_and_backward_give() -> None:
    for loss in (DistillationLoss(2, 0.3), EnsembleDistiller([1, 3], 2)):
        teachers = TEACHER if isinstance(loss, DistillationLoss) else [TEACHER, SECOND]
        value, gradient = loss(STUDENT, teachers, LABELS)
        assert value == loss.forward(STUDENT, teachers, LABELS)
        np.testing.assert_array_equal(gradient, loss.backward(STUDENT, teachers, LABELS))


@given(pairs(3), st.floats(0.2, 20), st.lists(st.integers(-1, 3), min_size=6, max_size=6))
def test_alpha_0_ignores_the_teacher_and_alpha_1_the_labels(z: Array, t: float, labels: list[int]) -> None:
    y, other = labels[: len(z[0])], labels[::-1][: len(z[0])]
    zero, one = DistillationLoss(t, 0), DistillationLoss(t, 1)
    assert zero.forward(z[0], z[1], y) == zero.forward(z[0], z[2], y)
    assert zero.backward(z[0], z[1], y).tobytes() == zero.backward(z[0], z[2], y).tobytes()
    assert one.forward(z[0], z[1], y) == one.forward(z[0], z[1], other)
    assert one.backward(z[0], z[1], y).tobytes() == one.backward(z[0], z[1], other).tobytes()


def test_at_alpha_0_and_1_not_even_an_infinite_other_part_shows() -> None:
    sure, other = [[4e307, -4e307]], [[-4e307, 4e307]]
    assert DistillationLoss(3, 0.5).forward(sure, other, [0]) == np.inf
    assert DistillationLoss(3, 0).forward(sure, other, [0]) == 0
    assert DistillationLoss(3, 1).forward(sure, sure, [1]) == 0


@given(pairs(2), st.floats(0.2, 20), st.floats(0, 1), st.lists(st.integers(-1, 3), min_size=6, max_size=6))
def test_it_is_the_sum_of_the_functions_that_a_run_uses(z: Array, t: float, alpha: float, labels: list[int]) -> None:
    y = np.array(labels[: len(z[0])])
    value, gradient = DistillationLoss(t, alpha)(z[0], z[1], y)
    hard, hard_slope = losses.LOSSES["cross_entropy"](z[0], None, y)
    soft, soft_slope = losses.LOSSES["response"](z[0], z[1], y, temperature=t, t_squared=True)
    assert value == pytest.approx((1 - alpha) * hard + alpha * soft, rel=1e-12, abs=1e-12)
    np.testing.assert_allclose(gradient, (1 - alpha) * hard_slope + alpha * soft_slope, rtol=1e-12, atol=1e-15)


@given(pairs(2), st.floats(0.2, 20))
def test_its_gradient_sums_to_0_row_by_row(z: Array, t: float) -> None:
    y = np.arange(len(z[0])) % 4
    np.testing.assert_allclose(DistillationLoss(t, 0.5).backward(z[0], z[1], y).sum(axis=1), 0, atol=1e-12)


def test_a_student_that_is_its_teacher_has_nothing_to_learn_from_it() -> None:
    value, gradient = DistillationLoss(4, 1)(STUDENT, STUDENT, LABELS)
    assert value == pytest.approx(0, abs=1e-15)
    np.testing.assert_allclose(gradient, 0, atol=1e-15)


def test_descending_its_gradient_lowers_the_loss_to_the_teachers() -> None:
    loss, z = DistillationLoss(2, 1), np.array(STUDENT, float)
    first = loss.forward(z, TEACHER, LABELS)
    for _ in range(500):
        z -= loss.backward(z, TEACHER, LABELS)
    assert loss.forward(z, TEACHER, LABELS) < 1e-6 * first
    np.testing.assert_allclose(softmax(z, 2), softmax(TEACHER, 2), atol=1e-3)


def test_rows_without_a_label_learn_from_the_teacher_alone() -> None:
    gradient = DistillationLoss(2, 0.5).backward(STUDENT, TEACHER, [-1, 2])
    taught = DistillationLoss(2, 1).backward(STUDENT, TEACHER, [-1, 2])
    np.testing.assert_allclose(gradient[0], 0.5 * taught[0], rtol=1e-12)
    assert np.abs(gradient[1] - 0.5 * taught[1]).max() > 0.01


@pytest.mark.parametrize("loss", [DistillationLoss(), EnsembleDistiller()], ids=["one", "ensemble"])
@pytest.mark.parametrize(
    ("student", "teacher", "labels", "said"),
    [
        ((2, 4), (2, 3), [0, 1], both("student logits (2, 4) and teacher logits (2, 3)")),
        ((2, 4), (3, 4), [0, 1], both("student logits (2, 4) and teacher logits (3, 4)")),
        ((2, 4), (2, 4), [0, 1, 2], both("labels of int64 (3,) for student logits (2, 4)")),
        ((2, 4), (2, 4), [[0], [1]], both("labels of int64 (2, 1) for student logits (2, 4)")),
        ((2, 4), (2, 4), 0, both("labels of int64 () for student logits (2, 4)")),
        ((2, 4), (2, 4), [0.0, 1.0], both("labels of float64 (2,) for student logits (2, 4)")),
        ((2, 4), (2, 4), [True, False], both("labels of bool (2,) for student logits (2, 4)")),
        ((2, 4), (2, 4), ["a", "b"], both("labels of <U1 (2,) for student logits (2, 4)")),
        ((2, 4), (2, 4), [0, 4], both("labels from 0 to 4 for 4 classes; must be from 0 to 3, or -1")),
        ((2, 4), (2, 4), [-2, 1], both("labels from -2 to 1 for 4 classes")),
        ((4,), (4,), [0], both("(4,)")),
        ((2, 2, 4), (2, 2, 4), [0, 1], both("logits", "(2, 2, 4)")),
    ],
)
def test_what_does_not_fit_is_refused_with_both_values(
    loss: Any, student: tuple[int, ...], teacher: tuple[int, ...], labels: Any, said: str
) -> None:
    given_teacher = [normal(*teacher)] * (2 if isinstance(loss, EnsembleDistiller) else 1)
    with pytest.raises(ValueError, match=said):
        loss(normal(*student), given_teacher if isinstance(loss, EnsembleDistiller) else given_teacher[0], labels)


def test_labels_of_every_whole_kind_are_taken() -> None:
    expected = DistillationLoss()(STUDENT, TEACHER, LABELS)[0]
    for kind in ("i1", "u1", "u8", ">i4"):
        assert DistillationLoss()(STUDENT, TEACHER, np.array(LABELS, kind))[0] == expected


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_extreme_float32_logits_give_finite_numbers(alpha: float) -> None:
    """No warning either, which would be an error here."""
    z = np.array([[1e30, -1e30, 0], [0, 1e4, -1e4]], np.float32)
    for teacher in (z, -z, z[::-1]):
        value, gradient = DistillationLoss(3, alpha)(z, teacher, [0, 1])
        assert np.isfinite(gradient).all()
        assert np.isfinite(value)


# --- EnsembleDistiller ------------------------------------------------------------------------------------------------


def test_an_ensemble_is_the_golden_one() -> None:
    by_probabilities = EnsembleDistiller(temperature=1).combine([TEACHER, SECOND])
    by_logits = EnsembleDistiller(temperature=1, combine="logits").combine([TEACHER, SECOND])
    np.testing.assert_allclose(by_probabilities[0], MEAN_OF_PROBABILITIES, rtol=1e-12)
    np.testing.assert_allclose(by_logits[0], SOFTMAX_OF_MEAN_LOGITS, rtol=1e-12)


@pytest.mark.parametrize("t", [0.5, 1.0, 4.0])
def test_an_ensembles_targets_are_the_weighted_mean_that_its_name_says(t: float) -> None:
    members, weights = [normal(3, 4, seed=seed) for seed in range(3)], [1, 2, 5]
    mean = sum(w / 8 * softmax(z, t) for w, z in zip(weights, members, strict=True))
    np.testing.assert_allclose(EnsembleDistiller(weights, t).combine(members), mean, rtol=1e-12)
    mean = softmax(sum(w / 8 * z for w, z in zip(weights, members, strict=True)), t)
    np.testing.assert_allclose(EnsembleDistiller(weights, t, "logits").combine(members), mean, rtol=1e-12)


@pytest.mark.parametrize("how", ["probabilities", "logits"])
@given(z=pairs(3), t=st.floats(0.2, 20), weights=st.lists(st.floats(0.01, 100), min_size=3, max_size=3))
def test_only_the_proportions_of_the_weights_count(how: str, z: Array, t: float, weights: list[float]) -> None:
    one = EnsembleDistiller(weights, t, how)
    assert one.weights is not None
    assert sum(one.weights) == pytest.approx(1, rel=1e-12)
    scaled = EnsembleDistiller([7 * w for w in weights], t, how)
    np.testing.assert_allclose(one.combine(list(z)), scaled.combine(list(z)), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(one.combine(list(z)).sum(axis=1), 1, rtol=1e-9)


@pytest.mark.parametrize("how", ["probabilities", "logits"])
@given(z=pairs(3), order=st.permutations(range(3)))
def test_the_order_of_the_teachers_does_not_matter(how: str, z: Array, order: list[int]) -> None:
    weights = [1.0, 2.0, 4.0]
    one = EnsembleDistiller(weights, 2, how).combine(list(z))
    turned = EnsembleDistiller([weights[i] for i in order], 2, how).combine([z[i] for i in order])
    np.testing.assert_allclose(turned, one, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("how", ["probabilities", "logits"])
@given(z=pairs(2), copies=st.integers(1, 5))
def test_a_teacher_given_several_times_has_as_much_more_weight(how: str, z: Array, copies: int) -> None:
    several = EnsembleDistiller(None, 3, how).combine([z[0]] * copies + [z[1]])
    weighed = EnsembleDistiller([copies, 1], 3, how).combine(list(z))
    np.testing.assert_allclose(several, weighed, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("how", ["probabilities", "logits"])
def test_a_single_teacher_and_one_beside_teachers_of_weight_0_is_itself(how: str) -> None:
    alone = DistillationLoss(4, 0.7)(STUDENT, TEACHER, LABELS)
    for weights, teachers in (
        (None, [TEACHER]),
        ([5], [TEACHER]),
        ([0, 2, 0], [SECOND, TEACHER, STUDENT]),
        (None, [TEACHER, TEACHER]),
    ):
        value, gradient = EnsembleDistiller(weights, 4, how)(STUDENT, teachers, LABELS)
        assert value == pytest.approx(alone[0], rel=1e-12)
        np.testing.assert_allclose(gradient, alone[1], rtol=1e-9, atol=1e-15)
        np.testing.assert_allclose(
            EnsembleDistiller(weights, 4, how).combine(teachers), softmax(TEACHER, 4), rtol=1e-12
        )


@pytest.mark.parametrize("how", ["probabilities", "logits"])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_an_ensembles_loss_is_that_of_its_targets(alpha: float, how: str) -> None:
    ensemble, t = EnsembleDistiller([1, 3], 2.5, how), 2.5
    p = ensemble.combine([TEACHER, SECOND])
    soft = t * t * kl_divergence(p, softmax(STUDENT, t))
    found = ensemble.forward(STUDENT, [TEACHER, SECOND], LABELS, alpha)
    assert found == pytest.approx((1 - alpha) * CROSS_ENTROPY + alpha * soft, rel=1e-11)


@pytest.mark.parametrize("how", ["probabilities", "logits"])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_an_ensembles_gradient_is_that_of_central_differences(alpha: float, how: str) -> None:
    ensemble, student = EnsembleDistiller([1, 3], 2.5, how), normal(5, 4)
    teachers, labels = [normal(5, 4, seed=1), normal(5, 4, seed=2)], [0, -1, 2, 3, 1]
    analytic, numeric = slopes(
        lambda z: ensemble.forward(z, teachers, labels, alpha),
        student,
        ensemble.backward(student, teachers, labels, alpha),
    )
    assert abs(analytic - numeric) <= 1e-6 * max(1e-3, abs(numeric))


def test_an_ensembles_alpha_is_0_7_where_none_is_given() -> None:
    ensemble = EnsembleDistiller()
    assert ensemble.temperature == 3.0
    for call in (ensemble.forward, ensemble.backward):
        np.testing.assert_array_equal(
            call(STUDENT, [TEACHER], LABELS),
            call(STUDENT, [TEACHER], LABELS, 0.7),
        )
    assert ensemble.forward(STUDENT, [TEACHER], LABELS, 1) != ensemble.forward(STUDENT, [TEACHER], LABELS)


@pytest.mark.parametrize("how", ["probabilities", "logits"])
def test_an_ensemble_is_the_one_that_a_run_listens_to(how: str) -> None:
    """The same function gives a term of the configuration what its teachers say together."""
    said = {"a": normal(5, 4, seed=1), "b": normal(5, 4, seed=2)}
    term = Term("response", 1.0, (("a", 0.25), ("b", 0.75)), {"temperature": 2.0, "combine": how})
    heard = outputs.teacher_logits(term, answered(said), slice(None))
    found = EnsembleDistiller([1, 3], 2, how).combine(list(said.values()))
    np.testing.assert_array_equal(found, ops.softmax(heard, 2.0))


@pytest.mark.parametrize(
    ("weights", "teachers", "said"),
    [
        (None, [], both("0 teachers' logits are given; must be at least one")),
        ([1, 2], [TEACHER], both("1 teachers' logits are given; must be 2, as there are weights")),
        ([1], [TEACHER, SECOND], both("2 teachers' logits are given; must be 1, as there are weights")),
        (None, [np.zeros((2, 3)), np.zeros((2, 4))], both("teachers' logits (2, 3) and (2, 4) must have one shape")),
        ([1, 0], [np.zeros((2, 3)), np.zeros((1, 3))], both("teachers' logits (2, 3) and (1, 3) must have one shape")),
        ([0, 1], [np.zeros((2, 3)), np.zeros((2, 4))], both("teachers' logits (2, 3) and (2, 4) must have one shape")),
        (None, [[1.0, 2.0]], both("(2,)")),
        (None, [[1.0, 2.0], [1.0, 2.0]], both("(2,)")),
        (None, [np.zeros((2, 3, 4)), np.ones((2, 3, 4))], both("(2, 3, 4)")),
    ],
)
def test_teachers_that_make_no_ensemble_are_refused(weights: Any, teachers: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        EnsembleDistiller(weights).combine(teachers)


@pytest.mark.parametrize("weights", [[], [-1, 2], [0, 0], [np.nan, 1], [1, np.nan], [np.inf, 1]], ids=str)
def test_weights_that_are_none_are_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match=both("weights are [")):
        EnsembleDistiller(weights)


def test_an_unknown_way_to_combine_is_refused() -> None:
    with pytest.raises(ValueError, match="combine is 'mean'; must be probabilities or logits"):
        EnsembleDistiller(combine="mean")


# --- ProgressiveDistiller ---------------------------------------------------------------------------------------------


def mse_and_cosine(student: Array, teacher: Array) -> float:
    """As anyone would write it."""
    norms = np.linalg.norm(student, axis=1) * np.linalg.norm(teacher, axis=1)
    return float(((student - teacher) ** 2).mean() + (1 - (student * teacher).sum(axis=1) / norms).mean())


def through(adapter: Array, layer: Array) -> Array:
    return layer @ adapter[:, :-1].T + adapter[:, -1]


def test_a_pair_of_layers_of_known_values() -> None:
    value, gradient = ProgressiveDistiller().distill_layer([[3, 4], [1, 0]], [[3, 4], [0, 1]])
    assert value == pytest.approx(2 / 4 + 1 / 2, rel=1e-12)
    np.testing.assert_allclose(gradient, [[0, 0], [2 / 4, -2 / 4 - 1 / 2]], atol=1e-12)


def test_a_layer_is_the_sum_of_the_two_functions_that_a_run_uses() -> None:
    student, teacher = normal(5, 3), normal(5, 3, seed=1)
    value, gradient = ProgressiveDistiller().distill_layer(student, teacher)
    (hint, slope), (turn, other) = (features.FEATURES[name](student, teacher) for name in ("hint", "cosine"))
    assert value == hint + turn
    np.testing.assert_array_equal(gradient, slope + other)
    assert value == pytest.approx(mse_and_cosine(student, teacher), rel=1e-12)


@given(pairs(2, width=3))
def test_a_layer_that_is_the_teachers_costs_nothing_and_another_something(z: Array) -> None:
    z = z.round(2)  # the shorter a layer, the steeper its direction
    progress = ProgressiveDistiller()
    value, gradient = progress.distill_layer(z[0], z[0])
    assert value == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(gradient, 0, atol=1e-9)
    assert progress.distill_layer(*z)[0] >= -1e-12
    assert progress.adapters == {}


@pytest.mark.parametrize("widths", [(3, 3), (3, 5), (5, 3), (1, 4), (4, 1)], ids=str)
def test_a_layers_gradient_is_that_of_central_differences(widths: tuple[int, int]) -> None:
    progress = ProgressiveDistiller()
    student, teacher = normal(6, widths[0]), normal(6, widths[1], seed=1)
    _, gradient = progress.distill_layer(student, teacher)
    analytic, numeric = slopes(lambda h: progress.distill_layer(h, teacher)[0], student, gradient)
    assert abs(analytic - numeric) <= 1e-6 * max(1e-3, abs(numeric))


@pytest.mark.parametrize("widths", [(3, 5), (5, 3), (1, 4), (4, 2)], ids=str)
def test_an_adapters_gradient_is_that_of_central_differences(widths: tuple[int, int]) -> None:
    progress = ProgressiveDistiller()
    student, teacher = normal(6, widths[0]), normal(6, widths[1], seed=1)
    progress.distill_layer(student, teacher)
    slope, first = progress.slopes[0].copy(), progress.adapters[0].copy()

    def value(adapter: Array) -> float:
        progress.adapters[0] = adapter
        return progress.distill_layer(student, teacher)[0]

    analytic, numeric = slopes(value, first, slope)
    assert abs(analytic - numeric) <= 1e-6 * max(1e-3, abs(numeric))


def test_an_adapter_is_made_once_where_widths_differ_and_maps_as_it_says() -> None:
    progress = ProgressiveDistiller()
    student, teacher = normal(6, 3), normal(6, 5, seed=1)
    value, _ = progress.distill_layer(student, teacher)
    first = progress.adapters[0]
    assert first.shape == (5, 4)
    assert not first[:, -1].any()
    assert value == pytest.approx(mse_and_cosine(through(first, student), teacher), rel=1e-12)
    progress.distill_layer(normal(9, 3, seed=3), normal(9, 5, seed=4))
    assert progress.adapters[0] is first
    assert progress.adapters.keys() == {0}


def test_an_adapters_last_column_is_its_bias() -> None:
    progress = ProgressiveDistiller()
    student, teacher = normal(6, 3), normal(6, 5, seed=1)
    progress.distill_layer(student, teacher)
    progress.adapters[0][:, -1] = np.arange(5)
    value, _ = progress.distill_layer(student, teacher)
    shifted = student @ progress.adapters[0][:, :-1].T + np.arange(5)
    assert value == pytest.approx(mse_and_cosine(shifted, teacher), rel=1e-12)


def test_adapters_start_with_a_variance_of_one_over_the_width() -> None:
    progress = ProgressiveDistiller()
    progress.forward([normal(2, 400), normal(2, 100)], [normal(2, 300), normal(2, 200)])
    for pair, width in ((0, 400), (1, 100)):
        w = progress.adapters[pair][:, :-1]
        assert w.var() == pytest.approx(1 / width, rel=0.05)
        assert abs(w.mean()) < 0.05 / width**0.5


def test_the_seed_decides_over_the_adapters() -> None:
    found = []
    for seed in (0, 0, 1):
        progress = ProgressiveDistiller(random_seed=seed)
        progress.forward([normal(2, 3)] * 2, [normal(2, 4)] * 2)
        found.append([progress.adapters[pair].tobytes() for pair in (0, 1)])
    assert found[0] == found[1] != found[2]
    assert found[0][0] != found[0][1]


def test_a_step_moves_every_adapter_against_its_gradient_and_lowers_the_loss() -> None:
    progress = ProgressiveDistiller()
    students, teachers = [normal(20, 3), normal(20, 4)], [normal(20, 5, seed=1), normal(20, 2, seed=2)]
    before, _ = progress.forward(students, teachers)
    kept = {pair: (progress.adapters[pair].copy(), progress.slopes[pair].copy()) for pair in (0, 1)}
    progress.step(0.1)
    for pair, (adapter, slope) in kept.items():
        np.testing.assert_allclose(progress.adapters[pair], adapter - 0.1 * slope, rtol=1e-12)
    after, _ = progress.forward(students, teachers)
    assert after < before
    for _ in range(300):
        progress.step(0.1)
        last, _ = progress.forward(students, teachers)
    assert last < after


def test_a_step_without_adapters_does_nothing() -> None:
    progress = ProgressiveDistiller()
    progress.step(0.1)
    progress.distill_layer(normal(2, 3), normal(2, 3, seed=1))
    progress.step(0.1)
    assert (progress.adapters, progress.slopes) == ({}, {})


def test_a_pair_that_has_become_equally_wide_leaves_its_adapter_alone() -> None:
    progress = ProgressiveDistiller()
    progress.distill_layer(normal(3, 4), normal(3, 8))
    before = progress.adapters[0].copy()
    value, _ = progress.distill_layer(normal(3, 8), normal(3, 8, seed=1))
    assert value == pytest.approx(mse_and_cosine(normal(3, 8), normal(3, 8, seed=1)), rel=1e-12)
    progress.step(0.1)
    np.testing.assert_array_equal(progress.adapters[0], before)


def test_a_step_moves_only_the_adapters_of_the_last_call() -> None:
    """A pair that was not compared has no gradient left over from another time."""
    progress = ProgressiveDistiller()
    students, teachers = [normal(3, 4), normal(3, 4)], [normal(3, 8), normal(3, 8)]
    progress.forward(students, teachers)
    before = progress.adapters[1].copy()
    progress.forward(students[:1], teachers[:1])
    progress.step(0.1)
    np.testing.assert_array_equal(progress.adapters[1], before)


@pytest.mark.parametrize("weights", [None, [1.0, 0.5, 0.0], [3, 2, 1]], ids=str)
def test_forward_is_the_weighted_sum_over_pairs_and_the_logits_loss(weights: Sequence[float] | None) -> None:
    students = [normal(5, 3), normal(5, 4, seed=1), normal(5, 6, seed=2)]
    teachers = [normal(5, 3, seed=3), normal(5, 7, seed=4), normal(5, 2, seed=5)]
    z, t = normal(5, 4, seed=6), normal(5, 4, seed=7)
    progress, single = ProgressiveDistiller(weights, 2.0), ProgressiveDistiller(weights, 2.0)
    total, gradients = progress.forward(students, teachers, z, t)
    each = [
        single.distill_layer(student, teacher, i)
        for i, (student, teacher) in enumerate(zip(students, teachers, strict=True))
    ]
    soft, slope = losses.response(z, t, temperature=2.0)
    shares = [1 / 3] * 3 if weights is None else weights
    assert total == pytest.approx(sum(w * value for w, (value, _) in zip(shares, each, strict=True)) + soft, rel=1e-12)
    assert [one.shape for one in gradients] == [(5, 3), (5, 4), (5, 6), (5, 4)]
    for w, found, (_, expected) in zip(shares, gradients, each, strict=False):
        np.testing.assert_allclose(found, w * expected, rtol=1e-12)
    np.testing.assert_array_equal(gradients[3], slope)
    for pair in (1, 2):
        np.testing.assert_allclose(progress.slopes[pair], shares[pair] * single.slopes[pair], rtol=1e-12)
    without, fewer = ProgressiveDistiller(weights, 2.0).forward(students, teachers)
    assert without == pytest.approx(total - soft, rel=1e-9)
    assert len(fewer) == 3
    assert progress(students, teachers, z, t)[0] == progress.forward(students, teachers, z, t)[0]


def test_forwards_gradient_is_that_of_central_differences_in_everything_at_once() -> None:
    students, teachers = [normal(5, 3), normal(5, 4, seed=1)], [normal(5, 3, seed=3), normal(5, 6, seed=4)]
    z, t = normal(5, 4, seed=6), normal(5, 4, seed=7)
    progress = ProgressiveDistiller([0.3, 2.0], 3.0)
    _, gradients = progress.forward(students, teachers, z, t)
    sizes = np.cumsum([one.size for one in (*students, z)])[:-1]

    def value(flat: Array) -> float:
        one, two, last = (part.reshape(5, -1) for part in np.split(flat, sizes))
        return progress.forward([one, two], teachers, last, t)[0]

    at = np.concatenate([one.ravel() for one in (*students, z)])
    analytic, numeric = slopes(value, at, np.concatenate([one.ravel() for one in gradients]))
    assert abs(analytic - numeric) <= 1e-6 * abs(numeric)


def test_layer_by_layer_it_is_what_a_run_computes() -> None:
    """A term of hint and one of cosine, of weight 1 each, with the same adapter."""
    rng = np.random.default_rng(0)
    student, teacher = normal(6, 3), normal(6, 5, seed=1)
    progress = ProgressiveDistiller()
    value, gradient = progress.distill_layer(student, teacher)
    terms = [Term(name, 1.0, (("t", 1.0),), {"layers": ((1, 1),)}) for name in ("hint", "cosine")]
    said = {"t": TeacherOutputs(normal(6, 2), {1: teacher}, np.arange(6), 1)}
    made = adapters(terms, said, (4, 3, 2), rng)
    assert made.shapes == {"t.1-1": progress.adapters[0].shape}
    assert made["t.1-1"] == pytest.approx(progress.adapters[0].astype(np.float32), rel=1e-6)
    via = through(progress.adapters[0], student)
    parts = [features.FEATURES[term.loss](via, teacher) for term in terms]
    assert value == pytest.approx(sum(one for one, _ in parts), rel=1e-12)
    np.testing.assert_allclose(
        gradient, sum(slope for _, slope in parts) @ progress.adapters[0][:, :-1], rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize(
    ("student", "teacher"), [((3, 4), (2, 4)), ((3, 4), (4, 3)), ((3,), (3,)), ((2, 3, 4), (2, 3, 4)), ((3, 4), (3,))]
)
def test_layers_of_unequal_rows_are_refused_with_both_shapes(
    student: tuple[int, ...], teacher: tuple[int, ...]
) -> None:
    said = both(f"student layer {student} and teacher layer {teacher} must have equal rows")
    with pytest.raises(ValueError, match=said):
        ProgressiveDistiller().distill_layer(normal(*student), normal(*teacher))


def test_a_pair_whose_width_changes_is_refused_with_what_it_was() -> None:
    progress = ProgressiveDistiller()
    progress.distill_layer(normal(3, 4), normal(3, 8))
    said = both("pair 0: its adapter maps 4 units to 8, the layers are (3, 5) and (3, 8); keep the width")
    with pytest.raises(ValueError, match=said):
        progress.distill_layer(normal(3, 5), normal(3, 8))
    progress.distill_layer(normal(3, 5), normal(3, 8), pair=1)
    assert {pair: one.shape for pair, one in progress.adapters.items()} == {0: (8, 5), 1: (8, 6)}


@pytest.mark.parametrize(
    ("weights", "students", "teachers", "said"),
    [
        (None, [], [], both("0 student layers and 0 teacher layers; must be pairs, at least one")),
        (None, [(3, 4)], [], both("1 student layers and 0 teacher layers")),
        (None, [(3, 4)], [(3, 4)] * 2, both("1 student layers and 2 teacher layers")),
        ([1], [(3, 4)] * 2, [(3, 4)] * 2, both("1 layer_weights for 2 pairs of layers; must be as many")),
        ([1, 2], [(3, 4)], [(3, 4)], both("2 layer_weights for 1 pairs of layers")),
        (None, [(3, 4)] * 2, [(3, 4), (2, 4)], both("student layer (3, 4) and teacher layer (2, 4)")),
    ],
)
def test_layers_that_are_no_pairs_are_refused(weights: Any, students: Any, teachers: Any, said: str) -> None:
    layers = [[normal(*shape) for shape in some_shapes] for some_shapes in (students, teachers)]
    with pytest.raises(ValueError, match=said):
        ProgressiveDistiller(weights).forward(*layers)


@pytest.mark.parametrize("weights", [[], [-1], [1, -0.1], [np.nan], [1, np.nan], [np.inf]], ids=str)
def test_layer_weights_that_are_none_are_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match=both("layer_weights are [")):
        ProgressiveDistiller(weights)


def test_logits_of_one_side_alone_are_refused() -> None:
    layers = [normal(3, 4)]
    for given_logits in ({"student_logits": normal(3, 2)}, {"teacher_logits": normal(3, 2)}):
        with pytest.raises(ValueError, match="logits of only one of student and teacher are given; give both, or none"):
            ProgressiveDistiller().forward(layers, layers, **given_logits)


@pytest.mark.parametrize(
    ("student", "teacher", "said"),
    [
        ((3, 2), (3, 5), both("student logits (3, 2) and teacher logits (3, 5)")),
        ((3,), (3,), both("(3,)")),
        ((2, 3, 4), (2, 3, 4), both("(2, 3, 4)")),
    ],
)
def test_logits_that_do_not_fit_are_refused_with_both_shapes(
    student: tuple[int, ...], teacher: tuple[int, ...], said: str
) -> None:
    layers = [normal(3, 4)]
    with pytest.raises(ValueError, match=said):
        ProgressiveDistiller().forward(layers, layers, normal(*student), normal(*teacher))


def test_the_layers_of_a_real_student_come_nearer_to_its_teachers() -> None:
    """Its own training loop: the student's layer is its weights times the rows, and learns with its adapter."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 8))
    teacher, w = np.tanh(x @ rng.normal(size=(8, 6))), rng.normal(size=(8, 3)) / 3
    progress = ProgressiveDistiller()
    values = []
    for _ in range(400):
        value, (gradient,) = progress.forward([x @ w], [teacher])
        values.append(value)
        w -= 0.05 * (x.T @ gradient)
        progress.step(0.05)
    assert values[-1] < values[0] / 2


# --- where they are found ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["DistillationLoss", "EnsembleDistiller", "ProgressiveDistiller", "kl_divergence", "softmax"]
)
def test_the_faces_are_public_and_documented(name: str) -> None:
    face = getattr(distill, name)
    assert name in distill.__all__
    assert face.__doc__
    for inner in ("__init__", "__call__", "forward", "backward", "combine", "distill_layer", "step"):
        assert not hasattr(face, inner) or not inner.islower() or getattr(face, inner).__doc__
