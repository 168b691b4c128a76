"""The bench command: its figures belong together, and it leaves nothing behind."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distill import bench, cli, config, data
from distill.nn.mlp import MLP
from distill.nn.vector import Array, Vector
from distill.report import table
from distill.train.threads import team_of


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "SECONDS", 0.01)
    monkeypatch.setattr(bench, "REPEATS", 2)


def measured(plan: dict[str, Any]) -> dict[str, Any]:
    made = config.load(plan)
    return bench.measure(made, data.load(made.data, 0.8, None, 0))


def test_every_figure_follows_from_the_times_and_the_work() -> None:
    figures = measured({"distillation": {"teacher_hidden": [20, 10], "student_hidden": 5, "batch_size": 50}})
    teacher, pair = figures["models"]["teacher"], figures["models"]["student and control"]
    assert (teacher["sizes"], teacher["batch_size"]) == ([64, 20, 10, 10], 50)
    # forward and weights' gradients with the bias, inputs' derivatives without it and not for the first layer
    assert teacher["mflop"] == 2 * 50 * (2 * (20 * 65 + 10 * 21 + 10 * 11) + 10 * 20 + 10 * 10) / 1e6
    assert pair["mflop"] == 2 * 2 * 50 * (2 * (5 * 65 + 10 * 6) + 10 * 5) / 1e6
    for case in (teacher, pair):
        assert case["threads"].keys() == {"1"}  # too small to be shared
        one = case["threads"]["1"]
        assert one["gflops"] == pytest.approx(1e-9 * (1e6 * case["mflop"]) / (1e-6 * one["step_us"]))
        assert one["products_gflops"] == pytest.approx(1e-9 * (1e6 * case["mflop"]) / (1e-6 * one["products_us"]))
        assert 0 <= one["outside_products"] < 1
    assert figures["peak_memory_mb"] > 10


def test_a_large_step_is_tried_with_every_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISTILL_THREADS", "2")
    figures = measured({"distillation": {"teacher_hidden": [512, 512], "batch_size": 128}})
    assert figures["models"]["teacher"]["threads"].keys() == {"1", "2"}
    assert figures["models"]["student and control"]["threads"].keys() == {"1"}


@pytest.mark.parametrize("threads", [1, 2])
def test_the_products_alone_are_those_of_a_step(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many operations, and nothing but matmul: counted where NumPy is called."""
    plan = config.load({})
    weights = Vector(MLP((64, 32, 16, 10)).shapes, stack=(2,))
    operations: list[int] = []
    original = np.matmul

    def counted(a: Array, b: Array, out: Array) -> Array:
        operations.append(2 * a.shape[0] * a.shape[1] * b.shape[1])
        return original(a, b, out=out)

    with team_of(threads) as team:
        multiply = bench._products(weights, plan.student.batch_size, team)
        monkeypatch.setattr(np, "matmul", counted)
        multiply()
        monkeypatch.undo()
    assert sum(operations) == 2 * MLP((64, 32, 16, 10)).work(plan.student.batch_size)


def test_the_command_prints_a_table_or_json_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plan.yaml").write_text("distillation: {teacher_hidden: 8}\n")
    before = sorted(tmp_path.rglob("*"))
    assert cli.main(["bench", "--config", "plan.yaml", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert cli.main(["bench", "--config", "plan.yaml"]) == 0
    printed = capsys.readouterr().out
    assert "teacher: 64 - 8 - 10, batches of 32" in printed
    assert "student and control: 64 - 32 - 10, batches of 32" in printed
    assert table.bench_text(figures).splitlines()[1] == printed.splitlines()[1]
    assert sorted(tmp_path.rglob("*")) == before
