"""The precomputed objective against the losses as anyone would write them, and what may move no bit of it."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import answered
from distill.config.schema import LABELS_ONLY, Term
from distill.nn.losses import LOSSES
from distill.nn.vector import Array
from distill.train import objective as module
from distill.train.objective import WEIGHT_SCHEDULES, Objective, PrecomputedBatches

CLASSES, ROWS = 5, 40
Terms = Sequence[Term]


def on_labels(weight: float, smoothing: float = 0.0) -> Term:
    return Term("cross_entropy", weight, options={"smoothing": smoothing})


def on_teacher(weight: float, t: float, squared: bool = True, teacher: str = "t", loss: str = "response") -> Term:
    return Term(loss, weight, ((teacher, 1.0),), {"temperature": t, "t_squared": squared})


HARD, SOFT = on_labels(0.3), on_teacher(0.7, 4.0)
LISTS: dict[str, tuple[Term, ...]] = {
    "labels": LABELS_ONLY,
    "smoothed": (on_labels(0.3, smoothing=0.2), on_labels(0.5), SOFT),
    "the teacher at 1": (on_teacher(1.0, 1.0),),
    "both": (HARD, SOFT),
    "with and without T^2": (on_teacher(0.7, 3.0), on_teacher(0.4, 3.0, squared=False)),
    "several temperatures": (HARD, *(on_teacher(t / 9, t, squared=t > 1) for t in (0.5, 1.0, 2.0, 20.0))),
    "two teachers": (HARD, on_teacher(0.5, 2.0), on_teacher(0.6, 2.0, teacher="u"), on_teacher(0.7, 8.0, teacher="u")),
    "weights of 0": (on_labels(0.0), SOFT, on_teacher(0.0, 2.0)),
    "large weights": (on_labels(1e6), on_teacher(1e5, 4.0)),
}
ALL_LABELS = np.arange(ROWS) % CLASSES


def teachers(classes: int = CLASSES) -> dict[str, Array]:
    return dict(zip("tu", 3 * np.random.default_rng(1).normal(size=(2, ROWS, classes)), strict=True))


def logits(*shape: int, seed: int = 2) -> Array:
    return 2 * np.random.default_rng(seed).normal(size=shape)


def run(
    objective: Objective, rows: Array, z: Array, cuts: Sequence[int] = (), share: float = 0.0
) -> tuple[Array, Array]:
    """Return losses (batches,R) and gradients (batches,R,M,size) of logits of that shape, in shards that end at the
    cuts, in a second round, at this share of the epochs: what is made once must keep nothing of the round before."""
    batches, *shape = z.shape
    now, d, gradients = np.empty(shape, z.dtype), np.full(shape, np.nan, z.dtype), np.empty_like(z)
    batch = PrecomputedBatches(objective, batches, shape[-1])
    shards = [batch.gradient(now, d, slice(*edge)) for edge in pairwise([0, *cuts, shape[-1]])]
    for numbers, order, share_now in ((logits(*z.shape, seed=9), rows[::-1], 0.0), (z, rows, share)):
        objective.advance(share_now)
        batch.load(order)
        for i in range(batches):
            now[...] = numbers[i]
            for shard in reversed(shards):  # in any order, as threads take them
                shard(i)
            gradients[i] = d
        losses = batch.losses()
    return losses, gradients


def run_all(lists: Sequence[Terms], z: Array, labels: Array = ALL_LABELS) -> tuple[Array, Array]:
    """Run over the first rows, with teachers for as many classes as there are logits, in the type of the logits."""
    objective = Objective(lists, labels, answered(teachers(z.shape[2])), z.shape[2], z.dtype)
    return run(objective, np.arange(len(z) * z.shape[-1]) % ROWS, z)


def check(
    lists: Sequence[Terms], labels: Array, batches: int, size: int, cuts: Sequence[int] = (), dtype: str = "f8"
) -> None:
    """Compare with the sum over the terms, one after the other, in float64."""
    rows, outputs = np.random.default_rng(2).permutation(ROWS)[: batches * size], teachers()
    z = logits(batches, len(lists), CLASSES, size).astype(dtype)
    losses, gradients = run(Objective(lists, labels, answered(outputs), CLASSES, dtype), rows, z, cuts)
    assert (losses.dtype, gradients.dtype) == (np.float64, z.dtype)
    rtol, scale = (1e-10, 1e-14) if dtype == "f8" else (1e-4, 1e-6)
    for (i, batch), (r, terms) in product(enumerate(rows.reshape(batches, size)), enumerate(lists)):
        value, gradient = 0.0, np.zeros((CLASSES, size))
        for term in terms:
            teacher = outputs[term.teachers[0][0]][batch] if term.teachers else None
            loss, slope = LOSSES[term.loss](z[i, r].T.astype(float), teacher, labels[batch], **term.options)
            value, gradient = value + term.weight * loss, gradient + term.weight * slope.T
        atol, message = scale * max(term.weight * term.options.get("temperature", 1) for term in terms), f"{terms}, {i}"
        np.testing.assert_allclose(losses[i, r], value, rtol, 10 * atol, err_msg=message)
        np.testing.assert_allclose(gradients[i, r], gradient, rtol, atol, err_msg=message)


@pytest.mark.parametrize(
    "labels",
    [ALL_LABELS, np.where(np.arange(ROWS) % 3, ALL_LABELS, -1), np.full(ROWS, -1)],
    ids=["all", "some", "none"],
)
def test_losses_and_gradients_are_the_sums_of_the_terms(labels: Array) -> None:
    """Alone or beside other networks, in one piece or in shards of columns."""
    for terms in LISTS.values():
        check([terms], labels, 1, 1)
        check([terms], labels, 1, ROWS)
        check([terms], labels, 3, 8, dtype="f4")
        check([LABELS_ONLY, terms], labels, 3, 8, cuts=(3, 5, 6))
        check([terms, (on_teacher(1.0, 7.0, teacher="u"),), LABELS_ONLY], labels, 2, 5, cuts=(1,))


WEIGHTS, T = st.sampled_from([0.1, 1.0, 3.0]), st.sampled_from([0.5, 1.0, 2.0, 4.0, 20.0])
KINDS = st.sampled_from(["response", "soft_cross_entropy"])
TERM = st.builds(on_labels, WEIGHTS, st.sampled_from([0.0, 0.1, 1.0]))
TERM |= st.builds(on_teacher, WEIGHTS, T, st.booleans(), st.sampled_from("tu"), KINDS)
LISTS_OF_TERMS = st.lists(st.lists(TERM, min_size=1, max_size=5), min_size=1, max_size=3)


@settings(max_examples=60)
@given(LISTS_OF_TERMS, st.sets(st.integers(0, ROWS - 1)), st.integers(1, 3), st.integers(1, 13))
def test_any_lists_of_terms_on_any_labels(lists: list[list[Term]], known: set[int], batches: int, size: int) -> None:
    check(lists, np.where(np.isin(np.arange(ROWS), list(known)), ALL_LABELS, -1), batches, size)


def test_weights_that_move_are_at_every_share_what_terms_of_that_weight_give() -> None:
    rows, z = np.arange(24), logits(3, 1, CLASSES, 8)
    for labels, schedule in product((ALL_LABELS, np.where(np.arange(ROWS) % 3, ALL_LABELS, -1)), WEIGHT_SCHEDULES):
        terms = (*LISTS["smoothed"], on_teacher(0.4, 2.0))
        moving = [replace(term, final_weight=2 - term.weight, weight_schedule=schedule) for term in terms]
        objective = Objective([moving], labels, answered(teachers()), CLASSES, np.float64)
        for share in (0.25, 1.0):
            way = {"constant": 0.0, "linear": share, "cosine": (1 - np.cos(np.pi * share)) / 2}[schedule]
            now = [replace(term, weight=term.weight + way * 2 * (1 - term.weight)) for term in terms]
            results = zip(run(objective, rows, z, share=share), run_all([now], z, labels), strict=True)
            for result, expected in results:
                np.testing.assert_allclose(result, expected, rtol=1e-12, err_msg=f"{schedule} at {share}")


def test_no_neighbour_in_the_stack_moves_a_bit_of_a_networks_gradient() -> None:
    """Alone, first or last, beside the same terms or other temperatures: alpha 0 rests on it, and so does the control.

    Sums must therefore not depend on a number's place in its line, as those of BLAS do, nor on the length of the line:
    NumPy adds up a single column of 8 numbers and more in another order than several.
    """
    neighbours = ([], [LABELS_ONLY], [LISTS["several temperatures"], LISTS["two teachers"]])
    for dtype, terms, size in product("fd", (LABELS_ONLY, LISTS["both"]), (1, 2, 3, 5, 8, 13, 32)):
        z, other = (logits(20, 1, 11, size, seed=seed).astype(dtype) for seed in (2, 3))
        bits = set()
        for beside, last in product(neighbours, (False, True)):
            lists, parts, at = [terms, *beside], [z, *[other] * len(beside)], len(beside) if last else 0
            stack = np.concatenate(parts[::-1] if last else parts, axis=1)
            bits.add(run_all(lists[::-1] if last else lists, stack)[1][:, at].tobytes())
        assert len(bits) == 1, (dtype, terms, size)


def test_a_term_of_weight_0_is_not_computed() -> None:
    """Its teacher need not even have answered."""
    rows, z = np.arange(24), logits(3, 1, CLASSES, 8)
    plain, padded = (
        run(Objective([terms], ALL_LABELS, {}, CLASSES, np.float64), rows, z)
        for terms in ((HARD,), (HARD, on_teacher(0.0, 4.0), on_labels(0.0)))
    )
    assert [part.tobytes() for part in padded] == [part.tobytes() for part in plain]


def test_a_teachers_rows_are_softened_block_by_block_into_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    bits, z = set(), logits(1, 2, CLASSES, ROWS)
    for block in (1, 7, ROWS, 4096):
        monkeypatch.setattr(module, "BLOCK_ROWS", block)
        losses, gradients = run_all([LISTS["two teachers"], LISTS["both"]], z)
        bits.add(losses.tobytes() + gradients.tobytes())
    assert len(bits) == 1


def test_float32_is_safe_at_extreme_logits() -> None:
    for size in (1e4, 1e30):
        z = np.array([[size, -size, 0], [-size, size, 0]], np.float32)
        lists = [LABELS_ONLY, (on_teacher(1.0, 1.0),)]
        objective = Objective(lists, np.array([0, 1]), answered({"t": -z / 2}), 3)
        losses, gradients = run(objective, np.arange(2), np.stack([z.T, z.T / 2])[None])
        assert np.isfinite(gradients).all()
        assert losses[0, 0] == 0  # every row's own class is certain
        assert losses[0, 1] == pytest.approx(size, rel=1e-6)  # and the teacher is as certain of the opposite


def test_a_student_that_is_its_teacher_has_nothing_to_learn() -> None:
    """And what is 0 but for rounding is never below it."""
    for dtype, most in ((np.float64, 1e-12), (np.float32, 1e-4)):
        losses, gradients = run_all([(SOFT,)], teachers()["t"].reshape(ROWS, 1, CLASSES, 1).astype(dtype))
        assert losses.max() <= most
        assert not np.signbit(losses).any()
        assert np.abs(gradients).max() <= most / 100


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_no_numbers_show_in_the_loss_of_their_network_and_batch_alone(bad: float) -> None:
    """Divergence is bits by the losses, and named by network and step."""
    z, wrong = logits(3, 2, CLASSES, 8), np.zeros((3, 2), bool)
    z[1, 0, 2, 5], wrong[1, 0] = bad, True
    with np.errstate(all="ignore"):
        losses, gradients = run_all([LABELS_ONLY, LISTS["both"]], z)
    np.testing.assert_array_equal(~np.isfinite(losses), wrong)
    np.testing.assert_array_equal(~np.isfinite(gradients).all(axis=(2, 3)), wrong)
