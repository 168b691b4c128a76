"""Mistaken and hostile configurations: each ends with exit code 2, one placed message per fault and no traceback.

Also the command line around them: overrides, environment variables, words that mean nothing, outputs that cannot be.
"""

import contextlib
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import distill
from distill.cli import main

FUZZ = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,  # the same examples on every machine
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # every example overwrites the same file
)
ROWS = "u,v,y\n" + "".join(f"{i % 2 * 5 + i / 100},{i * 2 % 7},{'ab'[i % 2]}\n" for i in range(20))
TINY = """\
logging: {file: null}
distillation: {teacher_hidden: 4, student_hidden: 3, teacher_epochs: 9, student_epochs: 2, learning_rate: 0.1,
  batch_size: 4}
data: {source: rows.csv, label: y}
"""
PLACED = re.compile(r"config\.yaml:[1-9][0-9]*:[1-9][0-9]*: .+; .+")
WHOLE_FILE = re.compile(r"config\.yaml: (the file is empty|the file has [0-9,]+ bytes|cannot be read: .+); .+")
LONG = "x" * 5000
DIGITS = "9" * 5000  # Python refuses to turn a text of so many digits into an int


class Answer(NamedTuple):
    code: int
    out: str
    lines: list[str]  # what stderr got


def ask(*argv: str) -> Answer:
    """Run one command line. The SystemExit of argparse counts as an exit code; any other exception is raised."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", newline="") for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(argv)
        except SystemExit as leaving:
            code = int(leaving.code or 0)
    texts = []
    for stream in (out, err):
        stream.flush()
        texts.append(stream.buffer.getvalue().decode())
    # Only "\n" ends a line here: a message that carries any other line break is not printable, and fails below.
    return Answer(code, texts[0], texts[1].removesuffix("\n").split("\n") if texts[1] else [])


def check(text: str | bytes, *sets: str) -> Answer:
    """`distill check` of such a config.yaml in the working directory."""
    Path("config.yaml").write_bytes(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text)
    return ask("check", *(f"--set={override}" for override in sets))


def assert_faults(answer: Answer, expected: list[str], prefix: str = "config.yaml:") -> None:
    """Assert exit code 2 and one line per expectation, in order: "how it begins … a part … another part"."""
    assert answer.code == 2
    assert len(answer.lines) == len(expected), answer.lines
    for line, wanted in zip(answer.lines, expected, strict=True):
        start, *pieces = (piece.strip() for piece in wanted.split("…"))
        assert line.startswith(prefix + start), line
        assert all(piece in line for piece in pieces), line
        assert line.isprintable(), line
    assert answer.out == ""


@pytest.fixture(autouse=True)
def _workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in a new folder with a good CSV file, without environment variables of the program."""
    monkeypatch.chdir(tmp_path)
    for name in ("CONFIG", "LOG_LEVEL", "THREADS", "DATA"):
        monkeypatch.delenv(f"DISTILL_{name}", raising=False)
    Path("rows.csv").write_text(ROWS)
    before = {path.name for path in tmp_path.iterdir()} | {"config.yaml"}
    yield
    left = {path.name for path in tmp_path.iterdir()} - before
    assert not [name for name in left if name.endswith(".tmp")], "a temporary file was left behind"


# ---------------------------------------------------------------------------------------------- one wrong value each

HIDDEN = "a whole number from 1 to 65536, or a list of"
EPOCHS = "a whole number from 0 to "
WIDE = f"[{', '.join('1' * 65)}]"
# Key -> what its message must say is allowed, and values that are not. The values are YAML as written.
WRONG: dict[str, tuple[str, list[str]]] = {
    "distillation.temperature": (
        "a number above 0 ",
        [
            *("0", "-4", "-0.0", "10001", ".nan", ".NaN", ".inf", "-.inf", "1e999", "true", "no", "017", "1:30"),
            *("'4'", "null", "~", "[4]", "{a: 4}", "0x10", "0o17", "1_000", "four", "2001-01-01", "1e", "--1", "."),
            *("1.2.3", "4 5", "4,0", "٤", "4°", "1e-999", DIGITS, f"-{DIGITS}", f"0.{DIGITS}e5000", "'4\"'"),
        ],
    ),
    "distillation.alpha": (
        "a number from 0 to 1",
        ["-0.001", "1.001", "2", ".nan", ".inf", "true", "yes", "[0.5]", "'0.5'", "0,5", "50%"],
    ),
    "distillation.train_ratio": (
        "a number above 0 and below 1",
        ["0", "0.0", "1", "1.0", "-0.1", "80", "80%", ".nan", "false", "4:1"],
    ),
    "distillation.learning_rate": (
        "a number above 0 ",
        ["0", "-0.01", "1001", ".inf", "0.01f", "1e-3 x", "auto", "[0.1, 0.01]"],
    ),
    "distillation.teacher_epochs": (
        EPOCHS,
        [
            *("-1", "1.5", "1000001", "1e1", "10.0", "true", "null", ".inf", ".nan", "'10'", "ten", "[10]", "012"),
            *("1e999", "1" * 31, "1" * 32, DIGITS, "0b1", "1_0"),
        ],
    ),
    "distillation.student_epochs": (EPOCHS, ["-1", "2.5", "off"]),
    "distillation.batch_size": (
        "a whole number from 1 to ",
        ["0", "-32", "1000001", "32.5", "0x20", "null", "true", "full"],
    ),
    "distillation.max_samples": (
        "null, or a whole number from 2 to ",
        ["0", "1", "-5", "2.5", "none", "all", "true", "9223372036854775808", "[100]", "1e3"],
    ),
    "distillation.random_seed": (
        "a whole number from 0 to ",
        ["-1", "1.0", "1.5", "9223372036854775808", "true", "today", "null", "0x2A"],
    ),
    "distillation.teacher_hidden": (
        HIDDEN,
        [
            *("0", "-1", "65537", "[]", "[0]", "[64, 0]", "[64, x]", "[[64]]", "[64, true]", "64x32", "64 32"),
            *("null", "{}", "12.5", "[64, null]", "[.nan]", "'128'", WIDE),
        ],
    ),
    "distillation.student_hidden": (HIDDEN, ["0", "[32.0]", "false"]),
    "distillation.t_squared": ("true or false", ["1", "0", "yes", "no", "on", "'true'", "tRUE", "null", "[true]"]),
    "distillation.optimizer": ("one of adam, sgd", ["Adam", "rmsprop", "1", "null", "[adam]", "true", "''", "{}"]),
    "distillation.momentum": ("null, or a number from 0 and below 1", ["1", "-0.1", ".nan", "high", "true"]),
    "distillation.schedule": ("one of constant, cosine, step", ["linear", "null", "3"]),
    "distillation.warmup": ("a number from 0 and below 1", ["1", "-0.1", "5", "null"]),
    "distillation.weight_decay": ("a number from 0 ", ["-1e-4", "1001", ".nan", "null"]),
    "distillation.clip": ("null, or a number above 0 ", ["0", "-1", "none", ".inf", "true", "1e10"]),
    "logging.level": ("one of DEBUG, INFO, WARNING, ERROR, CRITICAL", ["info", "TRACE", "10", "null", "off"]),
    "logging.file": ("null, or a text", ["''", "5", "true", "[]", "{}", r'"a\tb"', '"  "', r'"a\0b"']),
    "data.source": ("a text", ["5", "null", "[a.csv]", "''", r'"a\0b"', r'"x\ny"', "true", ".5", r'"\e[2J"']),
    "data.label": ("null, or a column's name, or a column's index", ["1.5", "[]", "true", "{}", "''", "1e0", DIGITS]),
    "data.header": ("auto, or true or false", ["yes", "no", "1", "null", "Auto"]),
    "data.test": ("null, or a text", ["5", "[]", "''", "false"]),
    "data.scale": ("one of auto, none, standard, minmax", ["z-score", "null", "1", "None"]),
    "data.in_memory_mb": ("a whole number from 0 to ", ["-1", "0.5", "null", "512MB", "true", "'512'"]),
    "performance.threads": (
        "auto, or a whole number from 1 to 1024",
        ["0", "-1", "1025", "1.5", "2.0", "null", "true", "'2'", "AUTO", "all", "[2]", DIGITS],
    ),
    "output.folder": ("null, or a text", ["5", "''", "[runs]", "true"]),
    "teachers.big.hidden": (HIDDEN, ["0", "[[8]]", "null"]),
    "teachers.big.epochs": (EPOCHS, ["-1", "1e2"]),
    "teachers.big.clip": ("null, or a number above 0 ", ["0"]),
    "student.epochs": (EPOCHS, ["-1", "null"]),
    "student.learning_rate": ("a number above 0 ", ["0", "1:30"]),
    "student.momentum": ("null, or a number from 0 and below 1", ["1.0"]),
}


