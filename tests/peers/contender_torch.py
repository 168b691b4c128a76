"""PyTorch, `eager` or `compiled` as the first argument says, each in several forms of which the fastest counts.

All forms hold the rows, labels and the teacher's probabilities as tensors and gather an epoch's batches at once, which
is faster than batch by batch. Modules, `nn.Linear` and the like, are left out: they do the same calls, and more.
"""

import os
import sys
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from itertools import chain
from typing import Any

import rows
from cases import MOMENTUM, RATES, TEMPERATURE, Case
from protocol import Forms, serve

# Else a second run would find what the first compiled, and tell the time of a look-up as that of a compilation.
os.environ["TORCHINDUCTOR_FORCE_DISABLE_CACHES"] = "1"
os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"  # else processes stay behind, waiting for more to compile

torch: Any = import_module("torch")
F: Any = import_module("torch.nn.functional")

CORES: int = torch.get_num_threads()
# Steps of a small network in one compiled call: a call costs more than what it does. Compiling takes longer with each;
# these take up to a minute.
STEPS_A_CALL = 8


class Net:
    """Weights, rows and objective, the same for every form."""

    def __init__(self, case: Case, threads: int) -> None:
        self.case, self.threads = case, threads
        torch.set_num_threads(threads)
        x, labels, answers = rows.rows(case)
        (self.alpha,) = case.alphas
        soft = rows.softened(answers, TEMPERATURE).astype(x.dtype)
        self.x, self.labels, self.soft = (torch.from_numpy(array) for array in (x, labels, soft))
        self.orders = torch.from_numpy(rows.batches(case))
        # `linear` takes them transposed
        self.first = [torch.from_numpy(array[0].T.copy()) for layer in rows.weights(case) for array in layer]
        self.parameters = [tensor.clone() for tensor in self.first]

    def restart(self) -> None:
        """The first weights again."""
        torch.set_num_threads(self.threads)
        with torch.no_grad():
            for tensor, first in zip(self.parameters, self.first, strict=True):
                tensor.copy_(first)

    def loss(self, parameters: list[Any], x: Any, labels: Any, soft: Any) -> Any:
        """The objective on a batch."""
        *inner, (last, bias) = zip(parameters[::2], parameters[1::2], strict=True)
        for w, b in inner:
            x = F.relu(F.linear(x, w, b))
        z = F.linear(x, last, bias)
        kl = F.kl_div(F.log_softmax(z / TEMPERATURE, 1), soft, reduction="batchmean")
        return (1 - self.alpha) * F.cross_entropy(z, labels) + self.alpha * TEMPERATURE**2 * kl

    def gathered(self, together: int) -> Iterator[tuple[Any, Any, Any]]:
        """x, labels and soft targets of so many batches, one after the other, or stacked if `together` is above 1."""
        per_epoch = self.case.rows // self.case.batch
        for order in self.orders.split(per_epoch):
            arrays = [array[order] for array in (self.x, self.labels, self.soft)]
            if together > 1:
                arrays = [array.unflatten(0, (-1, together)) for array in arrays]
            yield from zip(*(array.unbind() for array in arrays), strict=True)


class Optimised:
    """autograd and an optimiser of torch.optim; the loss may be a compiled one."""

    def __init__(self, case: Case, threads: int, compiled: bool = False, **options: bool) -> None:
        self.net, self.options = Net(case, threads), options
        self.loss = torch.compile(self.net.loss) if compiled else self.net.loss
        for tensor in self.net.parameters:
            tensor.requires_grad_()

    def reset(self) -> None:
        """The first weights, and a new optimiser."""
        self.net.restart()
        rate = RATES[self.net.case.optimizer]
        if self.net.case.optimizer == "sgd":
            self.optimizer = torch.optim.SGD(self.net.parameters, rate, momentum=MOMENTUM, **self.options)
        else:
            self.optimizer = torch.optim.Adam(self.net.parameters, rate, **self.options)

    def train(self) -> Any:
        """Every step's loss."""
        losses = []
        for batch in self.net.gathered(1):
            loss = self.loss(self.net.parameters, *batch)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            losses.append(loss.detach())
        return torch.stack(losses)


class Whole:
    """Gradient, update and all in one compiled function, which takes one batch or some of them at a call."""

    def __init__(self, case: Case, threads: int, together: int) -> None:
        self.net, self.together = Net(case, threads), together
        parameters = self.net.parameters
        self.moments = [[torch.zeros_like(p) for p in parameters] for _ in range(1 if case.optimizer == "sgd" else 2)]
        self.count = torch.zeros(())
        differentiate = torch.func.grad_and_value(self.net.loss)
        update = self._sgd if case.optimizer == "sgd" else self._adam

        def call(x: Any, labels: Any, soft: Any) -> Any:
            batches = zip(x, labels, soft, strict=True) if together > 1 else [(x, labels, soft)]
            losses = []
            for batch in batches:
                gradient, loss = differentiate(parameters, *batch)
                update(gradient)
                losses.append(loss)
            return torch.stack(losses)

        # The wrapper in C++ halves what a call costs. reduce-overhead does nothing here: it is about CUDA's graphs.
        self.call = torch.compile(call, fullgraph=True, options={"cpp_wrapper": True})

    def reset(self) -> None:
        """The first weights, and moments of 0."""
        self.net.restart()
        for tensor in [self.count, *chain.from_iterable(self.moments)]:
            tensor.zero_()

    def train(self) -> Any:
        """Every step's loss."""
        return torch.cat([self.call(*batches) for batches in self.net.gathered(self.together)])

    def _sgd(self, gradient: list[Any]) -> None:
        for p, v, g in zip(self.net.parameters, self.moments[0], gradient, strict=True):
            v.mul_(MOMENTUM).add_(g)
            p.sub_(v, alpha=RATES["sgd"])

    def _adam(self, gradient: list[Any]) -> None:
        self.count.add_(1)
        scale, spread = RATES["adam"] / (1 - 0.9**self.count), 1 / (1 - 0.999**self.count)
        for p, m, v, g in zip(self.net.parameters, *self.moments, gradient, strict=True):
            m.mul_(0.9).add_(g, alpha=0.1)
            v.mul_(0.999).addcmul_(g, g, value=0.001)
            p.sub_(scale * m / ((v * spread).sqrt() + 1e-8))


def eager(case: Case) -> Forms:
    """Both fast kinds of optimiser, on all threads, and on one where more may not pay."""
    return {
        f"{kind} optimiser, {threads} thread{'s' * (threads > 1)}": partial(Optimised, case, threads, **{kind: True})
        for threads in sorted({1, CORES} if case.small else {CORES})
        for kind in ("fused", "foreach")
    }


def compiled(case: Case) -> Forms:
    """The whole step compiled; for large networks also the loss alone, beside the fused optimiser.

    A small network's step on several threads, and its loss alone, were never faster. Needs a C++ compiler.
    """
    torch._dynamo.reset()  # forget the cases before
    if case.small:
        return {f"{STEPS_A_CALL} whole steps a call, 1 thread": partial(Whole, case, 1, STEPS_A_CALL)}
    return {
        f"whole step, {CORES} threads": partial(Whole, case, CORES, 1),
        f"loss, and the fused optimiser, {CORES} threads": partial(Optimised, case, CORES, compiled=True, fused=True),
    }


if __name__ == "__main__":
    serve({"eager": eager, "compiled": compiled}[sys.argv[1]])
