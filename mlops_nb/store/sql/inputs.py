"""What runs read and made: data sets, logged models, and the points that runs log for models."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from mlops_nb.core.datasets import (
    TAG_MODEL_HISTORY,
    DatasetInput,
    DatasetSummary,
    ModelOutput,
    RunInputs,
    check_input,
    dataset_of,
)
from mlops_nb.core.records import Metric, Run
from mlops_nb.errors import InvalidInput, NotFound
from mlops_nb.store.sql import points as point_rows
from mlops_nb.store.sql.bits import comparable, to_bits
from mlops_nb.store.sql.hot import Hot
from mlops_nb.store.sql.schema import datasets, logged_model_metrics, logged_models, run_inputs, run_models, runs, tags
from mlops_nb.store.sql.upsert import insert

_MOST_SUMMARIES = 1000
_INPUT, _OUTPUT = "input", "output"

_d, _i = datasets.c, run_inputs.c
_DATASETS = (
    "SELECT i.run, i.tags, d.name, d.digest, d.source_type, d.source, d.schema, d.profile "
    "FROM run_inputs AS i JOIN datasets AS d ON d.id = i.dataset WHERE i.run {runs} ORDER BY d.id"
)
_MODELS = (
    "SELECT r.run, r.role, m.model_id, r.step "
    "FROM run_models AS r JOIN logged_models AS m ON m.id = r.model WHERE r.run {runs} ORDER BY m.id"
)
_SQLITE, _POSTGRESQL = "IN (SELECT value FROM json_each(?))", "= ANY(?)"
_DATASETS_OF = Hot(_DATASETS.format(runs=_SQLITE), postgresql=_DATASETS.format(runs=_POSTGRESQL))
_MODELS_OF = Hot(_MODELS.format(runs=_SQLITE), postgresql=_MODELS.format(runs=_POSTGRESQL))


def of_runs(c: sa.Connection, numbers: Sequence[int]) -> tuple[dict[int, RunInputs], dict[int, list[ModelOutput]]]:
    """Return what runs read and what they made, by the numbers of their rows; runs without are left out."""
    found: dict[int, RunInputs] = {}
    made: dict[int, list[ModelOutput]] = {}
    for run, text, *columns in _DATASETS_OF.of(c, numbers):
        found.setdefault(run, RunInputs()).datasets.append(DatasetInput(dataset=dataset_of(columns), tags=json.loads(text)))
    for run, role, model_id, step in _MODELS_OF.of(c, numbers):
        if role == _OUTPUT:
            made.setdefault(run, []).append(ModelOutput(model_id=model_id, step=step))
        else:
            found.setdefault(run, RunInputs()).models.append(model_id)
    return found, made


def size(run: Run) -> int:
    """Return how much a run's data sets hold, counted in texts of usual length."""
    return sum(len(i.dataset.source) + len(i.dataset.schema or "") + len(i.dataset.profile or "") for i in run.inputs.datasets) // 50


def add_inputs(c: sa.Connection, run: int, new: Sequence[DatasetInput], model_ids: Sequence[str]) -> None:
    """Note what a run read. What is noted already stays as it is; a data set is stored once per experiment, name and digest."""
    experiment = c.execute(sa.select(runs.c.experiment_id).where(runs.c.id == run)).scalar_one()
    for one in new:
        check_input(one)
        dataset = one.dataset
        c.execute(
            insert(c, datasets).on_conflict_do_nothing(),
            {
                "experiment_id": experiment,
                "name": dataset.name,
                "digest": dataset.digest,
                "source_type": dataset.source_type,
                "source": dataset.source,
                "schema": dataset.schema,
                "profile": dataset.profile,
            },
        )
        mine = sa.select(_d.id).where(_d.experiment_id == experiment, _d.name == dataset.name, _d.digest == dataset.digest)
        row = {"run": run, "dataset": c.execute(mine).scalar_one(), "tags": json.dumps(one.tags), "context": one.context}
        c.execute(insert(c, run_inputs).on_conflict_do_nothing(), row)
    rows = [{"run": run, "role": _INPUT, "model": model, "step": 0} for model in model_rows(c, model_ids).values()]
    if rows:
        c.execute(insert(c, run_models).on_conflict_do_nothing(), rows)