@pytest.mark.parametrize(
    ("path", "value", "allowed"),
    [
        pytest.param(path, value, allowed, id=f"{path}={value if len(value) < 30 else value[:20] + '...'}")
        for path, (allowed, values) in WRONG.items()
        for value in values
    ],
)
def test_a_wrong_value_is_one_fault_at_its_place(path: str, value: str, allowed: str) -> None:
    names = path.split(".")
    text = ":\n".join("  " * depth + name for depth, name in enumerate(names)) + f": {value}\n"
    place = f"{len(names)}:{2 * (len(names) - 1) + len(names[-1]) + 3}"
    assert_faults(check(text), [f"{place}: {path}: … ; must be {allowed}"])


@pytest.mark.parametrize(
    ("path", "value", "hint"),
    [
        ("distillation.temperature", "017", "(write 17, without quotes)"),
        ("distillation.temperature", "'4'", "(write 4, without quotes)"),
        ("distillation.temperature", "1_000", "(write 1000, without quotes)"),
        ("distillation.learning_rate", "'1e-3'", "(write 1e-3, without quotes)"),
        ("distillation.teacher_epochs", "1e1", "(write 10)"),
        ("distillation.batch_size", "32.0", "(write 32)"),
        ("distillation.batch_size", "'+32'", "(write 32, without quotes)"),
        ("logging.file", "5", "(put it in quotes)"),
    ],
)
def test_a_message_says_what_was_probably_meant(path: str, value: str, hint: str) -> None:
    answer = check("{}: {{{}: {}}}\n".format(*path.split("."), value))
    assert_faults(answer, [f"1: … {path}: … {hint}"])


# ------------------------------------------------------------------------------------------------------ wrong shapes

MERGE_BOMB = "a: &a {x: 0, y: 0}\n" + "".join(
    f"{b}: &{b} {{<<: [{', '.join([f'*{a}'] * 9)}]}}\n" for a, b in zip("abcdefghijkl", "bcdefghijklm", strict=True)
)
LAUGHS = "a: &a [lol]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefghij", "bcdefghijk", strict=True)
)
NO_YAML = "this is not YAML: "
TERMS = "student:\n  terms:\n"

