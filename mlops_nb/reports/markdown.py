"""A document as Markdown for GitHub and GitLab, safe whatever the texts in it are.

Texts of people and programs are shown as code: there GitHub makes no links, mentions or formatting of them. Where a
backtick or a pipe could end the code or the table cell, HTML's `<code>` with every punctuation as entity takes over.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence

from mlops_nb.reports.document import Block, Document, Image, Line, Listing, Span, Table, Tone

_SIGNS: dict[Tone, str] = {"good": "✅", "bad": "❌", "warning": "⚠️", "open": "⏳", "neutral": "⚪"}
_MARKDOWN = re.compile(r"[\\`*_\[\]|~<>&]")


def to_markdown(document: Document, paths: Mapping[str, str]) -> str:
    """Return the document as GitHub-flavoured Markdown.

    Args:
        document: What to write.
        paths: The address of each image by its name; images without one are left out.
    """
    parts = [
        f"<!-- mlops-nb:report:{_marker(document.title)} -->",
        f"### {_SIGNS[document.tone]} {_line(document.headline)}",
        _line(document.note),
        *(_block(block, paths) for block in document.blocks),
        f"<sub>{_line(document.footer)}</sub>",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _marker(title: str) -> str:
    """Return what identifies the report to whoever replaces it later; nothing that could end the comment."""
    return re.sub(r"[^\w./ ]+", "-", title, flags=re.ASCII)[:120].strip("- ")


def _block(block: Block, paths: Mapping[str, str]) -> str:
    images = [image for image in block.images if image.name in paths]
    listings = [_listing(listing) for listing in block.listings if listing.language is not None]
    lines = "\n".join(f"- {_line(line)}" for line in block.lines)
    parts = [_table(block.table) if block.table else "", lines, *listings, _images(images, paths)]
    body = "\n\n".join(part for part in parts if part)
    if not body:
        return ""
    if block.folded:
        subject = f" <code>{_entities(block.subject)}</code>" if block.subject else ""
        return f"<details><summary>{html.escape(block.title)}{subject}</summary>\n\n{body}\n\n</details>"
    return f"#### {_escape(block.title)}\n\n{body}" if block.title else body


def _table(table: Table) -> str:
    rules = ("--:" if place in table.numeric else ":--" for place in range(len(table.header)))
    lines = [_row(table.header), f"|{'|'.join(rules)}|", *map(_row, table.rows)]
    text = "\n".join(lines)
    return f"{text}\n\n{table.left_out:,} more rows are left out." if table.left_out else text


def _row(cells: Sequence[Line]) -> str:
    return f"| {' | '.join(map(_line, cells))} |"


def _listing(listing: Listing) -> str:
    """Return a text in a fence that is longer than any in it."""
    longest = max(map(len, re.findall(r"`+", listing.text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{_line(listing.caption)}\n\n{fence}{listing.language}\n{listing.text}\n{fence}"


def _images(images: Sequence[Image], paths: Mapping[str, str]) -> str:
    """Return images two in a row, each under its caption."""
    tables: list[str] = []
    for start in range(0, len(images), 2):
        pair = images[start : start + 2]
        shown = [f"![{_alt(image.caption)}]({paths[image.name]})" for image in pair]
        rule = f"|{'|'.join(['---'] * len(pair))}|"
        captions: list[Line] = [() if image.titled else image.caption for image in pair]
        tables.append("\n".join([_row(captions), rule, f"| {' | '.join(shown)} |"]))
    return "\n\n".join(tables)


def _alt(caption: Line) -> str:
    return "".join(_entities(span.text) for span in caption)


def _line(line: Line) -> str:
    return "".join(map(_span, line))


def _span(span: Span) -> str:
    if span.style == "name":
        return _code(span.text)
    text = _escape(span.text)
    if span.style in ("strong", "bad"):
        # Bold text may neither begin nor end with a space.
        return text.replace(text.strip(), f"**{text.strip()}**")
    return text


def _code(text: str) -> str:
    if "`" in text or "|" in text or "\\" in text:
        return f"<code>{_entities(text)}</code>"
    return f"`{text}`"


def _entities(text: str) -> str:
    """Return text in which no character means anything to Markdown or HTML."""
    return "".join(c if c.isalnum() or c in " -," or ord(c) > 127 else f"&#{ord(c)};" for c in text)


def _escape(text: str) -> str:
    """Return our own words with what Markdown would take for formatting escaped."""
    return _MARKDOWN.sub(lambda found: html.escape(found[0]) if found[0] in "<>&" else f"\\{found[0]}", text)
