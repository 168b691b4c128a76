"""The machine itself: the matrix products of a step and nothing else, on all cores, each with one BLAS thread.

Nobody waits for anybody, nothing is gathered, added or updated, and all arrays are made before: no NumPy program that
does these products can be faster. distill's share of this rate is what it makes of the machine.
"""

from collections.abc import Sequence
from itertools import pairwise
from threading import Thread

from distill.system import environment

environment.limit_blas_threads()  # before NumPy is imported

import numpy as np  # noqa: E402
import rows  # noqa: E402
from cases import Case  # noqa: E402
from protocol import Forms, serve  # noqa: E402

Product = tuple[rows.Array, rows.Array, rows.Array]


class Products:
    """A list of products for each core, done `times` times."""

    def __init__(self, cores: Sequence[Sequence[Product]], times: int) -> None:
        self.cores, self.times = cores, times

    def reset(self) -> None:
        """Products have no memory."""

    def train(self) -> None:
        """All products of all steps."""
        threads = [Thread(target=self._work, args=(products,)) for products in self.cores]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _work(self, products: Sequence[Product]) -> None:
        for _ in range(self.times):
            for left, right, out in products:
                np.matmul(left, right, out=out)


def _products(case: Case, cores: int) -> list[list[Product]]:
    """The products of a step, of the shapes that distill gives them, in equal parts: forward and back some of the rows
    of the batch, and for the weights' gradient some of a layer's units."""
    rng = np.random.default_rng(0)

    def numbers(*shape: int) -> rows.Array:
        return rng.standard_normal(shape, dtype=np.float32)

    shares: list[list[Product]] = [[] for _ in range(cores)]
    for k, (c, m) in enumerate(pairwise(case.sizes)):
        weights = numbers(m, c + 1)
        inputs = numbers(case.batch, c + 1).T if k == 0 else numbers(c + 1, case.batch)
        for core, products in enumerate(shares):
            columns = slice(case.batch * core // cores, case.batch * (core + 1) // cores)
            batch, units = columns.stop - columns.start, m * (core + 1) // cores - m * core // cores
            products.append((weights, inputs[:, columns], np.empty((m, batch), np.float32)))
            products.append((numbers(units, case.batch), inputs.T, np.empty((units, c + 1), np.float32)))
            if k:
                products.append((weights[:, :-1].T, numbers(m, batch), np.empty((c, batch), np.float32)))
    return shares


def forms(case: Case) -> Forms:
    """Each core a part of every step, or every step whole by one core: whichever is faster is the rate."""
    cores = environment.threads()
    whole = {"steps whole": lambda: Products([_products(case, 1)[0] for _ in range(cores)], case.steps // cores)}
    return {"steps shared": lambda: Products(_products(case, cores), case.steps)} | (
        whole if case.steps % cores == 0 else {}
    )


if __name__ == "__main__":
    serve(forms)
