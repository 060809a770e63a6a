"""The report that a pull request would get, for runs that are there already."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_nb.core.gates import Gate, evaluate, gated_metrics, marked
from mlops_nb.core.records import Run
from mlops_nb.errors import NotFound, SelectorError
from mlops_nb.store.base import TrackingStore
from mlops_nb.tracking import session as sessions
from mlops_nb.tracking.lookup import find_run
from mlops_nb.tracking.run import ActiveRun

if TYPE_CHECKING:
    from mlops_nb.comparing.evidence import Tests
    from mlops_nb.core.gates import GateResult
    from mlops_nb.reports.pull_request.preview import Preview

_DEFAULT_BRANCH = "@main"
GATES = Path(".mlops/gates.yml")


def report(
    run: str | Run | ActiveRun = "@last",
    *,
    vs: str | Run | ActiveRun | None = None,
    forge: str = "github",
    gates: str | Path | None = None,
    dvc_metrics: str | Path | None = None,
    dvc_plots: str | Path | None = None,
) -> Preview:
    """Make the report that a pull request with this run would get: shown as a reviewer sees it, nothing is posted.

    Args:
        run: The run, by default the last one.
        vs: What it is compared with; by default the newest finished run of the default branch, if there is one.
        forge: Whose Markdown and limits: `github`, `gitlab` or `bitbucket`.
        gates: The gates file, by default `.mlops/gates.yml` if it is there.
        dvc_metrics: A file with the output of `dvc metrics diff --json` or `--md`; its metrics are added.
        dvc_plots: A file with the output of `dvc plots diff --json`, or a folder of plots; they are added.

    Returns:
        The preview, with `.data`, `.to_markdown()`, `.to_html()` and `.write(...)`.

    Raises:
        NotFound, SelectorError: If a run is not there.
        InvalidInput: If there is no such forge, or a file does not hold what it should.
        MissingDependencyError: If plots of DVC are to be drawn and vl-convert is not installed.
    """
    from mlops_nb.comparing.comparison import compare_runs
    from mlops_nb.comparing.pull_request import notebook_of
    from mlops_nb.core.records import TAG_GIT_BRANCH, TAG_GIT_COMMIT
    from mlops_nb.reports.pull_request.data import Baseline, PullRequestReport
    from mlops_nb.reports.pull_request.dvc import add_dvc
    from mlops_nb.reports.pull_request.pictures import Pictures
    from mlops_nb.reports.pull_request.preview import Preview, flavor_of

    flavor = flavor_of(forge)
    store = sessions.current.fresh_store()
    this = find_run(store, run)
    base = _base(store, vs, this)
    path = Path(gates) if gates is not None else GATES
    tested: Tests = {}
    results = _results(store, this, base, path, tested, required=gates is not None)
    comparison = compare_runs(store, [base, this], tested=tested) if base is not None else None
    pictures = Pictures()
    baseline = None
    if base is not None:
        branch = base.tags.get(TAG_GIT_BRANCH) or base.name
        words = f"run {base.name} ({base.run_id[:8]})" if base.name else f"run {base.run_id[:8]}"
        baseline = Baseline(name=branch[:400], words=words[:2000], commit=base.tags.get(TAG_GIT_COMMIT, "")[:400])
    notebook = notebook_of(
        store, this, base, pictures, comparison=comparison, gates=results, gates_file=str(path) if results else "", baseline=baseline
    )
    notebook = add_dvc(
        notebook,
        pictures,
        metrics=None if dvc_metrics is None else Path(dvc_metrics).expanduser(),
        plots=None if dvc_plots is None else Path(dvc_plots).expanduser(),
    )
    data = PullRequestReport(
        created=time.time_ns() // 1_000_000,
        commit=this.tags.get(TAG_GIT_COMMIT, "")[:400],
        branch=this.tags.get(TAG_GIT_BRANCH, "")[:400],
        notebooks=[notebook],
    )
    return Preview(data, pictures.files, flavor)


def _base(store: TrackingStore, vs: str | Run | ActiveRun | None, this: Run) -> Run | None:
    if vs is not None:
        return find_run(store, vs)
    try:
        found = find_run(store, _DEFAULT_BRANCH)
    except (NotFound, SelectorError):  # nobody asked for a base, and there is none
        return None
    return None if found.run_id == this.run_id else found


def _results(store: TrackingStore, this: Run, base: Run | None, path: Path, tested: Tests, *, required: bool) -> tuple[GateResult, ...]:
    from mlops_nb.ci.gate_file import read_gates
    from mlops_nb.comparing.comparison import compare_runs

    if not required and not path.is_file():
        return ()
    gates: list[Gate] = [gate for gate in read_gates(path) if gate.is_for(this.notebook or this.name)]
    keys = {*this.metrics, *(base.metrics if base is not None else ())}
    known = [(gate, key) for gate, key in gated_metrics(gates, sorted(keys)) if key in keys]
    comparison = None
    if base is not None and known:
        comparison = compare_runs(store, [base, this], metrics=marked(known), only=True, tested=tested).result
    return evaluate(gates, this, base, comparison)
