"""The default plan as a complete PyTorch script: teacher, its logits, student, control, files. Its argument: DIGITS.

In its quickest form for networks this small: one thread, the fused optimiser, an epoch's rows gathered at once, and
not compiled, as compiling takes far longer than all of the training. Most of its time goes into imports: torch's own,
and those of its compiler, which torch.optim imports at its first use.
"""

import sys
from importlib import import_module
from typing import Any

import whole_parts as parts

torch: Any = import_module("torch")
F: Any = import_module("torch.nn.functional")


def forward(parameters: list[Any], h: Any) -> Any:
    """Logits."""
    (w1, b1), (w2, b2) = zip(parameters[::2], parameters[1::2], strict=True)
    return F.linear(F.relu(F.linear(h, w1, b1)), w2, b2)


def train(sizes: tuple[int, ...], x: Any, y: Any, soft: Any, alpha: float) -> list[Any]:
    """Weights (M,C) and biases of a network that learned from labels, and where alpha is not 0 from a teacher."""
    first = [torch.from_numpy(array.T.copy()) for layer in parts.first(sizes) for array in layer]
    parameters = [tensor.requires_grad_() for tensor in first]
    optimizer = torch.optim.Adam(parameters, parts.RATE, fused=True)
    for order in torch.from_numpy(parts.orders(len(x))):
        for batch, labels, target in zip(*(array[order].split(parts.BATCH) for array in (x, y, soft)), strict=True):
            z = forward(parameters, batch)
            loss = (1 - alpha) * F.cross_entropy(z, labels)
            if alpha:
                kl = F.kl_div(F.log_softmax(z / parts.TEMPERATURE, 1), target, reduction="batchmean")
                loss = loss + alpha * parts.TEMPERATURE**2 * kl
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return [tensor.detach() for tensor in parameters]


def main() -> None:
    """The whole plan."""
    torch.set_num_threads(1)
    training, validation = parts.digits(sys.argv[1])
    x, y = torch.from_numpy(training.x), torch.from_numpy(training.y)
    teacher = train(parts.TEACHER, x, y, x, 0.0)
    with torch.no_grad():
        soft = F.softmax(forward(teacher, x) / parts.TEMPERATURE, 1)
    control = train(parts.STUDENT, x, y, soft, 0.0)
    student = train(parts.STUDENT, x, y, soft, parts.ALPHA)
    models = {"teacher": teacher, "control": control, "student": student}
    layers = {
        name: [(w.numpy().T, b.numpy()) for w, b in zip(tensors[::2], tensors[1::2], strict=True)]
        for name, tensors in models.items()
    }
    parts.finish(layers, validation)


if __name__ == "__main__":
    main()
