"""Two runs as the data of a pull-request report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from mlops_nb.comparing.cells import CellPair, CellStatus
from mlops_nb.comparing.comparison import Comparison, compare_runs
from mlops_nb.comparing.data import RunDataComparison
from mlops_nb.comparing.document import diff_text, first_line, label_of
from mlops_nb.comparing.environment import PACKAGE, compare_environments
from mlops_nb.comparing.outputs import OutputsChange, cells_of_table, changed_outputs, stable
from mlops_nb.comparing.report_pictures import decoded, drawn_curves, logged_pictures
from mlops_nb.core.comparison import ValueRow, compare
from mlops_nb.core.gates import GateResult
from mlops_nb.core.names import SYSTEM_METRICS
from mlops_nb.core.records import Run
from mlops_nb.reports.pull_request import data
from mlops_nb.reports.pull_request.data import Baseline, Cell, Change, Failure, Image, Link, Machine, Notebook, Output, Side, Trust
from mlops_nb.reports.pull_request.judging import judge, metrics_of
from mlops_nb.reports.pull_request.pictures import Pictures
from mlops_nb.reports.pull_request.wording import gate_rank
from mlops_nb.store.base import TrackingStore

_MAX_TEXT = 20_000
_MAX_CELLS = 2_000
_CURVES = 8
_MACHINE = ("gpus", "processor", "machine", "processors_usable")


def notebook_of(
    store: TrackingStore,
    this: Run,
    base: Run | None,
    pictures: Pictures,
    *,
    key: str | None = None,
    comparison: Comparison | None = None,
    gates: Sequence[GateResult] = (),
    gates_file: str = "",
    failure: Failure | None = None,
    baseline: Baseline | None = None,
    machine: Machine | None = None,
    links: Sequence[Link] = (),
    headline: str = "",
) -> Notebook:
    """Gather what a report shows of a run against its baseline.

    Args:
        store: Where both are.
        this: The run.
        base: The baseline; None: there is none.
        pictures: Takes the files of the report.
        key: What tells the notebook from others of the report; its path if it is known.
        comparison: Of base and this, where it has been made already.
        gates: What came of the gates.
        gates_file: Where they stand, for the reader.
        failure: Why the notebook did not run to its end.
        baseline: What the base is called; made of the run if it is not given.
        machine: What the run took; what is not given is read from the runs.
        links: Where the report leads to.
        headline: The deciding metric in words.

    Raises:
        StoreError: If the store cannot be read.
    """
    if base is not None and comparison is None:
        comparison = compare_runs(store, [base, this])
    result = comparison.result if comparison is not None else compare(this, [])
    # What the machine did says nothing of the model; it stays in the runs, unless a gate asks for it.
    named = {gate.metric for gate in gates}
    rows = [row for row in result.metrics if not row.key.startswith(SYSTEM_METRICS) or row.key in named]
    metrics = metrics_of(rows, gates, has_baseline=base is not None)
    shown = sorted(metrics, key=gate_rank)[:_CURVES]
    pairs = comparison.cells if comparison is not None else []
    cells, images = _cells(_reached(pairs) if failure is not None else pairs, pictures)
    runs = [run for run in (base, this) if run is not None]
    environment = comparison.environment if comparison is not None else compare_environments(store, runs)
    return Notebook(
        key=(key or this.notebook or this.name or this.run_id[:8])[:400],
        verdict=judge(metrics, has_baseline=base is not None, failed=failure is not None),
        headline=headline[:2000],
        failure=failure,
        baseline=baseline or (None if base is None else Baseline(name=base.name[:400], words=f"run {base.run_id[:8]}")),
        metrics=metrics[:5000],
        params=_changes(result.params) if base is not None else [],
        data=_data(comparison.data) if comparison is not None else [],
        packages=[_plain_package(change) for change in _changes(environment) if change.key.startswith(PACKAGE)],
        environment=[change for change in _changes(environment) if not change.key.startswith(PACKAGE)],
        unchanged=_unchanged(comparison) if comparison is not None else [],
        cells=cells,
        cell_count=len(comparison.cells) if comparison is not None else 0,
        images=[
            *images,
            *logged_pictures(store, base, this, pictures),
            *drawn_curves(store, runs, comparison.result if comparison else None, [metric.key for metric in shown], pictures),
        ][:600],
        machine=machine or _machine(this, base, environment),
        links=list(links)[:20],
        trust=Trust(significance=(comparison.significance if comparison is not None else "")[:2000], gates=gates_file[:400]),
        run_id=this.run_id,
    )


def _unchanged(comparison: Comparison) -> list[Literal["params", "data", "code"]]:
    """Return what is known to be the same in both runs."""
    data, cells = comparison.data, comparison.cells
    is_same = {
        "params": not any(row.changed for row in comparison.params) and any(run.params for run in comparison.runs),
        "data": data is not None and data.same and bool(data.pairs),
        "code": bool(cells) and not any(pair.source_changed or pair.base is None or pair.other is None for pair in cells),
    }
    return [kind for kind in ("params", "data", "code") if is_same[kind]]


def _reached(pairs: Sequence[CellPair]) -> Sequence[CellPair]:
    """Return the pairs up to the last cell that ran: those behind it have not been removed, they were not reached."""
    last = max((place for place, pair in enumerate(pairs) if pair.other is not None), default=-1)
    return pairs[: last + 1]


def _plain_package(change: Change) -> Change:
    """Return the change of a package under its plain name."""
    return Change(key=change.key.removeprefix(PACKAGE), base=change.base, this=change.this)


def _changes(rows: Iterable[ValueRow]) -> list[Change]:
    changed = [row for row in rows if row.changed][:2000]
    return [Change(key=row.key[:400], base=_short(row.values[0]), this=_short(row.values[-1])) for row in changed]


def _short(value: str | None) -> str | None:
    return None if value is None else value[:2000]


def _data(found: RunDataComparison | None) -> list[Change]:
    if found is None or found.same:
        return []
    changes = [
        Change(key=pair.names[1][:400], base=str(pair.names[0])[:2000], this=str(pair).split("\n")[0][:2000])
        for pair in found.pairs
        if not pair.same
    ]
    changes += [Change(key=name[:400], base="read", this=None) for name in found.only_base]
    return [*changes, *(Change(key=name[:400], base=None, this="read") for name in found.only_other)][:2000]


def _machine(this: Run, base: Run | None, environment: Sequence[ValueRow]) -> Machine:
    facts = {row.key: row.values[-1] for row in environment}
    words = next((str(facts[key]) for key in _MACHINE if facts.get(key)), "")
    if facts.get("processors_usable") and not facts.get("gpus"):
        words = f"{facts['processors_usable']} processors"
    return Machine(
        words=words[:400],
        duration_ms=this.duration_ms,
        base_duration_ms=base.duration_ms if base is not None else None,
    )


# -- cells


def _cells(pairs: Sequence[CellPair], pictures: Pictures) -> tuple[list[Cell], list[Image]]:
    images: dict[str, Image] = {}
    cells = []
    for pair in [pair for pair in pairs if pair.status is not CellStatus.SAME][:_MAX_CELLS]:
        label = label_of(pair)
        sides = [side.outputs if side is not None else [] for side in (pair.base, pair.other)]
        found = list(changed_outputs(*sides))
        before = [output for old, _, _ in found for output in _outputs(old, label, Side.BASE, pictures, images)][:40]
        after = [output for _, new, _ in found for output in _outputs(new, label, Side.THIS, pictures, images)][:40]
        cells.append(
            Cell(
                label=label[:400],
                status=data.CellStatus(pair.status.value),
                first_line=first_line(pair)[:400],
                summary=pair.summary[:2000],
                diff=_signed(diff_text(pair.source_diff, 400))[:_MAX_TEXT] if pair.source_changed else "",
                before=before,
                after=after,
                effect=_effect(pair, [change for _, _, change in found]),
            )
        )
    return cells, list(images.values())


def _signed(diff: str) -> str:
    return "\n".join(line if line[:2] in ("  ", "- ", "+ ") else f"  {line}" for line in diff.splitlines())


def _effect(pair: CellPair, changes: Sequence[OutputsChange]) -> float:
    """Return how much a change matters: how it ended, then its source, then by how much its numbers moved."""
    if pair.base is not None and pair.other is not None and pair.base.outcome is not pair.other.outcome:
        return 1.0
    size = 0.6 if pair.source_changed else 0.2 if changes else 0.1
    for number in (number for change in changes for number in change.numbers):
        size = max(size, min(0.8, abs(number.now - number.before) / max(abs(number.before), 1e-12)))
    return min(1.0, size + (0.1 if pair.is_upstream else 0.0)) if size == size else 0.8  # NaN: a number came or went


def _outputs(output: dict[str, Any] | None, label: str, side: Side, pictures: Pictures, images: dict[str, Image]) -> list[Output]:
    if output is None:
        return []
    shown = output.get("data") or {}
    for kind in ("image/png", "image/jpeg"):
        if kind in shown:
            image = pictures.add(decoded(shown[kind]), f"cell {label}", side, 0.5)
            if image is None:
                return [Output(kind="text", text="[a picture that is too large to show]")]
            images[image.path] = image
            return [Output(kind="image", path=image.path)]
    if output.get("output_type") == "error":
        return [Output(kind="error", text=f"{output.get('ename', '')}: {output.get('evalue', '')}"[:_MAX_TEXT])]
    if "<table" in str(shown.get("text/html", "")):
        rows = [[cell[:400] for cell in row[:60]] for row in cells_of_table(str(shown["text/html"]))[:120]]
        return [Output(kind="table", rows=rows)]
    text = output.get("text") if output.get("output_type") == "stream" else shown.get("text/plain") or shown.get("text/markdown")
    # What differs from one execution to the next without meaning anything would only be read as a change.
    return [Output(kind="text", text=stable(str(text))[:_MAX_TEXT])] if text else []
