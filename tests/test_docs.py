"""The documentation is true: keys, defaults, ranges, commands, examples and variables are those of the code."""

import re
import shlex
import sys
from dataclasses import fields
from importlib.util import module_from_spec, spec_from_file_location
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

import distill
from distill import cli, config
from distill.cli.commands import COMMANDS
from distill.cli.parser import build_parser
from distill.config.schema import (
    INHERITED,
    SECTIONS,
    Stage,
    StudentPlan,
    TeacherPlan,
    Training,
    rules_of,
)
from distill.config.terms import LOSS_TRAITS, OPTIONS, TERM_KEYS
from distill.nn import blas
from distill.nn.features import FEATURES
from distill.nn.losses import LOSSES
from distill.system import environment
from test_floors import FLOORS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.yaml"))


def blocks(language: str) -> list[tuple[Path, str]]:
    """Every fenced block of one language."""
    pattern = re.compile(rf"^```{language}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return [(page, block) for page in PAGES for block in pattern.findall(page.read_text())]


def tables(page: Path) -> dict[str, list[list[str]]]:
    """Heading -> the rows of the tables under it, cells without backquotes."""
    found: dict[str, list[list[str]]] = {}
    heading = ""
    for line in page.read_text().splitlines():
        if line.startswith("## "):
            heading = line[3:]
        elif line.startswith("| `"):
            found.setdefault(heading, []).append([cell.strip().strip("`") for cell in line.strip("| ").split(" | ")])
    return found


@pytest.mark.parametrize("section", [*SECTIONS, "teachers"])
def test_config_md_has_every_key_with_its_default_and_range(section: str) -> None:
    kind = SECTIONS.get(section, TeacherPlan)
    defaults = {one.name: one.default for one in fields(kind)}
    expected = []
    for name, rule in rules_of(kind).items():
        value = defaults[name]
        plain = list(value) if isinstance(value, tuple) else value
        default = INHERITED if value == INHERITED else yaml.safe_dump(plain, default_flow_style=True).split("\n")[0]
        expected.append([name, default, rule.allowed])
    assert [row[:3] for row in tables(ROOT / "docs/CONFIG.md")[section]] == expected


def test_config_md_has_every_key_of_student_term_and_stage() -> None:
    rows = [(row[0], row[2]) for row in tables(ROOT / "docs/CONFIG.md")["student"]]
    own = {name: rule for name, rule in rules_of(StudentPlan).items() if name not in rules_of(Training)}
    keys = [*own.items(), *TERM_KEYS.items(), *rules_of(Stage).items()]
    assert rows == [(name, rule.allowed) for name, rule in keys]


def test_config_md_has_the_options_of_every_loss_and_their_defaults() -> None:
    page = (ROOT / "docs/CONFIG.md").read_text()
    for loss, traits in LOSS_TRAITS.items():
        assert f"| {loss} | {', '.join(traits.options)} |" in page
    defaults = {row[0]: row[1] for row in tables(ROOT / "docs/CONFIG.md")["student"]}
    for name, (_, default) in OPTIONS.items():
        expected = (INHERITED, "all that no other teacher learns from") if default == INHERITED else (str(default),)
        assert defaults[name] in expected, name


def test_methods_md_has_every_loss_with_formula_paper_and_plan() -> None:
    page = (ROOT / "docs/METHODS.md").read_text()
    parts = dict(re.findall(r"^### `(\w+)`\n(.*?)(?=^##)", page, re.MULTILINE | re.DOTALL))
    assert list(parts) == list(LOSS_TRAITS) == [*LOSSES, *FEATURES]
    for name, text in parts.items():
        plan = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)[0])
        assert name in [term["loss"] for term in plan["student"]["terms"]]
        assert re.search(r"^    \S", text, re.MULTILINE), f"{name} has no formula"
        assert re.search(r"\b(19|20)\d\d\b", text) or name in ("soft_cross_entropy", "novelty", "relation_angle")
        assert "When to use it" in text


