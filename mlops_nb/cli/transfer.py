"""`mlops-nb import ...` and `mlops-nb export ...`"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from mlops_nb.cli.output import complain, output_option, say
from mlops_nb.cli.stores import FILES_HELP, STORE_HELP, served_store

if TYPE_CHECKING:
    from mlops_nb.transfer.imports import Imported

_STORE = click.option("--backend-store-uri", metavar="URI", help=STORE_HELP)
_FILES = click.option("--artifacts-destination", metavar="URI", help=FILES_HELP)
_NO_FILES = click.option("--no-artifacts", is_flag=True, help="Leave the files of runs and models where they are.")


@click.group("import")
def import_group() -> None:
    """Bring runs in from MLflow or TensorBoard.

    Importing again brings only what is new, and changes nothing where nothing is; so an import that was interrupted is
    finished by doing it again. What the source says wins over changes made here; what only this store has stays.
    """


@import_group.command("mlflow")
@click.argument("source")
@click.option("--experiment", "names", multiple=True, metavar="NAME", help="Only this experiment, and no registered models; repeatable.")
@click.option(
    "--source-artifacts",
    metavar="URI",
    help="Where the MLflow server keeps what its database calls mlflow-artifacts:/…, such as ./mlartifacts or s3://bucket/folder.",
)
@_NO_FILES
@_STORE
@_FILES
@output_option
def import_mlflow(
    source: str,
    names: tuple[str, ...],
    source_artifacts: str | None,
    no_artifacts: bool,
    backend_store_uri: str | None,
    artifacts_destination: str | None,
    as_json: bool,
) -> None:
    """Import what MLflow has recorded.

    SOURCE is MLflow's database (mlflow.db, sqlite:///mlflow.db, or another database URL) or its folder (./mlruns). It is
    only read. Ids of runs and models, times, states, points, params, tags, data sets, logged models, registered models
    with their versions and aliases, and files that can be read come over. Experiments are joined by name. Traces stay
    behind. MLflow's databases keep infinities as ±1.7976931348623157e308, and so they stay.
    """
    from mlops_nb.transfer.importers.mlflow import open_mlflow
    from mlops_nb.transfer.imports import bring_in

    with (
        open_mlflow(source, artifacts=source_artifacts) as found,
        served_store(backend_store_uri, artifacts_destination, create=True) as store,
    ):
        _answer(bring_in(found, store, names=names or None, files=not no_artifacts), as_json)


@import_group.command("tensorboard")
@click.argument("logdir", type=click.Path(exists=True, file_okay=False))
@click.option("--experiment", help="The experiment that the runs join; by default the name of the folder.")
@click.option("--images", is_flag=True, help="Keep image summaries as files of the runs.")
@_STORE
@_FILES
@output_option
def import_tensorboard(
    logdir: str,
    experiment: str | None,
    images: bool,
    backend_store_uri: str | None,
    artifacts_destination: str | None,
    as_json: bool,
) -> None:
    """Import the event files below LOGDIR: each folder with event files is a run, each scalar a metric.

    Hyperparameters of the HParams plugin become params. Characters that may not be in the name of a metric become '_'.
    """
    from mlops_nb.transfer.importers.tensorboard import TensorBoardLogs
    from mlops_nb.transfer.imports import bring_in

    source = TensorBoardLogs(logdir, experiment=experiment, images=images)
    with served_store(backend_store_uri, artifacts_destination, create=True) as store:
        _answer(bring_in(source, store), as_json)


def _answer(done: Imported, as_json: bool) -> None:
    say(done, done.told(), as_json=as_json)
    complain(done.problems)
    if done.problems:
        sys.exit(1)


@click.group("export", short_help="Take everything out: open files, or for MLflow.")
def export_group() -> None:
    """Take everything out: as open files, or as a database of MLflow's.

    An export shows the store as it was when it began. It appears when it is complete; one that was interrupted leaves
    nothing but what the next one to the same place removes.
    """


@export_group.command("files")
@click.argument("folder", type=click.Path(file_okay=False))
@_NO_FILES
@_STORE
@_FILES
@output_option
def export_files(folder: str, no_artifacts: bool, backend_store_uri: str | None, artifacts_destination: str | None, as_json: bool) -> None:
    """Write a Parquet file for each table, a manifest.json, and the files of runs, models and traces to FOLDER.

    FOLDER may be missing, empty, or an earlier export, which is replaced.
    """
    from mlops_nb.transfer.exporters.open_files import export_open_files

    with served_store(backend_store_uri, artifacts_destination) as store:
        manifest = export_open_files(store, folder, files=not no_artifacts)
    rows = sum(manifest.tables.values())
    say(manifest, f"{rows} rows in {len(manifest.tables)} tables and {manifest.files} files are in {folder}.", as_json=as_json)
    complain(manifest.problems)


@export_group.command("mlflow")
@click.argument("file", type=click.Path(dir_okay=False))
@_NO_FILES
@_STORE
@_FILES
@output_option
def export_mlflow(file: str, no_artifacts: bool, backend_store_uri: str | None, artifacts_destination: str | None, as_json: bool) -> None:
    """Write a database to FILE that MLflow 3.17 opens: mlflow server --backend-store-uri sqlite:///FILE.

    The files of runs and models go to the folder FILE.artifacts beside it. As in every database of MLflow's, NaN is a
    flag and infinities are ±1.7976931348623157e308. LOST runs are RUNNING there. Cells and traces stay behind. A FILE
    that is there is replaced if an export made it.
    """
    from mlops_nb.transfer.exporters.mlflow_database import export_mlflow_database

    with served_store(backend_store_uri, artifacts_destination) as store:
        done = export_mlflow_database(store, file, files=not no_artifacts)
    say(done, f"{done.runs} runs with {done.points} points are in {file}.", as_json=as_json)
    complain(done.problems)
