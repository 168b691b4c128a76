"""What holds of every loss, with every option that changes its formula: one law a test, all cases within it."""

import inspect
from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
import pytest

from distill.config.terms import LOSS_TRAITS
from distill.nn.features import FEATURES
from distill.nn.losses import LOSSES
from distill.nn.ops import combine, softmax
from distill.nn.vector import Array
from loss_cases import ANY_WIDTH, AUTOGRAD, CASES, GOLDEN, WITH_LABELS, Case, assert_close, assert_slope, cases

SAFE = {"all": "raise", "under": "ignore"}  # for np.errstate: a probability may underflow, nothing else may go wrong

# What each is blind to follows from what it measures by. The angle of a single row: a scale of each row's own. Inner
# products or distances, in units of their own: only one scale for all. Relations between rows: a rotation. Distances
# and angles between rows: also where the origin is.
SCALED_BY_ROW = ("cosine", "attention", "probabilistic", "contrast", "novelty")
SCALED = ("similarity", "relation_distance", "relation_angle")
MOVED = ("relation_distance", "relation_angle")
ROW_BY_ROW = (*sorted(LOSSES.keys() - {"dist"}), "hint", "cosine", "attention", "novelty")
DEFAULTS = {"temperature": 4, "t_squared": True, "smoothing": 0, "beta": 0.5, "target": 1, "others": 8}
DEFAULTS |= {"inter": 1, "intra": 1, "tau": 0.1, "margin": 0.5}


# --- values and gradients ---------------------------------------------------------------------------------------------


def test_values_are_the_golden_ones() -> None:
    student, teacher, labels = (np.array(part) for part in GOLDEN["fixture"].values())
    rows: list[tuple[str, dict[str, object], float]] = [
        ("cross_entropy", {}, GOLDEN["cross_entropy"]),
        ("reverse_kl", {"temperature": 1.0}, GOLDEN["reverse_kl_T1"]),
        ("decoupled", {"others": 0.0}, GOLDEN["dkd_T4"]["tckd"]),
        ("decoupled", {"target": 0.0, "others": 1.0}, GOLDEN["dkd_T4"]["nckd"]),
        ("decoupled", {}, GOLDEN["dkd_T4"]["alpha1_beta8"]),
    ]
    for t, value in GOLDEN["response"].items():
        rows.append(("response", {"temperature": float(t)}, value))
    for t, value in GOLDEN["response_without_T2"].items():
        rows.append(("response", {"temperature": float(t), "t_squared": False}, value))
    for beta, value in GOLDEN["jsd_generalised"].items():
        rows.append(("jensen_shannon", {"temperature": 1.0, "beta": float(beta.split()[0])}, value))
    for loss, options, value in rows:
        assert LOSSES[loss](student, teacher, labels, **options)[0] == pytest.approx(value, rel=1e-9), (loss, options)
    for t, norm in GOLDEN["response_gradient_norm"].items():
        gradient = LOSSES["response"](student, teacher, temperature=float(t))[1]
        assert np.linalg.norm(gradient) == pytest.approx(norm, rel=1e-9), t
    limit, centred = GOLDEN["response_high_T_limit"], (z - z.mean(axis=1, keepdims=True) for z in (student, teacher))
    assert LOSSES["response"](student, teacher, temperature=1e4)[0] == pytest.approx(limit, rel=1e-4)
    assert LOSSES["logit_mse"](*centred)[0] == pytest.approx(4 * limit, rel=1e-12)
    for t, shares in GOLDEN["softmax_of_[2,1,0.1]"].items():
        result = softmax(np.array([[2, 1, 0.1]]), float(t.removeprefix("T=")))
        np.testing.assert_allclose(result, [shares], atol=5.1e-5)


@pytest.mark.parametrize(("kind", "losses"), [("logits", LOSSES), ("features", FEATURES)])
def test_values_and_gradients_are_those_of_automatic_differentiation(kind: str, losses: dict[str, object]) -> None:
    """Some rows of the features are zeros."""
    fixture = {side: np.array(rows) for side, rows in AUTOGRAD[kind]["fixture"].items()}
    assert {row["loss"] for row in AUTOGRAD[kind]["references"]} == losses.keys()
    for row in AUTOGRAD[kind]["references"]:
        case, side = Case(row["loss"], row["options"]), row.get("teacher", "teacher")
        result = case(fixture["student"], fixture[side], fixture.get("labels"))
        assert_close((case, side), result, (row["value"], row["gradient"]), rtol=1e-10, atol=1e-13)


