"""A finished model: what it answers, that it comes back from its file bit for bit, and that nothing can change it."""

import json
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import distill
from conftest import SMALL, blobs
from distill import cli, data
from distill.config.load import load as load_config
from distill.data.scaling import Scaling
from distill.data.source import DIGITS
from distill.nn.mlp import MLP
from distill.nn.vector import Vector
from distill.system.files import read_header, write_model


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    with np.load(DIGITS) as file:
        return np.asarray(file["X"]).reshape(-1, 64)


def test_shapes_and_meaning_of_the_answers(small_run: distill.Results, digits: np.ndarray) -> None:
    model = small_run.student
    logits, probabilities, predicted = model.logits(digits), model.predict_proba(digits), model.predict(digits)
    assert (logits.shape, logits.dtype.name) == ((1797, 10), "float32")
    assert (probabilities.shape, probabilities.dtype.name) == ((1797, 10), "float64")
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_array_equal(predicted, np.array(model.classes)[probabilities.argmax(axis=1)])
    assert (model.n_features, model.n_parameters, model.classes) == (64, 2410, tuple(range(10)))


def test_the_reported_accuracy_is_that_of_the_model_on_raw_rows(small_run: distill.Results, digits: np.ndarray) -> None:
    """Scaling, splitting and judging again from the outside gives the figure in the results."""
    plan = load_config(SMALL)
    rows = data.load(plan.data, 0.8, 200, 0).validation
    raw = small_run.student.scaling.undo(rows.x)
    predicted = small_run.student.predict(raw.round())
    assert (predicted == rows.y).mean() == pytest.approx(small_run["student_val_accuracy"], abs=1e-12)


@pytest.mark.parametrize("threads", ["1", "2", "3"])
def test_a_saved_model_gives_bit_equal_logits_in_another_process(
    tmp_path: Path, small_run: distill.Results, digits: np.ndarray, threads: str
) -> None:
    small_run.teacher.save(tmp_path / "model.npz")
    np.save(tmp_path / "rows.npy", digits)
    code = (
        "import os, sys, numpy as np, distill; os.chdir(sys.argv[1]); "
        "np.save('logits.npy', distill.load_model('model.npz').logits(np.load('rows.npy')))"
    )
    environment = os.environ | {"OPENBLAS_NUM_THREADS": threads}
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, env=environment)
    assert np.load(tmp_path / "logits.npy").tobytes() == small_run.teacher.logits(digits).tobytes()


