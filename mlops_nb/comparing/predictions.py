"""The predictions that runs have kept: read with care, and laid beside each other row by row."""

from __future__ import annotations

import io
import math
import zipfile
from typing import Any

import msgspec
import numpy as np

from mlops_nb.comparing import scores
from mlops_nb.core.predictions import METRICS_FOLDER, SUFFIX, Argument, MetricSource, PredictionsInfo, source_from_json
from mlops_nb.core.records import Record
from mlops_nb.core.run_folders import PREDICTIONS_FOLDER
from mlops_nb.errors import MlopsError
from mlops_nb.store.base import TrackingStore

Array = np.ndarray[Any, Any]

MIN_SHARED = 50
"""So many rows must be shared where the two sets of rows differ."""

_MAX_FILE = 200_000_000
_MAX_SOURCE = 100_000
_KEYS = ("ids", "content", "index")
_STEP = np.uint64(0x9E3779B97F4A7C15)


class Predictions(msgspec.Struct, frozen=True, kw_only=True):
    """One set of predictions. `keys` has, by kind, a 64-bit key a row."""

    info: PredictionsInfo
    target: Array
    prediction: Array
    keys: dict[str, Array]


class ScoredBy(Record, frozen=True, kw_only=True):
    """What a metric was computed by: a function of `sklearn.metrics` with its other arguments, on a file of predictions."""

    file: str
    function: str
    arguments: dict[str, Argument | list[Argument]] = {}


class Paired(msgspec.Struct, frozen=True, kw_only=True):
    """The rows that two sets share, in one order. `note` says it where they are not all of the rows."""

    target: Array
    base: Array
    other: Array
    note: str = ""


class RunPredictions:
    """The predictions of one run, read when they are asked for."""

    def __init__(self, store: TrackingStore, run_id: str) -> None:
        self._store, self._run_id = store, run_id
        self._read: dict[str, Predictions | None] = {}
        self._files: dict[str, int | None] = {}
        self._sources: dict[str, MetricSource] = {}
        for artifact in store.list_artifacts(run_id, PREDICTIONS_FOLDER, recursive=True):
            if artifact.path.startswith(f"{METRICS_FOLDER}/"):
                source = source_from_json(self._content(artifact.path, _MAX_SOURCE))
                if source is not None:
                    self._sources[source.metric] = source
            elif artifact.path.endswith(SUFFIX):
                self._files[artifact.path] = artifact.file_size

    def __bool__(self) -> bool:
        return bool(self._files)

    @property
    def files(self) -> list[str]:
        """The files of predictions."""
        return list(self._files)

    def of(self, file: str) -> Predictions | None:
        """Return what is in a file; None for one that is not there or holds something else."""
        if file not in self._read:
            self._read[file] = _unpacked(self._content(file, _MAX_FILE)) if file in self._files else None
        return self._read[file]

    def source_of(self, metric: str, value: float) -> ScoredBy | None:
        """Return what gave a metric this value: what the run says, else what its name suggests, if that gives the value.

        Args:
            metric: Its key.
            value: Its logged value.
        """
        told = self._sources.get(metric)
        if told is not None:
            found = ScoredBy(file=told.file, function=told.function, arguments=told.arguments)
            return found if self._gives(found, value) else None
        function = scores.function_for(metric)
        if function is None:
            return None
        guesses = (ScoredBy(file=file, function=function) for file in self._files)
        return next((guess for guess in guesses if self._gives(guess, value)), None)

    def _gives(self, source: ScoredBy, value: float) -> bool:
        predictions = self.of(source.file)
        if predictions is None:
            return False
        if predictions.info.total > len(predictions.target):  # a part of the rows gives about the value, not exactly
            return True
        target, prediction = predictions.target, predictions.prediction
        quick = scores.weighted(source.function, target, prediction, source.arguments)
        if quick is not None and agrees(value, float(quick(np.ones((1, len(target))))[0])):
            return True
        return agrees(value, scores.score(source.function, target, prediction, source.arguments))

    def _content(self, path: str, limit: int) -> bytes:
        content = bytearray()
        try:
            for piece in self._store.read_artifact(self._run_id, path):
                content += piece
                if len(content) > limit:
                    return b""
        except MlopsError:  # deleted since it was listed
            return b""
        return bytes(content)


