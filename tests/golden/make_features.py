"""Writes features.json: each loss's value and gradient by PyTorch in float64, from the formulas of the papers.

`python tests/golden/make_features.py` needs PyTorch, which the tests do not.
"""

import json
import re
from collections.abc import Callable, Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

NOTE = "Values and gradients by PyTorch autograd in float64, written by make_features.py from the papers' formulas."
LOGITS = {
    "student": [[1.0, 2, 0.5, -1], [0, -0.5, 3, 1], [-2, 0.3, 0.1, 1.5], [0.7, -1.2, -0.4, 2.2], [1.1, 0.9, -3, 0.2]],
    "teacher": [[2.0, 1, 0.1, -2], [1, 0, 2.5, -1], [-1, 2.0, 0.4, 0.6], [0.2, -0.3, 1.6, 0.8], [3.0, -1, -2, 0.5]],
    "labels": [0, 2, -1, 3, 1],
}
# A row of zeros on the one side in `teacher`, on both in `wider`. The fifth row of the student lies far out, so that
# some differences between distances exceed 1, the bend of the Huber loss.
FEATURES = {
    "student": [[0.5, -1.0, 2.0], [1.5, 0.3, -0.7], [0.0, 0.0, 0.0], [-0.4, 0.9, 1.1], [9.0, -7.0, 4.0]],
    "teacher": [[0.9, -0.8, 1.4], [-1.0, 2.0, 0.2], [0.6, 0.1, -1.3], [0.3, 1.2, 0.8], [-0.2, 0.5, -0.6]],
    "wider": [[1.0, 0.2, -0.5, 0.3], [-0.7, 1.1, 0.4, 2.0], [0.0] * 4, [0.8, -0.6, 1.9, -0.1], [2.0, 1.0, 1.0, -3.0]],
}
FLOOR = 1e-7  # added to every similarity of `probabilistic`; the paper has none


def cross_entropy(s: Tensor, t: Tensor, y: Tensor, smoothing: float = 0.0) -> Tensor:
    return F.cross_entropy(s, y, label_smoothing=smoothing, ignore_index=-1)


def kl(p: Tensor, q: Tensor) -> Tensor:
    """KL(p || q) of logarithms, averaged over rows."""
    return F.kl_div(q, p, reduction="batchmean", log_target=True)


