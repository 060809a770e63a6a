"""One run as one page to be passed on: everything that a colleague without the store needs, in at most 5 MB."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import msgspec

from mlops_nb.core.formatting import format_duration
from mlops_nb.core.records import Run
from mlops_nb.core.redaction import Redactor
from mlops_nb.errors import InvalidInput, MlopsError
from mlops_nb.reports.content import Picture, RunPart, build_report
from mlops_nb.reports.document import Block, Document, Listing, one_line, plain
from mlops_nb.reports.figures import draw_figures
from mlops_nb.reports.outline import format_size, outline
from mlops_nb.reports.page import to_html
from mlops_nb.reports.writing import write_file
from mlops_nb.store.base import TrackingStore

MAX_PAGE_BYTES = 5_000_000
# In base64 an image takes four thirds of its size.
_PICTURES, _SOURCES, _ENVIRONMENT = 2_600_000, 400_000, 200_000
_ENVIRONMENT_FOLDER = "environment"
_TEXT = frozenset({".json", ".txt", ".yaml", ".yml", ".toml", ".patch", ".diff", ".lock"})


def write_run_page(store: TrackingStore, run: Run, path: Path) -> Path:
    """Write a run as one HTML file: charts, params, cells, environment, small images. No script, nothing loaded, no secret.

    Args:
        store: Where the run is.
        run: The run.
        path: The file, which is written whole or not at all.

    Raises:
        InvalidInput: If the file is not to end in `.html`.
        MlopsError: If it cannot be written.
        MissingDependencyError: If there are curves and Matplotlib is not installed.
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise InvalidInput(f"The page of a run is HTML, not '{path.name}'.", hint="Let the name end in .html")
    page = to_html(_document(store, run)).encode("utf-8")
    if len(page) > MAX_PAGE_BYTES:
        raise MlopsError(f"The page of {run.name} would have {format_size(len(page))}.", hint="Report it: mlops-nb report")
    write_file(path, page)
    return path


def _document(store: TrackingStore, run: Run) -> Document:
    report = build_report(store, [run])
    part = report.parts[0]
    slim = msgspec.structs.replace(part, pictures=_affordable(part))
    report = msgspec.structs.replace(report, parts=(slim,))
    document = outline(report, draw_figures(report))
    added = [*_cells(part), *_environment(store, run, part)]
    # The ledger's table names the first line of each cell; here they stand in full.
    blocks = [block for block in document.blocks if not block.title.endswith(("cell of", "cells of"))]
    at = next((i for i, block in enumerate(blocks) if block.folded), len(blocks))
    return msgspec.structs.replace(document, blocks=(*blocks[:at], *added, *blocks[at:]))


def _affordable(part: RunPart) -> list[Picture]:
    kept: list[Picture] = []
    left = _PICTURES
    for picture in part.pictures:
        if len(picture.content) <= left:
            kept.append(picture)
            left -= len(picture.content)
    return kept


def _cells(part: RunPart) -> list[Block]:
    listings, left = [], _SOURCES
    for cell in part.cells:
        facts = [
            f"cell [{cell.execution_count}]" if cell.execution_count else "cell",
            format_duration(cell.duration_ms),
            cell.outcome.value,
        ]
        source = cell.source.strip() or "(its source was not kept)"
        shown = source if len(source) <= left else "(left out: the page would grow too large)"
        left -= len(shown)
        error = f"\n\n{cell.error}" if cell.error else ""
        listings.append(Listing(caption=plain(" · ".join(facts)), text=shown + error))
    return [Block(title="Cells", listings=tuple(listings))] if listings else []


def _environment(store: TrackingStore, run: Run, part: RunPart) -> list[Block]:
    redact = Redactor(os.environ)
    listings, left = [], _ENVIRONMENT
    for artifact in part.artifacts:
        path = PurePosixPath(artifact.path)
        if artifact.is_dir or _ENVIRONMENT_FOLDER not in path.parts[0] or path.suffix not in _TEXT:
            continue
        if (artifact.file_size or 0) > left:
            continue
        text = b"".join(store.read_artifact(run.run_id, artifact.path)).decode("utf-8", "replace")
        left -= len(text)
        listings.append(Listing(caption=plain(one_line(artifact.path, 80)), text=redact(text)))
    return [Block(title="Environment", folded=True, listings=tuple(listings))] if listings else []
