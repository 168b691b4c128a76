"""Random numbers: one independent stream for each purpose, so that a new purpose changes no numbers of the others."""

from zlib import crc32

import numpy as np


def stream(seed: int, purpose: str) -> np.random.Generator:
    """Return the generator of one purpose ("split", "student weights", ...) under one seed; 0 is a seed like any other.

    The purpose is hashed into the spawn key of NumPy's SeedSequence, so streams are independent of each other and of
    the order in which they are created.
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(crc32(purpose.encode()),)))
