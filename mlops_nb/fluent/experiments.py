"""Experiments: the ones that runs belong to."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mlops_nb import config
from mlops_nb.core import filters
from mlops_nb.core.names import check_experiment_name
from mlops_nb.core.records import DEFAULT_EXPERIMENT, Experiment, LifecycleStage
from mlops_nb.errors import InvalidInput, NotFound, StoreError
from mlops_nb.store.base import TrackingStore
from mlops_nb.tracking import session as sessions

logger = logging.getLogger("mlops_nb")

STAGES = {1: LifecycleStage.ACTIVE, 2: LifecycleStage.DELETED, 3: None}
"""What MLflow's `ViewType` numbers mean."""


def set_experiment(experiment_name: str | None = None, experiment_id: str | None = None, **_mlflows: Any) -> Experiment:
    """Make this the experiment of the runs that follow, and return it. One that is missing is made.

    Where the store does not answer, runs go to the experiment of this name all the same; its id is then empty.

    Raises:
        InvalidInput: If the name is not allowed, neither or both are given, or the experiment is deleted.
        NotFound: If there is no experiment of the id.
    """
    if (experiment_name is None) == (experiment_id is None):
        raise InvalidInput("Give either the name or the id of an experiment.")
    session = sessions.current
    if experiment_id is not None:
        found = session.store().get_experiment(str(experiment_id))
    else:
        name = check_experiment_name(str(experiment_name))
        try:
            found = _made(session.store(), name)
        except StoreError as error:  # a training must start without its store
            logger.warning("The experiment '%s' cannot be looked up now: %s", name, error)
            found = Experiment(experiment_id="", name=name, artifact_location="", creation_time=0, last_update_time=0)
    if found.lifecycle_stage is LifecycleStage.DELETED:
        raise InvalidInput(
            f"The experiment '{found.name}' is deleted.", hint=f"Bring it back: mlops_nb.restore_experiment('{found.experiment_id}')"
        )
    session.experiment = found.name
    return found


def _made(store: TrackingStore, name: str) -> Experiment:
    found = store.get_experiment_by_name(name)
    return found if found is not None else store.get_experiment(store.create_experiment(name))


def active_experiment() -> str:
    """Return the name of the experiment that a run started now would join."""
    return sessions.current.experiment or config.experiment_name() or DEFAULT_EXPERIMENT


def create_experiment(name: str, artifact_location: str | None = None, tags: Mapping[str, Any] | None = None, **_mlflows: Any) -> str:
    """Create an experiment and return its id.

    Raises:
        AlreadyExists: If an experiment has the name, even a deleted one.
    """
    texts = {key: str(value) for key, value in (tags or {}).items()}
    return sessions.current.store().create_experiment(check_experiment_name(name), artifact_location=artifact_location, tags=texts)


def get_experiment(experiment_id: str) -> Experiment:
    """Return an experiment by id, deleted ones too.

    Raises:
        NotFound: If there is none.
    """
    return sessions.current.fresh_store().get_experiment(str(experiment_id))


def get_experiment_by_name(name: str) -> Experiment | None:
    """Return the experiment of this name, deleted ones too, or None."""
    try:
        return sessions.current.fresh_store().get_experiment_by_name(name)
    except NotFound:  # nothing has been recorded here
        return None


def search_experiments(
    view_type: int = 1, max_results: int | None = None, filter_string: str | None = None, order_by: Sequence[str] | None = None
) -> list[Experiment]:
    """Return experiments, the newest first.

    Args:
        view_type: 1 active ones, 2 deleted ones, 3 all, as MLflow's `ViewType`.
        max_results: At most this many.
        filter_string: Such as `name LIKE 'churn%' AND tags.team = 'a'`.
        order_by: Such as `["name ASC"]`.

    Raises:
        FilterError: If the filter does not parse.
    """
    node = filters.parse(filter_string or "", filters.EXPERIMENTS)
    clauses = [filters.parse_order_by(clause, filters.EXPERIMENTS) for clause in order_by or ()]
    try:
        store = sessions.current.fresh_store()
    except NotFound:
        return []
    found = [experiment for experiment in _all(store, STAGES[view_type]) if filters.matches(node, experiment)]
    for clause in reversed(clauses):
        found.sort(key=lambda experiment, key=clause.key: getattr(experiment, key), reverse=clause.descending)  # type: ignore[misc]
    return found[:max_results]


def _all(store: TrackingStore, stage: LifecycleStage | None) -> Iterable[Experiment]:
    token = None
    while True:
        page = store.list_experiments(lifecycle_stage=stage, page_token=token)
        yield from page.items
        token = page.token
        if token is None:
            return


def delete_experiment(experiment_id: str) -> None:
    """Delete an experiment with its runs; `restore_experiment` brings them back."""
    sessions.current.fresh_store().update_experiment(str(experiment_id), lifecycle_stage=LifecycleStage.DELETED)


def restore_experiment(experiment_id: str) -> None:
    """Bring a deleted experiment back."""
    sessions.current.fresh_store().update_experiment(str(experiment_id), lifecycle_stage=LifecycleStage.ACTIVE)


def set_experiment_tag(key: str, value: Any) -> None:
    """Set a tag of the experiment that runs join now."""
    set_experiment_tags({key: value})


def set_experiment_tags(tags: Mapping[str, Any]) -> None:
    """Set tags of the experiment that runs join now."""
    store = sessions.current.store()
    experiment = _made(store, active_experiment())
    for key, value in tags.items():
        store.set_experiment_tag(experiment.experiment_id, key, str(value))
