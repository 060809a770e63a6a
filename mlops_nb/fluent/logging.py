"""Logging to the active run: numbers, params, tags, files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlops_nb.core.datasets import Dataset
from mlops_nb.errors import InvalidInput
from mlops_nb.fluent.active import active_or_new
from mlops_nb.tracking import images, tables, watching
from mlops_nb.tracking import session as sessions


def log(metrics: Mapping[str, Any] | None = None, /, *, step: int | None = None, **more: Any) -> None:
    """Log metrics to the active run, starting one if none is open; see `ActiveRun.log`."""
    active_or_new().log(metrics, step=step, **more)


def log_metric(
    key: str,
    value: Any,
    step: int | None = None,
    synchronous: bool | None = None,
    timestamp: int | None = None,
    run_id: str | None = None,
    **_mlflows: Any,
) -> None:
    """Log one point of a metric to the active run, starting one if none is open.

    Args:
        key: Its name.
        value: A number.
        step: Where on the x-axis; None counts on from the metric's last step, beginning with 0.
        synchronous: Taken for MLflow's sake: no call waits for the store.
        timestamp: When (ms); now by default.
        run_id: Another run than the active one.
    """
    active_or_new(run_id).log_metric(key, value, step, timestamp=timestamp)


def log_metrics(
    metrics: Mapping[str, Any],
    step: int | None = None,
    synchronous: bool | None = None,
    run_id: str | None = None,
    timestamp: int | None = None,
    **_mlflows: Any,
) -> None:
    """Log metrics to the active run, starting one if none is open; see `log_metric`."""
    run = active_or_new(run_id)
    for key, value in metrics.items():
        run.log_metric(key, value, step, timestamp=timestamp)


def log_param(key: str, value: Any, synchronous: bool | None = None) -> Any:
    """Log a param to the active run, starting one if none is open, and return the value."""
    return active_or_new().log_param(key, value)


def log_params(params: Mapping[str, Any], synchronous: bool | None = None, run_id: str | None = None) -> None:
    """Log params to the active run, starting one if none is open."""
    active_or_new(run_id).log_params(params)


def set_tag(key: str, value: Any, synchronous: bool | None = None) -> None:
    """Set a tag of the active run, starting one if none is open."""
    active_or_new().set_tag(key, value)


def set_tags(tags: Mapping[str, Any], synchronous: bool | None = None) -> None:
    """Set tags of the active run, starting one if none is open."""
    active_or_new().set_tags(tags)


def delete_tag(key: str) -> None:
    """Remove a tag of the active run."""
    active_or_new().delete_tag(key)


def log_artifact(local_path: str | Path, artifact_path: str | None = None, run_id: str | None = None) -> None:
    """Keep a copy of a file or folder with the active run, starting one if none is open."""
    active_or_new(run_id).log_artifact(local_path, artifact_path)


def log_artifacts(local_dir: str | Path, artifact_path: str | None = None, run_id: str | None = None) -> None:
    """Keep a copy of what is in a folder with the active run, starting one if none is open."""
    active_or_new(run_id).log_artifacts(local_dir, artifact_path)


def log_text(text: str, artifact_file: str, run_id: str | None = None) -> None:
    """Keep text as a file with the active run, starting one if none is open."""
    active_or_new(run_id).log_text(text, artifact_file)


def log_dict(dictionary: Any, artifact_file: str, run_id: str | None = None) -> None:
    """Keep a value as a JSON or YAML file with the active run, starting one if none is open."""
    active_or_new(run_id).log_dict(dictionary, artifact_file)


def log_figure(figure: Any, artifact_file: str, *, save_kwargs: Mapping[str, Any] | None = None) -> None:
    """Keep a figure with the active run, starting one if none is open. `save_kwargs` go to the figure's own way of saving."""
    active_or_new().log_figure(figure, artifact_file, **(save_kwargs or {}))


def log_image(
    image: Any,
    artifact_file: str | None = None,
    key: str | None = None,
    step: int | None = None,
    timestamp: int | None = None,
    synchronous: bool | None = None,
) -> None:
    """Keep a PIL image or an array with the active run, starting one if none is open; see `tracking.images.log_image`."""
    images.log_image(active_or_new(), image, artifact_file, key=key, step=step, timestamp=timestamp)


def log_table(data: Any, artifact_file: str, run_id: str | None = None) -> None:
    """Keep a DataFrame or a dictionary of columns as a table, behind the rows that the file has already.

    Args:
        data: The rows to add.
        artifact_file: The file, which ends in `.json`.
        run_id: Another run than the active one.
    """
    tables.log_table(active_or_new(run_id), data, artifact_file, sessions.current.store)


def log_predictions(
    target: Any, prediction: Any, *, rows: Any = None, name: str = "validation", task: str | None = None, run_id: str | None = None
) -> None:
    """Keep target and prediction of each row with the active run, starting one if none is open.

    From them `compare` tells whether a difference is more than noise. What scikit-learn's metrics are computed of, and
    then logged, is kept by itself, up to 100,000 rows.

    Args:
        target: The truth: one number or label a row.
        prediction: One number or label a row, or a row of probabilities, one a class.
        rows: What tells the rows apart: their ids, their index, or the rows themselves (of which only hashes are kept);
            without, the index of a pandas target, else their order.
        name: What the rows are called. A name that is there already is written over.
        task: `classification` or `regression`.
        run_id: Another run than the active one.

    Raises:
        InvalidInput: If they do not have as many rows, or have another form.
    """
    active_or_new(run_id).log_predictions(target, prediction, rows=rows, name=name, task=task)


def log_data(data: Any, name: str | None = None, context: str | None = None) -> Dataset:
    """Note what data the active run uses: a file or a table, told apart by its whole content.

    Args:
        data: A path, a DataFrame or an array.
        name: What people call it.
        context: What it is for, such as `training`.

    Returns:
        The data set, with its digest.
    Raises:
        NotFound: If there is no such file.
    """
    from mlops_nb.tracking.data.logging import log_data as log_it

    return log_it(active_or_new(), data, name, context)


def log_input(dataset: Any, context: str | None = None, tags: Mapping[str, str] | None = None, model: Any = None) -> None:
    """Note a data set that the active run reads, starting one if none is open.

    Args:
        dataset: A data set of MLflow or of ours, or what `log_data` takes.
        context: What it is for, such as `training`.
        tags: Further tags of the use.
        model: Taken for MLflow's sake.

    Raises:
        InvalidInput: If it is neither.
    """
    if not tags:
        log_data(dataset, context=context)
    elif isinstance(dataset, Dataset):
        active_or_new().log_input(dataset, context, tags)
    elif hasattr(dataset, "digest") and hasattr(dataset, "to_dict"):
        active_or_new().log_input(_dataset_of(dataset.to_dict()), context, tags)
    else:
        raise InvalidInput("log_input takes tags with a data set only.", hint="Call log_data(data, name=..., context=...).")


def _dataset_of(told: Mapping[str, Any]) -> Dataset:
    """Return a data set of MLflow's form as ours."""
    optional = {key: told[key] for key in ("schema", "profile") if told.get(key) is not None}
    return Dataset(
        name=str(told["name"]),
        digest=str(told["digest"]),
        source_type=str(told.get("source_type", "")),
        source=str(told.get("source", "")),
        **{key: str(value) for key, value in optional.items()},
    )


def watch(*names: str) -> None:
    """Log variables of the notebook after each cell that changed them; see `tracking.watching`. None at all stops it."""
    watching.watch(*names)
