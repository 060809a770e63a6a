"""Logged models: models that runs made, with params, tags and metrics of their own."""

from __future__ import annotations

import re
import secrets
from enum import StrEnum
from typing import NamedTuple

import msgspec

from mlops_nb.core.artifacts import ArtifactOwner, OwnerKind
from mlops_nb.core.records import LifecycleStage, Record
from mlops_nb.errors import InvalidInput

MAX_MODEL_NAME = 500
_ID = re.compile(r"m-[0-9a-f]{32}")
_BARRED = ("/", ":", ".", "%", '"', "'")


class LoggedModelStatus(StrEnum):
    """Where a model is on its way: its files are still to come, all there, or did not arrive."""

    UNSPECIFIED = "UNSPECIFIED"
    PENDING = "PENDING"
    READY = "READY"
    FAILED = "FAILED"


class ModelMetric(Record, frozen=True, kw_only=True):
    """A point of a metric that a run logged for a model, on a data set or without one."""

    key: str
    value: float
    timestamp: int
    step: int = 0
    run_id: str
    dataset_name: str | None = None
    dataset_digest: str | None = None


class LoggedModel(Record, frozen=True, kw_only=True):
    """A logged model. `source_run_id` is "" where no run made it."""

    model_id: str
    experiment_id: str
    name: str
    status: LoggedModelStatus
    status_message: str | None = None
    model_type: str = ""
    source_run_id: str = ""
    artifact_location: str
    lifecycle_stage: LifecycleStage = LifecycleStage.ACTIVE
    creation_time: int
    last_update_time: int
    params: dict[str, str] = {}
    tags: dict[str, str] = {}
    metrics: list[ModelMetric] = []


def owner_of_model(model: LoggedModel) -> ArtifactOwner:
    """Return a model as an owner of files."""
    return ArtifactOwner(kind=OwnerKind.MODEL, experiment_id=model.experiment_id, owner_id=model.model_id, uri=model.artifact_location)


class DatasetRef(NamedTuple):
    """A data set by name, of any digest where none is given."""

    name: str
    digest: str | None = None


class ModelOrder(msgspec.Struct, frozen=True, kw_only=True):
    """By what models are sorted: an attribute or `metrics.x`; a metric on a data set where one is given."""

    field: str
    ascending: bool = True
    dataset: DatasetRef | None = None


class LoggedModelQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which logged models, in which order.

    Attributes:
        experiment_ids: Only of these.
        filter: In the language of `core.filters`.
        datasets: Conditions on metrics hold for values on one of these; empty: on any, or none.
        order_by: Ties, and all when empty, by creation time descending, then id.
        max_results: At most `MAX_PAGE`.
        page_token: From the last `Page`.
    """

    experiment_ids: list[str]
    filter: str = ""
    datasets: list[DatasetRef] = []
    order_by: list[ModelOrder] = []
    max_results: int = 50
    page_token: str | None = None


def new_model_id() -> str:
    """Return the id of a new model: `m-` and 32 hexadecimal digits."""
    return f"m-{secrets.token_hex(16)}"


def check_model_id(model_id: str) -> str:
    """Return `model_id` if `new_model_id` could have made it: it names a folder.

    Raises:
        InvalidInput: If not.
    """
    if not _ID.fullmatch(model_id):
        raise InvalidInput(f"{model_id[:80]!r} cannot be the id of a model.")
    return model_id


def check_model_name(name: str) -> str:
    """Return `name` if it may name a logged model: it stands in URIs.

    Raises:
        InvalidInput: If it is empty, too long, or has one of the characters that mean something in a URI.
    """
    if not name or any(character in name for character in _BARRED):
        raise InvalidInput(
            f"Invalid model name ({name[:80]!r}) provided. Model name must be a non-empty string and cannot contain the following "
            f"characters: {_BARRED}"
        )
    if len(name) > MAX_MODEL_NAME:
        raise InvalidInput(f"The model name has {len(name)} characters; {MAX_MODEL_NAME} are allowed.")
    return name
