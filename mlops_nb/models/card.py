"""A model card, drafted from what is known: what the model is, what it was trained with, how good it was, and what nobody has said.

The parts follow Mitchell et al., "Model Cards for Model Reporting" (2019). What only people can know stands there as a question.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlops_nb.core.data_profile import ColumnProfile, from_json
from mlops_nb.core.formatting import one_line
from mlops_nb.core.predictions import SLICES_FOLDER, Slices, slices_from_json
from mlops_nb.core.provenance import Hygiene
from mlops_nb.core.records import TAG_HYGIENE, Run
from mlops_nb.errors import NotFound, NotSupported
from mlops_nb.models.metadata import ModelMetadata, read_metadata
from mlops_nb.models.remote import model_name
from mlops_nb.models.scan import scan_folder
from mlops_nb.store.base import ServedStore, TrackingStore

_SHOWN = 40
_WORST = 8
_LEVELS = 8
_MOST_SETS = 10
_MAX_SLICES = 1_000_000
_MACHINE = ("system/", "system.")
"""Metrics of the machine, which say nothing of the model."""
_GRADES = {
    Hygiene.LINEAR: "its cells ran as the notebook has them, from top to bottom",
    Hygiene.REORDERED: "its cells give it again in the order in which they ran, which is not that of the notebook",
    Hygiene.UNSAVED: "it needs a version of a cell that the notebook no longer holds",
}


def draft(folder: Path, store: TrackingStore | None = None) -> str:
    """Return a card in Markdown.

    Args:
        folder: The model folder.
        store: Where its run is; without one the card has what the folder says.
    """
    metadata = read_metadata(folder)
    run = _run_of(metadata, store)
    parts = [
        *_model(metadata, _name_of(metadata, folder, store)),
        *_training(run, store),
        *_quality(run, store),
        *_use(metadata),
        *_limits(folder, metadata, run),
    ]
    return "\n".join(parts) + "\n"


def _run_of(metadata: ModelMetadata, store: TrackingStore | None) -> Run | None:
    if store is None or not metadata.run_id:
        return None
    try:
        return store.get_run(metadata.run_id)
    except NotFound:
        return None


def _name_of(metadata: ModelMetadata, folder: Path, store: TrackingStore | None) -> str:
    """Return what people call the model: of a logged one MLmodel has only the id."""
    if metadata.model_id and store is not None:
        with contextlib.suppress(NotFound, NotSupported):
            return (
                store.logged_models.get(metadata.model_id).name if isinstance(store, ServedStore) else model_name(store, metadata.model_id)
            )
    return metadata.name.rpartition("/")[2] or folder.name


def _model(metadata: ModelMetadata, name: str) -> Iterator[str]:
    flavors = {name: about for name, about in metadata.flavors.items() if name != "python_function"}
    yield f"# Model card: {_text(name)}"
    yield ""
    yield "## The model"
    yield ""
    for flavor, about in flavors.items():
        version = next((value for key, value in about.items() if key.endswith("_version")), "")
        kind = about.get("model_class") or about.get("model_type") or about.get("class") or ""
        yield f"- Framework: {_text(flavor)} {_text(version)}{' (' + _text(kind) + ')' if kind else ''}"
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
        grade = run.tags.get(TAG_HYGIENE, "")
        told = f"{grade}: {_GRADES[Hygiene(grade)]}" if grade in set(Hygiene) else "how its cells stand to the notebook is not known"
        yield f"- Reproducibility: {told}. `mlops-nb track reproduce {_code(run.run_id)}` tries it."


def _quality(run: Run | None, store: TrackingStore | None) -> Iterator[str]:
    yield ""
    yield "## How good it was"
    yield ""
    measured = {} if run is None else {name: one for name, one in run.metrics.items() if not name.startswith(_MACHINE)}
    if run is None or not measured:
        yield "No metrics were logged. How was it measured, and on which data?"
        return
    yield "| metric | value | step |"
    yield "|---|---|---|"
    for name, metric in sorted(measured.items())[:_SHOWN]:
        yield f"| {_text(name)} | {metric.value:.6g} | {metric.step} |"
    yield ""
    yield from _slices(run, store)


def _slices(run: Run, store: TrackingStore | None) -> Iterator[str]:
    """Yield where the model is worse, of predictions that were kept with the rows' columns."""
    kept = [] if store is None else [one for one in _kept_slices(run, store) if one.worst]
    if not kept:
        yield "No predictions were logged with a table of their rows, so it is not known where it is worse."
        yield "`mlops_nb.log_predictions(y, prediction, rows=X)` tells it."
    for slices in kept:
        overall = f"{slices.overall.value:.4g} ({slices.overall.rows:,} rows)"
        yield f"On {_text(slices.name)} the {_text(slices.measure)} is {overall}. Worst slices:"
        yield ""
        yield f"| column | value | rows | {_text(slices.measure)} | 95 % interval |"
        yield "|---|---|---|---|---|"
        for one in slices.worst[:_WORST]:
            interval = f"{one.low:.4g} to {one.high:.4g}"
            yield f"| {_text(one.column)} | {_text(one.level)} | {one.rows:,} | {one.value:.4g} | {interval} |"
        yield ""
        yield "The slices are those with the largest errors of many: part of that is chance."


def _kept_slices(run: Run, store: TrackingStore) -> Iterator[Slices]:
    for artifact in store.list_artifacts(run.run_id, SLICES_FOLDER, recursive=True)[:_MOST_SETS]:
        if (artifact.file_size or 0) <= _MAX_SLICES:
            found = slices_from_json(b"".join(store.read_artifact(run.run_id, artifact.path)))
            if found is not None:
                yield found


def _limits(folder: Path, metadata: ModelMetadata, run: Run | None) -> Iterator[str]:
    """Yield what the model has not seen, and what nobody has measured."""
    profiles = [(one.dataset.name, from_json(one.dataset.profile)) for one in run.inputs.datasets] if run is not None else []
    known = [(name, profile) for name, profile in profiles if profile is not None and profile.columns]
    for name, profile in known:
        rows = "" if profile.rows is None else f", {profile.rows:,} rows"
        yield f"- What it has seen ({_text(name)}{rows}); other values are beyond what it was made from:"
        for column in profile.columns[:_SHOWN]:
            yield f"    - {_text(column.name)}: {_text(_seen(column))}"
        if len(profile.columns) > _SHOWN:
            yield f"    - and {len(profile.columns) - _SHOWN} more columns"
    if not known:
        yield "- Which values it has seen is not known: no data set was logged with its columns."
    if run is not None and not run.metrics:
        yield "- It has not been evaluated, as far as the run tells."
    findings = scan_folder(folder, metadata)
    for finding in findings[:5]:
        yield f"- Loading it runs code: {_text(finding)}"
    if not findings:
        yield "- Its files hold nothing that a scan knows to run code on loading."


def _seen(column: ColumnProfile) -> str:
    parts = [column.dtype]
    if column.low is not None and column.high is not None:
        parts.append(f"{column.low} to {column.high}")
    if column.levels:
        levels = list(column.levels)
        parts.append(", ".join(levels[:_LEVELS]) + (f" and {len(levels) - _LEVELS} more" if len(levels) > _LEVELS else ""))
    parts.append(f"{column.nulls:,} missing" if column.nulls else "none missing")
    return "; ".join(parts)


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