# Name -> the text, and one expectation a fault: "LINE:COLUMN: how it goes on … what else it says".
SHAPES: dict[str, tuple[str | bytes, list[str]]] = {
    # Keys that do not exist.
    "section misspelt": ("distilation: {}\n", ["1:1: distilation: unknown key; did you mean 'distillation'?"]),
    "section unknown": ("x: 1\n", ["1:1: x: unknown key; allowed: logging, distillation, data, teachers, student,"]),
    "section in capitals": ("\nLOGGING: {}\n", ["2:1: LOGGING: unknown key; "]),
    "section with a dot": (".data: {}\n", ["1:1: .data: unknown key; did you mean 'data'?"]),
    "key without its section": ("temperature: 3\n", ["1:1: temperature: unknown key; it belongs in distill"]),
    "key misspelt": (
        "distillation:\n  temprature: 3\n",
        ["2:3: distillation.temprature: unknown key; did you mean 'temperature'?"],
    ),
    "key of another section": ("data: {alpha: 0.5}", ["1:8: data.alpha: unknown key; … distillation.alpha"]),
    "key with a hyphen": ("data:\n  sca-le: none\n", ["2:3: data.sca-le: unknown key; did you mean 'scale'?"]),
    "key of a teacher misspelt": (
        "teachers:\n  t:\n    epoch: 3\n",
        ["3:5: teachers.t.epoch: unknown key; did you mean 'epochs'?"],
    ),
    "no terms for a teacher": ("teachers: {t: {terms: []}}", ["1:23: teachers.t.terms: a list is given; must be"]),
    "key of the student misspelt": (
        "student:\n  hiden: 3\n",
        ["2:3: student.hiden: unknown key; did you mean 'hidden'?"],
    ),
    "key of a term misspelt": (
        f"{TERMS}  - loss: response\n    wieght: 1\n",
        ["4:5: student.terms[0].wieght: unknown key; did you mean 'weight'?"],
    ),
    "key is a number": ("1: 2\n", ["1:1: 1: unknown key; allowed: "]),
    "key is null": ("~: 2\n", ["1:1: ~: unknown key; allowed: "]),
    "key is a quoted <<": ('"<<": {}\n', ["1:1: <<: unknown key; allowed: "]),
    "key of 1000 letters": (f"{'k' * 1000}: 1\n", ["1:1: k … : unknown key; allowed: "]),
    "key in other letters": ("distillаtion: {}\n", ["1:1: distillаtion: unknown key; "]),  # a Cyrillic а
    "key with a line break": (r'"a\nb": 1', ["1:1:  … unknown key; "]),
    "key with a carriage return": (r'"data\rdata": 1', ["1:1:  … unknown key; "]),
    "key with U+2028": (r'"a\u2028b": 1', ["1:1:  … unknown key; "]),
    "key that paints the terminal": (r'"\e[31mred": 1', ["1:1:  … unknown key; "]),
    "key that turns the text around": (r'"a\u202eb": 1', ["1:1:  … unknown key; "]),
    "key inside with a line break": (r'data: {"a\nb": 1}', ["1:8: data.a … unknown key; "]),
    # The same key twice: the second is at the place of the message, the first in its text.
    "section twice": ("data: {}\ndata: {}\n", ["2:1: duplicate key 'data' … config.yaml:1:1; keep one"]),
    "key twice": (
        "distillation:\n  alpha: 0.5\n  alpha: 0.5\n",
        ["3:3: duplicate key 'alpha' … config.yaml:2:3; keep one"],
    ),
    "key thrice": (
        "data:\n  scale: none\n  scale: none\n  scale: none\n",
        ["3:3: duplicate key 'scale' … 2:3", "4:3: duplicate key 'scale' … 2:3"],
    ),
    "key twice, once in quotes": ("data: {scale: auto, 'scale': none}", ["1:21: duplicate key 'scale' … :1:8;"]),
    "teacher twice": ("teachers:\n  t: {}\n  t: {}\n", ["3:3: duplicate key 't' … 2:3"]),
    "key of a term twice": (f"{TERMS}  - loss: response\n    loss: response\n", ["4:5: duplicate key 'loss' … 3:5"]),
    "key twice and the second wrong": ("data:\n  scale: none\n  scale: 7\n", ["3:3: duplicate key 'scale' … 2:3"]),
    # Keys that are no words.
    "key is a list": ("? [a]\n: 1\n", ["1:3: a key must be a word; "]),
    "key is a mapping": ("{a: b}: 1\n", ["1:1: a key must be a word; "]),
    "key is empty": ('"": 1\n', ["1:1: a key must be a word; "]),
    # Sections of the wrong kind.
    "list at the top": ("- distillation\n- data\n", ["1:1: the top level: a list … ; must be a mapping of sections"]),
    "flow list at the top": ("[1, 2]", ["1:1: the top level: a list is given: [1, 2]; must be a mapping of sections"]),
    "text at the top": ("distillation\n", ["1:1: the top level: 'distillation' is a text; must be a mapping"]),
    "number at the top": ("--- 5\n", ["1:5: the top level: 5 is not allowed; must be a mapping"]),
    "null at the top": ("--- ~\n", ["1:5: the top level: nothing is given (null); must be a mapping"]),
    "JSON text at the top": ('"{}"', ["1:1: the top level: '{}' is a text; must be a mapping"]),
    "section is a number": ("distillation: 5\n", ["1:15: distillation: 5 is not allowed; must be a mapping of keys"]),
    "section is a text": ("data: rows.csv\n", ["1:7: data: 'rows.csv' is a text; must be a mapping of keys"]),
    "section is a list": ("logging: [INFO]\n", ["1:10: logging: a list is given: ['INFO']; must be a mapping of keys"]),
    "section is a truth value": ("output: no\n", ["1:9: output: 'no' is a text; must be a mapping"]),
    "section is true": ("output: true\n", ["1:9: output: true is a truth value; must be a mapping"]),
    "section as a list of keys": (
        "distillation:\n  - alpha: 0.5\n  - temperature: 2\n",
        ["2:3: distillation: a list is given … ; must be a mapping of keys"],
    ),
    "value left out": ("distillation:\n  alpha:\n", ["2: … : distillation.alpha: nothing is given (null); must be a"]),
    "value on two lines": ("data:\n  scale: none\n    none\n", ["2:10: data.scale: 'none none' is a text; must"]),
    "value in a block": ("data:\n  scale: |\n    none\n", ["2:10: data.scale: 'none\\n' is a text; must be one of"]),
    # Teachers, students and terms.
    "a teacher that no term uses": (
        "teachers:\n  a: {}\n  b: {}\nstudent: {terms: [{loss: response, teacher: a}]}\n",
        ["3:3: teachers.b: no term uses it; name it"],
    ),
    "teachers as a list": ("teachers: [{hidden: 8}]\n", ["1:11: teachers: a list is given … must be a mapping"]),
    "teacher is a number": ("teachers: {a: 5}\n", ["1:15: teachers.a: 5 is not allowed; must be a mapping of keys"]),
    "teacher without a name": ("teachers: {hidden: 8}", ["1:20: teachers.hidden: 8 is not allowed; must be a mapping"]),
    "terms is null": ("student: {terms: null}", ["1:18: student.terms: nothing is given (null); must be a list of"]),
    "terms is empty": ("student: {terms: []}", ["1:18: student.terms:  … must be a list of terms"]),
    "terms is a mapping": ("student: {terms: {loss: response}}", ["1:18: student.terms: a mapping is given; must be"]),
    "terms is a text": ("student: {terms: response}", ["1:18: student.terms: 'response' is a text; must be a list"]),
    "term is a text": (f"{TERMS}  - response\n", ["3:5: student.terms[0]: 'response' is a text; must be a mapping"]),
    "term is a list": ("student: {terms: [[]]}", ["1:19: student.terms[0]: a list is given; must be a mapping"]),
    "term is null": (f"{TERMS}  -\n  - loss: response\n", ["3: … : student.terms[0]: "]),
    "term is an empty mapping": ("student: {terms: [{}]}", ["1:19: student.terms[0]: no loss is named; add loss: "]),
    "term without a loss": (f"{TERMS}  - weight: 1\n", ["3:5: student.terms[0]: no loss is named; add loss: "]),
    "loss unknown": (
        f"{TERMS}  - loss: hinge\n",
        ["3:11: student.terms[0].loss: 'hinge' is a text; must be one of cross_entropy, response"],
    ),
    "loss is a list": ("student: {terms: [{loss: [response]}]}", ["1:26: student.terms[0].loss: a list is given"]),
    "weight below 0": (
        f"{TERMS}  - loss: response\n    weight: -1\n",
        ["4:13: student.terms[0].weight: -1 is not allowed; must be a number from 0 "],
    ),
    "weight is NaN": ("student: {terms: [{loss: response, weight: .nan}]}", ["1:44: student.terms[0].weight: nan is"]),
    "weight in words": ("student: {terms: [{loss: response, weight: half}]}", ["1:44: student.terms[0].weight: 'ha"]),
    "every weight 0": (
        "student: {terms: [{loss: response, weight: 0}, {loss: cross_entropy, weight: 0}]}",
        ["1:18: student.terms: every weight is 0; at least one must be above 0"],
    ),
    "temperature of a term": (
        f"{TERMS}  - {{loss: response, temperature: 0}}\n",
        ["3:35: student.terms[0].temperature: 0 is not allowed; must be a number above 0 "],
    ),
    "temperature where it does nothing": (
        f"{TERMS}  - {{loss: response}}\n  - {{loss: cross_entropy, temperature: 2}}\n",
        ["4:27: student.terms[1].temperature: does not act in cross_entropy; remove it"],
    ),
    "teacher of a term on labels": (
        "student: {terms: [{loss: cross_entropy, teacher: teacher}]}",
        ["1:41: student.terms[0].teacher: does not act in cross_entropy; remove it"],
    ),
    "teacher unknown": (
        "teachers: {big: {}}\nstudent: {terms: [{loss: response, teacher: bgi}]}",
        ["2:45: student.terms[0].teacher: there is no teacher 'bgi'; must be one of big"],
    ),
    # Keys that would silently do nothing.
    "momentum with adam": ("distillation: {momentum: 0.9}", ["1:16: distillation.momentum: acts only with optimizer:"]),
    "momentum of one with adam": ("student: {momentum: 0.9}", ["1:11: student.momentum: acts only with optimizer"]),
    "label of the digits": ("data: {label: 3}", ["1:8: data.label: acts only on CSV files … ; remove it"]),
    "header of the digits": ("data: {header: true}", ["1:8: data.header: acts only on CSV files … ; remove it"]),
    # What YAML offers and a configuration does not need.
    "alias": ("data: *x\n", ["1:7: alias *x is refused; "]),
    "alias as a key": ("*x : 1\n", ["1:1: alias *x is refused; "]),
    "alias inside a list": ("distillation: {teacher_hidden: [8, *x]}", ["1:36: alias *x is refused; "]),
    "anchor": ("data: &x {}\n", ["1:7: anchor &x is refused; "]),
    "anchor and its alias": (
        "distillation:\n  teacher_epochs: &n 3\n  student_epochs: *n\n",
        ["2:19: anchor &n is refused; ", "3:19: alias *n is refused; "],
    ),
    "alias of itself": (
        "student: {hidden: &x [*x]}\n",
        ["1:19: anchor &x is refused; ", "1:23: alias *x is refused; "],
    ),
    "merge key": ("data:\n  <<: {scale: none}\n", ["2:3: merge key << is refused; "]),
    "merge key with an alias": (
        "distillation: &d {alpha: 0.5}\ndata:\n  <<: *d\n",
        ["1:15: anchor &d is refused", "3:3: merge key << is refused", "3:7: alias *d is refused"],
    ),
    "tag !!str": ("distillation: {alpha: !!str 0.5}", ["1:23: tag tag:yaml.org,2002:str is refused; "]),
    "tag !!float": ("distillation: {alpha: !!float 1}", ["1:23: tag tag:yaml.org,2002:float is refused; "]),
    "tag !!binary": ("data: {source: !!binary aGk=}", ["1:16: tag tag:yaml.org,2002:binary is refused; "]),
    "tag !!python": (
        "data: !!python/object/apply:os.system [echo]",
        ["1:7: tag tag:yaml.org,2002:python/object/apply:os.system is refused; "],
    ),
    "tag of one's own": ("distillation: !include other.yaml", ["1:15: tag !include is refused; "]),
    "tag of nothing": ("data: {scale: ! none}", ["1:15: tag ! is refused; "]),
    "tag on a key": ("!!str data: {}", ["1:1: tag tag:yaml.org,2002:str is refused; "]),
    "tag with a line break": ("data: {scale: !a%0Ab none}", ["1:15: tag !a … is refused; "]),
    "tag !!set": ("data: !!set {scale}", ["1:7: tag tag:yaml.org,2002:set is refused; "]),
    # Documents.
    "two documents": ("data: {}\n---\ndata: {}\n", ["2:1: a second document begins; keep one"]),
    "two empty documents": ("---\n---\n", ["2:1: a second document begins; keep one"]),
    "documents after an end": ("data: {}\n...\n---\n5\n", ["3:1: a second document begins; keep one"]),
    "YAML 3": ("%YAML 3.0\n---\ndata: {}\n", [f"1:1: {NO_YAML}"]),
    # What is no YAML at all: a single message, as nothing after it can be trusted.
    "tab for indent": (
        "distillation:\n\talpha: 1\n",
        ["2:1: a tab, which YAML does not allow here; indent with spaces"],
    ),
    "quote left open": ("data:\n  source: 'rows.csv\n", [f"3:1: {NO_YAML}"]),
    "bracket left open": ("distillation: {alpha: 1", [f"1:24: {NO_YAML}"]),
    "list left open": ("distillation:\n  teacher_hidden: [8, 4\n  alpha: 1\n", [f"3: … {NO_YAML}"]),
    "bracket too many": ("data: {}}\n", [f"1:9: {NO_YAML}"]),
    "two colons": ("distillation: alpha: 1", [f"1:20: {NO_YAML}"]),
    "indent wrong": ("distillation:\n    alpha: 0.5\n  temperature: 2\n", [f"3:3: {NO_YAML}"]),
    "at sign": ("@data: {}\n", [f"1:1: {NO_YAML}"]),
    "backtick": ("data: {source: `ls`}\n", [f"1:16: {NO_YAML}"]),
    "list and mapping": ("- a\ndata: {}\n", [f"2:1: {NO_YAML}"]),
    "Python": ("import distill\ndistill.run({'alpha': 1})\n", [f"2: … {NO_YAML}"]),
    "INI": ("[data]\nsource = rows.csv\n", [f"2: … {NO_YAML}"]),
    "template": ("data: {{ source }}\n", ["1:8: a key must be a word; "]),
    "merge conflict": ("<<<<<<< HEAD\ndata: {}\n=======\n", [f"2: … {NO_YAML}"]),
    "escape unknown": (r'data: {source: "C:\data\rows.csv"}', [f"1: … {NO_YAML}"]),
    # Bytes.
    "Latin-1": ("data: {source: é.csv}".encode("latin-1"), ["1:16: byte 0xe9 is not UTF-8; save the file as UTF-8"]),
    "Latin-1 after other letters": (b"# \xc3\xa9\n# \xc3\xa9 \xe9\n", ["2:5: byte 0xe9 is not UTF-8"]),
    "UTF-16": ("data: {}".encode("utf-16"), ["1:1: byte 0xff is not UTF-8"]),
    "UTF-16 without a mark": ("data: {}".encode("utf-16-le"), ["1:2:  … not allowed in YAML"]),
    "overlong UTF-8": (b"data: \xc0\xaf", ["1:7: byte 0xc0 is not UTF-8"]),
    "surrogate in UTF-8": ("data: \ud800", ["1:7: byte 0xed is not UTF-8"]),
    "bell": ("# é\ndata: {scale: \x07none}", ["2:15:  … not allowed in YAML"]),
    "NUL": ("data: {}\n\0", ["2:1:  … not allowed in YAML"]),
    "escape character": ("\x1b[31mdata: {}", ["1:1:  … not allowed in YAML"]),
    "gzip": (b"\x1f\x8b\x08\0", ["1:2: byte 0x8b is not UTF-8"]),
    # Sizes.
    "33 lists deep": ("[" * 33 + "]" * 33, ["1:33: nested more than 32 levels deep; "]),
    "5000 lists deep": ("[" * 5000, ["1:33: nested more than 32 levels deep; "]),
    "5000 mappings deep": ("{a: " * 5000, ["1:126: nested more than 32 levels deep; "]),
    "5000 dashes deep": ("- " * 5000, ["1:65: nested more than 32 levels deep; "]),
    "5000 indents deep": (
        "".join(" " * i + "a:\n" for i in range(500)),
        ["32: … nested more than 32 levels deep; "],
    ),
    "5000 question marks": ("? " * 5000, ["1:65: nested more than 32 levels deep; "]),
    "32 levels are few enough": ("[" * 32 + "]" * 32, ["1:1: the top level: a list is given"]),
    "20,001 values": (f"x: [{', '.join('1' * 20_001)}]", ["1: … : more than 20,000 values; "]),
}


