"""The shape of a report between its content and its formats: blocks of tables and images, texts still unescaped."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

MAX_ROWS = 200

Tone = Literal["good", "bad", "warning", "open", "neutral"]
Style = Literal["plain", "name", "strong", "good", "bad", "muted"]


class Span(msgspec.Struct, frozen=True):
    """A piece of text. `name` marks what people or programs wrote; every format quotes it."""

    text: str
    style: Style = "plain"


Line = tuple[Span, ...]


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """Cells by row. `numeric` columns are aligned right; `left_out` counts rows that were cut."""

    header: tuple[Line, ...]
    rows: tuple[tuple[Line, ...], ...]
    numeric: frozenset[int] = frozenset()
    left_out: int = 0


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """An image with its file name, and its variant for dark pages if there is one. `titled`: it shows its caption itself."""

    name: str
    caption: Line
    media_type: str
    light: bytes
    dark: bytes | None = None
    titled: bool = False


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """A text of several lines as it is, such as the source of a cell. Pages show it, Markdown only what has a language."""

    caption: Line
    text: str
    language: str | None = None


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the report. `title` is in our words, `subject` in the user's; folded ones open on click."""

    title: str = ""
    subject: str = ""
    folded: bool = False
    lines: tuple[Line, ...] = ()
    table: Table | None = None
    images: tuple[Image, ...] = ()
    listings: tuple[Listing, ...] = ()


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """A report to be formatted. `tone` is the verdict in one word, which every format draws as a sign."""

    title: str
    tone: Tone
    headline: Line
    note: Line
    blocks: tuple[Block, ...]
    footer: Line


def plain(text: str) -> Line:
    """Return a line in our words."""
    return (Span(text),)


def name(text: str | None, limit: int = 120) -> Line:
    """Return a line that quotes text of people or programs, cut to `limit` characters; nothing gives a dash."""
    shown = one_line(text or "", limit)
    return (Span(shown, "name"),) if shown else (Span("–", "muted"),)


def one_line(text: str, limit: int) -> str:
    """Return text on one line without control characters, also without those that reverse the reading direction."""
    # The first cut keeps a text of megabytes from being walked through; the zero-width joiner builds emoji.
    kept = "".join(c if unicodedata.category(c)[0] != "C" or c == "\u200d" else " " for c in text[: limit * 4])
    shown = " ".join(kept.split())
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def table(header: Sequence[str | Line], rows: Sequence[Sequence[Line]], *, numeric: Iterable[int] = ()) -> Table:
    """Return a table of at most `MAX_ROWS` rows; texts in the header are our words."""
    return Table(
        header=tuple(plain(cell) if isinstance(cell, str) else cell for cell in header),
        rows=tuple(tuple(row) for row in rows[:MAX_ROWS]),
        numeric=frozenset(numeric),
        left_out=max(0, len(rows) - MAX_ROWS),
    )
