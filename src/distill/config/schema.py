"""The plan of a run as frozen dataclasses: every key, its default and its rule. The losses of a term are in `terms`.

A plan has two spellings: the section `distillation` is a whole plan by itself; `teachers` and `student` refine it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any, ClassVar

from distill.config.families import FAMILIES, USUAL
from distill.config.rules import (
    AUTO,
    BOOLEAN,
    COLUMN,
    LABEL,
    NULL,
    PATH,
    TEXT,
    Rule,
    columns,
    either,
    layers,
    list_of,
    number,
    one_of,
    whole,
)

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
INHERITED = "from distillation"  # the documented default of a key that the short spelling supplies


def key(default: Any, rule: Rule) -> Any:
    """Return a dataclass field that carries the rule of its YAML value."""
    return field(default=default, metadata={"rule": rule})


FAMILY = Rule(f"one of {', '.join(FAMILIES)}", lambda v: type(v) is str and v in FAMILIES)
HIDDEN = layers()
EPOCHS = whole(0, 1_000_000)
LEARNING_RATE = number(0, 1000, above=True)
BATCH_SIZE = whole(1, 1_000_000)
OPTIMIZER = one_of("adam", "sgd")
MOMENTUM = either(NULL, number(0, 1, below=True))
SCHEDULE = one_of("constant", "cosine", "step")
WARMUP = number(0, 1, below=True)
WEIGHT_DECAY = number(0, 1000)
CLIP = either(NULL, number(0, 1e9, above=True))
TEMPERATURE = number(0, 10_000, above=True)
PATIENCE = either(NULL, whole(1, 1_000_000))
LAYER = whole(1, 65)


@dataclass(frozen=True)
class Logging:
    """Which messages of the program are shown, and its log file."""

    level: str = key("INFO", one_of(*LEVELS))
    file: str | None = key("logs/app.log", either(NULL, PATH))


@dataclass(frozen=True)
class Distillation:
    """The short spelling: one teacher, one student, one loss."""

    teacher_hidden: tuple[int, ...] = key((128,), HIDDEN)
    student_hidden: tuple[int, ...] = key((32,), HIDDEN)
    teacher_epochs: int = key(10, EPOCHS)
    student_epochs: int = key(10, EPOCHS)
    temperature: float = key(4.0, TEMPERATURE)
    alpha: float = key(0.7, number(0, 1))
    t_squared: bool = key(True, BOOLEAN)
    learning_rate: float = key(0.01, LEARNING_RATE)
    batch_size: int = key(32, BATCH_SIZE)
    train_ratio: float = key(0.8, number(0, 1, above=True, below=True))
    max_samples: int | None = key(None, either(NULL, whole(2, 10**9)))
    random_seed: int = key(0, whole(0, 2**32 - 1))
    optimizer: str = key("adam", OPTIMIZER)
    momentum: float | None = key(None, MOMENTUM)
    schedule: str = key("constant", SCHEDULE)
    warmup: float = key(0.0, WARMUP)
    weight_decay: float = key(0.0, WEIGHT_DECAY)
    clip: float | None = key(None, CLIP)
    patience: int | None = key(None, PATIENCE)
    weak_teacher: str = key("refuse", one_of("refuse", "warn"))


@dataclass(frozen=True)
class DataPlan:
    """Which rows are used, and how they are read."""

    source: str = key("digits", PATH)
    label: int | str | None = key(None, either(NULL, COLUMN))
    header: bool | str = key("auto", either(AUTO, BOOLEAN))
    drop: tuple[int | str, ...] | None = key(None, either(NULL, columns()))
    unlabelled_label: int | float | str | None = key("auto", either(AUTO, NULL, LABEL))
    test: str | None = key(None, either(NULL, PATH))
    test_ratio: float = key(0.0, number(0, 1, below=True))
    scale: str = key("auto", one_of("auto", "none", "standard", "minmax"))
    in_memory_mb: int = key(512, whole(0, 10**6))


@dataclass(frozen=True)
class Training:
    """How one network is built and trained."""

    hidden: tuple[int, ...] = key(INHERITED, HIDDEN)
    epochs: int = key(INHERITED, EPOCHS)
    learning_rate: float = key(INHERITED, LEARNING_RATE)
    batch_size: int = key(INHERITED, BATCH_SIZE)
    optimizer: str = key(INHERITED, OPTIMIZER)
    momentum: float | None = key(INHERITED, MOMENTUM)
    schedule: str = key(INHERITED, SCHEDULE)
    warmup: float = key(INHERITED, WARMUP)
    weight_decay: float = key(INHERITED, WEIGHT_DECAY)
    clip: float | None = key(INHERITED, CLIP)
    patience: int | None = key(INHERITED, PATIENCE)
    network: str = key(USUAL, FAMILY)


@dataclass(frozen=True)
class Term:
    """One term of an objective: `weight * loss(student, teachers or labels)`.

    `teachers` holds pairs (name, share) in the order of the names, the shares summing to 1; it is empty for a term on
    labels. With a `final_weight` the weight moves there over the epochs of its stage, along `weight_schedule`.
    """

    loss: str
    weight: float
    teachers: tuple[tuple[str, float], ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    final_weight: float | None = None
    weight_schedule: str = "linear"

    @property
    def matters(self) -> bool:
        """Whether its weight is ever above 0; other terms are not computed."""
        return self.most > 0

    @property
    def moves(self) -> bool:
        """Whether its weight changes over the epochs."""
        return self.final_weight not in (None, self.weight) and self.weight_schedule != "constant"

    @property
    def most(self) -> float:
        """Its largest weight over the epochs."""
        return max(self.weight, self.final_weight or 0.0) if self.moves else self.weight

    @property
    def layered(self) -> bool:
        """Whether it compares hidden layers."""
        return "layers" in self.options


LABELS_ONLY = (Term("cross_entropy", 1.0, options={"smoothing": 0.0}),)


@dataclass(frozen=True)
class Stage:
    """Some epochs of a training: the terms, the learning rate, and the layers that learn (from 1; None is all)."""

    epochs: int = key(MISSING, EPOCHS)
    learning_rate: float = key(MISSING, LEARNING_RATE)
    terms: tuple[Term, ...] = ()
    train: tuple[int, ...] | None = key(None, either(Rule("all", lambda v: v == "all"), LAYER, list_of(LAYER, 65)))


@dataclass(frozen=True)
class TeacherPlan(Training):
    """A teacher: a network that is trained in the run, perhaps by other teachers, or one from elsewhere."""

    load: str | None = key(None, either(NULL, PATH))
    predictions: str | None = key(None, either(NULL, PATH))
    kind: str = key("auto", one_of("auto", "logits", "probabilities"))
    python: str | None = key(None, either(NULL, TEXT))
    generations: int = key(1, whole(1, 100))
    terms: tuple[Term, ...] = ()

    @property
    def origin(self) -> str:
        """Where it comes from: `trained`, or the key that names its source."""
        return next((name for name in ORIGINS if getattr(self, name) is not None), "trained")


ORIGINS = ("load", "predictions", "python")


@dataclass(frozen=True)
class StudentPlan(Training):
    """The student: its objective, perhaps in stages, and the labels and rows that it sees."""

    labels: int | None = key(None, either(NULL, whole(1, 10**9)))
    unlabelled: str = key("use", one_of("use", "drop"))
    label_noise: float = key(0.0, number(0, 1, below=True))
    noise: float = key(0.0, number(0, 1000))
    peers: int = key(0, whole(0, 100))
    stages: tuple[Stage, ...] = ()  # at least one

    @property
    def terms(self) -> tuple[Term, ...]:
        """The objective, which is that of the last stage."""
        return self.stages[-1].terms

    @property
    def every_term(self) -> tuple[Term, ...]:
        """The terms of all stages whose weight is ever above 0."""
        return tuple(term for stage in self.stages for term in stage.terms if term.matters)


@dataclass(frozen=True)
class Evidence:
    """How often the experiment is repeated."""

    seeds: int = key(1, whole(1, 10_000))
    share_teacher: bool = key(False, BOOLEAN)
    workers: int | None = key(None, either(NULL, whole(1, 1024)))


@dataclass(frozen=True)
class Performance:
    """How the machine is used; nothing here changes a result."""

    threads: int | str = key("auto", either(AUTO, whole(1, 1024)))
    cache: str | None = key(None, either(NULL, PATH))


@dataclass(frozen=True)
class Output:
    """Where the run folder goes."""

    folder: str | None = key(None, either(NULL, PATH))


@dataclass(frozen=True)
class Config:
    """The whole plan of one run, every value filled in."""

    logging: Logging
    distillation: Distillation
    data: DataPlan
    teachers: Mapping[str, TeacherPlan]
    student: StudentPlan
    evidence: Evidence
    performance: Performance
    output: Output
    file: ClassVar[str | None] = None  # that it was read from; like the next, no part of the plan
    layer_files: ClassVar[tuple[str, ...]] = ()  # the files of layer maps that it names

    def read_from(self, file: str | None, layer_files: Sequence[str]) -> "Config":
        """Return a copy of the plan with the file that it was read from, and the files of its layer maps."""
        copy = replace(self)
        object.__setattr__(copy, "file", file)
        object.__setattr__(copy, "layer_files", tuple(layer_files))
        return copy


TOP_LEVEL = tuple(section.name for section in fields(Config))
SECTIONS: dict[str, Any] = {
    section.name: section.type for section in fields(Config) if section.name not in ("teachers", "student")
}
PEERS = "peers"  # the name, in a term, of the networks that are trained beside the student


def stages_of(plan: Training, terms: tuple[Term, ...]) -> tuple[Stage, ...]:
    """Return the only stage of a training that has these terms throughout."""
    return (Stage(plan.epochs, plan.learning_rate, terms),)


def in_stage(plan: Training, stage: Stage) -> Training:
    """Return the plan with the epochs and the learning rate of one stage."""
    return replace(plan, epochs=stage.epochs, learning_rate=stage.learning_rate)


def layer_pairs(layers: Any, teacher: int, student: int) -> list[tuple[int, int]]:
    """Return pairs (teacher's layer, student's layer) for networks with so many hidden layers; layer 0 is the input.

    `auto` pairs the student's layer s with round(s * teacher / student). Raise ValueError for a layer beyond the last.
    """
    if layers == "auto":
        return [(round(s * teacher / student), s) for s in range(1, student + 1)]
    for role, depth, index in (("teacher", teacher, 0), ("student", student, 1)):
        for pair in layers:
            if pair[index] > depth:
                what = f"there is no layer {pair[index]} of the {role}, whose layers are 0 (the input) to {depth}"
                raise ValueError(f"{what}; the map reads {{teacher's layer: student's layer}}")
    return list(layers)


def teacher_weights(terms: Sequence[Term]) -> dict[str, float]:
    """Return the share that each teacher has in the weight of these terms; the shares sum to 1."""
    weights: dict[str, float] = {}
    for term in terms:
        for name, share in term.teachers if term.matters else ():
            weights[name] = weights.get(name, 0.0) + share * term.most
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


def rules_of(section: type) -> dict[str, Rule]:
    """Return the rule of each key of a section, in the order of the documentation."""
    return {item.name: item.metadata["rule"] for item in fields(section) if "rule" in item.metadata}
