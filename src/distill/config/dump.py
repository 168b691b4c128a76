"""Write a plan as plain values or as YAML, in the long spelling, which `load` reads back."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from distill.config.families import USUAL
from distill.config.schema import LABELS_ONLY, Config, TeacherPlan, Term, Training, rules_of, stages_of
from distill.config.yaml_nodes import scalar


def as_dict(config: Config) -> dict[str, Any]:
    """Return the plan as plain values in the long spelling; `load` of it gives an equal Config."""
    values: dict[str, Any] = _plain(asdict(config))
    values["teachers"] = {name: _teacher(plan, values["teachers"][name]) for name, plan in config.teachers.items()}
    values["student"] = student = _without_usual_network(values["student"])
    stages = config.student.stages
    del student["stages"]
    if stages == stages_of(config.student, config.student.terms):
        student["terms"] = list(map(_term, config.student.terms))
    else:
        del student["epochs"], student["learning_rate"]
        student["stages"] = [
            {"epochs": stage.epochs, "learning_rate": stage.learning_rate, "terms": list(map(_term, stage.terms))}
            | ({"train": list(stage.train)} if stage.train else {})
            for stage in stages
        ]
    return values


def _without_usual_network(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if (name, value) != ("network", USUAL)}


def _plain(value: Any) -> Any:
    """Return the same value made of dicts and lists only."""
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _teacher(plan: TeacherPlan, values: dict[str, Any]) -> dict[str, Any]:
    if plan.origin != "trained":
        return {plan.origin: values[plan.origin]} | ({"kind": plan.kind} if plan.origin == "predictions" else {})
    training = _without_usual_network({name: values[name] for name in rules_of(Training)})
    return training | ({} if plan.terms == LABELS_ONLY else {"terms": list(map(_term, plan.terms))})


def _term(term: Term) -> dict[str, Any]:
    values: dict[str, Any] = {"loss": term.loss, "weight": term.weight}
    if term.final_weight is not None:
        values |= {"final_weight": term.final_weight, "weight_schedule": term.weight_schedule}
    if term.teachers:
        values["teacher"] = term.teachers[0][0] if len(term.teachers) == 1 else dict(term.teachers)
    options = dict(term.options)
    if term.layered and options["layers"] != "auto":
        options["layers"] = dict(options["layers"])
    return values | options


def dump(config: Config) -> str:
    """Return the plan as YAML that `load` reads back as an equal Config, short lists on one line."""
    import yaml

    class Dumper(yaml.SafeDumper):
        pass

    def short_list(dumper: yaml.SafeDumper, items: list[Any]) -> yaml.Node:
        short = not any(isinstance(item, dict) for item in items)
        return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=short)

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
        quoted = "'" if scalar(value) != value else None  # 1e3 is a text to PyYAML, but a number to our reader
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=quoted)

    Dumper.add_representer(list, short_list)
    Dumper.add_representer(str, text)
    return yaml.dump(as_dict(config), Dumper=Dumper, sort_keys=False, allow_unicode=True, width=1_000_000)
