"""The store in a SQLite file: the contract, and what only a file can do."""

from __future__ import annotations

import math
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory

from mlops_nb.core.events import RunStarted
from mlops_nb.core.run_state import RunStatus
from mlops_nb.errors import InvalidInput, NotFound, StoreDamaged, StoreUnreachable, StoreVersionError
from mlops_nb.store.base import RunQuery, TrackingStore
from mlops_nb.store.sql.schema import SCHEMA_VERSION, metadata
from mlops_nb.store.sql.sqlite import sqlite_driver
from mlops_nb.store.sql.store import SqlStore
from tests.contract.store_contract import StoreContract


class TestSqlStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[TrackingStore]:
        store = SqlStore.in_file(tmp_path / "store.db", durability="normal")
        yield store
        store.close()


def test_the_driver_has_no_sqlite_whose_wal_can_be_corrupted(tmp_path: Path) -> None:
    store = SqlStore.in_file(tmp_path / "store.db")
    with store.database.engine().connect() as connection:
        mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar()
        synchronous = connection.exec_driver_sql("PRAGMA synchronous").scalar()
    store.close()
    assert mode == ("wal" if sqlite_driver().sqlite_version_info >= (3, 51, 3) else "truncate")
    assert synchronous == 2


def test_the_migrations_make_the_schema_that_the_code_uses(tmp_path: Path) -> None:
    config = Config()
    config.set_main_option("script_location", "mlops_nb:store/migrations")
    assert ScriptDirectory.from_config(config).get_heads() == [SCHEMA_VERSION]
    store = SqlStore.in_file(tmp_path / "store.db")
    found = sa.inspect(store.database.engine())
    for table in metadata.tables.values():
        assert {column["name"] for column in found.get_columns(table.name)} == {column.name for column in table.columns}
        assert {index["name"] for index in found.get_indexes(table.name)} == {index.name for index in table.indexes}
        assert found.get_pk_constraint(table.name)["constrained_columns"] == [c.name for c in table.primary_key.columns]
    store.close()


def test_the_files_are_private(tmp_path: Path) -> None:
    SqlStore.in_file(tmp_path / "state" / "store.db").close()
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "state" / "store.db").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "content", [b"this is no database, but it is long enough to be looked at " * 40, b"SQLite format 3\0" + b"\xff" * 4000]
)
def test_a_file_that_is_no_database_is_named_with_a_remedy_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "store.db"
    path.write_bytes(content)
    with pytest.raises((StoreDamaged, StoreUnreachable), match=r"store\.db"):
        SqlStore.in_file(path)
    assert path.read_bytes() == content


def test_a_database_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE runs (x)")
    with pytest.raises(StoreDamaged, match="not a tracking store"):
        SqlStore.in_file(path)


def test_a_store_of_a_newer_version_is_refused_with_both_versions(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    SqlStore.in_file(path).close()
    with sqlite3.connect(path) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreVersionError, match=f"9999.*{SCHEMA_VERSION}"):
        SqlStore.in_file(path)


def test_a_symbolic_link_among_the_artifacts_is_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    store = SqlStore.in_file(tmp_path / "store.db")
    run = store.create_run("0")
    folder = tmp_path / "artifacts" / "0" / run.run_id / "artifacts"
    folder.mkdir(parents=True)
    (folder / "link.txt").symlink_to(secret)
    (folder / "folder").symlink_to(tmp_path)
    assert store.list_artifacts(run.run_id, recursive=True) == []
    for path in ("link.txt", "folder/secret.txt"):
        with pytest.raises(NotFound):
            b"".join(store.read_artifact(run.run_id, path))
    store.close()


def test_a_follower_misses_no_run_of_many_that_change_at_once(tmp_path: Path) -> None:
    store = SqlStore.in_file(tmp_path / "store.db", durability="normal")
    ids = [f"{number:032x}" for number in range(5)]
    for run_id in ids:
        store.ingest(run_id, run_id, [RunStarted(seq=1, ts=1, experiment="e", name="n")])

    def followed(since: int) -> list[str]:
        found: list[str] = []
        while page := store.changed_runs(since, max_results=2):
            found += [run.run_id for run in page]
            since = page[-1].revision
        return found

    before = store.revision()
    assert sorted(store.expire_leases(older_than_seconds=-60)) == ids
    assert sorted(followed(before)) == ids
    before = store.revision()
    store.heartbeat(ids)
    assert sorted(followed(before)) == ids
    assert {run.status for run in store.search_runs(RunQuery()).items} == {RunStatus.RUNNING}
    for never in (math.nan, math.inf, -math.inf, 1e300):
        with pytest.raises(InvalidInput, match="lease"):
            store.expire_leases(older_than_seconds=never)
    store.close()


def test_an_experiment_of_many_tags_is_made_with_few_statements(tmp_path: Path) -> None:
    store = SqlStore.in_file(tmp_path / "store.db", durability="normal")
    statements: list[str] = []
    sa.event.listen(store.database.engine(), "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
    tags = {f"k{number}": str(number) for number in range(500)}
    experiment = store.create_experiment("e", tags=tags)
    assert len(statements) < 20
    assert store.get_experiment(experiment).tags == tags
    with pytest.raises(InvalidInput, match="tag's name"):
        store.create_experiment("f", tags={"": "v"})
    assert store.get_experiment_by_name("f") is None
    store.close()


def test_a_request_that_names_more_than_a_statement_holds_is_the_callers_mistake(tmp_path: Path) -> None:
    store = SqlStore.in_file(tmp_path / "store.db", durability="normal")
    with pytest.raises(InvalidInput, match="too many things"):
        store.search_runs(RunQuery(experiment_ids=[str(number) for number in range(300_000)]))
    store.close()


_OPEN_AND_WRITE = """
import sys
from pathlib import Path
from mlops_nb.core.events import RunStarted
from mlops_nb.store.sql.store import SqlStore
store = SqlStore.in_file(Path(sys.argv[1]))
store.ingest(sys.argv[2], sys.argv[2], [RunStarted(seq=1, ts=1, experiment="together", name=sys.argv[2])])
"""


def test_many_processes_make_one_new_store_together(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    command = [sys.executable, "-c", _OPEN_AND_WRITE, str(path)]
    processes = [subprocess.Popen([*command, f"{i:032x}"], stderr=subprocess.PIPE) for i in range(16)]
    outcomes = [(process.communicate(timeout=120)[1], process.returncode) for process in processes]
    assert [error for error, status in outcomes if status != 0] == []
    store = SqlStore.in_file(path)
    assert store.status().run_count == 16
    assert [e.name for e in store.list_experiments().items] == ["together", "Default"]
    store.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_is_named_and_nothing_that_was_acknowledged_is_lost(tmp_path: Path) -> None:
    mount = tmp_path / "small"
    mount.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(mount)], check=False, capture_output=True).returncode != 0:
        pytest.skip("this machine does not let tests mount a file system")
    try:
        store = SqlStore.in_file(mount / "store.db")
        acknowledged = []
        with pytest.raises(StoreUnreachable, match="disk"):
            for i in range(100_000):
                run_id = f"{i:032x}"
                store.ingest(run_id, run_id, [RunStarted(seq=1, ts=1, experiment="e", name="n" * 200, tags={"t": "v" * 4000})])
                acknowledged.append(run_id)
        assert store.status().run_count == len(acknowledged) > 10
        store.close()
    finally:
        subprocess.run(["umount", str(mount)], check=True)
