"""Pieces of HTML. The page needs nothing from outside and runs no script; whatever a user named is inert text in it."""

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from distill.errors import printable

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
STYLE = Path(__file__).with_name("page.css")


def document(title: str, body: str) -> str:
    """Return a whole page."""
    return (
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8>"
        f'<meta http-equiv=Content-Security-Policy content="{POLICY}">'
        "<meta name=viewport content='width=device-width, initial-scale=1'><link rel=icon href='data:,'>"
        f"<title>{inert(title)}</title><style>{STYLE.read_text(encoding='utf-8')}</style></head>\n"
        f"<body>{body}</body></html>\n"
    )


def inert(label: object) -> str:
    """Return a label or text as HTML that shows it and does nothing."""
    return escape(printable(str(label)))


def section(title: str, content: str) -> str:
    """Return a section with its heading."""
    return f"<section><h2>{title}</h2>{content}</section>\n"


def preformatted(text: str) -> str:
    """Return a text in which line breaks and spaces stay."""
    return f"<pre>{escape(text)}</pre>"


def flow(parts: Iterable[str]) -> str:
    """Return parts that stand beside each other as far as there is room."""
    return f"<div class=flow>{''.join(parts)}</div>"


def image(address: str, description: str) -> str:
    """Return an image, whose address is its data."""
    return f"<img alt='{description}' src='{address}'>"


def wide_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of HTML cells that scrolls where it is wider than the page."""
    head_cells = "".join(f"<th>{cell}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<div class=wide><table><tr>{head_cells}</tr>{body}</table></div>"
