"""The default plan as a complete JAX script: teacher, its logits, student, control, files. Its argument: DIGITS.

In its quickest form: two compilations, one of the teacher's whole training and one of student and control together by
vmap; everything that is done once is NumPy, as compiling it would take longer.
"""

import os
import sys
from importlib import import_module
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import numpy as np
import whole_parts as parts

jax: Any = import_module("jax")
jnp: Any = import_module("jax.numpy")


def training(layers: Any, x: Any, targets: Any, alpha: Any, orders: Any, shares: Any) -> Any:
    """Layers after all steps of Adam. `shares` (steps, batch) is each row's part of its batch's mean, 0 for padding.

    The objective is (1 - alpha) cross-entropy + alpha T^2 KL, up to what does not depend on the layers, with the
    targets (1 - alpha) onehot + alpha T softmax(teacher / T).
    """

    def loss(layers: Any, batch: Any, share: Any) -> Any:
        (w1, b1), (w2, b2) = layers
        z = jax.nn.relu(x[batch] @ w1 + b1) @ w2 + b2
        hard, soft = jax.nn.logsumexp(z, axis=1), jax.nn.logsumexp(z / parts.TEMPERATURE, axis=1)
        value = (1 - alpha) * hard + alpha * parts.TEMPERATURE**2 * soft - (targets[batch] * z).sum(axis=1)
        return (share * value).sum()

    def step(carry: Any, one: Any) -> Any:
        layers, first, second, count = carry
        gradient = jax.grad(loss)(layers, *one)
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradient)
        second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, gradient)
        scale, spread = parts.RATE / (1 - 0.9**count), 1 / (1 - 0.999**count)
        layers = jax.tree.map(lambda p, m, v: p - scale * m / (jnp.sqrt(v * spread) + 1e-8), layers, first, second)
        return (layers, first, second, count + 1), None

    zeros = jax.tree.map(jnp.zeros_like, layers)
    return jax.lax.scan(step, (layers, zeros, zeros, 1.0), (orders, shares))[0][0]


def main() -> None:
    """The whole plan."""
    train, validation = parts.digits(sys.argv[1])
    orders, shares = padded(parts.orders(len(train.x)))
    onehot = np.eye(10, dtype=np.float32)[train.y]
    first = parts.first(parts.TEACHER)
    teacher = numbers(jax.jit(training)(first, train.x, onehot, np.float32(0), orders, shares))

    (w1, b1), (w2, b2) = teacher
    logits = np.maximum(train.x @ w1 + b1, 0) @ w2 + b2
    p = np.exp((logits - logits.max(axis=1, keepdims=True)) / parts.TEMPERATURE)
    soft = parts.TEMPERATURE * p / p.sum(axis=1, keepdims=True)
    alphas = np.array([0, parts.ALPHA], np.float32)
    targets = np.stack([(1 - alpha) * onehot + alpha * soft for alpha in alphas]).astype(np.float32)
    both = jax.jit(jax.vmap(training, in_axes=(None, None, 0, 0, None, None)))
    pair = numbers(both(parts.first(parts.STUDENT), train.x, targets, alphas, orders, shares))
    control, student = ([(w[i], b[i]) for w, b in pair] for i in range(2))
    parts.finish({"teacher": teacher, "control": control, "student": student}, validation)


def padded(orders: Any) -> tuple[Any, Any]:
    """Batches of one size: an epoch's last is filled up with rows that do not count."""
    epochs, rows = orders.shape
    steps = -(-rows // parts.BATCH)
    filled = np.zeros((epochs, steps * parts.BATCH), np.int32)
    filled[:, :rows] = orders
    counts = np.tile(np.arange(steps * parts.BATCH) < rows, (epochs, 1)).reshape(-1, parts.BATCH)
    shares = counts / counts.sum(axis=1, keepdims=True)
    return filled.reshape(-1, parts.BATCH), shares.astype(np.float32)


def numbers(layers: Any) -> parts.Layers:
    """As NumPy arrays."""
    return [(np.asarray(w), np.asarray(b)) for w, b in layers]


if __name__ == "__main__":
    main()
