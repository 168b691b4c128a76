"""distill: knowledge distillation you can trust, in NumPy.

Read `nn` for the mathematics, then `data`, `train`, `teacher`, `student` and `pipeline` for the story, and
docs/DESIGN.md for the floors. Importing `distill` loads no NumPy; the public names below are fetched when first used.
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
