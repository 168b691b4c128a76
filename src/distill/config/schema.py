"""The plan of a run as frozen dataclasses: every key, its default and the rule its value must meet.

Two spellings of one plan: the short `distillation:` section always works as it stands; `teachers:` and `student:`
refine it, and what they leave out the short one supplies.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar

from distill.config.rules import (
    BOOLEAN,
    NULL,
    PATH,
    TEXT,
    Rule,
    columns,
    either,
    is_number,
    is_whole,
    layer_map,
    layers,
    list_of,
    number,
    one_of,
    shares,
    whole,
)

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
INHERITED = "from distillation"  # the documented default of a key that the short spelling supplies


def key(default: Any, rule: Rule) -> Any:
    """A dataclass field that carries the rule its YAML value must meet."""
    return field(default=default, metadata={"rule": rule})


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
WEIGHT = number(0, 1e6)
PATIENCE = either(NULL, whole(1, 1_000_000))


@dataclass(frozen=True)
class Logging:
    """Where the program's own messages go."""

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
    """Which rows, and how they are read."""

    source: str = key("digits", PATH)
    label: int | str | None = key(
        None, either(NULL, Rule("a column's name", TEXT.accepts), Rule("a column's index", is_whole))
    )
    header: bool | str = key("auto", either(Rule("auto", lambda v: v == "auto"), BOOLEAN))
    drop: tuple[int | str, ...] | None = key(None, either(NULL, columns()))
    unlabelled_label: int | float | str | None = key(
        "auto",
        either(Rule("auto", lambda v: v == "auto"), NULL, Rule("a label", lambda v: is_number(v) or TEXT.accepts(v))),
    )
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


