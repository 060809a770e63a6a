"""Predictions of single rows, kept with a run: what tells a better model from a lucky one."""

from __future__ import annotations

import io
import logging
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from blake3 import blake3

from mlops_nb.core.predictions import MAX_ROWS, SUFFIX, MetricSource, PredictionsInfo, predictions_file, slices_file, source_file
from mlops_nb.errors import InvalidInput
from mlops_nb.tracking.data.columns import Array
from mlops_nb.tracking.data.rows import combined, index_keys, row_keys
from mlops_nb.tracking.data.tables import row_count
from mlops_nb.tracking.slices import slices_of

if TYPE_CHECKING:
    from mlops_nb.tracking.run import ActiveRun
    from mlops_nb.tracking.scores import Score

logger = logging.getLogger("mlops_nb")

TASKS = ("classification", "regression")
_MAX_CLASSES = 10_000

# By run: which file has the predictions of a digest, so that each set is kept once.
_kept: weakref.WeakKeyDictionary[ActiveRun, dict[str, str]] = weakref.WeakKeyDictionary()


def log_predictions(
    run: ActiveRun, target: Any, prediction: Any, *, rows: Any = None, name: str = "validation", task: str | None = None
) -> str:
    """Keep target and prediction of each row with a run; see `mlops_nb.log_predictions`. Returns the file among the artifacts."""
    if task is not None and task not in TASKS:
        raise InvalidInput(f"There is no task '{task}'.", hint=f"Use {' or '.join(TASKS)}.")
    if not isinstance(name, str) or not name.strip():
        raise InvalidInput("Predictions need a name.", hint='For example name="validation".')
    truth, guess = _checked(target, prediction)
    path = predictions_file(name)
    run.add_bytes(_packed(truth, guess, _keys(truth, (rows, target, prediction), rows), name, task), path)
    _keep_slices(run, path, truth, guess, rows, name, task)
    _kept.setdefault(run, {})[_digest(truth, guess)] = path
    return path


def keep_score(run: ActiveRun, metric: str, score: Score) -> None:
    """Keep the predictions that a score was computed of, unless the run has them, and say that a metric is this score.

    Raises:
        InvalidInput: If they have a form that cannot be kept.
    """
    truth, guess = _checked(score.target, score.prediction)
    kept = _kept.setdefault(run, {})
    digest = _digest(truth, guess)
    path = kept.get(digest)
    if path is None:
        name, number = score.name or "validation", 1
        path = stem = predictions_file(name)
        while path in kept.values():
            number += 1
            path = f"{stem.removesuffix(SUFFIX)}-{number}{SUFFIX}"
        features = score.features()
        rows = features if row_count(features) == len(truth) else None
        run.add_bytes(_packed(truth, guess, _keys(truth, (rows, score.target, score.prediction), rows), name, None), path)
        _keep_slices(run, path, truth, guess, rows, name, None)
        kept[digest] = path
    source = MetricSource(metric=metric, file=path, function=score.function, arguments=score.arguments)
    run.add_bytes(msgspec.json.encode(source), source_file(metric))


def _keep_slices(run: ActiveRun, path: str, truth: Array, guess: Array, rows: Any, name: str, task: str | None) -> None:
    try:
        slices = slices_of(truth, guess, rows, name, task)
    except Exception as error:  # noqa: BLE001  # the table is the user's, of whatever make; predictions are kept all the same
        logger.warning("The slices of the predictions '%s' cannot be told: %s: %s", name, type(error).__name__, error)
        return
    if slices is not None:
        run.add_bytes(msgspec.json.encode(slices), slices_file(path))


def _checked(target: Any, prediction: Any) -> tuple[Array, Array]:
    """Return target and prediction as arrays of as many rows."""
    truth, guess = _array(target, "target"), _array(prediction, "prediction")
    if truth.ndim != 1:
        raise InvalidInput(f"The target has the shape {truth.shape}.", hint="Give one value a row.")
    if guess.ndim not in (1, 2):
        raise InvalidInput(f"The prediction has the shape {guess.shape}.", hint="Give one value a row, or one a row and class.")
    if len(truth) != len(guess) or not len(truth):
        raise InvalidInput(f"There are {len(truth):,} targets and {len(guess):,} predictions.", hint="Give one of each a row.")
    if guess.dtype.kind == "U" != truth.dtype.kind:
        raise InvalidInput("The prediction has texts and the target numbers.", hint="Give both as labels, or both as numbers.")
    return truth, guess


