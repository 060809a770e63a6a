"""Which executions of cells explain a result, and whether the notebook as it stands would give it again.

A cell needs, for every name that it read, the execution that last wrote it. Followed back from the cells that gave a run
something, this is the run's closure: the fewest executions that have to be repeated, in their order.

Names are those of variables. Besides there are `%cd data`, which every later cell works with, and `numpy.random`, the
state of a generator that was seeded.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Container, Iterable, Sequence
from enum import StrEnum
from typing import Protocol

import msgspec

from mlops_nb.core.dataflow import Names
from mlops_nb.core.records import CellExecution, CellOutcome


class NamesOf(Protocol):
    """Knows sources as they are in notebooks. Never raises."""

    def __call__(self, source: str) -> Names:
        """Return the names of a source."""

    def code_of(self, source: str) -> str:
        """Return what is the same for sources that differ only in comments and layout; empty for what is no Python."""


class Hygiene(StrEnum):
    """How a run's closure stands to the notebook.

    LINEAR: it is what running the notebook from top to bottom would do. REORDERED: it works in the order in which the
    cells ran, which is not that of the notebook. UNSAVED: it needs a version of a cell that is no longer in the notebook.
    """

    LINEAR = "linear"
    REORDERED = "reordered"
    UNSAVED = "unsaved"


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A code cell of a notebook: its position from 0 among all cells, its source and the SHA-256 of that in hex."""

    cell_id: str | None
    position: int
    source: str
    source_hash: str


class Notebook(msgspec.Struct, frozen=True, kw_only=True):
    """The code cells of a notebook in order, and when it was saved (ms since 1970 UTC)."""

    places: list[Place]
    saved_at: int


class Writers:
    """For each name, the executions that wrote it, oldest first. Built up while cells run, so that asking is quick."""

    def __init__(self, executions: Iterable[CellExecution] = ()) -> None:
        self._of: dict[str, list[int]] = {}
        self._settings: set[str] = set()
        for execution in executions:
            self.add(execution)

    def add(self, execution: CellExecution) -> None:
        """Take in the next execution; their indexes must ascend."""
        for name in execution.writes:
            self._of.setdefault(name, []).append(execution.index)
            if name.startswith("%"):
                self._settings.add(name)

    def before(self, name: str, index: int) -> int | None:
        """Return the last execution before `index` that wrote a name."""
        written = self._of.get(name, ())
        at = bisect_left(written, index)
        return written[at - 1] if at else None

    def after(self, name: str, index: int) -> list[int]:
        """Return the executions after `index` that wrote a name."""
        written = self._of.get(name, [])
        return written[bisect_left(written, index + 1) :]

    def settings_before(self, index: int, own: Container[str] = ()) -> list[int]:
        """Return the last executions before `index` of each kind that every later cell works with, besides its own."""
        found = (self.before(name, index) for name in self._settings if name not in own)
        return [at for at in found if at is not None]

    def latest(self) -> set[int]:
        """Return the executions that wrote the present values."""
        return {written[-1] for written in self._of.values()}


def needs(execution: CellExecution, writers: Writers) -> list[int]:
    """Return the indexes of the executions that one needs directly."""
    found = (writers.before(name, execution.index) for name in execution.reads)
    return [*(at for at in found if at is not None), *writers.settings_before(execution.index, execution.writes)]


def closure(
    executions: Sequence[CellExecution], targets: Iterable[int], writers: Writers | None = None, known: Container[int] = ()
) -> list[int]:
    """Return the indexes of the executions that `targets` need, they themselves among them, in ascending order.

    Args:
        executions: A ledger, by ascending index; gaps are allowed.
        targets: Indexes of executions.
        writers: Those of the executions, where they are known already.
        known: Executions that are not wanted, nor what they need.
    """
    by_index = {execution.index: execution for execution in executions}
    writers = writers or Writers(executions)
    needed: set[int] = set()
    todo = list(targets)
    while todo:
        index = todo.pop()
        if index in needed or index in known or index not in by_index:
            continue
        needed.add(index)
        todo += needs(by_index[index], writers)
    return sorted(needed)


