"""The order of a report: verdict, metrics, what changed, the run itself, what can be seen, and folded, all the rest.

That is the order in which a reviewer asks. Nothing here knows Markdown or HTML.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from mlops_nb.core.comparison import RunComparison, ValueRow, Verdict
from mlops_nb.core.formatting import format_duration
from mlops_nb.core.records import TAG_GIT_BRANCH, TAG_GIT_COMMIT, TAG_GIT_DIRTY, TAG_NOTE, CellExecution, CellOutcome, Run
from mlops_nb.core.run_state import RunStatus
from mlops_nb.reports.content import Report, RunPart
from mlops_nb.reports.document import Block, Document, Image, Line, Span, Tone, name, one_line, plain, table
from mlops_nb.reports.metric_tables import ABOVE_THE_FOLD, metric_blocks

# Images of more runs than this would bury what comes after them.
_FEW_RUNS = 4


def outline(report: Report, figures: Sequence[Image]) -> Document:
    """Return the report as a document.

    Args:
        report: The data.
        figures: What `draw_figures` drew; empty leaves the plots out.
    """
    blocks = [
        *metric_blocks(report),
        *_changes(report),
        _runs(report),
        *([Block(title="Plots", images=tuple(figures))] if figures else []),
        *_pictures(report),
        *_params(report),
        *(_ledger(part, report) for part in report.parts if part.cells),
        *_tags(report),
        *(_artifacts(part) for part in report.parts if part.artifacts),
    ]
    return Document(
        title=one_line(report.title, 120),
        tone=_tone(report.comparison),
        headline=_headline(report.comparison),
        note=_note(report),
        blocks=tuple(blocks),
        footer=_footer(report),
    )


def _headline(comparison: RunComparison) -> Line:
    lines = [name(phrase.text) if phrase.is_name else plain(phrase.text) for phrase in comparison.headline]
    return tuple(span for line in lines for span in line)


def _tone(comparison: RunComparison) -> Tone:
    if any(status in (RunStatus.FAILED, RunStatus.KILLED, RunStatus.LOST) for status in comparison.statuses):
        return "bad"
    if len(comparison.run_ids) == 1:
        return "good" if comparison.statuses[0] is RunStatus.FINISHED else "open"
    tones: dict[Verdict | None, Tone] = {Verdict.BETTER: "good", Verdict.WORSE: "bad", Verdict.NOT_COMPARABLE: "warning"}
    return tones.get(comparison.outcome, "neutral")


def _note(report: Report) -> Line:
    runs = "1 run" if len(report.parts) == 1 else f"{len(report.parts)} runs, the first is the base"
    trust = f" · {report.comparison.significance}" if len(report.parts) > 1 else ""
    return (*name(report.title), Span(f" · {runs}{trust}", "muted"))


def _footer(report: Report) -> Line:
    spans: list[Span] = [Span(f"Made by mlops_nb at {_time(report.created)} UTC from ", "muted")]
    for place, part in enumerate(report.parts):
        spans += [Span(", ")] if place else []
        spans += name(part.run.run_id[:8])
    return tuple(spans)


# -- what changed


def _changes(report: Report) -> list[Block]:
    if len(report.parts) == 1:
        return []
    changed = [row for row in report.comparison.params if row.changed]
    tags = {row.key: row for row in report.comparison.tags if row.changed}
    lines: list[Line] = []
    if changed:
        lines.append((Span("params ", "strong"), *_joined(_transition(row) for row in changed[:ABOVE_THE_FOLD])))
        if len(changed) > ABOVE_THE_FOLD:
            lines[-1] += plain(f" and {len(changed) - ABOVE_THE_FOLD} more")
    if row := tags.get(TAG_GIT_COMMIT):
        lines.append((Span("git ", "strong"), *_arrowed([name((value or "none")[:7]) for value in row.values])))
    if cells := _cells_changed(report):
        lines.append((Span("code ", "strong"), *plain(cells)))
    return [Block(title="What changed", lines=tuple(lines) or (plain("No param, commit or cell differs."),))]


def _transition(row: ValueRow) -> Line:
    shown = [(Span("not set", "muted"),) if value is None else name(value or "empty", 40) for value in row.values]
    return (*name(row.key, 40), Span(" "), *_arrowed(shown))


def _arrowed(values: Sequence[Line]) -> Line:
    """Return the first value, an arrow, and each other value once."""
    others = [value for value in dict.fromkeys(values) if value != values[0]]
    spans = [*values[0], Span(" → ")]
    for place, value in enumerate(others[:4]):
        spans += [Span(", ")] if place else []
        spans += value
    return (*spans, *(plain(" …") if len(others) > 4 else ()))


def _joined(lines: Iterable[Line]) -> Line:
    spans: list[Span] = []
    for line in lines:
        spans += [*([Span(" · ")] if spans else []), *line]
    return tuple(spans)


def _cells_changed(report: Report) -> str:
    base = {cell.source_hash for cell in report.parts[0].cells}
    counts = [len({cell.source_hash for cell in part.cells} - base) for part in report.parts[1:]]
    if not base or not any(counts):
        return ""
    if len(counts) == 1:
        return f"{_count(counts[0], 'cell')} not in the base (marked ≠ below)"
    return f"{sum(map(bool, counts))} of {len(counts)} runs have cells that are not in the base (marked ≠ below)"


# -- the runs


def _runs(report: Report) -> Block:
    header = ("run", "status", "duration", "started (UTC)", "notebook", "git", "user")
    rows = [_run_row(part) for part in report.parts]
    # What no run has, or the title says already, takes no column.
    known = (name(None), name(report.title, 60))
    kept = [place for place in range(len(header)) if place < 4 or any(row[place] not in known for row in rows)]
    reasons = [(*name(part.label, 40), Span(": "), *name(part.run.reason, 300)) for part in report.parts if part.run.reason]
    notes = [(*name(part.label, 40), Span(" notes: "), *name(note, 500)) for part in report.parts if (note := part.run.tags.get(TAG_NOTE))]
    shown = table(tuple(header[place] for place in kept), [tuple(row[place] for place in kept) for row in rows])
    return Block(title="Run" if len(rows) == 1 else "Runs", table=shown, lines=(*reasons, *notes))


_STATUSES: dict[RunStatus, Span] = {
    RunStatus.FINISHED: Span("✓ finished", "good"),
    RunStatus.FAILED: Span("✗ failed", "bad"),
    RunStatus.KILLED: Span("■ killed", "bad"),
    RunStatus.LOST: Span("? lost", "bad"),
    RunStatus.RUNNING: Span("▶ running"),
    RunStatus.SCHEDULED: Span("scheduled", "muted"),
}


def _run_row(part: RunPart) -> tuple[Line, ...]:
    run = part.run
    return (
        name(part.label, 40),
        (_STATUSES[run.status],),
        plain(format_duration(run.duration_ms)),
        plain(_time(run.start_time)),
        name(run.notebook, 60),
        _git(run),
        name(run.user, 40),
    )


def _git(run: Run) -> Line:
    commit, branch = run.tags.get(TAG_GIT_COMMIT), run.tags.get(TAG_GIT_BRANCH)
    if not commit:
        return name(None)
    changes = " + changes" if run.tags.get(TAG_GIT_DIRTY) == "true" else ""
    return (*name(commit[:7]), Span(changes), *((Span(" on "), *name(branch, 40)) if branch else ()))


def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M")


# -- what can be seen, and the folded rest


def _pictures(report: Report) -> list[Block]:
    """Return the images that runs logged, those of one path side by side."""
    paths = list(dict.fromkeys(picture.path for part in report.parts for picture in part.pictures))
    images: list[Image] = []
    for path in paths:
        for part in report.parts:
            for picture in part.pictures:
                if picture.path == path:
                    suffix = "png" if picture.media_type == "image/png" else "jpg"
                    caption = (*name(path, 60), *((Span(" of "), *name(part.label, 40)) if len(report.parts) > 1 else ()))
                    file = f"artifact-{len(images) + 1:02d}.{suffix}"
                    images.append(Image(name=file, caption=caption, media_type=picture.media_type, light=picture.content))
    return [Block(title="Logged images", folded=len(report.parts) > _FEW_RUNS, images=tuple(images))] if images else []


def _params(report: Report) -> list[Block]:
    rows = report.comparison.params
    if not rows:
        return []
    labels = ("value",) if len(report.parts) == 1 else tuple(name(part.label, 40) for part in report.parts)
    body = [
        (
            (*(plain("≠ ") if row.changed else ()), *name(row.key, 60)),
            *(name(value) if value is not None else plain("–") for value in row.values),
        )
        for row in rows
    ]
    changed = sum(row.changed for row in rows)
    title = _count(len(rows), "param") + (f", {changed} changed" if len(report.parts) > 1 else "")
    return [Block(title=title, folded=True, table=table(("param", *labels), body))]


_OUTCOMES: dict[CellOutcome, Span] = {
    CellOutcome.OK: Span("✓ ok", "good"),
    CellOutcome.ERROR: Span("✗ error", "bad"),
    CellOutcome.INTERRUPTED: Span("■ interrupted", "bad"),
    CellOutcome.RUNNING: Span("▶ running"),
}


def _ledger(part: RunPart, report: Report) -> Block:
    base = {cell.source_hash for cell in report.parts[0].cells}
    logged: dict[int, list[str]] = {}
    for metric in part.run.metrics.values():
        if metric.cell is not None:
            logged.setdefault(metric.cell, []).append(metric.key)
    body = [
        (
            plain(f"{cell.index}{' ≠' if base and cell.source_hash not in base else ''}"),
            plain(format_duration(cell.duration_ms)),
            (_OUTCOMES[cell.outcome], *((Span(" "), *name(cell.error, 100)) if cell.error else ())),
            name(_first_line(cell), 80),
            name(", ".join(sorted(logged.get(cell.index, []))), 60),
        )
        for cell in part.cells
    ]
    shown = table(("cell", "duration", "outcome", "first line", "logged"), body, numeric=(1,))
    return Block(title=f"{_count(len(part.cells), 'cell')} of", subject=one_line(part.label, 60), folded=True, table=shown)


def _first_line(cell: CellExecution) -> str:
    return next((line for line in cell.source.splitlines() if line.strip()), "")


def _tags(report: Report) -> list[Block]:
    keys = sorted({key for part in report.parts for key in part.run.tags if key != TAG_NOTE})
    if not keys:
        return []
    body = [(name(key, 60), *(name(part.run.tags.get(key)) for part in report.parts)) for key in keys]
    labels = ("value",) if len(report.parts) == 1 else tuple(name(part.label, 40) for part in report.parts)
    return [Block(title=_count(len(keys), "tag"), folded=True, table=table(("tag", *labels), body))]


def _artifacts(part: RunPart) -> Block:
    files = [artifact for artifact in part.artifacts if not artifact.is_dir]
    body = [(name(file.path), plain(format_size(file.file_size)), name(file.media_type, 40)) for file in files]
    shown = table(("path", "size", "type"), body, numeric=(1,))
    return Block(title=f"{_count(len(files), 'artifact')} of", subject=one_line(part.label, 60), folded=True, table=shown)


def format_size(size: int | None) -> str:
    """Return a file size for people, in decimal units."""
    if size is None:
        return "–"
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} B"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number:,} {noun}s"
