"""The ledger: the executions of cells, and what they gave the run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from mlops_nb.core.records import CellExecution, CellOutcome, CellProduct, ProductKind
from mlops_nb.store.sql.schema import cell_products, cells
from mlops_nb.store.sql.upsert import insert

_PLAIN = ("cell_id", "execution_count", "source", "source_hash", "started", "duration_ms", "error")
_KEPT = ("reads", "writes", "peak_memory", "outputs")
"""What one teller knows and another does not: None keeps what is there."""
_p = cell_products.c


def put(c: sa.Connection, run: int, executions: Sequence[CellExecution]) -> None:
    """Write executions; the last one of an index stays, with what earlier ones knew besides."""
    if not executions:
        return
    statement = insert(c, cells)
    changed: dict[str, Any] = {name: statement.excluded[name] for name in (*_PLAIN, "outcome")}
    changed |= {name: sa.func.coalesce(statement.excluded[name], cells.c[name]) for name in _KEPT}
    rows = [{"run": run, **_row(execution)} for execution in executions]
    c.execute(statement.on_conflict_do_update(index_elements=["run", "index"], set_=changed), rows)


def _row(execution: CellExecution) -> dict[str, Any]:
    row = {name: getattr(execution, name) for name in ("index", *_PLAIN, *_KEPT)}
    names = {name: json.dumps(row[name], ensure_ascii=False) if row[name] else None for name in ("reads", "writes")}
    return {**row, **names, "outcome": execution.outcome.value}


def put_products(c: sa.Connection, run: int, products: Mapping[tuple[ProductKind, str], int]) -> None:
    """Note which cells the run has something from; the first cell that gave it stays, of a file the last."""
    if not products:
        return
    statement = insert(c, cell_products)
    newer = statement.on_conflict_do_update(
        index_elements=["run", "kind", "name"],
        set_={"cell": statement.excluded.cell},
        where=_p.kind != ProductKind.PARAM.value,
    )
    rows = [{"run": run, "kind": kind.value, "name": name, "cell": cell} for (kind, name), cell in products.items()]
    c.execute(newer, rows)


def read(c: sa.Connection, run: int) -> list[CellExecution]:
    """Return the cell executions of a run with what they gave it."""
    products: dict[int, list[CellProduct]] = {}
    for cell, kind, name in c.execute(sa.select(_p.cell, _p.kind, _p.name).where(_p.run == run).order_by(_p.kind, _p.name)):
        products.setdefault(cell, []).append(CellProduct(kind=ProductKind(kind), name=name))
    rows = c.execute(sa.select(cells).where(cells.c.run == run).order_by(cells.c.index)).mappings()
    return [
        CellExecution(
            **{name: row[name] for name in ("index", *_PLAIN, "peak_memory", "outputs")},
            outcome=CellOutcome(row["outcome"]),
            reads=json.loads(row["reads"] or "[]"),
            writes=json.loads(row["writes"] or "[]"),
            products=products.get(row["index"], []),
        )
        for row in rows
    ]