def test_equal_models_make_equal_files_and_the_header_is_plain_json(tmp_path: Path, small_run: distill.Results) -> None:
    for name in "ab":
        small_run.teacher.save(tmp_path / f"{name}.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        header = json.loads(archive.read("model.json"))
    described = (header["format"], header["family"], header["network"])
    assert described == (3, "mlp", {"sizes": [64, 16, 10]})
    assert header["classes"] == list(range(10))


def test_a_file_of_format_2_names_no_family_and_is_a_perceptron(tmp_path: Path, small_run: distill.Results) -> None:
    small_run.teacher.save(tmp_path / "new.npz")
    header = read_header(tmp_path / "new.npz")
    del header["family"]
    with np.load(tmp_path / "new.npz") as file:
        arrays = {name: file[name] for name in file.files if name != "model.json"}
    old = header | {"format": 2, "sizes": header.pop("network")["sizes"], "activation": "relu"}
    write_model(tmp_path / "old.npz", old, arrays)
    model = distill.load_model(tmp_path / "old.npz")
    assert (model.network, model.fingerprint()) == (small_run.teacher.network, small_run.teacher.fingerprint())
    write_model(tmp_path / "old.npz", old | {"activation": "tanh"}, arrays)
    with pytest.raises(distill.DataError, match="header cannot be right"):
        distill.load_model(tmp_path / "old.npz")


def test_a_bound_is_kept_in_the_file_and_a_file_without_one_means_what_it_meant(tmp_path: Path) -> None:
    """A row far outside of the training rows answers as one at its edge; an older file answers without it."""
    x, y = blobs(300)
    x[::50, 2] = 1e6
    np.savez(tmp_path / "rows.npz", X=x, y=y)
    model = distill.run({"data": {"source": str(tmp_path / "rows.npz")}}, ["student.epochs=1"]).student
    model.save(tmp_path / "model.npz")
    back, scaling = distill.load_model(tmp_path / "model.npz"), model.scaling
    far, edge = np.full((1, 4), 1e9), scaling.undo(np.full((1, 4), 10.0))
    edge[0, 2] = 1e6
    assert back.logits(far).tobytes() == model.logits(far).tobytes()
    np.testing.assert_allclose(back.logits(far), back.logits(edge), rtol=1e-5)
    assert back.scaling.far(np.concatenate([x, far])).tolist() == [1, 1, 1, 1]
    with np.load(tmp_path / "model.npz") as file:
        arrays = {name: file[name] for name in file.files if name not in ("bound", "reach", "model.json")}
    write_model(tmp_path / "old.npz", read_header(tmp_path / "model.npz"), arrays)
    old = distill.load_model(tmp_path / "old.npz")
    assert not old.scaling.far(far).any()
    np.testing.assert_allclose(old.scaling.apply(far), (far - scaling.offset) * scaling.factor, rtol=1e-6)


@pytest.mark.parametrize("bad", [np.array([np.nan, 1, 1, 1]), np.full(4, -1.0), np.ones(3), np.ones(4, "f4")])
@pytest.mark.parametrize("name", ["bound", "reach"])
def test_a_bound_that_cannot_be_right_is_refused(tmp_path: Path, name: str, bad: np.ndarray) -> None:
    scaling = Scaling("standard", np.zeros(4), np.ones(4), np.zeros(4), **{name: bad})
    weights = Vector(MLP((4, 2)).shapes)
    distill.Model(weights, MLP((4, 2)), scaling, (0, 1)).save(tmp_path / "model.npz")
    with pytest.raises(distill.DataError, match=r"its limits cannot be right|must be \(4,\)"):
        distill.load_model(tmp_path / "model.npz")


def test_classes_names_and_label_survive_the_file(tmp_path: Path) -> None:
    x, y = blobs()
    names = ["ä", 'b"', "c,d"]
    lines = [
        ",".join([*(f"{v:.3f}" for v in row), '"' + names[c].replace('"', '""') + '"'])
        for row, c in zip(x, y, strict=True)
    ]
    (tmp_path / "rows.csv").write_text("w,x,y,z,kind\n" + "\n".join(lines), encoding="utf-8")
    model = distill.run({"data": {"source": str(tmp_path / "rows.csv"), "label": "kind"}}, ["student.epochs=1"]).student
    model.save(tmp_path / "model.npz")
    back = distill.load_model(tmp_path / "model.npz")
    assert (back.classes, back.names, back.label) == (tuple(sorted(names)), ("w", "x", "y", "z"), "kind")
    np.testing.assert_array_equal(back.predict(x), model.predict(x))


def test_nothing_can_write_to_a_models_weights(small_run: distill.Results) -> None:
    for array in (small_run.teacher.weights.flat, small_run.teacher.weights["w1"]):
        with pytest.raises(ValueError, match="read-only"):
            array += 1


def test_a_missing_value_counts_as_the_mean_of_the_training_rows(small_run: distill.Results) -> None:
    model = small_run.student
    row = np.full((1, 64), 8.0)
    hole = row.copy()
    hole[0, 30] = np.nan
    row[0, 30] = model.scaling.fill[30]
    np.testing.assert_array_equal(model.logits(hole), model.logits(row))


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (np.zeros((2, 63)), r"\(2, 63\).*\(rows, 64\)"),
        (np.zeros(64), r"\(64,\).*\(rows, 64\)"),
        (np.full((1, 64), "a"), r"<U1.*numbers"),
        (np.full((1, 64), np.inf), r"x\[0, 0\] is inf"),
        (np.full((1, 64), 1e300), r"x\[0, 1\] is 1e\+300"),
    ],
)
def test_rows_that_the_model_cannot_take_are_named(small_run: distill.Results, x: np.ndarray, said: str) -> None:
    with pytest.raises(distill.DataError, match=said):
        small_run.student.logits(x)


