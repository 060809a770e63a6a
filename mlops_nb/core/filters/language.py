"""Which names the filters of each kind of record know, and what they mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from mlops_nb.core.filters.tree import Field

EQUALITY = ("=", "!=")
RANGE = ("<", "<=", ">", ">=")
TEXT = (*EQUALITY, "LIKE", "ILIKE", "IN", "NOT IN")
PRESENCE = ("IS NULL", "IS NOT NULL")

_NUMBERS = (*EQUALITY, *RANGE, *PRESENCE)
_TEXTS = (*TEXT, *PRESENCE)
# Params also compare as text, by code point.
_OPERATORS = {Field.METRIC: _NUMBERS, Field.PARAM: (*_TEXTS, *RANGE)}

DATASET_KEYS = ("name", "digest", "context")


class Attribute(msgspec.Struct, frozen=True):
    """What a name stands for; `field` and `key` say where it is kept."""

    key: str
    number: bool = False
    field: Field = Field.ATTRIBUTE


class Language(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """The names that the filters of one kind of record know.

    Attributes:
        thing: What one record is called.
        names: Each attribute by every name it goes by.
        prefixes: Each field by what may stand before the dot.
        open: Whether a bare name that is no attribute is a metric, where a number is compared, or else a param.
        quoted: Whether a number may stand in quotes, as it may for MLflow here.
        example: A filter that shows the language.
    """

    thing: str
    names: Mapping[str, Attribute]
    prefixes: Mapping[str, Field]
    open: bool = False
    quoted: bool = False
    example: str

    def attribute(self, name: str) -> Attribute | None:
        """Return what a name stands for; `Run Name` is `run_name`."""
        return self.names.get(name) or self.names.get(name.lower().replace(" ", "_"))

    def operators(self, field: Field, number: bool) -> tuple[str, ...]:
        """Return the comparators that a field takes."""
        return _NUMBERS if number else _OPERATORS.get(field, _TEXTS)


_PREFIXES = {
    Field.METRIC: ("metrics", "metric"),
    Field.PARAM: ("params", "param", "parameters", "parameter"),
    Field.TAG: ("tags", "tag"),
    Field.ATTRIBUTE: ("attributes", "attribute", "attr"),
    Field.DATASET: ("datasets", "dataset"),
    Field.METADATA: ("metadata", "request_metadata"),
}


def _prefixes(fields: Iterable[Field], **more: Field) -> dict[str, Field]:
    return {name: field for field in fields for name in _PREFIXES[field]} | more


def _names(*attributes: tuple[str, Attribute]) -> dict[str, Attribute]:
    return {name: attribute for names, attribute in attributes for name in names.split()}


_CREATED = ("creation_timestamp creation_time", Attribute("creation_time", number=True))
_UPDATED = (
    "last_updated_timestamp last_update_timestamp last_updated_time last_update_time timestamp",
    Attribute("last_update_time", number=True),
)

RUNS = Language(
    thing="run",
    names=_names(
        ("run_id id", Attribute("run_id")),
        ("run_name name", Attribute("run_name")),
        ("status", Attribute("status")),
        ("start_time started created", Attribute("start_time", number=True)),
        ("end_time", Attribute("end_time", number=True)),
        ("user_id user", Attribute("user_id")),
        ("artifact_uri", Attribute("artifact_uri")),
        ("experiment_id", Attribute("experiment_id")),
        ("reason", Attribute("reason")),
    ),
    prefixes=_prefixes((Field.METRIC, Field.PARAM, Field.TAG, Field.ATTRIBUTE, Field.DATASET), run=Field.ATTRIBUTE),
    open=True,
    example="metrics.acc > 0.9 and params.lr = '0.1' and status = 'FINISHED'",
)

EXPERIMENTS = Language(
    thing="experiment",
    names=_names(
        ("name experiment_name", Attribute("name")),
        ("experiment_id id", Attribute("experiment_id")),
        _CREATED,
        _UPDATED,
    ),
    prefixes=_prefixes((Field.TAG, Field.ATTRIBUTE), experiment=Field.ATTRIBUTE),
    example="name LIKE 'churn%' and tags.team = 'growth'",
)

REGISTERED_MODELS = Language(
    thing="registered model",
    names=_names(("name", Attribute("name")), _CREATED, _UPDATED),
    prefixes=_prefixes((Field.TAG, Field.ATTRIBUTE)),
    example="name LIKE 'churn%' and tags.team = 'growth'",
)

MODEL_VERSIONS = Language(
    thing="model version",
    names=_names(
        ("name", Attribute("name")),
        ("version_number version", Attribute("version_number", number=True)),
        ("run_id", Attribute("run_id")),
        ("source_path source", Attribute("source_path")),
        _CREATED,
        _UPDATED,
    ),
    prefixes=_prefixes((Field.TAG, Field.ATTRIBUTE)),
    quoted=True,
    example="name = 'churn' and version_number > 2 and tags.stage = 'prod'",
)

LOGGED_MODELS = Language(
    thing="logged model",
    names=_names(
        ("name", Attribute("name")),
        ("model_id", Attribute("model_id")),
        ("experiment_id", Attribute("experiment_id")),
        ("model_type", Attribute("model_type")),
        ("status", Attribute("status")),
        ("source_run_id", Attribute("source_run_id")),
        _CREATED,
        _UPDATED,
    ),
    prefixes=_prefixes((Field.METRIC, Field.PARAM, Field.TAG, Field.ATTRIBUTE)),
    example="metrics.acc > 0.9 and params.lr = '0.1' and name LIKE 'churn%'",
)

TRACES = Language(
    thing="trace",
    names=_names(
        ("trace_id request_id", Attribute("trace_id")),
        ("client_request_id", Attribute("client_request_id")),
        ("experiment_id", Attribute("experiment_id")),
        ("request_time timestamp_ms timestamp", Attribute("request_time", number=True)),
        ("duration_ms execution_time_ms execution_time execution_duration", Attribute("duration_ms", number=True)),
        ("end_time end_time_ms", Attribute("end_time", number=True)),
        ("state status", Attribute("state")),
        ("name", Attribute("mlflow.traceName", field=Field.TAG)),
        ("run_id", Attribute("run_id")),
    ),
    prefixes=_prefixes((Field.TAG, Field.ATTRIBUTE, Field.METADATA), trace=Field.ATTRIBUTE),
    quoted=True,
    example="status = 'OK' and execution_time > 500 and tags.team = 'growth'",
)