def results_of(executions: Sequence[CellExecution], metric_cells: Iterable[int]) -> list[int]:
    """Return the executions that gave the run something: those that logged metrics, and those with products."""
    given = {execution.index for execution in executions if execution.products}
    return sorted(given | set(metric_cells))


class Standing:
    """How executions stand to the notebook as it is now.

    The file may be older than what the front end shows. So a cell that ran after the file was saved has the source with
    which it last ran, and a cell that the file does not have yet is somewhere, but not gone.

    Args:
        executions: A ledger, by ascending index.
        notebook: The notebook as it is saved; None where it is not known.
        names: Tells the names of a cell.
        injected: Indexes of executions of cells that no notebook has, such as the parameters that papermill puts in.
    """

    def __init__(
        self, executions: Sequence[CellExecution], notebook: Notebook | None, names: NamesOf, injected: Container[int] = ()
    ) -> None:
        self.executions = executions
        self.by_index = {execution.index: execution for execution in executions}
        self.writers = Writers(executions)
        self.names = names
        self.injected = injected
        self.saved_at = notebook.saved_at if notebook is not None else None
        self._last: dict[str, CellExecution] = {e.cell_id: e for e in executions if e.cell_id is not None}
        self.places = [self._now(place) for place in (notebook.places if notebook is not None else [])]
        self._by_id = {place.cell_id: place for place in self.places if place.cell_id is not None}
        self._by_hash: dict[str, list[Place]] = {}
        for place in self.places:
            self._by_hash.setdefault(place.source_hash, []).append(place)
        self._nameless = self._places_of_nameless()

    def _places_of_nameless(self) -> dict[int, Place]:
        """Return the places of executions that have no id, by index: cells with the same source take turns."""
        turns: dict[str, int] = {}
        found = {}
        for execution in self.executions:
            same = self._by_hash.get(execution.source_hash, [])
            if execution.cell_id is None and same:
                turn = turns.get(execution.source_hash, 0)
                turns[execution.source_hash] = turn + 1
                found[execution.index] = same[turn % len(same)]
        return found

    def _now(self, place: Place) -> Place:
        last = self._last.get(place.cell_id or "")
        if last is None or self.saved_at is None or last.started <= self.saved_at or last.source_hash == place.source_hash:
            return place
        return msgspec.structs.replace(place, source=last.source or place.source, source_hash=last.source_hash)

    def place_of(self, execution: CellExecution) -> Place | None:
        """Return the cell that was executed, whatever is in it now; without an id, one that has the same source."""
        if execution.cell_id is None:
            return self._nameless.get(execution.index)
        found = self._by_id.get(execution.cell_id)
        if found is not None and found.source_hash == execution.source_hash:
            return found
        # Cut and pasted, a cell has another id.
        moved = (place for place in self._by_hash.get(execution.source_hash, []) if place.cell_id not in self._last)
        return next(moved, found) or next(iter(self._by_hash.get(execution.source_hash, [])), None)

    def is_same_cell(self, one: CellExecution, other: CellExecution) -> bool:
        """Return whether two executions are of the same cell."""
        if one.cell_id is not None or other.cell_id is not None:
            return one.cell_id == other.cell_id
        return one.source_hash == other.source_hash and self.position(one) == self.position(other)

    def ran_as_they_are(self) -> dict[int, CellExecution]:
        """Return the last executions of the cells that ran to their end with the source that they have, by position."""
        found = {}
        for execution in self.executions:
            place = self.place_of(execution)
            if place is not None and place.source_hash == execution.source_hash and execution.outcome is CellOutcome.OK:
                found[place.position] = execution
        return found

    def position(self, execution: CellExecution) -> int | None:
        """Return where the executed cell is."""
        place = self.place_of(execution)
        return place.position if place is not None else None

    def writer_of(self, name: str, reader: CellExecution) -> CellExecution | None:
        """Return the execution from which a reader has the value of a name."""
        index = self.writers.before(name, reader.index)
        return None if index is None else self.by_index.get(index)

    def is_last(self, execution: CellExecution) -> bool:
        """Return whether the cell was not executed again."""
        return execution.cell_id is None or self._last[execution.cell_id].index == execution.index

    def is_deleted(self, execution: CellExecution) -> bool:
        """Return whether the notebook, saved after the execution, has neither the cell nor its source."""
        if execution.index in self.injected or self.saved_at is None or self.place_of(execution) is not None:
            return False
        return execution.started < self.saved_at

    def is_changed(self, execution: CellExecution) -> bool:
        """Return whether the cell is there and its code is another now."""
        if execution.index in self.injected:
            return False
        place = self.place_of(execution)
        if place is not None:
            return place.source_hash != execution.source_hash and not self._is_same_code(execution.source, place.source)
        last = self._last.get(execution.cell_id or "")
        return last is not None and last.source_hash != execution.source_hash and not self._is_same_code(execution.source, last.source)

    def _is_same_code(self, one: str, other: str) -> bool:
        return bool(one and other) and self.names.code_of(one) == self.names.code_of(other) != ""

    def is_downward(self, name: str, reader: CellExecution) -> bool:
        """Return whether a reader would get a name from the same cell, if the notebook ran from top to bottom."""
        writer = self.writer_of(name, reader)
        if writer is None or self.is_same_cell(writer, reader):  # whether that may run twice is another question
            return True
        first, last = self.position(writer), self.position(reader)
        if first is None or last is None:
            return True
        return first < last and (not is_variable(name) or self.between(name, writer, reader) is None)

    def between(self, name: str, writer: CellExecution, reader: CellExecution) -> Place | None:
        """Return a cell between two that would write a name again, if the notebook ran from top to bottom."""
        first, last = self.position(writer), self.position(reader)
        if first is None or last is None:
            return None
        return next((place for place in reversed(self.places) if first < place.position < last and name in self.writes_of(place)), None)

    def writes_of(self, place: Place) -> frozenset[str] | set[str]:
        """Return what a cell writes, as it is now."""
        last = self._last.get(place.cell_id or "")
        if last is not None and last.source_hash == place.source_hash:
            return set(last.writes)
        names = self.names(place.source)
        return names.binds | names.changes - names.modules


