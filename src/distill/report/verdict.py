"""Paired statistics, the verdict on whether distillation helped, and advice. The control is in `student`."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from distill.nn.vector import Array
from distill.system.rng import stream

SIGNIFICANT = 0.05
EXACT_UP_TO = 16  # seeds, of which all sign flips are tried; for more, RESAMPLES of them are drawn
RESAMPLES, BLOCK = 20_000, 1_000  # random draws, and how many of them are in memory at a time


def mcnemar(won: int, lost: int) -> float:
    """Return the two-sided p of McNemar's exact test (McNemar 1947): of the rows on which exactly one of two models is
    right, the first is right on `won` and the second on `lost`."""
    n = won + lost
    tail = ways = 1
    for k in range(min(won, lost)):
        ways = ways * (n - k) // (k + 1)  # n over k + 1, in whole numbers
        tail += ways
    return min(1.0, 2 * tail / (1 << n))


def paired_interval(won: float, lost: float, rows: int) -> tuple[float, float]:
    """Return the 95 % interval of the difference of two paired shares, (won - lost) / rows (Agresti and Min 2005):
    Wald's, with half a row added to each of the four cells of both, either and neither being right."""
    won, lost, rows = won + 0.5, lost + 0.5, rows + 2
    gain = (won - lost) / rows
    half_width = 1.959963984540054 * math.sqrt(won + lost - (won - lost) ** 2 / rows) / rows
    return gain - half_width, gain + half_width


