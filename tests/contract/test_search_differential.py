"""Searches of runs compared with plain Python: random filters and orders over awkward data, on both databases.

Python is the reference: `filters.matches` and sorting lists. Every search must find the same runs in the same order,
whole and page by page, wherever it begins to look. The seed is printed with a failure; MLOPS_NB_SEARCHES and
MLOPS_NB_SEARCH_SEED set another number of searches, in all, and another seed.
"""

from __future__ import annotations

import functools
import math
import os
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from mlops_nb.core import filters
from mlops_nb.core.datasets import CONTEXT_TAG, Dataset, DatasetInput
from mlops_nb.core.events import RunStarted
from mlops_nb.core.filters import Field, OrderBy
from mlops_nb.core.records import LifecycleStage, Metric, Run
from mlops_nb.core.run_state import RunStatus
from mlops_nb.errors import FilterError, InvalidInput
from mlops_nb.store.artifacts import LocalArtifacts
from mlops_nb.store.base import RunQuery
from mlops_nb.store.sql.postgresql import PostgresDatabase
from mlops_nb.store.sql.search import Subject, planning
from mlops_nb.store.sql.search import pages as search_pages
from mlops_nb.store.sql.search.conditions import Conditions
from mlops_nb.store.sql.sqlite import SqliteDatabase
from mlops_nb.store.sql.store import SqlStore
from tests.postgres import PostgresServer, needs_postgres

SEARCHES = int(os.environ.get("MLOPS_NB_SEARCHES", "2000"))
SEED = int(os.environ.get("MLOPS_NB_SEARCH_SEED", "20261121"))
RUNS = 90

TEXTS = [
    "", " ", "a", "A", "ab", "aB", "prod", "Prod", "PROD", "straße", "STRASSE", "STRAẞE", "İstanbul", "istanbul", "ıstanbul", "ISTANBUL",
    "ä", "Ä", "öä", "ÖÄ", "σ", "ς", "Σ", "ſ", "k", "\u212a", "K", "µ", "μ", "Μ", "%", "_", "100%", "1_0", "1x0", "\\", "C:\\temp\\", "\\%",
    "it's", 'say "hi"', "`tick`", "[a-z]", "*", "?", "a*b", "a?b", "[", "]", "^", "$", "(.)", "x" * 64, "x" * 65, "y" * 3000, "é",
    "e\u0301",
    "日本", "🦊", "🦊🦊", "\n", "a\nb", "NULL", "0", "0.1", "10", "9", "-1", "\uffff", "\U00010000", "{}", "{0}", "?%s", ":p", "%(x)s",
]  # fmt: skip
NUMBERS = [0.0, -0.0, 1.0, -1.0, 0.1, 0.30000000000000004, 1e308, -1e308, 5e-324, math.inf, -math.inf, math.nan, 2.0**53, 2.0**53 + 2, 1e-9]
METRICS = ["acc", "val loss", "m/1", "ünï", "a b: c-d", "rare"]
PARAMS = ["lr", "optimizer name", "p/1", "größe", "rare"]
TAGS = ["stage", "mlflow.note", "it is", "rare"]
TIMES = [0, 1, 1000, 1000, 1001, 2**53 + 1, 2**53 + 2, 2**62]


