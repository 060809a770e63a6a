"""Real team servers, `mlops-nb server`, for the tests that need one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

ROOT = Path(__file__).parent.parent
TOKEN = "the-teams-token"
READ_TOKEN = "the-readers-token"


def environment(folder: Path) -> dict[str, str]:
    """Return an environment in which nothing of the machine's settings shows."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "MLOPS_NB_", "PROMETHEUS_"))}
    return {
        **kept,
        "HOME": str(folder),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "server_ext"), os.environ.get("PYTHONPATH", "")]),
    }


def command(*options: str) -> list[str]:
    return [sys.executable, "-m", "mlops_nb.cli", "server", *options]


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


class TeamProcess:
    """A team server in a process of its own, on a port that the system chose."""

    def __init__(self, folder: Path, *options: str, **variables: str) -> None:
        self.folder = folder
        (folder / "pyproject.toml").touch()
        self.output_file, self.log_file = folder / "output", folder / "log"
        port = () if "--port" in options else ("--port", "0")
        with self.output_file.open("wb") as output, self.log_file.open("wb") as log:
            self.process = subprocess.Popen(
                command(*port, *options), env=self.environment() | variables, cwd=folder, stdout=output, stderr=log
            )
        self.url = self.mount = self._wait_until_ready()

    def environment(self) -> dict[str, str]:
        return environment(self.folder)

    def _wait_until_ready(self) -> str:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"The server ended:\n{self.log}")
            if "MLFLOW_TRACKING_URI=" in self.output and self._answers(url := self.said("MLFLOW_TRACKING_URI")):
                return url
            time.sleep(0.05)
        self.process.kill()
        raise RuntimeError(f"The server did not start:\n{self.log}")

    def _answers(self, url: str) -> bool:
        try:
            return requests.get(url + "/health", timeout=10).status_code == 200
        except requests.ConnectionError:
            return False

    @property
    def output(self) -> str:
        return self.output_file.read_text()

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def said(self, name: str) -> str:
        """Return the value of a variable that the server told its user to set."""
        return self.output.partition(name + "=")[2].partition("\n")[0]

    def workers(self) -> list[psutil.Process]:
        """Return the processes that answer, of a server with several."""
        return [child for child in psutil.Process(self.process.pid).children() if _is_alive(child)]

    def request(self, method: str, path: str, *, token: str | None = TOKEN, scheme: str = "Bearer", **kwargs: Any) -> requests.Response:
        """Send a request; never follows a redirect."""
        headers = dict(kwargs.pop("headers", {}))
        if token is not None:
            headers["Authorization"] = f"{scheme} {token}"
        return requests.request(method, self.mount + path, headers=headers, timeout=60, allow_redirects=False, **kwargs)

    def stop(self) -> int:
        """End it as a service manager would, hard if it does not listen, and return its exit status."""
        self.process.terminate()
        try:
            return self.process.wait(40)
        except subprocess.TimeoutExpired:
            for child in psutil.Process(self.process.pid).children(recursive=True):
                child.kill()
            self.process.kill()
            return self.process.wait()


@pytest.fixture(scope="module")
def start_team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., TeamProcess]]:
    """A function that starts team servers, each in a new folder unless one is given; all end with the module's tests."""
    started: list[TeamProcess] = []

    def start(*options: str, folder: Path | None = None, **variables: str) -> TeamProcess:
        variables = {"MLOPS_NB_SERVER_TOKEN": TOKEN, "MLOPS_NB_SERVER_READ_TOKEN": READ_TOKEN} | variables
        server = TeamProcess(folder or tmp_path_factory.mktemp("team"), *options, **variables)
        started.append(server)
        return server

    yield start
    for server in started:
        if server.process.poll() is None:
            server.stop()


@pytest.fixture(scope="module")
def team(start_team: Callable[..., TeamProcess]) -> TeamProcess:
    """A server on an empty project, shared by the tests of a module."""
    return start_team("--expose-prometheus")
