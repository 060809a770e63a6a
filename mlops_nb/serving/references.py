"""What requests are held against where nobody says: the data that the run of a model was trained on."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from mlops_nb.core.data_profile import ColumnProfile, from_json
from mlops_nb.core.records import Run
from mlops_nb.errors import InvalidInput, MlopsError
from mlops_nb.monitoring.bins import MAX_COLUMNS, ColumnBins, Reference, bins_of, bins_of_column, columns_of
from mlops_nb.monitoring.drift import MIN_ROWS
from mlops_nb.serving.records import OUTPUT
from mlops_nb.store.base import ServedStore

log = logging.getLogger("mlops_nb.serving")

_TRAINING = ("train", "training", "fit")


def of_run(run: Run, names: list[str] | None = None) -> Reference | None:
    """Return the data that a run read, the training data first; None where it logged none whose distribution is known.

    Args:
        run: The run, with its inputs.
        names: The columns that the model takes; by default all that are no index and no target.
    """
    found: list[tuple[int, Reference]] = []
    for given in run.inputs.datasets:
        profile = from_json(given.dataset.profile)
        if profile is None:
            continue
        columns = [
            ColumnBins(name=one.name, edges=one.edges, counts=one.counts, nulls=_nulls(one, profile.rows))
            if one.edges
            else ColumnBins(name=one.name, levels=list(one.levels), counts=[*one.levels.values(), 0], nulls=one.nulls)
            if one.levels
            else ColumnBins(name=one.name)
            for one in profile.columns
            if not one.role and (names is None or one.name in names)
        ][:MAX_COLUMNS]
        if any(column.is_watched for column in columns) and (names is None or len(columns) == min(len(names), MAX_COLUMNS)):
            rows = f", {profile.rows:,} rows" if profile.rows is not None else ""
            context = given.context or "data"
            what = f"{context} data" if not context.endswith("data") else context
            source = f"{what} of {run.name or run.run_id[:8]}{rows}"
            found.append((_TRAINING.index(context) if context in _TRAINING else len(_TRAINING), Reference(source=source, inputs=columns)))
    return min(found, key=lambda one: one[0])[1] if found else None


def of_rows(rows: Any, predictions: Any, *, names: list[str] | None, source: str) -> Reference:
    """Return rows as a reference: counts in bins, made here; the rows themselves go nowhere.

    Args:
        rows: A table, an array or a mapping of arrays.
        predictions: What the model answers for those rows or some of them; None where that is not known.
        names: The columns that the model takes; None: those that there are.
        source: What it is, in words.

    Raises:
        InvalidInput: If they have no columns or not those of the model, or are too few to tell anything.
    """
    columns = columns_of(rows)
    if not columns:
        raise InvalidInput("Requests can be held against rows with columns: a table, an array, or a mapping of arrays.")
    if names is not None and not hasattr(rows, "columns") and not hasattr(rows, "keys") and len(columns) == len(names):
        columns = [(name, values) for name, (_, values) in zip(names, columns, strict=True)]
    if names is not None:
        given = dict(columns)
        missing = [name for name in names[:MAX_COLUMNS] if name not in given]
        if missing:
            raise InvalidInput(
                f"The reference has no column '{missing[0][:80]}'" + (f" and lacks {len(missing) - 1} more." if len(missing) > 1 else "."),
                hint="Give rows as the model takes them, such as X_train.",
            )
        columns = [(name, given[name]) for name in names[:MAX_COLUMNS]]
    count = len(columns[0][1])
    if count < MIN_ROWS:  # and bins of so few would be the rows themselves
        raise InvalidInput(f"Requests are held against at least {MIN_ROWS} rows; these are {count}.", hint="Give more, such as X_train.")
    return Reference(
        source=f"{source}, {count:,} rows",
        inputs=[bins_of_column(name, values) for name, values in columns],
        outputs=[] if predictions is None else bins_of(predictions, alone=OUTPUT),
    )


def _nulls(column: ColumnProfile, rows: int | None) -> int:
    """Return how many values would be missing among as many rows as were counted: of long columns that is a part."""
    counted, present = sum(column.counts), (rows or 0) - column.nulls
    return round(column.nulls * counted / present) if present > 0 else column.nulls


def of_model(store: ServedStore, run_id: str, folder: Path) -> Reference | None:
    """Return what a model was trained on, by its run; never fails: a model is served without it as well."""
    from mlops_nb.models.metadata import read_metadata

    if not run_id:
        return None
    try:
        signature = read_metadata(folder).signature
        fields = signature.inputs if signature else None
        names = [str(field["name"]) for field in fields or () if field.get("name") is not None]
        return of_run(store.get_run(run_id), names or None)
    except (MlopsError, OSError, ValueError) as error:
        log.warning("It is not known what the model of the run %s was trained on: %s", run_id, error)
        return None
