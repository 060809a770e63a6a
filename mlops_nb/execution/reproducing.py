"""Running what a run needs again, in a process of its own with a fresh kernel."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import nbformat

from mlops_nb.core.records import TAG_REPRODUCES, TAG_VERIFIED, Run
from mlops_nb.core.reproduction import Reproduction, agreements
from mlops_nb.core.restoring import as_notebook
from mlops_nb.core.run_state import RunStatus
from mlops_nb.execution.run_cells import RunCells
from mlops_nb.store.base import RunQuery, TrackingStore
from mlops_nb.tracking.capture import ENV_REPRODUCES
from mlops_nb.tracking.session import Session

_LOAD = "%load_ext mlops_nb"


def reproduce_run(
    session: Session, cells: RunCells, tolerance: float | Mapping[str, float], *, folder: Path, timeout: float | None
) -> Reproduction:
    """Run the closure of a run again and compare; see `checking.reproduce`."""
    run, needed = cells.run, cells.closure
    target = session.shipper().target
    kept = target.state_dir / "reproductions"
    kept.mkdir(mode=0o700, parents=True, exist_ok=True)
    source = kept / f"{run.run_id[:8]}-{time.time_ns() // 1_000_000}.ipynb"
    introduction = f"What run **{run.name}** (`{run.run_id}`) needs, to run it again."
    document = as_notebook(needed, introduction, before=_LOAD if cells.tracks_itself else None)
    source.write_text(nbformat.writes(document), encoding="utf-8")  # type: ignore[no-untyped-call]  # nbformat has types in part
    began = time.time_ns() // 1_000_000
    failure = _execute(source, run, target.store_uri, folder, timeout)
    store = session.fresh_store()
    again = _found(store, run, began)
    if again is not None and not cells.tracks_itself:
        missing = {key: value for key, value in run.params.items() if key not in again.params}
        store.log_batch(again.run_id, params=missing)
    reason = failure
    if again is None:
        reason = reason or "its cells started no run"
    elif again.status is not RunStatus.FINISHED and run.status is RunStatus.FINISHED:
        reason = again.reason or reason or again.status.value.lower()
    result = Reproduction(
        run_id=run.run_id,
        name=run.name,
        again_id=again.run_id if again is not None else None,
        metrics=agreements(run, again, tolerance),
        cells=len(needed),
        reason=reason,
    )
    if result.verified is not None:
        store.log_batch(run.run_id, tags={TAG_VERIFIED: str(result.verified).lower()})
    return result


def _execute(source: Path, run: Run, store_uri: str, folder: Path, timeout: float | None) -> str | None:
    """Execute a notebook with our engine and return what went wrong, if anything did."""
    command = [sys.executable, "-m", "papermill", "--engine", "mlops_nb", "--no-progress-bar", "--cwd", str(folder)]
    command += ["--execution-timeout", str(max(1, round(timeout)))] if timeout else []
    environment = {**os.environ, ENV_REPRODUCES: run.run_id, "MLOPS_NB_TRACKING_URI": store_uri}
    done = subprocess.run(
        [*command, str(source), os.devnull], capture_output=True, text=True, errors="replace", cwd=folder, env=environment, check=False
    )
    if done.returncode == 0:
        return None
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return (lines[-1] if lines else f"papermill ended with {done.returncode}")[:300]


def _found(store: TrackingStore, run: Run, began: int) -> Run | None:
    """Return the run that the repetition made for this one: of several the one that is most like it."""
    query = RunQuery(filter=f"tags.`{TAG_REPRODUCES}` = '{run.run_id}'", max_results=100)
    made = [again for again in store.search_runs(query).items if again.start_time >= began - 1]

    def likeness(again: Run) -> tuple[int, bool, bool, int]:
        same_name = again.name == run.name
        return len(run.metrics.keys() & again.metrics.keys()), same_name, again.parent_id is None, -again.start_time

    return max(made, key=likeness, default=None)
