"""Rebuild the embedded digits from scikit-learn's copy: `python docs/make_digits.py` (needs scikit-learn).

The 1,797 images of 8 x 8 pixels, 0 to 16, are the test part of "Optical Recognition of Handwritten Digits",
E. Alpaydin and C. Kaynak, UCI Machine Learning Repository, 1998, doi:10.24432/C50P49, licence CC BY 4.0.
"""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

TARGET = Path(__file__).parents[1] / "src" / "distill" / "data" / "digits.npz"

digits = load_digits()
np.savez_compressed(TARGET, X=digits.images.astype(np.uint8), y=digits.target.astype(np.uint8))
print(f"{TARGET}: {digits.data.shape[0]} rows, {TARGET.stat().st_size} bytes")
