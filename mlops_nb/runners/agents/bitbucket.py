"""Bitbucket's agent (a container) as the work of a machine with docker.

Bitbucket has no interface that says whether it has a step: that is seen by the containers of steps, which carry the pipeline in
their environment. The agent's OAuth secret goes to docker in a variable, not on a command line.

Nothing makes it take no more steps while it has one: it is ended when it has none. One that it takes in the moment between,
also of a `--single` runner, is done as well, and never cut off.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
import signal
import subprocess
import threading
from pathlib import Path

from mlops_nb.errors import InvalidInput, MlopsError
from mlops_nb.forges.runners import ForgeJob
from mlops_nb.runners.agents.enrolment import Enrolment
from mlops_nb.runners.agents.forge_work import ForgeWork, Look, Session
from mlops_nb.runners.agents.processes import AgentProcess, clean_environment

_PIPELINE = "BITBUCKET_PIPELINE_UUID"
_SECONDS = 30.0
_LOOK_SECONDS = 0.5
_DIGEST = re.compile(r"\S+@sha256:[0-9a-f]{64}")


class BitbucketWork(ForgeWork):
    """Bitbucket's agent; see `ForgeWork`."""

    _image = ""
    _container = ""
    _work = Path()

    def prepare(self) -> None:
        if not shutil.which("docker", path=self.environment.get("PATH")):
            raise InvalidInput("Bitbucket's runner is a container, and docker is not on this machine.", hint="Install docker.")
        self._image = self.enrolment.image
        if not _DIGEST.fullmatch(self._image):  # what was pulled is what runs, and the log says which that was
            self._docker("pull", "--quiet", self._image, seconds=600.0)
            found = self._docker("image", "inspect", "--format", "{{json .RepoDigests}}", self._image)
            digests = json.loads(found or "null") or []
            self._image = str(digests[0]) if digests else self._image
        self.tell(f"Bitbucket's runner is {self._image}.")

    def open(self, registration: Enrolment, folder: Path) -> AgentProcess:
        self._container, self._work = f"mlops-nb-{secrets.token_hex(6)}", folder / "work"
        self._work.mkdir()
        self._last = Look()
        self._watching = threading.Event()
        given = {
            "ACCOUNT_UUID": registration.facts.get("account_uuid", ""),
            "RUNNER_UUID": registration.facts.get("runner_uuid", ""),
            "OAUTH_CLIENT_ID": registration.facts.get("oauth_client_id", ""),
            "OAUTH_CLIENT_SECRET": registration.secret,
            "WORKING_DIRECTORY": str(self._work),
            "RUNTIME_PREREQUISITES_ENABLED": "true",
        }
        if registration.facts.get("repository_uuid"):
            given["REPOSITORY_UUID"] = registration.facts["repository_uuid"]
        volumes = [f"{self._work}:{self._work}", "/var/run/docker.sock:/var/run/docker.sock"]
        volumes.append("/var/lib/docker/containers:/var/lib/docker/containers:ro")
        command = ["docker", "run", "--rm", "--name", self._container]
        command += [word for name in given for word in ("--env", name)]
        command += [word for volume in volumes for word in ("--volume", volume)]
        environment = {**clean_environment(self.environment), **given}
        made = AgentProcess([*command, self._image], folder, environment, user="", output=self.tell, hidden=registration.secret)
        threading.Thread(target=self._watch, args=(made, self._watching), name="agent-steps", daemon=True).start()
        return made

    def _watch(self, process: AgentProcess, until: threading.Event) -> None:
        """Look for containers of steps, again and again: docker is too slow to be asked by the machine's loop."""
        while process.is_alive and not until.is_set():
            try:
                job = self._step()
            except MlopsError as error:
                self.tell(f"Docker cannot say what runs: {error.message}")
            else:
                begun = self._last.begun + int(job is not None and (self._last.job is None or self._last.job.id != job.id))
                self._last = Look(busy=job is not None, job=job or self._last.job, begun=begun)
            until.wait(_LOOK_SECONDS)

    def _step(self) -> ForgeJob | None:
        """Return the step that a container of this machine belongs to, if there is one beside the agent's own."""
        listed = self._docker("ps", "--quiet", "--no-trunc").split()
        if not listed:
            return None
        for container in json.loads(self._docker("inspect", *listed, may_fail=True) or "[]"):
            facts = dict(one.partition("=")[::2] for one in container.get("Config", {}).get("Env") or ())
            if facts.get(_PIPELINE) and container.get("Name", "").lstrip("/") != self._container:
                number, repository = facts.get("BITBUCKET_BUILD_NUMBER", ""), facts.get("BITBUCKET_REPO_FULL_NAME", "")
                step = facts.get("BITBUCKET_STEP_UUID") or facts[_PIPELINE]
                return ForgeJob(id=step[:100], run=facts[_PIPELINE][:100], name=f"pipeline {number[:20]}", repository=repository[:200])
        return None

    def look(self, session: Session) -> Look:
        seen = self._last
        return seen if session.process.is_alive else Look(begun=seen.begun)

    def no_more(self, session: Session) -> None:
        """Wait until there is no step, then end the agent: Bitbucket's takes no word that it shall have no more."""
        while session.process.is_alive and not self._stopping:
            if self._step() is None:
                self._halt(session)
                return
            threading.Event().wait(_LOOK_SECONDS)

    def cancel(self, session: Session) -> None:
        self._halt(session)

    def close(self, session: Session) -> None:
        self._watching.set()
        self._docker("rm", "--force", self._container, may_fail=True)
        super().close(session)

    def _halt(self, session: Session) -> None:
        self._docker("stop", "--time", "10", self._container, may_fail=True)
        session.process.send(signal.SIGTERM)

    def _docker(self, *arguments: str, seconds: float = _SECONDS, may_fail: bool = False) -> str:
        environment = clean_environment(self.environment)
        try:
            done = subprocess.run(
                ["docker", *arguments],
                env=environment,
                capture_output=True,
                text=True,
                timeout=seconds,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            if may_fail:
                return ""
            raise MlopsError(f"docker {arguments[0]} failed: {error}", hint="Does docker run on this machine?") from error
        if done.returncode and not may_fail:
            raise MlopsError(f"docker {arguments[0]} failed: {done.stderr.strip()[-500:]}", hint="Does docker run on this machine?")
        return done.stdout
