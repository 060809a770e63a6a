"""A disk that fills up in mid-ingest: nothing acknowledged is lost, answers say what to do, and freed space is used at once."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from mlops_nb.core.events import RunStarted
from mlops_nb.errors import StoreFull
from mlops_nb.store.sql.checking import miscounts
from mlops_nb.store.sql.sqlite import sqlite_driver
from mlops_nb.store.sql.store import SqlStore
from tests.durability.figures import report, seed
from tests.durability.fleet import Fleet, wait_until
from tests.durability.oracle import judge
from tests.durability.servers import TeamPlace, kill


@contextlib.contextmanager
def _small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    if subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("this machine does not let tests mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _fill(path: Path) -> None:
    """Take all the space that is left."""
    block = b"x" * (1 << 16)
    with path.open("ab", buffering=0) as filler, contextlib.suppress(OSError):
        while True:
            filler.write(block)


def _refused_since(fleet: Fleet, known: int) -> int:
    return sum(fleet.refusals().values()) - known


@pytest.mark.parametrize("fills", [2, pytest.param(20, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
def test_a_server_goes_on_as_soon_as_its_full_disk_has_space_again(tmp_path: Path, fills: int) -> None:
    number = seed()
    chance = random.Random(number)
    waits: list[float] = []
    with _small_disk(tmp_path / "small", 64) as disk:
        path, filler = disk / "store.db", disk / "filler"
        place = TeamPlace(tmp_path / "team", chance, f"sqlite:///{path}")
        server = place.start()
        fleet = Fleet(server, place.token, tmp_path, number, 6)
        try:
            fleet.start()
            for _ in range(fills):
                known, started = sum(fleet.refusals().values()), time.monotonic()
                wait_until(lambda since=started: fleet.last_acknowledged() > since, 30, "nothing was acknowledged")  # type: ignore[misc]
                time.sleep(chance.uniform(0, 0.3))
                _fill(filler)
                wait_until(lambda before=known: _refused_since(fleet, before) >= 6, 30, "nothing was refused")  # type: ignore[misc]
                for run_id in fleet.runs:
                    assert server.request("GET", f"/api/2.0/mlflow/runs/get?run_id={run_id}").status_code == 200
                history = f"/api/2.0/mlflow/metrics/get-history?run_id={fleet.runs[0]}&metric_key=loss"
                assert server.request("GET", history).status_code == 200
                filler.unlink()
                freed = time.monotonic()
                wait_until(lambda since=freed: fleet.last_acknowledged() > since, 30, "nothing was acknowledged again")  # type: ignore[misc]
                waits.append(min(at for log in fleet.logs() for at in log.acknowledged_at if at > freed) - freed)
            fleet.stop()
            logs = fleet.logs()
            verdict = judge(number, logs, fleet.found(server))
            refusals = fleet.refusals()
        finally:
            fleet.end()
            kill(server)
        with contextlib.closing(sqlite_driver().connect(path)) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert miscounts(lambda query: database.execute(query).fetchall()) == []
    errors = [error for log in logs for error in log.errors]
    report(
        "full-disk",
        verdict.n,
        lost=verdict.lost,
        dup=verdict.dup,
        altered=verdict.altered,
        errors=len(errors),
        seconds=waits,
        seed=number,
        fills=fills,
        refused=sum(refusals.values()),
    )
    assert verdict.clean, verdict
    assert errors == []
    assert max(waits) <= 5
    for refusal in refusals:
        status, _, document = refusal.partition(" ")
        assert status == "507", refusal
        answer = json.loads(document)
        assert answer["error_code"] == "RESOURCE_EXHAUSTED"
        assert "store.db cannot be written: database or disk is full" in answer["message"] and "bytes are free" in answer["message"]
        assert "Free some space" in answer["hint"]


@pytest.mark.parametrize("cached_pages", [8000, 10], ids=["at the commit", "among the writes"])
def test_of_writes_that_share_a_commit_none_takes_effect_when_the_disk_fills_up(tmp_path: Path, cached_pages: int) -> None:
    with _small_disk(tmp_path / "small", 2) as disk:
        store = SqlStore.in_file(disk / "store.db")
        run = store.create_run("0", name="before").run_id
        sa.event.listen(store.database.engine(), "connect", lambda c, _: c.execute(f"PRAGMA cache_size={cached_pages}").close())
        store.database.engine().dispose()
        store.get_run(run)  # a new connection, while there is room for the index of the WAL
        _fill(disk / "filler")
        outcomes: list[str] = []
        with pytest.raises(StoreFull, match=r"store\.db.*bytes are free"), store.group():
            for i in range(200):
                try:
                    store.log_batch(run, tags={f"t{i}": "v" * 5000})
                    outcomes.append("done")
                except StoreFull:
                    outcomes.append("full")
        assert outcomes.count("full") == (0 if cached_pages == 8000 else 200 - outcomes.index("full"))
        assert store.get_run(run).tags.keys() == {"mlflow.runName"}
        (disk / "filler").unlink()
        store.log_batch(run, tags={"after": "it"})
        assert store.get_run(run).tags["after"] == "it"
        store.close()
        report("full-disk-group", len(outcomes), errors=0)


def test_a_new_store_on_a_full_disk_is_refused_with_the_cause_and_made_later(tmp_path: Path) -> None:
    with _small_disk(tmp_path / "small", 1) as disk:
        _fill(disk / "filler")
        with pytest.raises(StoreFull, match=r"store\.db"):
            SqlStore.in_file(disk / "state" / "store.db")
        (disk / "filler").unlink()
        store = SqlStore.in_file(disk / "state" / "store.db")
        store.ingest("1" * 32, "s", [RunStarted(seq=1, ts=1, experiment="e", name="n")])
        assert store.status().run_count == 1
        store.close()
