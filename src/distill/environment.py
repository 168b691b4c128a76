"""The environment variables that `distill` reads, and the thread limit, which must be set before NumPy loads."""

import os
import re
import sys

from distill.errors import ConfigError

# Name -> what it does. `.env.example` documents the same names; a test holds the two together.
VARIABLES = {
    "DISTILL_CONFIG": "the configuration file used when --config is not given",
    "DISTILL_LOG_LEVEL": "overrides logging.level of every configuration",
    "DISTILL_THREADS": "BLAS threads: a whole number, or auto",
    "DISTILL_DATA": "the folder in which relative data paths are looked up when the working directory lacks them",
}

# The names under which the BLAS builds that NumPy ships with read their thread count.
BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")

# Below this width a step's products are too small to share: on a busy machine a second thread then costs
# far more than it gives (a 0.2 ms step was seen to take 44 ms).
THREADED_WIDTH = 512


def variable(name: str, default: str = "") -> str:
    """The value of one of VARIABLES; an empty one counts as unset."""
    assert name in VARIABLES, name
    return os.environ.get(name) or default


def limit_threads(widest_layer: int) -> None:
    """Choose the number of BLAS threads from the model's widest layer, unless the user chose it.

    DISTILL_THREADS wins over a BLAS variable that is already set, which wins over the automatic choice.
    Does nothing once NumPy is loaded, as BLAS reads its variables only then.
    """
    asked = variable("DISTILL_THREADS", "auto")
    if asked != "auto" and not (re.fullmatch("[1-9][0-9]{0,3}", asked) and int(asked) <= 1024):
        raise ConfigError([f"DISTILL_THREADS: {asked!r} is not a thread count; must be auto or 1 to 1024"])
    if "numpy" in sys.modules:
        return
    if asked != "auto":
        threads = asked
    elif any(os.environ.get(name) for name in BLAS_THREADS):
        return
    else:
        threads = "1" if widest_layer < THREADED_WIDTH else str(os.cpu_count() or 1)
    for name in BLAS_THREADS:
        os.environ[name] = threads


def threads() -> int | None:
    """The BLAS threads asked for, or None where nobody chose (NumPy was loaded before `distill`)."""
    chosen = next((os.environ[name] for name in BLAS_THREADS if os.environ.get(name)), "")
    return int(chosen) if re.fullmatch("[0-9]{1,6}", chosen) else None
