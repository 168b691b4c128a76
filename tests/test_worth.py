"""Whether answers are worth hearing: the law over all orders by going through them, orders of columns, samples."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from distill.nn.ops import log_softmax
from distill.teacher import quality

FINITE = st.floats(-20, 20, width=32)


@given(arrays(np.float32, (6, 3), elements=FINITE), st.lists(st.integers(0, 2), min_size=6, max_size=6))
def test_the_fit_is_that_among_all_orders_of_the_labels(logits: np.ndarray, drawn: list[int]) -> None:
    labels = np.array(drawn)
    loss = -log_softmax(logits.astype(float))
    sums = np.array([loss[range(6), order].sum() for order in permutations(labels)])
    found, deviation = quality.fit(logits, labels), sums.std()
    if deviation > 1e-6:
        assert found == pytest.approx((loss[range(6), labels].sum() - sums.mean()) / deviation, rel=1e-5, abs=1e-5)


def test_what_is_the_same_for_every_row_has_no_fit_and_few_rows_need_less() -> None:
    labels = np.arange(30) % 3
    same = np.tile(np.array([3, -2, 0.1], np.float32), (30, 1))
    assert quality.fit(same, labels) == quality.fit(same, 0 * labels) == 0
    assert not quality.Worth(same, labels, labels).informed
    few = np.arange(6) % 2
    sure = np.eye(2, dtype=np.float32)[few]
    assert quality.fit(sure, few) < quality.least_fit(6) < quality.fit(sure[::-1], few)
    assert quality.least_fit(64) > quality.least_fit(65) == quality.least_fit(10**6) == -4


@pytest.mark.parametrize("classes", [2, 3, 12])
def test_an_order_is_named_where_it_is_clear_and_never_of_weak_or_shuffled_answers(classes: int) -> None:
    for seed in range(50):
        rng = np.random.default_rng(seed)
        labels = np.arange(20 * classes) % classes
        noise = rng.normal(size=(len(labels), classes))
        order = rng.permutation(classes)
        found = quality.order((8 * np.eye(classes)[labels] + noise)[:, order], labels)
        assert (order if found is None else found).tolist() == order.tolist()
        assert (found is None) == (order.tolist() == list(range(classes)))
        assert quality.order(rng.uniform(0, 1) * np.eye(classes)[labels] + noise, labels) is None
        assert quality.order(rng.permutation(8 * np.eye(classes)[labels] + noise), labels) is None


def test_two_columns_that_changed_places_are_found_out_by_few_rows_and_weak_answers_never_are() -> None:
    """Nor those that know of two classes only that it is one of them."""
    labels, swapped = np.arange(60) % 10, [1, 0, *range(2, 10)]
    for seed in range(100):
        rng = np.random.default_rng(seed)
        noise = rng.normal(size=(60, 10))
        assert quality.order(8 * np.eye(10)[labels][:, swapped] + noise, labels) is not None
        said = np.where(rng.random(60) < 0.5, np.array(swapped)[labels], labels)
        assert quality.order(8 * np.eye(10)[said] + noise, labels) is None


def test_a_teacher_that_mixes_up_two_classes_more_often_than_not_is_no_matter_of_order() -> None:
    """However many rows say so: a third of them are right as it is."""
    labels = np.arange(2000) % 10
    said = np.where((labels < 2) & (np.arange(2000) // 10 % 3 > 0), 1 - labels, labels)
    assert quality.order(8 * np.eye(10)[said], labels) is None


def test_what_speaks_for_answers_on_their_own() -> None:
    """An accuracy clearly above guessing though they fit worse than chance; too few rows to tell."""
    labels = np.r_[np.zeros(60, int), np.ones(40, int)]
    right = np.r_[np.arange(60) >= 3, np.arange(40) >= 20]  # 77 of 100; those that are wrong are so beyond all measure
    answers = np.where(right, 1, 200)[:, None] * np.eye(2)[np.where(right, labels, 1 - labels)]
    assert quality.fit(answers, labels) >= 0
    assert quality.Worth(answers, labels, labels).of_use
    for rare, use in ((9, True), (10, False)):
        labels = np.r_[np.zeros(90, int), np.ones(rare, int)]
        assert quality.Worth(np.eye(2)[1 - labels], labels, labels).of_use == use


@given(arrays(np.float32, (6, 3), elements=FINITE), st.lists(st.integers(0, 2), min_size=6, max_size=6))
@settings(max_examples=20, deadline=None)
def test_luck_is_the_share_of_all_orders_that_fit_as_well(logits: np.ndarray, drawn: list[int]) -> None:
    labels = np.array(drawn)
    loss = -log_softmax(logits.astype(float))
    sums, reached = [
        np.array([loss[range(6), order].sum() for order in orders]) for orders in (permutations(labels), [labels])
    ]
    same = np.isclose(sums, reached)
    expected = (same / 2 + (~same & (sums < reached))).mean()
    assert quality.luck(logits, labels, np.random.default_rng(0)) == pytest.approx(expected, abs=0.05)


@given(st.lists(st.integers(-1, 3), min_size=1, max_size=60).filter(lambda y: max(y) >= 0), st.integers(4, 40))
def test_a_sample_has_labelled_rows_of_every_class_and_all_of_them_where_they_are_few(y: list[int], most: int) -> None:
    labels = np.array(y)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quality, "MOST_ROWS", most)
        places = quality.sample(labels)
    assert (np.diff(places) > 0).all()
    assert len(places) <= most
    counts, taken = (np.bincount(one[one >= 0], minlength=4) for one in (labels, labels[places]))
    assert (labels[places] >= 0).all()
    np.testing.assert_array_equal(taken, np.minimum(counts, most // (1 + labels.max())))