def test_members_far_apart_and_tiny_shares_are_combined_without_loss() -> None:
    """A share that float32 takes for 0 has a logarithm all the same."""
    members = [np.array([[1000.0, 0, 0]], np.float32), np.array([[0, 1000.0, 0]], np.float32)]
    result = combine(members, [1 - 1e-60, 1e-60], "probabilities", 2.0)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, [[0, 2 * np.log(1e-60), -1000]], rtol=1e-6, atol=1e-4)


def test_the_gradient_is_that_of_central_differences() -> None:
    """Rounding leaves 1e-10 or so where there is no slope at all, as for DIST by class in a batch of two."""
    for case, n in product(CASES, (1, 2, 3, 32)):
        student, *others = case.batch(n)
        assert_slope((case, n), lambda x: case(x, *others), student, atol=2e-10)  # noqa: B023
    within = np.isin(np.arange(8), [0, 1, 3, 6, 7])[:, None]  # the rows that are moved; at the rest may be a kink
    for case in cases(*FEATURES):
        student, teacher, _ = case.batch(8)
        student[2], student[4], teacher[6:] = 0, student[5], 0
        assert_slope((case, "zeros"), lambda x: case(x, teacher), student, within, atol=1e-11)  # noqa: B023
        assert case.loss not in SCALED_BY_ROW or not case(student, teacher)[1][2].any(), case


def test_a_batch_is_worth_the_mean_of_its_rows_that_have_a_label_where_labels_matter() -> None:
    for case in cases(*ROW_BY_ROW):
        batch = case.batch(7)
        rows = np.flatnonzero(batch[2] >= 0) if case.loss in WITH_LABELS else np.arange(7)
        alone = [case(*(part[i : i + 1] for part in batch)) for i in rows]
        gradient = np.zeros_like(batch[0])
        gradient[rows] = np.concatenate([slope for _, slope in alone]) / len(rows)
        assert_close(case, case(*batch), (np.mean([value for value, _ in alone]), gradient))
        assert case.loss not in WITH_LABELS or not case(*batch)[1][batch[2] < 0].any(), case


def test_without_any_label_there_is_no_loss() -> None:
    for case, dtype in product(cases(*WITH_LABELS), (np.float32, np.float64)):
        student, teacher, _ = (part.astype(dtype) for part in case.batch(4))
        with np.errstate(all="raise"):
            value, gradient = case(student, teacher, np.full(4, -1))
        assert (value, gradient.dtype, gradient.shape, gradient.any()) == (0, dtype, student.shape, False), case


def test_the_options_are_those_of_the_documentation_and_do_what_they_say() -> None:
    for loss, f in (LOSSES | FEATURES).items():
        for name, option in list(inspect.signature(f).parameters.items())[3:]:
            assert option.default == DEFAULTS[name], (loss, name)
    student, teacher, _ = Case("response", {}).batch(6)
    for loss in ("response", "soft_cross_entropy", "reverse_kl", "jensen_shannon"):
        value, gradient = LOSSES[loss](student, teacher, temperature=3.0, t_squared=False)
        assert_close(loss, LOSSES[loss](student, teacher, temperature=3.0), (9 * value, 9 * gradient))
    for beta, loss in ((0.0, "response"), (1.0, "reverse_kl")):
        for options in ({"temperature": 3.0, "t_squared": False}, {"temperature": 2.0}):
            expected = LOSSES[loss](student, teacher, **options)
            assert_close(beta, LOSSES["jensen_shannon"](student, teacher, beta=beta, **options), expected, 0, 0)
    two = LOSSES["decoupled"](student[:, :2], teacher[:, :2], np.arange(6) % 2, others=5.0)  # there are no others
    assert_close("two classes", two, LOSSES["response"](student[:, :2], teacher[:, :2]))


