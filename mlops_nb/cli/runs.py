"""`mlops-nb runs ...`"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mlops_nb.cli.output import moment, output_option, say, table, view_option
from mlops_nb.cli.stores import EXPERIMENTS_HINT, RUNS_HINT, tracking_store

if TYPE_CHECKING:
    from mlops_nb.core.records import Run
    from mlops_nb.store.base import TrackingStore

_ID = click.option("--run-id", required=True, help="The id of the run.")
_PAGE = 1000


@click.group()
def runs() -> None:
    """Make, list, show, delete and restore runs."""


@runs.command()
@click.option("--experiment-id", help="The experiment it belongs to.")
@click.option("--experiment-name", help="The experiment by name; made where it is missing.")
@click.option("--run-name", help="What people call it; made up by default.")
@click.option("--description", help="What it is about, in Markdown.")
@click.option("-t", "--tags", multiple=True, metavar="KEY=VALUE", help="A tag; may be repeated.")
@click.option(
    "--status",
    type=click.Choice(["finished", "failed", "killed"], case_sensitive=False),
    default="finished",
    show_default=True,
    help="How it ended.",
)
@click.option("--parent-run-id", help="The run that it is a part of.")
@output_option
def create(
    experiment_id: str | None,
    experiment_name: str | None,
    run_name: str | None,
    description: str | None,
    tags: tuple[str, ...],
    status: str,
    parent_run_id: str | None,
    as_json: bool,
) -> None:
    """Make a run that has already ended, to record work that was done elsewhere."""
    from mlops_nb.config import user_name
    from mlops_nb.core.names import check_tag
    from mlops_nb.core.records import TAG_NOTE, TAG_PARENT
    from mlops_nb.core.run_state import RunStatus

    if (experiment_id is None) == (experiment_name is None):
        raise click.UsageError("Give either --experiment-id or --experiment-name.")
    pairs = _pairs(tags) | ({TAG_NOTE: description} if description else {}) | ({TAG_PARENT: parent_run_id} if parent_run_id else {})
    checked = {key: check_tag(key, value) for key, value in pairs.items()}
    with tracking_store(create=True, hint=EXPERIMENTS_HINT) as store:
        if parent_run_id is not None:
            store.get_run(parent_run_id)
        number = experiment_id if experiment_id is not None else _experiment(store, str(experiment_name))
        run = store.create_run(number, name=run_name or "", user=user_name(), tags=checked)
        run = store.update_run(run.run_id, status=RunStatus(status.upper()), end_time=run.start_time)
    answer = {"run_id": run.run_id, "experiment_id": run.experiment_id, "status": run.status, "run_name": run.name}
    say(answer, None, as_json=True)


def _pairs(tags: tuple[str, ...]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for tag in tags:
        key, separator, value = tag.partition("=")
        if not separator:
            raise click.UsageError(f"The tag '{tag}' is not of the form key=value.")
        if key in pairs:
            raise click.UsageError(f"The tag '{key}' is given twice.")
        pairs[key] = value
    return pairs


def _experiment(store: TrackingStore, name: str) -> str:
    found = store.get_experiment_by_name(name)
    return store.create_experiment(name) if found is None else found.experiment_id


@runs.command("list")
@click.option("--experiment-id", envvar="MLFLOW_EXPERIMENT_ID", show_envvar=True, required=True, help="Runs of this experiment.")
@view_option
@output_option
def list_runs(experiment_id: str, view: str, as_json: bool) -> None:
    """List the runs of an experiment, the newest first."""
    from mlops_nb.core.wire import run_to_json

    with tracking_store(hint=EXPERIMENTS_HINT) as store:
        store.get_experiment(experiment_id)
        found = found_runs(store, experiment_id, view)
    rows = [(moment(run.start_time), run.name, run.run_id) for run in found]
    say([run_to_json(run) for run in found] if as_json else None, table(("Date", "Name", "ID"), rows, flexible=1), as_json=as_json)


@runs.command()
@_ID
@output_option
def describe(run_id: str, as_json: bool) -> None:
    """Show a run with its params, tags and latest metrics; always JSON."""
    from mlops_nb.core.wire import run_to_json

    with tracking_store(hint=RUNS_HINT) as store:
        run = store.get_run(run_id)
    say(run_to_json(run), None, as_json=True)


@runs.command()
@_ID
@output_option
def delete(run_id: str, as_json: bool) -> None:
    """Delete a run; `restore` brings it back, `mlops-nb gc` removes it for good."""
    _move(run_id, to_deleted=True)
    say({"run_id": run_id, "lifecycle_stage": "deleted"}, f"Run {run_id} is deleted.", as_json=as_json)


@runs.command()
@_ID
@output_option
def restore(run_id: str, as_json: bool) -> None:
    """Bring a deleted run back."""
    _move(run_id, to_deleted=False)
    say({"run_id": run_id, "lifecycle_stage": "active"}, f"Run {run_id} is back.", as_json=as_json)


def _move(run_id: str, *, to_deleted: bool) -> None:
    from mlops_nb.core.records import LifecycleStage
    from mlops_nb.errors import InvalidInput

    with tracking_store(hint=RUNS_HINT) as store:
        stage = store.get_run(run_id).lifecycle_stage
        if (stage is LifecycleStage.DELETED) is to_deleted:
            remedy = f"mlops-nb runs restore --run-id {run_id}" if to_deleted else "There is nothing to restore."
            raise InvalidInput(f"Run {run_id} is {stage}.", hint=remedy)
        store.update_run(run_id, lifecycle_stage=LifecycleStage.DELETED if to_deleted else LifecycleStage.ACTIVE)


def found_runs(store: TrackingStore, experiment_id: str, view: str) -> list[Run]:
    """Return all runs of an experiment that a view shows."""
    from mlops_nb.cli.views import stage_of
    from mlops_nb.store.base import RunQuery

    found: list[Run] = []
    token = None
    while True:
        query = RunQuery(experiment_ids=[experiment_id], lifecycle_stage=stage_of(view), max_results=_PAGE, page_token=token)
        page = store.search_runs(query)
        found += page.items
        token = page.token
        if token is None:
            return found
