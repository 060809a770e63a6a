"""The pictures of a pull-request report: those that cells showed and runs logged, base and this beside each other, and curves."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import PurePosixPath

from mlops_nb.comparing.outputs import picture_difference
from mlops_nb.core.comparison import RunComparison
from mlops_nb.core.records import Run
from mlops_nb.core.run_folders import CELLS_FOLDER, NOTEBOOK_FOLDER
from mlops_nb.errors import MlopsError
from mlops_nb.reports.content import build_report
from mlops_nb.reports.figures import draw_figures
from mlops_nb.reports.pull_request.data import MAX_IMAGE_BYTES, Image, Side
from mlops_nb.reports.pull_request.pictures import MAX_PICTURES, Pictures
from mlops_nb.store.base import TrackingStore

_SEEN = 0.001
"""Share of the pixels that must differ before anybody sees it."""
_SUFFIXES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg"}


def logged_pictures(store: TrackingStore, base: Run | None, this: Run, pictures: Pictures) -> list[Image]:
    """Return the pictures that runs logged as files, by path; those that look the same in both are left out.

    Raises:
        StoreError: If the store cannot be read.
    """
    names = [_names(store, run) for run in (base, this) if run is not None]
    found: list[Image] = []
    for name in sorted({name for each in names for name in each})[:MAX_PICTURES]:
        contents = [(side, _read(store, run, name)) for side, run in ((Side.BASE, base), (Side.THIS, this)) if run is not None]
        present = [(side, content) for side, content in contents if content]
        effect = 0.5
        if len(present) == 2:
            kind = _SUFFIXES[PurePosixPath(name).suffix.lower()]
            old, new = (base64.b64encode(content).decode("ascii") for _, content in present)
            effect = picture_difference({kind: old}, {kind: new})
            if effect <= _SEEN:
                continue
        found += [image for side, content in present if (image := pictures.add(content, name, side, effect))]
    return found


def _names(store: TrackingStore, run: Run) -> set[str]:
    return {
        artifact.path
        for artifact in store.list_artifacts(run.run_id, recursive=True)
        if not artifact.is_dir
        and PurePosixPath(artifact.path).suffix.lower() in _SUFFIXES
        and (artifact.file_size or 0) <= MAX_IMAGE_BYTES
        and PurePosixPath(artifact.path).parts[0] not in (CELLS_FOLDER, NOTEBOOK_FOLDER)
    }


def _read(store: TrackingStore, run: Run, path: str) -> bytes:
    """Return a file of a run; nothing where it is not there or too large."""
    content = bytearray()
    try:
        for piece in store.read_artifact(run.run_id, path):
            content += piece
            if len(content) > MAX_IMAGE_BYTES:
                return b""
    except MlopsError:
        return b""
    return bytes(content)


def drawn_curves(
    store: TrackingStore, runs: Sequence[Run], comparison: RunComparison | None, keys: Sequence[str], pictures: Pictures
) -> list[Image]:
    """Return curves of these metrics, both runs on the same axes; without Matplotlib none.

    Raises:
        StoreError: If the store cannot be read.
    """
    if find_spec("matplotlib") is None:
        return []
    report = build_report(store, runs, comparison=comparison, pictures=False)
    found = []
    for place, image in enumerate(draw_figures(report, dark=False, bars=False, keys=keys)):
        caption = "".join(span.text for span in image.caption)
        side = Side.BOTH if len(runs) > 1 else Side.THIS
        if kept := pictures.add(image.light, caption, side, 0.4 - place / 100):
            found.append(kept)
    return found


def decoded(data: object) -> bytes:
    """Return the content of a picture in a notebook; nothing where it is none."""
    try:
        return base64.b64decode(data) if isinstance(data, str) else b""
    except (binascii.Error, ValueError):
        return b""
