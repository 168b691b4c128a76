"""The environment variables that `distill` reads, and the number of threads."""

import os
import re
import sys

from distill.errors import ConfigError

# Name -> what it does. `.env.example` documents the same names; a test holds the two together.
VARIABLES = {
    "DISTILL_CONFIG": "the configuration file used when --config is not given",
    "DISTILL_LOG_LEVEL": "overrides logging.level of every configuration",
    "DISTILL_THREADS": "threads for training: a whole number, or auto; overrides performance.threads",
    "DISTILL_DATA": "the folder in which relative data paths are looked up when the working directory lacks them",
}

# The names under which the BLAS builds that NumPy ships with read their thread count.
BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def _limit() -> int | None:
    if all(os.environ.get(name) == "1" for name in BLAS_THREADS):
        return None  # what `blas_alone` sets: a program that we started is as free as we are
    chosen = next((os.environ[name] for name in BLAS_THREADS if os.environ.get(name)), "")
    return int(chosen) if re.fullmatch("[1-9][0-9]{0,5}", chosen) else None


# What a user who limits every numerical program's threads allows; read before `blas_alone` changes it.
LIMIT = _limit()


def at_home(path: str) -> str:
    """A path with the home folder in place of ~, also where no shell has seen to it; as it is where there is none."""
    return os.path.expanduser(path)  # noqa: PTH111  unlike Path.expanduser, it never raises, and keeps 'file/'


def variable(name: str, default: str = "") -> str:
    """The value of one of VARIABLES; an empty one counts as unset."""
    assert name in VARIABLES, name
    return os.environ.get(name) or default


def blas_alone() -> None:
    """Keep BLAS to one thread, which changes the last bits with their number; `distill` shares a step by itself.

    Does nothing once NumPy is loaded, as BLAS reads its variables only then; `nn.blas` sees to that case.
    """
    if "numpy" not in sys.modules:
        os.environ.update(dict.fromkeys(BLAS_THREADS, "1"))


def threads(asked: int | str = "auto") -> int:
    """The threads that training may use: DISTILL_THREADS, else what is asked for, else one a core.

    On auto, a BLAS variable such as OMP_NUM_THREADS limits them. Raises ConfigError for what is no number of threads.
    """
    wanted = variable("DISTILL_THREADS", str(asked))
    if wanted != "auto" and not (re.fullmatch("[1-9][0-9]{0,3}", wanted) and int(wanted) <= 1024):
        raise ConfigError([f"DISTILL_THREADS: {wanted!r} is not a thread count; must be auto or 1 to 1024"])
    if wanted != "auto":
        return int(wanted)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, LIMIT or cores)