def test_methods_md_has_a_result_for_every_method() -> None:
    page = (ROOT / "docs/METHODS.md").read_text()
    section = page[page.index("## Measured") : page.index("## The control")]
    headings = [title.strip("`") for title, text in re.findall(r"^### (.+)\n((?:(?!^##)[\s\S])*)", page, re.MULTILINE)
                if "```yaml" in text]  # fmt: skip
    for name in ("digits", "letter"):
        table = section[section.index(f"**{name}**") :].split("\n\n")[1]
        assert [line.split(" | ")[0].strip("| `") for line in table.splitlines()[2:]] == headings


def test_the_readme_says_of_the_methods_what_the_tables_say() -> None:
    page, readme = (ROOT / "docs/METHODS.md").read_text(), (ROOT / "README.md").read_text()
    assert f"has {({17: 'seventeen'})[len(LOSS_TRAITS)]} losses" in readme
    assert f"{({8: 'eight'})[len(script('methods').methods()) - len(LOSS_TRAITS)]} ways to combine them" in readme
    digits, letter = page[page.index("**digits**") : page.index("<!-- end -->")].split("**letter**")
    assert digits.count("| **helped** |") > 25 / 2, "with 100 labels most of them helped"
    assert letter.count("| **helped** |") <= 25 / 10, "with plentiful labels almost none"


