"""Repeated runs as one: those that differ only in their seed, or have the same value of a param or tag."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from mlops_nb.comparing.explaining import REPETITIONS
from mlops_nb.core.records import TAG_ATTEMPT, TAG_SERIES, LifecycleStage, Metric, Record, Run
from mlops_nb.core.run_state import RunStatus
from mlops_nb.errors import InvalidInput, did_you_mean
from mlops_nb.store.base import RunQuery, TrackingStore

SEED = "seed"
_MAX_SIBLINGS = 1000


class Group(Record, frozen=True, kw_only=True):
    """Runs that repeat each other. `run` stands for all of them: the means of their metrics, the params that they share."""

    run: Run
    members: tuple[Run, ...]


def is_repetition(by: str) -> bool:
    """Return whether runs that differ in this alone repeat each other."""
    return by.lower() in REPETITIONS


def groups_of(store: TrackingStore, runs: Sequence[Run], by: str, *, expand: bool) -> list[Group]:
    """Put runs into groups, in the order in which the groups first come.

    Args:
        store: Where they are.
        runs: The runs.
        by: `seed` (or another name of a repetition): what differs in nothing else is one group. Any other param or tag:
            runs with the same value of it are one group.
        expand: Take in the other finished runs of the same experiments that belong to the groups: the runs were named one by one.

    Raises:
        InvalidInput: If no run has such a param or tag, or all are in one group.
    """
    by_seed = is_repetition(by)
    if not by_seed and not any(by in run.params or by in run.tags for run in runs):
        keys = sorted({key for run in runs for key in run.params})
        raise InvalidInput(f"No run has a param or tag '{by}'.", hint=did_you_mean(by, [*keys, SEED]) or "Use --by seed.")
    groups: dict[object, list[Run]] = {}
    for run in runs:
        groups.setdefault(_key(run, by, by_seed), []).append(run)
    if expand:
        experiments = list(dict.fromkeys(run.experiment_id for run in runs))
        known = {run.run_id for run in runs}
        for run in store.search_runs(RunQuery(experiment_ids=experiments, max_results=_MAX_SIBLINGS)).items:
            key = _key(run, by, by_seed)
            if key in groups and run.run_id not in known and run.status is RunStatus.FINISHED:
                groups[key].append(run)
    if len(groups) < 2:
        what = "differ only in their seed" if by_seed else f"have the same '{by}'"
        raise InvalidInput(f"All of these runs {what}: there is nothing to compare.", hint="Name runs of two groups.")
    return [_group(members, by, by_seed) for members in groups.values()]


def _key(run: Run, by: str, by_seed: bool) -> object:
    if not by_seed:
        return run.params.get(by, run.tags.get(by))
    rest = tuple(sorted((key, value) for key, value in run.params.items() if key.rpartition("__")[2].lower() not in REPETITIONS))
    return (run.experiment_id, run.notebook, run.tags.get(TAG_SERIES) if not rest else None, rest)


def _group(members: Sequence[Run], by: str, by_seed: bool) -> Group:
    first = members[0]
    metrics = {}
    for key in {key for run in members for key in run.metrics}:
        values = [run.metrics[key].value for run in members if key in run.metrics]
        metrics[key] = Metric(key=key, value=sum(values) / len(values), timestamp=0)
    params = {key: value for key, value in first.params.items() if all(run.params.get(key) == value for run in members)}
    name = (first.tags.get(TAG_SERIES) or first.name) if by_seed else f"{by}={first.params.get(by, first.tags.get(by))}"
    tags = {key: value for key, value in first.tags.items() if key != TAG_ATTEMPT}
    # A group has no end: `duration_ms` and the like are those of its first run.
    run = msgspec.structs.replace(
        first, name=f"{name} ×{len(members)}", metrics=metrics, params=params, tags=tags, lifecycle_stage=LifecycleStage.ACTIVE
    )
    return Group(run=run, members=tuple(members))
