"""What stands for a view where no widget can be drawn: a table in HTML without a script, and in text."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from mlops_nb.core.formatting import fitted, one_line, padded, width

Bundle = dict[str, str]
_COLUMNS, _ROWS = 8, 25


def table_bundle(title: str, header: Sequence[str], rows: Sequence[Sequence[str]], note: str = "") -> Bundle:
    """Return a table of texts as HTML and as text; at most 25 rows."""
    shown = [list(row) for row in rows[:_ROWS]]
    head = "".join(f'<th style="text-align:left;padding:1px 10px 1px 0">{escape(each)}</th>' for each in header)
    cells = ["".join(f'<td style="padding:1px 10px 1px 0">{escape(one_line(cell))}</td>' for cell in row) for row in shown]
    body = "".join(f"<tr>{each}</tr>" for each in cells)
    foot = f'<div style="opacity:.75">{escape(note)}</div>' if note else ""
    html = f"<div><b>{escape(one_line(title))}</b><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{foot}</div>"
    texts = [[fitted(one_line(cell), 24) for cell in row[:_COLUMNS]] for row in [list(header), *shown]]
    widths = [max(width(row[at]) for row in texts) for at in range(len(texts[0]))] if texts[0] else []
    lines = ["  ".join(padded(cell, size) for cell, size in zip(row, widths, strict=True)).rstrip() for row in texts]
    return {"text/plain": "\n".join(filter(None, [one_line(title), *lines, note])), "text/html": html}
