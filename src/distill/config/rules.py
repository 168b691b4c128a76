"""What a configuration value may be: small rules that read a value, or say what is wrong and what is allowed."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from distill.config.yaml_nodes import NUMBER, scalar
from distill.system.environment import expand_home


@dataclass(frozen=True)
class Rule:
    """`says` completes the sentence "must be ..."; `accepts` tells whether a plain value is one of those."""

    says: str
    accepts: Callable[[Any], bool]
    convert: Callable[[Any], Any] = lambda value: value

    def read(self, value: object) -> Any:
        """The value as the program uses it; raises ValueError with the fault in words."""
        if not self.accepts(value):
            raise ValueError(f"{describe(value)}; must be {self.says}{hint(value, self.says)}")
        return self.convert(value)


def is_whole(value: object) -> bool:
    return type(value) is int


def is_number(value: object) -> bool:
    return type(value) is int or (type(value) is float and math.isfinite(value))


def whole(low: int, high: int) -> Rule:
    return Rule(f"a whole number from {low} to {high}", lambda v: is_whole(v) and low <= v <= high)


def number(low: float, high: float, *, above: bool = False, below: bool = False) -> Rule:
    """A finite number in [low, high]; `above` and `below` leave out the ends."""

    def accepts(value: Any) -> bool:
        if not is_number(value):
            return False
        return bool((low < value if above else low <= value) and (value < high if below else value <= high))

    end = f"below {high:g}" if below else f"at most {high:g}" if above else f"to {high:g}"
    says = f"a number {'above' if above else 'from'} {low:g}{' and' if above or below else ''} {end}"
    return Rule(says, accepts, float)


def one_of(*choices: str) -> Rule:
    return Rule(f"one of {', '.join(choices)}", lambda v: type(v) is str and v in choices)


BOOLEAN = Rule("true or false", lambda v: type(v) is bool)
TEXT = Rule("a text", lambda v: type(v) is str and bool(v.strip()) and v.isprintable())
PATH = Rule(TEXT.says, TEXT.accepts, expand_home)


def either(*rules: Rule) -> Rule:
    """Any of the rules; the first that accepts a value reads it."""

    def convert(value: object) -> Any:
        return next(rule for rule in rules if rule.accepts(value)).read(value)

    says = ", or ".join(rule.says for rule in rules)
    return Rule(says, lambda v: any(rule.accepts(v) for rule in rules), convert)


NULL = Rule("null", lambda v: v is None)


def list_of(rule: Rule, longest: int) -> Rule:
    return Rule(
        f"a list of 1 to {longest} of them",
        lambda v: type(v) is list and 1 <= len(v) <= longest and all(map(rule.accepts, v)),
        lambda v: tuple(map(rule.read, v)),
    )


def columns() -> Rule:
    """A list of columns, each by name or by index; always read as a tuple."""
    return Rule(
        "a list of columns' names or indexes",
        lambda v: type(v) is list and len(v) <= 100_000 and all(is_whole(one) or TEXT.accepts(one) for one in v),
        tuple,
    )


def shares(name: Rule) -> Rule:
    """One name, a list of names, or a map from names to weights; always read as (name, share) by name, summing to 1."""

    def convert(value: Any) -> tuple[tuple[str, float], ...]:
        weights: dict[str, float] = {}
        for one, weight in value.items() if isinstance(value, dict) else [(one, 1) for one in _listed(value)]:
            weights[one] = weights.get(one, 0) + weight
        total = math.fsum(weights.values())
        total = 1 if abs(total - 1) < 1e-12 else total  # so that what was normalised stays as it is
        return tuple(sorted((one, weight / total) for one, weight in weights.items() if weight / total))

    def accepts(value: Any) -> bool:
        if isinstance(value, dict):
            weights = list(value.values())
            return all(is_number(one) and 0 <= one <= 1e6 for one in weights) and any(weights)
        return 1 <= len(_listed(value)) <= 1000 and all(map(name.accepts, _listed(value)))

    return Rule("a name, or a list of names, or a map of names to weights, not all 0", accepts, convert)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def layer_map(layer: Rule) -> Rule:
    """A map from layers to layers, read as pairs."""

    def accepts(value: Any) -> bool:
        return (
            isinstance(value, dict)
            and bool(value)
            and all(
                is_whole(index) and layer.accepts(index)
                for pair in value.items()
                for index in (scalar(pair[0]), pair[1])
            )
        )

    says = "a map of the teacher's layers to the student's"
    return Rule(says, accepts, lambda value: tuple((int(t), s) for t, s in value.items()))


def layers() -> Rule:
    """One hidden width, or a list of them; always read as a tuple."""
    width = whole(1, 65_536)
    single = Rule(width.says, width.accepts, lambda v: (v,))
    return either(single, list_of(width, 64))


def describe(value: object) -> str:
    """A value as a reader of the configuration would name it."""
    if value is None:
        return "nothing is given (null)"
    if isinstance(value, bool):
        return f"{str(value).lower()} is a truth value"
    if isinstance(value, str):
        return f"{shorten(value)!r} is a text" if value else "the text is empty"
    if isinstance(value, (dict, list)):
        inside = f": {shorten(str(value))}" if isinstance(value, list) and value else ""
        return f"a {'mapping' if isinstance(value, dict) else 'list'} is given{inside}"
    return f"{shorten(str(value))} is not allowed"


def shorten(text: str, most: int = 60) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."


def hint(value: object, says: str) -> str:
    """What the writer probably meant, where that is plain to see."""
    if isinstance(value, str) and "number" in says:
        bare = value.strip().replace("_", "").lstrip("+")
        stripped = bare.lstrip("0") or "0"
        if NUMBER.fullmatch(stripped if bare[:1] == "0" and bare[1:2].isdigit() else bare):
            return f" (write {stripped if bare[:1] == '0' and bare[1:2].isdigit() else bare}, without quotes)"
    if isinstance(value, float) and "whole" in says and value.is_integer() and abs(value) < 1e15:
        return f" (write {int(value)})"
    if isinstance(value, (int, float)) and not isinstance(value, bool) and "a text" in says:
        return " (put it in quotes)"
    return ""
