"""From what came of the notebooks to the report: its data, and the files for people."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from mlops_nb.ci.baseline import Baseline, NoBaseline
from mlops_nb.ci.executed import Breakdown, peak_memory
from mlops_nb.ci.execution import Execution
from mlops_nb.ci.gate_file import GatesChanged
from mlops_nb.ci.judging import Judged
from mlops_nb.ci.origin import Origin
from mlops_nb.ci.protocol import Ending
from mlops_nb.comparing.pull_request import notebook_of
from mlops_nb.core.records import TAG_CI_SECONDS, Run
from mlops_nb.reports.pull_request import data
from mlops_nb.reports.pull_request.files import write_pull_request_report
from mlops_nb.reports.pull_request.flavors import FLAVORS, GITHUB
from mlops_nb.reports.pull_request.judging import judge, metrics_of
from mlops_nb.reports.pull_request.pictures import Pictures
from mlops_nb.store.base import TrackingStore

_HOUR = 3600.0


def report_part(
    store: TrackingStore | None,
    *,
    name: str,
    run: Run | None,
    baseline: Baseline | NoBaseline,
    judged: Judged | None,
    breakdown: Breakdown | None,
    execution: Execution,
    pictures: Pictures,
    gates_file: str,
    gates_changed: GatesChanged,
    price_per_hour: float | None,
    url: str,
    default_branch: str,
) -> data.Notebook:
    """Return a notebook's part of the report.

    Args:
        store: Where the runs are; None: there is no time, or no way, to read them.
        name: The notebook's path in the project.
        run: The run that stands for it; None: it left none.
        baseline: What it is compared with.
        judged: What came of that.
        breakdown: Why it did not come to its end.
        execution: Its execution.
        pictures: Takes the files of the report.
        gates_file: Where the gates stand.
        gates_changed: What the commit changes of them.
        price_per_hour: What the machine costs.
        url: Page of the job.
        default_branch: Its name, for where there is no baseline.
    """
    failure = _failure(breakdown)
    base = _baseline(baseline, default_branch)
    links = [data.Link(title="job", url=url)] if url.startswith(("http://", "https://")) and " " not in url else []
    found = baseline if isinstance(baseline, Baseline) else None
    gates = judged.gates if judged is not None else ()
    machine = _machine(execution, found, price_per_hour)
    if store is None or run is None:
        rows = judged.result.metrics if judged is not None and judged.result is not None else ()
        metrics = metrics_of(rows, gates, has_baseline=found is not None)
        verdict = judge(metrics, has_baseline=found is not None, failed=failure is not None)
        return data.Notebook(
            key=name[:400],
            verdict=verdict,
            failure=failure,
            baseline=base,
            metrics=metrics[:5000],
            machine=machine,
            links=links,
            trust=_warned(data.Trust(gates=gates_file[:400]), gates_changed),
            run_id=run.run_id if run is not None else "",
        )
    part = notebook_of(
        store,
        run,
        found.run if found is not None and judged is not None and judged.comparison is not None else None,
        pictures,
        key=name,
        comparison=judged.comparison if judged is not None else None,
        gates=gates,
        gates_file=gates_file,
        failure=failure,
        baseline=base,
        links=links,
    )
    if machine.peak_memory is None:
        machine = msgspec.structs.replace(machine, peak_memory=peak_memory(store.cells(run.run_id)) or part.machine.peak_memory)
    part = msgspec.structs.replace(
        part,
        machine=msgspec.structs.replace(machine, words=part.machine.words),
        trust=_warned(part.trust, gates_changed),
        # That a branch has another commit than main is no news; both stand in the title.
        environment=[change for change in part.environment if change.key not in ("git commit", "git branch")],
    )
    return _with_file(part, judged) if found is not None and judged is not None and judged.comparison is None else part


def _with_file(part: data.Notebook, judged: Judged) -> data.Notebook:
    """Return the part with the comparison with a baseline of which only a file is left."""
    result = judged.result
    if result is None:
        return part
    metrics = metrics_of(result.metrics, judged.gates)
    changed = [row for row in result.params if row.changed][:2000]
    return msgspec.structs.replace(
        part,
        metrics=metrics[:5000],
        verdict=judge(metrics, has_baseline=True, failed=part.failure is not None),
        params=[data.Change(key=row.key[:400], base=_cut(row.values[0]), this=_cut(row.values[-1])) for row in changed],
        unchanged=["params"] if result.params and not changed else [],
        trust=msgspec.structs.replace(part.trust, significance=result.significance[:2000]),
    )


def _warned(trust: data.Trust, changed: GatesChanged) -> data.Trust:
    changes = [data.Change(key=name[:400], base=base, this=this) for name, base, this in changed.changes[:200]]
    return msgspec.structs.replace(trust, changed_gates=changes, warning=changed.words[:2000])


def _cut(value: str | None) -> str | None:
    return None if value is None else value[:2000]


def _failure(breakdown: Breakdown | None) -> data.Failure | None:
    if breakdown is None:
        return None
    return data.Failure(
        cell=breakdown.cell,
        line=breakdown.line,
        reason=breakdown.reason[:2000] or "it did not run to its end",
        source=breakdown.source[:20_000],
        traceback=breakdown.traceback[:20_000],
        hint=breakdown.hint[:2000],
    )


def _baseline(found: Baseline | NoBaseline, default_branch: str) -> data.Baseline:
    if isinstance(found, NoBaseline):
        return data.Baseline(name=default_branch[:400], words=f"none: {found.reason}"[:2000])
    return data.Baseline(name=found.name[:400], words=found.words[:2000], commit=found.commit[:400])


def _machine(execution: Execution, base: Baseline | None, price_per_hour: float | None) -> data.Machine:
    cost = None if price_per_hour is None else execution.seconds / _HOUR * price_per_hour
    return data.Machine(
        duration_ms=execution.seconds * 1000,
        base_duration_ms=_duration_of(base),
        peak_memory=execution.peak_memory,
        cost=cost,
        is_fresh=True if execution.ending is Ending.FINISHED else None,
    )


def _duration_of(base: Baseline | None) -> float | None:
    """Return how long the baseline's notebook took (ms), with its kernel where that is known."""
    if base is None:
        return None
    try:
        return max(0.0, min(1e15, float(base.run.tags[TAG_CI_SECONDS]) * 1000))
    except (KeyError, ValueError):
        return None if base.run.duration_ms is None else float(base.run.duration_ms)


def write_report(parts: Sequence[data.Notebook], pictures: Pictures, origin: Origin, path: Path, *, html: bool) -> list[Path]:
    """Write the report and return its files, the Markdown first.

    Raises:
        PermissionDenied: If a file may not be written.
    """
    report = data.PullRequestReport(
        created=time.time_ns() // 1_000_000,
        commit=origin.commit[:400],
        branch=origin.branch[:400],
        notebooks=list(parts)[:200],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    written = write_pull_request_report(
        report,
        pictures.files,
        markdown=path,
        html=path.with_suffix(".html") if html else None,
        json=path.with_suffix(".json"),
        flavor=FLAVORS.get(origin.ci, GITHUB),
    )
    return sorted(written, key=lambda file: file != path)
