"""distill: knowledge distillation you can trust, in NumPy.

The house, floor by floor; a room imports only from floors below its own (tests/test_floors.py holds it to that):

    8  cli                             the command line; the only room that prints and exits
    7  pipeline                        the story of a run
    6  record  report  page            what stays on disk . what is printed . the page about a run
    5  teacher  student  results       obtain and listen . learn . what was found
       bench                           how fast a step is on this machine
    4  train  evidence                 epochs and judging . the control, statistics, the verdict
    3  model  loop                     a finished network, one file . the steps of a training
    2  data  objective  metrics        rows . the list of terms . what is measured
    1  streams  team  store  parallel  plots  nn.blas  nn.ops  nn.losses  nn.optim  nn.mlp
    0  errors  environment  config  nn.vector

Read nn.vector, nn.ops, nn.losses, nn.optim and nn.mlp for the mathematics, then data, loop, train, teacher, student
and pipeline for the story. Importing `distill` loads no NumPy; the public names below are fetched when first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distill.config import load as load_config
    from distill.errors import ConfigError, DataError, DistillError, DivergedError, OutputError
    from distill.model import Model, load_model
    from distill.pipeline import run
    from distill.results import Results

__version__ = "0.1.0"

# Public name -> its room, and its name there.
_PUBLIC = {
    "run": ("pipeline", "run"),
    "load_config": ("config", "load"),
    "load_model": ("model", "load_model"),
    "Model": ("model", "Model"),
    "Results": ("results", "Results"),
    "DistillError": ("errors", "DistillError"),
    "ConfigError": ("errors", "ConfigError"),
    "DataError": ("errors", "DataError"),
    "DivergedError": ("errors", "DivergedError"),
    "OutputError": ("errors", "OutputError"),
}

__all__ = [
    "ConfigError",
    "DataError",
    "DistillError",
    "DivergedError",
    "Model",
    "OutputError",
    "Results",
    "load_config",
    "load_model",
    "run",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'distill' has no attribute {name!r}; it has {', '.join(__all__)}")
    room, inside = _PUBLIC[name]
    return getattr(import_module(f"distill.{room}"), inside)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
