"""Real Jupyter servers for the tests that need one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.postgres import postgres  # noqa: F401 - a fixture
from tests.team import start_team, team  # noqa: F401 - fixtures

ROOT = Path(__file__).parent.parent
TOKEN = "the-servers-token"
BASE_URL = "/user/me/"


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class JupyterProcess:
    """A Jupyter server with the extension, in a process of its own, at a path prefix, on a port that it chose."""

    def __init__(self, project: Path, home: Path, options: Mapping[str, str]) -> None:
        self.project = project
        self.home = home
        home.mkdir(parents=True, exist_ok=True)
        self.log_file = home / "server.log"
        settings = {
            "ServerApp.jpserver_extensions": "{'mlops_nb_server': True, 'jupyterlab': False, 'jupyter_lsp': False}",
            "ServerApp.root_dir": str(project),
            "ServerApp.base_url": BASE_URL,
            "ServerApp.port": "0",
            "IdentityProvider.token": TOKEN,
            **options,
        }
        command = [sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root", *(f"--{k}={v}" for k, v in settings.items())]
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(command, env=self.environment(), cwd=project, stdout=log, stderr=log)
        self.url = self._wait_until_ready()
        self.mount = self.url + "mlops"

    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "MLOPS_NB_", "JUPYTER_"))}
        path = os.pathsep.join([str(self.home), str(ROOT), str(ROOT / "server_ext"), os.environ.get("PYTHONPATH", "")])
        return {**kept, "HOME": str(self.home), "PYTHONPATH": path, "JUPYTER_RUNTIME_DIR": str(self.home / "runtime")}

    def _wait_until_ready(self) -> str:
        info = self.home / "runtime" / f"jpserver-{self.process.pid}.json"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"The server ended:\n{self.log}")
            # The file names the port that this very process has bound; it listens a moment later.
            if info.exists() and (text := info.read_text()).endswith("}") and _listens(port := json.loads(text)["port"]):
                return f"http://127.0.0.1:{port}{BASE_URL}"
            time.sleep(0.05)
        self.process.kill()
        raise RuntimeError(f"The server did not start:\n{self.log}")

    @property
    def local_token(self) -> str:
        """The token that the server tells to the kernels and programs of the same user."""
        record = self.home / "runtime" / f"mlops_nb-{self.process.pid}.json"
        return str(json.loads(record.read_text())["token"])

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def request(self, method: str, path: str, *, token: str | None = TOKEN, scheme: str = "Bearer", **kwargs: Any) -> requests.Response:
        """Send a request below the mount; never follows a redirect."""
        headers = dict(kwargs.pop("headers", {}))
        if token is not None:
            headers["Authorization"] = f"{scheme} {token}"
        return requests.request(method, self.mount + path, headers=headers, timeout=60, allow_redirects=False, **kwargs)

    def stop(self) -> None:
        """End it as a user would, and hard if it does not listen."""
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="module")
def start_jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., JupyterProcess]]:
    """A function that starts servers, each on a new empty project unless one is given; all end with the module's tests."""
    started: list[JupyterProcess] = []

    def start(project: Path | None = None, *, home: Path | None = None, **options: str) -> JupyterProcess:
        folder = project or tmp_path_factory.mktemp("project")
        (folder / "pyproject.toml").touch()
        server = JupyterProcess(folder, home or tmp_path_factory.mktemp("home"), {k.replace("__", "."): v for k, v in options.items()})
        started.append(server)
        return server

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="module")
def jupyter(start_jupyter: Callable[..., JupyterProcess]) -> JupyterProcess:
    """A server on an empty project, shared by the tests of a module."""
    return start_jupyter()
