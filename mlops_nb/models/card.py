"""A model card, drafted from what is known: what the model is, what it was trained with, how good it was, and what nobody has said.

The parts follow Mitchell et al., "Model Cards for Model Reporting" (2019). What only people can know stands there as a question.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlops_nb.core.formatting import one_line
from mlops_nb.core.records import Run
from mlops_nb.errors import NotFound
from mlops_nb.models.metadata import ModelMetadata, read_metadata
from mlops_nb.store.base import TrackingStore

_SHOWN = 40


def draft(folder: Path, store: TrackingStore | None = None) -> str:
    """Return a card in Markdown.

    Args:
        folder: The model folder.
        store: Where its run is; without one the card has what the folder says.
    """
    metadata = read_metadata(folder)
    run = _run_of(metadata, store)
    parts = [*_model(metadata, folder), *_training(run, store), *_quality(run), *_use(metadata)]
    return "\n".join(parts) + "\n"


def _run_of(metadata: ModelMetadata, store: TrackingStore | None) -> Run | None:
    if store is None or not metadata.run_id:
        return None
    try:
        return store.get_run(metadata.run_id)
    except NotFound:
        return None


def _model(metadata: ModelMetadata, folder: Path) -> Iterator[str]:
    flavors = {name: about for name, about in metadata.flavors.items() if name != "python_function"}
    yield f"# Model card: {_text(metadata.name.rpartition('/')[2] or folder.name)}"
    yield ""
    yield "## The model"
    yield ""
    for name, about in flavors.items():
        version = next((value for key, value in about.items() if key.endswith("_version")), "")
        kind = about.get("model_class") or about.get("model_type") or about.get("class") or ""
        yield f"- Framework: {_text(name)} {_text(version)}{' (' + _text(kind) + ')' if kind else ''}"
    yield f"- Made: {_text(metadata.utc_time_created or 'not known')} UTC"
    if metadata.model_id:
        yield f"- Id: `{_code(metadata.model_id)}`"
    signature = metadata.signature
    for called, fields in (("Input", signature.inputs if signature else None), ("Output", signature.outputs if signature else None)):
        if fields:
            yield ""
            yield f"| {called} | type | required |"
            yield "|---|---|---|"
            for number, field in enumerate(fields[:_SHOWN]):
                shape = field.get("tensor-spec") or {}
                kind = f"{shape['dtype']} {tuple(shape['shape'])}" if shape else field["type"]
                yield f"| {_text(field.get('name', number))} | {_text(kind)} | {'yes' if field.get('required', True) else 'no'} |"
            if len(fields) > _SHOWN:
                yield f"| and {len(fields) - _SHOWN} more | | |"


def _training(run: Run | None, store: TrackingStore | None) -> Iterator[str]:
    yield ""
    yield "## Training"
    yield ""
    if run is None or store is None:
        yield "The run that made it is not known here."
        return
    yield f"- Run: {_text(run.name)} (`{_code(run.run_id)}`), {run.status.value.lower()}"
    for one in run.inputs.datasets:
        dataset: Any = getattr(one, "dataset", one)
        yield f"- Data: {_text(dataset.name)}, digest `{_code(str(dataset.digest))}`"
    if not run.inputs.datasets:
        yield "- Data: none were logged. Which ones were they?"
    for name, value in list(run.params.items())[:_SHOWN]:
        yield f"- {_text(name)} = {_text(value)}"
    cells = store.cells(run.run_id)
    if cells:
        failed = sum(1 for cell in cells if cell.outcome.value == "error")
        yield f"- Cells: {len(cells)} executions{f', {failed} of them failed' if failed else ''}"


def _quality(run: Run | None) -> Iterator[str]:
    yield ""
    yield "## How good it was"
    yield ""
    if run is None or not run.metrics:
        yield "No metrics were logged. How was it measured, and on which data?"
        return
    yield "| metric | value | step |"
    yield "|---|---|---|"
    for name, metric in sorted(run.metrics.items())[:_SHOWN]:
        yield f"| {_text(name)} | {metric.value:.6g} | {metric.step} |"
    yield ""
    yield "Measured on which slices of the data? Where is it worse?"


def _use(metadata: ModelMetadata) -> Iterator[str]:
    yield ""
    yield "## Use and limits"
    yield ""
    for name, value in metadata.metadata.items():
        yield f"- {_text(name)}: {_text(value)}"
    yield "- What is it for, and what is it not for?"
    yield "- Who could be harmed by a wrong answer, and how would one notice?"
    yield "- How often must it be trained again?"
    if metadata.signature is None:
        yield "- It has no signature: what comes in is not checked."


def _text(value: object) -> str:
    """Return a text that Markdown and HTML show as it is, on one line."""
    plain = " ".join(one_line(str(value)).split())[:300]
    return re.sub(r"([\\`*_{}\[\]<>|#!])", r"\\\1", plain).replace("&", "&amp;").replace("\\<", "&lt;").replace("\\>", "&gt;")


def _code(value: str) -> str:
    return re.sub(r"[^\w\-.:/]", "?", value)[:100]
