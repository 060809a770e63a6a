"""What `monitor` tells of an endpoint: its traffic, its versions, and how its requests compare with a reference."""

from __future__ import annotations

import msgspec

from mlops_nb.monitoring import drift
from mlops_nb.monitoring.bins import ColumnBins, Reference
from mlops_nb.monitoring.drift import MIN_ROWS, ColumnDrift, Verdict
from mlops_nb.monitoring.observed import Counts, Observed
from mlops_nb.serving.records import Role, Traffic

NO_REFERENCE = "no reference"
_NO_PROBABILITIES = (
    "not estimated: the endpoint answers no class probabilities, and without labels nothing else tells how often it is right"
)
_DRIFTED = "not estimated: the requests have drifted from the reference, and probabilities that were right there need not be here"


class VersionShare(msgspec.Struct, frozen=True, kw_only=True):
    """A version, the share of the requests that it shall get, and how many of the last minute it answered."""

    label: str
    role: Role
    share: float
    requests: int


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """Requests and predictions held against a reference.

    Attributes:
        verdict: The worst of the columns: `ok`, `shifted`, `drift`, `too few rows`, or `no reference`.
        reference: What it is.
        rows: Rows that were looked at; `passed` those that came too fast to be.
        recent: Whether these are of the last hour alone; else they are all `since` then (s since 1970).
        least: With fewer rows nothing is said.
        inputs, outputs: Column by column, the worst first.
        accuracy: How often the model is right, estimated; None: see `accuracy_note`.
        accuracy_note: Why there is no estimate, or what it rests on.
    """

    verdict: str = NO_REFERENCE
    reference: str = ""
    rows: int = 0
    passed: int = 0
    recent: bool = True
    since: float = 0.0
    least: int = MIN_ROWS
    inputs: list[ColumnDrift] = []
    outputs: list[ColumnDrift] = []
    accuracy: float | None = None
    accuracy_note: str = ""


class Monitored(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint as `monitor` shows it; `course` has the requests of each of the last 60 s, the oldest first."""

    name: str
    traffic: Traffic
    course: list[int]
    versions: list[VersionShare]
    drift: Drift


def judge(reference: Reference | None, observed: Observed) -> Drift:
    """Hold what was seen against a reference."""
    if reference is None:
        return Drift()
    seen, is_recent = observed.recent(MIN_ROWS)
    inputs = drift.compare(reference.inputs, seen.inputs or _none(reference.inputs))
    outputs = drift.compare(reference.outputs, seen.outputs or _none(reference.outputs))
    verdict = drift.overall([*inputs, *outputs])
    accuracy, note = _accuracy(seen, verdict)
    return Drift(
        verdict=verdict.value,
        reference=reference.source,
        rows=seen.rows,
        passed=seen.passed,
        recent=is_recent,
        since=observed.since,
        inputs=inputs,
        outputs=outputs,
        accuracy=accuracy,
        accuracy_note=note,
    )


def _none(columns: list[ColumnBins]) -> list[list[int]]:
    return [[0] for _ in columns]


def _accuracy(seen: Counts, verdict: Verdict) -> tuple[float | None, str]:
    """Estimate by how sure the model says it is: the mean of its largest probabilities, if those are calibrated."""
    if not seen.sure_rows:
        return None, _NO_PROBABILITIES if seen.rows else ""
    if seen.sure_rows < MIN_ROWS:
        return None, f"not estimated: {seen.sure_rows} of {MIN_ROWS} rows"
    if verdict is Verdict.DRIFTED:
        return None, _DRIFTED
    return round(seen.sure / seen.sure_rows, 4), (
        f"the mean probability of the predicted class over {seen.sure_rows:,} rows: right if the model's probabilities are calibrated"
    )
