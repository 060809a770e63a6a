"""A cell that differs: its source, and what it showed before and after, as lines with signs."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from functools import partial
from itertools import zip_longest

from mlops_nb.reports.pull_request.data import Cell, Output
from mlops_nb.reports.pull_request.flavors import Flavor, lines

_SOURCE_LINES, _OUTPUT_LINES = 40, 30
_WIDTH = 140
_SIGNS = ("  ", "- ", "+ ")


def cell_text(cell: Cell, flavor: Flavor) -> str:
    """Return a cell as Markdown: what differs in one line, its source, its outputs, its pictures."""
    parts = [title_of(cell, flavor)]
    if source := source_lines(cell):
        parts.append(flavor.fence("\n".join(_cut(source, _SOURCE_LINES))))
    if shown := output_lines(cell):
        parts.append(flavor.fence("\n".join(_cut(shown, _OUTPUT_LINES))))
    if pictures := picture_rows(cell):
        rows = [f"| {' | '.join(map(partial(_picture, cell, flavor), pair))} |" for pair in pictures[:3]]
        parts.append("\n".join(["| before | after |", "|:-:|:-:|", *rows]))
    return "\n\n".join(parts)


def title_of(cell: Cell, flavor: Flavor) -> str:
    """Return the line over a cell: its label, what became of it, how it begins."""
    label = flavor.prose(cell.label, 40)
    first = f" {flavor.code(cell.first_line, 70)}" if cell.first_line else ""
    said = f": {flavor.prose(cell.summary, 240)}" if cell.summary else ""
    return f"{flavor.strong(f'Cell {label}')} {cell.status.value}{first}{said}"


def _picture(cell: Cell, flavor: Flavor, path: str) -> str:
    return flavor.image(f"cell {cell.label}", path) if path else "–"


def source_lines(cell: Cell) -> list[str]:
    """Return the lines of the source, each behind its sign."""
    if not cell.diff.strip():
        return []
    return [line if line.startswith(_SIGNS) else f"  {line}" for line in lines(cell.diff.strip("\n"), _WIDTH)]


def output_lines(cell: Cell) -> list[str]:
    """Return what the cell showed before and after, as lines behind signs, with one line around each change."""
    before, after = (_shown(outputs) for outputs in (cell.before, cell.after))
    if before == after:
        return []
    found: list[str] = []
    for line in difflib.unified_diff(before[:2000], after[:2000], n=1, lineterm=""):
        if line.startswith(("---", "+++")) and len(line) <= 4:
            continue
        found.append("  …" if line.startswith("@@") else f"{line[:1]} {line[1:]}")
    return found[1:] if found[:1] == ["  …"] else found


def _shown(outputs: Sequence[Output]) -> list[str]:
    found: list[str] = []
    for output in outputs:
        if output.kind == "table":
            found += [" | ".join(" ".join(lines(cell, 60)) for cell in row)[:_WIDTH] for row in output.rows]
        elif output.kind != "image":
            found += lines(output.text.strip("\n"), _WIDTH)
    return found


def picture_rows(cell: Cell) -> list[tuple[str, str]]:
    """Return the pictures before and after beside each other, by path; "" where there is none."""
    before, after = ([output.path for output in outputs if output.path is not None] for outputs in (cell.before, cell.after))
    return list(zip_longest(before, after, fillvalue=""))


def _cut(text: Sequence[str], most: int) -> list[str]:
    return list(text) if len(text) <= most else [*text[:most], f"  … {len(text) - most:,} more lines"]
