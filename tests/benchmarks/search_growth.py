"""How the time of a search grows with the number of runs.

    python tests/benchmarks/search_growth.py [RUNS ...]

Fills stores with runs of 10 params, 10 metrics and 5 tags each, and prints the median time of each query at each size:
of finding the runs (`ids`) and with reading them (`page`); on SQLite, and on PostgreSQL where it is installed.
"""

from __future__ import annotations

import itertools
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parents[2]))

from mlops_nb.store.artifacts import LocalArtifacts
from mlops_nb.store.base import RunQuery
from mlops_nb.store.sql import search
from mlops_nb.store.sql.bits import to_bits
from mlops_nb.store.sql.postgresql import PostgresDatabase
from mlops_nb.store.sql.store import SqlStore
from tests.postgres import PostgresServer, needs_postgres

SIZES = (1_000, 10_000, 100_000)
PARAMS = METRICS = 10
TAGS = 5
BATCH = 2_000

QUERIES: dict[str, tuple[str, list[str]]] = {
    "newest 100": ("", []),
    "metric and param and tag, 0.1 % fit": ("metrics.m1 > 0.9 and params.p2 = '3' and tags.t1 = 'v1'", []),
    "metric and param and tag, few fit": ("metrics.m1 > 0.999 and params.p2 = '3' and tags.t1 = 'v1'", []),
    "metric and param and tag, half fit": ("metrics.m1 > 0.2 and params.p2 != '3' and tags.t1 != 'v1'", []),
    "param, nothing fits": ("params.p2 = 'nothing'", []),
    "order by a metric": ("", ["metrics.m3 DESC"]),
    "order by a metric, ascending": ("", ["metrics.m3 ASC"]),
    "filter and order by a metric": ("metrics.m1 > 0.9 and params.p2 = '3'", ["metrics.m3 DESC"]),
    "order by a param": ("", ["params.p4 DESC"]),
    "ILIKE on a tag": ("tags.t2 ILIKE '%V3%'", []),
    "OR": ("metrics.m1 > 0.99 or params.p2 = '3'", []),
}


def fill(store: SqlStore, count: int, *, experiment: int = 0, seed: int = 1) -> None:
    """Insert runs as fast as the database takes them."""
    chance = random.Random(seed)
    with store.database.write() as c:
        cursor = c.connection.cursor()
        insert = _copying(cursor) if c.dialect.name == "postgresql" else _inserting(cursor)
        first = (c.execute(sa.text("SELECT MAX(id) FROM runs")).scalar() or 0) + 1
        ids = {row[1]: row[0] for row in c.execute(sa.text("SELECT id, name FROM metric_keys"))}
        keys = [ids.get(f"m{i}", 1000 + i) for i in range(METRICS)]
        insert("metric_keys", ("id", "name"), [(key, f"m{i}") for i, key in enumerate(keys) if f"m{i}" not in ids])
        for start in range(first, first + count, BATCH):
            rows = range(start, min(start + BATCH, first + count))
            insert(
                "runs",
                ("id", "run_id", "experiment_id", "name", '"user"', "status", "start_time", "end_time", "lifecycle_stage", "revision"),
                [
                    (r, f"{chance.getrandbits(128):032x}", experiment, f"run-{r}", "ann", "FINISHED", 10**12 + r, 10**12 + r, "active", r)
                    for r in rows
                ],
            )
            insert(
                "latest_metrics",
                ("run", "key", "step", "timestamp", "value", "bits", "points", "loose"),
                [(r, key, 9, 10**12, value, to_bits(value), 1, 1) for r in rows for key in keys for value in [chance.random()]],
            )
            insert("params", ("run", "key", "value"), [(r, f"p{i}", str(chance.randrange(10))) for r in rows for i in range(PARAMS)])
            insert("tags", ("run", "key", "value"), [(r, f"t{i}", f"v{chance.randrange(10)}") for r in rows for i in range(TAGS)])


def _inserting(cursor: Any) -> Callable[[str, Sequence[str], list[Any]], None]:
    def insert(table: str, columns: Sequence[str], rows: list[Any]) -> None:
        cursor.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})", rows)  # noqa: S608

    return insert


def _copying(cursor: Any) -> Callable[[str, Sequence[str], list[Any]], None]:
    def insert(table: str, columns: Sequence[str], rows: list[Any]) -> None:
        with cursor.copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)

    return insert


def p50(work: Callable[[], object], *, seconds: float = 0.4) -> float:
    """Return the median time of some work in milliseconds."""
    work()
    times: list[float] = []
    begun = time.perf_counter()
    while len(times) < 5 or (time.perf_counter() - begun < seconds and len(times) < 200):
        start = time.perf_counter()
        work()
        times.append((time.perf_counter() - start) * 1000)
    return median(times)


def measured(store: SqlStore) -> Iterator[tuple[str, float, float]]:
    """Yield each query with the time of finding 100 runs and of the whole page."""
    for name, (filter_text, order_by) in QUERIES.items():
        query = RunQuery(experiment_ids=["0"], filter=filter_text, order_by=order_by, max_results=100)

        def ids(filter_text: str = filter_text, order_by: Sequence[str] = order_by) -> object:
            with store.database.read() as c:
                inside = search.Sql("runs.experiment_id = ? AND runs.lifecycle_stage = ?", (0, "active"))
                partition = search.Partition(whole=inside, branches=[inside])
                return search.select_ids(c, search.RUNS, filter_text, order_by, partition=partition, max_results=100, largest=100)

        yield name, p50(ids), p50(lambda query=query: store.search_runs(query))  # type: ignore[misc]


def compare(title: str, stores: Sequence[tuple[int, SqlStore]]) -> None:
    """Print a table: each query at each size, and how often longer it takes at the largest than at the one before."""
    columns = [{name: (ids, page) for name, ids, page in measured(store)} for _, store in stores]
    print(f"\n{title}: p50 in ms, ids / page")
    print(f"{'':36}" + "".join(f"{size:>18,}" for size, _ in stores) + f"{'growth':>10}")
    for name in QUERIES:
        cells = "".join(f"{column[name][0]:>10.2f}{column[name][1]:>8.2f}" for column in columns)
        growth = f"{columns[-1][name][0] / columns[-2][name][0]:>9.1f}x" if len(columns) > 1 else ""
        print(f"{name:36}{cells}{growth}")


def main() -> None:
    sizes = [int(size) for size in sys.argv[1:]] or list(SIZES)
    with tempfile.TemporaryDirectory() as folder:
        stores = [(size, SqlStore.in_file(Path(folder) / f"{size}.db", durability="normal")) for size in sizes]
        for size, store in stores:
            fill(store, size)
        compare("SQLite", stores)
        for _, store in stores:
            store.close()
        if needs_postgres.args[0]:
            print("\nPostgreSQL is not installed here.")
            return
        server = PostgresServer()
        try:
            server.start()
            stores = [
                (size, SqlStore(PostgresDatabase(server.new_database()), LocalArtifacts(Path(folder) / str(number))))
                for size, number in zip(sizes, itertools.count(), strict=False)
            ]
            for size, store in stores:
                fill(store, size)
                with store.database.engine().connect().execution_options(isolation_level="AUTOCOMMIT") as c:
                    c.exec_driver_sql("VACUUM ANALYZE")
            compare("PostgreSQL", stores)
            for _, store in stores:
                store.close()
        finally:
            server.close()


if __name__ == "__main__":
    main()
