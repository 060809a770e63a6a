"""Two runs cell by cell: paired across inserts and moves, with what changed in the source, in what they showed, in what they read.

Cells are paired by their ids, then by equal sources, then by the most similar ones. Of a cell that ran several times the
last execution counts.
"""

from __future__ import annotations

import difflib
import os
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import Any

from mlops_nb.comparing.outputs import OutputsChange, compare_outputs
from mlops_nb.comparing.shown import Shown
from mlops_nb.core.formatting import format_duration, one_line
from mlops_nb.core.provenance import Writers, closure, results_of
from mlops_nb.core.records import CellExecution, CellOutcome, ProductKind, Record, Run
from mlops_nb.core.redaction import Redactor
from mlops_nb.store.base import TrackingStore

_ALIKE = 0.5
_MAX_LINES = 2000
_MAX_COMPARED = 400
_TOKEN = re.compile(r"\w+|[^\w\s]")
# Durations differ from run to run: only what a person would notice is told.
_SLOWER, _NOTICED_MS = 1.5, 1000.0
_MORE, _NOTICED_BYTES = 1.25, 200e6


class CellStatus(StrEnum):
    """What became of a cell. CHANGED: its source, what it showed or how it ended. MOVED: it is the same in another place."""

    SAME = "same"
    CHANGED = "changed"
    ADDED = "added"
    REMOVED = "removed"
    MOVED = "moved"


class CellSide(Record, frozen=True, kw_only=True):
    """A cell in one run: its last execution and what that showed. `times` is how often it ran; durations in ms, memory in bytes."""

    index: int
    cell_id: str | None
    execution_count: int | None
    source: str
    source_hash: str
    outcome: CellOutcome
    duration: float
    peak_memory: int | None
    times: int
    outputs: list[dict[str, Any]]


class CellPair(Record, frozen=True, kw_only=True):
    """A cell in both runs.

    Attributes:
        status: What became of it.
        base: What it was in the base; None if it was not there.
        other: What it is; None if it is gone.
        source_diff: The lines of both: "=" same, "-" only in the base, "+" only in the other.
        source_changed: Whether the source differs.
        moved: Whether it stands in another place among the cells that both have.
        outputs: What differs in what they showed.
        inputs: Names that it read whose values come from something that differs.
        is_upstream: Whether the other run's results need it.
        summary: All of it in one line.
    """

    status: CellStatus
    base: CellSide | None
    other: CellSide | None
    source_diff: list[tuple[str, str]]
    source_changed: bool
    moved: bool
    outputs: OutputsChange
    inputs: list[str]
    is_upstream: bool
    summary: str


def compare_cells(store: TrackingStore, base: Run, other: Run, *, redacted: bool = True) -> list[CellPair]:
    """Pair the cells of two runs and tell what differs, in the order of the other run.

    Args:
        store: Where the runs are.
        base: The run that is compared with.
        other: The run.
        redacted: Take secrets out of sources and outputs once more, for what is to be passed on.

    Raises:
        StoreError: If the store cannot be read.
    """
    redact: Callable[[str], str] = Redactor(os.environ) if redacted else str
    ledgers = [store.cells(run.run_id) for run in (base, other)]
    shown = [Shown(store, run.run_id, redact) if ledger else None for run, ledger in zip((base, other), ledgers, strict=True)]
    before, now = (_last_executions(ledger) for ledger in ledgers)
    pairs = align([cell for cell, _ in before], [cell for cell, _ in now])
    moved = _moved([(old, new) for old, new in pairs if old is not None and new is not None])
    upstream = _needed(ledgers[1], other)
    tainted = _Differing(ledgers, (base, other))
    result = []
    for old, new in pairs:
        sides = [
            None if at is None else _side(*one[at], [] if where is None else where.of(one[at][0]), redact)
            for at, one, where in zip((old, new), (before, now), shown, strict=True)
        ]
        inputs = tainted.inputs(None if old is None else before[old][0], None if new is None else now[new][0])
        result.append(_pair(sides[0], sides[1], (old, new) in moved, inputs, new is not None and now[new][0].index in upstream))
    return result


def _last_executions(ledger: Sequence[CellExecution]) -> list[tuple[CellExecution, int]]:
    """Return the last execution of each cell with how often it ran, in the order of those executions."""
    last: dict[str, CellExecution] = {}
    times: Counter[str] = Counter()
    for cell in ledger:
        key = cell.cell_id or cell.source_hash
        times[key] += 1
        last[key] = cell
    return [(cell, times[key]) for key, cell in sorted(last.items(), key=lambda item: item[1].index)]


