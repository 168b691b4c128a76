"""The page about a run: verdict first, everything in one file, nothing a user wrote can do or break anything."""

import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distill import cli

HOSTILE = [
    "</script><script>alert(1)</script>",
    "'\"><img src=x onerror=alert(1)>",
    "🦊 日本語 \u202e back",
    "n" * 200,
    "$\\frac{",
    "&lt;b&gt;",
]


class Collector(HTMLParser):
    """Every tag with its attributes, and the page's text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(page: str) -> Collector:
    collector = Collector()
    collector.feed(page)
    return collector


def run(folder: Path, plan: str, *overrides: str) -> Path:
    (folder / "plan.yaml").write_text(plan)
    assert cli.main(["--config", "plan.yaml", "--quiet", *(f"--set={one}" for one in overrides)]) == 0
    return folder / "runs/plan"


def report(run_folder: Path) -> str:
    assert cli.main(["report", str(run_folder)]) == 0
    return (run_folder / "report.html").read_text(encoding="utf-8")


DIGITS = "distillation: {max_samples: 300, teacher_hidden: 16, teacher_epochs: 4, student_epochs: 3}\n"


@pytest.fixture
def digits(in_tmp: Path) -> Path:
    return run(in_tmp, DIGITS, "evidence.seeds=3")


@pytest.fixture
def hostile(in_tmp: Path) -> Path:
    """A run whose classes and features have hostile names."""
    rng = np.random.default_rng(0)
    lines = ['"' + '","'.join(["<i>", '""x', "y", "z", "<b>"]) + '"']
    centres = 5 * rng.normal(size=(6, 4))
    for i in range(180):
        name = HOSTILE[i % 6].replace('"', '""')
        lines.append(",".join(f"{v:.3f}" for v in centres[i % 6] + rng.normal(size=4)) + f',"{name}"')
    (in_tmp / "r'<s>.csv").write_text("\n".join(lines), encoding="utf-8")
    return run(in_tmp, 'data: {source: "r\'<s>.csv"}\n' + DIGITS)


def test_the_verdict_comes_first_and_the_page_says_what_it_rests_on(digits: Path) -> None:
    page = parsed(report(digits))
    results = json.loads((digits / "results.json").read_text())
    text = page.text
    verdict = results["verdict"]["text"]
    assert verdict[0].upper() + verdict[1:] in text
    order = [
        "The three models",
        "Every seed",
        "Learning curves",
        "Size and calibration",
        "least sure",
        "Confusion",
        "The plan",
    ]
    places = [text.index(verdict[1:]), *(text.index(title) for title in order)]
    assert places == sorted(places)
    for name in ("teacher", "student", "control"):
        for key in ("accuracy", "ece", "brier"):
            assert f"{results['models'][name]['val'][key]:.4f}" in text
    for piece in (*results["advice"], results["objective"], "temperature: 4.0", '"threads": '):
        assert piece in text


def test_the_least_sure_rows_are_shown_with_their_pictures(digits: Path) -> None:
    page = parsed(report(digits))
    pictures = [attrs for tag, attrs in page.tags if tag == "img" and attrs.get("class") == "pixels"]
    assert len(pictures) == 12
    assert all(str(attrs["src"]).startswith("data:image/png;base64,") for attrs in pictures)


def test_everything_is_in_the_file(digits: Path) -> None:
    source = report(digits)
    page = parsed(source)
    for tag, attrs in page.tags:
        assert tag not in ("script", "iframe", "object", "embed", "form", "base")
        for name in ("src", "href", "action", "srcset"):
            assert str(attrs.get(name, "data:")).startswith("data:")
        assert not any(name.startswith("on") for name in attrs)
    assert "url(" not in source
    assert "@import" not in source
    assert "default-src 'none'" in source


def test_hostile_names_are_shown_and_do_nothing(hostile: Path) -> None:
    page = parsed(report(hostile))
    known = {
        "html",
        "head",
        "meta",
        "link",
        "title",
        "style",
        "body",
        "section",
        "h1",
        "h2",
        "p",
        "b",
        "ul",
        "li",
        "div",
        "span",
    }
    known |= {"table", "tr", "th", "td", "img", "figure", "figcaption", "pre", "i"}
    assert {tag for tag, _ in page.tags} <= known
    for name in HOSTILE:
        assert name.replace("\u202e", "") in page.text
    assert not re.search("[\u202a-\u202e\u2066-\u2069]", page.text)


def test_many_classes_and_epochs_still_make_a_small_file(in_tmp: Path) -> None:
    rng = np.random.default_rng(0)
    y = np.arange(1000) % 100
    np.savez(in_tmp / "rows.npz", X=rng.normal(size=(100, 8))[y] * 5 + rng.normal(size=(1000, 8)), y=y)
    folder = run(in_tmp, "data: {source: rows.npz}\n", "teachers.teacher.epochs=3", "student.epochs=1")
    results = json.loads((folder / "results.json").read_text())
    epoch = results["history"]["student"][0]
    results["history"]["student"] = [epoch | {"epoch": i} for i in range(1, 10_001)]
    (folder / "results.json").write_text(json.dumps(results))
    assert len(report(folder)) < 5_000_000


def test_the_page_replaces_nothing_that_it_is_made_from(hostile: Path) -> None:
    source = next(hostile.parents[1].glob("*.csv"))
    for output in (hostile / "results.json", hostile / "config.yaml", hostile / "student.npz", source):
        before = output.read_bytes()
        assert cli.main(["report", str(hostile), "--output", str(output)]) == 5
        assert output.read_bytes() == before


def test_changed_data_are_left_out_and_damaged_results_refused(
    hostile: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = next(hostile.parents[1].glob("*.csv"))
    source.write_text(source.read_text(encoding="utf-8").replace("1.", "2."), encoding="utf-8")
    assert "its rows are no longer those of the run" in parsed(report(hostile)).text
    results = json.loads((hostile / "results.json").read_text())
    (hostile / "results.json").write_text(json.dumps(results | {"verdict": {}}))
    assert cli.main(["report", str(hostile)]) == 4
    assert "not those of a run" in capsys.readouterr().err


def test_without_its_data_the_page_says_what_it_leaves_out(hostile: Path) -> None:
    for path in hostile.parents[1].glob("*.csv"):
        path.unlink()
    assert "Left out, as the run's data are not at hand any more" in parsed(report(hostile)).text


def test_an_untrained_student_and_a_run_without_a_teacher_term_have_a_page(in_tmp: Path) -> None:
    assert "untrained" in report(run(in_tmp, DIGITS, "student.epochs=0"))
    assert "1 cross_entropy" in report(run(in_tmp, DIGITS, "distillation.alpha=0"))


def test_a_folder_without_a_run_is_refused(in_tmp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (in_tmp / "empty").mkdir()
    (in_tmp / "torn").mkdir()
    (in_tmp / "torn/results.json").write_text('{"verdict": ')
    (in_tmp / "old").mkdir()
    (in_tmp / "old/results.json").write_text("{}")
    for name in ("empty", "torn", "old", "nowhere"):
        assert cli.main(["report", name]) == 4
        assert "results of a run" in capsys.readouterr().err


def test_without_matplotlib_the_message_says_what_to_install(
    digits: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert cli.main(["report", str(digits)]) == 1
    assert "pip install 'distill[report]'" in capsys.readouterr().err
    assert not (digits / "report.html").exists()


@pytest.mark.parametrize("name", ["digits", "hostile"])
def test_a_real_browser_opens_the_page_without_a_complaint_or_a_request(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("needs Chromium (Debian package chromium) on the PATH")
    folder: Any = request.getfixturevalue(name)
    report(folder)
    quiet = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-sync"]
    quiet += ["--disable-component-update", f"--user-data-dir={tmp_path / 'browser'}", "--no-sandbox", "--headless"]
    net = tmp_path / "net.json"
    command = [
        browser,
        *quiet,
        "--enable-logging=stderr",
        f"--log-net-log={net}",
        "--dump-dom",
        (folder / "report.html").as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "Did distillation help?" in done.stdout
    assert "CONSOLE" not in done.stderr
    # the browser itself looks for its updates; what the page had asked for would be written in it
    asked = set(re.findall(r'"url":"(?:https?|wss?|ftp)://([^/"]*)', net.read_text()))
    source = (folder / "report.html").read_text(encoding="utf-8")
    assert not [host for host in asked if host in source]