def _packed(truth: Array, guess: Array, keys: dict[str, Array], name: str, task: str | None) -> bytes:
    """Return the file; rows beyond what may be kept are left out."""
    digest = blake3(_target_hashes(truth).view(np.uint8).data).hexdigest(16)
    truth, guess, classes, coded = _coded(truth, guess)
    arrays = {"target": truth, "prediction": guess, **keys}
    total = len(truth)
    if total > MAX_ROWS:
        order = next(iter(keys.values()), row_keys(np.arange(total)))
        assert order is not None
        chosen = np.sort(np.argpartition(order, MAX_ROWS)[:MAX_ROWS])
        arrays = {key: values[chosen] for key, values in arrays.items()}
        logger.warning("Of the %s predictions '%s' %s are kept.", f"{total:,}", name, f"{MAX_ROWS:,}")
    info = PredictionsInfo(name=name, total=total, digest=digest, task=task, classes=classes, coded=coded)
    content = io.BytesIO()
    arrays["info"] = np.frombuffer(msgspec.json.encode(info), dtype=np.uint8)
    np.savez(content, **arrays)  # type: ignore[arg-type]  # numpy takes the names for its one option
    return content.getvalue()


def _array(values: Any, what: str) -> Array:
    if hasattr(values, "detach"):  # of torch, perhaps on a GPU
        values = values.detach().cpu()
    try:
        array = np.asarray(values)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"The {what} is no array: {error}.", hint="Give one value a row.") from None
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.dtype.kind not in "biufOUS":
        raise InvalidInput(f"The {what} has values of type {array.dtype}.", hint="Give numbers or labels.")
    if array.dtype.kind in "US" or array.dtype.kind == "O":
        if array.ndim != 1:
            raise InvalidInput(f"The {what} has {array.ndim} dimensions of texts.", hint="Give one label a row.")
        array = array.astype(str)
    return array.astype(np.int8) if array.dtype.kind == "b" else array


def _coded(truth: Array, guess: Array) -> tuple[Array, Array, list[str], bool]:
    """Return labels that are texts as numbers of classes."""
    if truth.dtype.kind != "U":
        return truth, guess, [], False
    both = guess.dtype.kind == "U"
    classes, codes = np.unique(np.concatenate([truth, guess]) if both else truth, return_inverse=True)
    if len(classes) > _MAX_CLASSES:
        raise InvalidInput(f"The target has {len(classes):,} labels; {_MAX_CLASSES:,} are allowed.")
    codes = codes.astype(np.int32)
    names = [str(label)[:200] for label in classes]
    return (codes[: len(truth)], codes[len(truth) :], names, True) if both else (codes, guess, names, False)


def _keys(truth: Array, labelled: Sequence[Any], rows: Any) -> dict[str, Array]:
    """Return the keys that the rows have: what was given, their content, their labels in an index together with the target."""
    keys: dict[str, Array] = {}
    if rows is not None:
        found = row_keys(rows)
        if found is None or len(found) != len(truth):
            count = "no rows" if found is None else f"{len(found):,} rows"
            raise InvalidInput(f"`rows` has {count}, and there are {len(truth):,} targets.", hint="Give the rows or their ids.")
        keys["content" if getattr(rows, "ndim", 1) > 1 else "ids"] = found
    for thing in labelled:
        labels = index_keys(thing)
        if labels is not None and len(labels) == len(truth):
            keys["index"] = combined(labels, _target_hashes(truth))
            break
    return keys


def _target_hashes(truth: Array) -> Array:
    """Return a hash a target; whole numbers and the same as floats have the same."""
    found = row_keys(truth.astype(np.float64) if truth.dtype.kind in "biuf" else truth.astype(object))
    assert found is not None
    return found


def _digest(truth: Array, guess: Array) -> str:
    digest = blake3()
    for array in (truth, guess):
        digest.update(f"{array.dtype} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).view(np.uint8).reshape(-1).data)
    return str(digest.hexdigest(16))