def test_a_student_that_is_its_teacher_gets_no_gradient() -> None:
    """Nor does it cost anything, whatever the rounding, and that prints without a sign; but for four losses."""
    for case in (case for case in CASES if case.loss not in ("cross_entropy", "contrast")):
        for n in (1, 2, 3, 32):
            teacher = case.batch(n)[0]
            value, gradient = case(teacher.copy(), teacher, np.arange(n) % 5)
            least = 1 - case.options.get("margin", 0.5) if case.loss == "novelty" else 0.0
            np.testing.assert_allclose(gradient, 0, atol=1e-12, err_msg=f"{case} of {n} rows")
            assert case.loss == "soft_cross_entropy" or value == pytest.approx(least, abs=1e-12), (case, n)
    rng = np.random.default_rng(0)
    for case, dtype, size, _ in product(CASES, ("f4", "f8"), (1e-3, 1, 50, 1e4), range(8)):
        z = (rng.normal(size=(7, 5)) * size).astype(dtype)
        value = case(z, z * z.dtype.type(1 + 1e-7), z.argmax(axis=1))[0]
        assert f"{value:+.4f}"[0] == "+", (case, dtype, size)


# --- what makes no difference -----------------------------------------------------------------------------------------


def moves(case: Case, x: Array, y: Array, labels: Array) -> Iterator[tuple[str, list[Array], Callable[[Array], Array]]]:
    """Yield what a loss is blind to: its name, student, teacher and labels so moved, and where the gradient goes."""
    rng = np.random.default_rng(0)
    rows, columns = rng.permutation(len(x)), rng.permutation(x.shape[1])
    each, turn = rng.uniform(0.1, 10, size=(len(x), 1)), np.linalg.qr(rng.normal(size=(6, 6)))[0]
    yield "the order of rows", [x[rows], y[rows], labels[rows]], lambda g: g[rows]
    if x.shape == y.shape:
        renumbered = np.where(labels < 0, -1, np.argsort(columns)[labels])
        yield "the order of columns", [x[:, columns], y[:, columns], renumbered], lambda g: g[:, columns]
    if case.loss in LOSSES.keys() - {"logit_mse"}:
        yield "a constant added to a row", [x + 9 * each, y - 5 * each, labels], lambda g: g
    if case.loss in SCALED_BY_ROW:
        yield "the length of a row", [each * x, y / each, labels], lambda g: g / each
    if case.loss in SCALED:
        yield "the scale of all rows", [7 * x, y / 3, labels], lambda g: g / 7
    if case.loss in ANY_WIDTH:
        yield "a rotation, and silent units", [x @ turn, np.hstack([y, 0 * y]), labels], lambda g: g @ turn
    if case.loss in MOVED:
        yield "the origin", [x + 1000, y - 1000, labels], lambda g: g
    if case.loss == "attention":
        yield "signs", [x * (signs := np.sign(rng.normal(size=x.shape))), -y, labels], lambda g: g * signs


def test_what_a_loss_is_blind_to_makes_no_difference() -> None:
    for case in CASES:
        batch = case.batch(9)
        value, gradient = case(*batch)
        for what, moved, back in moves(case, *batch):
            assert_close((case, what), case(*moved), (value, back(gradient)), rtol=1e-6, atol=1e-9)


def test_what_a_loss_does_not_look_at_may_be_left_out_and_what_it_looks_at_stays_as_it_was() -> None:
    for case in CASES:
        batch = student, teacher, labels = case.batch(6)
        for array in batch:
            array.flags.writeable = False
        value, gradient = case(*batch)
        rest = (student, None, labels) if case.loss == "cross_entropy" else (student, teacher)
        if case.loss != "decoupled":
            assert_close(case, case(*rest), (value, gradient), rtol=0, atol=0)
        gradient += 1  # the caller may write to it: nobody else holds it
        assert not any(np.shares_memory(gradient, array) for array in batch), case


def refusal(f: Callable[..., object], *arguments: Array) -> str:
    """Return what the ValueError says, or nothing where there is none."""
    try:
        f(*arguments)
    except ValueError as error:
        return str(error)
    return ""


