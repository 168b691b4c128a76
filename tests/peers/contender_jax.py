"""JAX: the whole training as one compiled scan over the batches, its buffers donated, several networks by vmap.

The targets are folded once, as distill's are, so that no softmax of the teacher is left in a step. Measured and left
out, as none was faster than the noise: rows gathered before the scan and not in it, a scan unrolled 2, 4 or 8 times,
cross-entropy and KL as two separate terms, and XLA without its fusion emitters or its threads.
"""

import os
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import rows
from cases import MOMENTUM, RATES, TEMPERATURE, Case
from protocol import Forms, serve

np: Any = import_module("numpy")
jax: Any = import_module("jax")
jnp: Any = import_module("jax.numpy")
ravel_pytree: Any = import_module("jax.flatten_util").ravel_pytree


class Scan:
    """One compiled training. With `flat` a network's parameters are one array, which spares a small one many calls."""

    def __init__(self, case: Case, flat: bool) -> None:
        x, labels, answers = rows.rows(case)
        alphas = np.array(case.alphas, np.float32)
        soft, hard = rows.softened(answers, TEMPERATURE), np.eye(case.sizes[-1])[labels]
        entropy = TEMPERATURE**2 * (soft * np.log(soft)).sum(axis=1)
        weigh = alphas[:, None, None]
        targets = ((1 - weigh) * hard + weigh * TEMPERATURE * soft).astype(np.float32)
        rest = (alphas[:, None] * entropy).astype(np.float32)
        # A stack of one would be as right, but a plain network compiles to plain products.
        self.stacked = len(alphas) > 1
        layers = rows.weights(case)
        if not self.stacked:
            targets, rest, alphas = targets[0], rest[0], alphas[0]
            layers = [(w[0], b[0]) for w, b in layers]
        one = [(w[0], b[0]) for w, b in layers] if self.stacked else layers
        unravel = ravel_pytree(one)[1] if flat else lambda parameters: parameters
        flatten = jax.vmap(lambda net: ravel_pytree(net)[0]) if self.stacked else lambda net: ravel_pytree(net)[0]
        self.first = jax.tree.map(jnp.asarray, flatten(layers) if flat else layers)
        self.orders = jnp.asarray(rows.batches(case))
        x, targets, rest, alphas = (jnp.asarray(array) for array in (x, targets, rest, alphas))
        learn, self.moments = _optimizer(case)

        def loss(parameters: Any, h: Any, target: Any, alpha: Any) -> Any:
            *inner, (last, bias) = unravel(parameters)
            for w, b in inner:
                h = jax.nn.relu(h @ w + b)
            z = h @ last + bias
            labels_part = (1 - alpha) * jax.nn.logsumexp(z, axis=1)
            teacher_part = alpha * TEMPERATURE**2 * jax.nn.logsumexp(z / TEMPERATURE, axis=1)
            return (labels_part + teacher_part - (target * z).sum(axis=1)).mean()

        differentiate = jax.value_and_grad(loss)
        if self.stacked:
            differentiate = jax.vmap(differentiate, in_axes=(0, None, 0, 0))

        def step(carry: Any, batch: Any) -> Any:
            parameters, moments, count = carry
            target = targets[:, batch] if self.stacked else targets[batch]
            value, gradient = differentiate(parameters, x[batch], target, alphas)
            parameters, moments = learn(parameters, moments, gradient, count)
            return (parameters, moments, count + 1), value

        def training(parameters: Any, moments: Any, orders: Any) -> Any:
            carry, values = jax.lax.scan(step, (parameters, moments, jnp.zeros(())), orders)
            # What the teacher adds whatever the student says; not a part of the gradient.
            return carry[:2], values + jnp.moveaxis(rest[..., orders].mean(axis=-1), 0, -1)

        self.training = jax.jit(training, donate_argnums=(0, 1))

    def reset(self) -> None:
        """Fresh copies, as a training takes the buffers that it is given."""
        parameters = jax.tree.map(jnp.copy, self.first)
        moments = tuple(jax.tree.map(jnp.zeros_like, self.first) for _ in range(self.moments))
        self.state = jax.block_until_ready((parameters, moments))

    def train(self) -> Any:
        """Every step's losses, once all is computed."""
        self.state, losses = jax.block_until_ready(self.training(*self.state, self.orders))
        return losses


def _optimizer(case: Case) -> tuple[Callable[..., Any], int]:
    """The rule that takes parameters, moments, gradient and step (from 0) to new ones; how many moments."""
    rate = RATES[case.optimizer]
    each = jax.tree.map

    def sgd(parameters: Any, moments: Any, gradient: Any, count: Any) -> Any:
        velocity = each(lambda v, g: MOMENTUM * v + g, moments[0], gradient)
        return each(lambda p, v: p - rate * v, parameters, velocity), (velocity,)

    def adam(parameters: Any, moments: Any, gradient: Any, count: Any) -> Any:
        first = each(lambda m, g: 0.9 * m + 0.1 * g, moments[0], gradient)
        second = each(lambda v, g: 0.999 * v + 0.001 * g * g, moments[1], gradient)
        scale, spread = rate / (1 - 0.9 ** (count + 1)), 1 / (1 - 0.999 ** (count + 1))
        move = each(lambda p, m, v: p - scale * m / (jnp.sqrt(v * spread) + 1e-8), parameters, first, second)
        return move, (first, second)

    return (sgd, 1) if case.optimizer == "sgd" else (adam, 2)


def forms(case: Case) -> Forms:
    """Parameters layer by layer, or as one array; the latter only costs copies where the arithmetic decides."""
    jax.clear_caches()
    kinds = {"jit of the whole scan": False} | ({"the same, parameters as one array": True} if case.small else {})
    return {form: partial(Scan, case, flat) for form, flat in kinds.items()}


if __name__ == "__main__":
    serve(forms)
