"""`kill -9` at random moments of an import, an export and a purge: doing it again finishes it."""

from __future__ import annotations

import io
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlops_nb.core.records import LifecycleStage, Metric
from mlops_nb.core.run_state import RunStatus
from mlops_nb.errors import NotFound
from mlops_nb.store.sql.schema import purged_files
from mlops_nb.store.sql.store import SqlStore
from tests.transfer.stores import content, files

_PROGRAMS = {
    "import": """
from mlops_nb.transfer.importers.mlflow import open_mlflow
from mlops_nb.transfer.imports import bring_in
def work():
    with open_mlflow(there) as source:
        bring_in(source, store)
""",
    "export files": """
import pyarrow.parquet
from mlops_nb.transfer.exporters.open_files import export_open_files
def work():
    export_open_files(store, there)
""",
    "export mlflow": """
from mlops_nb.transfer.exporters.mlflow_database import export_mlflow_database
def work():
    export_mlflow_database(store, there)
""",
    "gc": """
from mlops_nb.store.purge import PurgeQuery
def work():
    store.purge(PurgeQuery())
""",
}
_FRAME = """
import sys
from pathlib import Path
from mlops_nb.store.sql.store import SqlStore
store = SqlStore.in_file(Path(sys.argv[1]))
there = sys.argv[2]
{work}
print("ready", flush=True)
work()
print("done", flush=True)
"""
FEW, MANY = 2, 50


class Killer:
    """Runs a program as long as it likes, or kills it somewhere on its way."""

    def __init__(self, kind: str, seed: int) -> None:
        self._program = _FRAME.format(work=_PROGRAMS[kind])
        self._random = random.Random(seed)
        self.seconds = 0.0

    def run(self, store: Path, there: Path, *, kill: bool) -> bool:
        """Return whether it came to its end."""
        command = [sys.executable, "-c", self._program, str(store), str(there)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None and process.stderr is not None
            assert process.stdout.readline() == "ready\n", process.stderr.read()
            began = time.monotonic()
            if kill:
                time.sleep(self._random.uniform(0, self.seconds))  # the moment of death, not a wait for something
                process.kill()
            finished = process.stdout.read() == "done\n"
            assert kill or finished, process.stderr.read()
        self.seconds = self.seconds if kill else time.monotonic() - began
        return finished


def times(few: int = FEW, many: int = MANY) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("kills", [few, pytest.param(many, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])


@times()
def test_a_killed_import_is_finished_by_the_next(kills: int, tmp_path: Path, mlflow_database: Path) -> None:
    source = tmp_path / "source" / "mlflow.db"
    source.parent.mkdir()
    shutil.copytree(mlflow_database.parent / "mlruns", source.parent / "mlruns")
    with sqlite3.connect(mlflow_database) as genuine, sqlite3.connect(source) as copy:
        genuine.backup(copy)
        copy.execute("UPDATE runs SET artifact_uri = replace(artifact_uri, ?, ?)", (str(mlflow_database.parent), str(source.parent)))
        ((run_id,),) = copy.execute("SELECT run_uuid FROM runs WHERE name = 'first'")
        copy.executemany("INSERT INTO metrics VALUES ('long', ?, ?, ?, ?, 0)", [(i / 7, i, run_id, i) for i in range(60_000)])
    killer = Killer("import", seed=kills)
    killer.run(tmp_path / "whole" / "store.db", source, kill=False)
    expected, expected_files = _of(tmp_path / "whole" / "store.db")
    for number in range(kills):
        path = tmp_path / f"store{number}" / "store.db"
        killer.run(path, source, kill=True)
        killer.run(path, source, kill=False)
        assert _of(path) == (expected, expected_files), f"kill {number}"
        shutil.rmtree(path.parent)


def _of(path: Path) -> tuple[object, object]:
    store = SqlStore.in_file(path)
    found = content(store), files(path.parent / "artifacts")
    store.close()
    return found


@times()
@pytest.mark.parametrize(("kind", "name"), [("export files", "out"), ("export mlflow", "out.db")])
def test_a_killed_export_shows_nothing_or_all_and_is_finished_by_the_next(kills: int, kind: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / "own" / "store.db"
    _fill(path, runs=30, points=1000)
    killer = Killer(kind, seed=kills)
    killer.run(path, tmp_path / "whole" / name, kill=False)
    expected = sorted(files(tmp_path / "whole").keys())
    for number in range(kills):
        folder = tmp_path / f"out{number}"
        finished = killer.run(path, folder / name, kill=True)
        seen = [file for file in files(folder) if not file.startswith(".")] if folder.exists() else []
        shown = (folder / name).exists()
        assert shown or not finished
        assert not shown or sorted(seen) == expected, f"kill {number}: shown in part"
        killer.run(path, folder / name, kill=False)
        assert sorted(files(folder)) == expected, f"kill {number}"
        shutil.rmtree(folder)


@times()
def test_a_killed_purge_leaves_every_run_whole_or_gone_and_is_finished_by_the_next(kills: int, tmp_path: Path) -> None:
    template = tmp_path / "template"
    kept, gone = _fill(template / "store.db", runs=120, points=200, delete=True)
    killer = Killer("gc", seed=kills)
    shutil.copytree(template, tmp_path / "whole")
    killer.run(tmp_path / "whole" / "store.db", Path("unused"), kill=False)
    expected = _of(tmp_path / "whole" / "store.db")
    for number in range(kills):
        folder = tmp_path / f"store{number}"
        shutil.copytree(template, folder)
        killer.run(folder / "store.db", Path("unused"), kill=True)
        store = SqlStore.in_file(folder / "store.db")
        for run_id in (*kept, *gone):
            _assert_whole_or_gone(store, folder, run_id, may_be_gone=run_id in gone)
        store.close()
        killer.run(folder / "store.db", Path("unused"), kill=False)
        assert _of(folder / "store.db") == expected, f"kill {number}"
        shutil.rmtree(folder)


def _fill(path: Path, *, runs: int, points: int, delete: bool = False) -> tuple[list[str], list[str]]:
    """Make runs with points and files; with `delete` two thirds are deleted. Return those that stay, and those that go."""
    store = SqlStore.in_file(path, durability="normal")
    made: tuple[list[str], list[str]] = ([], [])
    for number in range(runs):
        run = store.create_run("0", name=f"r{number}", tags={"n": str(number)})
        store.log_batch(
            run.run_id, metrics=[Metric(key="m", value=float(i), timestamp=i, step=i) for i in range(points)], params={"p": "1"}
        )
        store.write_artifact(run.run_id, "a/b.txt", io.BytesIO(os.urandom(2000)))
        store.update_run(run.run_id, status=RunStatus.FINISHED)
        goes = delete and number % 3 != 0
        if goes:
            store.update_run(run.run_id, lifecycle_stage=LifecycleStage.DELETED)
        made[goes].append(run.run_id)
    store.close()
    return made


def _assert_whole_or_gone(store: SqlStore, folder: Path, run_id: str, *, may_be_gone: bool) -> None:
    try:
        run = store.get_run(run_id)
    except NotFound:
        assert may_be_gone, run_id
        with store.database.read() as c:
            noted = c.execute(purged_files.select().where(purged_files.c.owner_id == run_id)).first()
        place = next(folder.glob(f"artifacts/*/{run_id}/artifacts/a/b.txt"), None)
        assert noted is not None or place is None, f"{run_id} left a file that nobody knows of"
        return
    assert len(store.metric_history(run_id, "m").items) == 200
    assert run.params == {"p": "1"}
    assert len(b"".join(store.read_artifact(run_id, "a/b.txt"))) == 2000