def sign_flip(differences: Array) -> float:
    """Return the two-sided p of a mean difference: the share of sign flips whose mean is as far from 0 (Fisher 1935).

    Exact for up to 16 differences (S,); for more, by a fixed draw of 20,000 flips, with the observed one counted.
    """
    size = len(differences)
    observed = abs(differences.sum()) * (1 - 1e-12)
    if size <= EXACT_UP_TO:
        signs = np.array(list(product((1, -1), repeat=size)))
        return float((np.abs(signs @ differences) >= observed).mean())
    rng, hits = stream(0, "sign flips"), 1
    for _ in range(RESAMPLES // BLOCK):
        hits += int((np.abs(rng.choice((1, -1), (BLOCK, size)) @ differences) >= observed).sum())
    return hits / (1 + RESAMPLES)


def bootstrap(differences: Array) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of the mean of differences (S,) (Efron 1979), from a fixed draw."""
    rng, size = stream(0, "bootstrap"), len(differences)
    draws = (rng.integers(0, size, (BLOCK, size)) for _ in range(RESAMPLES // BLOCK))
    low, high = np.percentile(np.concatenate([differences[draw].mean(axis=1) for draw in draws]), [2.5, 97.5])
    return float(low), float(high)


@dataclass(frozen=True)
class _Test:
    """A test of the gains: its name, p, and the 95 % interval of their mean."""

    name: str
    p: float
    low: float
    high: float


def _test_gains(seeds: Sequence[Mapping[str, Any]], gains: Array, shared: bool) -> _Test:
    if len(seeds) == 1:
        won, lost, rows = (seeds[0][key] for key in ("won", "lost", "rows"))
        return _Test("McNemar", mcnemar(won, lost), *paired_interval(won, lost, rows))
    test = _Test("sign-flip", sign_flip(gains), *bootstrap(gains))
    if not shared:
        return test
    won, lost = (float(np.mean([seed[key] for seed in seeds])) for key in ("won", "lost"))
    low, high = paired_interval(won, lost, seeds[0]["rows"])
    p = max(test.p, mcnemar(round(won), round(lost)))
    return _Test("sign-flip and McNemar", p, min(test.low, low), max(test.high, high))


def verdict(seeds: Sequence[Mapping[str, Any]], *, shared: bool = False, failed: int = 0) -> dict[str, Any]:
    """Return whether distillation helped, from a record a seed: accuracy and ce of student and control on `rows` rows.

    One seed: McNemar's exact test on its rows. Several: the exact sign-flip test and a bootstrap interval over the
    seeds. Seeds that are `shared`, with one split and teacher, differ by the students' chance alone: then the rows of
    the average seed must agree, and p and interval are the wider of the two. `outcome` is helped or hurt only if
    p <= 0.05 and the interval excludes 0. Gains are differences of accuracies (shares, 0 to 1), `ce_gain` is the fall
    in cross-entropy in nats. `failed` is the number of seeds that could not be run; the text names it.
    """
    gains = np.array([seed["student_accuracy"] - seed["control_accuracy"] for seed in seeds])
    ce_gains = np.array([seed["control_ce"] - seed["student_ce"] for seed in seeds])
    test = _test_gains(seeds, gains, shared)
    gain = float(gains.mean())
    significant = test.p <= SIGNIFICANT and (test.low > 0 or test.high < 0)
    outcome = "no measurable difference" if not significant else "helped" if gain > 0 else "hurt"
    wins = int((gains > 0).sum())
    basis = f"{wins} of {len(seeds)} seeds" if len(seeds) > 1 else "one seed"
    basis += " of one teacher and split" if len(seeds) > 1 and shared else ""
    basis += "" if significant and len(seeds) > 1 else f", p = {test.p:.2g}"
    basis += f"; {failed} of {failed + len(seeds)} seeds could not be run" if failed else ""
    sentence = f"distillation {outcome}" if significant else outcome
    return {
        "outcome": outcome,
        "gain": gain,
        "ci95": [test.low, test.high],
        "p_value": test.p,
        "wins": wins,
        "seeds": len(seeds),
        "test": test.name,
        "ce_gain": float(ce_gains.mean()),
        "ce_ci95": list(bootstrap(ce_gains)) if len(seeds) > 1 else None,
        "split": seeds[0]["split"],
        "text": f"{sentence}: {100 * gain:+z.1f} points [{100 * test.low:z.1f}, {100 * test.high:z.1f}], {basis}",
    }


def advice(
    seeds: Sequence[Mapping[str, Any]],
    outcome: str,
    target_entropies: Sequence[float],
    training_agreement: float | None,
    has_teacher: bool = True,
    failed: Sequence[int] = (),
) -> list[str]:
    """Return what the measurements suggest to try, as sentences.

    `target_entropies` holds, per term with teachers, the mean entropy of the soft targets as a share of its maximum,
    log M; `training_agreement` is the student's agreement with the teacher on its own training rows, or None without
    a teacher; `has_teacher` tells whether any term of the student uses a teacher; `failed` are the seeds that could
    not be run.
    """
    sentences = []
    if failed:
        sentences.append(_failed_seeds(failed, seeds[0]["seed"]))
    if has_teacher and all(seed["teacher_accuracy"] is not None for seed in seeds):
        sentences += _teacher_and_control(seeds, outcome)
    for share in target_entropies:
        entropy = f"The soft targets have {100 * share:.1f} % of the possible entropy"
        if share < 0.02 and outcome != "helped":
            sentences.append(f"{entropy}, hardly more than labels have. Raise the temperature.")
        elif share > 0.98:
            sentences.append(f"{entropy}, hardly a preference. Lower the temperature.")
    if outcome == "hurt" and training_agreement is not None and training_agreement < 0.95:
        part = f"{100 * training_agreement:.1f} % of the rows that it was trained on"
        remedy = "Try more units, more epochs, a lower temperature or a lower alpha."
        sentences.append(f"The student follows its teacher on only {part}. {remedy}")
    if 1 < len(seeds) < 6:
        least_p = f"{2 / 2 ** len(seeds):.2g}"
        sentences.append(f"{len(seeds)} seeds cannot give p below {least_p}. Use at least 6 for a verdict.")
    return sentences


def _failed_seeds(failed: Sequence[int], first: int) -> str:
    names = f"Seed {failed[0]}" if len(failed) == 1 else f"Seeds {', '.join(map(str, failed[:12]))}"
    names += ", ..." if len(failed) > 12 else ""
    bias = "where what stops a seed goes with its outcome, the verdict on the others is biased"
    return f"{names} could not be run; {bias}. Figures of one seed are those of seed {first}."


def _teacher_and_control(seeds: Sequence[Mapping[str, Any]], outcome: str) -> list[str]:
    """Return what the accuracies of teacher and control suggest."""
    teacher, control = (float(np.mean([seed[f"{name}_accuracy"] for seed in seeds])) for name in ("teacher", "control"))
    no_better = f"The teacher ({teacher:.4f}) is no better than the control ({control:.4f})"
    if teacher <= control and outcome == "helped":
        return [f"{no_better}: the gain may come from soft targets as such, as from label smoothing."]
    if teacher < control:
        return [f"{no_better}: it has nothing to teach. Train a better teacher first."]
    if outcome != "helped" and control >= teacher - 0.005:
        close = f"The control ({control:.4f}) is half a point or less below the teacher ({teacher:.4f})"
        return [f"{close}. Distillation shows with a smaller student, or with fewer or noisier labels."]
    return []
