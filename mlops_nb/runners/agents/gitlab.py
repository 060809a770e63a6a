"""GitLab's agent (gitlab-runner) as the work of a machine, with its docker or shell executor.

Whether it has a job is told by its own metrics, which it serves on this machine alone; no line that it prints is interpreted. Its
token is in its configuration, which only its owner can read and which is removed at the end.
"""

from __future__ import annotations

import http.client
import json
import re
import shutil
import signal
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from mlops_nb.errors import InvalidInput
from mlops_nb.forges.runners import ForgeJob
from mlops_nb.runners.agents import binaries
from mlops_nb.runners.agents.enrolment import Enrolment
from mlops_nb.runners.agents.forge_work import ForgeWork, Look, Session
from mlops_nb.runners.agents.processes import AgentProcess, clean_environment

DEFAULT_IMAGE = "python:3.12"
_JOBS = re.compile(r"^gitlab_runner_jobs(?:\{[^}]*\})?\s+([0-9.e+]+)", re.MULTILINE)
_TOTAL = re.compile(r"^gitlab_runner_jobs_total(?:\{[^}]*\})?\s+([0-9.e+]+)", re.MULTILINE)
_URL = re.compile(r"\burl=(\S{1,500})")
_JOB_URL = re.compile(r"/(?P<path>[^?#]+)/-/jobs/(?P<id>\d+)$")
_UNHEARD_SECONDS = 30.0


class GitLabWork(ForgeWork):
    """GitLab's agent; see `ForgeWork`."""

    _program: Path
    _port = 0
    _last = Look()
    _heard = 0.0

    def prepare(self) -> None:
        if self.enrolment.executor == "docker" and not shutil.which("docker", path=self.environment.get("PATH")):
            raise InvalidInput(
                "The docker executor of GitLab needs docker, which is not on this machine.", hint="Install it, or use the shell."
            )
        there = self.environment.get(binaries.ENV_PROGRAM)
        if there:
            self._program = Path(there)
            if not self._program.is_file():
                raise InvalidInput(f"{there} is no program.", hint=f"{binaries.ENV_PROGRAM} is the gitlab-runner to use.")
            return
        architecture = binaries.architecture()
        if architecture not in self.enrolment.binaries:
            raise InvalidInput(f"No checksum of gitlab-runner for {architecture} was given.", hint=f"Set {binaries.ENV_GITLAB}.")
        self._program = binaries.install(self.enrolment.binaries[architecture], self.folder.parent / "programs", self.tell)

    def open(self, registration: Enrolment, folder: Path) -> AgentProcess:
        self._port, self._heard, self._last = _free_port(), time.monotonic(), Look()
        configuration = folder / "config.toml"
        configuration.touch(mode=0o600)
        configuration.write_text(_configuration(registration, folder, self._port, gpu=self._gpu()), encoding="utf-8")
        command = [str(self._program), "run", "--config", str(configuration), "--working-directory", str(folder)]
        if self.user and registration.executor == "shell":
            command += ["--user", self.user]
        environment = clean_environment(self.environment)
        return AgentProcess(command, folder, environment, user="", output=self.tell, hidden=registration.secret)

    def _gpu(self) -> bool:
        return bool(shutil.which("nvidia-smi", path=self.environment.get("PATH")))

    def look(self, session: Session) -> Look:
        """Ask the agent's metrics. While they are silent, what was last seen counts, for a time."""
        if not session.process.is_alive:
            return Look(begun=self._last.begun)
        text = _get(self._port, "/metrics")
        if text is None:
            silent = time.monotonic() - self._heard > _UNHEARD_SECONDS
            return self._last if not silent else Look(busy=True, begun=self._last.begun)  # rather too long than a job killed
        self._heard = time.monotonic()
        running, total = _sum(_JOBS, text), _sum(_TOTAL, text)
        begun = max(self._last.begun, int(total), int(running > 0))
        job = self._last.job if self._last.busy and running else (_job(_get(self._port, "/debug/jobs/list") or "") if running else None)
        self._last = Look(busy=running > 0, job=job, begun=begun)
        return self._last

    def no_more(self, session: Session) -> None:
        session.process.send(signal.SIGQUIT)  # it ends when its jobs have ended, and asks for no more

    def cancel(self, session: Session) -> None:
        session.process.send(signal.SIGTERM)


def _configuration(registration: Enrolment, folder: Path, port: int, *, gpu: bool) -> str:
    """Return the agent's configuration (TOML): one job at a time."""
    runner: dict[str, object] = {
        "name": registration.name,
        "url": registration.server_url,
        "token": registration.secret,
        "executor": registration.executor,
        "builds_dir": str(folder / "builds") if registration.executor == "shell" else "/builds",
        "request_concurrency": 1,
    }
    if registration.id.isdigit():
        runner["id"] = int(registration.id)
    if registration.executor == "shell":
        runner["shell"] = "bash"
    lines = ["concurrent = 1", "check_interval = 3", "shutdown_timeout = 30", f'listen_address = "127.0.0.1:{port}"', "", "[[runners]]"]
    lines += [f"  {name} = {_toml(value)}" for name, value in runner.items()]
    if registration.executor == "docker":
        docker: Mapping[str, object] = {
            "image": registration.docker_image or DEFAULT_IMAGE,
            "privileged": False,
            "volumes": ["/cache", *registration.docker_volumes],
            **({"gpus": "all"} if gpu else {}),
        }
        lines += ["  [runners.docker]", *(f"    {name} = {_toml(value)}" for name, value in docker.items())]
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    """Return a value as TOML has it; its strings are those of JSON, but for one character."""
    if isinstance(value, list):
        return f"[{', '.join(_toml(one) for one in value)}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _get(port: int, path: str) -> str | None:
    """Return what the agent answers on this machine; None while it does not."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.read(1 << 20).decode("utf-8", "replace") if answer.status == 200 else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _sum(pattern: re.Pattern[str], text: str) -> float:
    return sum(float(found) for found in pattern.findall(text))


def _job(listed: str) -> ForgeJob | None:
    url = _URL.search(listed)
    found = _JOB_URL.search(url[1]) if url else None
    if url is None or found is None:
        return None
    return ForgeJob(id=found["id"], run="", name=f"job {found['id']}", url=url[1])
