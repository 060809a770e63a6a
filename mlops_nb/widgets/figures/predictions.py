"""What a classifier says against what is true: confusion matrices and ROC curves, of arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mlops_nb.core.comparison import run_labels
from mlops_nb.core.formatting import format_number
from mlops_nb.core.records import Run
from mlops_nb.errors import InvalidInput
from mlops_nb.store.base import TrackingStore
from mlops_nb.widgets.charts.chart import Curves, Grid, Line, Matrix, Panel
from mlops_nb.widgets.charts.figure import Figure
from mlops_nb.widgets.figures.choosing import MAX_LINES, left_out

MAX_CLASSES = 25
MAX_MATRICES = 3
_MAX_POINTS = 300
_OTHERS = "others"

Pairs = Mapping[str, tuple[Any, Any]]
"""For each run, by the name to show: what is true, and what was predicted (classes, or scores of the second class)."""


def confusion(pairs: Pairs) -> Figure:
    """Draw confusion matrices beside each other: rows are true classes, columns predicted ones; colour is the share of the row.

    Args:
        pairs: For each run true and predicted classes, arrays of n. At most 3 runs are drawn; past 25 classes the
            rarest are put together.

    Raises:
        InvalidInput: If arrays are empty or differ in length.
    """
    import numpy as np

    shown = dict(list(pairs.items())[:MAX_MATRICES])
    columns = {name: _columns(name, true, predicted) for name, (true, predicted) in shown.items()}
    if not columns:
        raise InvalidInput("There are no predictions to draw.", hint="Log some with the run first.")
    names, counts = np.unique(np.concatenate([np.concatenate(both) for both in columns.values()]), return_counts=True)
    kept = sorted(names[np.argsort(-counts, kind="stable")[: MAX_CLASSES - 1]]) if len(names) > MAX_CLASSES else list(names)
    kept = _natural([str(name) for name in kept])
    labels = [*kept, _OTHERS] if len(names) > MAX_CLASSES else kept
    place = {name: at for at, name in enumerate(kept)}
    grids, summary = [], []
    for name, (true, predicted) in columns.items():
        matrix = np.zeros((len(labels), len(labels)), dtype=int)
        rows = [place.get(each, len(kept)) for each in true.tolist()]
        np.add.at(matrix, (rows, [place.get(each, len(kept)) for each in predicted.tolist()]), 1)
        shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        right = float((true == predicted).mean())
        grids.append(Grid(title=f"{name}  {right:.1%} right", counts=matrix.tolist(), shares=shares.tolist()))
        summary.append(f"{name}: {right:.1%} of {len(true):,} right")
    notes = ["colour: share of the true class", *left_out(len(shown), len(pairs))]
    notes += [f"the {len(names) - len(kept)} rarest of {len(names)} classes are put together"] if len(names) > MAX_CLASSES else []
    title = f"Confusion of {next(iter(columns))}: {summary[0].partition(': ')[2]}" if len(grids) == 1 else "Confusion"
    return Figure(Matrix(title=title, labels=labels, grids=grids, notes=notes), summary)


def roc(pairs: Pairs) -> Figure:
    """Draw the share of true positives against that of false positives over all thresholds, with the area under it.

    Args:
        pairs: For each run what is true (two classes) and the score of the second one, arrays of n. At most 20 are drawn.

    Raises:
        InvalidInput: If there are not exactly two classes, or a score is no number.
    """
    shown = list(pairs.items())[:MAX_LINES]
    if not shown:
        raise InvalidInput("There are no predictions to draw.", hint="Log some with the run first.")
    lines = [Line(name="chance", xs=[0, 1], ys=[0, 1], look=-1)]
    summary = []
    for look, (name, (true, score)) in enumerate(shown):
        xs, ys, area = roc_points(name, true, score)
        lines.append(Line(name=f"{name}  AUC {format_number(area, decimals=4)}", xs=xs, ys=ys, look=look))
        summary.append(f"{name}: AUC {format_number(area, decimals=4)}")
    panel = Panel(title="ROC", lines=lines, x_label="false positive rate", y_label="true positive rate", unit=True)
    return Figure(Curves(title="ROC", panels=[panel], notes=left_out(len(shown), len(pairs))), summary)


def roc_points(name: str, true: Any, score: Any) -> tuple[list[float], list[float], float]:
    """Return false and true positive rates at falling thresholds, thinned to what a chart shows, and the exact area under them."""
    import numpy as np

    truth, scores = np.asarray(true).ravel(), np.asarray(score, dtype=float).ravel()
    _check(name, truth, scores)
    if not np.isfinite(scores).all():
        raise InvalidInput(f"The scores of '{name[:60]}' have NaN or infinities.", hint="Leave those rows out.")
    classes = np.unique(truth)
    if len(classes) != 2:
        raise InvalidInput(f"A ROC curve needs two classes; '{name[:60]}' has {len(classes)}.", hint="Draw confusion instead.")
    order = np.argsort(-scores, kind="stable")
    positive = (truth == classes[1])[order]
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    found, false = np.cumsum(positive)[ends], np.cumsum(~positive)[ends]
    xs, ys = np.append(0.0, false / false[-1]), np.append(0.0, found / found[-1])
    area = float(np.sum(np.diff(xs) * (ys[1:] + ys[:-1]) / 2))
    kept = np.unique(np.linspace(0, len(xs) - 1, min(len(xs), _MAX_POINTS)).round().astype(int))
    return xs[kept].round(5).tolist(), ys[kept].round(5).tolist(), area


def predicted_classes(store: TrackingStore, runs: Sequence[Run]) -> dict[str, tuple[Any, Any]]:
    """Return what `confusion` draws, of the predictions that runs have kept; see `mlops_nb.log_predictions`.

    Probabilities stand for the class with the largest one; of a single column, for the second class from 0.5 on.

    Raises:
        InvalidInput: If no run has kept predictions of classes.
    """
    return _kept(store, runs, _classes, "predictions of classes")


def predicted_scores(store: TrackingStore, runs: Sequence[Run]) -> dict[str, tuple[Any, Any]]:
    """Return what `roc` draws, of the predictions that runs have kept; see `mlops_nb.log_predictions`.

    Raises:
        InvalidInput: If no run has kept scores of two classes.
    """
    return _kept(store, runs, _scores, "scores of two classes")


_Form = Callable[[Any], tuple[Any, Any] | None]


def _kept(store: TrackingStore, runs: Sequence[Run], form: _Form, what: str) -> dict[str, tuple[Any, Any]]:
    from mlops_nb.comparing.predictions import RunPredictions

    found: dict[str, tuple[Any, Any]] = {}
    for run, label in zip(runs[:MAX_LINES], run_labels(runs[:MAX_LINES]), strict=True):
        kept = RunPredictions(store, run.run_id)
        for file in kept.files:
            predictions = kept.of(file)
            pair = None if predictions is None else form(predictions)
            if predictions is not None and pair is not None:
                found[label if len(kept.files) == 1 else f"{label} {predictions.info.name}"] = pair
    if not found:
        raise InvalidInput(f"None of these runs has kept {what}.", hint="Keep them: mlops_nb.log_predictions(y_true, y_pred)")
    return found


def _classes(predictions: Any) -> tuple[Any, Any] | None:
    import numpy as np

    target, guess, classes = predictions.target, predictions.prediction, list(predictions.info.classes)
    if predictions.info.task == "regression" or (target.dtype.kind == "f" and not classes and len(np.unique(target)) > MAX_CLASSES):
        return None
    names = np.asarray(classes) if classes else np.unique(target)
    if guess.ndim == 2:
        if guess.shape[1] != len(names):
            return None
        guess = np.argmax(guess, axis=1)
    elif guess.dtype.kind == "f" and not set(np.unique(guess).tolist()) <= set(np.unique(target).tolist()):
        if len(names) != 2 or guess.min() < 0 or guess.max() > 1:
            return None
        guess = (guess >= 0.5).astype(int)
    else:
        return (names[target], names[guess]) if classes else (target, guess)
    return (names[target] if classes else target), names[guess]


def _scores(predictions: Any) -> tuple[Any, Any] | None:
    import numpy as np

    target, guess = predictions.target, predictions.prediction
    if predictions.info.task == "regression" or len(np.unique(target)) != 2:
        return None
    if guess.ndim == 2:
        return (target, guess[:, 1]) if guess.shape[1] == 2 else None
    return (target, guess) if guess.dtype.kind == "f" else None


def _columns(name: str, true: Any, predicted: Any) -> tuple[Any, Any]:
    import numpy as np

    one, other = np.asarray(true).ravel(), np.asarray(predicted).ravel()
    _check(name, one, other)
    return _texts(one), _texts(other)


def _texts(values: Any) -> Any:
    import numpy as np

    if values.dtype.kind == "f" and np.equal(np.mod(values, 1), 0).all():  # classes 0.0 and 0 are one
        values = values.astype(int)
    return np.asarray([str(each) for each in values.tolist()])


def _check(name: str, one: Any, other: Any) -> None:
    if not len(one) or len(one) != len(other):
        raise InvalidInput(f"'{name[:60]}' has {len(one)} true values and {len(other)} predictions.", hint="Give one for each row.")


def _natural(names: Sequence[str]) -> list[str]:
    """Return names in order, as numbers where they are."""
    try:
        return sorted(names, key=float)
    except ValueError:
        return sorted(names)