def align(before: Sequence[CellExecution], now: Sequence[CellExecution]) -> list[tuple[int | None, int | None]]:
    """Pair cells by their places in both lists, in the order of the second; what is gone follows what stood before it."""
    partner: dict[int, int] = {}

    def pair_by(key: Callable[[CellExecution], str | None]) -> None:
        waiting: dict[str, list[int]] = {}
        taken = set(partner.values())
        for at, cell in enumerate(before):
            name = key(cell)
            if at not in taken and name is not None:
                waiting.setdefault(name, []).append(at)
        for at, cell in enumerate(now):
            name = key(cell)
            if at not in partner and name is not None and waiting.get(name):
                partner[at] = waiting[name].pop(0)

    pair_by(lambda cell: cell.cell_id)
    pair_by(lambda cell: cell.source_hash)
    _pair_similar(before, now, partner)
    order: list[tuple[int | None, int | None]] = [(partner.get(at), at) for at in range(len(now))]
    for at in sorted(set(range(len(before))) - set(partner.values())):
        # Behind the cell that stood before it, or at the beginning.
        place = next((i for i, (old, _) in enumerate(order) if old == at - 1), -1) if at else -1
        order.insert(place + 1, (at, None))
    return order


def _pair_similar(before: Sequence[CellExecution], now: Sequence[CellExecution], partner: dict[int, int]) -> None:
    rest = [at for at in range(len(before)) if at not in set(partner.values()) and before[at].source][:_MAX_COMPARED]
    new = [at for at in range(len(now)) if at not in partner and now[at].source][:_MAX_COMPARED]
    if not rest or not new:
        return
    words = {("b", at): Counter(_TOKEN.findall(before[at].source)) for at in rest} | {
        ("n", at): Counter(_TOKEN.findall(now[at].source)) for at in new
    }
    scores = [(_alike(words["b", old], words["n", at]), -abs(old - at), old, at) for old in rest for at in new]
    taken: set[int] = set()
    for score, _, old, at in sorted(scores, reverse=True):
        if score < _ALIKE:
            break
        if old not in taken and at not in partner:
            partner[at] = old
            taken.add(old)


def _alike(one: Counter[str], other: Counter[str]) -> float:
    total = one.total() + other.total()
    return 2 * (one & other).total() / total if total else 1.0


def _moved(pairs: Sequence[tuple[int, int]]) -> set[tuple[int | None, int | None]]:
    """Return the pairs that stand in another order: all besides the longest that ascend in both."""
    ends: list[int] = []  # the last place in the base of the best ascent of each length
    at: list[int] = []
    before: list[int] = [-1] * len(pairs)
    for i, (old, _) in enumerate(pairs):
        length = bisect_left(ends, old)
        before[i] = at[length - 1] if length else -1
        if length == len(ends):
            ends.append(old)
            at.append(i)
        else:
            ends[length], at[length] = old, i
    kept = set()
    i = at[-1] if at else -1
    while i >= 0:
        kept.add(i)
        i = before[i]
    return {pair for i, pair in enumerate(pairs) if i not in kept}


def _needed(ledger: Sequence[CellExecution], run: Run) -> set[int]:
    """Return the executions that the run's results need."""
    metric_cells = {metric.cell for metric in run.metrics.values() if metric.cell is not None}
    return set(closure(ledger, results_of(ledger, metric_cells)))


class _Differing:
    """Tells which of the names that a cell read have their values from something that differs between two runs."""

    def __init__(self, ledgers: Sequence[Sequence[CellExecution]], runs: Sequence[Run]) -> None:
        self._by_index = [{cell.index: cell for cell in ledger} for ledger in ledgers]
        self._writers = [Writers(ledger) for ledger in ledgers]
        digests = [{used.dataset.name: used.dataset.digest for used in run.inputs.datasets} for run in runs]
        self._data = {name for name in {*digests[0], *digests[1]} if digests[0].get(name) != digests[1].get(name)}
        self._params = {key for key in {*runs[0].params, *runs[1].params} if runs[0].params.get(key) != runs[1].params.get(key)}
        self._known: dict[tuple[int | None, int | None], bool] = {}

    def inputs(self, old: CellExecution | None, new: CellExecution | None) -> list[str]:
        """Return those names, for a cell in both runs; a cell of one run has none."""
        if old is None or new is None:
            return []
        return [name for name in sorted({*old.reads, *new.reads}) if name.isidentifier() and self._differs(name, old, new)]

    def _differs(self, name: str, old: CellExecution, new: CellExecution) -> bool:
        writers = [
            None if (at := w.before(name, cell.index)) is None else by_index.get(at)
            for w, cell, by_index in zip(self._writers, (old, new), self._by_index, strict=True)
        ]
        return self._cell_differs(writers[0], writers[1])

    def _cell_differs(self, old: CellExecution | None, new: CellExecution | None) -> bool:
        if old is None or new is None:
            return old is not new
        key = (old.index, new.index)
        if key not in self._known:
            self._known[key] = False  # a cell that needs itself, over others, is judged by the rest
            given = {product.name for product in (*old.products, *new.products) if product.kind is ProductKind.DATASET}
            self._known[key] = (
                old.source_hash != new.source_hash
                or not self._data.isdisjoint(given)
                or any(self._differs(name, old, new) for name in {*old.reads, *new.reads} if name.isidentifier())
            )
        return self._known[key]


