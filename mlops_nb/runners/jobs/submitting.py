"""From a notebook to a job that waits for a machine: the run that it is, the bundle among its files, the record in the ledger."""

from __future__ import annotations

import io
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from mlops_nb import config
from mlops_nb.core.names import clean_run_name, new_run_name
from mlops_nb.core.records import (
    DEFAULT_EXPERIMENT,
    TAG_GIT_BRANCH,
    TAG_GIT_COMMIT,
    TAG_GIT_DIRTY,
    TAG_NOTEBOOK,
    TAG_PARENT,
    TAG_SOURCE_NAME,
    TAG_SOURCE_TYPE,
    Record,
)
from mlops_nb.core.redaction import Redactor
from mlops_nb.core.run_environment import CHANGES_FILE, TAG_REPOSITORY
from mlops_nb.core.run_state import RunStatus
from mlops_nb.core.runner_jobs import BUNDLE, TAG_JOB, Job
from mlops_nb.errors import AlreadyExists, InvalidInput, MlopsError
from mlops_nb.runners.jobs.bundle import Manifest, write_bundle
from mlops_nb.runners.jobs.preflight import Preflight, content_of
from mlops_nb.store.base import TrackingStore
from mlops_nb.store.runners import RunnerLedger
from mlops_nb.tracking import capture
from mlops_nb.tracking.environment import redacted


class Order(Record, frozen=True, kw_only=True):
    """What is to be executed, besides the notebook; see `Job` and `Manifest`."""

    name: str
    kind: Literal["notebook", "cell"] = "notebook"
    parameters: Mapping[str, Any] = {}
    cells: tuple[int, int] | None = None
    returns: Sequence[str] = ()
    environment: str = "auto"
    experiment: str = ""
    parent_id: str = ""
    runner_id: str = ""


def check_cells(cells: tuple[int, int] | None, count: int) -> None:
    """Check a range of cells, 1-based, both included.

    Raises:
        InvalidInput: If the notebook does not have it.
    """
    if cells is not None and not 1 <= cells[0] <= cells[1] <= count:
        raise InvalidInput(f"There are no cells {cells[0]}..{cells[1]} in a notebook of {count}.", hint=f"Give A..B within 1..{count}.")


def submit(store: TrackingStore, ledger: RunnerLedger, found: Preflight, document: Any, order: Order, *, state: bytes | None = None) -> Job:
    """Write a job down, with its run and its bundle, and return it; a machine can take it from then on.

    Args:
        store: Where its run goes.
        ledger: Where the job goes.
        found: What travels.
        document: The notebook as it travels.
        order: What is to be executed.
        state: Variables that the first cell finds.

    Raises:
        MlopsError: If the store cannot take it; then there is no job, and its run says why.
    """
    check_cells(order.cells, found.cells)
    run = store.create_run(
        _experiment(store, order.experiment),
        name=clean_run_name(order.name) or new_run_name(),
        user=config.user_name(),
        tags=_tags(found, order),
    )
    try:
        store.update_run(run.run_id, status=RunStatus.SCHEDULED)
        with tempfile.TemporaryDirectory(prefix="mlops-nb-bundle-") as folder:
            path = Path(folder) / "bundle.tar.gz"
            digest = write_bundle(path, _manifest(found, order), found.shipment, content_of(document), state)
            with path.open("rb") as file:
                store.write_artifact(run.run_id, BUNDLE, file)
        if found.shipment.changed:
            changes = redacted(capture.changes(Path(found.shipment.root)), Redactor(os.environ))
            store.write_artifact(run.run_id, CHANGES_FILE, io.BytesIO(changes.encode("utf-8", "replace")))
        now = time.time()
        job = Job(
            id=secrets.token_hex(16),
            run_id=run.run_id,
            kind=order.kind,
            name=run.name,
            notebook=found.notebook,
            parameters=dict(order.parameters),
            cells=order.cells,
            returns=list(order.returns),
            digest=digest,
            runner_id=order.runner_id,
            cells_total=found.cells,
            created=now,
            updated=now,
            user=config.user_name(),
        )
        store.log_batch(run.run_id, tags={TAG_JOB: job.id})
        return ledger.add_job(job)
    except BaseException as error:
        reason = f"it could not be submitted: {error}" if isinstance(error, MlopsError) else "it could not be submitted"
        store.update_run(run.run_id, status=RunStatus.FAILED, end_time=time.time_ns() // 1_000_000, reason=reason[:500])
        raise


def _manifest(found: Preflight, order: Order) -> Manifest:
    shipment = found.shipment
    root = Path(shipment.root)
    inside = [Path(entry).resolve() for entry in sys.path if entry]
    paths = [path.relative_to(root).as_posix() for path in inside if path.is_relative_to(root) and "site-packages" not in path.parts]
    return Manifest(
        notebook=found.notebook,
        python=found.lock.python,
        lock=found.lock.lines,
        paths=list(dict.fromkeys(path for path in paths if (root / path).is_dir())),
        environment=order.environment,
        experiment=order.experiment or config.experiment_name() or DEFAULT_EXPERIMENT,
        commit=shipment.commit,
        branch=shipment.branch,
        repository=shipment.repository,
    )


def _tags(found: Preflight, order: Order) -> dict[str, str]:
    shipment = found.shipment
    tags = {TAG_NOTEBOOK: found.notebook, TAG_SOURCE_NAME: found.notebook, TAG_SOURCE_TYPE: "NOTEBOOK", TAG_PARENT: order.parent_id}
    if shipment.commit:
        tags |= {TAG_GIT_COMMIT: shipment.commit, TAG_GIT_BRANCH: shipment.branch, TAG_REPOSITORY: shipment.repository}
        tags[TAG_GIT_DIRTY] = str(bool(shipment.changed)).lower()
    return {key: value for key, value in tags.items() if value}


def _experiment(store: TrackingStore, name: str) -> str:
    """Return the id of the experiment; it is made where it is missing."""
    name = name or config.experiment_name() or DEFAULT_EXPERIMENT
    known = store.get_experiment_by_name(name)
    if known is not None:
        return known.experiment_id
    try:
        return store.create_experiment(name)
    except AlreadyExists:  # somebody else was faster
        found = store.get_experiment_by_name(name)
        assert found is not None
        return found.experiment_id
