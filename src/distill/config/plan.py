"""The plan of a run as frozen dataclasses: every key, its default and the rule its value must meet.

Two spellings of one plan: the short `distillation:` section always works as it stands; `teachers:` and `student:`
refine it, and what they leave out the short one supplies.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from distill.config.rules import BOOLEAN, NULL, TEXT, Rule, either, is_whole, layers, number, one_of, whole

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
    file: str | None = key("logs/app.log", either(NULL, TEXT))


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


@dataclass(frozen=True)
class DataPlan:
    """Which rows, and how they are read."""

    source: str = key("digits", TEXT)
    label: int | str | None = key(
        None, either(NULL, Rule("a column's name", TEXT.accepts), Rule("a column's index", is_whole))
    )
    header: bool | str = key("auto", either(Rule("auto", lambda v: v == "auto"), BOOLEAN))
    test: str | None = key(None, either(NULL, TEXT))
    test_ratio: float = key(0.0, number(0, 1, below=True))
    scale: str = key("auto", one_of("auto", "none", "standard", "minmax"))
    in_memory_mb: int = key(512, whole(0, 10**6))


@dataclass(frozen=True)
class Training:
    """How one network is built and trained; of a teacher this is all there is to say."""

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
    """One term of an objective: `weight * loss(student logits, what the teacher said or the labels)`."""

    loss: str
    weight: float
    teacher: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Student(Training):
    """The student: trained on a list of terms, perhaps with fewer or worse labels than its teacher."""

    labels: int | None = key(None, either(NULL, whole(1, 10**9)))
    unlabelled: str = key("use", one_of("use", "drop"))
    label_noise: float = key(0.0, number(0, 1, below=True))
    terms: tuple[Term, ...] = ()


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


@dataclass(frozen=True)
class Output:
    """Where the run folder goes."""

    folder: str | None = key(None, either(NULL, TEXT))


@dataclass(frozen=True)
class Config:
    """The whole plan of one run, nothing left open."""

    logging: Logging
    distillation: Distillation
    data: DataPlan
    teachers: Mapping[str, Training]
    student: Student
    evidence: Evidence
    performance: Performance
    output: Output


SECTIONS: dict[str, type] = {
    "logging": Logging,
    "distillation": Distillation,
    "data": DataPlan,
    "evidence": Evidence,
    "performance": Performance,
    "output": Output,
}
TOP_LEVEL = ("logging", "distillation", "data", "teachers", "student", "evidence", "performance", "output")

# A term's own options, by loss; `teacher` belongs to every loss that listens to one.
TERM_OPTIONS: dict[str, dict[str, Rule]] = {
    "cross_entropy": {},
    "response": {"teacher": TEXT, "temperature": TEMPERATURE, "t_squared": BOOLEAN},
}
TERM_KEYS: dict[str, Rule] = {"loss": one_of(*TERM_OPTIONS), "weight": WEIGHT} | TERM_OPTIONS["response"]


def rules_of(section: type) -> dict[str, Rule]:
    """Key -> rule of one section, in the order of the documentation."""
    return {one.name: one.metadata["rule"] for one in fields(section) if "rule" in one.metadata}
