"""What a report is made of, read from the store in one go."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import PurePosixPath

import msgspec

from mlops_nb.core.comparison import RunComparison, compare
from mlops_nb.core.records import Artifact, CellExecution, Record, Run, Series
from mlops_nb.core.redaction import Redactor
from mlops_nb.errors import InvalidInput, NotFound
from mlops_nb.store.base import TrackingStore

MAX_POINTS = 500
MAX_PICTURES = 6
MAX_PICTURE_BYTES = 1_000_000

# What a file begins with tells its type; its name does not.
_SIGNATURES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}
_PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")


class Picture(Record, frozen=True, kw_only=True):
    """An image that a run logged. `path` is that of the artifact."""

    path: str
    media_type: str
    content: bytes


class RunPart(Record, frozen=True, kw_only=True):
    """A run with all that the report shows of it."""

    run: Run
    label: str
    series: list[Series]
    cells: list[CellExecution]
    artifacts: list[Artifact]
    pictures: list[Picture]


class Report(Record, frozen=True, kw_only=True):
    """The data of a report. The first part is the base of the comparison; `created` is in ms."""

    title: str
    created: int
    comparison: RunComparison
    parts: tuple[RunPart, ...]


def build_report(
    store: TrackingStore, runs: Sequence[Run], *, title: str | None = None, comparison: RunComparison | None = None, pictures: bool = True
) -> Report:
    """Gather what a report of these runs shows, without secrets: reports are made to be passed on.

    Args:
        store: Where the runs are.
        runs: One run, or several: the first is the one that the others are compared with.
        title: Defaults to the notebook that all runs come from, else to the names of the runs.
        comparison: Of these runs, where more is known of their differences than their latest values tell.
        pictures: Read the images that the runs logged.

    Raises:
        InvalidInput: If there is no run.
        StoreError: If the store cannot be read.
    """
    if not runs:
        raise InvalidInput("A report needs at least one run.", hint="Name runs, for example @last or @best:val_auc.")
    redact = Redactor(os.environ)
    runs = [_redacted(run, redact) for run in runs]
    comparison = comparison or compare(runs[0], runs[1:])
    parts = tuple(_gather(store, run, label, redact, pictures) for run, label in zip(runs, comparison.labels, strict=True))
    return Report(title=title or _title(runs, comparison.labels), created=time.time_ns() // 1_000_000, comparison=comparison, parts=parts)


def _title(runs: Sequence[Run], labels: Sequence[str]) -> str:
    notebooks = {run.notebook for run in runs}
    if len(notebooks) == 1 and (notebook := notebooks.pop()):
        return notebook
    return labels[0] if len(labels) == 1 else f"{labels[1]} vs {labels[0]}" if len(labels) == 2 else f"{len(labels)} runs"


def _gather(store: TrackingStore, run: Run, label: str, redact: Redactor, pictures: bool) -> RunPart:
    artifacts = store.list_artifacts(run.run_id, recursive=True)
    return RunPart(
        run=run,
        label=label,
        series=store.series(run.run_id, max_points=MAX_POINTS),
        cells=[_redacted_cell(cell, redact) for cell in store.cells(run.run_id)],
        artifacts=artifacts,
        pictures=_pictures(store, run.run_id, artifacts) if pictures else [],
    )


def _redacted(run: Run, redact: Redactor) -> Run:
    return msgspec.structs.replace(
        run,
        name=redact(run.name),
        reason=redact(run.reason) if run.reason else None,
        params={key: _redacted_value(key, value, redact) for key, value in run.params.items()},
        tags={key: _redacted_value(key, value, redact) for key, value in run.tags.items()},
    )


def _redacted_value(key: str, value: str, redact: Redactor) -> str:
    # Written as an assignment, so that the redactor also judges the name.
    return redact(f'{key}="{value}"')[len(key) + 2 : -1]


def _redacted_cell(cell: CellExecution, redact: Redactor) -> CellExecution:
    return msgspec.structs.replace(cell, source=redact(cell.source), error=redact(cell.error) if cell.error else None)


def _pictures(store: TrackingStore, run_id: str, artifacts: Sequence[Artifact]) -> list[Picture]:
    pictures: list[Picture] = []
    for artifact in artifacts:
        is_picture = PurePosixPath(artifact.path).suffix.lower() in _PICTURE_SUFFIXES and not artifact.is_dir
        if not is_picture or (artifact.file_size or 0) > MAX_PICTURE_BYTES:
            continue
        content = _read(store, run_id, artifact.path)
        media_type = next((kind for start, kind in _SIGNATURES.items() if content.startswith(start)), None)
        if media_type:
            pictures.append(Picture(path=artifact.path, media_type=media_type, content=content))
        if len(pictures) == MAX_PICTURES:
            break
    return pictures


def _read(store: TrackingStore, run_id: str, path: str) -> bytes:
    """Return the content of an artifact, or b"" where it is too large or gone."""
    pieces: list[bytes] = []
    try:
        for piece in store.read_artifact(run_id, path):
            pieces.append(piece)
            if sum(map(len, pieces)) > MAX_PICTURE_BYTES:
                return b""
    except NotFound:  # deleted since it was listed: the report shows what is there
        return b""
    return b"".join(pieces)
