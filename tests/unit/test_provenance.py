"""Closures and grades of made-up ledgers."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_nb.core.dataflow import Names, names_of
from mlops_nb.core.hygiene import check
from mlops_nb.core.provenance import Notebook, Place, Standing, closure, grade, results_of
from mlops_nb.core.records import CellExecution, CellProduct, ProductKind


class Sources:
    def __call__(self, source: str) -> Names:
        return names_of(source)

    def code_of(self, source: str) -> str:
        return source


def ran(index: int, reads: str, writes: str, *, cell: str | None = None, source: str = "", started: int = 10) -> CellExecution:
    return CellExecution(
        index=index,
        cell_id=cell or f"c{index}",
        source=source,
        source_hash=sha256((source or cell or f"c{index}").encode()).hexdigest(),
        started=started,
        reads=reads.split(),
        writes=writes.split(),
    )


def place(position: int, source: str = "", cell: str | None = None) -> Place:
    cell_id = cell or f"c{position}"
    return Place(cell_id=cell_id, position=position, source=source, source_hash=sha256((source or cell_id).encode()).hexdigest())


def test_a_closure_has_what_the_targets_need_and_no_more() -> None:
    ledger = [ran(0, "", "a"), ran(1, "", "b"), ran(2, "a", "c"), ran(3, "", "a"), ran(5, "c b", "d"), ran(6, "a", "e")]
    assert closure(ledger, [5]) == [0, 1, 2, 5]
    assert closure(ledger, [6]) == [3, 6]
    assert closure(ledger, [5], known={1, 2}) == [5]
    assert closure(ledger, [99]) == []


def test_what_every_later_cell_works_with_is_always_needed_in_its_last_form() -> None:
    writes = (["%env A=1"], ["scratch"], ["%env A=1"], ["%cd data"], ["a"])
    ledger = [CellExecution(index=index, source="", source_hash="", started=0, writes=written) for index, written in enumerate(writes)]
    assert closure(ledger, [4]) == [2, 3, 4]


def test_results_are_products_and_metrics() -> None:
    product = CellProduct(kind=ProductKind.PARAM, name="lr")
    ledger = [ran(0, "", ""), CellExecution(index=1, source="", source_hash="", started=0, products=[product]), ran(2, "", "")]
    assert results_of(ledger, [2]) == [1, 2]


@given(st.lists(st.tuples(st.sets(st.sampled_from("abcde")), st.sets(st.sampled_from("abcde"))), max_size=25), st.data())
def test_replaying_a_closure_gives_every_value_that_was_read(steps: list[tuple[set[str], set[str]]], data: st.DataObject) -> None:
    ledger = [ran(i, " ".join(sorted(reads)), " ".join(sorted(writes))) for i, (reads, writes) in enumerate(steps)]
    if not ledger:
        return
    target = data.draw(st.integers(0, len(ledger) - 1))

    def values(indexes: list[int]) -> dict[int, object]:
        """Play executions; what a cell makes is made of itself and of all that it read."""
        names: dict[str, object] = {}
        seen: dict[int, object] = {}
        for index in indexes:
            seen[index] = (index, tuple((name, names.get(name)) for name in ledger[index].reads))
            names |= dict.fromkeys(ledger[index].writes, seen[index])
        return seen

    needed = closure(ledger, [target])
    assert values(needed)[target] == values(list(range(len(ledger))))[target]
    for index in needed:  # and none of them can be left out
        if index != target:
            assert values([other for other in needed if other != index])[target] != values(needed)[target]


@pytest.mark.parametrize(
    ("ledger", "notebook", "expected"),
    [
        ([ran(0, "", "a"), ran(1, "a", "b")], [place(0), place(1)], "linear"),
        ([ran(1, "", "a"), ran(2, "a", "b", cell="c0")], [place(0), place(1)], "reordered"),
        ([ran(0, "", "a", source="a = 1"), ran(1, "a", "b")], [place(0, "a = 2"), place(1)], "unsaved"),
        ([ran(0, "", "a"), ran(1, "a", "b")], [place(1)], "unsaved"),
        ([ran(0, "", "a"), ran(1, "a", "b", cell="c2")], [place(0), place(1, "a = 5"), place(2)], "reordered"),
        ([ran(0, "", "a", started=900), ran(1, "a", "b", started=900)], [place(1)], "linear"),  # newer than the file
        ([ran(0, "", "a", source="a = 1", started=900), ran(1, "a", "b")], [place(0, "a = 2"), place(1)], "linear"),
        ([ran(0, "", "a", source="a = 1", cell="old"), ran(1, "a", "b")], [place(0, "a = 1"), place(1)], "linear"),  # by its source
    ],
)
def test_grades(ledger: list[CellExecution], notebook: list[Place], expected: str) -> None:
    standing = Standing(ledger, Notebook(places=notebook, saved_at=500), Sources())
    assert grade(ledger, standing).value == expected


def test_what_papermill_put_in_is_not_missed() -> None:
    ledger = [ran(0, "", "lr", source="# Parameters\nlr = 1\n"), ran(1, "lr", "b")]
    notebook = Notebook(places=[place(1)], saved_at=500)
    assert grade(ledger, Standing(ledger, notebook, Sources(), {0})).value == "linear"
    assert grade(ledger, Standing(ledger, notebook, Sources())).value == "unsaved"


def test_a_saved_notebook_is_checked_by_its_sources_alone() -> None:
    sources = ["import math", "x = y", "def f():\n    return later", "f()", "y = 1\nlater = 2", "print(math.pi, nowhere)"]
    notebook = Notebook(places=[place(at, source) for at, source in enumerate(sources)], saved_at=0)
    found = check("n.ipynb", Standing([], notebook, Sources()))
    assert [(finding.kind.value, finding.label, finding.names) for finding in found.findings] == [
        ("out-of-order", "cell 2", ["y"]),
        ("out-of-order", "cell 4", ["later"]),
        ("undefined", "cell 6", ["nowhere"]),
    ]
    assert found.hygiene is None and found.cells == 6
