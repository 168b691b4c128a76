"""The folded objective against the losses as anyone would write them, and what may move no bit of it."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import answered
from distill.config.schema import LABELS_ONLY, Term
from distill.nn.losses import LOSSES
from distill.nn.vector import Array
from distill.train import objective as room
from distill.train.objective import Objective, PrecomputedBatches
from distill.train.outputs import TeacherOutputs

CLASSES, ROWS = 5, 40
TEACHERS = ("t", "u")


def said(weight: float, temperature: float, t_squared: bool = True, teacher: str = "t") -> Term:
    return Term("response", weight, ((teacher, 1.0),), {"temperature": temperature, "t_squared": t_squared})


HARD = Term("cross_entropy", 0.3)
LISTS: dict[str, tuple[Term, ...]] = {
    "labels": LABELS_ONLY,
    "labels twice": (HARD, Term("cross_entropy", 0.5)),
    "the teacher": (said(1.0, 4.0),),
    "the teacher at 1": (said(1.0, 1.0),),
    "both": (HARD, said(0.7, 4.0)),
    "both at 1": (HARD, said(0.7, 1.0)),
    "without T^2": (HARD, said(0.7, 4.0, t_squared=False)),
    "with and without T^2": (said(0.7, 3.0), said(0.4, 3.0, t_squared=False)),
    "several temperatures": (HARD, said(0.2, 1.0), said(0.3, 2.0), said(0.5, 20.0), said(0.1, 0.5, t_squared=False)),
    "two teachers": (HARD, said(0.5, 2.0), said(0.6, 2.0, teacher="u"), said(0.7, 8.0, teacher="u")),
    "weights of 0": (Term("cross_entropy", 0.0), said(0.7, 4.0), said(0.0, 2.0)),
    "large weights": (Term("cross_entropy", 1e6), said(1e5, 4.0)),
}
LABELLED = {
    "all": np.ones(ROWS, bool),
    "two of three": np.arange(ROWS) % 3 > 0,
    "one": np.arange(ROWS) == 17,
    "none": np.zeros(ROWS, bool),
}


def answers(classes: int = CLASSES) -> dict[str, TeacherOutputs]:
    rng = np.random.default_rng(1)
    return answered({name: 3 * rng.normal(size=(ROWS, classes)) for name in TEACHERS})


def labels(labelled: Array) -> Array:
    return np.where(labelled, np.arange(ROWS) % CLASSES, -1)


def logits(*shape: int, seed: int = 2) -> Array:
    return 2 * np.random.default_rng(seed).normal(size=shape)


def folded(fold: PrecomputedBatches, rows: Array, z: Array, cuts: Sequence[int] = ()) -> tuple[Array, Array]:
    """Losses (batches,R) and gradients (batches,R,M,size) of logits of that shape, in shards that end at the cuts."""
    _, nets, classes, size = z.shape
    now, d = np.empty((nets, classes, size), z.dtype), np.full((nets, classes, size), np.nan, z.dtype)
    edges = [0, *cuts, size]
    shards = [fold.gradient(now, d, slice(*edge)) for edge in pairwise(edges)]
    fold.load(rows)
    gradients = np.empty_like(z)
    for i in range(len(z)):
        now[...] = z[i]
        for shard in reversed(shards):  # in any order, as threads take them
            shard(i)
        gradients[i] = d
    return fold.losses(), gradients


def term_by_term(
    terms: Sequence[Term], rows: Array, z: Array, y: Array, heard: dict[str, TeacherOutputs]
) -> tuple[float, Array]:
    """The loss and the gradient (M,size) of one batch's logits (M,size), one term after the other."""
    value, gradient = 0.0, np.zeros_like(z)
    for term in terms:
        teacher = heard[term.teachers[0][0]].logits[rows] if term.teachers else None
        one, slope = LOSSES[term.loss](z.T, teacher, y[rows], **term.options)
        value += term.weight * one
        gradient += term.weight * slope.T
    return value, gradient


def assert_the_sum_of_its_terms(lists: Sequence[Sequence[Term]], y: Array, batches: int, size: int) -> None:
    heard = answers()
    fold = PrecomputedBatches(Objective(lists, y, heard, CLASSES, np.float64), batches, size)
    rows = np.random.default_rng(2).permutation(ROWS)[: batches * size]
    z = logits(batches, len(lists), CLASSES, size)
    losses, gradients = folded(fold, rows, z)
    assert losses.shape == (batches, len(lists))
    for i, batch in enumerate(rows.reshape(batches, size)):
        for r, terms in enumerate(lists):
            value, gradient = term_by_term(terms, batch, z[i, r], y, heard)
            heavy = max(term.weight for term in terms)
            np.testing.assert_allclose(losses[i, r], value, rtol=1e-10, atol=1e-12 * heavy)
            np.testing.assert_allclose(gradients[i, r], gradient, rtol=1e-10, atol=1e-14 * heavy)