def test_shapes_that_do_not_fit_are_refused_with_both() -> None:
    """Apart from the first two of each row, these are shapes that NumPy would broadcast without a word."""
    assert set(ANY_WIDTH) == {loss for loss in FEATURES if not LOSS_TRAITS[loss].same_units}
    student, labels = np.zeros((2, 4)), np.array([0, 1])
    for case in (case for case in cases(*LOSSES) if case.loss != "cross_entropy"):
        for shape in ((2, 3), (3, 4), (1, 4), (2, 1), (4,), ()):
            words = f"student logits (2, 4) and teacher logits {shape} must have one shape"
            assert refusal(case, student, np.zeros(shape), labels) == words, (case, shape)
    words = "teachers' logits (2, 4) and (1, 4) must have one shape"
    assert refusal(combine, [student, student[:1]], [0.5, 0.5], "logits") == words
    for case in cases(*WITH_LABELS):
        for shape in ((3,), (2, 4), (1,), (2, 1), ()):
            words = f"student logits (2, 4) need labels (2,), not {shape}"
            assert refusal(case, student, student, np.zeros(shape, int)) == words, (case, shape)
    for loss, f in FEATURES.items():
        misfits = [((4, 6), shape) for shape in ((3, 6), (5, 6), (1, 6), (6,), ())]
        misfits += [
            ((4,), (4,)),
            ((4, 2, 3), (4, 2, 3)),
            *(((4, 6), (4, w)) for w in (1, 5, 7) if LOSS_TRAITS[loss].same_units),
        ]
        end = "one shape; an adapter makes the widths equal" if LOSS_TRAITS[loss].same_units else "equal rows"
        for one_side, other_side in misfits:
            words = f"student features {one_side} and teacher features {other_side} must have {end}"
            assert refusal(f, np.ones(one_side), np.ones(other_side)) == words, (loss, one_side, other_side)


def test_float32_gives_what_float64_gives() -> None:
    """Of rows that coincide as well."""
    for case, times in product(CASES, (1, 2)):
        student, teacher, labels = (np.concatenate([part] * times) for part in case.batch(16))
        value, gradient = case(student.astype("f4"), teacher.astype("f4"), labels)
        assert (type(value), gradient.dtype) == (float, np.float32), case
        exact, slope = case(student.astype("f4").astype(float), teacher.astype("f4").astype(float), labels)
        assert value == pytest.approx(exact, rel=1e-3 if case.loss in LOSSES else 1e-5, abs=1e-6), case
        np.testing.assert_allclose(gradient, slope, atol=1e-4 * np.abs(slope).max(), err_msg=str(case))


def extremes(case: Case, n: int) -> dict[object, tuple[Array, Array]]:
    """Return students and teachers whose numbers, or differences between them, are very large, small or none."""
    # Rounded so that they are exact in float32 even when they are large.
    x, y = (np.round(part * 4).astype(np.float32) / 4 for part in case.batch(n)[:2])
    even, equal_x, equal_y = (np.arange(n) % 2 == 0)[:, None], np.tile(x[:1], (n, 1)), np.tile(y[:1], (n, 1))
    return {(a, b): (a * x, b * y) for a, b in product((0, 1e-4, 40, 1e4), repeat=2)} | {
        "far from the origin": (2**14 + x, y - 2**14),
        "rows of zeros": (x * ~even, y),
        "other rows of zeros": (x * ~even, y * even),
        "equal rows": (equal_x, y),
        "equal rows of the teacher": (x, equal_y),
        "equal rows of both": (equal_x, equal_y),
        "rows in opposite pairs": (np.where(even, equal_x, -equal_x), y),
        "opposite": (1e4 * x, -1e4 * x),
        "alike": (1e4 * x, 1e4 * x),
        "equal numbers": (np.full_like(x, 1e4), np.full_like(y, -1e4)),
    }


@pytest.mark.parametrize("loss", [*LOSSES, *FEATURES])
def test_float32_is_safe_at_extremes(loss: str) -> None:
    for case, n in product(cases(loss), (1, 2, 3, 32)):
        for name, sides in extremes(case, n).items():
            if sides[0].shape == sides[1].shape or loss in ANY_WIDTH:
                with np.errstate(**SAFE):
                    value, gradient = case(*sides, np.arange(n) % 5)
                assert np.isfinite([value, *gradient.ravel()]).all(), (case, n, name)
                assert (value >= -1e-6, gradient.dtype) == (True, np.float32), (case, n, name)
                if loss in LOSSES and loss != "dist":  # does a class of probabilities near 1e-38 vary?
                    exact = case(*(side.astype(float) for side in sides), np.arange(n) % 5)
                    atol = 1e-5 * max(1, np.abs(exact[1]).max())
                    assert_close((case, n, name), (value, gradient), exact, rtol=1e-4, atol=atol)
    student = np.array([[1e30, -1e30, 0], [-1e30, 1e30, 0]], np.float32)
    if loss in ("cross_entropy", "response", "soft_cross_entropy"):  # any size, where only the student may be wrong
        with np.errstate(**SAFE):
            value, gradient = LOSSES[loss](student, -student, np.array([1, 0]))
        assert np.isfinite([value, *gradient.ravel()]).all()


