"""One BLAS thread where bits matter: OpenBLAS rounds differently when it shares a product among threads."""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np

# What the OpenBLAS builds that come with NumPy's wheels call their two functions.
PREFIXES, SUFFIXES = ("scipy_openblas", "openblas"), ("64_", "")


@contextmanager
def one_thread() -> Iterator[None]:
    """Inside, NumPy's own OpenBLAS works with one thread. Does nothing where NumPy brings another BLAS."""
    get, put = _controls()
    threads = get()
    put(1)
    try:
        yield
    finally:
        put(threads)


@cache
def _controls() -> tuple[Callable[[], int], Callable[[int], object]]:
    package = Path(np.__file__).parent
    for path in (*package.parent.glob("numpy.libs/*openblas*"), *package.glob(".dylibs/*openblas*")):
        library = ctypes.CDLL(str(path))  # the one that NumPy has loaded already
        for prefix, suffix in product(PREFIXES, SUFFIXES):
            names = (f"{prefix}_get_num_threads{suffix}", f"{prefix}_set_num_threads{suffix}")
            if all(hasattr(library, name) for name in names):
                return getattr(library, names[0]), getattr(library, names[1])
    return lambda: 1, lambda threads: None
