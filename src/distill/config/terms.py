"""The facts of each loss and the options of a term. The mathematics is in `nn.losses` and `nn.features`."""

from dataclasses import dataclass
from typing import Any, Literal

from distill.config.rules import AUTO, BOOLEAN, NULL, PATH, TEXT, Rule, either, layer_map, number, one_of, shares, whole
from distill.config.schema import INHERITED, TEMPERATURE


@dataclass(frozen=True)
class LossTraits:
    """What the program has to know about a loss besides its formula."""

    options: tuple[str, ...]  # the keys of its terms, beside those of every term
    on: Literal["logits", "hidden layers"] = "logits"  # what it compares
    precomputable: bool = False  # a cross-entropy against targets that training does not change
    same_units: bool = False  # compares unit by unit, so that layers of unequal width need an adapter
    trains_adapter: bool = False  # the adapter learns from it

    @property
    def needs_teacher(self) -> bool:
        """Whether it compares the student with a teacher, not with the labels alone."""
        return "teacher" in self.options

    @property
    def parameters(self) -> tuple[str, ...]:
        """The options that its function takes; the others say what the function is given."""
        return tuple(name for name in self.options if name not in ("teacher", "combine", "layers"))


_SOFT = ("teacher", "combine", "temperature", "t_squared")
_HIDDEN = ("teacher", "layers")
LOSS_TRAITS: dict[str, LossTraits] = {
    "cross_entropy": LossTraits(("smoothing",), precomputable=True),
    "response": LossTraits(_SOFT, precomputable=True),
    "soft_cross_entropy": LossTraits(_SOFT, precomputable=True),
    "reverse_kl": LossTraits(_SOFT),
    "jensen_shannon": LossTraits((*_SOFT, "beta")),
    "logit_mse": LossTraits(("teacher", "combine")),
    "decoupled": LossTraits(("teacher", "combine", "temperature", "target", "others")),
    "dist": LossTraits(("teacher", "combine", "temperature", "inter", "intra")),
    "hint": LossTraits(_HIDDEN, "hidden layers", same_units=True, trains_adapter=True),
    "cosine": LossTraits(_HIDDEN, "hidden layers", same_units=True, trains_adapter=True),
    "attention": LossTraits(_HIDDEN, "hidden layers", same_units=True, trains_adapter=True),
    "similarity": LossTraits(_HIDDEN, "hidden layers"),
    "probabilistic": LossTraits(_HIDDEN, "hidden layers"),
    "relation_distance": LossTraits(_HIDDEN, "hidden layers"),
    "relation_angle": LossTraits(_HIDDEN, "hidden layers"),
    "contrast": LossTraits((*_HIDDEN, "tau"), "hidden layers", same_units=True, trains_adapter=True),
    # An adapter that learned to differ from the teacher would do so in the student's place.
    "novelty": LossTraits((*_HIDDEN, "margin"), "hidden layers", same_units=True),
}

WEIGHT = number(0, 1e6)
# The rule of each option, and its default.
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
    "layers": (either(AUTO, layer_map(whole(0, 64)), PATH), "auto"),
    "tau": (number(0, 1000, above=True), 0.1),
    "margin": (number(-1, 1, below=True), 0.5),
}
WEIGHT_KEYS: dict[str, Rule] = {
    "weight": WEIGHT,
    "final_weight": either(NULL, WEIGHT),
    "weight_schedule": one_of("constant", "linear", "cosine"),
}
TERM_KEYS: dict[str, Rule] = (
    {"loss": one_of(*LOSS_TRAITS)} | WEIGHT_KEYS | {name: rule for name, (rule, _) in OPTIONS.items()}
)


def usual_options() -> dict[str, Any]:
    """Return the defaults of the options, without those that depend on the rest of the plan."""
    return {name: value for name, (_, value) in OPTIONS.items() if value != INHERITED} | {"t_squared": True}
