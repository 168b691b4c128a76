"""The environment variables that `distill` reads, and the number of threads. Imports no NumPy."""

import os
import re
import sys

from distill.errors import ConfigError

# Name -> what it does. `.env.example` documents the same names, which a test checks.
VARIABLES = {
    "DISTILL_CONFIG": "the configuration file used when --config is not given",
    "DISTILL_LOG_LEVEL": "overrides logging.level of every configuration",
    "DISTILL_THREADS": "threads for training: a whole number, or auto; overrides performance.threads",
    "DISTILL_DATA": "the folder in which relative data paths are looked up when the working directory lacks them",
}

# The names under which the BLAS builds that NumPy ships with read their thread count.
BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def _thread_limit() -> int | None:
    if all(os.environ.get(name) == "1" for name in BLAS_THREADS):
        return None  # set by `limit_blas_threads` of the program that started this one
    value = next((os.environ[name] for name in BLAS_THREADS if os.environ.get(name)), "")
    return int(value) if re.fullmatch("[1-9][0-9]{0,5}", value) else None


# The limit that a user sets for all numerical programs; read before `limit_blas_threads` changes it.
THREAD_LIMIT = _thread_limit()


def expand_home(path: str) -> str:
    """Return a path with the home folder in place of a leading ~; unchanged if there is no home folder."""
    return os.path.expanduser(path)  # noqa: PTH111  unlike Path.expanduser, it never raises, and keeps 'file/'


def variable(name: str, default: str = "") -> str:
    """Return the value of one of VARIABLES; an empty one counts as unset."""
    assert name in VARIABLES, name
    return os.environ.get(name) or default


def limit_blas_threads() -> None:
    """Keep BLAS to one thread: it rounds by their number, and `distill` shares a step among threads of its own.

    Does nothing once NumPy is loaded, as BLAS reads its variables only then; `nn.blas` covers that case.
    """
    if "numpy" not in sys.modules:
        os.environ.update(dict.fromkeys(BLAS_THREADS, "1"))


def threads(configured: int | str = "auto") -> int:
    """Return the number of threads for training: DISTILL_THREADS, else `configured`, where auto is one a core.

    On auto, a BLAS variable such as OMP_NUM_THREADS limits them. Raises ConfigError for an invalid DISTILL_THREADS.
    """
    count = variable("DISTILL_THREADS", str(configured))
    if count != "auto" and not (re.fullmatch("[1-9][0-9]{0,3}", count) and int(count) <= 1024):
        raise ConfigError([f"DISTILL_THREADS: {count!r} is not a thread count; must be auto or 1 to 1024"])
    if count != "auto":
        return int(count)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, THREAD_LIMIT or cores)
