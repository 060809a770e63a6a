"""What the cells of a run showed, as outputs of nbformat: from the ledger's files, else from the executed notebook."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from typing import Any

from mlops_nb.core.records import Artifact, CellExecution
from mlops_nb.core.run_folders import CELLS_FOLDER, NOTEBOOK_FOLDER, shown_file
from mlops_nb.errors import MlopsError
from mlops_nb.store.base import TrackingStore

Output = dict[str, Any]

MAX_TEXT = 20_000
MAX_IMAGE_BYTES = 1_000_000
MAX_RUN_BYTES = 12_000_000
_MAX_OUTPUTS = 40
_MAX_NOTEBOOK = 60_000_000
_SUFFIXES = {".png": "image/png", ".jpg": "image/jpeg", ".svg": "image/svg+xml"}
_IMAGES = ("image/png", "image/jpeg", "image/svg+xml")
_TEXTS = ("text/html", "text/markdown", "text/latex", "text/plain", "application/json")


class Shown:
    """The outputs of one run's cells, read when they are asked for, and cut to what a comparison can show.

    Args:
        store: Where the run is.
        run_id: The run.
        redact: Takes secrets out of texts.
    """

    def __init__(self, store: TrackingStore, run_id: str, redact: Callable[[str], str] = str) -> None:
        self._store, self._run_id, self._redact = store, run_id, redact
        self._files: dict[int, list[Artifact]] = {}
        self._notebook: dict[str, list[Output]] | None = None
        self._notebook_file: Artifact | None = None
        self._left = MAX_RUN_BYTES
        for artifact in store.list_artifacts(run_id, recursive=True):
            parts = PurePosixPath(artifact.path).parts
            if artifact.is_dir:
                continue
            if parts[0] == CELLS_FOLDER and len(parts) == 3 and parts[1].isdigit():
                self._files.setdefault(int(parts[1]), []).append(artifact)
            elif parts[0] == NOTEBOOK_FOLDER and artifact.path.endswith(".ipynb"):
                self._notebook_file = artifact

    def of(self, cell: CellExecution) -> list[Output]:
        """Return what an execution showed, its error last. Nothing that is known: []."""
        outputs = self._from_ledger(cell)
        if not outputs and cell.cell_id is not None:
            outputs = self._from_notebook().get(cell.cell_id, [])
        if not outputs and cell.outputs:
            outputs = [{"output_type": "stream", "name": "stdout", "text": cell.outputs}]
        if cell.error and not any(output.get("output_type") == "error" for output in outputs):
            kind, _, text = cell.error.partition(": ")
            outputs = [*outputs, {"output_type": "error", "ename": kind, "evalue": text, "traceback": []}]
        return [self._cut(output) for output in outputs[:_MAX_OUTPUTS]]

    def _from_ledger(self, cell: CellExecution) -> list[Output]:
        files = self._files.get(cell.index, [])
        figures: dict[int, Output] = {}
        for file in sorted(files, key=lambda file: file.path):
            path = PurePosixPath(file.path)
            kind, number = _SUFFIXES.get(path.suffix), path.stem.removeprefix("figure-")
            if kind is not None and number.isdigit():
                figures[int(number)] = self._image(kind, file)
        if not any(file.path == shown_file(cell.index) for file in files):
            return [figures[number] for number in sorted(figures)]
        outputs = []
        for output in _as_outputs(self._read(shown_file(cell.index), MAX_RUN_BYTES)):
            figure = output.get("figure")
            if figure is None:
                outputs.append(output)
            elif figure in figures:
                outputs.append(figures.pop(figure))
        return [*outputs, *(figures[number] for number in sorted(figures))]

    def _image(self, kind: str, file: Artifact) -> Output:
        content = self._read(file.path, MAX_IMAGE_BYTES) if (file.file_size or 0) <= MAX_IMAGE_BYTES else b""
        if not content:
            return {"output_type": "stream", "name": "stdout", "text": f"[{kind}: too large to compare, or gone]"}
        data = content.decode("utf-8", "replace") if kind == "image/svg+xml" else base64.b64encode(content).decode("ascii")
        return {"output_type": "display_data", "data": {kind: data}, "metadata": {}}

    def _from_notebook(self) -> dict[str, list[Output]]:
        if self._notebook is None:
            self._notebook = {}
            if self._notebook_file is not None:
                self._notebook = _outputs_of_notebook(self._read(self._notebook_file.path, _MAX_NOTEBOOK))
        return self._notebook

    def _read(self, path: str, limit: int) -> bytes:
        """Return the content of a file; nothing where it is larger, or gone since it was listed."""
        content = bytearray()
        try:
            for piece in self._store.read_artifact(self._run_id, path):
                content += piece
                if len(content) > limit:
                    return b""
        except MlopsError:
            return b""
        return bytes(content)

    def _cut(self, output: Output) -> Output:
        kind = output.get("output_type")
        if kind == "stream":
            return {**output, "text": self._text(_joined(output.get("text")))}
        if kind == "error":
            trace = [self._text(_joined(line)) for line in _listed(output.get("traceback"))[-20:]]
            return {
                **output,
                "ename": str(output.get("ename", ""))[:200],
                "evalue": self._text(str(output.get("evalue", ""))),
                "traceback": trace,
            }
        given = output.get("data")
        data = given if isinstance(given, dict) else {}
        kept: dict[str, Any] = {}
        for name in _TEXTS:
            if name in data:
                value = data[name] if name != "application/json" else json.dumps(data[name])[:MAX_TEXT]
                kept[name] = self._text(_joined(value))
        for name in _IMAGES:
            if name in data:
                image = _joined(data[name])
                if len(image) <= min(MAX_IMAGE_BYTES * 4 // 3 + 4, self._left):
                    self._left -= len(image)
                    kept[name] = image
                else:
                    kept.setdefault("text/plain", f"[{name}: left out, it is too large]")
        return {"output_type": kind, "data": kept, "metadata": {}}

    def _text(self, text: str) -> str:
        shown = self._redact(text[:MAX_TEXT]) + ("…" if len(text) > MAX_TEXT else "")
        if len(shown) > self._left:
            return "[left out: the outputs of this run are too large]"
        self._left -= len(shown)
        return shown


def _joined(value: Any) -> str:
    return value if isinstance(value, str) else "".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _as_outputs(content: bytes) -> list[Output]:
    try:
        value = json.loads(content or b"[]")
    except ValueError:
        return []
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _outputs_of_notebook(content: bytes) -> dict[str, list[Output]]:
    """Return the outputs of a notebook's cells by their ids; a file that is no notebook has none."""
    try:
        document = json.loads(content or b"{}")
    except ValueError:
        return {}
    cells: Sequence[Any] = _listed(document.get("cells")) if isinstance(document, dict) else []
    found: dict[str, list[Output]] = {}
    for cell in cells:
        if isinstance(cell, dict) and isinstance(cell.get("id"), str):
            found[cell["id"]] = [output for output in _listed(cell.get("outputs")) if isinstance(output, dict)]
    return found
