"""Servers that can be killed and started again at the same address."""

from __future__ import annotations

import random
import subprocess
import time
from pathlib import Path

from tests import team
from tests.conftest import TOKEN as JUPYTER_TOKEN
from tests.conftest import JupyterProcess
from tests.durability.fleet import Server, fixed_port

_VARIABLES = {"MLOPS_NB_SERVER_TOKEN": team.TOKEN}


def kill(server: Server) -> None:
    """End a server as a power cut of its process: it gets no chance to do anything."""
    server.process.kill()
    server.process.wait()


class TeamPlace:
    """Where `mlops-nb server` is started, on one store."""

    token = team.TOKEN

    def __init__(self, folder: Path, chance: random.Random, store_uri: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._options = ("--port", str(fixed_port(chance)), "--backend-store-uri", store_uri)

    def start(self) -> Server:
        return team.TeamProcess(self._folder, *self._options, **_VARIABLES)

    def start_and_kill(self, seconds: float) -> None:
        """Kill a server a moment after its start, most likely before it answers."""
        quiet = subprocess.DEVNULL
        variables = team.environment(self._folder) | _VARIABLES
        process = subprocess.Popen(team.command(*self._options), env=variables, cwd=self._folder, stdout=quiet, stderr=quiet)
        time.sleep(seconds)
        process.kill()
        process.wait()


class JupyterPlace:
    """Where a Jupyter server with the extension is started, on one project."""

    token = JUPYTER_TOKEN

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.project, self._home = folder / "project", folder / "home"
        self.project.mkdir(parents=True)
        (self.project / "pyproject.toml").touch()
        self._options = {"ServerApp.port": str(fixed_port(chance)), "ServerApp.port_retries": "0"}

    def start(self) -> Server:
        return JupyterProcess(self.project, self._home, self._options)
