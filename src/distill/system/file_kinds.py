"""What the first bytes of a file tell where it is none that is read here: a workbook, an archive, a web page."""

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from distill.errors import DataError

ZIP, GZIP, NPY = b"PK\x03\x04", b"\x1f\x8b", b"\x93NUMPY"
EXPORT = "export it as CSV (UTF-8)"
PICKLED = "write its arrays with numpy.savez, or give its model to distill.run(plan, teachers=...)"
UNPACK = "unpack it, and give the file in it"
# What a file begins with, and no table of texts does -> what it is, and what to do.
BEGINNINGS: dict[bytes, tuple[str, str]] = {
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": ("an old Excel workbook", EXPORT),
    b"version https://git-lfs.github.com/spec/": ("a Git LFS pointer, not the file itself", "run git lfs pull"),
    b"%PDF-": ("a PDF document", "give its table as CSV"),
    b"PAR1\x15": ("a Parquet file", "write it as CSV, or its arrays with numpy.savez"),
    b"ARROW1\0\0": ("an Arrow file", "write it as CSV, or its arrays with numpy.savez"),
    b"\x89HDF\r\n\x1a\n": ("an HDF5 file", "write its arrays with numpy.savez"),
    b"SQLite format 3\0": ("an SQLite database", "write its table as CSV"),
    NPY: ("a NumPy array", "name it .npy"),
    b"\x89PNG": ("a PNG picture", "give rows of numbers"),
    b"BZh91AY&SY": ("a bzip2 file", UNPACK),
    b"\xfd7zXZ\0": ("an xz file", UNPACK),
    b"\x28\xb5\x2f\xfd": ("a zstd file", UNPACK),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", UNPACK),
    b"\xff\xfe": ("a text in UTF-16", "save it as UTF-8"),
    b"\xfe\xff": ("a text in UTF-16", "save it as UTF-8"),
    GZIP: ("a gzip file", UNPACK),
    **{bytes([0x80, protocol]): ("a pickle (joblib), which is never loaded", PICKLED) for protocol in range(2, 6)},
}
# What a zip archive holds, or is called -> what it is then.
MEMBERS: dict[bytes, tuple[str, str]] = {
    b"xl/workbook": ("an Excel workbook", EXPORT),
    b".xlsx": ("an Excel workbook", EXPORT),
    b"opendocument.spreadsheet": ("an OpenDocument spreadsheet", EXPORT),
    b".npy": ("an archive of NumPy arrays", "name it .npz"),
}
MARKUP: dict[bytes, tuple[str, str]] = {
    b"<!doctype html": ("a web page", "download the file itself, by its raw link"),
    b"<html": ("a web page", "download the file itself, by its raw link"),
    b"<?xml": ("an XML document", EXPORT),
}
JSON = re.compile(rb"\{\s*[\"}]|\[\s*[\[{]")  # no field of a CSV begins so


def foreign(raw: bytes, name: str) -> str | None:
    """Say what a file of these bytes (or the first thousands of them) and this name is, and what to do with it; None
    where they tell nothing."""
    called = name.lower().encode("utf-8", "surrogateescape")
    start = raw[:1000].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    looks: tuple[tuple[dict[bytes, tuple[str, str]], Callable[[bytes], bool]], ...] = (
        (BEGINNINGS, raw.startswith),
        (MEMBERS, lambda mark: raw.startswith(ZIP) and (mark in raw or called.endswith(mark))),
        ({ZIP: ("a zip archive", UNPACK)}, raw.startswith),
        (MARKUP, start.startswith),
    )
    for known, fits in looks:
        for mark, (what, do) in known.items():
            if fits(mark):
                return f"is {what}; {do}"
    return "is JSON; write it as CSV" if JSON.match(start) else None


def refuse_foreign(path: Path, expected: bytes) -> None:
    """Raise DataError where a file that could not be read does not begin as it should, and its bytes tell why."""
    if what := told_by_bytes(path, expected):
        raise DataError(f"{path}: {what}")


def told_by_bytes(path: Path, expected: bytes) -> str | None:
    """As `foreign`, of a file that does not begin as it should."""
    with suppress(OSError):
        if path.is_file():  # a pipe would have us wait
            with path.open("rb") as file:
                raw = file.read(4096)
            return None if raw.startswith(expected) else foreign(raw, path.name)
    return None