def soft(s: Tensor, t: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    return F.log_softmax(s / temperature, dim=1), F.log_softmax(t / temperature, dim=1)


def response(s: Tensor, t: Tensor, y: Tensor, temperature: float) -> Tensor:
    q, p = soft(s, t, temperature)
    return temperature**2 * kl(p, q)


def soft_cross_entropy(s: Tensor, t: Tensor, y: Tensor, temperature: float) -> Tensor:
    return temperature**2 * F.cross_entropy(s / temperature, F.softmax(t / temperature, dim=1))


def reverse_kl(s: Tensor, t: Tensor, y: Tensor, temperature: float) -> Tensor:
    q, p = soft(s, t, temperature)
    return temperature**2 * kl(q, p)


def jensen_shannon(s: Tensor, t: Tensor, y: Tensor, beta: float, temperature: float) -> Tensor:
    q, p = soft(s, t, temperature)
    m = (beta * p.exp() + (1 - beta) * q.exp()).log()
    return temperature**2 * (beta * kl(p, m) + (1 - beta) * kl(q, m))


def logit_mse(s: Tensor, t: Tensor, y: Tensor) -> Tensor:
    return F.mse_loss(s, t, reduction="sum") / (2 * len(s))


def decoupled(s: Tensor, t: Tensor, y: Tensor, target: float, others: float, temperature: float) -> Tensor:
    rows = y >= 0
    s, t, label = s[rows] / temperature, t[rows] / temperature, F.one_hot(y[rows], s.shape[1]).bool()

    def two(z: Tensor) -> Tensor:
        share = F.softmax(z, dim=1)[label]
        return torch.stack([share, 1 - share], dim=1).log()

    def rest(z: Tensor) -> Tensor:
        return F.log_softmax(z[~label].reshape(len(z), -1), dim=1)

    return temperature**2 * (target * kl(two(t), two(s)) + others * kl(rest(t), rest(s)))


def dist(s: Tensor, t: Tensor, y: Tensor, inter: float, intra: float, temperature: float) -> Tensor:
    q, p = (F.softmax(z / temperature, dim=1) for z in (s, t))

    def apart(dim: int) -> Tensor:
        a, b = (x - x.mean(dim=dim, keepdim=True) for x in (q, p))
        return (1 - F.cosine_similarity(a, b, dim=dim)).mean()

    return temperature**2 * (inter * apart(1) + intra * apart(0))


def directed(x: Tensor) -> Tensor:
    """x with its rows of zeros held: they have no direction, so they get no gradient through one."""
    return torch.where((x != 0).any(dim=1, keepdim=True), x, x.detach())


def cosines(x: Tensor, y: Tensor) -> Tensor:
    return F.cosine_similarity(directed(x)[:, None], directed(y)[None], dim=2)


def hint(s: Tensor, t: Tensor) -> Tensor:
    return F.mse_loss(s, t)


def cosine(s: Tensor, t: Tensor) -> Tensor:
    return F.cosine_embedding_loss(directed(s), t, torch.ones(len(s)))


def attention(s: Tensor, t: Tensor) -> Tensor:
    return (F.normalize(directed(s) ** 2) - F.normalize(t**2)).square().sum(dim=1).mean()


def similarity(s: Tensor, t: Tensor) -> Tensor:
    return (F.normalize(directed(s @ s.T)) - F.normalize(t @ t.T)).square().sum() / len(s) ** 2


def probabilistic(s: Tensor, t: Tensor, floor: float = FLOOR) -> Tensor:
    def shares(x: Tensor) -> Tensor:
        near = ((1 + cosines(x, x)) / 2 + floor)[~torch.eye(len(x), dtype=torch.bool)].reshape(len(x), -1)
        return near / near.sum(dim=1, keepdim=True)

    return F.kl_div(shares(s).log(), shares(t), reduction="batchmean")


def relation_distance(s: Tensor, t: Tensor) -> Tensor:
    d, e = F.pdist(s), F.pdist(t)
    return F.smooth_l1_loss(d / d.mean(), e / e.mean())


def relation_angle(s: Tensor, t: Tensor) -> Tensor:
    i, j, k = torch.tensor(list(permutations(range(len(s)), 3))).T
    a, b = (F.cosine_similarity(x[j] - x[i], x[k] - x[i]) for x in (s, t))
    return F.smooth_l1_loss(a, b)


def contrast(s: Tensor, t: Tensor, tau: float) -> Tensor:
    return F.cross_entropy(cosines(s, t) / tau, torch.arange(len(s)))


def novelty(s: Tensor, t: Tensor, margin: float) -> Tensor:
    return F.cosine_embedding_loss(directed(s), t, -torch.ones(len(s)), margin=margin)


ON_LOGITS: list[tuple[Callable[..., Tensor], dict[str, float]]] = [
    *((cross_entropy, {"smoothing": s}) for s in (0.0, 0.1, 0.4)),
    *((f, {"temperature": t}) for f in (response, soft_cross_entropy, reverse_kl) for t in (0.5, 1.0, 4.0)),
    *((jensen_shannon, {"beta": b, "temperature": t}) for b, t in ((0.5, 1.0), (0.1, 4.0), (0.9, 2.0))),
    (logit_mse, {}),
    (decoupled, {"target": 1.0, "others": 8.0, "temperature": 4.0}),
    (decoupled, {"target": 2.0, "others": 0.5, "temperature": 1.5}),
    (dist, {"inter": 1.0, "intra": 1.0, "temperature": 4.0}),
    (dist, {"inter": 1.0, "intra": 0.0, "temperature": 1.0}),
    (dist, {"inter": 0.5, "intra": 3.0, "temperature": 2.0}),
]
ON_FEATURES: list[tuple[Callable[..., Tensor], dict[str, float], tuple[str, ...]]] = [
    *((f, {}, ("teacher",)) for f in (hint, cosine, attention)),
    *((f, {}, ("teacher", "wider")) for f in (similarity, probabilistic, relation_distance, relation_angle)),
    *((contrast, {"tau": tau}, ("teacher",)) for tau in (0.1, 0.5)),
    *((novelty, {"margin": margin}, ("teacher",)) for margin in (0.5, 0.0, -0.3)),
]


def entry(f: Callable[..., Tensor], options: dict[str, float], student: Any, *others: Tensor) -> dict[str, Any]:
    s = torch.tensor(student, requires_grad=True)
    value = f(s, *others, **options)
    (gradient,) = torch.autograd.grad(value, s)
    return {"loss": f.__name__, "options": options, "value": value.item(), "gradient": gradient.tolist()}


def entries() -> Iterator[tuple[str, dict[str, Any]]]:
    teacher, labels = torch.tensor(LOGITS["teacher"]), torch.tensor(LOGITS["labels"])
    for f, options in ON_LOGITS:
        yield "logits", entry(f, options, LOGITS["student"], teacher, labels)
    for f, options, sides in ON_FEATURES:
        for side in sides:
            found = entry(f, options, FEATURES["student"], torch.tensor(FEATURES[side]))
            yield "features", {"teacher": side} | found


def main() -> None:
    torch.set_default_dtype(torch.float64)
    found: dict[str, Any] = {"note": NOTE, "logits": {"fixture": LOGITS}, "features": {"fixture": FEATURES}}
    for kind, one in entries():
        found[kind].setdefault("references", []).append(one)
    s, t = (torch.tensor(FEATURES[side]) for side in ("student", "teacher"))
    found["features"]["probabilistic_without_floor"] = probabilistic(s, t, floor=0.0).item()
    text = json.dumps(found, indent=1)
    for innermost in (r"\[[^\[\]{}]*\]", r"\{[^\[\]{}]*\}"):  # a row of numbers, and the options, on one line
        text = re.sub(innermost, lambda found: re.sub(r"(?<=[\[{]) | (?=[\]}])", "", " ".join(found[0].split())), text)
    (Path(__file__).parent / "features.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