def fill(store: SqlStore, chance: random.Random) -> None:
    """Insert runs with awkward values, with the same ids on every database."""
    experiments = [store.create_experiment(name) for name in ("one", "two")]
    runs: list[str] = []
    for number in range(RUNS):
        run_id = f"{chance.getrandbits(128):032x}"
        name = chance.choice(TEXTS[:55]).strip()[:200] or f"run {number}"
        store.ingest(run_id, f"s{number}", [RunStarted(seq=1, ts=0, experiment=chance.choice(["one", "two"]), name=name, user="", tags={})])
        runs.append(run_id)
        metrics = {key: chance.choice(NUMBERS) for key in METRICS if chance.random() < (0.05 if key == "rare" else 0.7)}
        params = {key: chance.choice(TEXTS) for key in PARAMS if chance.random() < (0.05 if key == "rare" else 0.7)}
        tags = {key: chance.choice(TEXTS) for key in TAGS if chance.random() < (0.05 if key == "rare" else 0.7)}
        points = [Metric(key=key, value=value, timestamp=1) for key, value in metrics.items()]
        store.log_batch(run_id, metrics=points, params=params, tags=dict(tags))
        for _ in range(chance.choice([0, 0, 1, 2])):
            data = Dataset(name=chance.choice(TEXTS[1:30]), digest=chance.choice(["d1", "D1", "d2"]), source_type="local", source="")
            context = chance.choice([{}, {CONTEXT_TAG: "train"}, {CONTEXT_TAG: "Train%"}])
            store.log_inputs(run_id, [DatasetInput(dataset=data, tags=context)])
        if chance.random() < 0.5:
            status = chance.choice([RunStatus.FINISHED, RunStatus.FAILED, RunStatus.KILLED])
            store.update_run(run_id, status=status, end_time=chance.choice(TIMES), reason=chance.choice([None, "why", "Why_"]))
        if chance.random() < 0.1:
            store.update_run(run_id, lifecycle_stage=LifecycleStage.DELETED)
    with store.database.write() as c:
        for run_id in runs:
            c.exec_driver_sql(f"UPDATE runs SET start_time = {chance.choice(TIMES)} WHERE run_id = '{run_id}'")  # noqa: S608
    assert len(experiments) == 2


