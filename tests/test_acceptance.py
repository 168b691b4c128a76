"""The main job's promises: ten seeds of the default plan, and the real data sets where they are at hand."""

from collections.abc import Callable
from pathlib import Path

import pytest

import distill

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"


@pytest.mark.parametrize("seed", range(10))
def test_the_default_plan_at_every_seed(seed: int) -> None:
    results = distill.run({"distillation": {"random_seed": seed}})
    teacher, student = results["teacher_val_accuracy"], results["student_val_accuracy"]
    assert teacher >= 0.94
    assert student >= 0.93
    assert abs(teacher - student) <= 0.03
    assert results["agreement"] >= 0.95
    assert (results["teacher_params"], results["student_params"]) == (9610, 2410)
    assert round(results["compression_ratio"], 5) == 3.98755


@pytest.mark.parametrize(("example", "points"), [("few_labels", 2), ("unlabelled", 6), ("noisy_labels", 6)])
def test_distillation_helps_where_labels_are_few_or_wrong(example: str, points: int, in_tmp: Path) -> None:
    verdict = distill.run(EXAMPLES / f"{example}.yaml")["verdict"]
    assert (verdict["outcome"], verdict["seeds"]) == ("helped", 10)
    assert 100 * verdict["gain"] >= points
    assert verdict["ci95"][0] > 0
    assert verdict["text"].startswith(f"distillation helped: +{100 * verdict['gain']:.1f} points [")


def test_letter_recognition(real_data: Callable[[str], Path], in_tmp: Path) -> None:
    source = f"data.source={real_data('letter/letter-recognition.data')}"
    results = distill.run(
        EXAMPLES / "letter.yaml", [source, "distillation.teacher_epochs=3", "distillation.student_epochs=3"]
    )
    assert results["data"]["classes"] == list("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    assert results["data"]["rows"] == {"train": 16_000, "validation": 4_000}
    assert results["teacher_val_accuracy"] > 0.88


def test_mnist(real_data: Callable[[str], Path], in_tmp: Path) -> None:
    """A small teacher and three epochs: the whole example is a documented command, not a test."""
    short = ["teachers.teacher.hidden=128", "teachers.teacher.epochs=3", "student.epochs=1"]
    results = distill.run(EXAMPLES / "mnist.yaml", [f"data.source={real_data('mnist')}", *short])
    assert results["data"]["rows"] == {"train": 57_000, "validation": 3_000, "test": 10_000}
    assert results["teacher_test_accuracy"] > 0.95
