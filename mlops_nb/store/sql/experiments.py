"""Experiments: one row each; a deleted one keeps its name and its runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from mlops_nb.core.names import MAX_KEY, check_experiment_name
from mlops_nb.core.records import Experiment, LifecycleStage
from mlops_nb.errors import AlreadyExists, InvalidInput, NotFound
from mlops_nb.store.base import MAX_PAGE, ExperimentQuery, Page
from mlops_nb.store.sql import revision, search
from mlops_nb.store.sql.hot import Hot
from mlops_nb.store.sql.schema import experiment_tags, experiments, runs
from mlops_nb.store.sql.upsert import insert

_STAGE = Hot("SELECT lifecycle_stage FROM experiments WHERE id = ?")


def create(c: sa.Connection, name: str, artifact_location: str | None, tags: Mapping[str, str], now: int) -> int:
    """Insert an experiment and return its id."""
    check_experiment_name(name)
    taken = c.execute(sa.select(experiments.c.lifecycle_stage).where(experiments.c.name == name)).scalar()
    if taken is not None:
        deleted = taken == LifecycleStage.DELETED.value
        raise AlreadyExists(
            f"Experiment '{name}' already exists" + (" in deleted state." if deleted else "."),
            hint="Restore it, or choose another name." if deleted else None,
        )
    row = c.execute(
        experiments.insert().values(
            name=name, artifact_location="", lifecycle_stage=LifecycleStage.ACTIVE.value, creation_time=now, last_update_time=now
        )
    )
    key = row.inserted_primary_key
    assert key is not None
    location = artifact_location or f"mlflow-artifacts:/{key[0]}"
    c.execute(experiments.update().where(experiments.c.id == key[0]).values(artifact_location=location))
    for tag in tags:
        _check_tag(tag)
    if tags:
        c.execute(experiment_tags.insert(), [{"experiment_id": key[0], "key": tag, "value": value} for tag, value in tags.items()])
    return int(key[0])


def get(c: sa.Connection, experiment_id: str) -> Experiment:
    """Return an experiment by id."""
    found = _load(c, sa.select(experiments).where(experiments.c.id == _numeric(experiment_id)))
    if not found:
        raise NotFound(f"No experiment with id {experiment_id} exists.")
    return found[0]


def stage(c: sa.Connection, experiment_id: str) -> LifecycleStage:
    """Return whether an experiment is deleted, without the rest of it."""
    found = _STAGE.rows(c, _numeric(experiment_id))
    if not found:
        raise NotFound(f"No experiment with id {experiment_id} exists.")
    return LifecycleStage(found[0][0])


def by_name(c: sa.Connection, name: str) -> Experiment | None:
    """Return an experiment by name."""
    found = _load(c, sa.select(experiments).where(experiments.c.name == name))
    return found[0] if found else None


def page(c: sa.Connection, query: ExperimentQuery) -> Page[Experiment]:
    """Return the page of experiments that a query asks for."""
    stage = query.lifecycle_stage
    found = search.select_ids(
        c,
        search.EXPERIMENTS,
        query.filter,
        query.order_by,
        where=[] if stage is None else [experiments.c.lifecycle_stage == stage.value],
        scope=stage,
        max_results=query.max_results,
        largest=MAX_PAGE,
        page_token=query.page_token,
    )
    known: dict[int, Experiment] = {}
    for chunk in search.chunks(found.items):
        known |= {int(each.experiment_id): each for each in _load(c, sa.select(experiments).where(experiments.c.id.in_(chunk)))}
    return Page(items=search.in_order(found.items, known), token=found.token)


def update(c: sa.Connection, experiment_id: str, name: str | None, stage: LifecycleStage | None, now: int) -> None:
    """Rename an experiment, or delete or restore it together with its runs."""
    current = get(c, experiment_id)
    values: dict[str, object] = {"last_update_time": now}
    if name is not None and name != current.name:
        check_experiment_name(name)
        if by_name(c, name) is not None:
            raise AlreadyExists(f"Experiment '{name}' already exists.")
        values["name"] = name
    if stage is not None and stage is not current.lifecycle_stage:
        if experiment_id == "0" and stage is LifecycleStage.DELETED:
            raise InvalidInput("The experiment 'Default' cannot be deleted.")
        values["lifecycle_stage"] = stage.value
        mine = [row[0] for row in c.execute(sa.select(runs.c.id).where(runs.c.experiment_id == _numeric(experiment_id)))]
        deleted = now if stage is LifecycleStage.DELETED else None
        revision.change_runs(c, mine, lifecycle_stage=stage.value, deleted_time=deleted)
    c.execute(experiments.update().where(experiments.c.id == _numeric(experiment_id)).values(**values))


def set_tag(c: sa.Connection, experiment_id: str, key: str, value: str | None) -> None:
    """Set or, with None, remove a tag."""
    number = int(get(c, experiment_id).experiment_id)
    _check_tag(key)
    if value is None:
        gone = c.execute(experiment_tags.delete().where(experiment_tags.c.experiment_id == number, experiment_tags.c.key == key))
        if gone.rowcount == 0:
            raise NotFound(f"Experiment {experiment_id} has no tag '{key}'.")
        return
    statement = insert(c, experiment_tags).values(experiment_id=number, key=key, value=value)
    c.execute(statement.on_conflict_do_update(index_elements=["experiment_id", "key"], set_={"value": statement.excluded.value}))


def _check_tag(key: str) -> None:
    if not key or len(key) > MAX_KEY:
        raise InvalidInput(f"An experiment tag's name has 1 to {MAX_KEY} characters.")


def _numeric(experiment_id: str) -> int:
    """Return the id as the database has it; -1, which no row has, for what is not a number."""
    return int(experiment_id) if experiment_id.isascii() and experiment_id.isdigit() and len(experiment_id) < 10 else -1


def _load(c: sa.Connection, query: sa.Select[tuple[object, ...]]) -> list[Experiment]:
    rows = c.execute(query).mappings().all()
    ids = [row["id"] for row in rows]
    tags: dict[int, dict[str, str]] = {i: {} for i in ids}
    for owner, key, value in c.execute(sa.select(experiment_tags).where(experiment_tags.c.experiment_id.in_(ids))):
        tags[owner][key] = value
    counts = _run_counts(c, ids)
    return [
        Experiment(
            experiment_id=str(row["id"]),
            name=row["name"],
            artifact_location=row["artifact_location"],
            lifecycle_stage=LifecycleStage(row["lifecycle_stage"]),
            creation_time=row["creation_time"],
            last_update_time=row["last_update_time"],
            tags=tags[row["id"]],
            run_count=counts.get(row["id"], 0),
        )
        for row in rows
    ]


def _run_counts(c: sa.Connection, ids: Sequence[int]) -> dict[int, int]:
    query = (
        sa.select(runs.c.experiment_id, sa.func.count())
        .where(runs.c.experiment_id.in_(ids), runs.c.lifecycle_stage == LifecycleStage.ACTIVE.value)
        .group_by(runs.c.experiment_id)
    )
    return {row[0]: row[1] for row in c.execute(query)}