class Writer:
    """Writes random filters and orders that are right in every point."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def filter(self, depth: int = 0) -> str:
        pick = self._chance.random()
        if depth < 4 and pick < 0.35:
            word = self._chance.choice([" and ", " AND ", " or "])
            return word.join(self._part(depth) for _ in range(self._chance.randint(2, 3)))
        return f"not {self._part(depth)}" if depth < 4 and pick < 0.45 else self._comparison()

    def _part(self, depth: int) -> str:
        inner = self.filter(depth + 1)
        return inner if inner.count(" ") == 2 and self._chance.random() < 0.5 else f"({inner})"

    def order_by(self) -> list[str]:
        return [
            f"{self._order_key()}{self._chance.choice(['', ' asc', ' DESC', ' desc'])}" for _ in range(self._chance.choice([0, 1, 1, 2, 3]))
        ]

    def _order_key(self) -> str:
        kind = self._chance.random()
        if kind < 0.4:
            return self._key(["metrics", "metric"], [*METRICS, "no such"])
        if kind < 0.6:
            return self._key(["params"], [*PARAMS, "no such"])
        if kind < 0.7:
            return self._key(["tags"], TAGS)
        names = ["start_time", "end_time", "run_name", "status", "run_id", "experiment_id", "reason", "user_id", "artifact_uri", "created"]
        return self._chance.choice(["", "attributes."]) + self._chance.choice(names)

    def _key(self, prefixes: Sequence[str], keys: Sequence[str]) -> str:
        key = self._chance.choice(keys)
        plain = all(c.isalnum() or c in "/." for c in key) and key.isascii()
        quote = self._chance.choice(["", '"', "`"] if plain else ['"', "`"])
        return f"{self._chance.choice(prefixes)}.{quote}{key.replace(quote, quote * 2) if quote else key}{quote}"

    def _text(self, value: str) -> str:
        quote = self._chance.choice("''\"")
        return f"{quote}{value.replace(quote, quote * 2)}{quote}"

    def _pattern(self) -> str:
        value = self._chance.choice(TEXTS)
        if self._chance.random() < 0.5:
            value = self._chance.choice([value.swapcase(), value.upper(), value.lower()])
        cut = value[self._chance.randint(0, 2) : self._chance.choice([1, 2, 3, 1000])]
        cut = "".join("_" if self._chance.random() < 0.1 else c for c in cut[:900])
        return self._chance.choice(["", "%"]) + cut + self._chance.choice(["", "%", "%_"])

    def _comparison(self) -> str:
        kind = self._chance.random()
        if kind < 0.25:
            return self._number(self._key(["metrics", "metric"], [*METRICS, "no such"]), NUMBERS)
        if kind < 0.32:
            return self._number(
                self._chance.choice(["start_time", "attributes.end_time", "created"]), [*TIMES, 0.5, 1000.5, 1e30, -1e30, -3]
            )
        if kind < 0.55:
            return self._texts(self._key(["params", "param"], [*PARAMS, "no such"]), TEXTS, ranges=True)
        if kind < 0.75:
            return self._texts(self._key(["tags", "tag"], [*TAGS, "no such"]), TEXTS)
        if kind < 0.87:
            names = ["run_name", "name", "`Run name`", "attributes.status", "reason", "user_id", "experiment_id", "artifact_uri", "run_id"]
            pool = [*TEXTS[:40], "FINISHED", "failed", "why", "Why_", "1", "2", "01"]
            return self._texts(self._chance.choice(names), pool)
        return self._texts(
            self._chance.choice(["datasets", "dataset"]) + self._chance.choice([".name", ".digest", ".context"]),
            [*TEXTS[:30], "d1", "train"],
        )

    def _number(self, key: str, numbers: Sequence[float]) -> str:
        if self._chance.random() < 0.15:
            return f"{key} {self._chance.choice(['is null', 'IS NOT NULL'])}"
        number = self._chance.choice([n for n in numbers if not math.isnan(n)])
        shown = {math.inf: "1e999", -math.inf: "-1e999"}.get(number, repr(number))
        return f"{key} {self._chance.choice(['=', '!=', '<', '<=', '>', '>=', '==', '<>'])} {shown}"

    def _texts(self, key: str, texts: Sequence[str], *, ranges: bool = False) -> str:
        op = self._chance.choice(
            ["=", "!=", "like", "ilike", "LIKE", "ILIKE", "in", "not in", "is null", "is not null", *(["<", ">="] if ranges else [])]
        )
        if op.startswith("is"):
            return f"{key} {op}"
        if op.endswith("in"):
            return f"{key} {op} ({', '.join(self._text(self._chance.choice(texts)) for _ in range(self._chance.randint(1, 4)))})"
        return f"{key} {op} {self._text(self._pattern() if 'like' in op.lower() else self._chance.choice(texts))}"


def expected(runs: Sequence[Run], query: RunQuery) -> list[str]:
    """Return the ids that a search must find, by Python alone."""
    node = filters.parse(query.filter)
    found = [
        run
        for run in runs
        if filters.matches(node, run)
        and (query.lifecycle_stage is None or run.lifecycle_stage is query.lifecycle_stage)
        and (query.experiment_ids is None or run.experiment_id in query.experiment_ids)
    ]
    found.sort(key=lambda run: run.run_id)
    found.sort(key=lambda run: run.start_time, reverse=True)
    for by in reversed([filters.parse_order_by(clause) for clause in query.order_by]):
        value = functools.partial(sort_value, by)
        there = sorted((run for run in found if value(run) is not None), key=value, reverse=by.descending)  # type: ignore[arg-type]
        found = there + [run for run in found if value(run) is None]
    return [run.run_id for run in found]


def sort_value(by: OrderBy, run: Run) -> float | str | None:
    if by.field is Field.METRIC:
        value = run.metrics[by.key].value if by.key in run.metrics else math.nan
        return None if math.isnan(value) else value
    if by.field is Field.ATTRIBUTE:
        found = getattr(run, {"run_name": "name", "user_id": "user"}.get(by.key, by.key))
        return int(found) if by.key == "experiment_id" else found
    return (run.params if by.field is Field.PARAM else run.tags).get(by.key)


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=needs_postgres)])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlStore]:
    folder: Path = tmp_path_factory.mktemp("search")
    if request.param == "sqlite":
        database: SqliteDatabase | PostgresDatabase = SqliteDatabase(folder / "store.db", durability="normal")
    else:
        server: PostgresServer = request.getfixturevalue("postgres")
        database = PostgresDatabase(server.new_database())
    store = SqlStore(database, LocalArtifacts(folder / "artifacts"))
    fill(store, random.Random(SEED))
    yield store
    store.close()


@pytest.fixture(scope="module")
def runs(store: SqlStore) -> list[Run]:
    found = store.search_runs(RunQuery(lifecycle_stage=None)).items
    assert len(found) == RUNS
    return found


def pages(store: SqlStore, query: RunQuery, size: Callable[[], int], between: Callable[[], None] = lambda: None) -> list[str]:
    """Return the ids that walking the pages of a search gives."""
    seen: list[str] = []
    token: str | None = None
    while True:
        page = store.search_runs(
            RunQuery(
                **{name: getattr(query, name) for name in ("filter", "order_by", "lifecycle_stage", "experiment_ids")},
                max_results=size(),
                page_token=token,
            )
        )  # type: ignore[arg-type]
        seen += [run.run_id for run in page.items]
        token = page.token
        if token is None:
            return seen
        between()


def plan_at_random(chance: random.Random) -> Callable[..., planning.Plan]:
    """Return a planner that takes any of the ways to begin a search, the foolish ones too."""

    def plan(c: object, subject: Subject, conditions: Conditions, node: filters.Node | None, *, wanted: int, **how: Any) -> planning.Plan:
        parts = node.parts if isinstance(node, filters.And) else () if node is None else (node,)
        return chance.choice(planning.possible(subject, conditions, parts, **how))

    return plan


@pytest.mark.parametrize("planned", ["as best", "at random"])
def test_searches_find_what_python_finds_in_the_same_order(
    store: SqlStore, runs: list[Run], planned: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(f"{SEED} {planned} {store.database.engine().dialect.name}")
    if planned == "at random":
        monkeypatch.setattr(search_pages, "plan", plan_at_random(chance))
    writer = Writer(chance)
    some = 0
    for number in range(SEARCHES // 4):
        query = RunQuery(
            filter=writer.filter() if chance.random() < 0.9 else "",
            order_by=writer.order_by(),
            experiment_ids=chance.choice([None, None, ["1"], ["1", "2"], ["2", "99"], [str(n) for n in range(1, 40)]]),
            lifecycle_stage=chance.choice([LifecycleStage.ACTIVE, LifecycleStage.ACTIVE, None]),
        )
        wanted = expected(runs, query)
        some += 0 < len(wanted) < len(runs)
        found = [run.run_id for run in store.search_runs(query).items]
        assert found == wanted, f"search {number} of seed {SEED}: {query}"
        if number % 4 == 0:
            walked = pages(store, query, functools.partial(chance.randint, 1 + len(wanted) // 6, len(wanted) + 2))
            assert walked == wanted, f"pages of search {number} of seed {SEED}: {query}"
    assert some > SEARCHES // 12, "most filters find all runs or none: they prove little"


@pytest.mark.parametrize(
    "order_by",
    [
        [],
        ["start_time"],
        ["metrics.acc DESC"],
        ["metrics.acc", "params.lr DESC"],
        ["params.lr", "end_time DESC"],
        ["end_time"],
        ["run_name"],
    ],
    ids=lambda order: ",".join(order) or "default",
)
def test_runs_that_come_and_go_between_pages_neither_repeat_nor_hide_others(store: SqlStore, runs: list[Run], order_by: list[str]) -> None:
    chance = random.Random(SEED)
    query = RunQuery(order_by=order_by, lifecycle_stage=LifecycleStage.ACTIVE)
    before = expected(runs, query)
    made: list[str] = []
    gone: list[str] = []

    def disturb() -> None:
        run = store.create_run("0", name=chance.choice(["a", "zz"]), start_time=chance.choice(TIMES))
        store.log_batch(
            run.run_id, metrics=[Metric(key="acc", value=chance.choice(NUMBERS), timestamp=1)], params={"lr": chance.choice(TEXTS)}
        )
        made.append(run.run_id)
        if len(gone) < 6:
            gone.append(chance.choice([each for each in before if each not in gone]))
            store.update_run(gone[-1], lifecycle_stage=LifecycleStage.DELETED)

    try:
        seen = pages(store, query, lambda: 7, disturb)
        assert len(seen) == len(set(seen))
        stayed = [each for each in before if each not in gone]
        assert [each for each in seen if each in stayed] == stayed
        assert made and gone
    finally:
        with store.database.write() as c:
            for each in made:
                for table in ("params", "tags", "metric_points", "latest_metrics"):
                    c.exec_driver_sql(f"DELETE FROM {table} WHERE run = (SELECT id FROM runs WHERE run_id = '{each}')")  # noqa: S608
                c.exec_driver_sql(f"DELETE FROM runs WHERE run_id = '{each}'")  # noqa: S608
        for each in gone:
            store.update_run(each, lifecycle_stage=LifecycleStage.ACTIVE)


def test_a_token_of_another_search_is_refused(store: SqlStore, runs: list[Run]) -> None:
    token = store.search_runs(RunQuery(filter="metrics.acc > 0", order_by=["start_time"], max_results=2)).token
    assert token is not None
    assert store.search_runs(RunQuery(filter="metrics.acc > 0", order_by=["start_time"], max_results=3, page_token=token)).items
    for other in (
        RunQuery(filter="metrics.acc > 1", order_by=["start_time"], page_token=token),
        RunQuery(filter="metrics.acc > 0", order_by=["start_time desc"], page_token=token),
        RunQuery(filter="metrics.acc > 0", order_by=["start_time"], page_token=token, experiment_ids=["1"]),
    ):
        with pytest.raises(InvalidInput, match="another search"):
            store.search_runs(other)
    for nonsense in ("x", token[:-4], "W10=", "eyJvZmZzZXQiOiAxfQ==", "WyJhIiwgMV0="):
        with pytest.raises(InvalidInput, match="token"):
            store.search_runs(RunQuery(filter="metrics.acc > 0", order_by=["start_time"], page_token=nonsense))


def test_long_filters_run_or_are_refused_with_a_reason(store: SqlStore, runs: list[Run]) -> None:
    many = RunQuery(filter=" or ".join(f"(metrics.acc = {n} and params.lr ilike '%ä{n}')" for n in range(250)), max_results=50)
    assert [run.run_id for run in store.search_runs(many).items] == expected(runs, many)[:50]
    deep = RunQuery(filter="metrics.acc > 0 or (" * 90 + "metrics.acc <= 0" + ")" * 90)
    assert [run.run_id for run in store.search_runs(deep).items] == expected(runs, deep)
    members = RunQuery(filter="params.lr in (" + ", ".join(f"'{n}'" for n in range(10_000)) + ")")
    assert [run.run_id for run in store.search_runs(members).items] == expected(runs, members)
    for text in (" or ".join(["metrics.acc = 1"] * 501), "run_name = 'x' or (" * 200 + "a = 1" + ")" * 200, "a = '" + "x" * 200_000 + "'"):
        with pytest.raises(FilterError):
            store.search_runs(RunQuery(filter=text))


def test_free_text_is_found_in_any_case(store: SqlStore, runs: list[Run]) -> None:
    def has(text: str, part: str) -> bool:
        return "".join(map(filters.pattern.folded, part)) in "".join(map(filters.pattern.folded, text))

    for part in ("PROD", "ä", "Σ", "%", "_", "\\", "*", "[", "🦊", "straße"):
        wanted = {
            run.run_id
            for run in runs
            if run.lifecycle_stage is LifecycleStage.ACTIVE
            and (
                has(run.name, part)
                or any(has(key, part) or has(value, part) for key, value in run.tags.items() if not key.startswith(("mlflow.", "mlops.")))
            )
        }
        assert {run.run_id for run in store.search_runs(RunQuery(text=part)).items} == wanted, part