@pytest.mark.parametrize(("text", "expected"), SHAPES.values(), ids=SHAPES)
def test_a_wrong_shape_is_reported_with_its_place(text: str | bytes, expected: list[str]) -> None:
    answer = check(text)
    assert_faults(answer, expected)
    assert all(PLACED.fullmatch(line) for line in answer.lines), answer.lines


@pytest.mark.parametrize(
    "text",
    ["data: [*x]", "[*x]", "student: {terms: {a: *x}}", "teachers: [!x 1]", "data: [{<<: 1}]", "logging: [&a b, *a]"],
)
def test_what_was_refused_is_never_shown_as_an_object(text: str) -> None:
    answer = check(text)
    assert answer.code == 2
    assert all(PLACED.fullmatch(line) for line in answer.lines), answer.lines
    assert not any("<distill" in line or "object" in line for line in answer.lines), answer.lines


@pytest.mark.parametrize(
    "text",
    [b"", b"\n \n", b"# nothing yet\n", "\ufeff".encode(), b"#" * 1_000_000, b"#" * 1_000_001, b"a: 1\n" * 300_000],
    ids=["empty", "blank", "comment", "byte order mark", "a comment of 1 MB", "over 1 MB", "1.5 MB"],
)
def test_an_empty_or_huge_file_is_one_fault_of_the_whole_file(text: bytes) -> None:
    answer = check(text)
    assert_faults(answer, [": the file is empty; " if len(text) <= 1_000_000 else ": the file has "], "config.yaml")
    assert WHOLE_FILE.fullmatch(answer.lines[0])


