"""The losses from Python: what their classes add to the functions that a run uses, and what they refuse."""

import contextlib
import re
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pytest

from conftest import answered
from distill import DistillationLoss, EnsembleDistiller, ProgressiveDistiller, kl_divergence, softmax
from distill.config.schema import Term
from distill.nn import features, losses, ops
from distill.nn.mlp import MLP
from distill.nn.vector import Array
from distill.train import outputs
from distill.train.adapters import make_adapters
from distill.train.outputs import TeacherOutputs
from loss_cases import GOLDEN, assert_close, assert_slope

STUDENT, TEACHER, LABELS = GOLDEN["fixture"].values()
SECOND = GOLDEN["ensemble_of_two_rows"]["second_teacher_logits"]
HOW = pytest.mark.parametrize("how", ["probabilities", "logits"])


def normal(*shape: int, seed: int = 0) -> Array:
    return 2 * np.random.default_rng(seed).normal(size=shape)


def layer_loss(student: Array, teacher: Array) -> tuple[float, Array]:
    (mse, slope), (angle, other) = features.hint(student, teacher), features.cosine(student, teacher)
    return mse + angle, slope + other


# --- what is taken ----------------------------------------------------------------------------------------------------


def test_float32_stays_and_every_other_kind_becomes_float64() -> None:
    t = np.array([[2, 1, 0], [1, 1, 2]])
    for kind in ("f4", "f8", "f2", "i1", "i8", "u2", ">f8"):
        z, progress = np.array([[1, 2, 0], [0, 1, 3]], kind), ProgressiveDistiller()
        pairs = [DistillationLoss()(z, t, [0, 1]), ProgressiveDistiller().distill_layer(z, t)]
        total, gradients = progress.forward([z], [np.ones((2, 5))], z, t)
        assert {type(value) for value in (total, *(value for value, _ in pairs))} == {float}, kind
        arrays = [softmax(z), EnsembleDistiller().combine([z, z]), EnsembleDistiller().backward(z, [t, t], [0, 1])]
        arrays += [progress.adapters[0], progress.slopes[0], *gradients, *(gradient for _, gradient in pairs)]
        assert {array.dtype for array in arrays} == {np.dtype("f4" if kind == "f4" else "f8")}, kind


def test_lists_and_whole_numbers_are_as_good_as_arrays_which_stay_as_they_were() -> None:
    expected = DistillationLoss()(np.array(STUDENT, float), np.array(TEACHER, float), np.array(LABELS))
    for labels in (tuple(LABELS), *(np.array(LABELS, kind) for kind in ("i1", "u1", "u8", ">i4"))):
        assert_close(labels, DistillationLoss()(tuple(map(tuple, STUDENT)), TEACHER, labels), expected, rtol=0, atol=0)
    assert softmax([0, 0]).tolist() == [0.5, 0.5]
    arrays = student, teacher, wide, y = normal(3, 4), normal(3, 4, seed=1), normal(3, 6), np.array([0, 1, -1])
    for array in arrays:
        array.flags.writeable = False
    softmax(student)
    DistillationLoss()(student, teacher, y)
    EnsembleDistiller()(student, [teacher, teacher], y)
    ProgressiveDistiller().forward([student, student], [teacher, wide], student, teacher)


# --- what is refused --------------------------------------------------------------------------------------------------