@pytest.mark.parametrize(("batches", "size"), [(1, 1), (3, 8), (1, 5), (1, ROWS)])
@pytest.mark.parametrize("labelled", LABELLED.values(), ids=LABELLED)
@pytest.mark.parametrize("terms", LISTS.values(), ids=LISTS)
def test_losses_and_gradients_are_the_sums_of_the_terms(
    terms: Sequence[Term], labelled: Array, batches: int, size: int
) -> None:
    assert_the_sum_of_its_terms([terms], labels(labelled), batches, size)


@pytest.mark.parametrize("labelled", LABELLED.values(), ids=LABELLED)
@pytest.mark.parametrize("terms", LISTS.values(), ids=LISTS)
def test_beside_other_networks_they_are_too(terms: Sequence[Term], labelled: Array) -> None:
    assert_the_sum_of_its_terms([LABELS_ONLY, terms], labels(labelled), 3, 8)
    assert_the_sum_of_its_terms([terms, (said(1.0, 7.0, teacher="u"),), LABELS_ONLY], labels(labelled), 2, 5)


OPTIONS = st.builds(
    said,
    st.sampled_from([0.1, 1.0, 3.0]),
    st.sampled_from([0.5, 1.0, 2.0, 4.0, 20.0]),
    st.booleans(),
    st.sampled_from(TEACHERS),
)
LIST = st.lists(
    OPTIONS | st.builds(Term, st.just("cross_entropy"), st.sampled_from([0.2, 1.0])), min_size=1, max_size=5
)


@given(st.lists(LIST, min_size=1, max_size=3), st.sets(st.integers(0, ROWS - 1)), st.integers(1, 3), st.integers(1, 13))
def test_any_lists_of_terms_on_any_labels(lists: list[list[Term]], known: set[int], batches: int, size: int) -> None:
    assert_the_sum_of_its_terms(lists, labels(np.isin(np.arange(ROWS), list(known))), batches, size)


@pytest.mark.parametrize("labelled", LABELLED.values(), ids=LABELLED)
def test_one_function_serves_every_round_of_batches_and_keeps_nothing_of_the_last(labelled: Array) -> None:
    """As training calls it: made once, and called for whatever was loaded last."""
    lists, y = [LABELS_ONLY, LISTS["two teachers"]], labels(labelled)
    objective = Objective(lists, y, answers(), CLASSES, np.float64)
    fold, now, d = PrecomputedBatches(objective, 2, 8), np.empty((2, CLASSES, 8)), np.empty((2, CLASSES, 8))
    gradient = fold.gradient(now, d)
    for seed in (2, 3, 4):
        rows = np.random.default_rng(seed).permutation(ROWS)[:16]
        z = logits(2, 2, CLASSES, 8, seed=seed)
        fold.load(rows)
        for i in range(2):
            now[...] = z[i]
            gradient(i)
            for r, terms in enumerate(lists):
                expected = term_by_term(terms, rows.reshape(2, 8)[i], z[i, r], y, answers())[1]
                np.testing.assert_allclose(d[r], expected, rtol=1e-10, atol=1e-14)
        losses = fold.losses()
        for i, r in np.ndindex(2, 2):
            expected_loss = term_by_term(lists[r], rows.reshape(2, 8)[i], z[i, r], y, answers())[0]
            assert losses[i, r] == pytest.approx(expected_loss, rel=1e-10)


@pytest.mark.parametrize("cuts", [(1,), (4,), (3, 5, 6), tuple(range(1, 8))])
@pytest.mark.parametrize("labelled", LABELLED.values(), ids=LABELLED)
def test_shards_of_columns_together_are_the_whole(labelled: Array, cuts: tuple[int, ...]) -> None:
    lists = [LABELS_ONLY, LISTS["several temperatures"]]
    rows, z = np.arange(24)[::-1].copy(), logits(3, 2, CLASSES, 8)
    objective = Objective(lists, labels(labelled), answers(), CLASSES, np.float64)
    whole, sharded = (folded(PrecomputedBatches(objective, 3, 8), rows, z, some) for some in ((), cuts))
    np.testing.assert_allclose(sharded[0], whole[0], rtol=1e-12)
    np.testing.assert_allclose(sharded[1], whole[1], rtol=1e-12, atol=1e-16)


# --- bits -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 13, 32])
@pytest.mark.parametrize("terms", [LISTS["labels"], LISTS["both"]], ids=["labels", "both"])
def test_no_neighbour_in_the_stack_moves_a_bit_of_a_networks_gradient(
    terms: Sequence[Term], size: int, dtype: type
) -> None:
    """Alone, first or last, beside the same terms or other temperatures: alpha 0 rests on it, and so does the control.

    Sums must therefore not depend on a number's place in its line, as those of BLAS do, nor on the length of the line:
    NumPy adds up a single column of 8 numbers and more in another order than several.
    """
    batches, classes = 20, 11
    neighbours = [(), (terms,), (LABELS_ONLY,), (LISTS["several temperatures"], LISTS["two teachers"])]
    z: Array = logits(batches, 1, classes, size).astype(dtype)
    other: Array = logits(batches, 1, classes, size, seed=3).astype(dtype)
    found = set()
    for beside in neighbours:
        for at in {0, len(beside)}:
            lists: list[Sequence[Term]] = [*beside[:at], terms, *beside[at:]]
            beside_z = np.concatenate([*[other] * at, z, *[other] * (len(beside) - at)], axis=1)
            fold = PrecomputedBatches(
                Objective(lists, labels(LABELLED["all"]), answers(classes), classes, dtype), batches, size
            )
            found.add(folded(fold, np.arange(batches * size) % ROWS, beside_z)[1][:, at].tobytes())
    assert len(found) == 1


