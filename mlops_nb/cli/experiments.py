"""`mlops-nb experiments ...`"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mlops_nb.cli.output import json_option, moment, output_option, say, table, view_option
from mlops_nb.cli.stores import EXPERIMENTS_HINT, tracking_store
from mlops_nb.core.formatting import one_line

if TYPE_CHECKING:
    from mlops_nb.core.records import Experiment
    from mlops_nb.store.base import TrackingStore

_ID = click.option("-x", "--experiment-id", required=True, help="The id of the experiment.")


@click.group()
def experiments() -> None:
    """Make, find, rename, delete and restore experiments."""


@experiments.command()
@click.option("-n", "--experiment-name", required=True, help="Its name; no other experiment has it.")
@click.option("-l", "--artifact-location", help="Where the files of its runs go; by default where the store keeps files.")
@output_option
def create(experiment_name: str, artifact_location: str | None, as_json: bool) -> None:
    """Make an experiment."""
    with tracking_store(create=True) as store:
        experiment_id = store.create_experiment(experiment_name, artifact_location=artifact_location)
    say({"experiment_id": experiment_id}, f"Created experiment '{experiment_name}' with id {experiment_id}.", as_json=as_json)


@experiments.command()
@view_option
@click.option("--max-results", type=click.IntRange(min=1), help="At most this many; by default all.")
@output_option
def search(view: str, max_results: int | None, as_json: bool) -> None:
    """List experiments."""
    with tracking_store(hint=EXPERIMENTS_HINT) as store:
        found = _all(store, view, max_results)
    rows = [(one.experiment_id, one.name, one.run_count, one.artifact_location) for one in found]
    say(found, table(("Experiment Id", "Name", "Runs", "Artifact Location"), rows, flexible=1), as_json=as_json)


@experiments.command()
@click.option("-x", "--experiment-id", help="Its id.")
@click.option("-n", "--experiment-name", help="Its name.")
@output_option
def get(experiment_id: str | None, experiment_name: str | None, as_json: bool) -> None:
    """Show one experiment, by id or by name."""
    from mlops_nb.errors import NotFound

    if (experiment_id is None) == (experiment_name is None):
        raise click.UsageError("Give either --experiment-id or --experiment-name.")
    with tracking_store(hint=EXPERIMENTS_HINT) as store:
        found = store.get_experiment(experiment_id) if experiment_id is not None else store.get_experiment_by_name(str(experiment_name))
    if found is None:
        raise NotFound(f"There is no experiment '{experiment_name}'.", hint=EXPERIMENTS_HINT)
    say(found, _shown(found), as_json=as_json)


def _shown(one: Experiment) -> str:
    lines = {
        "Experiment Id": one.experiment_id,
        "Name": one_line(one.name),
        "Artifact Location": one.artifact_location,
        "Lifecycle Stage": one.lifecycle_stage,
        "Creation Time": moment(one.creation_time),
        "Last Update Time": moment(one.last_update_time),
        "Runs": str(one.run_count),
        "Tags": one_line(", ".join(f"{key}={value}" for key, value in sorted(one.tags.items()))),
    }
    return "\n".join(f"{name + ':':<18} {value}".rstrip() for name, value in lines.items())


@experiments.command()
@_ID
@click.option("--new-name", required=True, help="Its name from now on.")
@output_option
def rename(experiment_id: str, new_name: str, as_json: bool) -> None:
    """Give an active experiment another name."""
    with tracking_store(hint=EXPERIMENTS_HINT) as store:
        _check_stage(store, experiment_id, is_deleted=False)
        store.update_experiment(experiment_id, name=new_name)
    say(_changed(experiment_id, name=new_name), f"Experiment {experiment_id} is now '{new_name}'.", as_json=as_json)


@experiments.command()
@_ID
@output_option
def delete(experiment_id: str, as_json: bool) -> None:
    """Delete an experiment with its runs; `restore` brings it back, `mlops-nb gc` removes it for good."""
    from mlops_nb.core.records import LifecycleStage

    with tracking_store(hint=EXPERIMENTS_HINT) as store:
        _check_stage(store, experiment_id, is_deleted=False)
        store.update_experiment(experiment_id, lifecycle_stage=LifecycleStage.DELETED)
    say(_changed(experiment_id, lifecycle_stage="deleted"), f"Experiment {experiment_id} is deleted.", as_json=as_json)


@experiments.command()
@_ID
@output_option
def restore(experiment_id: str, as_json: bool) -> None:
    """Bring a deleted experiment back, with its runs."""
    from mlops_nb.core.records import LifecycleStage

    with tracking_store(hint=EXPERIMENTS_HINT) as store:
        _check_stage(store, experiment_id, is_deleted=True)
        store.update_experiment(experiment_id, lifecycle_stage=LifecycleStage.ACTIVE)
    say(_changed(experiment_id, lifecycle_stage="active"), f"Experiment {experiment_id} is back.", as_json=as_json)


@experiments.command()
@_ID
@click.option("-o", "--filename", type=click.Path(dir_okay=False, writable=True), help="Write to this file instead of the screen.")
@json_option
def csv(experiment_id: str, filename: str | None, json_flag: bool) -> None:
    """Write the runs of an experiment as CSV: a row for each, a column for each metric, param and tag."""
    from mlops_nb.cli.runs import found_runs
    from mlops_nb.cli.tabular import as_csv, run_rows

    with tracking_store(hint=EXPERIMENTS_HINT) as store:
        store.get_experiment(experiment_id)
        columns, rows = run_rows(found_runs(store, experiment_id, "active_only"))
    text = None if json_flag else as_csv(columns, rows)
    if filename is None:
        say([dict(zip(columns, row, strict=True)) for row in rows], text, as_json=json_flag)
        return
    with click.open_file(filename, "w", encoding="utf-8", atomic=True) as file:
        file.write(as_csv(columns, rows))
    answer = {"filename": filename, "runs": len(rows)}
    say(answer, f"The {len(rows)} runs of experiment {experiment_id} are in {filename}.", as_json=json_flag)


def _all(store: TrackingStore, view: str, max_results: int | None) -> list[Experiment]:
    from mlops_nb.cli.views import stage_of
    from mlops_nb.store.base import MAX_PAGE

    found: list[Experiment] = []
    token = None
    while max_results is None or len(found) < max_results:
        size = MAX_PAGE if max_results is None else min(MAX_PAGE, max_results - len(found))
        page = store.list_experiments(lifecycle_stage=stage_of(view), max_results=size, page_token=token)
        found += page.items
        token = page.token
        if token is None:
            break
    return found


def _check_stage(store: TrackingStore, experiment_id: str, *, is_deleted: bool) -> None:
    from mlops_nb.core.records import LifecycleStage
    from mlops_nb.errors import InvalidInput

    stage = store.get_experiment(experiment_id).lifecycle_stage
    if (stage is LifecycleStage.DELETED) is not is_deleted:
        remedy = "There is nothing to restore." if is_deleted else f"mlops-nb experiments restore -x {experiment_id}"
        raise InvalidInput(f"Experiment {experiment_id} is {stage}.", hint=remedy)


def _changed(experiment_id: str, **what: str) -> dict[str, Any]:
    return {"experiment_id": experiment_id, **what}