def test_lengths_that_float32_could_not_square_do_not_matter_to_directions_and_relations() -> None:
    by_row = np.array([[1e25], [1e-25], [1], [1e30], [1e-30], [1e10], [1e-10], [1e20]], np.float32)
    for loss in (*SCALED_BY_ROW, *SCALED):
        student, teacher = (x.astype(np.float32) for x in Case(loss, {}).batch(8)[:2])
        value, gradient = FEATURES[loss](student, teacher)
        for sizes in [by_row] if loss in SCALED_BY_ROW else [np.float32(1e25), np.float32(1e-25)]:
            with np.errstate(**SAFE):
                sized, slope = FEATURES[loss](student * sizes, teacher / sizes)
            atol = 1e-5 * np.abs(gradient).max()
            assert_close(loss, (sized, slope.astype(float) * sizes), (value, gradient), rtol=1e-5, atol=atol)


def test_a_sure_and_wrong_student_costs_what_it_should() -> None:
    """No logarithm is cut off, at whatever small number: a student is told how wrong it is."""
    student, teacher = np.array([[-1e4, 1e4, 0]], np.float32), np.array([[1e4, -1e4, 0]], np.float32)
    for loss, options, value in (
        ("cross_entropy", {}, 2e4),
        ("cross_entropy", {"smoothing": 0.3}, 0.7 * 2e4 + 0.1 * (2e4 + 0 + 1e4)),
        ("response", {"temperature": 2.0}, 4 * 1e4),
        ("soft_cross_entropy", {"temperature": 1.0}, 2e4),
        ("reverse_kl", {"temperature": 1.0}, 2e4),
        ("jensen_shannon", {"temperature": 1.0}, np.log(2)),
        ("logit_mse", {}, (4e8 + 4e8) / 2),
        ("decoupled", {"temperature": 1.0, "others": 0.0}, 2e4),
        ("decoupled", {"temperature": 1.0, "target": 0.0, "others": 1.0}, 1e4),
        ("dist", {"temperature": 1.0, "intra": 0.0}, 1.5),
    ):
        with np.errstate(**SAFE):
            result = LOSSES[loss](student, teacher, np.array([0]), **options)[0]
        assert result == pytest.approx(value, rel=1e-6), (loss, options)


def test_dist_leaves_out_rows_and_classes_that_do_not_vary() -> None:
    """One of the two rows and one of the three classes has no correlation; the mean counts them as 0."""
    student = np.log([[0.2, 0.3, 0.5], [1 / 3, 1 / 3, 1 / 3]])
    teacher = np.log([[0.5, 0.3, 0.2], [0.3, 0.3, 0.4]])
    correlation = np.corrcoef([0.2, 0.3, 0.5], [0.5, 0.3, 0.2])[0, 1]
    value, gradient = LOSSES["dist"](student, teacher, temperature=1.0, intra=0.0)
    assert value == pytest.approx((1 - correlation) / 2, rel=1e-12)
    assert gradient.any(axis=1).tolist() == [True, False]
    # The first class falls for the teacher and rises for the student (2), the second stays for the teacher (0), the
    # third falls for the student and rises for the teacher (2).
    assert LOSSES["dist"](student, teacher, temperature=1.0, inter=0.0)[0] == pytest.approx(4 / 3, rel=1e-9)
    # An untrained student often says the same of every row, however many; a single row has no other.
    for dtype, classes, n in ((t, m, n) for t in ("f4", "f8") for m in (3, 10) for n in (1, 32, 64, 128, 256, 1000)):
        teacher = 2 * np.random.default_rng(1).normal(size=(n, classes)).astype(dtype)
        for student in np.zeros_like(teacher), np.tile(teacher[-1], (n, 1)):
            value, gradient = LOSSES["dist"](student, teacher, temperature=1.0, inter=0.0)
            assert (value, gradient.any()) == (0, False), (dtype, classes, n)
