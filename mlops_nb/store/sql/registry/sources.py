"""Where a new version comes from: its source checked against the runs, logged models and versions that there are."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from mlops_nb.core.model_sources import (
    PROMPT_SOURCES,
    CloudSource,
    LoggedModelSource,
    ProxySource,
    RunSource,
    VersionSource,
    foreign_source,
    invalid_source,
    parse_source,
)
from mlops_nb.core.records import LifecycleStage
from mlops_nb.core.registry import ModelVersion
from mlops_nb.errors import InvalidInput, NotFound
from mlops_nb.store.sql import runs
from mlops_nb.store.sql.registry import rows
from mlops_nb.store.sql.schema import logged_models


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where the files of a version come from, and whose they are; see `ModelVersion`."""

    source: str
    storage_location: str
    run_id: str = ""
    model_id: str = ""


class _LoggedModel(msgspec.Struct, frozen=True):
    location: str
    run_id: str


def of_prompt(source: str) -> Origin:
    """Return the origin of a version of a prompt.

    Raises:
        InvalidInput: If the source is no placeholder.
    """
    if source not in PROMPT_SOURCES:
        raise InvalidInput(f"Invalid prompt source: '{source[:300]}'. Prompt sources must use an MLflow placeholder.")
    return Origin(source=source, storage_location=source)


def resolve(c: sa.Connection, text: str, run_id: str | None, model_id: str | None) -> Origin:
    """Return the origin that a source means.

    Args:
        run_id: The run that the client names, "" for none; None where it says nothing.
        model_id: The logged model that the client names, likewise.
    Raises:
        InvalidInput: If the source is not allowed, or not part of that run or logged model.
        NotFound: If what it names is not there.
    """
    source = parse_source(text)
    if isinstance(source, VersionSource):
        return _of_version(c, source, text, run_id, model_id)
    if isinstance(source, RunSource):
        if model_id:
            raise foreign_source(text, "model_id")
        if source.run_id != run_id:
            raise foreign_source(text, "run_id")
        return Origin(source=source.uri, storage_location=source.uri, run_id=source.run_id)
    if isinstance(source, LoggedModelSource) and source.model_id != model_id:
        raise foreign_source(text, "model_id")
    if not model_id:
        if isinstance(source, ProxySource) and not source.is_within(_root_of_run(c, run_id or "", text)):
            raise foreign_source(text, "run_id")
        return Origin(source=source.uri, storage_location=source.uri, run_id=run_id or "")
    model = _logged_model(c, model_id)
    if isinstance(source, ProxySource) and (model is None or not source.is_within(model.location)):
        raise foreign_source(text, "model_id")
    if model is None:
        raise NotFound(f"Logged model with ID '{model_id}' not found.")
    location = source.uri if isinstance(source, ProxySource | CloudSource) else model.location
    return Origin(source=source.uri, storage_location=location, run_id=run_id or model.run_id, model_id=model_id)


def _root_of_run(c: sa.Connection, run_id: str, text: str) -> str:
    try:
        return runs.get(c, run_id).artifact_uri
    except NotFound:
        raise foreign_source(text, "run_id") from None


def _logged_model(c: sa.Connection, model_id: str) -> _LoggedModel | None:
    table = logged_models
    query = sa.select(table.c.artifact_location, table.c.source_run_id)
    found = c.execute(query.where(table.c.model_id == model_id, table.c.lifecycle_stage == LifecycleStage.ACTIVE.value)).first()
    return None if found is None else _LoggedModel(found[0], found[1])


def _of_version(c: sa.Connection, source: VersionSource, text: str, run_id: str | None, model_id: str | None) -> Origin:
    """Return the origin of a copy: it says which version it copies, by number, and has its files, run and logged model."""
    if rows.model(c, source.name).is_prompt:
        raise invalid_source(text, "Prompt versions cannot be used as model version sources.")
    copied = _version(c, source)
    if (run_id is not None and run_id != copied.run_id) or (model_id is not None and model_id != copied.model_id):
        raise invalid_source(text, "The run_id and model_id request parameters must match the referenced model version.")
    return Origin(
        source=f"models:/{copied.name}/{copied.version}",
        storage_location=copied.storage_location,
        run_id=copied.run_id,
        model_id=copied.model_id,
    )


def _version(c: sa.Connection, source: VersionSource) -> ModelVersion:
    if source.number is not None:
        return rows.version(c, source.name, source.number)
    if source.alias is not None:
        return rows.version_of_alias(c, source.name, source.alias)
    return rows.newest(c, source.name, source.stage)
