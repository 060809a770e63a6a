"""A comparison as a document, for Markdown and HTML: the report of its runs with what explains the change, data and cells."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from mlops_nb.comparing.cells import CellPair, CellSide, CellStatus
from mlops_nb.core.comparison import ValueRow
from mlops_nb.reports.content import build_report
from mlops_nb.reports.document import Block, Document, Image, Line, Listing, Span, name, plain, table
from mlops_nb.reports.figures import draw_figures
from mlops_nb.reports.outline import outline
from mlops_nb.store.base import TrackingStore

if TYPE_CHECKING:
    from mlops_nb.comparing.comparison import Comparison

_CAUSES = 8
_CELLS = 30
_DIFF_LINES = 80
_PICTURES = 8
_AROUND = 3


def document_of(store: TrackingStore, comparison: Comparison, *, figures: bool = True) -> Document:
    """Return the comparison as a document.

    Args:
        store: Where its runs are.
        comparison: The comparison.
        figures: Draw curves and bars, which needs Matplotlib.

    Raises:
        MissingDependencyError: If there is something to draw and Matplotlib is not installed.
        StoreError: If the store cannot be read.
    """
    report = build_report(store, comparison.runs, comparison=comparison.result)
    document = outline(report, draw_figures(report, dark=True) if figures else [])
    added = [*_causes(comparison), *_data(comparison), *_environment(comparison.environment), *_cells(comparison.cells)]
    at = next((place for place, block in enumerate(document.blocks) if block.title == "What changed"), 0) + 1
    return msgspec.structs.replace(document, blocks=(*document.blocks[:at], *added, *document.blocks[at:]))


def _causes(comparison: Comparison) -> list[Block]:
    causes = comparison.causes[:_CAUSES]
    lines = tuple((Span(f"{cause.kind.value} ", "strong"), *name(cause.text, 160)) for cause in causes)
    return [Block(title="What may explain it, the likeliest first", lines=lines)] if lines else []


def _data(comparison: Comparison) -> list[Block]:
    data = comparison.data
    if data is None or not (data.pairs or data.only_base or data.only_other):
        return []
    lines = tuple(name(line, 400) for line in str(data).splitlines()[:20])
    return [Block(title="Data: the same" if data.same else "Data: it differs", folded=data.same, lines=lines)]


def _environment(rows: Sequence[ValueRow]) -> list[Block]:
    changed = [row for row in rows if row.changed]
    if not changed:
        return []
    body = [(name(row.key, 60), *(name(value, 60) if value is not None else plain("–") for value in row.values)) for row in changed]
    header = ("what", "base", *(f"run {number}" if len(changed[0].values) > 2 else "other" for number in range(1, len(changed[0].values))))
    return [Block(title=f"Environment: {len(changed)} changed", folded=True, table=table(header, body))]


def _cells(cells: Sequence[CellPair]) -> list[Block]:
    changed = [pair for pair in cells if pair.status is not CellStatus.SAME]
    if not cells:
        return []
    if not changed:
        return [Block(title=f"{len(cells)} cells: all the same", folded=True, lines=(plain("No source and no output differs."),))]
    body = [(plain(label_of(pair)), plain(pair.status.value), name(first_line(pair), 60), name(pair.summary, 200)) for pair in changed]
    listings = [
        Listing(caption=(*plain(f"{label_of(pair)}: "), *name(pair.summary, 200)), text=diff_text(pair.source_diff), language="diff")
        for pair in changed[:_CELLS]
        if pair.source_changed and pair.source_diff
    ]
    return [
        Block(
            title=f"{len(changed)} of {len(cells)} cells changed",
            folded=True,
            table=table(("cell", "status", "first line", "what"), body),
            listings=tuple(listings),
            images=tuple(_pictures(changed)),
        )
    ]


def label_of(pair: CellPair) -> str:
    """Return what people call a cell: its numbers in both runs."""
    numbers = [_number(side) for side in (pair.base, pair.other) if side is not None]
    return " → ".join(dict.fromkeys(numbers))


def _number(side: CellSide) -> str:
    return f"[{side.execution_count}]" if side.execution_count else f"#{side.index}"


def first_line(pair: CellPair) -> str:
    """Return the first line of a cell that says something."""
    side = pair.other or pair.base
    return next((line for line in (side.source if side else "").splitlines() if line.strip()), "")


def diff_text(lines: Sequence[tuple[str, str]], limit: int = _DIFF_LINES) -> str:
    """Return a diff as text, with a few lines around each change; "…" stands for the others."""
    near = {at + step for at, (sign, _) in enumerate(lines) if sign != "=" for step in range(-_AROUND, _AROUND + 1)}
    shown: list[str] = []
    for at, (sign, line) in enumerate(lines):
        if at in near:
            shown.append(f"{' ' if sign == '=' else sign} {line}")
        elif not shown or shown[-1] != "…":
            shown.append("…")
        if len(shown) >= limit:
            return "\n".join([*shown, "…"])
    return "\n".join(shown)


def _pictures(changed: Sequence[CellPair]) -> Iterable[Image]:
    """Return pictures of cells that differ, before and after side by side."""
    count = 0
    for pair in changed:
        if not pair.outputs.changed:
            continue
        for which, side in (("base", pair.base), ("other", pair.other)):
            for content in pictures_of(side):
                count += 1
                if count > _PICTURES:
                    return
                caption: Line = plain(f"{label_of(pair)} in the {which}")
                yield Image(name=f"cell-{count:02d}.png", caption=caption, media_type="image/png", light=content)


def pictures_of(side: CellSide | None) -> list[bytes]:
    """Return the PNG pictures that a cell showed."""
    found = []
    for output in side.outputs if side is not None else ():
        text = (output.get("data") or {}).get("image/png")
        if isinstance(text, str):
            try:
                content = base64.b64decode(text)
            except binascii.Error:
                continue
            if content.startswith(b"\x89PNG\r\n\x1a\n"):
                found.append(content)
    return found