def test_a_term_of_weight_0_is_not_computed() -> None:
    """Its teacher need not even have answered."""
    plain, padded = (HARD,), (HARD, said(0.0, 4.0), Term("cross_entropy", 0.0))
    rows, z = np.arange(24), logits(3, 1, CLASSES, 8).astype(np.float32)
    found = [folded(PrecomputedBatches(Objective([terms], labels(LABELLED["all"]), {}, CLASSES), 3, 8), rows, z)
             for terms in (plain, padded)]  # fmt: skip
    assert found[0][1].tobytes() == found[1][1].tobytes()
    assert found[0][0].tobytes() == found[1][0].tobytes()


@pytest.mark.parametrize("block", [1, 7, ROWS])
def test_a_teachers_rows_are_softened_block_by_block_into_the_same_bits(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lists = [LISTS["two teachers"], LISTS["both"]]
    whole = Objective(lists, labels(LABELLED["all"]), answers(), CLASSES)
    monkeypatch.setattr(room, "BLOCK_ROWS", block)
    pieces = Objective(lists, labels(LABELLED["all"]), answers(), CLASSES)
    assert pieces.targets.tobytes() == whole.targets.tobytes()
    assert pieces.entropy.tobytes() == whole.entropy.tobytes()


# --- float32, in which training works ---------------------------------------------------------------------------------


@pytest.mark.parametrize("terms", LISTS.values(), ids=LISTS)
def test_float32_is_close_to_float64(terms: Sequence[Term]) -> None:
    rows, z = np.arange(24), logits(3, 1, CLASSES, 8).astype(np.float32)
    (low, low_slope), (high, high_slope) = (
        folded(
            PrecomputedBatches(Objective([terms], labels(LABELLED["all"]), answers(), CLASSES, dtype), 3, 8),
            rows,
            z.astype(dtype),
        )
        for dtype in (np.float32, np.float64)
    )
    heavy = max(term.weight * float(term.options.get("temperature", 1)) for term in terms)
    np.testing.assert_allclose(low, high, rtol=1e-4, atol=1e-5 * heavy)
    np.testing.assert_allclose(low_slope, high_slope, rtol=1e-4, atol=1e-6 * heavy)
    assert [array.dtype.name for array in (low_slope, low)] == ["float32", "float64"]


@pytest.mark.parametrize("size", [1e4, 1e30])
def test_float32_is_safe_at_extreme_logits(size: float) -> None:
    z = np.array([[size, -size, 0], [-size, size, 0]], np.float32)
    objective = Objective([LABELS_ONLY, (said(1.0, 1.0),)], np.array([0, 1]), answered({"t": -z / 2}), 3)
    losses, gradients = folded(PrecomputedBatches(objective, 1, 2), np.arange(2), np.stack([z.T, z.T / 2])[None])
    assert np.isfinite(losses).all()
    assert np.isfinite(gradients).all()
    assert losses[0, 0] == 0  # every row's own class is certain
    assert losses[0, 1] == pytest.approx(size, rel=1e-6)  # and the teacher is as certain of the opposite


@pytest.mark.parametrize(("dtype", "most"), [(np.float64, 1e-12), (np.float32, 1e-4)])
def test_a_student_that_is_its_teacher_has_nothing_to_learn(dtype: type, most: float) -> None:
    """And what is 0 but for rounding is never below it."""
    heard = answers()["t"]
    objective = Objective([(said(1.0, 4.0),)], np.zeros(ROWS, int), {"t": heard}, CLASSES, dtype)
    z = heard.logits.reshape(ROWS, 1, CLASSES, 1).astype(dtype)
    losses, gradients = folded(PrecomputedBatches(objective, ROWS, 1), np.arange(ROWS), z)
    assert losses.max() <= most
    assert not np.signbit(losses).any()
    assert np.abs(gradients).max() <= most / 100


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_no_numbers_show_in_the_loss_of_their_network_and_batch_alone(bad: float) -> None:
    """Divergence is found by the losses, and named by network and step."""
    objective = Objective([LABELS_ONLY, LISTS["both"]], labels(LABELLED["all"]), answers(), CLASSES)
    z = logits(3, 2, CLASSES, 8).astype(np.float32)
    z[1, 0, 2, 5] = bad
    with np.errstate(all="ignore"):
        losses, gradients = folded(PrecomputedBatches(objective, 3, 8), np.arange(24), z)
    wrong = np.zeros((3, 2), bool)
    wrong[1, 0] = True
    np.testing.assert_array_equal(~np.isfinite(losses), wrong)
    np.testing.assert_array_equal(~np.isfinite(gradients).all(axis=(2, 3)), wrong)
