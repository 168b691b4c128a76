"""Evidence: the control student, paired statistics, and the verdict on whether distillation helped."""

import math
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from distill.nn.vector import Array
from distill.system.rng import stream

SIGNIFICANT = 0.05
EXACT_UP_TO = 16  # seeds whose sign flips are all tried; beyond, RESAMPLES of them are drawn
RESAMPLES, BLOCK = 20_000, 1_000  # random draws, and how many of them are in memory at a time


def mcnemar(won: int, lost: int) -> float:
    """McNemar's exact two-sided p (McNemar 1947): of the rows on which exactly one of two models is right, `won` speak
    for the one and `lost` for the other."""
    n = won + lost
    tail = ways = 1
    for k in range(min(won, lost)):
        ways = ways * (n - k) // (k + 1)  # n over k + 1, in whole numbers
        tail += ways
    return min(1.0, 2 * tail / (1 << n))


def paired_interval(won: float, lost: float, rows: int) -> tuple[float, float]:
    """95 % interval of the difference of two paired shares, (won - lost) / rows (Agresti and Min 2005): Wald's, with
    half a row added to each of the four cells of both, either and neither being right."""
    won, lost, rows = won + 0.5, lost + 0.5, rows + 2
    gain = (won - lost) / rows
    half = 1.959963984540054 * math.sqrt(won + lost - (won - lost) ** 2 / rows) / rows
    return gain - half, gain + half


def sign_flip(differences: Array) -> float:
    """Two-sided p of a mean difference: the share of sign flips whose mean is as far from 0 (Fisher 1935).

    Exact up to 16 differences (S,), beyond by a fixed draw of 20,000 flips, the observed one counted in.
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
    """95 % percentile bootstrap interval of the mean of the differences (S,) (Efron 1979), from a fixed draw."""
    rng, size = stream(0, "bootstrap"), len(differences)
    draws = (rng.integers(0, size, (BLOCK, size)) for _ in range(RESAMPLES // BLOCK))
    low, high = np.percentile(np.concatenate([differences[draw].mean(axis=1) for draw in draws]), [2.5, 97.5])
    return float(low), float(high)


def verdict(seeds: Sequence[Mapping[str, Any]], *, shared: bool = False, failed: int = 0) -> dict[str, Any]:
    """Did distillation help? From one record a seed: accuracy and ce of student and control on `rows` held-out rows.

    One seed: McNemar's exact test on its rows. Several: the exact sign-flip test and a bootstrap interval over the
    seeds. Seeds that are `shared`, with one split and teacher, differ by the students' chance alone: then the rows of
    the average seed must say the same, and p and interval are the wider of the two. `outcome` is helped or hurt only
    where p <= 0.05 and the interval leaves out 0. Gains are differences of accuracies (shares, 0 to 1), `ce_gain` is
    the fall in cross-entropy in nats. Of `failed` seeds, which could not be run, the text says how many there are.
    """
    gains = np.array([one["student_accuracy"] - one["control_accuracy"] for one in seeds])
    ce_gains = np.array([one["control_ce"] - one["student_ce"] for one in seeds])
    if len(seeds) == 1:
        won, lost, rows = (seeds[0][key] for key in ("won", "lost", "rows"))
        p, (low, high), test = mcnemar(won, lost), paired_interval(won, lost, rows), "McNemar"
        ce_low = ce_high = None
    else:
        p, (low, high), test = sign_flip(gains), bootstrap(gains), "sign-flip"
        ce_low, ce_high = bootstrap(ce_gains)
    if len(seeds) > 1 and shared:
        won, lost = (float(np.mean([one[key] for one in seeds])) for key in ("won", "lost"))
        row_low, row_high = paired_interval(won, lost, seeds[0]["rows"])
        p, test = max(p, mcnemar(round(won), round(lost))), "sign-flip and McNemar"
        low, high = min(low, row_low), max(high, row_high)
    gain = float(gains.mean())
    sure = p <= SIGNIFICANT and (low > 0 or high < 0)
    outcome = "no measurable difference" if not sure else "helped" if gain > 0 else "hurt"
    wins = int((gains > 0).sum())
    of = f"{wins} of {len(seeds)} seeds" if len(seeds) > 1 else "one seed"
    of += " of one teacher and split" if len(seeds) > 1 and shared else ""
    of += "" if sure and len(seeds) > 1 else f", p = {p:.2g}"
    of += f"; {failed} of {failed + len(seeds)} seeds could not be run" if failed else ""
    sentence = outcome if not sure else f"distillation {outcome}"
    return {
        "outcome": outcome,
        "gain": gain,
        "ci95": [low, high],
        "p_value": p,
        "wins": wins,
        "seeds": len(seeds),
        "test": test,
        "ce_gain": float(ce_gains.mean()),
        "ce_ci95": None if ce_low is None else [ce_low, ce_high],
        "split": seeds[0]["split"],
        "text": f"{sentence}: {100 * gain:+z.1f} points [{100 * low:z.1f}, {100 * high:z.1f}], {of}",
    }


def advice(
    seeds: Sequence[Mapping[str, Any]],
    outcome: str,
    softness: Sequence[float],
    follows: float | None,
    listens: bool = True,
    failed: Sequence[int] = (),
) -> list[str]:
    """What the measurements suggest to try; empty where they suggest nothing.

    `softness` holds, per teacher term, the soft targets' mean entropy as a share of its maximum, log M; `follows` the
    student's agreement with the teacher on its own training rows, or None without a teacher's term; `listens` tells
    whether the student listens to any teacher at all; `failed` are the seeds that could not be run.
    """
    control = float(np.mean([one["control_accuracy"] for one in seeds]))
    said = []
    if failed:
        lost = f"Seed {failed[0]}" if len(failed) == 1 else f"Seeds {', '.join(map(str, failed[:12]))}"
        lost += ", ..." if len(failed) > 12 else ""
        what = "could not be run; where what stops a seed goes with its outcome, the verdict on the others is biased"
        said.append(f"{lost} {what}. Figures of one seed are those of seed {seeds[0]['seed']}.")
    if listens and all(one["teacher_accuracy"] is not None for one in seeds):
        teacher = float(np.mean([one["teacher_accuracy"] for one in seeds]))
        compared = f"The teacher ({teacher:.4f}) is no better than the control ({control:.4f})"
        if teacher <= control and outcome == "helped":
            said.append(f"{compared}: the gain may come from soft targets as such, as from label smoothing.")
        elif teacher < control:
            said.append(f"{compared}: it has nothing to teach. Train a better teacher first.")
        elif outcome != "helped" and control >= teacher - 0.005:
            what = f"The control ({control:.4f}) is half a point or less below the teacher ({teacher:.4f})"
            said.append(f"{what}. Distillation shows with a smaller student, or with fewer or noisier labels.")
    for share in softness:
        entropy = f"The soft targets have {100 * share:.1f} % of the possible entropy"
        if share < 0.02 and outcome != "helped":
            said.append(f"{entropy}, hardly more than labels have. Raise the temperature.")
        elif share > 0.98:
            said.append(f"{entropy}, hardly a preference. Lower the temperature.")
    if outcome == "hurt" and follows is not None and follows < 0.95:
        what = f"The student follows its teacher on only {100 * follows:.1f} % of the rows that it was trained on"
        said.append(f"{what}. Try more units, more epochs, a lower temperature or a lower alpha.")
    if 1 < len(seeds) < 6:
        said.append(f"{len(seeds)} seeds cannot give p below {2 / 2 ** len(seeds):.2g}. Use at least 6 for a verdict.")
    return said