def test_no_rows_give_no_logits(small_run: distill.Results) -> None:
    assert small_run.student.logits(np.zeros((0, 64))).shape == (0, 10)


def test_classes_that_an_older_model_holds_as_floats_are_whole_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x, y = blobs()
    np.savez(tmp_path / "rows.npz", X=x, y=y)
    plan = {"data": {"source": str(tmp_path / "rows.npz")}, "logging": {"file": None}}
    model = replace(distill.run(plan).teacher, classes=(0.0, 1.0, 2.0))
    model.save(tmp_path / "old.npz")
    back = distill.load_model(tmp_path / "old.npz")
    assert back.classes == (0.0, 1.0, 2.0)
    (tmp_path / "new.csv").write_text(
        "\n".join(",".join([*map(str, row), str(c)]) for row, c in zip(x.tolist(), y.tolist(), strict=True))
    )
    figures = []
    for rows in (["rows.npz"], ["new.csv", "--label", "4"]):
        words = ["evaluate", "--model", str(tmp_path / "old.npz"), "--data", str(tmp_path / rows[0]), *rows[1:]]
        assert cli.main(words) == 0
        figures.append(capsys.readouterr().out)
    assert figures[0] == figures[1]
    teachers = {"earlier": {"load": str(tmp_path / "old.npz")}}
    assert distill.run(plan | {"teachers": teachers})["teachers"]["earlier"]["origin"] == "load"


