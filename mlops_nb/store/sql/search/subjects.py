"""What can be searched: the tables of each kind of record, and where each name of its language is kept."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from mlops_nb.core import filters
from mlops_nb.core.filters import Field, Language


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """Where an attribute is kept.

    Attributes:
        value: The expression that filters compare.
        order: The expression that orders sort by, where it is another one.
        number: Whether it is a whole number.
        nullable: Whether it can be NULL.
        unique: Whether no two records have the same, so that no further term of an order matters.
        within: For a name that is a column of another table: `x IN (SELECT id FROM table WHERE` around the condition.
    """

    value: str
    order: str = ""
    number: bool = False
    nullable: bool = False
    unique: bool = False
    within: str = ""

    @property
    def sorted_by(self) -> str:
        return self.order or self.value


class Keyed(msgspec.Struct, frozen=True, kw_only=True):
    """A table of (record, key, value). `by_value`: an index finds the records of a key and a value."""

    table: str
    owner: str
    by_value: bool = False


class Subject(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """One kind of record.

    Attributes:
        language: What its filters know.
        table: Its table, with the integer key `id`.
        columns: Where its attributes are.
        keyed: Where its params, tags and metadata are.
        metrics: The table of its metrics: (record, key id, value), value NULL for NaN.
        many: Whether a record may have several values of a metric; the latest counts for the order, any for a filter.
        order: The default order, which also breaks ties: (attribute, descending); the last is unique.
    """

    language: Language
    table: str
    columns: Mapping[str, Column]
    keyed: Mapping[Field, Keyed] = {}
    metrics: Keyed | None = None
    many: bool = False
    order: tuple[tuple[str, bool], ...]


def _text(column: str, *, nullable: bool = False, unique: bool = False) -> Column:
    return Column(value=column, nullable=nullable, unique=unique)


def _number(column: str, *, nullable: bool = False, unique: bool = False) -> Column:
    return Column(value=column, number=True, nullable=nullable, unique=unique)


RUNS = Subject(
    language=filters.RUNS,
    table="runs",
    columns={
        "run_id": _text("runs.run_id", unique=True),
        "run_name": _text("runs.name"),
        "status": _text("runs.status"),
        "start_time": _number("runs.start_time"),
        "end_time": _number("runs.end_time", nullable=True),
        "user_id": _text('runs."user"'),
        "experiment_id": Column(value="CAST(runs.experiment_id AS TEXT)", order="runs.experiment_id"),
        "reason": _text("runs.reason", nullable=True),
        "artifact_uri": _text(
            "((SELECT rtrim(e.artifact_location, '/') FROM experiments AS e WHERE e.id = runs.experiment_id)"
            " || '/' || runs.run_id || '/artifacts')"
        ),
    },
    keyed={
        Field.PARAM: Keyed(table="params", owner="run", by_value=True),
        Field.TAG: Keyed(table="tags", owner="run", by_value=True),
    },
    metrics=Keyed(table="latest_metrics", owner="run", by_value=True),
    order=(("start_time", True), ("run_id", False)),
)

EXPERIMENTS = Subject(
    language=filters.EXPERIMENTS,
    table="experiments",
    columns={
        "name": _text("experiments.name", unique=True),
        "experiment_id": Column(value="CAST(experiments.id AS TEXT)", order="experiments.id", unique=True),
        "creation_time": _number("experiments.creation_time"),
        "last_update_time": _number("experiments.last_update_time"),
    },
    keyed={Field.TAG: Keyed(table="experiment_tags", owner="experiment_id")},
    order=(("last_update_time", True), ("experiment_id", True)),
)

REGISTERED_MODELS = Subject(
    language=filters.REGISTERED_MODELS,
    table="registered_models",
    columns={
        "name": _text("registered_models.name", unique=True),
        "creation_time": _number("registered_models.creation_time"),
        "last_update_time": _number("registered_models.last_update_time"),
    },
    keyed={Field.TAG: Keyed(table="registered_model_tags", owner="model")},
    order=(("name", False),),
)

MODEL_VERSIONS = Subject(
    language=filters.MODEL_VERSIONS,
    table="model_versions",
    columns={
        "name": Column(
            value="registered_models.name",
            order="(SELECT m.name FROM registered_models AS m WHERE m.id = model_versions.model)",
            within="model_versions.model IN (SELECT registered_models.id FROM registered_models WHERE {})",
        ),
        "version_number": _number("model_versions.version"),
        "run_id": _text("model_versions.run_id"),
        "source_path": _text("model_versions.source"),
        "creation_time": _number("model_versions.creation_time"),
        "last_update_time": _number("model_versions.last_update_time"),
    },
    keyed={Field.TAG: Keyed(table="model_version_tags", owner="version")},
    order=(("last_update_time", True), ("name", False), ("version_number", True)),
)

LOGGED_MODELS = Subject(
    language=filters.LOGGED_MODELS,
    table="logged_models",
    columns={
        "name": _text("logged_models.name"),
        "model_id": _text("logged_models.model_id", unique=True),
        "experiment_id": Column(value="CAST(logged_models.experiment_id AS TEXT)", order="logged_models.experiment_id"),
        "model_type": _text("logged_models.model_type"),
        "status": _text("logged_models.status"),
        "source_run_id": _text("logged_models.source_run_id"),
        "creation_time": _number("logged_models.creation_time"),
        "last_update_time": _number("logged_models.last_update_time"),
    },
    keyed={
        Field.PARAM: Keyed(table="logged_model_params", owner="model"),
        Field.TAG: Keyed(table="logged_model_tags", owner="model"),
    },
    metrics=Keyed(table="logged_model_metrics", owner="model", by_value=True),
    many=True,
    order=(("creation_time", True), ("model_id", False)),
)

TRACES = Subject(
    language=filters.TRACES,
    table="traces",
    columns={
        "trace_id": _text("traces.trace_id", unique=True),
        "client_request_id": _text("traces.client_request_id", nullable=True),
        "experiment_id": Column(value="CAST(traces.experiment_id AS TEXT)", order="traces.experiment_id"),
        "request_time": _number("traces.request_time"),
        "duration_ms": _number("traces.duration_ms", nullable=True),
        "end_time": _number("(traces.request_time + traces.duration_ms)", nullable=True),
        "state": _text("traces.state"),
        # A trace may belong to several runs: the one in which it was made, and those it was linked to.
        "run_id": Column(
            value="trace_runs.run_id",
            order="COALESCE((SELECT MIN(trace_runs.run_id) FROM trace_runs WHERE trace_runs.trace_id = traces.trace_id), '')",
            within="traces.trace_id IN (SELECT trace_runs.trace_id FROM trace_runs WHERE {})",
        ),
    },
    keyed={
        Field.TAG: Keyed(table="trace_tags", owner="trace"),
        Field.METADATA: Keyed(table="trace_metadata", owner="trace"),
    },
    order=(("request_time", True), ("trace_id", False)),
)
