"""Searches of all that is not a run: each name of each language, on both databases."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from mlops_nb.core import filters
from mlops_nb.core.filters import Field, OrderBy
from mlops_nb.core.records import Experiment
from mlops_nb.errors import FilterError, InvalidInput
from mlops_nb.store.artifacts import LocalArtifacts
from mlops_nb.store.base import ExperimentQuery, RunQuery
from mlops_nb.store.sql import schema, search
from mlops_nb.store.sql.postgresql import PostgresDatabase
from mlops_nb.store.sql.sqlite import SqliteDatabase
from mlops_nb.store.sql.store import SqlStore
from tests.postgres import PostgresServer, needs_postgres

SUBJECTS = {
    subject.table: subject
    for subject in (
        search.RUNS,
        search.EXPERIMENTS,
        search.REGISTERED_MODELS,
        search.MODEL_VERSIONS,
        search.LOGGED_MODELS,
        search.TRACES,
    )
}
OPERATORS = ("=", "!=", "<", "<=", ">", ">=", "LIKE", "ILIKE", "IN", "NOT IN", "IS NULL", "IS NOT NULL")


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=needs_postgres)])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlStore]:
    folder: Path = tmp_path_factory.mktemp("search")
    if request.param == "sqlite":
        database: SqliteDatabase | PostgresDatabase = SqliteDatabase(folder / "store.db", durability="normal")
    else:
        server: PostgresServer = request.getfixturevalue("postgres")
        database = PostgresDatabase(server.new_database())
    store = SqlStore(database, LocalArtifacts(folder / "artifacts"))
    with database.write() as c:
        fill(c)
    yield store
    store.close()


def fill(c: sa.Connection) -> None:
    """Insert some rows of everything, many of them level with each other."""
    name = ("ant", "Ant", "bee", "Äpfel", "äpfel", "100%", "a_b", "a\\b")
    for i, each in enumerate(name, start=1):
        stage = "active"
        c.execute(
            schema.experiments.insert().values(
                id=i, name=each, artifact_location="x", lifecycle_stage=stage, creation_time=i // 3, last_update_time=i // 2
            )
        )
        c.execute(schema.experiment_tags.insert().values(experiment_id=i, key="team", value=name[-i]))
        c.execute(
            schema.registered_models.insert().values(
                id=i, name=each, description="", creation_time=i // 3, last_update_time=i // 2, versions=9
            )
        )
        c.execute(schema.registered_model_tags.insert().values(model=i, key="team", value=name[-i]))
        c.execute(
            schema.logged_models.insert().values(
                id=i, model_id=f"m-{i}", experiment_id=0, name=each, status="READY", model_type="", source_run_id=f"r{i % 3}",
                artifact_location="x", lifecycle_stage=stage, creation_time=i // 3, last_update_time=i // 2,
            )
        )  # fmt: skip
        c.execute(schema.logged_model_tags.insert().values(model=i, key="team", value=name[-i]))
        c.execute(schema.logged_model_params.insert().values(model=i, key="lr", value=f"0.{i % 3}"))
        c.execute(
            schema.traces.insert().values(
                id=i, trace_id=f"t{i}", experiment_id=0, request_time=i // 3, duration_ms=None if i % 2 else i, state="OK"
            )
        )
        c.execute(schema.trace_tags.insert().values(trace=i, key="mlflow.traceName", value=each))
        c.execute(schema.trace_metadata.insert().values(trace=i, key="user", value=each))
    for i in range(1, 20):
        c.execute(
            schema.model_versions.insert().values(
                id=i, model=1 + i % 5, version=i, description="", user="", source=f"s3://{i % 2}", storage_location="", run_id=f"r{i % 3}",
                run_link="", model_id="", status="READY", status_message="", stage="None", creation_time=i // 4, last_update_time=i // 6,
            )
        )  # fmt: skip
        c.execute(schema.model_version_tags.insert().values(version=i, key="team", value=name[i % 8]))
    c.execute(schema.metric_keys.insert().values(id=1, name="acc"))
    c.execute(
        schema.runs.insert().values(
            id=1, run_id="r1", experiment_id=0, name="run", user="", status="RUNNING", start_time=1, lifecycle_stage="active", revision=1
        )
    )
    for i, dataset, timestamp, value in [
        (1, "", 1, 0.5),
        (1, "d", 2, 0.1),
        (2, "d", 1, 0.9),
        (2, "e", 3, None),
        (3, "", 5, 0.7),
        (4, "d", 5, 0.3),
    ]:
        c.execute(
            schema.logged_model_metrics.insert().values(
                model=i, key=1, dataset_name=dataset, dataset_digest="1" if dataset else "", run=1, step=0, timestamp=timestamp,
                bits=timestamp, value=value,
            )
        )  # fmt: skip


def ids(c: sa.Connection, subject: search.Subject, text: str = "", order_by: tuple[str | OrderBy, ...] = (), **more: object) -> list[int]:
    """Return the ids that a search finds, which must be the same page by page."""
    whole = search.select_ids(c, subject, text, order_by, max_results=1000, largest=1000, **more).items  # type: ignore[arg-type]
    walked: list[int] = []
    token: str | None = None
    while token is not None or not walked:
        page = search.select_ids(c, subject, text, order_by, max_results=2, largest=2, page_token=token, **more)  # type: ignore[arg-type]
        walked += page.items
        token = page.token
        if token is None:
            break
    assert walked == whole, (subject.table, text, order_by)
    return whole


@pytest.mark.parametrize("subject", SUBJECTS.values(), ids=list(SUBJECTS))
def test_each_name_can_be_compared_and_sorted_by(store: SqlStore, subject: search.Subject) -> None:
    assert {a.key for a in subject.language.names.values() if a.field is Field.ATTRIBUTE} == set(subject.columns)
    with store.database.read() as c:
        everything = set(ids(c, subject))
        for name, attribute in subject.language.names.items():
            for direction in ("ASC", "DESC"):
                assert set(ids(c, subject, order_by=(f"{name} {direction}",))) == everything
            for op in subject.language.operators(attribute.field, attribute.number):
                value = {"IN": "('ant', 't1')", "NOT IN": "('ant', 't1')", "IS NULL": "", "IS NOT NULL": ""}.get(op, "'ant'")
                text = f"{name} {op} {'1' if attribute.number and value else value}"
                found = set(ids(c, subject, text))
                assert found | set(ids(c, subject, f"not ({text})")) == everything and found <= everything, text


@pytest.mark.parametrize(("table", "prefix"), [(t, p) for t, s in SUBJECTS.items() for p, f in s.language.prefixes.items() if f in s.keyed])
def test_each_table_of_keys_can_be_searched_and_sorted_by(store: SqlStore, table: str, prefix: str) -> None:
    subject = SUBJECTS[table]
    with store.database.read() as c:
        everything = set(ids(c, subject))
        assert set(ids(c, subject, order_by=(f"{prefix}.team DESC",))) == everything
        for test in ("= 'ant'", "!= 'ant'", "LIKE 'A%'", "ILIKE 'ä%'", "IN ('ant', 'bee')", "NOT IN ('ant')", "IS NULL"):
            found = set(ids(c, subject, f"{prefix}.team {test}"))
            assert found | set(ids(c, subject, f"not {prefix}.team {test}")) == everything


def test_names_of_models_are_found_in_their_versions(store: SqlStore) -> None:
    with store.database.read() as c:
        assert ids(c, search.MODEL_VERSIONS, "name = 'bee' and version_number > 5") == [17, 12, 7]
        assert ids(c, search.MODEL_VERSIONS, "name ILIKE 'ÄP%'", ("name DESC", "version_number ASC")) == [4, 9, 14, 19, 3, 8, 13, 18]
        assert ids(c, search.MODEL_VERSIONS, "", ())[:3] == [18, 19, 16]


def test_metrics_of_models_count_on_the_data_sets_asked_for(store: SqlStore) -> None:
    best = OrderBy(Field.METRIC, "acc", True)
    with store.database.read() as c:
        assert set(ids(c, search.LOGGED_MODELS, "metrics.acc > 0.4")) == {1, 2, 3}
        assert set(ids(c, search.LOGGED_MODELS, "metrics.acc > 0.2", datasets=[("d", "1")])) == {2, 4}
        assert set(ids(c, search.LOGGED_MODELS, "metrics.acc > 0.2", datasets=[("d", "2")])) == set()
        assert set(ids(c, search.LOGGED_MODELS, "metrics.acc IS NOT NULL", datasets=[("e", None), ("d", "1")])) == {1, 2, 4}
        assert ids(c, search.LOGGED_MODELS, "", (best,))[:3] == [3, 4, 1]
        assert ids(c, search.LOGGED_MODELS, "", (OrderBy(Field.METRIC, "acc", True, ("d", None)),))[:3] == [2, 4, 1]


def test_further_conditions_of_a_caller_hold(store: SqlStore) -> None:
    with store.database.read() as c:
        where = [schema.registered_models.c.name.in_(["ant", "bee", "100%"]), schema.registered_models.c.creation_time >= 1]
        assert ids(c, search.REGISTERED_MODELS, "not name = 'zz'", where=where) == [6, 3]
        like = [schema.registered_models.c.name.like("1%\\%", escape="\\")]
        assert ids(c, search.REGISTERED_MODELS, "name LIKE '%0%'", where=like) == [6]


def test_experiments_are_searched_as_python_does(store: SqlStore) -> None:
    chance = random.Random(3)
    everything = store.search_experiments(ExperimentQuery(lifecycle_stage=None)).items
    texts = [e.name for e in everything] + ["%a%", "A%", "_nt", "ä%"]
    some = 0
    for _ in range(200):
        parts = []
        for _ in range(chance.randint(1, 3)):
            key = chance.choice(["name", "tags.team", "attribute.name", "tag.none", "experiment_id"])
            op = chance.choice(["=", "!=", "LIKE", "ILIKE"])
            parts.append(
                f"{key} {op} '{chance.choice(texts)}'"
                if chance.random() < 0.7
                else f"{chance.choice(['creation_time', 'last_update_time'])} >= {chance.randint(0, 4)}"
            )
        text = chance.choice([" and ", " or "]).join(parts)
        order = chance.choice(["name", "experiment_id", "creation_time", "attributes.last_update_time"])
        descending = chance.random() < 0.5
        found = store.search_experiments(ExperimentQuery(filter=text, order_by=[f"{order} {'DESC' if descending else 'ASC'}"])).items
        node = filters.parse(text, filters.EXPERIMENTS)
        wanted = [
            e
            for e in sorted(everything, key=lambda e: (e.last_update_time, int(e.experiment_id)), reverse=True)
            if filters.matches(node, e)
        ]
        attribute = order.rpartition(".")[2]

        def value(e: Experiment, attribute: str = attribute) -> str | int:
            return int(e.experiment_id) if attribute == "experiment_id" else getattr(e, attribute)  # type: ignore[no-any-return]

        wanted.sort(key=value, reverse=descending)
        assert [e.name for e in found] == [e.name for e in wanted], text
        some += 0 < len(found) < len(everything)
    assert some > 60


def test_a_page_token_that_is_none_of_ours_is_refused(store: SqlStore) -> None:
    run = store.search_runs(RunQuery()).items[0].run_id
    for values in ("[" * 100_000, '["\\ud800"]', "[1e400]", "[]", "null", "{}", "7", f'["{"x" * 12}", 1, "a"]', "[9" + "9" * 5000 + "]"):
        token = base64.urlsafe_b64encode(values.encode()).decode()
        with pytest.raises(InvalidInput, match="page token"):
            store.search_runs(RunQuery(page_token=token))
        with pytest.raises(InvalidInput, match="page token"):
            store.metric_history(run, "m", max_results=1, page_token=token)


def test_what_cannot_be_searched_is_refused_with_what_can(store: SqlStore) -> None:
    with store.database.read() as c:
        for subject, text in (
            (search.EXPERIMENTS, "metrics.acc > 1"),
            (search.REGISTERED_MODELS, "owner = 'x'"),
            (search.TRACES, "params.x = '1'"),
        ):
            with pytest.raises(FilterError) as caught:
                ids(c, subject, text)
            assert caught.value.position is not None and caught.value.hint
        with pytest.raises(InvalidInput, match="data set"):
            ids(c, search.RUNS, "", ("datasets.name",))
        with pytest.raises(InvalidInput, match="max_results"):
            search.select_ids(c, search.RUNS, "", max_results=0, largest=10)
