"""Recognise files that cannot be read as data by their first bytes: workbooks, archives, web pages."""

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from distill.errors import DataError

ZIP, GZIP, NPY = b"PK\x03\x04", b"\x1f\x8b", b"\x93NUMPY"
EXPORT = "export it as CSV (UTF-8)"
PICKLED = "write its arrays with numpy.savez, or give its model to distill.run(plan, teachers=...)"
UNPACK = "unpack it, and give the file in it"
# First bytes that no text table has -> what the file is, and what to do.
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
# What a zip archive contains, or how its name ends -> what it is, and what to do.
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


def describe_other_kind(raw: bytes, name: str) -> str | None:
    """Return what a file with these first bytes and this name is, and what to do with it; None if unknown."""
    file_name = name.lower().encode("utf-8", "surrogateescape")
    start = raw[:1000].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    tables: tuple[tuple[dict[bytes, tuple[str, str]], Callable[[bytes], bool]], ...] = (
        (BEGINNINGS, raw.startswith),
        (MEMBERS, lambda mark: raw.startswith(ZIP) and (mark in raw or file_name.endswith(mark))),
        ({ZIP: ("a zip archive", UNPACK)}, raw.startswith),
        (MARKUP, start.startswith),
    )
    for table, matches in tables:
        for mark, (kind, advice) in table.items():
            if matches(mark):
                return f"is {kind}; {advice}"
    return "is JSON; write it as CSV" if JSON.match(start) else None


def reject_other_kind(path: Path, expected: bytes) -> None:
    """Raise DataError if a file that could not be read does not start with `expected` and is of a known kind."""
    if description := describe_file(path, expected):
        raise DataError(f"{path}: {description}")


def describe_file(path: Path, expected: bytes) -> str | None:
    """Return `describe_other_kind` of a file that does not start with `expected`, else None."""
    with suppress(OSError):
        if path.is_file():  # reading from a pipe would wait
            with path.open("rb") as file:
                raw = file.read(4096)
            return None if raw.startswith(expected) else describe_other_kind(raw, path.name)
    return None
