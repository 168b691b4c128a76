"""The work that is timed: shapes, optimiser, batches and networks. Plain data: the main process has no NumPy."""

from collections.abc import Iterable
from dataclasses import dataclass

TEMPERATURE = 4.0
ALPHA = 0.7
MOMENTUM = 0.9
# Low enough that Adam, which makes a tiny gradient's last bit as large as any other step, does not drive the losses of
# two right programs apart within the steps that are compared.
RATES = {"sgd": 0.01, "adam": 0.0003}
SMALL = 100_000  # with fewer numbers in its weights a network is small: calls cost more than arithmetic


@dataclass(frozen=True)
class Case:
    """One training from its first weights to its last, which every contender does in the same way.

    Each of `alphas` is a network that learns from (1 - alpha) cross-entropy + alpha T^2 KL; all of them see the same
    batches. `rows` is a multiple of `batch`, so that all batches are of one size.
    """

    sizes: tuple[int, ...]
    batch: int
    optimizer: str
    epochs: int
    rows: int = 1280
    alphas: tuple[float, ...] = (ALPHA,)
    threads: int | None = None  # None: as many as the contender thinks best

    @property
    def steps(self) -> int:
        """Steps of the whole training."""
        return self.epochs * (self.rows // self.batch)

    @property
    def numbers(self) -> int:
        """Weights and biases of one network."""
        return sum((c + 1) * m for c, m in zip(self.sizes, self.sizes[1:], strict=False))

    @property
    def small(self) -> bool:
        """Whether the calls, not the arithmetic, decide the time."""
        return self.numbers < SMALL

    @property
    def operations(self) -> int:
        """Floating-point operations of the matrix products of one step: two for each weight and row, forward, for the
        weights' gradient, and for the gradient of all inputs but the first."""
        first = (self.sizes[0] + 1) * self.sizes[1]
        return len(self.alphas) * self.batch * (6 * self.numbers - 2 * first)

    @property
    def compared(self) -> int:
        """The first steps whose losses must agree. Rounding differs, and learning makes differences grow."""
        return min(self.steps, 200 if self.small else 20)

    @property
    def name(self) -> str:
        """How tables call it."""
        stack = "" if len(self.alphas) == 1 else f", {len(self.alphas)} networks"
        return f"{'-'.join(map(str, self.sizes))}, batch {self.batch}{stack}, {self.optimizer}"


CONTROL_AND_STUDENT = (0.0, ALPHA)
TEN_SEEDS = CONTROL_AND_STUDENT * 10


def cases() -> Iterable[Case]:
    """Everything that is compared, the small networks first."""
    for optimizer in RATES:
        for hidden in (32, 128):
            yield Case((64, hidden, 10), 32, optimizer, epochs=25)
    for optimizer in RATES:
        for hidden in (800, 1200):
            yield Case((784, hidden, hidden, 10), 128, optimizer, epochs=4)
    for optimizer in RATES:
        for hidden in (32, 128):
            yield Case((64, hidden, 10), 32, optimizer, epochs=25, alphas=CONTROL_AND_STUDENT)
        yield Case((784, 800, 800, 10), 128, optimizer, epochs=2, alphas=CONTROL_AND_STUDENT)
        yield Case((64, 32, 10), 32, optimizer, epochs=5, alphas=TEN_SEEDS)
