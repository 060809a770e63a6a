"""What runs read and made: data sets and logged models, as a run names them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from mlops_nb.errors import InvalidInput

CONTEXT_TAG = "mlflow.data.context"
"""The tag of an input that says what the data was for, such as `training`."""

TAG_MODEL_HISTORY = "mlflow.log-model.history"
"""The tag in which clients of MLflow 2 keep the models of a run, as a JSON array."""

MAX_INPUT_TAG_KEY = 255
MAX_INPUT_TAG_VALUE = 500
_LIMITS = {"name": 500, "digest": 36, "source_type": 36, "source": 65_535, "schema": 1_048_575, "profile": 16_777_215}


class Dataset(msgspec.Struct, frozen=True, kw_only=True):
    """A data set, told apart within its experiment by name and digest. `schema` and `profile` are JSON texts."""

    name: str
    digest: str
    source_type: str
    source: str
    schema: str | None = None
    profile: str | None = None


class DatasetInput(msgspec.Struct, frozen=True, kw_only=True):
    """A data set that a run read."""

    dataset: Dataset
    tags: dict[str, str] = {}

    @property
    def context(self) -> str | None:
        """What the data was for."""
        return self.tags.get(CONTEXT_TAG)


class ModelOutput(msgspec.Struct, frozen=True, kw_only=True):
    """A logged model that a run made at a step."""

    model_id: str
    step: int = 0


class RunInputs(msgspec.Struct, frozen=True, kw_only=True):
    """What a run read: data sets, and logged models by id."""

    datasets: list[DatasetInput] = []
    models: list[str] = []


class DatasetSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A data set of an experiment and what a run read it for."""

    experiment_id: str
    name: str
    digest: str
    context: str | None = None


def dataset_of(columns: Sequence[str]) -> Dataset:
    """Return the data set of name, digest, source type, source, schema and profile."""
    name, digest, source_type, source, schema, profile = columns
    return Dataset(name=name, digest=digest, source_type=source_type, source=source, schema=schema, profile=profile)


def check_input(given: DatasetInput) -> DatasetInput:
    """Return the input if nothing in it is longer than MLflow allows.

    Raises:
        InvalidInput: In MLflow's words.
    """
    dataset = given.dataset
    for field, limit in _LIMITS.items():
        _check_length(field, getattr(dataset, field), limit)
    for key, value in given.tags.items():
        _check_length("key", key, MAX_INPUT_TAG_KEY)
        _check_length("value", value, MAX_INPUT_TAG_VALUE)
    return given


def _check_length(field: str, text: str | None, limit: int) -> None:
    if text is not None and len(text) > limit:
        raise InvalidInput(f"'{field}' exceeds the maximum length of {limit} characters")
