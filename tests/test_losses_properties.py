"""What is true of the losses whatever they are given: one statement a test, and examples that look for an exception."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from hypothesis.strategies import SearchStrategy

from distill.nn.features import (
    FEATURES,
    SAME_UNITS,
    attention,
    contrast,
    cosine,
    hint,
    novelty,
    relation_angle,
    relation_distance,
    similarity,
)
from distill.nn.losses import (
    LOSSES,
    cross_entropy,
    decoupled,
    dist,
    jensen_shannon,
    logit_mse,
    response,
    reverse_kl,
    soft_cross_entropy,
)
from distill.nn.ops import log_softmax
from distill.nn.vector import Array

N, M, C = 4, 5, 3  # rows, classes, units
Side = tuple[Array, Array]

# Multiples of 0.1: zeros, equal rows and ties are common, and numbers that only rounding tells apart do not occur.
LOGITS = arrays(np.int16, (N, M), elements=st.integers(-100, 100)).map(lambda z: z / 10)
UNITS = arrays(np.int8, (N, C), elements=st.integers(-30, 30)).map(lambda x: x / 10)
LABELS = arrays(np.int64, N, elements=st.integers(-1, M - 1))
TEMPERATURES = st.floats(0.5, 20)
SHARES = st.floats(0.05, 0.95)

SOFT = [response, soft_cross_entropy, reverse_kl, jensen_shannon]  # those with a temperature and `t_squared`
ON_SOFTMAX = sorted(LOSSES.keys() - {"logit_mse"})
BY_TEACHER = sorted(LOSSES.keys() - {"cross_entropy", "logit_mse"})
# What each is blind to follows from what it measures by. The angle of a single row: a scale of each row's own. Inner
# products or distances, in units of their own: only one scale for all. Angles and distances between rows: a rotation,
# which for a single row's angle to the teacher is none of its business. Distances: also where the origin is.
SCALED_BY_ROW = ["cosine", "attention", "probabilistic", "contrast", "novelty"]
SCALED = [*SCALED_BY_ROW, "similarity", "relation_distance", "relation_angle"]
ROTATED = ["similarity", "probabilistic", "relation_distance", "relation_angle"]
MOVED = ["relation_distance", "relation_angle"]
OF_ROWS = ["hint", "cosine", "attention", "novelty"]  # a mean of what each row is worth by itself

# DIST leaves out rows and classes that do not vary, a jump, and rounds where they hardly do: on top of multiples of 0.1
# these make every one vary.
RIDGE = 0.05 * np.random.default_rng(0).normal(size=(N, M))

some = settings(max_examples=40)
few = settings(max_examples=12)  # for what is repeated for many losses
every_logit_loss = pytest.mark.parametrize("name", LOSSES)
every_feature_loss = pytest.mark.parametrize("name", FEATURES)


def directions(rows: int = N) -> SearchStrategy[Array]:
    """Features of which no row is zeros, so that each has a direction, and no two are equal."""
    off = np.arange(1, rows + 1)[:, None] * np.array([0.031, -0.017, 0.043])
    return arrays(np.int8, (rows, C), elements=st.integers(-30, 30)).map(lambda x: x / 10 + off)


def clear(name: str, z: Array) -> Array:
    return z + RIDGE if name == "dist" else z


def rotation(seed: int) -> Array:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(C, C)))[0]


def entropy(z: Array, temperature: float) -> float:
    """The mean over rows of the entropy of softmax(z / T)."""
    log_p = log_softmax(z, temperature)
    return -float((np.exp(log_p) * log_p).sum()) / len(z)


def cosines(x: Array, y: Array) -> Array:
    return (x * y).sum(axis=1) / (np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1))


def step(f: Callable[[Array], tuple[float, Array]], x: Array, length: float = 1e-4) -> tuple[float, Array]:
    """By how much a short step against the gradient lowers f, as a share of what the slope promises; and the new x."""
    value, gradient = f(x)
    slope = float(np.linalg.norm(gradient))
    assume(slope > 1e-3)
    moved = x - length / slope * gradient
    return (value - f(moved)[0]) / (length * slope), moved


# --- the softmax ------------------------------------------------------------------------------------------------------


@some
@given(LOGITS, TEMPERATURES, st.floats(1.05, 3))
@example(np.zeros((N, M)), 1.0, 2.0)
def test_entropy_strictly_rises_with_temperature_unless_all_logits_are_equal(z: Array, t: float, factor: float) -> None:
    for row in z[:, None]:
        low, high = entropy(row, t), entropy(row, t * factor)
        if np.ptp(row):
            assert high > low
        else:
            assert low == pytest.approx(np.log(M), rel=1e-12)
            assert high == pytest.approx(np.log(M), rel=1e-12)


@some
@given(LOGITS, TEMPERATURES)
def test_softmax_rows_sum_to_one(z: Array, t: float) -> None:
    np.testing.assert_allclose(np.exp(log_softmax(z, t)).sum(axis=1), 1, rtol=1e-12)


@some
@given(LOGITS, TEMPERATURES)
def test_softmax_keeps_the_order_of_the_logits_and_their_differences(z: Array, t: float) -> None:
    np.testing.assert_allclose(np.diff(log_softmax(z, t)) * t, np.diff(z), atol=1e-9)


# --- what all losses on logits have in common -------------------------------------------------------------------------


@few
@pytest.mark.parametrize("name", ON_SOFTMAX)
@given(LOGITS, LOGITS, LABELS, arrays(np.float64, (N, 1), elements=st.floats(-50, 50)))
def test_a_constant_added_to_a_row_of_the_student_changes_nothing(
    name: str, z: Array, y: Array, labels: Array, shift: Array
) -> None:
    z, y = clear(name, z), clear(name, y)
    value, gradient = LOSSES[name](z, y, labels)
    moved, slope = LOSSES[name](z + shift, y, labels)
    assert moved == pytest.approx(value, rel=1e-9, abs=1e-9)
    np.testing.assert_allclose(slope, gradient, rtol=1e-6, atol=1e-9)


@few
@pytest.mark.parametrize("name", BY_TEACHER)
@given(LOGITS, LOGITS, LABELS, arrays(np.float64, (N, 1), elements=st.floats(-50, 50)))
def test_a_constant_added_to_a_row_of_the_teacher_changes_nothing(
    name: str, z: Array, y: Array, labels: Array, shift: Array
) -> None:
    z, y = clear(name, z), clear(name, y)
    value, gradient = LOSSES[name](z, y, labels)
    moved, slope = LOSSES[name](z, y + shift, labels)
    assert moved == pytest.approx(value, rel=1e-9, abs=1e-9)
    np.testing.assert_allclose(slope, gradient, rtol=1e-6, atol=1e-9)


@few
@pytest.mark.parametrize("name", ON_SOFTMAX)
@given(LOGITS, LOGITS, LABELS)
def test_every_row_of_the_gradient_sums_to_zero(name: str, z: Array, y: Array, labels: Array) -> None:
    gradient = LOSSES[name](z, y, labels)[1]
    np.testing.assert_allclose(gradient.sum(axis=1), 0, atol=1e-12 * (1 + np.abs(gradient).max()))


@few
@every_logit_loss
@given(LOGITS, LOGITS, LABELS, st.permutations(range(M)))
def test_renumbering_the_classes_renumbers_the_gradient(
    name: str, z: Array, y: Array, labels: Array, order: list[int]
) -> None:
    z, y = clear(name, z), clear(name, y)
    value, gradient = LOSSES[name](z, y, labels)
    renumbered = np.where(labels < 0, -1, np.argsort(order)[labels])
    moved, slope = LOSSES[name](z[:, order], y[:, order], renumbered)
    assert moved == pytest.approx(value, rel=1e-9, abs=1e-12)
    np.testing.assert_allclose(slope, gradient[:, order], rtol=1e-6, atol=1e-9)


@few
@every_logit_loss
@given(LOGITS, LOGITS, LABELS, st.permutations(range(N)))
def test_reordering_the_rows_of_logits_reorders_the_gradient(
    name: str, z: Array, y: Array, labels: Array, order: list[int]
) -> None:
    z, y = clear(name, z), clear(name, y)
    value, gradient = LOSSES[name](z, y, labels)
    moved, slope = LOSSES[name](z[order], y[order], labels[order])
    assert moved == pytest.approx(value, rel=1e-9, abs=1e-12)
    np.testing.assert_allclose(slope, gradient[order], rtol=1e-6, atol=1e-9)


@few
@every_logit_loss
@given(LOGITS, LOGITS, LABELS)
def test_no_loss_on_logits_is_negative(name: str, z: Array, y: Array, labels: Array) -> None:
    assert LOSSES[name](z, y, labels)[0] >= -1e-12


@few
@pytest.mark.parametrize("name", sorted(LOSSES.keys() - {"dist"}))
@given(LOGITS, LOGITS, LABELS)
def test_a_batch_is_worth_the_mean_of_its_labelled_rows(name: str, z: Array, y: Array, labels: Array) -> None:
    """All but DIST, which compares rows; those without a label count where none is looked at."""
    labels = labels if name in ("cross_entropy", "decoupled") else np.zeros(N, int)
    has = np.flatnonzero(labels >= 0)
    assume(len(has) > 0)
    value, gradient = LOSSES[name](z, y, labels)
    alone = [LOSSES[name](z[i : i + 1], y[i : i + 1], labels[i : i + 1]) for i in has]
    assert value == pytest.approx(np.mean([one for one, _ in alone]), rel=1e-9, abs=1e-12)
    np.testing.assert_allclose(gradient[has] * len(has), np.concatenate([g for _, g in alone]), rtol=1e-9, atol=1e-12)


@few
@every_logit_loss
@given(LOGITS, LOGITS, LABELS)
def test_a_step_against_the_gradient_lowers_the_loss_on_logits(name: str, z: Array, y: Array, labels: Array) -> None:
    gained, _ = step(lambda x: LOSSES[name](x, y, labels), clear(name, z))
    assert gained == pytest.approx(1, abs=0.2)


@few
@every_logit_loss
@given(LOGITS, LOGITS, LABELS)
def test_a_loss_on_logits_leaves_its_arguments_as_they_were(name: str, z: Array, y: Array, labels: Array) -> None:
    given_to = [x.copy() for x in (z, y, labels)]
    gradient = LOSSES[name](*given_to)[1]
    for before, after in zip((z, y, labels), given_to, strict=True):
        np.testing.assert_array_equal(after, before)
        assert not np.shares_memory(gradient, after)


# --- what each loss on logits promises --------------------------------------------------------------------------------


@some
@given(LOGITS, LABELS, st.floats(0, 1))
def test_label_smoothing_mixes_the_cross_entropies_to_the_label_and_to_all_classes(
    z: Array, labels: Array, s: float
) -> None:
    value, gradient = cross_entropy(z, None, labels, smoothing=s)
    to_label, label_slope = cross_entropy(z, None, labels)
    to_each, slopes = zip(*(cross_entropy(z, None, np.where(labels < 0, -1, k)) for k in range(M)), strict=True)
    assert value == pytest.approx((1 - s) * to_label + s * np.mean(to_each), rel=1e-9, abs=1e-12)
    np.testing.assert_allclose(gradient, (1 - s) * label_slope + s * np.mean(slopes, axis=0), atol=1e-12)


@some
@given(LOGITS, LABELS)
def test_cross_entropy_pulls_up_the_label_and_pushes_down_all_others_by_no_more_than_one_together(
    z: Array, labels: Array
) -> None:
    has = np.flatnonzero(labels >= 0)
    gradient = cross_entropy(z, None, labels)[1] * max(1, len(has))
    at_label = np.zeros((N, M), bool)
    at_label[has, labels[has]] = True
    assert ((gradient[at_label] <= 0) & (gradient[at_label] >= -1)).all()
    assert ((gradient[~at_label] >= 0) & (gradient[~at_label] <= 1)).all()
    np.testing.assert_allclose(cross_entropy(z, None, labels)[0] * len(has), -log_softmax(z)[at_label].sum(), atol=1e-9)


@some
@given(LOGITS, arrays(np.int64, N, elements=st.integers(0, M - 1)))
def test_cross_entropy_is_what_a_teacher_gives_that_is_certain_of_the_label(z: Array, labels: Array) -> None:
    certain = np.where(np.arange(M) == labels[:, None], 1000.0, 0.0)
    value, gradient = cross_entropy(z, None, labels)
    for f in response, soft_cross_entropy:
        found, slope = f(z, certain, temperature=1.0)
        assert found == pytest.approx(value, rel=1e-9, abs=1e-12)
        np.testing.assert_allclose(slope, gradient, atol=1e-12)


@some
@given(LOGITS, LOGITS, TEMPERATURES)
def test_response_and_the_teachers_entropy_make_the_soft_cross_entropy(z: Array, y: Array, t: float) -> None:
    value, gradient = response(z, y, temperature=t)
    whole, slope = soft_cross_entropy(z, y, temperature=t)
    assert value + t * t * entropy(y, t) == pytest.approx(whole, rel=1e-9)
    np.testing.assert_allclose(slope, gradient, atol=1e-12)


@some
@given(LOGITS, LOGITS, TEMPERATURES)
def test_reverse_kl_is_response_with_the_sides_exchanged(z: Array, y: Array, t: float) -> None:
    assert reverse_kl(z, y, temperature=t)[0] == pytest.approx(response(y, z, temperature=t)[0], rel=1e-9, abs=1e-12)


@some
@given(LOGITS, LOGITS, SHARES, TEMPERATURES)
@example(np.eye(N, M), np.zeros((N, M)), 0.5, 1.0)
def test_jensen_shannon_is_the_same_with_the_sides_and_their_shares_exchanged(
    z: Array, y: Array, beta: float, t: float
) -> None:
    """So at one half it is symmetric."""
    value = jensen_shannon(z, y, beta=beta, temperature=t)[0]
    assert jensen_shannon(y, z, beta=1 - beta, temperature=t)[0] == pytest.approx(value, rel=1e-9, abs=1e-12)


@some
@given(LOGITS, LOGITS, SHARES)
@example(np.eye(N, M) * 1000, np.eye(N, M)[:, ::-1] * 1000, 0.5)
def test_jensen_shannon_is_at_most_the_entropy_of_the_shares(z: Array, y: Array, beta: float) -> None:
    """So log 2 at one half."""
    bound = -beta * np.log(beta) - (1 - beta) * np.log(1 - beta)
    assert jensen_shannon(z, y, beta=beta, temperature=1.0)[0] <= bound + 1e-12


@some
@given(LOGITS, LOGITS, SHARES, TEMPERATURES)
def test_jensen_shannon_is_at_most_what_both_kls_allow(z: Array, y: Array, beta: float, t: float) -> None:
    """KL is convex, and m lies between p and q: KL(p || m) <= (1 - beta) KL(p || q), and the same for q."""
    forward, backward = response(z, y, temperature=t)[0], reverse_kl(z, y, temperature=t)[0]
    found = jensen_shannon(z, y, beta=beta, temperature=t)[0]
    assert found <= beta * (1 - beta) * (forward + backward) * (1 + 1e-9) + 1e-12


@some
@given(LOGITS, LOGITS)
def test_jensen_shannon_nears_either_kl_as_its_share_of_the_student_or_the_teacher_vanishes(z: Array, y: Array) -> None:
    z, y = z / 10, y / 10
    for beta, whole in ((1e-6, 0.0), (1 - 1e-6, 1.0)):
        value, gradient = jensen_shannon(z, y, beta=beta)
        limit, slope = jensen_shannon(z, y, beta=whole)
        assert value / 1e-6 == pytest.approx(limit, rel=1e-4, abs=1e-6)
        np.testing.assert_allclose(gradient / 1e-6, slope, rtol=1e-4, atol=1e-6)


@few
@pytest.mark.parametrize("f", SOFT)
@given(LOGITS, LOGITS, TEMPERATURES)
def test_t_squared_is_a_factor_of_value_and_gradient(f: Callable[..., Any], z: Array, y: Array, t: float) -> None:
    value, gradient = f(z, y, temperature=t)
    plain, slope = f(z, y, temperature=t, t_squared=False)
    assert value == pytest.approx(t * t * plain, rel=1e-12)
    np.testing.assert_allclose(gradient, t * t * slope, rtol=1e-12)


@few
@pytest.mark.parametrize("f", [*SOFT, decoupled, dist])
@given(LOGITS, LOGITS, st.floats(0.5, 4), st.floats(0.5, 4))
def test_logits_and_temperature_k_times_as_large_make_it_k_squared_times_as_large(
    f: Callable[..., Any], z: Array, y: Array, t: float, k: float
) -> None:
    z, y, labels = (z + RIDGE) / 4, (y + RIDGE) / 4, np.arange(N)
    value, gradient = f(z, y, labels, temperature=t)
    scaled, slope = f(k * z, k * y, labels, temperature=k * t)
    assert scaled == pytest.approx(k * k * value, rel=1e-9, abs=1e-12)
    np.testing.assert_allclose(slope, k * gradient, rtol=1e-6, atol=1e-9)


@some
@given(LOGITS, LOGITS)
def test_response_of_high_temperature_compares_centred_logits(z: Array, y: Array) -> None:
    value, gradient = response(z, y, temperature=1e5)
    limit, slope = logit_mse(*(x - x.mean(axis=1, keepdims=True) for x in (z, y)))
    assert value == pytest.approx(limit / M, rel=1e-3, abs=1e-4)
    np.testing.assert_allclose(gradient, slope / M, atol=1e-3)


@some
@given(LOGITS, LOGITS)
def test_logit_mse_is_symmetric_and_its_gradient_is_the_difference(z: Array, y: Array) -> None:
    value, gradient = logit_mse(z, y)
    assert value == logit_mse(y, z)[0]
    assert value == pytest.approx(float(np.vdot(gradient, gradient)) * N / 2, rel=1e-12)
    np.testing.assert_allclose(z - N * gradient, y, atol=1e-12)


@some
@given(LOGITS, LOGITS, st.integers(0, M - 1), TEMPERATURES)
def test_decoupled_is_response_where_the_others_weigh_what_the_teacher_gives_them(
    z: Array, y: Array, label: int, t: float
) -> None:
    z, y = z[:1], y[:1]
    others = 1 - float(np.exp(log_softmax(y, t))[0, label])
    value, gradient = decoupled(z, y, np.array([label]), target=1.0, others=others, temperature=t)
    expected, slope = response(z, y, temperature=t)
    assert value == pytest.approx(expected, rel=1e-9, abs=1e-12)
    np.testing.assert_allclose(gradient, slope, atol=1e-12)


@some
@given(LOGITS, LOGITS, LABELS, st.floats(0, 10), st.floats(0, 10), TEMPERATURES)
def test_the_two_parts_of_decoupled_add_up(
    z: Array, y: Array, labels: Array, target: float, others: float, t: float
) -> None:
    f = partial(decoupled, z, y, labels, temperature=t)
    (a, a_slope), (b, b_slope) = f(target=1.0, others=0.0), f(target=0.0, others=1.0)
    value, gradient = f(target=target, others=others)
    assert value == pytest.approx(target * a + others * b, rel=1e-9, abs=1e-12)
    np.testing.assert_allclose(gradient, target * a_slope + others * b_slope, atol=1e-11)


@some
@given(LOGITS, LOGITS, st.integers(0, M - 1), st.floats(-5, 5))
def test_the_others_of_decoupled_do_not_feel_the_logit_of_the_label(z: Array, y: Array, label: int, by: float) -> None:
    labels = np.full(N, label)
    value, gradient = decoupled(z, y, labels, target=0.0, others=1.0)
    moved = z + by * (np.arange(M) == label)
    assert decoupled(moved, y, labels, target=0.0, others=1.0)[0] == pytest.approx(value, rel=1e-9, abs=1e-12)
    np.testing.assert_allclose(gradient[:, label], 0, atol=1e-14)


@some
@given(LOGITS, LOGITS, st.floats(0, 5), st.floats(0, 5), TEMPERATURES)
def test_the_two_parts_of_dist_add_up_and_each_is_at_most_two(
    z: Array, y: Array, inter: float, intra: float, t: float
) -> None:
    f = partial(dist, z, y, temperature=t)
    (a, a_slope), (b, b_slope) = f(inter=1.0, intra=0.0), f(inter=0.0, intra=1.0)
    value, gradient = f(inter=inter, intra=intra)
    assert value == pytest.approx(inter * a + intra * b, rel=1e-9, abs=1e-9)
    np.testing.assert_allclose(gradient, inter * a_slope + intra * b_slope, rtol=1e-6, atol=1e-9)
    assert max(a, b) <= 2 * t * t * (1 + 1e-12)


@some
@given(LOGITS, st.floats(0.05, 1))
def test_dist_by_row_does_not_mind_a_student_that_is_as_right_but_less_sure(z: Array, share: float) -> None:
    """Correlation is blind to scale and shift of the probabilities, which is the point of it; a KL is not."""
    p = np.exp(log_softmax(z + RIDGE, 10.0))
    student = np.log(share * p + (1 - share) / M)
    assert dist(student, np.log(p), intra=0.0, temperature=1.0)[0] == pytest.approx(0, abs=1e-9)


# --- what all losses on features have in common -----------------------------------------------------------------------


@few
@every_feature_loss
@given(UNITS, UNITS, st.permutations(range(N)))
def test_reordering_the_rows_of_features_reorders_the_gradient(name: str, x: Array, y: Array, order: list[int]) -> None:
    value, gradient = FEATURES[name](x, y)
    moved, slope = FEATURES[name](x[order], y[order])
    assert moved == pytest.approx(value, rel=1e-9, abs=1e-12)
    np.testing.assert_allclose(slope, gradient[order], rtol=1e-6, atol=1e-9)


@few
@every_feature_loss
@given(UNITS, UNITS, st.permutations(range(C)))
def test_reordering_the_units_of_both_sides_reorders_the_gradient(
    name: str, x: Array, y: Array, order: list[int]
) -> None:
    value, gradient = FEATURES[name](x, y)
    moved, slope = FEATURES[name](x[:, order], y[:, order])
    assert moved == pytest.approx(value, rel=1e-9, abs=1e-12)
    np.testing.assert_allclose(slope, gradient[:, order], rtol=1e-6, atol=1e-9)


@few
@every_feature_loss
@given(UNITS, UNITS)
def test_no_loss_on_features_is_negative(name: str, x: Array, y: Array) -> None:
    assert FEATURES[name](x, y)[0] >= -1e-12


@few
@every_feature_loss
@given(UNITS, UNITS)
def test_a_loss_on_features_leaves_its_arguments_as_they_were(name: str, x: Array, y: Array) -> None:
    student, teacher = x.copy(), y.copy()
    gradient = FEATURES[name](student, teacher)[1]
    np.testing.assert_array_equal(student, x)
    np.testing.assert_array_equal(teacher, y)
    assert not np.shares_memory(gradient, student)


@few
@every_feature_loss
@given(directions(), directions())
def test_a_step_against_the_gradient_lowers_the_loss_on_features(name: str, x: Array, y: Array) -> None:
    # Short beside the least distance between rows, and between a row and the origin, that occurs: 0.1.
    gained, _ = step(lambda at: FEATURES[name](at, y), x, length=1e-5)
    assert gained == pytest.approx(1, abs=0.2)


# --- what each loss on features is blind to ---------------------------------------------------------------------------


@few
@pytest.mark.parametrize("name", SCALED)
@given(directions(), UNITS, st.floats(0.01, 100))
def test_features_k_times_as_large_are_worth_the_same_and_get_a_kth_of_the_gradient(
    name: str, x: Array, y: Array, k: float
) -> None:
    value, gradient = FEATURES[name](x, y)
    scaled, slope = FEATURES[name](k * x, y)
    assert scaled == pytest.approx(value, rel=1e-9, abs=1e-9)
    np.testing.assert_allclose(slope * k, gradient, rtol=1e-6, atol=1e-8)


@few
@pytest.mark.parametrize("name", SCALED_BY_ROW)
@given(directions(), UNITS, arrays(np.float64, (N, 1), elements=st.floats(0.1, 10)))
def test_where_each_row_has_a_direction_only_its_own_length_does_not_matter_either(
    name: str, x: Array, y: Array, k: Array
) -> None:
    value, gradient = FEATURES[name](x, y)
    scaled, slope = FEATURES[name](k * x, y)
    assert scaled == pytest.approx(value, rel=1e-9, abs=1e-9)
    np.testing.assert_allclose(slope * k, gradient, rtol=1e-6, atol=1e-8)


@few
@pytest.mark.parametrize("name", SCALED)
@given(UNITS, directions(), st.floats(0.1, 10))
def test_the_size_of_the_teachers_features_does_not_matter(name: str, x: Array, y: Array, k: float) -> None:
    value, gradient = FEATURES[name](x, y)
    scaled, slope = FEATURES[name](x, k * y)
    assert scaled == pytest.approx(value, rel=1e-9, abs=1e-9)
    np.testing.assert_allclose(slope, gradient, rtol=1e-6, atol=1e-8)


@few
@pytest.mark.parametrize("name", SCALED)
@given(directions(), UNITS)
def test_the_gradient_is_at_right_angles_to_what_makes_no_difference(name: str, x: Array, y: Array) -> None:
    """To each row, or where only the size of all of them together makes none, to all of them together."""
    gradient = FEATURES[name](x, y)[1]
    along = (gradient * x).sum(axis=1)
    along = along if name in SCALED_BY_ROW else along.sum()
    np.testing.assert_allclose(along, 0, atol=1e-10 * (1 + np.abs(gradient).max()))


@few
@pytest.mark.parametrize("name", ROTATED)
@given(directions(), UNITS, st.integers(0, 2**32 - 1))
def test_losses_on_relations_do_not_notice_a_rotation_of_the_student(name: str, x: Array, y: Array, seed: int) -> None:
    turn = rotation(seed)
    value, gradient = FEATURES[name](x, y)
    turned, slope = FEATURES[name](x @ turn, y)
    assert turned == pytest.approx(value, rel=1e-7, abs=1e-9)
    np.testing.assert_allclose(slope, gradient @ turn, rtol=1e-6, atol=1e-6 * (1 + np.abs(gradient).max()))


@few
@pytest.mark.parametrize("name", MOVED)
@given(directions(), UNITS, arrays(np.float64, C, elements=st.integers(-50, 50)))
def test_losses_on_distances_and_angles_between_rows_do_not_notice_where_the_origin_is(
    name: str, x: Array, y: Array, shift: Array
) -> None:
    value, gradient = FEATURES[name](x, y)
    moved, slope = FEATURES[name](x + shift, y)
    assert moved == pytest.approx(value, rel=1e-7, abs=1e-9)
    np.testing.assert_allclose(slope, gradient, rtol=1e-6, atol=1e-6 * (1 + np.abs(gradient).max()))
    np.testing.assert_allclose(gradient.sum(axis=0), 0, atol=1e-10 * (1 + np.abs(gradient).max()))


@few
@pytest.mark.parametrize("name", sorted(FEATURES.keys() - SAME_UNITS))
@given(directions(), UNITS, st.integers(0, 2**32 - 1))
def test_units_that_repeat_others_or_are_always_silent_tell_relations_nothing(
    name: str, x: Array, y: Array, seed: int
) -> None:
    """A teacher of any width that is a rotation of the student, padded with zeros, agrees with it."""
    wide = np.concatenate([x @ rotation(seed), np.zeros((N, 2))], axis=1)
    assert FEATURES[name](x, wide)[0] == pytest.approx(0, abs=1e-9)
    assert FEATURES[name](x, np.concatenate([y, y], axis=1))[0] == pytest.approx(
        FEATURES[name](x, y)[0], rel=1e-9, abs=1e-12
    )


@some
@given(UNITS, UNITS, arrays(np.int8, (N, C), elements=st.sampled_from([-1, 1])))
def test_attention_does_not_notice_signs(x: Array, y: Array, signs: Array) -> None:
    value, gradient = attention(x, y)
    turned, slope = attention(x * signs, y)
    assert turned == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(slope, gradient * signs, atol=1e-12)


# --- what each loss on features promises ------------------------------------------------------------------------------


@few
@pytest.mark.parametrize("name", OF_ROWS)
@given(UNITS, UNITS)
def test_where_rows_are_looked_at_one_by_one_a_batch_is_worth_their_mean(name: str, x: Array, y: Array) -> None:
    value, gradient = FEATURES[name](x, y)
    alone = [FEATURES[name](x[i : i + 1], y[i : i + 1]) for i in range(N)]
    assert value == pytest.approx(np.mean([one for one, _ in alone]), rel=1e-12, abs=1e-14)
    np.testing.assert_allclose(gradient * N, np.concatenate([g for _, g in alone]), rtol=1e-12, atol=1e-14)


@few
@pytest.mark.parametrize("name", ["hint", "cosine", "attention", "similarity", "relation_distance", "relation_angle"])
@given(UNITS, UNITS)
def test_what_measures_a_distance_is_symmetric(name: str, x: Array, y: Array) -> None:
    assert FEATURES[name](x, y)[0] == pytest.approx(FEATURES[name](y, x)[0], rel=1e-9, abs=1e-12)


@some
@given(UNITS, UNITS)
def test_what_compares_angles_or_relative_distances_is_bounded(x: Array, y: Array) -> None:
    assert cosine(x, y)[0] <= 2 + 1e-12
    assert attention(x, y)[0] <= 2 + 1e-12  # squares have no sign, so no angle beyond 90 degrees
    assert similarity(x, y)[0] <= 4 / N + 1e-12
    assert relation_angle(x, y)[0] <= 2 - 0.5  # cosines differ by 2 at most, beyond the bend
    assert relation_distance(x, y)[0] <= 2  # each side's mean distance is 1, and no pair's Huber loss exceeds the sum


@some
@given(directions(), directions())
def test_cosine_of_directions_is_half_the_squared_distance_between_them(x: Array, y: Array) -> None:
    u, v = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (x, y))
    assert cosine(x, y)[0] == pytest.approx(hint(u, v)[0] * C / 2, rel=1e-9, abs=1e-12)
    assert cosine(-x, y)[0] == pytest.approx(2 - cosine(x, y)[0], rel=1e-9, abs=1e-12)


@some
@given(UNITS, UNITS, st.floats(0.05, 2))
def test_contrast_stays_between_certainty_of_the_right_row_and_of_a_wrong_one(x: Array, y: Array, tau: float) -> None:
    value = contrast(x, y, tau=tau)[0]
    assert np.log1p((N - 1) * np.exp(-2 / tau)) - 1e-12 <= value <= np.log1p((N - 1) * np.exp(2 / tau)) + 1e-12


@some
@given(UNITS, UNITS, st.integers(1, N))
def test_contrast_with_more_rows_to_choose_from_is_harder(x: Array, y: Array, n: int) -> None:
    """The sum over the rows of those n alone: each has fewer to be confused with."""
    assert n * contrast(x[:n], y[:n])[0] <= N * contrast(x, y)[0] + 1e-9


@some
@given(UNITS, UNITS, st.floats(-1, 0.9), st.floats(0, 0.1))
def test_novelty_falls_as_the_margin_widens_by_no_more_than_that(x: Array, y: Array, margin: float, by: float) -> None:
    value, wider = novelty(x, y, margin=margin)[0], novelty(x, y, margin=margin + by)[0]
    assert value - by - 1e-12 <= wider <= value
    assert 0 <= value <= 1 - margin + 1e-12


@some
@given(directions(), directions(), st.floats(-0.9, 0.9))
def test_novelty_lets_rows_under_the_margin_alone_and_pushes_the_others_away(x: Array, y: Array, margin: float) -> None:
    before = cosines(x, y)
    assume(np.abs(before - margin).min() > 1e-6)
    value, gradient = novelty(x, y, margin=margin)
    assert value == pytest.approx(np.maximum(before - margin, 0).mean(), rel=1e-9, abs=1e-12)
    after = cosines(x - 1e-3 * gradient, y)
    over = before > margin
    assert not gradient[~over].any()
    assert (after <= before + 1e-12).all()
    off = over & (np.abs(before) < 0.999)  # a row that is the teacher's has no side to turn to
    assert (after[off] < before[off]).all()


@few
@pytest.mark.parametrize("f", [hint, cosine])
@given(directions(), directions())
def test_a_step_of_hint_or_cosine_turns_every_row_towards_the_teacher(
    f: Callable[..., Any], x: Array, y: Array
) -> None:
    before = cosines(x, y)
    after = cosines(x - 1e-3 * f(x, y)[1], y)
    assert (after >= before - 1e-12).all()
    off = np.abs(before) < 0.999
    assert (after[off] > before[off]).all()


@some
@given(directions(2), directions(2), st.floats(0.2, 2))
def test_a_step_of_contrast_turns_every_row_more_towards_its_own_than_towards_the_other(
    x: Array, y: Array, tau: float
) -> None:
    """It is the lead that rises: the cosine to a row's own may even fall, where that to the other falls by more."""
    lead = lambda at: cosines(at, y) - cosines(at, y[::-1])  # noqa: E731
    gradient = contrast(x, y, tau=tau)[1]
    before, after = lead(x), lead(x - 1e-4 * gradient)
    assert (after >= before - 1e-12).all()
    pulled = np.linalg.norm(gradient, axis=1) > 1e-4
    assert (after[pulled] > before[pulled]).all()
