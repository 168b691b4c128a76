"""One BLAS thread where bits matter: OpenBLAS rounds differently when it shares a product among threads."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

# What the OpenBLAS builds that come with NumPy's wheels put around the names of their functions.
PREFIXES, SUFFIXES = ("scipy_openblas", "openblas"), ("64_", "")


@contextmanager
def one_thread() -> Iterator[None]:
    """Inside, NumPy's own OpenBLAS works with one thread. Does nothing where NumPy brings another BLAS."""
    get, put = _function("get_num_threads"), _function("set_num_threads")
    if get is None or put is None:
        yield
        return
    threads = get()
    put(1)
    try:
        yield
    finally:
        put(threads)


def kernel() -> str | None:
    """Name the processor family that NumPy's OpenBLAS computes for, such as Haswell or SkylakeX, each of which rounds
    in its own way; None with another BLAS."""
    corename = _function("get_corename")
    if corename is None:
        return None
    corename.restype = ctypes.c_char_p
    return str(corename().decode())


@cache
def _function(name: str) -> Any:
    """A function of NumPy's own OpenBLAS, or None."""
    package = Path(np.__file__).parent
    for path in (*package.parent.glob("numpy.libs/*openblas*"), *package.glob(".dylibs/*openblas*")):
        library = ctypes.CDLL(str(path))  # the one that NumPy has loaded already
        for prefix, suffix in product(PREFIXES, SUFFIXES):
            if function := getattr(library, f"{prefix}_{name}{suffix}", None):
                return function
    return None
