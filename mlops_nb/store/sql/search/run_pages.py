"""Pages of runs: what a `RunQuery` asks for."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from mlops_nb.core.records import LifecycleStage, Run
from mlops_nb.store.base import RunQuery
from mlops_nb.store.page import MAX_PAGE, Page
from mlops_nb.store.sql import run_records
from mlops_nb.store.sql.search.conditions import Conditions
from mlops_nb.store.sql.search.fragment import FALSE, NOTHING, Sql, both, is_postgres, joined, marks
from mlops_nb.store.sql.search.pages import select_ids
from mlops_nb.store.sql.search.planning import Partition
from mlops_nb.store.sql.search.subjects import RUNS

_BRANCHES = 16


def runs_page(c: sa.Connection, query: RunQuery) -> Page[Run]:
    """Return the page of runs that a query asks for."""
    text = query.text.strip()
    page = select_ids(
        c,
        RUNS,
        query.filter,
        query.order_by,
        partition=_partition(query.experiment_ids, query.lifecycle_stage),
        where=[_text_condition(text, postgres=is_postgres(c))] if text else [],
        scope=[query.experiment_ids, query.lifecycle_stage, text],
        max_results=query.max_results,
        largest=MAX_PAGE,
        page_token=query.page_token,
    )
    return Page(items=run_records.by_rows(c, page.items), token=page.token)


def _partition(experiment_ids: Sequence[str] | None, stage: LifecycleStage | None) -> Partition:
    """Return the condition that runs are of these experiments and at this stage; None: of all, at any."""
    stages = [each.value for each in LifecycleStage] if stage is None else [stage.value]
    if experiment_ids is None:
        return _of(
            [Sql("runs.lifecycle_stage = ?", (each,)) for each in stages], NOTHING if stage is None else _any("lifecycle_stage", stages)
        )
    numbers = sorted({int(each) for each in experiment_ids if each.isascii() and each.isdigit() and len(each) < 10})
    if not numbers:
        return Partition(whole=FALSE)
    whole = both(_any("experiment_id", numbers), NOTHING if stage is None else _any("lifecycle_stage", stages))
    branches = [
        Sql("runs.experiment_id = ? AND runs.lifecycle_stage = ?", (number, each)) for number in numbers[:_BRANCHES] for each in stages
    ]
    return _of(branches if len(numbers) * len(stages) <= _BRANCHES else [], whole)


def _of(branches: Sequence[Sql], whole: Sql) -> Partition:
    return Partition(
        whole=whole, branches=branches, spread=Sql(whole.text.replace("runs.experiment_id", "+runs.experiment_id"), whole.values)
    )


def _any(column: str, values: Sequence[str | int]) -> Sql:
    members = marks(values)
    return Sql(f"runs.{column} = ?" if len(values) == 1 else f"runs.{column} IN ({members.text})", members.values)


def _text_condition(text: str, *, postgres: bool) -> Sql:
    """Return what free text means: a part of the name, of a tag that people write, or the beginning of the id."""
    holds = Conditions(RUNS, postgres=postgres, metric_ids={}).holds
    key, value = holds("tags.key", text), holds("tags.value", text)
    owned = Sql(
        "EXISTS (SELECT 1 FROM tags WHERE tags.run = runs.id AND substr(tags.key, 1, 7) <> 'mlflow.' AND substr(tags.key, 1, 6) <> 'mlops.'"
        f" AND ({key.text} OR {value.text}))",
        (*key.values, *value.values),
    )
    begins = Sql("substr(runs.run_id, 1, ?) = ?", (len(text), text.lower()))
    either = joined(" OR ", [holds("runs.name", text), begins, owned])
    return Sql(f"({either.text})", either.values)
