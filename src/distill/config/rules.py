"""Rules for single values: each reads a plain value, or names what is wrong with it and what is allowed.

No key is named here; `schema` and `terms` give each key its rule.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from distill.config.yaml_nodes import NUMBER, scalar
from distill.system.environment import expand_home


@dataclass(frozen=True)
class Rule:
    """What a value may be: `allowed` in words that complete "must be ...", `accepts` as a test of a plain value."""

    allowed: str
    accepts: Callable[[Any], bool]
    convert: Callable[[Any], Any] = lambda value: value

    def read(self, value: object) -> Any:
        """Return the value as the program uses it. Raise ValueError, which names the fault, where it is not allowed."""
        if not self.accepts(value):
            raise ValueError(f"{describe(value)}; must be {self.allowed}{hint(value, self.allowed)}")
        return self.convert(value)


def is_whole(value: object) -> bool:
    """Return whether the value is an integer and no bool."""
    return type(value) is int


def is_number(value: object) -> bool:
    """Return whether the value is a finite number and no bool."""
    return type(value) is int or (type(value) is float and math.isfinite(value))


def whole(low: int, high: int) -> Rule:
    """Allow an integer in [low, high]."""
    return Rule(f"a whole number from {low} to {high}", lambda v: is_whole(v) and low <= v <= high)


def number(low: float, high: float, *, above: bool = False, below: bool = False) -> Rule:
    """Allow a finite number in [low, high]; `above` and `below` leave out the ends."""

    def accepts(value: Any) -> bool:
        if not is_number(value):
            return False
        return bool((low < value if above else low <= value) and (value < high if below else value <= high))

    end = f"below {high:g}" if below else f"at most {high:g}" if above else f"to {high:g}"
    allowed = f"a number {'above' if above else 'from'} {low:g}{' and' if above or below else ''} {end}"
    return Rule(allowed, accepts, float)


def one_of(*choices: str) -> Rule:
    """Allow one of these texts."""
    return Rule(f"one of {', '.join(choices)}", lambda v: type(v) is str and v in choices)


BOOLEAN = Rule("true or false", lambda v: type(v) is bool)
TEXT = Rule("a text", lambda v: type(v) is str and bool(v.strip()) and v.isprintable())
PATH = Rule(TEXT.allowed, TEXT.accepts, expand_home)
NULL = Rule("null", lambda v: v is None)
AUTO = Rule("auto", lambda v: v == "auto")
LABEL = Rule("a label", lambda v: is_number(v) or TEXT.accepts(v))


def either(*rules: Rule) -> Rule:
    """Allow what any of the rules allows; the first that accepts a value reads it."""

    def convert(value: object) -> Any:
        return next(rule for rule in rules if rule.accepts(value)).read(value)

    allowed = ", or ".join(rule.allowed for rule in rules)
    return Rule(allowed, lambda v: any(rule.accepts(v) for rule in rules), convert)


COLUMN = either(Rule("a column's name", TEXT.accepts), Rule("a column's index", is_whole))


def list_of(rule: Rule, longest: int) -> Rule:
    """Allow a list of 1 to `longest` values that the rule allows. It is read as a tuple."""
    return Rule(
        f"a list of 1 to {longest} of them",
        lambda v: type(v) is list and 1 <= len(v) <= longest and all(map(rule.accepts, v)),
        lambda v: tuple(map(rule.read, v)),
    )


def columns() -> Rule:
    """Allow a list of columns, each by name or by index. It is read as a tuple."""
    return Rule(
        "a list of columns' names or indexes",
        lambda v: type(v) is list and len(v) <= 100_000 and all(map(COLUMN.accepts, v)),
        tuple,
    )


def shares(name: Rule) -> Rule:
    """Allow one name, a list of names, or a map of names to weights.

    It is read as pairs (name, share) in the order of the names; the shares sum to 1.
    """

    def convert(value: Any) -> tuple[tuple[str, float], ...]:
        weights: dict[str, float] = {}
        for key, weight in value.items() if isinstance(value, dict) else [(key, 1) for key in as_list(value)]:
            weights[key] = weights.get(key, 0) + weight
        total = math.fsum(weights.values())
        total = 1 if abs(total - 1) < 1e-12 else total  # so that what was normalised stays as it is
        return tuple(sorted((key, weight / total) for key, weight in weights.items() if weight / total))

    def accepts(value: Any) -> bool:
        if isinstance(value, dict):
            weights = list(value.values())
            return all(is_number(weight) and 0 <= weight <= 1e6 for weight in weights) and any(weights)
        return 1 <= len(as_list(value)) <= 1000 and all(map(name.accepts, as_list(value)))

    return Rule("a name, or a list of names, or a map of names to weights, not all 0", accepts, convert)


def as_list(value: Any) -> list[Any]:
    """Return a list as it is, and anything else as its only item."""
    return value if isinstance(value, list) else [value]


def layer_map(layer: Rule) -> Rule:
    """Allow a map from layers of the teacher to layers of the student. It is read as pairs."""

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

    allowed = "a map of the teacher's layers to the student's"
    return Rule(allowed, accepts, lambda value: tuple((int(t), s) for t, s in value.items()))


def layers() -> Rule:
    """Allow the width of one hidden layer, or a list of widths. It is read as a tuple."""
    width = whole(1, 65_536)
    single = Rule(width.allowed, width.accepts, lambda v: (v,))
    return either(single, list_of(width, 64))


def describe(value: object) -> str:
    """Return words for a value that was not allowed, as the first half of a message."""
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
    """Return the text, cut to at most so many characters."""
    return text if len(text) <= most else text[: most - 3] + "..."


def hint(value: object, allowed: str) -> str:
    """Return how to write what was probably meant, or '' where that is not plain to see."""
    if isinstance(value, str) and "number" in allowed:
        digits = value.strip().replace("_", "").lstrip("+")
        if digits[:1] == "0" and digits[1:2].isdigit():
            digits = digits.lstrip("0") or "0"
        if NUMBER.fullmatch(digits):
            return f" (write {digits}, without quotes)"
    if isinstance(value, float) and "whole" in allowed and value.is_integer() and abs(value) < 1e15:
        return f" (write {int(value)})"
    if isinstance(value, (int, float)) and not isinstance(value, bool) and "a text" in allowed:
        return " (put it in quotes)"
    return ""
