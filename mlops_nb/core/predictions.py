"""Predictions of single rows that a run keeps, and which metrics were computed from them: the forms that writer and reader share.

predictions/validation.npz            arrays of numpy, no pickle: `info` (JSON), `target`, `prediction`, and row keys
predictions/metrics/1f0c….json        one a metric: the file and the function that gave it
predictions/slices/validation.json    where the error is largest, by the columns of the rows
"""

from __future__ import annotations

import hashlib
import re

import msgspec

from mlops_nb.core.records import Record
from mlops_nb.core.run_folders import PREDICTIONS_FOLDER

SUFFIX = ".npz"
METRICS_FOLDER = f"{PREDICTIONS_FOLDER}/metrics"
SLICES_FOLDER = f"{PREDICTIONS_FOLDER}/slices"
MAX_ROWS = 1_000_000
"""More are cut: those with the smallest keys stay, which are the same rows in every run."""

Argument = bool | int | float | str | None


class PredictionsInfo(Record, frozen=True, kw_only=True):
    """What a file of predictions says of itself.

    Attributes:
        name: What the rows are called, such as `validation` or `X_test`.
        task: `classification` or `regression`, where somebody said so.
        total: How many rows there were; the arrays may have less.
        classes: The labels that the numbers in `target` stand for; empty where they are themselves.
        coded: Whether `prediction` holds numbers of `classes` too.
        digest: Of the whole target in its order: rows without keys are the same where it is.
    """

    name: str
    total: int
    digest: str
    task: str | None = None
    classes: list[str] = []
    coded: bool = False
    version: int = 1


class MetricSource(Record, frozen=True, kw_only=True):
    """What a metric was computed from: a file of predictions and a function of `sklearn.metrics` with its other arguments."""

    metric: str
    file: str
    function: str
    arguments: dict[str, Argument | list[Argument]] = {}


class Slice(Record, frozen=True, kw_only=True):
    """Rows with one value of a column (or a range, or none): their mean error, and its interval of 95 %."""

    column: str
    level: str
    rows: int
    value: float
    low: float
    high: float


class Slices(Record, frozen=True, kw_only=True):
    """The worst slices of a set of predictions, the worst first; `measure` says what an error is."""

    name: str
    measure: str
    overall: Slice
    worst: list[Slice] = []


def slices_file(predictions: str) -> str:
    """Return the file of the slices of a file of predictions."""
    return f"{SLICES_FOLDER}/{predictions.rpartition('/')[2].removesuffix(SUFFIX)}.json"


def slices_from_json(content: bytes) -> Slices | None:
    """Return slices; None for a file that holds something else."""
    try:
        return msgspec.json.decode(content, type=Slices)
    except msgspec.MsgspecError:
        return None


def predictions_file(name: str) -> str:
    """Return the file of predictions of this name."""
    safe = re.sub(r"[^\w.-]+", "-", name).strip(".-")[:80] or "predictions"
    return f"{PREDICTIONS_FOLDER}/{safe}{SUFFIX}"


def source_file(metric: str) -> str:
    """Return the file that says what a metric was computed from."""
    return f"{METRICS_FOLDER}/{hashlib.sha256(metric.encode()).hexdigest()[:16]}.json"


def source_from_json(content: bytes) -> MetricSource | None:
    """Return what a metric was computed from; None for a file that does not say it."""
    try:
        return msgspec.json.decode(content, type=MetricSource)
    except msgspec.MsgspecError:
        return None