@pytest.mark.parametrize("bomb", [MERGE_BOMB, LAUGHS], ids=["merge keys", "a billion laughs"])
def test_a_bomb_is_refused_before_it_grows(bomb: str) -> None:
    # Stock safe_load works for many seconds, or for ever, on either; here every part of it is named once.
    assert len(bomb) < 800
    parts = [r"unknown key; ", r"anchor &\w is refused; ", r"alias \*\w is refused; ", r"merge key << is refused; "]
    counts = [bomb.count("\n"), bomb.count("&"), bomb.count("*"), bomb.count("<<")]
    answer = check(bomb)
    assert answer.code == 2
    assert [sum(bool(re.search(part, line)) for line in answer.lines) for part in parts] == counts
    assert len(answer.lines) == sum(counts)
    assert all(PLACED.fullmatch(line) for line in answer.lines)


# --------------------------------------------------------------------------------- as many messages as there are faults

MANY = """\
logging: {level: info, file: 7}
distilation: {}
distillation:
  temperature: 0
  temperature: 1
  alpha: 1.5
  teacher_hidden: [64, x]
  train_ratio: .nan
  epochs: 3
data: [rows.csv]
teachers:
  a: {hidden: 0, optimizer: adamw}
student:
  terms:
    - {loss: response, weight: -1}
    - {loss: hinge}
    - 5
output: {folder: &f ""}
"""
MANY_FAULTS = [
    "1:18: logging.level: 'info'",
    "1:30: logging.file: 7 is not allowed",
    "2:1: distilation: unknown key",
    "4:16: distillation.temperature: 0 is not allowed",
    "5:3: duplicate key 'temperature' … config.yaml:4:3",
    "6:10: distillation.alpha: 1.5 is not allowed",
    "7:19: distillation.teacher_hidden: a list is given",
    "8:16: distillation.train_ratio: nan is not allowed",
    "9:3: distillation.epochs: unknown key",
    "10:7: data: a list is given",
    "12:15: teachers.a.hidden: 0 is not allowed",
    "12:29: teachers.a.optimizer: 'adamw' is a text",
    "15:32: student.terms[0].weight: -1 is not allowed",
    "16:14: student.terms[1].loss: 'hinge' is a text",
    "17:7: student.terms[2]: 5 is not allowed",
    "18:18: anchor &f is refused",
    "18:18: output.folder: the text is empty",
]


def test_every_fault_is_reported_at_once_in_the_order_of_the_file() -> None:
    assert_faults(check(MANY), MANY_FAULTS)


@pytest.mark.parametrize("count", [1, 2, 7, 5000])
def test_as_many_messages_as_unknown_keys(count: int) -> None:
    assert_faults(check("".join(f"q{i}: 1\n" for i in range(count))), [f"{i + 1}:1: q{i}:" for i in range(count)])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("distillation: {optimizer: sdg, momentum: 0.5}", "1:27: distillation.optimizer: 'sdg'"),
        ("distillation: {optimiser: sgd, momentum: 0.5}", "1:16: distillation.optimiser: unknown key"),
        ("distillation: {optimizer: *o, momentum: 0.5}", "1:27: alias *o is refused"),
        ("distillation: {optimizer: !o sgd, momentum: 0.5}", "1:27: tag !o is refused"),
        ("distillation: {<<: {optimizer: sgd}, momentum: 0.5}", "1:16: merge key << is refused"),
        ("student: {optimizer: SGD, momentum: 0.5}", "1:22: student.optimizer: 'SGD'"),
        ("teachers: {t: {optimizer: 5, momentum: 0.5}}", "1:27: teachers.t.optimizer: 5 is"),
        (
            "distillation: {momentum: 0.5}\nteachers: {t: {optimizer: sdg}}",
            "2:27: teachers.t.optimizer: 'sdg' is a text",
        ),
        ("data: {source: 5, label: y}", "1:16: data.source: 5 is not"),
        ("data: {sorce: rows.csv, label: y}", "1:8: data.sorce: unknown key; did you mean 'source'?"),
        ("data: {source: '', header: true}", "1:16: data.source: the text is empty"),
        ("data: {source: *s, header: true}", "1:16: alias *s is refused"),
        ("teachers: [a]\nstudent: {terms: [{loss: response, teacher: a}]}", "1:11: teachers: a list is given"),
        ("teachers: *a\nstudent: {terms: [{loss: response, teacher: a}]}", "1:11: alias *a is refused"),
        ("teacher: {a: {}}\nstudent: {terms: [{loss: response, teacher: a}]}", "1:1: teacher: unknown key"),
        ("student: {terms: [{los: response}]}", "1:20: student.terms[0].los: unknown key; did you mean 'loss'?"),
        ("student: {terms: [{loss: responce, temperature: 3}]}", "1:26: student.terms[0].loss: 'responce'"),
        ("student: {terms: [{loss: cross_entropy, temperature: -1}]}", "1:54: student.terms[0].temperature: -1 is not"),
        ("student: {terms: [{loss: cross_entropy, weight: x}]}", "1:49: student.terms[0].weight: 'x' is a text"),
        ("distillation: {alpha: 7}\nstudent: {terms: [{loss: response}]}", "1:23: distillation.alpha: 7 is not"),
        ("distillation: 5\nstudent: {epochs: 3}", "1:15: distillation: 5 is not allowed"),
    ],
)
def test_one_mistake_gives_one_message_and_no_consequences(text: str, expected: str) -> None:
    assert_faults(check(text), [expected])