@dataclass(frozen=True)
class Term:
    """One term of an objective: `weight * loss(student, what the teachers said or the labels)`.

    `teachers` holds (name, share) of those that it listens to, by name, the shares summing to 1; it is empty for a term
    on labels. With a `final_weight` the weight moves there over the epochs of its stage, along `weight_schedule`.
    """

    loss: str
    weight: float
    teachers: tuple[tuple[str, float], ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    final_weight: float | None = None
    weight_schedule: str = "linear"

    @property
    def matters(self) -> bool:
        """Whether its weight is ever above 0; a term that does not matter cannot move a single bit."""
        return self.most > 0

    @property
    def moves(self) -> bool:
        """Whether its weight changes over the epochs."""
        return self.final_weight not in (None, self.weight) and self.weight_schedule != "constant"

    @property
    def most(self) -> float:
        """The largest weight that it ever has."""
        return max(self.weight, self.final_weight or 0.0) if self.moves else self.weight

    @property
    def layered(self) -> bool:
        """Whether it compares hidden layers."""
        return "layers" in self.options


LABELS_ONLY = (Term("cross_entropy", 1.0, options={"smoothing": 0.0}),)


@dataclass(frozen=True)
class Stage:
    """Some epochs of a training: the terms, the rate, and which layers learn (from 1; None for all)."""

    epochs: int
    learning_rate: float
    terms: tuple[Term, ...]
    train: tuple[int, ...] | None = None


@dataclass(frozen=True)
class TeacherPlan(Training):
    """A teacher: a network that is trained here, perhaps by teachers of its own, or one that comes from elsewhere."""

    load: str | None = key(None, either(NULL, PATH))
    predictions: str | None = key(None, either(NULL, PATH))
    kind: str = key("auto", one_of("auto", "logits", "probabilities"))
    python: str | None = key(None, either(NULL, TEXT))
    generations: int = key(1, whole(1, 100))
    terms: tuple[Term, ...] = ()

    @property
    def origin(self) -> str:
        """Where it comes from: `trained`, or the key that says so."""
        return next((name for name in ORIGINS if getattr(self, name) is not None), "trained")


ORIGINS = ("load", "predictions", "python")


@dataclass(frozen=True)
class StudentPlan(Training):
    """The student: trained on a list of terms, perhaps in stages, with fewer or worse labels than its teacher."""

    labels: int | None = key(None, either(NULL, whole(1, 10**9)))
    unlabelled: str = key("use", one_of("use", "drop"))
    label_noise: float = key(0.0, number(0, 1, below=True))
    noise: float = key(0.0, number(0, 1000))
    peers: int = key(0, whole(0, 100))
    stages: tuple[Stage, ...] = ()  # at least one; a plain student has a single one

    @property
    def terms(self) -> tuple[Term, ...]:
        """The objective: that of the last stage, which the others lead up to."""
        return self.stages[-1].terms

    @property
    def every_term(self) -> tuple[Term, ...]:
        """The terms of all stages that matter."""
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

    threads: int | str = key("auto", either(Rule("auto", lambda v: v == "auto"), whole(1, 1024)))
    cache: str | None = key(None, either(NULL, PATH))


@dataclass(frozen=True)
class Output:
    """Where the run folder goes."""

    folder: str | None = key(None, either(NULL, PATH))


@dataclass(frozen=True)
class Config:
    """The whole plan of one run, nothing left open."""

    logging: Logging
    distillation: Distillation
    data: DataPlan
    teachers: Mapping[str, TeacherPlan]
    student: StudentPlan
    evidence: Evidence
    performance: Performance
    output: Output
    # No part of the plan: the file that it was read from, and those with layer maps that were read for it.
    file: ClassVar[str | None] = None
    layer_files: ClassVar[tuple[str, ...]] = ()

    def read_from(self, file: str | None, layer_files: Sequence[str]) -> "Config":
        """The same plan, which knows its files."""
        same = replace(self)
        object.__setattr__(same, "file", file)
        object.__setattr__(same, "layer_files", tuple(layer_files))
        return same


SECTIONS: dict[str, type] = {
    "logging": Logging,
    "distillation": Distillation,
    "data": DataPlan,
    "evidence": Evidence,
    "performance": Performance,
    "output": Output,
}
TOP_LEVEL = ("logging", "distillation", "data", "teachers", "student", "evidence", "performance", "output")

# A term's options: the rule of each, and its default where the short spelling has none.
LAYER = whole(0, 64)
OPTIONS: dict[str, tuple[Rule, Any]] = {
    "teacher": (shares(TEXT), INHERITED),
    "combine": (one_of("probabilities", "logits"), "probabilities"),
    "temperature": (TEMPERATURE, INHERITED),
    "t_squared": (BOOLEAN, INHERITED),
    "smoothing": (number(0, 1), 0.0),
    "beta": (number(0, 1), 0.5),
    "target": (WEIGHT, 1.0),
    "others": (WEIGHT, 8.0),
    "inter": (WEIGHT, 1.0),
    "intra": (WEIGHT, 1.0),
    "layers": (either(Rule("auto", lambda v: v == "auto"), layer_map(LAYER), PATH), "auto"),
    "tau": (number(0, 1000, above=True), 0.1),
    "margin": (number(-1, 1, below=True), 0.5),
}
_SOFT = ("teacher", "combine", "temperature", "t_squared")
TERM_OPTIONS: dict[str, tuple[str, ...]] = {
    "cross_entropy": ("smoothing",),
    "response": _SOFT,
    "soft_cross_entropy": _SOFT,
    "reverse_kl": _SOFT,
    "jensen_shannon": (*_SOFT, "beta"),
    "logit_mse": ("teacher", "combine"),
    "decoupled": ("teacher", "combine", "temperature", "target", "others"),
    "dist": ("teacher", "combine", "temperature", "inter", "intra"),
    "hint": ("teacher", "layers"),
    "cosine": ("teacher", "layers"),
    "attention": ("teacher", "layers"),
    "similarity": ("teacher", "layers"),
    "probabilistic": ("teacher", "layers"),
    "relation_distance": ("teacher", "layers"),
    "relation_angle": ("teacher", "layers"),
    "contrast": ("teacher", "layers", "tau"),
    "novelty": ("teacher", "layers", "margin"),
}
TERM_KEYS: dict[str, Rule] = {
    "loss": one_of(*TERM_OPTIONS),
    "weight": WEIGHT,
    "final_weight": either(NULL, WEIGHT),
    "weight_schedule": one_of("constant", "linear", "cosine"),
} | {name: rule for name, (rule, _) in OPTIONS.items()}
TRAINED = whole(1, 65)
STAGE_KEYS: dict[str, Rule] = {
    "epochs": EPOCHS,
    "learning_rate": LEARNING_RATE,
    "train": either(Rule("all", lambda v: v == "all"), TRAINED, list_of(TRAINED, 65)),
}
PEERS = "peers"  # what a term calls the networks that are trained beside the student
RESERVED = ("student", "control", PEERS)


def stages_of(plan: Training, terms: tuple[Term, ...]) -> tuple[Stage, ...]:
    """A training in a single stage."""
    return (Stage(plan.epochs, plan.learning_rate, terms),)


def in_stage(plan: Training, stage: Stage) -> Training:
    """The plan as it is during one stage."""
    return replace(plan, epochs=stage.epochs, learning_rate=stage.learning_rate)


def layer_pairs(layers: Any, teacher: int, student: int) -> list[tuple[int, int]]:
    """Pairs (teacher's layer, student's layer) of networks with so many hidden layers; 0 is the input.

    `auto`: layer s of the student looks at round(s * teacher / student). Raises ValueError for one that is not there.
    """
    if layers == "auto":
        return [(round(s * teacher / student), s) for s in range(1, student + 1)]
    for who, most, index in (("teacher", teacher, 0), ("student", student, 1)):
        for pair in layers:
            if pair[index] > most:
                what = f"there is no layer {pair[index]} of the {who}, whose layers are 0 (the input) to {most}"
                raise ValueError(f"{what}; the map reads {{teacher's layer: student's layer}}")
    return list(layers)


def usual_options() -> dict[str, Any]:
    """What a term's options are where nothing is said, except those of the short spelling that vary with it."""
    return {name: value for name, (_, value) in OPTIONS.items() if value != INHERITED} | {"t_squared": True}


def teacher_weights(terms: Sequence[Term]) -> dict[str, float]:
    """Every teacher that these terms listen to, with its share of their weight."""
    weights: dict[str, float] = {}
    for term in terms:
        for name, share in term.teachers if term.matters else ():
            weights[name] = weights.get(name, 0.0) + share * term.most
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


def rules_of(section: type) -> dict[str, Rule]:
    """Key -> rule of one section, in the order of the documentation."""
    return {one.name: one.metadata["rule"] for one in fields(section) if "rule" in one.metadata}
