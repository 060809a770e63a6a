"""Our operation that compares runs, for the compare page."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from mlops_nb.api.operation import Context, Permission, operation
from mlops_nb.core.comparison import MetricChange, MetricRow, Verdict
from mlops_nb.core.records import CellOutcome, float_to_json
from mlops_nb.core.run_state import RunStatus
from mlops_nb.core.wire import Wire
from mlops_nb.errors import InvalidInput, did_you_mean

Number = float | str

PARTS = ("metrics", "params", "cells", "data", "environment", "explanations")


class CompareRequest(Wire, kw_only=True):
    """Which runs, the base first, and what of them; by default everything. `metrics` are put first, `-loss`: lower is better."""

    run_ids: Annotated[list[str], msgspec.Meta(min_length=2, max_length=50)]
    parts: list[str] | None = None
    metrics: list[str] | None = None


class ComparedRun(Wire, kw_only=True):
    run_id: str
    name: str
    status: RunStatus
    start_time: int


class VerdictJson(Wire, kw_only=True):
    """`word` is null where there is nothing to judge."""

    word: Verdict | None
    text: str
    significance: str


class ChangeJson(Wire, kw_only=True):
    run_id: str
    value: Number | None
    difference: Number | None
    verdict: Verdict
    interval: tuple[Number, Number] | None
    p_value: float | None
    method: str
    note: str


class MetricRowJson(Wire, kw_only=True):
    key: str
    direction: str
    decimals: int
    base: Number | None
    changes: list[ChangeJson]


class ValueRowJson(Wire, kw_only=True):
    key: str
    values: list[str | None]
    changed: bool


class CauseJson(Wire, kw_only=True):
    kind: str
    name: str
    text: str
    weight: float


class ColumnJson(Wire, kw_only=True):
    """A column of a data set; `at_most` says that `rows_changed` is only an upper bound."""

    data: str
    column: str
    verdict: str
    rows_changed: int | None
    at_most: bool
    text: str


class DataJson(Wire, kw_only=True):
    same: bool
    text: str
    columns: list[ColumnJson]


class CellSideJson(Wire, kw_only=True):
    """A cell in one run. `duration` in ms; `outputs` are nbformat's, cut to what a page can show."""

    index: int
    cell_id: str | None
    execution_count: int | None
    source: str
    duration: float
    peak_memory: int | None
    outcome: CellOutcome
    times: int
    outputs: list[dict[str, Any]]


class CellPairJson(Wire, kw_only=True):
    """A cell in both runs. In `source_diff` "=" is in both, "-" only in the base, "+" only in the other."""

    status: str
    base: CellSideJson | None
    other: CellSideJson | None
    source_diff: list[tuple[str, str]]
    outputs_changed: bool = False
    moved: bool
    inputs: list[str]
    summary: str


class CompareAnswer(Wire, kw_only=True):
    """What was asked for; the rest is null. `data` and `cells` are there for two runs only."""

    runs: list[ComparedRun]
    verdict: VerdictJson
    metrics: list[MetricRowJson] | None = None
    params: list[ValueRowJson] | None = None
    environment: list[ValueRowJson] | None = None
    explanations: list[CauseJson] | None = None
    data: DataJson | None = None
    cells: list[CellPairJson] | None = None


@operation("runs.compare", "POST", "/api/v1/compare", permission=Permission.READ, files=True)
def compare_runs(context: Context, request: CompareRequest) -> CompareAnswer:
    """Compare runs with the first of them: metrics with verdicts, params, cells, data, environment, what explains the change."""
    from mlops_nb.comparing import comparison as comparing

    parts = set(PARTS if request.parts is None else request.parts)
    if unknown := sorted(parts - set(PARTS)):
        raise InvalidInput(
            f"A comparison has no part '{unknown[0]}'.", hint=did_you_mean(unknown[0], PARTS) or f"Parts: {', '.join(PARTS)}."
        )
    if len(set(request.run_ids)) < len(request.run_ids):
        raise InvalidInput("A run is named twice.", hint="Name each run once.")
    runs = [context.store.get_run(run_id) for run_id in request.run_ids]
    found = comparing.compare_runs(context.store, runs, metrics=request.metrics or (), redacted=False)
    answer = CompareAnswer(
        runs=[ComparedRun(run_id=run.run_id, name=run.name, status=run.status, start_time=run.start_time) for run in runs],
        verdict=VerdictJson(word=found.outcome, text=found.verdict, significance=found.significance),
    )
    if "metrics" in parts:
        answer.metrics = [_metric(row, request.run_ids[1:]) for row in found.metrics]
    if "params" in parts:
        answer.params = _converted(found.params, list[ValueRowJson])
    if "environment" in parts:
        answer.environment = _converted(found.environment, list[ValueRowJson])
    if "explanations" in parts:
        answer.explanations = _converted(found.causes, list[CauseJson])
    if "data" in parts and found.data is not None:
        columns = [
            ColumnJson(
                data=pair.names[1],
                column=column.name,
                verdict=column.verdict,
                rows_changed=column.rows,
                at_most=column.at_most,
                text=str(column),
            )
            for pair in found.data.pairs
            for column in pair.columns
        ]
        answer.data = DataJson(same=found.data.same, text=str(found.data), columns=columns)
    if "cells" in parts and len(runs) == 2:
        answer.cells = [
            msgspec.structs.replace(_converted(pair, CellPairJson), outputs_changed=pair.outputs.changed) for pair in found.cells
        ]
    return answer


def _converted(value: Any, form: Any) -> Any:
    """Return records as the JSON forms that have fields of the same names."""
    return msgspec.convert(msgspec.to_builtins(value), form)


def _metric(row: MetricRow, run_ids: list[str]) -> MetricRowJson:
    changes = [_change(change, run_id) for change, run_id in zip(row.changes, run_ids, strict=True)]
    return MetricRowJson(key=row.key, direction=row.direction, decimals=row.decimals, base=_number(row.base), changes=changes)


def _change(change: MetricChange, run_id: str) -> ChangeJson:
    low_high = change.interval
    return ChangeJson(
        run_id=run_id,
        value=_number(change.value),
        difference=_number(change.difference),
        verdict=change.verdict,
        interval=None if low_high is None else (float_to_json(low_high[0]), float_to_json(low_high[1])),
        p_value=change.p_value,
        method=change.method,
        note=change.note,
    )


def _number(value: float | None) -> Number | None:
    return None if value is None else float_to_json(value)


OPERATIONS = (compare_runs,)