# ---------------------------------------------------------------------------- nothing silently becomes something else


@pytest.mark.parametrize("label", ["no", "Yes", "on", "017", "1:30", "0x1F", "2024-01-01", "1_000", "0o7", "1e", "nan"])
def test_a_word_stays_the_word_that_was_written(label: str) -> None:
    Path("rows.csv").write_text(ROWS.replace("y\n", f"{label}\n", 1))
    answer = check(f"data: {{source: rows.csv, label: {label}}}\n")
    assert (answer.code, answer.lines) == (0, [])
    assert distill.load_config("config.yaml").data.label == label


@pytest.mark.parametrize(
    ("written", "meant"),
    [("1e-3", 0.001), ("1E-3", 0.001), ("+.5e0", 0.5), ("1.", 1.0), ("7", 7.0), ("0.10", 0.1), ("1e+2", 100.0)],
)
def test_a_number_is_a_number(written: str, meant: float) -> None:
    answer = check(f"distillation: {{learning_rate: {written}}}\n")
    assert (answer.code, answer.lines) == (0, [])
    assert distill.load_config("config.yaml").distillation.learning_rate == meant


# ---------------------------------------------------------------------------------------------------------- overrides


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("distillation.temperature=0", "distillation.temperature: 0 is not allowed; must be a number above 0"),
        ("distillation.temperature=", "distillation.temperature: nothing is given (null); must be a number"),
        ("distillation.temperature=2=3", "distillation.temperature: '2=3' is a text; must be a number"),
        ("distillation.temperature= = ", "distillation.temperature: '=' is a text; must be a number"),
        ("distillation.temperature=.nan", "distillation.temperature: nan is not allowed"),
        ("distillation.temperature=no", "distillation.temperature: 'no' is a text"),
        ("distillation.temperature=true", "distillation.temperature: true is a truth value"),
        (f"distillation.temperature={DIGITS}", "distillation.temperature: inf is not allowed"),
        ("distillation.temprature=2", "distillation.temprature: unknown key; did you mean 'temperature'?"),
        ("distilation.alpha=1", "distilation: unknown key; did you mean 'distillation'?"),
        ("temperature=2", "temperature: unknown key; it belongs in distillation.temperature"),
        ("distillation=5", "distillation: 5 is not allowed; must be a mapping of keys"),
        ("distillation.alpha.x=1", "distillation.alpha: a mapping is given; must be a number from 0 "),
        ("student.hidden=[64,32", NO_YAML),
        ("student.hidden=[64,0]", "student.hidden: a list is given: [64, 0]; must be a whole number"),
        ("student.terms[0].weight=1", "student.terms[0]: unknown key; did you mean 'terms'?"),
        ("student.terms.0=1", "student.terms: a mapping is given; must be a list of terms"),
        ("data.source=*x", "alias *x is refused"),
        ("data={<<: {scale: none}}", "merge key << is refused"),
        ("data.source=!!python/name:os.system", "tag tag:yaml.org,2002:python/name:os.system is refused"),
        ("data={scale: none, scale: none}", "duplicate key 'scale'"),
        ("data.scale=a: b: c", NO_YAML),
        ("data.source=" + "[" * 40, "nested more than 32 levels deep"),
        ("data.source=--- 1\n--- 2", "a second document begins"),
        ("data.source=\x07", "… not allowed in YAML"),
        ("data.source=\udcff", "the character U+DCFF is not allowed"),
        ("\udcff=1", "\\udcff: unknown key; "),
        (f'x=":{DIGITS}:1: y"', "x: unknown key"),
        ("distillation.alpha=2\n", "distillation.alpha: 2 is not allowed"),
        ("a\nb=2", "… : unknown key"),
        ("\x1b[31m=2", "… : unknown key"),
        ("distillation.temperature", "not an override; write --set SECTION.KEY=VALUE"),
        ("=1", "not an override; "),
        ("", "not an override; "),
        (".=1", "not an override; "),
        ("distillation..alpha=1", "not an override; "),
        ("distillation.=1", "not an override; "),
        ("distillation: {alpha: 1}", "not an override; "),
        ("--alpha", "not an override; "),
    ],
)
def test_an_override_goes_through_the_same_checks(override: str, expected: str) -> None:
    answer = check("distillation: {}\n", override)
    assert_faults(answer, [f"--set … : {expected}"], "")
    if override.isprintable():
        assert answer.lines[0].startswith(f"--set {override}: ")


def test_overrides_and_file_are_judged_together() -> None:
    answer = check("distillation: {alpha: 7, clip: 0}\n", "distillation.alpha=0.5", "nonsense", "data.scale=x")
    assert_faults(answer, ["--set nonsense: ", "--set data.scale=x: data.scale: ", "config.yaml:1:32: distill"], "")


def test_good_overrides_take_effect() -> None:
    sets = ["distillation.temperature=2", "student.hidden=[64,32]", "data.source=rows.csv", "data.label=y"]
    answer = check("distillation: {temperature: 0}\n", *sets)
    assert (answer.code, answer.lines) == (0, [])
    plan = distill.load_config("config.yaml", sets)
    assert (plan.distillation.temperature, plan.student.hidden, plan.data.label) == (2, (64, 32), "y")


@pytest.mark.parametrize(
    ("text", "override", "expected"),
    [
        ("[1, 2]", "distillation.alpha=0.5", "1:1: the top level: a list is given"),
        ("nonsense", "distillation.alpha=0.5", "1:1: the top level: 'nonsense' is a text"),
        ("distillation: 5", "distillation.alpha=0.5", "1:15: distillation: 5 is not allowed"),
        ("data: [rows.csv]", "data.scale=none", "1:7: data: a list is given"),
        ("teachers: [a]", "teachers.t.epochs=3", "1:11: teachers: a list is given"),
        ("teachers: {t: 5}", "teachers.t.epochs=3", "1:15: teachers.t: 5 is not allowed"),
        ("data: *x", "data.scale=none", "1:7: alias *x is refused"),
    ],
)
def test_an_override_inside_does_not_hide_a_fault_around_it(text: str, override: str, expected: str) -> None:
    assert_faults(check(text, override), [expected])


# ------------------------------------------------------------------------------------- words, variables and file names


