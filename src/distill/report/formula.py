"""The objective as a person writes it."""

from collections.abc import Sequence

from distill.config.schema import Stage, Term
from distill.config.terms import usual_options


def formula(stages: Sequence[Stage]) -> str:
    """The objective as a person writes it: `0.3 cross_entropy + 0.7 response(teacher, T=4)`; stages one after the
    other."""
    if len(stages) == 1:
        return _sum(stages[0])
    spans = [f"{stage.epochs} epoch{'s' if stage.epochs != 1 else ''}" for stage in stages]
    return ", then ".join(f"{span} of {_sum(stage)}" for span, stage in zip(spans, stages, strict=True))


def _sum(stage: Stage) -> str:
    layers = "" if stage.train is None else f" (layers {', '.join(map(str, stage.train))})"
    return " + ".join(_spell(term) for term in stage.terms if term.matters) + layers


def _spell(term: Term) -> str:
    weight = f"{term.weight:g}"
    if term.moves:
        along = "" if term.weight_schedule == "linear" else f", {term.weight_schedule}"
        weight = f"({term.weight:g} to {term.final_weight:g}{along})"
    inside = [_ensemble(term)] if term.teachers else []
    if "temperature" in term.options:
        inside.append(f"T={term.options['temperature']:g}")
    for name, usual in usual_options().items():
        value = term.options.get(name, usual)
        if value != usual:
            inside.append("without T^2" if name == "t_squared" else f"{name}={_plain(value)}")
    return f"{weight} {term.loss}" + (f"({', '.join(inside)})" if inside else "")


def _ensemble(term: Term) -> str:
    shares = {share for _, share in term.teachers}
    return " + ".join(name if len(shares) == 1 else f"{share:.3g} {name}" for name, share in term.teachers)


def _plain(value: object) -> str:
    return str(dict(value)) if isinstance(value, tuple) else f"{value:g}" if isinstance(value, float) else str(value)
