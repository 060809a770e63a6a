"""What a new machine starts with: how it gets its secret, and its start-up script.

The forge's token and the cloud's keys stay here. The machine gets a ticket that it exchanges once at the server, over a
connection that it opens itself. Where no server can be reached from it, an object in a bucket takes the ticket's place, and
where there is none either, a secret that is itself good for one job only.
"""

from __future__ import annotations

import base64
import importlib.metadata
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

from mlops_nb.clouds.base import Note
from mlops_nb.core.runners import CloudName, Runner, RunnerRequest
from mlops_nb.errors import InvalidInput, MissingDependencyError, NotSupported
from mlops_nb.runners.startup.generating import Access, Installation, startup_script
from mlops_nb.store.runners import RunnerLedger

ENV_PACKAGE = "MLOPS_NB_RUNNER_PACKAGE"
ENV_INDEX = "MLOPS_NB_RUNNER_INDEX"
ENV_SERVER = "MLOPS_NB_SERVER_URL"
MAILBOX_SECONDS = 1800
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Enroller(Protocol):
    """Registers the agent of a runner at a forge; see `agents.registrar.ForgeRegistrar.enrol`."""

    def enrol(self, runner: Runner, note: Note) -> bytes:
        """Return what the agent starts with."""


class MachinePreparation:
    """See `base.Preparation`: an object serves one launch.

    Args:
        ledger: Keeps the tickets.
        enroller: Gives who registers agents at the place that a URL names.
        server: Where `/api/v1` begins as the machine sees it; "": it can reach none.
        mailbox: A bucket's folder, such as `s3://bucket/folder`, for machines that reach no server.
        environment: Says what is installed on machines.
    """

    def __init__(
        self,
        ledger: RunnerLedger,
        enroller: Callable[[str], Enroller],
        *,
        server: str = "",
        mailbox: str = "",
        environment: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._ledger = ledger
        self._enroller = enroller
        self._server = server
        self._mailbox = mailbox
        self._environment = os.environ if environment is None else environment
        self._clock = clock
        self._access = Access()
        self._letter: tuple[Any, str] | None = None

    def check(self, request: RunnerRequest) -> str:
        """Check that the secret of a runner has a way to its machine; return what people should know of it, or "".

        Raises:
            NotSupported: If it has none.
        """
        kind, cloud = request.agent.kind, request.cloud
        if self._server_for(cloud, ""):
            return ""
        if kind == "notebook":
            seen = f"{self._server} cannot be reached from there" if self._server else "there is none"
            raise NotSupported(
                f"A machine for notebooks on {cloud} records to your server, and {seen}.",
                hint=f"Use a tracking server with an https address: set {ENV_SERVER} (mlops-nb server), or open the project in JupyterLab "
                "for runners on this machine and by ssh.",
            )
        if kind != "github" and cloud != "kubernetes" and not self._mailbox:
            raise NotSupported(
                f"The token of a {kind} runner is good for more than one job, so it does not go into the start-up script.",
                hint=f"Give the machine a way to fetch it: a server ({ENV_SERVER}), or --mailbox s3://BUCKET/FOLDER",
            )
        if kind == "github" and not request.agent.single:
            return f"It serves one job: for a registration for the next one its machine has no server to ask ({ENV_SERVER})."
        return ""

    def enrol(self, runner: Runner, note: Note) -> Mapping[str, str]:
        """Register the agent, and leave its secret where the machine fetches it."""
        self.check(runner.request)
        server = self._server_for(runner.cloud, runner.id)
        agent = runner.request.agent
        secret = b"" if agent.kind == "notebook" else self._enroller(agent.repository).enrol(runner, note)
        if server:
            ticket = self._ledger.issue_ticket(runner.id, secret)
            if runner.cloud == "kubernetes":  # its Secret carries the ticket: whoever may read pods does not see it
                self._access = Access(server=server)
                return {"ticket": ticket}
            self._access = Access(server=server, ticket=ticket)
        elif runner.cloud == "kubernetes":
            return {"secret": base64.b64encode(secret).decode()}
        elif self._mailbox:
            self._access = Access(mailbox=self._posted(runner, secret))
        else:
            self._access = Access(secret=base64.b64encode(secret).decode())
        return {}

    def script(self, runner: Runner) -> str:
        """Return the start-up script for the offer and the hard stop that the runner has now."""
        return startup_script(runner, self._access, installation_for(runner, self._environment), now=self._clock())

    def forget(self) -> None:
        """Remove what lies in the mailbox."""
        if self._letter is not None:
            files, path = self._letter
            self._letter = None
            if files.exists(path):
                files.rm(path)

    def _server_for(self, cloud: CloudName, token: str) -> str:
        """Return the server's address as a machine reaches it, or ""."""
        named = self._environment.get(ENV_SERVER, "").rstrip("/")
        if named:
            return named
        if cloud == "local":
            return self._server
        if cloud == "ssh" and self._server:
            from mlops_nb.clouds.ssh import reachable

            return reachable(self._server, token)
        address = urlsplit(self._server)
        return self._server if address.scheme == "https" and address.hostname not in _LOOPBACK else ""

    def _posted(self, runner: Runner, secret: bytes) -> str:
        """Put the secret into the mailbox and return the address that it can be read at, for half an hour."""
        try:
            import fsspec

            files, folder = fsspec.core.url_to_fs(self._mailbox)
        except ImportError as error:
            raise MissingDependencyError(error.name or "fsspec", extra="s3", purpose=f"The mailbox {self._mailbox}") from None
        path = f"{folder.rstrip('/')}/{runner.id}"
        self._letter = (files, path)
        try:
            files.pipe_file(path, secret)
            address = files.sign(path, expiration=MAILBOX_SECONDS)
        except NotImplementedError:
            raise InvalidInput(f"{self._mailbox} is no place that gives signed addresses.", hint="Use s3://, gs:// or az://.") from None
        except OSError as error:
            raise InvalidInput(f"The mailbox {self._mailbox} cannot be written: {error}.", hint="Check the bucket and your keys.") from None
        return str(address)


def installation_for(runner: Runner, environment: Mapping[str, str]) -> Installation:
    """Return how mlops-nb gets onto the machine of a runner: this version, unless the environment names another package."""
    package = environment.get(ENV_PACKAGE, "")
    index = environment.get(ENV_INDEX, "")
    if package:
        return Installation(package=package, index=index)
    if runner.cloud == "local":
        return Installation(program=(sys.executable, "-m", "mlops_nb.cli"))
    if runner.cloud == "kubernetes" and runner.request.machine.image:
        return Installation()
    return Installation(package=f"mlops-nb=={importlib.metadata.version('mlops-nb')}", index=index)