@pytest.mark.parametrize(
    "words",
    [
        [""],
        ["bogus"],
        ["chekc"],
        ["CHECK"],
        ["\udcff"],
        ["run", "config.yaml"],
        ["-x"],
        ["--", "check"],
        ["--set"],
        ["--config"],
        ["--output"],
        ["check", "--json"],
        ["check", "--output", "o.json"],
        ["check", "check"],
        ["run", "--verbose", "--quiet"],
        ["run", "--quiet=yes"],
        ["evaluate"],
        ["predict", "--model", "m.npz"],
        ["predict", "--data", "rows.csv"],
        ["predict", "--model", "m.npz", "--data", "rows.csv", "--label", "y"],
        ["evaluate", "--model", "m.npz", "--data", "rows.csv", "--config", "config.yaml"],
        ["evaluate", "--model", "m.npz", "--data", "rows.csv", "--label"],
    ],
    ids=" ".join,
)
def test_a_wrong_command_line_is_answered_with_usage(words: list[str]) -> None:
    Path("config.yaml").write_text(TINY)
    answer = ask(*words)
    assert (answer.code, answer.out) == (2, "")
    assert answer.lines[0].startswith("usage: distill")
    assert sum(": error: " in line for line in answer.lines) == 1
    assert all(line.isprintable() for line in answer.lines)
    assert not Path("runs").exists()


