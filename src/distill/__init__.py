"""distill: knowledge distillation you can trust, in NumPy.

The house, floor by floor; a room imports only from floors below its own (tests/test_floors.py holds it to that):

    9  cli                             the command line; the only room that prints and exits
    8  pipeline                        the story of a run
    7  record  report  page            what stays on disk . what is printed . the page about a run
    6  results                         what was found
    5  teacher  student                obtain teachers and listen to them . learn from them
       bench                           how fast a step is on this machine
    4  train  evidence                 epochs and judging . the control, statistics, the verdict
    3  model  loop  places             a finished network, one file . the steps of a training . a plan's files
       worth                           whether a teacher's answers are more than chance, and in order
    2  data  metrics                   rows . what is measured
       answers  predictions  given     what a teacher said . what another program predicted . objects from Python
       objective  live                 the list of terms: those that fold . those that do not
       faces                           the same mathematics for callers from Python
    1  streams  team  interrupts       one random stream per purpose . threads of a step . signals
       arrays  store                   arrays in files . files that are whole or absent
       parallel  plots                 workers . pictures
       nn.blas  nn.ops  nn.losses  nn.features  nn.optim  nn.mlp
    0  errors  environment  foreign  config  nn.vector

Read nn.vector, nn.ops, nn.losses, nn.features, nn.optim and nn.mlp for the mathematics, then data, loop, train,
teacher, student and pipeline for the story. Importing `distill` loads no NumPy; the public names below are fetched when
first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from distill.version import __version__ as __version__

if TYPE_CHECKING:
    from distill.config.load import load as load_config
    from distill.errors import ConfigError, DataError, DistillError, DivergedError, OutputError
    from distill.losses import DistillationLoss, EnsembleDistiller, ProgressiveDistiller, kl_divergence, softmax
    from distill.model import Model, load_adapters, load_model
    from distill.pipeline import load_data, run
    from distill.report.results import Results
    from distill.teacher.python_teacher import TeacherModel


# Public name -> its room, and its name there.
_PUBLIC = {
    "run": ("pipeline", "run"),
    "load_config": ("config.load", "load"),
    "load_data": ("pipeline", "load_data"),
    "load_model": ("model", "load_model"),
    "load_adapters": ("model", "load_adapters"),
    "Model": ("model", "Model"),
    "TeacherModel": ("teacher.python_teacher", "TeacherModel"),
    "DistillationLoss": ("losses", "DistillationLoss"),
    "EnsembleDistiller": ("losses", "EnsembleDistiller"),
    "ProgressiveDistiller": ("losses", "ProgressiveDistiller"),
    "softmax": ("losses", "softmax"),
    "kl_divergence": ("losses", "kl_divergence"),
    "Results": ("report.results", "Results"),
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
    "DistillationLoss",
    "DivergedError",
    "EnsembleDistiller",
    "Model",
    "OutputError",
    "ProgressiveDistiller",
    "Results",
    "TeacherModel",
    "kl_divergence",
    "load_adapters",
    "load_config",
    "load_data",
    "load_model",
    "run",
    "softmax",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'distill' has no attribute {name!r}; it has {', '.join(__all__)}")
    room, inside = _PUBLIC[name]
    return getattr(import_module(f"distill.{room}"), inside)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