def test_the_methods_are_measured_by_the_command_that_the_page_names(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Shortened: two seeds and one epoch, on the digits."""
    if (kernel := blas.kernel()) is None:
        pytest.skip("needs NumPy's own OpenBLAS")
    shortened = ["--seeds", "2", "--epochs", "1", "--only", "digits", "--kernels", kernel]
    monkeypatch.setattr(sys, "argv", ["methods.py", *shortened])
    script("methods").main()
    said = capsys.readouterr().out
    assert said.count("\n| ") == 1 + len(script("methods").methods())
    assert "Teacher 9" in said


def test_the_readmes_keys_and_defaults_are_the_codes() -> None:
    short = config.as_dict(config.load({}))["distillation"]
    for names, defaults, _ in tables(ROOT / "README.md")["Configure it"]:
        for name, default in zip(names.split("`, `"), defaults.split(", "), strict=True):
            assert short[name] in (yaml.safe_load(default), [yaml.safe_load(default)])


def test_the_environment_variables_are_documented_wherever_they_should_be() -> None:
    source = "\n".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    assert set(re.findall(r"DISTILL_[A-Z_]+", source)) == environment.VARIABLES.keys()
    example = (ROOT / ".env.example").read_text().splitlines()
    assert {
        line.partition("=")[0] for line in example if "=" in line and line[0] != "#"
    } == environment.VARIABLES.keys()
    for before, line in pairwise(example):
        assert not line.startswith("DISTILL_") or before.startswith("# ")
    assert {row[0] for row in tables(ROOT / "docs/CONFIG.md")["Environment"]} == environment.VARIABLES.keys()


def commands() -> list[tuple[str, str]]:
    lines = [(page.name, line) for page, block in blocks("bash") for line in block.splitlines()]
    for path in EXAMPLES:
        lines += [(path.name, line.lstrip("# ")) for line in path.read_text().splitlines() if "python -m" in line]
    return [(name, line[line.index("-m distill") :]) for name, line in lines if "-m distill" in line]


def test_there_are_commands_to_check() -> None:
    assert len(commands()) >= 9


@pytest.mark.parametrize(("page", "command"), commands())
def test_every_documented_command_is_one_that_the_program_takes(page: str, command: str) -> None:
    words = shlex.split(command)[2:]
    if words[0] not in COMMANDS:
        words.insert(0, "run")
    args = build_parser().parse_args(words)
    if hasattr(args, "config"):
        config.load(ROOT / args.config, args.set)


@pytest.mark.parametrize(("page", "block"), blocks("yaml"))
def test_every_documented_piece_of_yaml_is_a_plan(page: Path, block: str, tmp_path: Path) -> None:
    path = tmp_path / "piece.yaml"
    path.write_text(f"student:\n  terms:\n    {block}" if block.startswith("- ") else block)
    assert config.load(path).student.terms


def script(name: str) -> ModuleType:
    """A script of the docs, as a module."""
    spec = spec_from_file_location(f"docs_{name}", ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def shortened(path: Path, real_data: Any) -> dict[str, Any]:
    """An example with fewer rows, epochs and seeds."""
    plan = yaml.safe_load(path.read_text())
    plan["distillation"] = plan.get("distillation", {}) | {
        "max_samples": 2000,
        "teacher_epochs": 2,
        "student_epochs": 1,
    }
    plan["evidence"] = plan.get("evidence", {}) | {"seeds": 2}
    plan["student"] = {key: value for key, value in plan.get("student", {}).items() if key != "epochs"}
    for stage in plan["student"].get("stages", []):
        stage["epochs"] = 1
    if "data" in plan:
        plan["data"]["source"] = str(real_data(plan["data"]["source"]))
    return plan


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_runs_shortened(path: Path, real_data: object, in_tmp: Path) -> None:
    config.load(path)
    plan = shortened(path, real_data)
    Path("short.yaml").write_text(yaml.safe_dump(plan, sort_keys=False))
    if path.stem == "predictions":
        script("forest").main("short.yaml", trees=30)
    results = distill.run("short.yaml")
    assert results["teacher_val_accuracy"] > 2 * results["data"]["commonest"]
    assert len(results["seeds"]) == 2


def test_there_is_an_example_of_every_kind() -> None:
    kinds = {"ensemble", "chain", "born_again", "mutual", "hint", "relation", "layerwise", "predictions"}
    assert kinds <= {path.stem for path in EXAMPLES}


def test_every_key_of_the_results_is_documented() -> None:
    documented = set(re.findall(r"`(\w+)`", (ROOT / "docs/API.md").read_text()))
    results = distill.run({"distillation": {"max_samples": 100, "student_epochs": 1}})
    assert results.keys() <= documented
    assert results["data"].keys() <= documented


def test_every_public_name_is_documented() -> None:
    text = (ROOT / "docs/API.md").read_text()
    for name in distill.__all__:
        assert f"distill.{name}" in text or f"`{name}`" in text, name
    public = {name for name in vars(distill.Model) if not name.startswith("_")} | {
        one.name for one in fields(distill.Model)
    }
    assert {name for name in public if f"`{name}" not in text} == set()


def shape(text: str) -> list[str]:
    """Text with every number, and the space before it, made alike."""
    return [re.sub(r" *[-+]?\d[\d.,]*", " 0", line).rstrip() for line in text.strip().splitlines()]


def test_the_readme_shows_what_the_main_job_prints(in_tmp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (in_tmp / "config.yaml").write_text((ROOT / "config.yaml").read_text())
    assert cli.main(["--config", "config.yaml"]) == 0
    (_, shown), *_ = blocks("text")
    assert shape(capsys.readouterr().out) == shape(shown)


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} -> {target}"


def test_the_design_lists_every_floor_and_file_as_it_is() -> None:
    listing = re.search(r"```text\n(7  .*?)```", (ROOT / "docs/DESIGN.md").read_text(), re.DOTALL)
    assert listing
    listed = dict[int, list[str]]()
    for block in re.split(r"^(?=\d  )", listing[1], flags=re.MULTILINE)[1:]:
        folders = [word.rstrip("/") for line in block.splitlines() for word in line[3:20].split()]
        listed[int(block[0])] = folders
        for folder in folders:
            files = {path.stem for path in (ROOT / "src/distill" / folder).glob("*.py")} - {"__init__"}
            assert files <= set(re.findall(r"\w+", block)), folder
    assert [set(listed[height]) for height in sorted(listed)] == [set(floor) for floor in FLOORS]


def test_the_top_level_is_as_agreed() -> None:
    expected = {
        "README.md",
        "pyproject.toml",
        "config.yaml",
        "src",
        "tests",
        "docs",
        "logs",
        ".gitignore",
        ".env.example",
        ".ci",
    }
    assert expected <= {path.name for path in ROOT.iterdir()}
