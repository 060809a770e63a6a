"""How a comparison looks in an output: text for terminals, HTML without script that shows the same in an untrusted notebook.

The HTML has at most `MAX_BYTES`, whatever was compared: what does not fit is cut from the end of the least important.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from mlops_nb.comparing.cells import CellPair, CellStatus
from mlops_nb.comparing.document import diff_text, first_line, label_of
from mlops_nb.core.comparison import Direction, MetricChange, MetricRow, ValueRow, Verdict
from mlops_nb.core.formatting import fitted, format_number, one_line, padded, width
from mlops_nb.core.names import SYSTEM_METRICS

if TYPE_CHECKING:
    from mlops_nb.comparing.comparison import Comparison

MAX_BYTES = 20_000
PARTS = ("metrics", "params", "code", "cells", "outputs", "data", "env", "system")

_METRICS, _ROWS, _TEXT = 8, 40, 80
_RUNS = 8
_GREEN, _RED = "var(--jp-success-color1, #2e7d32)", "var(--jp-error-color1, #c62828)"
_GREY, _BLUE = "var(--jp-ui-font-color2, #757575)", "var(--jp-brand-color1, #1976d2)"
_WORDS: dict[Verdict, tuple[str, str]] = {
    Verdict.BETTER: ("▲ better", _GREEN),
    Verdict.WORSE: ("▼ worse", _RED),
    Verdict.NOISE: ("≈ noise", _GREY),
    Verdict.SAME: ("= same", _GREY),
    Verdict.DIFFERENT: ("≠ different", _BLUE),
    Verdict.NEW: ("new", _BLUE),
    Verdict.MISSING: ("missing", _BLUE),
    Verdict.NOT_COMPARABLE: ("not comparable", _RED),
}
_ARROWS = {Direction.HIGHER: " ↑", Direction.LOWER: " ↓", Direction.NONE: ""}
_CELL = 'style="text-align:left;padding:1px 10px 1px 0;vertical-align:top"'


def text_of(comparison: Comparison, what: str = "all", only_changed: bool = False) -> str:
    """Return a comparison as text: the verdict, a table of differences, and what else differs in a line."""
    lines = [one_line(comparison.verdict)]
    if rows := _metric_rows(comparison, what, only_changed):
        lines += _aligned([_header(comparison), *([key, base, *cells] for key, base, cells in map(_plain_row, rows))])
    if what == "all":
        lines += _facts(comparison)
    elif what not in ("metrics", "system"):
        lines += _part_as_text(comparison, what, only_changed)
    return "\n".join([*lines, *([f"  {comparison.significance}"] if rows else [])])


def html_of(comparison: Comparison, what: str = "all", only_changed: bool = False) -> str:
    """Return a comparison as HTML of at most `MAX_BYTES`."""
    _, colour = _WORDS[comparison.outcome] if comparison.outcome else ("", _GREY)
    head = (
        f'<div class="mlops-nb-card" style="border-left:3px solid {colour};padding:2px 10px;margin:2px 0">'
        f"<b>{escape(_cut(comparison.verdict, 600))}</b>"
        f'<div style="color:{_GREY}">{escape(comparison.significance)}</div></div>'
    )
    parts: list[str] = []
    rows = _metric_rows(comparison, what, only_changed)
    if rows:
        parts.append(_metrics(comparison, rows[:_METRICS]))
        if rest := rows[_METRICS:_ROWS]:
            parts.append(_folded(f"{len(rows) - _METRICS} more metrics", _metrics(comparison, rest)))
    if what == "all":
        parts += [f"<div>{escape(fact.strip())}</div>" for fact in _facts(comparison)]
    for part in _PARTS if what == "all" else (_SAME_AS.get(what, what),):
        parts += _PARTS[part](comparison, only_changed or what == "all") if part in _PARTS else []
    return _within(head, parts)


def _within(head: str, parts: Sequence[str]) -> str:
    """Return as many parts as fit, with a line that says where the rest is."""
    more = '<div style="opacity:.75">More of it: <code>.to_html()</code>, <code>--export FILE.html</code></div>'
    left = MAX_BYTES - len(head.encode()) - len(more.encode())
    kept: list[str] = []
    for part in parts:
        if (size := len(part.encode())) > left:
            return head + "".join(kept) + more
        left -= size
        kept.append(part)
    return head + "".join(kept)


# -- metrics


def _metric_rows(comparison: Comparison, what: str, only_changed: bool) -> list[MetricRow]:
    if what not in ("all", "metrics", "system"):
        return []
    found = [row for row in comparison.metrics if row.key.startswith(SYSTEM_METRICS) is (what == "system")]
    unchanged = (Verdict.SAME, Verdict.NOISE)
    return [row for row in found if not only_changed or any(change.verdict not in unchanged for change in row.changes)]


def _header(comparison: Comparison) -> list[str]:
    return ["", f"{_cut(comparison.labels[0], 24)} (base)", *(_cut(label, 24) for label in comparison.labels[1 : _RUNS + 1])]


def _plain_row(row: MetricRow) -> tuple[str, str, list[str]]:
    cells = []
    for change in row.changes[:_RUNS]:
        word, _ = _WORDS[change.verdict]
        delta = f"  {_delta(row, change)}" if change.difference is not None and change.verdict is not Verdict.SAME else ""
        note = f" ({_cut(change.note, 80)})" if change.note else ""
        cells.append(f"{_number(row, change.value)}{delta}  {word}{note}")
    return f"{_cut(row.key, 40)}{_ARROWS[row.direction]}", _number(row, row.base), cells


def _number(row: MetricRow, value: float | None, *, signed: bool = False) -> str:
    return format_number(value, decimals=row.decimals, signed=signed)


def _delta(row: MetricRow, change: MetricChange) -> str:
    shown = _number(row, change.difference, signed=True)
    if change.interval is None:
        return shown
    return f"{shown} [{_number(row, change.interval[0], signed=True)}, {_number(row, change.interval[1], signed=True)}]"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    plain = [[fitted(one_line(cell), 120) for cell in row] for row in rows]
    widths = [max(width(row[i]) for row in plain) for i in range(len(plain[0]))]
    return ["  " + "  ".join(padded(cell, size) for cell, size in zip(row, widths, strict=True)).rstrip() for row in plain]


def _metrics(comparison: Comparison, rows: Sequence[MetricRow]) -> str:
    body = []
    for row in rows:
        cells = [f"{escape(_cut(row.key, 60))}{_ARROWS[row.direction]}", _number(row, row.base)]
        for change in row.changes[:_RUNS]:
            word, colour = _WORDS[change.verdict]
            is_changed = change.difference is not None and change.verdict is not Verdict.SAME
            delta = f' <span style="opacity:.85">{_delta(row, change)}</span>' if is_changed else ""
            told = "; ".join(filter(None, [change.method, None if change.p_value is None else f"p={change.p_value:.2g}"]))
            note = f'<div style="color:{_GREY};font-size:90%">{escape(_cut(change.note, 120))}</div>' if change.note else ""
            verdict = f'<b style="color:{colour}" title="{escape(told)}">{word}</b>'
            cells.append(f"{_number(row, change.value)}{delta} {_interval_picture(change, colour)} {verdict}{note}")
        body.append(cells)
    more = len(comparison.labels) - 1 - _RUNS
    note = f'<div style="color:{_GREY}">and {more} more runs: <code>.df</code> has them all</div>' if more > 0 else ""
    header = ["metric", f"{escape(_cut(comparison.labels[0], 40))} (base)"]
    return _table([*header, *(escape(_cut(label, 40)) for label in comparison.labels[1 : _RUNS + 1])], body) + note


def _interval_picture(change: MetricChange, colour: str) -> str:
    """Return the interval as a small bar beside a line at 0."""
    if change.interval is None or change.difference is None or not all(map(math.isfinite, (*change.interval, change.difference))):
        return ""
    low, high = change.interval
    reach = 1.1 * max(abs(low), abs(high), abs(change.difference)) or 1.0
    x, y, at = (45 + 45 * value / reach for value in (low, high, change.difference))
    return (
        '<svg width="90" height="12" role="img" aria-label="interval" style="vertical-align:middle">'
        f'<line x1="45" y1="0" x2="45" y2="12" stroke="currentColor" opacity=".4"/>'
        f'<line x1="{x:.1f}" y1="6" x2="{y:.1f}" y2="6" stroke="{colour}" stroke-width="3"/>'
        f'<circle cx="{at:.1f}" cy="6" r="3.5" fill="{colour}"/></svg>'
    )


# -- what else differs


def _facts(comparison: Comparison) -> list[str]:
    changed = [row for row in comparison.params if row.changed]
    facts = [f"{_cut(row.key, 30)} {_arrows(row)}" for row in changed[:4]]
    if len(changed) > 4:
        facts.append(f"{len(changed) - 4} more params")
    if comparison.data is not None and (comparison.data.pairs or comparison.data.only_base or comparison.data.only_other):
        same = comparison.data.same and comparison.data.pairs
        facts.append(f"same data ({comparison.data.pairs[0].digests[0][:4]}…)" if same else "other data")
    if any(row.changed for row in comparison.environment):
        count = sum(row.changed for row in comparison.environment)
        facts.append(f"{count} change{'s' if count > 1 else ''} of the environment")
    elif comparison.environment:
        facts.append("same environment")
    if cells := [pair for pair in comparison.cells if pair.status is not CellStatus.SAME]:
        facts.append(f"{len(cells)} of {len(comparison.cells)} cells changed: {', '.join(label_of(pair) for pair in cells[:4])}")
    return [f"  changed: {one_line(' · '.join(facts))}"] if facts else []


def _arrows(row: ValueRow) -> str:
    values = [_cut("not set" if value is None else value or "empty", 24) for value in row.values]
    return " → ".join([values[0], ", ".join(list(dict.fromkeys(value for value in values[1:] if value != values[0]))[:4])])


def _params(comparison: Comparison, only_changed: bool) -> list[str]:
    rows = [row for row in comparison.params if row.changed or not only_changed]
    changed = sum(row.changed for row in comparison.params)
    return [_folded(f"Params: {changed} changed", _values(comparison, rows))] if rows else []


def _environment(comparison: Comparison, only_changed: bool) -> list[str]:
    rows = [row for row in comparison.environment if row.changed or not only_changed]
    changed = sum(row.changed for row in comparison.environment)
    return [_folded(f"Environment: {changed} changed", _values(comparison, rows))] if rows else []


def _values(comparison: Comparison, rows: Sequence[ValueRow]) -> str:
    header = ["", *(escape(_cut(label, 40)) for label in comparison.labels[: _RUNS + 1])]
    body = [
        [
            f"{'≠ ' if row.changed else ''}{escape(_cut(row.key, 60))}",
            *("–" if value is None else escape(_cut(value, _TEXT)) for value in row.values[: _RUNS + 1]),
        ]
        for row in rows[:_ROWS]
    ]
    return _table(header, body) + _left_out(len(rows) - _ROWS)


def _causes(comparison: Comparison, _: bool) -> list[str]:
    causes = comparison.causes[:6]
    if len(causes) < 2:
        return []
    body = [[escape(cause.kind.value), escape(_cut(cause.text, 140))] for cause in causes]
    return [_folded("What may explain it, the likeliest first", _table(["", ""], body))]


def _data(comparison: Comparison, _: bool) -> list[str]:
    data = comparison.data
    if data is None:
        return []
    lines = "".join(f"<div>{escape(_cut(line, 300))}</div>" for line in str(data).splitlines()[:12])
    return [_folded(f"Data: {'the same' if data.same else 'it differs'}", lines)] if data.pairs or not data.same else []


def _cells(comparison: Comparison, only_changed: bool) -> list[str]:
    shown = [pair for pair in comparison.cells if pair.status is not CellStatus.SAME or not only_changed]
    if not shown:
        return []
    changed = sum(pair.status is not CellStatus.SAME for pair in comparison.cells)
    # Each in a part of its own: what is too much falls off from the end.
    listed = [f"<div style='margin-left:1em'>{_cell_of(pair)}</div>" for pair in shown[:20]]
    return [f"<div><b>Cells: {changed} of {len(comparison.cells)} changed</b></div>", *listed, _left_out(len(shown) - 20)]


def _cell_of(pair: CellPair) -> str:
    title = f"{escape(label_of(pair))} <b>{pair.status.value}</b> <code>{escape(_cut(first_line(pair), 50))}</code> "
    summary = escape(_cut(pair.summary, 160))
    if not pair.source_changed:
        return f"<div>{title}{summary}</div>"
    return _folded_html(title + summary, _diff(pair))


def _diff(pair: CellPair) -> str:
    lines = []
    for line in diff_text(pair.source_diff, 40).splitlines():
        colour = {"+": _GREEN, "-": _RED}.get(line[:1])
        text = escape(_cut(line, 160, keep_blanks=True))
        lines.append(f'<span style="color:{colour}">{text}</span>' if colour else text)
    return f'<pre style="margin:2px 0;line-height:1.35">{chr(10).join(lines)}</pre>'


_PARTS = {"params": _params, "causes": _causes, "data": _data, "env": _environment, "cells": _cells}
_SAME_AS = {"code": "cells", "outputs": "cells"}


def _part_as_text(comparison: Comparison, what: str, only_changed: bool) -> list[str]:
    if what in ("params", "env"):
        rows = comparison.params if what == "params" else comparison.environment
        shown = [row for row in rows if row.changed or not only_changed][:_ROWS]
        table = [_header(comparison), *([row.key, *("–" if v is None else _cut(v, 40) for v in row.values[: _RUNS + 1])] for row in shown)]
        return _aligned(table) if shown else ["  nothing"]
    if what == "data":
        if comparison.data is None:
            return ["  Data is compared between two runs: name two."]
        return [f"  {one_line(line)}" for line in str(comparison.data).splitlines()]
    if len(comparison.runs) != 2:
        return ["  Cells are compared between two runs: name two."]
    lines = []
    for pair in comparison.cells:
        if pair.status is CellStatus.SAME and (only_changed or what != "cells"):
            continue
        lines.append(f"  {label_of(pair)} {pair.status.value}: {_cut(first_line(pair), 50)} · {pair.summary}")
        if what in ("code", "cells") and pair.source_changed:
            lines += [f"      {one_line(line)}" for line in diff_text(pair.source_diff, 40).splitlines()]
    return lines or ["  No cell differs." if comparison.cells else "  No cells were recorded."]


# -- HTML


def _cut(text: str, limit: int, *, keep_blanks: bool = False) -> str:
    plain = one_line(text[: 4 * limit])
    plain = plain if keep_blanks else " ".join(plain.split())
    return plain if len(plain) <= limit else f"{plain[: limit - 1]}…"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table; all of it is HTML already."""
    head = "".join(f"<th {_CELL}>{cell}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td {_CELL}>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<table style="margin:4px 0"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _folded(title: str, html: str) -> str:
    return _folded_html(f"<b>{escape(title)}</b>", html)


def _folded_html(title: str, html: str) -> str:
    return f'<details style="margin:2px 0"><summary>{title}</summary>{html}</details>'


def _left_out(count: int) -> str:
    return f'<div style="color:{_GREY}">and {count} more</div>' if count > 0 else ""