def _side(cell: CellExecution, times: int, outputs: list[dict[str, Any]], redact: Callable[[str], str]) -> CellSide:
    return CellSide(
        index=cell.index,
        cell_id=cell.cell_id,
        execution_count=cell.execution_count,
        source=redact(cell.source),
        source_hash=cell.source_hash,
        outcome=cell.outcome,
        duration=cell.duration_ms,
        peak_memory=cell.peak_memory,
        times=times,
        outputs=outputs,
    )


def _pair(base: CellSide | None, other: CellSide | None, moved: bool, inputs: list[str], is_upstream: bool) -> CellPair:
    outputs = OutputsChange()
    facts: list[str] = []
    changed = False
    if base is None or other is None:
        status = CellStatus.ADDED if base is None else CellStatus.REMOVED
        facts.append(f"cell {status.value}")
        diff = [("+", line) for line in _lines(other)] if base is None else [("-", line) for line in _lines(base)]
    else:
        changed = base.source_hash != other.source_hash
        diff = source_diff(_lines(base), _lines(other)) if changed else [("=", line) for line in _lines(other)]
        outputs = compare_outputs(base.outputs, other.outputs)
        is_other = changed or outputs.changed or base.outcome is not other.outcome
        status = CellStatus.CHANGED if is_other else CellStatus.MOVED if moved else CellStatus.SAME
        facts = [*(["moved"] if moved else []), *_facts(base, other, diff, changed, outputs)]
        if inputs:
            facts.append(f"reads {', '.join(inputs[:4])} from what differs" + (f" and {len(inputs) - 4} more" if len(inputs) > 4 else ""))
    return CellPair(
        status=status,
        base=base,
        other=other,
        source_diff=diff,
        source_changed=changed or status in (CellStatus.ADDED, CellStatus.REMOVED),
        moved=moved,
        outputs=outputs,
        inputs=inputs,
        is_upstream=is_upstream,
        summary=one_line("; ".join(facts)) or "same",
    )


def _facts(base: CellSide, other: CellSide, diff: Sequence[tuple[str, str]], changed: bool, outputs: OutputsChange) -> Iterable[str]:
    if changed:
        added, gone = (sum(sign == which for sign, _ in diff) for which in "+-")
        yield f"source +{added} −{gone}" if added or gone else "source differs (it was not kept)"
    if base.outcome is not other.outcome:
        yield f"ended {other.outcome.value} instead of {base.outcome.value}"
    yield from outputs.notes[:4]
    slow, fast = max(base.duration, other.duration), min(base.duration, other.duration)
    if slow > _SLOWER * fast and slow - fast > _NOTICED_MS:
        yield f"took {format_duration(other.duration)} instead of {format_duration(base.duration)}"
    if base.peak_memory and other.peak_memory:
        more, less = max(base.peak_memory, other.peak_memory), min(base.peak_memory, other.peak_memory)
        if more > _MORE * less and more - less > _NOTICED_BYTES:
            yield f"memory {base.peak_memory / 1e9:.2f} GB → {other.peak_memory / 1e9:.2f} GB"


def _lines(side: CellSide | None) -> list[str]:
    return [] if side is None else side.source.splitlines()[:_MAX_LINES]


def source_diff(before: Sequence[str], now: Sequence[str]) -> list[tuple[str, str]]:
    """Return the lines of both: "=" same, "-" only before, "+" only now."""
    lines: list[tuple[str, str]] = []
    for tag, a, b, c, d in difflib.SequenceMatcher(None, before, now, autojunk=False).get_opcodes():
        if tag == "equal":
            lines += [("=", line) for line in before[a:b]]
        else:
            lines += [("-", line) for line in before[a:b]] + [("+", line) for line in now[c:d]]
    return lines
