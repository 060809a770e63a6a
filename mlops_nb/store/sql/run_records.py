"""From rows to `Run` records. A run that has not changed since it was read last is not read again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from mlops_nb.core.datasets import ModelOutput, RunInputs
from mlops_nb.core.records import LifecycleStage, Metric, Run
from mlops_nb.core.run_state import RunStatus
from mlops_nb.store.sql import inputs
from mlops_nb.store.sql.bits import all_from_bits
from mlops_nb.store.sql.hot import Hot

_RUN = (
    'SELECT r.id, r.revision, r.run_id, r.experiment_id, r.name, r."user", r.status, r.reason, r.start_time, r.end_time, '
    "r.lifecycle_stage, e.artifact_location FROM runs AS r JOIN experiments AS e ON e.id = r.experiment_id "
)
_BY_ID = Hot(_RUN + "WHERE r.run_id = ?")
_BY_ROW = Hot.of_runs(_RUN + "WHERE r.id")
_CHANGED = Hot(_RUN + "WHERE r.revision > ? ORDER BY r.revision, r.id LIMIT ?")
_PARAMS = Hot.of_runs("SELECT run, key, value FROM params WHERE run")
_TAGS = Hot.of_runs("SELECT run, key, value FROM tags WHERE run")
_METRICS = Hot.of_runs(
    "SELECT m.run, k.name, m.bits, m.timestamp, m.step, m.cell FROM latest_metrics AS m JOIN metric_keys AS k ON k.id = m.key WHERE m.run"
)
_STATUS = {status.value: status for status in RunStatus}
_STAGE = {stage.value: stage for stage in LifecycleStage}
_LARGEST = 200_000
_NOTHING = RunInputs()


class RunCache:
    """Runs as they were at their revision. Any change gives a run another revision, so what is found here is never stale.

    Threads: any. It holds at most `largest` params, tags and metrics in all, those of the runs that were asked for last.
    """

    def __init__(self, largest: int = _LARGEST) -> None:
        self._largest = largest
        self._lock = threading.Lock()
        self._runs: OrderedDict[int, Run] = OrderedDict()
        self._size = 0

    def get(self, row: int, revision: int) -> Run | None:
        """Return the run of a row if it is known at this revision."""
        with self._lock:
            run = self._runs.get(row)
            if run is None or run.revision != revision:
                return None
            self._runs.move_to_end(row)
            return run

    def put(self, row: int, run: Run) -> None:
        """Keep a run, and let the oldest go where there are too many."""
        with self._lock:
            old = self._runs.pop(row, None)
            self._size += _size(run) - (_size(old) if old else 0)
            self._runs[row] = run
            while self._size > self._largest and self._runs:
                self._size -= _size(self._runs.popitem(last=False)[1])

    def clear(self) -> None:
        """Forget all: the database has been replaced."""
        with self._lock:
            self._runs.clear()
            self._size = 0


def _size(run: Run) -> int:
    return 8 + len(run.params) + len(run.tags) + len(run.metrics) + inputs.size(run)


def by_id(c: sa.Connection, run_id: str) -> Run | None:
    """Return the run of an id, or None."""
    found = _load(c, _BY_ID.rows(c, run_id))
    return next(iter(found.values()), None)


def by_rows(c: sa.Connection, rows: Sequence[int]) -> list[Run]:
    """Return the runs of these rows, in their order; rows that are gone are left out."""
    if not rows:
        return []
    found = _load(c, _BY_ROW.of(c, rows))
    return [found[row] for row in rows if row in found]


def changed(c: sa.Connection, since: int, max_results: int) -> list[Run]:
    """Return the runs that changed after a revision, smallest revision first."""
    return list(_load(c, _CHANGED.rows(c, since, max_results)).values())


def _load(c: sa.Connection, rows: Sequence[Any]) -> dict[int, Run]:
    """Return the runs of rows of `_RUN` by row number, in their order."""
    # A transaction that writes may be undone, and its revisions given again: what it sees is not kept.
    cache: RunCache | None = c.get_execution_options().get("runs")
    known = {row[0]: cache.get(row[0], row[1]) for row in rows} if cache else {}
    missing = [row[0] for row in rows if known.get(row[0]) is None]
    params, tags, metrics = (_texts(missing, _PARAMS.of(c, missing)), _texts(missing, _TAGS.of(c, missing)), _metrics(c, missing))
    read, made = inputs.of_runs(c, missing)
    found: dict[int, Run] = {}
    for row in rows:
        number = row[0]
        run = known.get(number)
        if run is None:
            run = _run(row, params[number], tags[number], metrics[number], read.get(number, _NOTHING), made.get(number, []))
            if cache:
                cache.put(number, run)
        found[number] = run
    return found


def _texts(owners: Iterable[int], rows: Iterable[Any]) -> dict[int, dict[str, str]]:
    texts: dict[int, dict[str, str]] = {owner: {} for owner in owners}
    for owner, key, value in rows:
        texts[owner][key] = value
    return texts


def _metrics(c: sa.Connection, owners: Sequence[int]) -> dict[int, dict[str, Metric]]:
    metrics: dict[int, dict[str, Metric]] = {owner: {} for owner in owners}
    rows = _METRICS.of(c, owners)
    for (owner, key, _, timestamp, step, cell), value in zip(rows, all_from_bits([row[2] for row in rows]), strict=True):
        metrics[owner][key] = Metric(key=key, value=value, timestamp=timestamp, step=step, cell=cell)
    return metrics


def _run(
    row: Any, params: dict[str, str], tags: dict[str, str], metrics: dict[str, Metric], read: RunInputs, made: list[ModelOutput]
) -> Run:
    _, revision, run_id, experiment, name, user, status, reason, start_time, end_time, stage, location = row
    return Run(
        run_id=run_id,
        experiment_id=str(experiment),
        name=name,
        status=_STATUS[status],
        start_time=start_time,
        end_time=end_time,
        reason=reason,
        lifecycle_stage=_STAGE[stage],
        user=user,
        artifact_uri=f"{location.rstrip('/')}/{run_id}/artifacts",
        revision=revision,
        params=params,
        metrics=metrics,
        tags=tags,
        inputs=read,
        outputs=made,
    )
