"""All that changes while networks train, and so all that it takes to go on from there."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from distill.model import Model
from distill.nn.vector import Array, Vector


@dataclass
class Progress:
    """What became of one network so far: a record for each epoch, its last model, and its best one with its adapters.

    `best_epoch` counts from 1; 0 before the first. `over` is set once early stopping ends it.
    """

    history: list[dict[str, Any]] = field(default_factory=list)
    last: Model | None = None
    best: tuple[Model, Vector] | None = None
    best_epoch: int = 0
    seconds: float = 0.0
    over: bool = False


@dataclass
class State:
    """A training after some steps.

    `weights` is a stack of R networks, `adapters` are those of each. `moments` are the optimisers', of the weights and
    of the adapters, by name; empty where a stage begins. `epoch` and `step` count within the stage; `batches` and
    `noise` are the random streams of the batches' order and of the noise on features.
    """

    weights: Vector
    adapters: list[Vector]
    batches: np.random.Generator
    noise: np.random.Generator
    networks: list[Progress] = field(default_factory=list)
    moments: dict[str, dict[str, Array]] = field(default_factory=dict)
    stage: int = 0
    epoch: int = 0
    step: int = 0

    def next_stage(self) -> None:
        """Begin another stage, with fresh optimisers."""
        self.stage, self.epoch, self.step, self.moments = self.stage + 1, 0, 0, {}