@pytest.mark.parametrize("name", ["", ".", "nope.yaml", LONG, "x/" * 3000, "config.yaml/x", "loop", "\udcff.yaml", "~"])
@pytest.mark.parametrize("given_by", ["option", "variable"])
def test_a_configuration_that_cannot_be_read(name: str, given_by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("config.yaml").write_text(TINY)
    Path("loop").symlink_to("loop")
    if given_by == "option":
        answer = ask("check", "--config", name)
    else:
        monkeypatch.setenv("DISTILL_CONFIG", name or "/")  # an empty variable counts as unset
        answer = ask("check")
    assert_faults(answer, ["… : cannot be read: … ; "], "")


@pytest.mark.parametrize("name", ["100%.yaml", "5%z", "%", "%(x)s", "{x}", "%s"])
def test_an_odd_default_does_not_break_the_help(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISTILL_CONFIG", name)
    answer = ask("run", "--help")
    assert (answer.code, answer.lines) == (0, [])
    assert f"(default: {name})" in " ".join(answer.out.split())


@pytest.mark.parametrize("command", ["check", "predict", "evaluate", "run"])
@pytest.mark.parametrize(
    "value",
    ["0", "-1", "1.5", "1025", "9" * 400, "two", " 2", "2 ", "AUTO", "²", "٣", "1e3", "0x2", "0000000011111111", "\t"],
)
def test_an_odd_number_of_threads(value: str, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISTILL_THREADS", value)
    Path("config.yaml").write_text(TINY)
    answer = ask(command, *(["--model", "m.npz", "--data", "rows.csv"] if command in ("predict", "evaluate") else []))
    assert_faults(answer, ["DISTILL_THREADS: … must be auto or 1 to 1024"], "")
    assert not Path("runs").exists()


@pytest.mark.parametrize("value", ["bogus", "5", " INFO", "INFO,DEBUG", "TRUE", "NOTSET", "\x1b[31m", "x" * 300, "\n"])
def test_an_odd_log_level(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISTILL_LOG_LEVEL", value)
    levels = "must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL"
    assert_faults(check(TINY), [f"DISTILL_LOG_LEVEL: … {levels}"], "")
    answer = check("distillation: {alpha: 2}")
    assert len(answer.lines) == 2, "the variable's fault joins those of the file"


@pytest.mark.parametrize("value", ["", "debug", "Info", "CRITICAL"])
def test_a_usable_log_level(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISTILL_LOG_LEVEL", value)
    assert check(TINY)[::2] == (0, [])


@pytest.mark.parametrize("value", ["²", "4,2", DIGITS, "many", "-1"])
def test_threads_of_others_that_mean_nothing_do_not_break_a_run(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, value)
    Path("config.yaml").write_text(TINY)
    assert ask("run", "--quiet")[::2] == (0, [])


# ---------------------------------------------------------------------------------------------- outputs that cannot be


def run(text: str, *options: str) -> Answer:
    Path("config.yaml").write_text(text)
    return ask("run", "--quiet", *options)


@pytest.mark.parametrize("folder", ["/", ".", "..", "rows.csv", "rows.csv/x", LONG, "x" * 250, "loop", "loop/x", "in"])
def test_a_run_folder_that_cannot_be(folder: str, tmp_path: Path) -> None:
    Path("loop").symlink_to("loop")
    Path("in").mkdir()
    Path("in/precious").write_text("mine")
    answer = run(TINY + f"output: {{folder: {folder}}}\n")
    assert answer.code == 5
    assert len(answer.lines) == 1
    assert answer.lines[0].startswith("error: ")
    assert Path("in/precious").read_text() == "mine"
    assert Path("rows.csv").read_text() == ROWS


@pytest.mark.parametrize("output", ["", ".", "rows.csv/x", LONG, "loop", "config.yaml", "./config.yaml", "rows.csv"])
def test_an_output_file_that_cannot_be(output: str) -> None:
    Path("loop").symlink_to("loop")
    answer = run(TINY, "--output", output)
    assert answer.code == 5
    assert len(answer.lines) == 1
    assert answer.lines[0].startswith("error: ")
    assert (Path("config.yaml").read_text(), Path("rows.csv").read_text()) == (TINY, ROWS), "an input was overwritten"
    assert not Path("runs").exists(), "reported only after the training"


@pytest.mark.parametrize("file", [".", "rows.csv/x", LONG, "loop", "/proc/nowhere/x", "config.yaml", "rows.csv"])
def test_a_log_file_that_cannot_be(file: str) -> None:
    Path("loop").symlink_to("loop")
    text = TINY.replace("file: null", f"file: {file}")
    answer = run(text)
    assert answer.code == 5
    assert len(answer.lines) == 1
    assert answer.lines[0].startswith("error: ")
    assert (Path("config.yaml").read_text(), Path("rows.csv").read_text()) == (text, ROWS), "an input was written to"


# ----------------------------------------------------------------------------- values that are allowed but extreme


@pytest.mark.parametrize(
    "extreme",
    [
        "learning_rate: 1000",
        "learning_rate: 1000, optimizer: sgd",
        "learning_rate: 5e-324",
        "temperature: 1e-300",
        "temperature: 1e-40, t_squared: false",
        "temperature: 10000",
        "clip: 5e-324",
        "clip: 1e9, optimizer: sgd",
        "weight_decay: 1000, learning_rate: 1000",
        "momentum: 0.9999999999999999, optimizer: sgd",
        "warmup: 0.9999999999999999, schedule: cosine",
        "schedule: step, warmup: 5e-324",
        "alpha: 5e-324",
        "alpha: 0",
        "alpha: 1",
        "train_ratio: 1e-300",
        "train_ratio: 0.9999999999999999",
        "batch_size: 1000000",
        "random_seed: 4294967295",
        "max_samples: 3",
        "max_samples: 1000000000",
        "student_epochs: 0",
        "teacher_epochs: 0",
        f"student_hidden: [{', '.join('1' * 64)}]",
    ],
)
def test_an_extreme_run_ends_in_a_documented_way(extreme: str) -> None:
    # Warnings are errors here: neither NumPy nor anything else may warn.
    keys = {"teacher_hidden": 4, "teacher_epochs": 3, "student_epochs": 3} | {"student_hidden": 3}
    base = ", ".join(f"{name}: {value}" for name, value in keys.items() if f"{name}:" not in extreme)
    text = f"logging: {{file: null}}\ndata: {{source: rows.csv}}\ndistillation: {{{base}, {extreme}}}\n"
    text += "teachers: {t: {learning_rate: 0.1, batch_size: 4, optimizer: adam, schedule: constant, warmup: 0, "
    text += "weight_decay: 0, clip: null}}\n"
    answer = run(text)
    assert answer.code in (0, 1, 3)
    assert len(answer.lines) == (answer.code != 0)
    assert all(line.startswith("error: ") for line in answer.lines)


# ---------------------------------------------------------------------------------------------- whatever comes to mind

VALID = """\
logging:
  level: INFO
  file: null
distillation:
  teacher_hidden: [8, 4]
  student_hidden: 4
  teacher_epochs: 1
  student_epochs: 1
  temperature: 4.0
  alpha: 0.7
  t_squared: true
  learning_rate: 1e-2
  batch_size: 8
  train_ratio: 0.8
  max_samples: null
  random_seed: 0
data:
  source: rows.csv
  label: y
  header: true
  scale: standard
teachers:
  big:
    hidden: 8
    optimizer: sgd
    momentum: 0.5
student:
  schedule: cosine
  terms:
    - loss: response
      weight: 0.5
      teacher: big
    - loss: cross_entropy
      weight: 0.5
output:
  folder: null
"""
WORDS = sorted(set(re.findall(r"\w+", VALID)))
# Widths stay small or far out of range: a network that fills the memory is another matter.
SCALARS = st.one_of(
    st.sampled_from([*WORDS, *"~.-?:,#|>%@&*!'\"[]{}", "<<", "---", "...", "&a", "*a", "!!str", "!x", ""]),
    st.sampled_from(["no", "017", "1:30", "1e-3", ".nan", "-.inf", "1e999", "0x10", "1_0", "true", "null", DIGITS]),
    st.integers(-3, 300).map(str),
    st.integers(2**40, 2**200).map(str),
    st.floats().map(repr),
    st.text(max_size=6).map(json.dumps),
)
VALUES = st.one_of(
    SCALARS,
    st.lists(SCALARS, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
    st.dictionaries(SCALARS, SCALARS, max_size=3).map(
        lambda pairs: "{" + ", ".join(f"{name}: {value}" for name, value in pairs.items()) + "}"
    ),
)


@st.composite
def mutated_lines(draw: st.DrawFn) -> str:
    """The valid configuration with one to three of its lines dropped, doubled, moved, renamed or given other values."""
    lines = VALID.splitlines()
    for _ in range(draw(st.integers(1, 3))):
        i = draw(st.integers(0, len(lines) - 1))
        head, _, value = lines[i].partition(":")
        indent = head[: len(head) - len(head.lstrip(" -"))]
        match draw(st.sampled_from(["drop", "double", "move", "rename", "value", "value", "indent"])):
            case "drop":
                del lines[i]
            case "double":
                lines.insert(draw(st.integers(0, len(lines))), lines[i])
            case "move":
                lines.insert(draw(st.integers(0, len(lines) - 1)), lines.pop(i))
            case "rename":
                lines[i] = f"{indent}{draw(SCALARS)}:{value}"
            case "value":
                lines[i] = f"{head}: {draw(VALUES)}"
            case "indent":
                lines[i] = " " * draw(st.integers(0, 6)) + lines[i].lstrip()
    return "\n".join(lines) + "\n"


@st.composite
def mutated_bytes(draw: st.DrawFn) -> bytes:
    """The valid configuration with a few bytes or characters inserted, deleted or replaced."""
    raw = VALID.encode()
    pieces = st.one_of(
        st.binary(min_size=1, max_size=3),
        st.text(max_size=3).map(lambda text: text.encode("utf-8", "replace")),
        st.sampled_from([c.encode() for c in ":-[]{}#&*!|>'\"%@`,?\t\n \x00\x07\x85\u2028\ufeff"]),
    )
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(raw)))
        raw = raw[:start] + draw(st.just(b"") | pieces) + raw[start + draw(st.integers(0, 3)) :]
    return raw


def assert_documented(text: str | bytes) -> None:
    """Assert a valid plan, or faults of the documented shape, or data that the plan names and the disk lacks."""
    Path("config.yaml").write_text(VALID)
    valid = distill.load_config("config.yaml")
    answer = check(text)
    assert answer.code in (0, 2, 4)
    assert all(line.isprintable() for line in answer.lines), answer.lines
    if answer.code == 0:
        assert answer.lines == []
        assert answer.out.rstrip().endswith("nothing was trained and nothing written.")
    elif answer.code == 2:
        assert answer.out == ""
        assert answer.lines
        assert all(PLACED.fullmatch(line) or WHOLE_FILE.fullmatch(line) for line in answer.lines), answer.lines
        assert len(set(answer.lines)) == len(answer.lines)
    else:
        assert len(answer.lines) == 1
        assert answer.lines[0].startswith("error: ")
        plan = distill.load_config("config.yaml")
        after, before = [(each.data, each.distillation.max_samples) for each in (plan, valid)]
        assert after != before, "the data are valid, and the plan names the same"


@FUZZ
@given(mutated_lines())
def test_a_configuration_with_wrong_lines(text: str) -> None:
    assert_documented(text)


@FUZZ
@given(mutated_bytes())
def test_a_configuration_with_wrong_bytes(raw: bytes) -> None:
    assert_documented(raw)


@FUZZ
@given(st.sampled_from(WORDS), SCALARS, VALUES)
def test_an_override_of_anything(section: str, key: str, value: str) -> None:
    answer = check(VALID, f"{section}.{key}={value}")
    assert answer.code in (0, 2, 4)
    assert all(line.isprintable() for line in answer.lines), answer.lines
    if answer.code == 2:
        assert all(line.startswith("--set ") or PLACED.fullmatch(line) for line in answer.lines), answer.lines


@FUZZ
@given(st.text(max_size=40) | st.binary(max_size=40))
def test_a_file_of_anything(content: str | bytes) -> None:
    answer = check(content)
    assert answer.code in (0, 2)
    assert all(line.isprintable() for line in answer.lines), answer.lines
    assert all(PLACED.fullmatch(line) or WHOLE_FILE.fullmatch(line) for line in answer.lines), answer.lines
