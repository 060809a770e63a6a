"""A team's server of several processes: nothing is lost and nothing doubled, whichever of them dies."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from mlops_nb.core.records import Metric
from mlops_nb.store.rest import RestStore
from tests.postgres import needs_postgres
from tests.team import TOKEN, TeamProcess, environment

StartTeam = Callable[..., TeamProcess]
CLIENTS = 8
STEPS = 60

# A client in a process of its own: it sends each piece until it is acknowledged, as a shipper does, and says how many were.
CLIENT = """
import sys, time
from mlops_nb.core.events import MetricLogged, RunStarted
from mlops_nb.errors import StoreError
from mlops_nb.store.rest import RestStore

url, token, run_id, number, steps = sys.argv[1:]
store = RestStore(url, token=token)

def deliver(events):
    deadline = time.monotonic() + 60
    while True:
        try:
            return store.ingest(run_id, "client" + number, events)
        except StoreError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)

for step in range(int(steps)):
    deliver([MetricLogged(seq=2 * step + i + 1, ts=step, key="m%s.%d" % (number, i), value=step / 7, step=step) for i in range(2)])
    print(step, flush=True)
"""


def test_every_client_finds_all_it_has_logged_once(start_team: StartTeam, tmp_path: Path) -> None:
    server = start_team("--workers", "2", "--backend-store-uri", f"sqlite:///{tmp_path}/store.db")
    log_from_many(server, tmp_path)


@needs_postgres
def test_every_client_finds_all_it_has_logged_once_on_postgresql(start_team: StartTeam, postgres: Any, tmp_path: Path) -> None:
    server = start_team(
        "--workers", "4", "--backend-store-uri", postgres.new_database(), "--artifacts-destination", str(tmp_path / "files")
    )
    assert len(server.workers()) == 4
    log_from_many(server, tmp_path)


def test_a_process_that_is_killed_is_replaced_and_nothing_acknowledged_is_lost(start_team: StartTeam, tmp_path: Path) -> None:
    server = start_team("--workers", "2", "--backend-store-uri", f"sqlite:///{tmp_path}/store.db")
    log_from_many(server, tmp_path, kill=2)


@needs_postgres
def test_a_process_that_is_killed_is_replaced_on_postgresql(start_team: StartTeam, postgres: Any, tmp_path: Path) -> None:
    server = start_team(
        "--workers", "4", "--backend-store-uri", postgres.new_database(), "--artifacts-destination", str(tmp_path / "files")
    )
    log_from_many(server, tmp_path, kill=3)


def log_from_many(server: TeamProcess, folder: Path, *, kill: int = 0) -> None:
    """Log from many processes at once, kill some of the server's meanwhile, and compare what is there."""
    store = RestStore(server.url, token=TOKEN)
    run = store.create_run("0")
    clients = [
        subprocess.Popen(
            [sys.executable, "-c", CLIENT, server.url, TOKEN, run.run_id, str(number), str(STEPS)],
            env=environment(folder),
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(CLIENTS)
    ]
    try:
        if kill:
            kill_one_after_another(server, clients[0], kill)
        for client in clients:
            client.communicate(timeout=120)
    finally:
        for client in clients:
            client.kill()
            client.wait()
    assert [client.returncode for client in clients] == [0] * CLIENTS
    found = {series.key: series.total for series in store.series(run.run_id)}
    assert found == {f"m{number}.{i}": STEPS for number in range(CLIENTS) for i in range(2)}
    for key in found:
        history = store.metric_history(run.run_id, key).items
        assert history == [Metric(key=key, value=step / 7, timestamp=step, step=step) for step in range(STEPS)]
    store.close()


def kill_one_after_another(server: TeamProcess, client: subprocess.Popen[str], number: int) -> None:
    """Kill processes of the server while a client logs, each when the one before has been replaced."""
    assert client.stdout is not None
    size = len(server.workers())
    for _ in range(number):
        assert client.stdout.readline(), "the client is at work"
        victim = server.workers()[0]
        victim.kill()
        wait_until(lambda victim=victim: victim not in server.workers() and len(server.workers()) == size)


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def counted(server: TeamProcess, name: str) -> float:
    text = server.request("GET", "/metrics").text
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name))


@pytest.mark.parametrize("folder", [None, "figures"])
def test_figures_are_those_of_all_processes_even_of_one_that_died(start_team: StartTeam, tmp_path: Path, folder: str | None) -> None:
    option = "--expose-prometheus" + (f"={tmp_path / folder}" if folder else "")
    server = start_team("--workers", "2", option)
    name = 'mlops_nb_requests_total{operation="status",status="2xx"}'
    # Each request comes on a connection of its own, which either process may take.
    for _ in range(20):
        assert server.request("GET", "/api/v1/status").status_code == 200
    assert counted(server, name) == 20
    victim = server.workers()[0]
    with socket.create_connection(("127.0.0.1", urlsplit(server.url).port or 0)):
        victim.kill()
        wait_until(lambda: victim not in server.workers() and len(server.workers()) == 2)
    wait_until(lambda: "startup complete" in server.log.rpartition("is replaced")[2])
    assert counted(server, name) == 20
    assert counted(server, "mlops_nb_requests_in_flight") == 1, "that of the question itself"


def test_when_the_supervisor_is_killed_its_processes_end_too(start_team: StartTeam) -> None:
    server = start_team("--workers", "2")
    workers = server.workers()
    assert len(workers) == 2
    server.process.kill()
    server.process.wait(10)
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert alive == []


def test_told_to_stop_all_processes_end(start_team: StartTeam) -> None:
    server = start_team("--workers", "2", "--expose-prometheus")
    workers = server.workers()
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(30) == 0
    assert psutil.wait_procs(workers, timeout=5)[1] == []
    assert "Traceback" not in server.log


_HASTY = """
import os, signal, threading, time
from mlops_nb.api.supervisor import Supervisor

class Hasty(Supervisor):
    def _begin(self):
        os.kill(os.getpid(), signal.SIGTERM)  # it comes before the process has handlers of its own
        super()._begin()

supervisor = Hasty(lambda lifeline: os.read(lifeline, 1), 1, patience=60)
threading.Thread(target=lambda: (time.sleep(1), os.kill(os.getpid(), signal.SIGTERM)), daemon=True).start()
started = time.monotonic()
supervisor.run()
print(time.monotonic() - started)
"""


def test_a_process_that_is_told_to_end_as_it_starts_ends(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _HASTY], env=environment(tmp_path), capture_output=True, text=True, timeout=100, check=True
    )
    assert float(ended.stdout) < 30


def test_processes_that_die_as_soon_as_they_start_end_the_server_with_the_reason(start_team: StartTeam) -> None:
    server = start_team("--workers", "2")
    deadline = time.monotonic() + 60
    while server.process.poll() is None:
        assert time.monotonic() < deadline
        for worker in server.workers():
            worker.kill()
        time.sleep(0.02)
    assert server.process.returncode == 1
    assert "die as soon as they start" in server.log.splitlines()[-1]
    assert "Traceback" not in server.log