def add_outputs(c: sa.Connection, run: int, made: Sequence[ModelOutput]) -> None:
    """Note which models a run made; of a model that is noted already the step changes."""
    numbers = model_rows(c, [output.model_id for output in made])
    rows = [{"run": run, "role": _OUTPUT, "model": numbers[output.model_id], "step": output.step} for output in made]
    if rows:
        statement = insert(c, run_models)
        statement = statement.on_conflict_do_update(index_elements=["run", "role", "model"], set_={"step": statement.excluded.step})
        c.execute(statement, rows)


def add_model_history(c: sa.Connection, run: int, entry: Mapping[str, Any]) -> None:
    """Append a model to the tag in which clients of MLflow 2 keep the models of a run."""
    mine = (tags.c.run == run, tags.c.key == TAG_MODEL_HISTORY)
    old = c.execute(sa.select(tags.c.value).where(*mine)).scalar()
    try:
        entries = json.loads(old) if old else []
    except ValueError:
        entries = None
    if not isinstance(entries, list):
        raise InvalidInput(f"The tag '{TAG_MODEL_HISTORY}' of the run is not a JSON array.", hint="Remove the tag first.")
    statement = insert(c, tags)
    statement = statement.on_conflict_do_update(index_elements=["run", "key"], set_={"value": statement.excluded.value})
    c.execute(statement, {"run": run, "key": TAG_MODEL_HISTORY, "value": json.dumps([*entries, entry])})


def add_model_metrics(c: sa.Connection, run: int, points: Sequence[Metric]) -> None:
    """Store the points that a run logged for models with these, each once."""
    for point in points:
        if (point.dataset_name is None) != (point.dataset_digest is None):
            raise InvalidInput("Both dataset_name and dataset_digest must be provided if one is provided")
    points = [point for point in points if point.model_id]
    if not points:
        return
    numbers = model_rows(c, [point.model_id or "" for point in points])
    keys = point_rows.key_ids(c, {point.key for point in points})
    rows = [
        {
            "model": numbers[point.model_id or ""],
            "key": keys[point.key],
            "dataset_name": point.dataset_name or "",
            "dataset_digest": point.dataset_digest or "",
            "run": run,
            "step": point.step,
            "timestamp": point.timestamp,
            "bits": to_bits(point.value),
            "value": comparable(point.value),
        }
        for point in points
    ]
    c.execute(insert(c, logged_model_metrics).on_conflict_do_nothing(), rows)


def summaries(c: sa.Connection, experiment_ids: Sequence[str]) -> list[DatasetSummary]:
    """Return the data sets of experiments with what they were read for, each once."""
    numbers = [int(i) for i in experiment_ids if i.isascii() and i.isdigit()]
    query = (
        sa.select(_d.experiment_id, _d.name, _d.digest, _i.context)
        .outerjoin(run_inputs, _i.dataset == _d.id)
        .where(_d.experiment_id.in_(numbers))
        .distinct()
        .order_by(_d.experiment_id, _d.name, _d.digest, _i.context)
        .limit(_MOST_SUMMARIES)
    )
    return [DatasetSummary(experiment_id=str(e), name=name, digest=digest, context=use) for e, name, digest, use in c.execute(query)]


def model_rows(c: sa.Connection, model_ids: Sequence[str]) -> dict[str, int]:
    """Return the numbers of logged models, deleted ones too.

    Raises:
        NotFound: If one of them is not there.
    """
    if not model_ids:
        return {}
    wanted = list(dict.fromkeys(model_ids))
    query = sa.select(logged_models.c.model_id, logged_models.c.id).where(logged_models.c.model_id.in_(wanted))
    found = {row[0]: row[1] for row in c.execute(query)}
    for model_id in wanted:
        if model_id not in found:
            raise model_not_found(model_id)
    return found


def model_not_found(model_id: str) -> NotFound:
    """Return the error for a model that is not there."""
    return NotFound(f"Logged model with ID '{model_id[:80]}' not found.")