ARRAYS: dict[str, Callable[[Any], Any]] = {
    "logits": lambda bad: softmax(bad),
    "p": lambda bad: kl_divergence(bad, [0.5, 0.5]),
    "q": lambda bad: kl_divergence([0.5, 0.5], bad),
    "student logits": lambda bad: DistillationLoss()(bad, TEACHER, LABELS),
    "teacher logits": lambda bad: DistillationLoss()(STUDENT, bad, LABELS),
    "logits of teacher 1": lambda bad: EnsembleDistiller().combine([TEACHER, bad]),
    "student layer": lambda bad: ProgressiveDistiller().distill_layer(bad, TEACHER),
    "teacher layer": lambda bad: ProgressiveDistiller().distill_layer(STUDENT, bad),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_what_is_no_array_of_finite_numbers_is_refused_by_name(name: str) -> None:
    for bad in (np.nan, np.inf, -np.inf):
        with pytest.raises(ValueError, match=rf"^{name} of shape \(2, 4\) hold {bad}; must be finite"):
            ARRAYS[name](np.array([[1, 2, bad, 0], [0, 1, 0, 0]]))
    for none in (3.0, [], [[]], "text", [None, 1], [1j, 2], None):
        with pytest.raises(ValueError, match=rf"^{name} of \S+ \(.*\); must be numbers, at least one"):
            ARRAYS[name](none)


def test_numbers_out_of_their_bounds_are_refused() -> None:
    for bad in (0, -1, np.nan, np.inf, True):
        for call in (partial(softmax, [1]), DistillationLoss, EnsembleDistiller, ProgressiveDistiller):
            with pytest.raises(ValueError, match=rf"^temperature is {bad}; must be a number above 0"):
                call(temperature=bad)
        with pytest.raises(ValueError, match=rf"^learning_rate is {bad}; must be a number above 0"):
            ProgressiveDistiller().step(bad)
    for bad in (-0.1, 1.1, np.nan, np.inf, True):
        with pytest.raises(ValueError, match=rf"^alpha is {bad}; must be a number from 0 to 1"):
            DistillationLoss(alpha=bad)
    for weights in ([], [-1], [1, -0.1], [np.nan, 1], [1, np.nan], [np.inf, 1]):
        with pytest.raises(ValueError, match=re.escape(f"weights are {weights}; must be numbers from 0, not all 0")):
            EnsembleDistiller(weights)
        with pytest.raises(ValueError, match=re.escape(f"layer_weights are {weights}; must be numbers from 0, one")):
            ProgressiveDistiller(weights)


def kl(p: Any, q: Any) -> Any:
    return lambda: kl_divergence(p, q)


def loss(student: Any, teacher: Any, labels: Any = (0, 1)) -> Any:
    return lambda: DistillationLoss()(np.zeros(student), np.zeros(teacher), labels)


def ensemble(weights: Any, *shapes: Any) -> Any:
    return lambda: EnsembleDistiller(weights).combine([np.zeros(shape) for shape in shapes])


def layers(weights: Any, students: Any, teachers: Any, **logits: Any) -> Any:
    sides = [[np.ones(shape) for shape in shapes] for shapes in (students, teachers)]
    return lambda: ProgressiveDistiller(weights).forward(*sides, **{name: np.ones(z) for name, z in logits.items()})


A, B, CUBE, ONE, HALVES = (2, 4), (2, 3), (2, 2, 2), [(3, 4)], np.full((2, 2, 2), 0.5)
REFUSED: list[tuple[Callable[[], Any], str]] = [
    (kl([[0.5, 0.5]], [[0.5, 0.5]] * 2), "p (1, 2) and q (2, 2) must have one shape, (N,M) or (M,)"),
    (kl(HALVES, HALVES), "p (2, 2, 2) and q (2, 2, 2) must have one shape"),
    (kl([[0.5, 0.5], [1, 2]], [[0.5, 0.5]] * 2), "row 1 of p is [1.0, 2.0]; must be probabilities that sum to 1"),
    (kl([[0.5, 0.5]] * 2, [[0.5, 0.5], [1.5, -0.5]]), "row 1 of q is [1.5, -0.5]"),
    (kl([0.5, 0.5], [0.5, 0.502]), "row 0 of q is [0.5, 0.502]"),
    (loss(A, B), "student logits (2, 4) and teacher logits (2, 3)"),
    (loss(A, A, [0, 1, 2]), "labels of int64 (3,) for student logits (2, 4); must be class numbers (N,)"),
    (loss(A, A, [0.0, 1.0]), "labels of float64 (2,) for student logits (2, 4)"),
    (loss(A, A, [True, False]), "labels of bool (2,) for student logits (2, 4)"),
    (loss(A, A, [0, 4]), "labels from 0 to 4 for 4 classes; must be from 0 to 3, or -1"),
    (loss(A, A, [-2, 1]), "labels from -2 to 1 for 4 classes"),
    (loss((2,), (2,)), "for student logits (2,)"),
    (loss((2, 2, 4), (2, 2, 4)), "for student logits (2, 2, 4)"),
    (lambda: EnsembleDistiller()(STUDENT, [[[1, 2]]], LABELS), "student logits (2, 4) and teacher logits (1, 2)"),
    (lambda: EnsembleDistiller()(STUDENT, [TEACHER], LABELS, 2), "alpha is 2; must be a number from 0 to 1"),
    (ensemble(None), "0 teachers' logits are given; must be at least one"),
    (ensemble([1, 2], A), "1 teachers' logits are given; must be 2, as there are weights"),
    (ensemble([1, 0], B, (1, 3)), "teachers' logits (2, 3) and (1, 3) must have one shape"),
    (ensemble([0, 1], B, A), "teachers' logits (2, 3) and (2, 4) must have one shape"),
    (ensemble(None, (2,)), "teachers' logits (2,); must be a list of arrays (N,M)"),
    (ensemble(None, CUBE, CUBE), "teachers' logits (2, 2, 2); must be a list of arrays (N,M)"),
    (lambda: EnsembleDistiller([0, 0]), "weights are [0, 0]; must be numbers from 0, not all 0"),
    (lambda: EnsembleDistiller(combine="mean"), "combine is 'mean'; must be probabilities or logits"),
    (layers(None, [A], ONE), "student layer (2, 4) and teacher layer (3, 4) must have equal rows"),
    (layers(None, [CUBE], [CUBE]), "student layer (2, 2, 2) and teacher layer (2, 2, 2) must have equal rows"),
    (layers(None, [], []), "0 student layers and 0 teacher layers; must be pairs, at least one"),
    (layers(None, ONE, ONE * 2), "1 student layers and 2 teacher layers"),
    (layers([1], ONE * 2, ONE * 2), "1 layer_weights for 2 pairs of layers; must be as many"),
    (layers(None, ONE, ONE, student_logits=A), "logits of only one of student and teacher are given; give both, or"),
    (layers(None, ONE, ONE, teacher_logits=A), "logits of only one of student and teacher are given"),
    (layers(None, ONE, ONE, student_logits=(3, 2), teacher_logits=(3, 5)), "(3, 2) and teacher logits (3, 5)"),
    (layers(None, ONE, ONE, student_logits=A, teacher_logits=A), "a row for each of the layers' 3"),
    (layers(None, ONE, ONE, student_logits=(3,), teacher_logits=(3,)), "student logits (3,) and teacher logits (3,)"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=range(len(REFUSED)))
def test_what_does_not_fit_is_refused_with_both_values(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


# --- softmax and kl_divergence ----------------------------------------------------------------------------------------


def test_softmax_is_over_the_last_axis_and_exact_for_numbers_of_any_size() -> None:
    """No warning, which would be an error here, and no NaN."""
    for shape in ((5,), (1, 1), (3, 5), (2, 3, 5)):
        z = normal(*shape)
        np.testing.assert_allclose(softmax(z, 2.0), np.exp(z / 2) / np.exp(z / 2).sum(axis=-1, keepdims=True), 1e-12)
    for dtype, size in product((np.float32, np.float64), (0.999, 0.3)):
        most = np.array(size * float(np.finfo(dtype).max)).astype(dtype)
        assert softmax(np.array([most, -most], dtype)).tolist() == [1, 0]
        assert softmax(np.array([most, most, 0], dtype)).tolist() == [0.5, 0.5, 0]
        assert softmax(np.array([-most, -most], dtype), 1e-3).tolist() == [0.5, 0.5]
        with contextlib.suppress(ValueError):  # refused, or its limit
            assert softmax(np.array([1, 2], dtype), 1e-300).tolist() == [0, 1]


def test_kl_of_known_probabilities() -> None:
    for p, q, value in (
        ([0.5, 0.5], [0.25, 0.75], 0.5 * np.log(4 / 3)),
        ([[0.5, 0.5], [1, 0]], [[0.25, 0.75]] * 2, (0.5 * np.log(4 / 3) + np.log(4)) / 2),
        ([1, 0], [1, 0], 0),
        ([[1, 0], [0.5, 0.5]], [[1, 0], [1, 0]], np.inf),
        ([1e-300, 1], [1e-310, 1], 0),
        ([0.1, 0.2, 0.7], [0.1 + 1e-13, 0.2, 0.7], 0),
    ):
        assert kl_divergence(p, q) == pytest.approx(value, rel=1e-12, abs=1e-12), (p, q)
        assert not np.signbit(kl_divergence(p, q)), (p, q)
    for t, value in GOLDEN["response_without_T2"].items():
        assert kl_divergence(softmax(TEACHER, float(t)), softmax(STUDENT, float(t))) == pytest.approx(value, rel=1e-9)
    z = normal(50, 10)
    low = kl_divergence(softmax(z.astype("f4")), softmax(z[::-1].astype("f4")))  # their sums are rounded
    assert low == pytest.approx(kl_divergence(softmax(z), softmax(z[::-1])), rel=1e-4)


# --- DistillationLoss and EnsembleDistiller ---------------------------------------------------------------------------


def test_a_distillation_loss_is_the_sum_of_the_functions_that_a_run_uses() -> None:
    z, teacher = normal(5, 4), normal(5, 4, seed=1)
    for y, (t, alpha) in product(([0, -1, 2, -1, 3], [-1] * 5), ((0.5, 0.4), (3.0, 0.0), (20.0, 1.0))):
        loss = DistillationLoss(t, alpha)
        hard, soft = losses.cross_entropy(z, None, np.array(y)), losses.response(z, teacher, temperature=t)
        expected = tuple((1 - alpha) * a + alpha * b for a, b in zip(hard, soft, strict=True))
        assert_close((y, t, alpha), loss(z, teacher, y), expected, rtol=1e-12)
        assert_close((y, t, alpha), (loss.forward(z, teacher, y), loss.backward(z, teacher, y)), expected, rtol=1e-12)
    value = 0.3 * GOLDEN["cross_entropy"] + 0.7 * GOLDEN["response"]["4"]
    assert DistillationLoss(4)(STUDENT, TEACHER, LABELS)[0] == pytest.approx(value, rel=1e-11)
    assert (DistillationLoss().temperature, EnsembleDistiller().temperature) == (3, 3)
    assert ProgressiveDistiller().temperature == 3


def test_at_alpha_0_and_1_not_even_an_infinite_other_part_shows() -> None:
    sure, other = [[4e307, -4e307]], [[-4e307, 4e307]]
    assert DistillationLoss(3, 0.5).forward(sure, other, [0]) == np.inf
    assert DistillationLoss(3, 0).forward(sure, other, [0]) == 0
    assert DistillationLoss(3, 1).forward(sure, sure, [1]) == 0
    z = np.array([[1e30, -1e30, 0], [0, 1e4, -1e4]], np.float32)
    for teacher, alpha in product((z, -z, z[::-1]), (0.0, 0.5, 1.0)):
        value, gradient = DistillationLoss(3, alpha)(z, teacher, [0, 1])
        assert np.isfinite([value, *gradient.ravel()]).all()


@HOW
def test_an_ensembles_targets_are_the_weighted_mean_that_its_name_says(how: str) -> None:
    golden = {key.split("_T1")[0].split("_")[-1]: row for key, row in GOLDEN["ensemble_of_two_rows"].items()}
    result = EnsembleDistiller(temperature=1, combine=how).combine([TEACHER, SECOND])[0]
    np.testing.assert_allclose(result, golden[how], rtol=1e-12)
    members, shares = [normal(3, 4, seed=seed) for seed in range(4)], np.array([1, 2, 5, 0]) / 8
    for t in (0.5, 4.0):
        of_logits = softmax(np.tensordot(shares, members, 1), t)
        mean = of_logits if how == "logits" else np.tensordot(shares, [softmax(z, t) for z in members], 1)
        for weights in ([1, 2, 5, 0], [7, 14, 35, 0]):
            np.testing.assert_allclose(EnsembleDistiller(weights, t, how).combine(members), mean, rtol=1e-12)
    # The same function gives a term of the configuration what its teachers say together.
    names = dict(zip("ab", members[:2], strict=True))
    term = Term("response", 1.0, (("a", 0.25), ("b", 0.75)), {"temperature": 2.0, "combine": how})
    expected = ops.softmax(outputs.teacher_logits(term, answered(names), slice(None)), 2.0)
    np.testing.assert_array_equal(EnsembleDistiller([1, 3], 2, how).combine(members[:2]), expected)


@HOW
def test_an_ensembles_loss_is_that_of_its_targets(how: str) -> None:
    members, t, y = [normal(5, 4, seed=1), normal(5, 4, seed=2)], 2.5, [0, -1, 2, 3, 1]
    student, ensemble = normal(5, 4), EnsembleDistiller([1, 3], t, how)
    for alpha, options in ((0.3, [0.3]), (0.7, []), (1.0, [1])):
        expected = DistillationLoss(t, alpha)(student, np.log(ensemble.combine(members)) * t, y)
        assert_close(alpha, ensemble(student, members, y, *options), expected, rtol=1e-11)
        parts = ensemble.forward(student, members, y, *options), ensemble.backward(student, members, y, *options)
        assert_close(alpha, parts, expected, rtol=1e-11)
    alone = DistillationLoss(4, 0.7)(STUDENT, TEACHER, LABELS)
    for weights, teachers in ((None, [TEACHER]), ([0, 2, 0], [SECOND, TEACHER, STUDENT]), (None, [TEACHER] * 2)):
        assert_close(weights, EnsembleDistiller(weights, 4, how)(STUDENT, teachers, LABELS), alone)


# --- ProgressiveDistiller ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("widths", [(3, 3), (3, 5), (5, 3), (1, 4)], ids=str)
def test_a_layer_is_the_sum_of_hint_and_cosine_through_its_adapter(widths: tuple[int, int]) -> None:
    progress, student, teacher = ProgressiveDistiller(), normal(6, widths[0]), normal(6, widths[1], seed=1)
    result = progress.distill_layer(student, teacher)
    if widths == (3, 3):
        assert_close(widths, result, layer_loss(student, teacher), rtol=0, atol=0)
        assert (progress.adapters, progress.slopes) == ({}, {})
        return
    first = progress.adapters[0]
    assert (first.shape, first[:, -1].any()) == ((widths[1], widths[0] + 1), False)
    assert_slope(widths, lambda h: progress.distill_layer(h, teacher), student)
    assert progress.adapters.keys() == {0}
    assert progress.adapters[0] is first

    def through(adapter: Array) -> tuple[float, Array]:
        progress.adapters[0] = adapter
        return progress.distill_layer(student, teacher)[0], progress.slopes[0]

    assert_slope(widths, through, first)
    moved = np.hstack([first[:, :-1], np.arange(widths[1])[:, None]])  # the last column is its bias
    expected = layer_loss(student @ moved[:, :-1].T + np.arange(widths[1]), teacher)[0]
    assert through(moved)[0] == pytest.approx(expected, rel=1e-12)


def test_adapters_start_with_a_variance_of_one_over_the_width_by_the_seed_as_in_a_run() -> None:
    result = []
    for seed in (0, 0, 1):
        progress = ProgressiveDistiller(random_seed=seed)
        progress.forward([normal(2, 400), normal(2, 100)], [normal(2, 300), normal(2, 200)])
        result.append([progress.adapters[pair].tobytes() for pair in (0, 1)])
    assert result[0] == result[1] != result[2]
    for pair, width in ((0, 400), (1, 100)):
        assert progress.adapters[pair][:, :-1].var() == pytest.approx(1 / width, rel=0.05)
        assert progress.adapters[pair][:, :-1].mean() == pytest.approx(0, abs=0.05 / width**0.5)
    term, progress = Term("hint", 1.0, (("t", 1.0),), {"layers": ((1, 1),)}), ProgressiveDistiller()
    progress.distill_layer(normal(6, 3), normal(6, 5))
    teachers = {"t": TeacherOutputs(normal(6, 2), {1: normal(6, 5)}, np.arange(6), 1)}
    made = make_adapters([term], teachers, MLP((4, 3, 2)), np.random.default_rng(0))
    np.testing.assert_allclose(made["t.1-1"], progress.adapters[0], rtol=1e-6)


@pytest.mark.parametrize("weights", [None, [1.0, 0.5, 0.0], [3, 2, 1]], ids=str)
def test_forward_is_the_weighted_sum_over_pairs_and_the_logits_loss(weights: list[float] | None) -> None:
    students = [normal(5, 3), normal(5, 4, seed=1), normal(5, 6, seed=2)]
    teachers = [normal(5, 3, seed=3), normal(5, 7, seed=4), normal(5, 2, seed=5)]
    progress, single = ProgressiveDistiller(weights, 2.0), ProgressiveDistiller(weights, 2.0)
    total, gradients = progress.forward(students, teachers, normal(5, 4, seed=6), normal(5, 4, seed=7))
    parts = [single.distill_layer(*pair, i) for i, pair in enumerate(zip(students, teachers, strict=True))]
    parts.append(losses.response(normal(5, 4, seed=6), normal(5, 4, seed=7), temperature=2.0))
    shares = [*(weights or [1 / 3] * 3), 1]
    assert total == pytest.approx(sum(w * value for w, (value, _) in zip(shares, parts, strict=True)), rel=1e-12)
    for w, result, (_, expected) in zip(shares, gradients, parts, strict=True):
        np.testing.assert_allclose(result, w * expected, rtol=1e-12)
    for pair in (1, 2):
        np.testing.assert_allclose(progress.slopes[pair], shares[pair] * single.slopes[pair], rtol=1e-12)
    without, fewer = progress(students, teachers)
    assert (without, len(fewer)) == (pytest.approx(total - parts[-1][0], rel=1e-9), 3)


def test_a_step_moves_every_adapter_of_the_last_call_against_its_gradient() -> None:
    progress, students, teachers = ProgressiveDistiller(), [normal(9, 3), normal(9, 4)], [normal(9, 5), normal(9, 2)]
    progress.step(0.1)  # nothing to move yet
    first = progress.forward(students, teachers)[0]
    expected = {pair: progress.adapters[pair] - 0.1 * progress.slopes[pair] for pair in (0, 1)}
    progress.step(0.1)
    for pair in (0, 1):
        np.testing.assert_allclose(progress.adapters[pair], expected[pair], rtol=1e-12)
    assert progress.forward(students, teachers)[0] < first
    progress.forward(students[:1], teachers[:1])
    progress.step(0.1)
    np.testing.assert_allclose(progress.adapters[1], expected[1], rtol=1e-12)
    progress.forward(students, teachers)
    progress.distill_layer(teachers[1], teachers[1], pair=1)  # it has become equally wide
    progress.step(0.1)
    np.testing.assert_allclose(progress.adapters[1], expected[1], rtol=1e-12)


def test_a_pair_whose_width_changes_is_refused_with_what_it_was() -> None:
    progress = ProgressiveDistiller()
    progress.distill_layer(normal(3, 4), normal(3, 8))
    for student in ((3, 5), (3, 3)):
        message = f"pair 0: its adapter maps 4 units to 8, the layers are {student} and (3, 8); keep the width"
        with pytest.raises(ValueError, match=re.escape(message)):
            progress.distill_layer(normal(*student), normal(3, 8))
    progress.distill_layer(normal(3, 5), normal(3, 8), pair=1)
    assert {pair: adapter.shape for pair, adapter in progress.adapters.items()} == {0: (8, 5), 1: (8, 6)}