def agrees(logged: float, computed: float) -> bool:
    """Return whether a logged value is a computed one, perhaps rounded to three decimals or more."""
    if math.isnan(computed):
        return False
    if math.isclose(logged, computed, rel_tol=1e-6, abs_tol=1e-9):
        return True
    return any(logged == round(computed, decimals) for decimals in range(3, 8))


def _unpacked(content: bytes) -> Predictions | None:
    """Return what a file holds; None for one that does not hold it. No pickle is ever read."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > _MAX_FILE:
                return None
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            info = msgspec.json.decode(arrays["info"].tobytes(), type=PredictionsInfo)
            target, prediction = arrays["target"], arrays["prediction"]
            keys = {kind: arrays[kind] for kind in _KEYS if kind in arrays.files}
    except Exception:  # noqa: BLE001  # the file is whatever somebody put there: numpy and zipfile raise all sorts for broken ones
        return None
    is_sound = (
        target.ndim == 1
        and prediction.ndim in (1, 2)
        and target.dtype.kind in "iuf"
        and prediction.dtype.kind in "iuf"
        and len(target) == len(prediction) > 1
        and all(key.shape == target.shape and key.dtype == np.uint64 for key in keys.values())
    )
    return Predictions(info=info, target=target, prediction=prediction, keys=keys) if is_sound else None


def paired(base: Predictions, other: Predictions) -> Paired | str:
    """Lay two sets of predictions beside each other, row by row; a text says why that cannot be done."""
    if base.info.classes != other.info.classes and (base.info.classes or other.info.classes):
        return "other labels"
    best: tuple[Array, Array] | None = None
    for kind in _KEYS:
        if kind in base.keys and kind in other.keys:
            found = _shared(base.keys[kind], other.keys[kind])
            if best is None or len(found[0]) > len(best[0]):
                best = found
            if kind == "ids":  # they were given to tell the rows apart: nothing else is asked
                break
    sizes = len(base.target), len(other.target)
    in_order = base.info.digest == other.info.digest and sizes[0] == sizes[1]
    if (best is None or len(best[0]) < max(sizes)) and in_order and "ids" not in base.keys:
        best = np.arange(sizes[0]), np.arange(sizes[0])
    if best is None or not len(best[0]):
        return "other evaluation rows"
    first, second = best
    count = len(first)
    if count < max(sizes) and count < MIN_SHARED:
        return f"other evaluation rows: only {count:,} of {sizes[0]:,} and {sizes[1]:,} are in both"
    target = base.target[first]
    if not np.array_equal(target, other.target[second], equal_nan=target.dtype.kind == "f" and other.target.dtype.kind == "f"):
        return "the same rows have other targets"
    totals = base.info.total, other.info.total
    note = "" if count == max(totals) else f"on the {count:,} rows that both have, of {totals[0]:,} and {totals[1]:,}"
    return Paired(target=target, base=base.prediction[first], other=other.prediction[second], note=note)


def _shared(first: Array, second: Array) -> tuple[Array, Array]:
    """Return the places of the keys that both have, in the order of the first; of a key that comes often each in turn."""
    _, places, others = np.intersect1d(_counted(first), _counted(second), assume_unique=True, return_indices=True)
    order = np.argsort(places)
    return places[order], others[order]


def _counted(keys: Array) -> Array:
    """Return keys that are unique: of equal ones the second, third, … get another."""
    order = np.argsort(keys, kind="stable")
    ranked = keys[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    repeats = np.arange(len(keys)) - np.repeat(starts, np.diff(np.r_[starts, len(keys)]))
    unique = np.empty_like(keys)
    unique[order] = ranked + repeats.astype(np.uint64) * _STEP
    return unique