def graded(needed: Sequence[CellExecution], standing: Standing) -> Hygiene | None:
    """Return the grade of the executions of a closure; None where nothing ran, or nobody knows how the notebook is ordered."""
    if not needed:
        return None
    found = grade(needed, standing)
    return found if standing.places or found is Hygiene.UNSAVED else None


def grade(needed: Sequence[CellExecution], standing: Standing) -> Hygiene:
    """Return how the executions of a closure, by ascending index, stand to the notebook."""
    if any(standing.is_deleted(execution) or standing.is_changed(execution) for execution in needed):
        return Hygiene.UNSAVED
    in_order = not _is_run_twice(needed, standing) and all(
        standing.is_downward(name, execution) for execution in needed for name in execution.reads
    )
    return Hygiene.LINEAR if in_order else Hygiene.REORDERED


def _is_run_twice(needed: Sequence[CellExecution], standing: Standing) -> bool:
    """Return whether two executions of the same cell are needed, and the cell need not give the same both times."""
    latest: dict[int, CellExecution] = {}
    for execution in needed:
        position = standing.position(execution)
        if position is None:
            continue
        before = latest.get(position)
        if before is not None and (before.source_hash != execution.source_hash or _differs(before, execution, needed, standing)):
            return True
        latest[position] = execution
    return False


def _differs(one: CellExecution, again: CellExecution, needed: Sequence[CellExecution], standing: Standing) -> bool:
    """Return whether a cell that ran again with the same source may have left something else than before, and it matters."""
    names = standing.names(again.source)
    if not again.source or any(name in names.evolves for name in again.reads):
        return True
    others = (execution for execution in needed if not standing.is_same_cell(execution, one))
    used = {name for execution in others for name in execution.reads if standing.writer_of(name, execution) is one}
    return any(is_variable(name) and name not in names.definite for name in used)


def is_variable(name: str) -> bool:
    """Return whether a name of a ledger is that of a variable, not of a state beside them."""
    return name.isidentifier()
