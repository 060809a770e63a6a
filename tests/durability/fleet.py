"""Writers in processes of their own against a server that may die, and reading back what it kept."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import requests

from tests.durability.oracle import Found, Log, Point, bits_of, read_log

ROOT = Path(__file__).parent.parent.parent


class Server(Protocol):
    """What `JupyterProcess` and `TeamProcess` have in common."""

    process: subprocess.Popen[bytes]
    mount: str

    def request(self, method: str, path: str, **kwargs: Any) -> requests.Response: ...

    @property
    def log(self) -> str: ...


def fixed_port(chance: random.Random) -> int:
    """Return a free port that no client is given as its own: one that asks a dead server could be connected to itself."""
    while True:
        port = chance.randrange(20_000, 32_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def wait_until(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Wait for a condition; say what did not come true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"after {seconds} s: {what}"
        time.sleep(0.02)


class Fleet:
    """Clients of one server, each with a run of its own and one that they share.

    Args:
        server: For making the runs; the clients find later ones at the same address.
        folder: For the side logs.
    """

    def __init__(self, server: Server, token: str, folder: Path, seed: int, clients: int, *, size: int = 100) -> None:
        self.seed, self.size = seed, size
        self._folder = folder
        self._parts = urlsplit(server.mount)
        self._token = token
        self._stop = folder / "stop"
        self.runs = [_new_run(server) for _ in range(clients + 1)]
        self._sides = [folder / f"side-{client}" for client in range(clients)]
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, *, batches: int = 10**9) -> None:
        """Start the clients; they go on until `stop`, or until each has sent so many batches."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        for client, side in enumerate(self._sides):
            settings = {
                "host": self._parts.hostname,
                "port": self._parts.port,
                "prefix": self._parts.path.rstrip("/"),
                "token": self._token,
                "seed": self.seed,
                "client": client,
                "run": self.runs[client],
                "shared": self.runs[-1],
                "side": str(side),
                "stop": str(self._stop),
                "batches": batches,
                "size": self.size,
            }
            command = [sys.executable, "-m", "tests.durability.writer", json.dumps(settings)]
            self._processes.append(subprocess.Popen(command, env=environment, cwd=self._folder))

    def last_acknowledged(self) -> float:
        """Return when the last acknowledgement came, by the monotonic clock; 0 before the first."""
        return max(map(_last_acknowledged, self._sides))

    def refusals(self) -> Counter[str]:
        """Return the answers so far that asked to send a batch again."""
        return sum((log.refused for log in self.logs()), Counter())

    def stop(self) -> None:
        """Let the clients finish what they are at."""
        self._stop.touch()
        self.wait(150)

    def wait(self, seconds: float) -> None:
        """Wait for the clients to end."""
        deadline = time.monotonic() + seconds
        try:
            for process in self._processes:
                assert process.wait(max(0.1, deadline - time.monotonic())) == 0
        finally:
            self.end()

    def end(self) -> None:
        """End the clients, whatever they do."""
        for process in self._processes:
            if process.poll() is None:
                process.kill()
                process.wait()

    def logs(self) -> list[Log]:
        return [read_log(side) if side.exists() else Log() for side in self._sides]

    def found(self, server: Server) -> list[Found]:
        """Return what a server answers about the runs."""
        return [found(server, run_id) for run_id in self.runs]


def _last_acknowledged(side: Path) -> float:
    if not side.exists():
        return 0.0
    with side.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 10_000))
        lines = file.read().split(b"\n")[:-1]
    return max((float(line.split()[2]) for line in lines if line.startswith(b"A ") and line.count(b" ") == 3), default=0.0)


def _new_run(server: Server) -> str:
    answer = server.request("POST", "/api/2.0/mlflow/runs/create", json={"experiment_id": "0"})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["run"]["info"]["run_id"])


def found(server: Server, run_id: str) -> Found:
    """Return what a server answers about a run."""
    answer = server.request("GET", f"/api/2.0/mlflow/runs/get?run_id={run_id}")
    assert answer.status_code == 200, answer.text
    data = answer.json()["run"]["data"]
    latest = {m["key"]: (int(m["step"]), int(m["timestamp"]), bits_of(float(m["value"]))) for m in data.get("metrics", [])}
    points: list[Point] = []
    for key in latest:
        history = server.request("GET", f"/api/2.0/mlflow/metrics/get-history?run_id={run_id}&metric_key={key}")
        assert history.status_code == 200, history.text
        points += [(key, int(m["step"]), int(m["timestamp"]), bits_of(float(m["value"]))) for m in history.json()["metrics"]]
    return Found(
        points=points,
        latest=latest,
        params={p["key"]: p["value"] for p in data.get("params", [])},
        tags={t["key"]: t["value"] for t in data.get("tags", [])},
    )
