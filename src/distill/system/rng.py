"""Random numbers: every consumer has a stream of its own, so that a new one never moves the numbers of another."""

from zlib import crc32

import numpy as np


def stream(seed: int, purpose: str) -> np.random.Generator:
    """The generator of one purpose ("split", "student weights", ...) under one seed; 0 is a seed like any other.

    The purpose's name is the spawn key of NumPy's SeedSequence, which keeps streams independent of each other and of
    the order in which they are asked for.
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(crc32(purpose.encode()),)))