@pytest.mark.parametrize("label", [2, 5])
@pytest.mark.parametrize("named", [False, True])
def test_a_model_takes_the_file_whose_columns_it_was_not_given_all(
    tmp_path: Path, label: int, *, named: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole file, the file without its label, and the features alone, with the label before or behind."""
    x, y = blobs(features=3)
    rest = ["id", "f", "a", "g", "b"]
    names = [*rest[:label], "kind", *rest[label:]]
    values = {"id": [f"r{i}" for i in range(120)], "g": ["x"] * 120, "kind": y.tolist()}
    values |= dict(zip("fab", x.T.tolist(), strict=True))

    def write(name: str, columns: list[str]) -> str:
        lines = [",".join(map(str, row)) for row in zip(*(values[column] for column in columns), strict=True)]
        (tmp_path / name).write_text("\n".join(([",".join(columns)] if named else []) + lines) + "\n")
        return str(tmp_path / name)

    whole = write("rows.csv", names)
    drop = ["id", "g"] if named else [names.index("id"), names.index("g") - len(names)]
    plan = {"data": {"source": whole, "label": label, "drop": drop, "test": write("test.csv", names)}}
    results = distill.run(plan)
    model = results.teacher
    assert (model.n_features, results["data"]["rows"]["test"]) == (3, 120)
    model.save(tmp_path / "m.npz")
    assert ('"dropped"' in zipfile.ZipFile(tmp_path / "m.npz").read("model.json").decode()) == (not named)
    assert distill.load_model(tmp_path / "m.npz").dropped == model.dropped
    expected = model.predict_proba(np.array([values[column] for column in names if column in "fab"]).T)
    for path in (whole, write("new.csv", rest), write("bare.csv", [name for name in names if name in "fab"])):
        assert cli.main(["predict", "--model", str(tmp_path / "m.npz"), "--data", path]) == 0
        lines = capsys.readouterr().out.splitlines()[1:]
        np.testing.assert_allclose([[float(p) for p in line.split(",")[1:]] for line in lines], expected, rtol=1e-6)
    assert cli.main(["evaluate", "--model", str(tmp_path / "m.npz"), "--data", whole]) == 0


@pytest.mark.parametrize("label", [0, 3, 4])
def test_columns_without_names_that_can_be_read_in_two_ways_are_refused(
    tmp_path: Path, label: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Training left out a column: the same number of columns is then the whole without its label, or the features with
    it; a label that is named decides, and so does a test set, which has one."""
    x, y = blobs(features=3)
    values = {"id": [i * 7919 % 1009 for i in range(120)], "y": y.tolist()} | dict(
        zip("abc", x.T.tolist(), strict=True)
    )
    names = [*(rest := ["a", "id", "b", "c"])[:label], "y", *rest[label:]]

    def write(columns: list[str]) -> str:
        path = tmp_path / f"{''.join(columns)}.csv"
        rows = zip(*(values[column] for column in columns), strict=True)
        path.write_text("".join(",".join(map(str, row)) + "\n" for row in rows))
        return str(path)

    short = [name for name in names if name != "id"]
    keys = {"source": write(names), "label": label, "drop": [names.index("id")], "test": write(short)}
    results = distill.run({"data": keys})
    results.teacher.save(tmp_path / "m.npz")
    tested = data.load(load_config({"data": keys}).data, 0.8, None, 0)
    assert tested.test is not None
    np.testing.assert_array_equal(tested.unscaled(tested.test), x)

    def answer(command: str, columns: list[str], *more: str) -> tuple[int, str, str]:
        code = cli.main([command, "--model", str(tmp_path / "m.npz"), "--data", write(columns), *more])
        return code, *capsys.readouterr()

    for columns in (rest, short):
        code, out, fault = answer("predict", columns)
        assert (code, out) == (4, "")
        assert "4 columns can be the features with the label or all columns of the training file without" in fault
    assert answer("predict", list("abc"))[1] == answer("predict", names)[1]
    _, whole, _ = answer("evaluate", names)
    assert answer("evaluate", short, "--label", str(short.index("y")))[:2] == (0, whole)
    assert answer("evaluate", ["y", *rest], "--label", "0")[:2] == (0, whole)


def test_a_loaded_teacher_must_leave_out_the_columns_that_the_data_do(tmp_path: Path) -> None:
    x, y = blobs()
    lines = [",".join([*map(str, row), str(c)]) for row, c in zip(x.tolist(), y.tolist(), strict=True)]
    (tmp_path / "rows.csv").write_text("\n".join(lines))
    plan = {"data": {"source": str(tmp_path / "rows.csv"), "drop": [0]}}
    distill.run(plan).teacher.save(tmp_path / "m.npz")
    plan["teachers"] = {"t": {"load": str(tmp_path / "m.npz")}}
    assert distill.run(plan)["teachers"]["t"]["origin"] == "load"
    with pytest.raises(distill.DataError, match=r"without the columns 0, the data are read without 1; set data.drop"):
        distill.run(plan, ["data.drop=[1]"])


def test_names_of_columns_match_as_they_look(tmp_path: Path) -> None:
    x, y = blobs(features=2)
    text = "\n".join(f"{a},{b},{c}" for (a, b), c in zip(x.tolist(), y.tolist(), strict=True))
    (tmp_path / "rows.csv").write_text(f"caf\xe9,b\xa0,kind\n{text}\n", encoding="utf-8")
    (tmp_path / "test.csv").write_text(f"cafe\u0301,b,kind\n{text}\n", encoding="utf-8")
    plan = {"data": {"source": str(tmp_path / "rows.csv"), "test": str(tmp_path / "test.csv")}}
    model = distill.run(plan).teacher
    older = replace(model, names=("cafe\u0301", "b "))  # as the file had them
    for one in (model, older):
        rows = data.read_new(str(tmp_path / "test.csv"), one.scaling, one.names, one.label)
        np.testing.assert_array_equal(rows.x, x)
