"""The student's objective as text, such as `0.3 cross_entropy + 0.7 response(teacher, T=4)`."""

from collections.abc import Sequence

from distill.config.schema import Stage, Term
from distill.config.terms import usual_options


def formula(stages: Sequence[Stage]) -> str:
    """Return the weighted sum of the terms; of several stages, each sum with its number of epochs."""
    if len(stages) == 1:
        return _sum_of_terms(stages[0])
    epochs = [f"{stage.epochs} epoch{'s' if stage.epochs != 1 else ''}" for stage in stages]
    return ", then ".join(f"{count} of {_sum_of_terms(stage)}" for count, stage in zip(epochs, stages, strict=True))


def _sum_of_terms(stage: Stage) -> str:
    layers = "" if stage.train is None else f" (layers {', '.join(map(str, stage.train))})"
    return " + ".join(_term(term) for term in stage.terms if term.matters) + layers


def _term(term: Term) -> str:
    weight = f"{term.weight:g}"
    if term.moves:
        shape = "" if term.weight_schedule == "linear" else f", {term.weight_schedule}"
        weight = f"({term.weight:g} to {term.final_weight:g}{shape})"
    arguments = [_teachers(term)] if term.teachers else []
    if "temperature" in term.options:
        arguments.append(f"T={term.options['temperature']:g}")
    for name, default in usual_options().items():
        value = term.options.get(name, default)
        if value != default:
            arguments.append("without T^2" if name == "t_squared" else f"{name}={_value(value)}")
    return f"{weight} {term.loss}" + (f"({', '.join(arguments)})" if arguments else "")


def _teachers(term: Term) -> str:
    """Return the teachers of a term, with their shares unless these are equal."""
    shares = {share for _, share in term.teachers}
    return " + ".join(name if len(shares) == 1 else f"{share:.3g} {name}" for name, share in term.teachers)


def _value(value: object) -> str:
    return str(dict(value)) if isinstance(value, tuple) else f"{value:g}" if isinstance(value, float) else str(value)
