"""Writes a folder of NPY files larger than memory: `python docs/make_large.py FOLDER ROWS`, 3 kB a row.

Rows of 784 float32 features scattered around ten centres, one for each class.
"""

import sys
from pathlib import Path

import numpy as np

FEATURES, CLASSES, BLOCK = 784, 10, 8192

folder, rows = Path(sys.argv[1]), int(sys.argv[2])
folder.mkdir(parents=True, exist_ok=True)
rng = np.random.default_rng(0)
centres = 0.15 * rng.standard_normal((CLASSES, FEATURES), np.float32)
y = rng.integers(0, CLASSES, rows)
np.save(folder / "y.npy", y)
header = {"descr": "<f4", "fortran_order": False, "shape": (rows, FEATURES)}
with (folder / "X.npy").open("wb") as file:
    np.lib.format.write_array_header_1_0(file, header)
    for start in range(0, rows, BLOCK):
        labels = y[start : start + BLOCK]
        file.write((centres[labels] + rng.standard_normal((len(labels), FEATURES), np.float32)).tobytes())
