"""Searching runs: the tree of `core.filters` to SQL with bound parameters."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from mlops_nb.core import filters
from mlops_nb.core.filters import And, Comparison, Field, Node, Not, OrderBy
from mlops_nb.core.records import Run
from mlops_nb.store.base import MAX_PAGE, Page, RunQuery
from mlops_nb.store.sql import paging
from mlops_nb.store.sql import runs as run_rows
from mlops_nb.store.sql.schema import latest_metrics, metric_keys, params, runs, tags

_COLUMNS: dict[str, Any] = {
    "run_id": runs.c.run_id,
    "run_name": runs.c.name,
    "status": runs.c.status,
    "start_time": runs.c.start_time,
    "end_time": runs.c.end_time,
    "user_id": runs.c.user,
    "experiment_id": sa.cast(runs.c.experiment_id, sa.String),
    "reason": runs.c.reason,
    "artifact_uri": sa.literal("mlflow-artifacts:/") + sa.cast(runs.c.experiment_id, sa.String) + "/" + runs.c.run_id + "/artifacts",
}


def runs_page(c: sa.Connection, query: RunQuery) -> Page[Run]:
    """Return the page of runs that a query asks for."""
    limit, offset = paging.bounds(query.max_results, query.page_token, MAX_PAGE)
    statement = sa.select(runs)
    if query.experiment_ids is not None:
        numbers = [int(i) for i in query.experiment_ids if i.isascii() and i.isdigit()]
        statement = statement.where(runs.c.experiment_id.in_(numbers))
    if query.lifecycle_stage is not None:
        statement = statement.where(runs.c.lifecycle_stage == query.lifecycle_stage.value)
    node = filters.parse(query.filter)
    if node is not None:
        statement = statement.where(_condition(node))
    if query.text.strip():
        statement = statement.where(_text_condition(query.text.strip()))
    order: list[Any] = []
    for clause in query.order_by:
        statement, terms = _ordered(statement, filters.parse_order_by(clause), len(order))
        order += terms
    statement = statement.order_by(*order, runs.c.start_time.desc(), runs.c.run_id)
    found = run_rows.load(c, statement.limit(limit + 1).offset(offset))
    return Page(items=found[:limit], token=paging.next_token(len(found), limit, offset))


def _condition(node: Node) -> sa.ColumnElement[bool]:
    if isinstance(node, Comparison):
        return _comparison(node)
    if isinstance(node, Not):
        return sa.not_(_condition(node.part))
    join = sa.and_ if isinstance(node, And) else sa.or_
    return join(*(_condition(part) for part in node.parts))


def _comparison(node: Comparison) -> sa.ColumnElement[bool]:
    if node.field is Field.ATTRIBUTE:
        column = _COLUMNS[node.key]
        # In SQL what is unknown is neither true nor false, and NOT of it is unknown too; in the language it is false.
        return (
            sa.func.coalesce(_operator(column, node), sa.false()) if node.op not in ("IS NULL", "IS NOT NULL") else _operator(column, node)
        )
    if node.field is Field.METRIC:
        table: Any = latest_metrics
        key = sa.select(metric_keys.c.id).where(metric_keys.c.name == node.key).scalar_subquery()
        owned = sa.select(table.c.run).where(table.c.key == key)
    else:
        table = params if node.field is Field.PARAM else tags
        owned = sa.select(table.c.run).where(table.c.key == node.key)
    if node.op == "IS NULL":
        return runs.c.id.not_in(owned)
    if node.op == "IS NOT NULL":
        return runs.c.id.in_(owned)
    fits = _operator(table.c.value, node)
    if node.field is Field.METRIC and node.op == "!=":
        fits = sa.or_(fits, table.c.value.is_(None))  # NaN differs from every number
    return runs.c.id.in_(owned.where(fits))


def _operator(column: Any, node: Comparison) -> sa.ColumnElement[bool]:
    apply: Callable[[Any, Any], sa.ColumnElement[bool]] = _OPERATORS[node.op]
    return apply(column, node.value)


_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "LIKE": lambda column, value: column.like(value),
    "ILIKE": lambda column, value: column.ilike(value),
    "IN": lambda column, value: column.in_(value),
    "NOT IN": lambda column, value: column.not_in(value),
    "IS NULL": lambda column, _: column.is_(None),
    "IS NOT NULL": lambda column, _: column.is_not(None),
}


def _text_condition(text: str) -> sa.ColumnElement[bool]:
    """Return what free text means: a part of the name, of the id or of a tag that people write."""
    pattern = "%" + text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    owned = sa.select(tags.c.run).where(
        sa.or_(tags.c.value.ilike(pattern, escape="\\"), tags.c.key.ilike(pattern, escape="\\")),
        tags.c.key.not_like("mlflow.%"),
        tags.c.key.not_like("mlops.%"),
    )
    return sa.or_(
        runs.c.name.ilike(pattern, escape="\\"), runs.c.run_id.like(pattern.lower().lstrip("%"), escape="\\"), runs.c.id.in_(owned)
    )


def _ordered(statement: sa.Select[Any], by: OrderBy, number: int) -> tuple[sa.Select[Any], list[Any]]:
    """Return the statement joined with what it is sorted by, and the terms; missing values and NaN come last."""
    if by.field is Field.ATTRIBUTE:
        column = _COLUMNS[by.key]
    elif by.field is Field.METRIC:
        latest = latest_metrics.alias(f"order_{number}")
        key = sa.select(metric_keys.c.id).where(metric_keys.c.name == by.key).scalar_subquery()
        statement = statement.outerjoin(latest, sa.and_(latest.c.run == runs.c.id, latest.c.key == key))
        column = latest.c.value
    else:
        table = (params if by.field is Field.PARAM else tags).alias(f"order_{number}")
        statement = statement.outerjoin(table, sa.and_(table.c.run == runs.c.id, table.c.key == by.key))
        column = table.c.value
    return statement, [column.is_(None), column.desc() if by.descending else column.asc()]
