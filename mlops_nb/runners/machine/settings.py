"""What the agent of a machine is told at its start: a file that only root reads, and that is cleared of secrets when they were used."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

import msgspec

from mlops_nb.core.records import Record
from mlops_nb.core.runners import AgentWish, CloudName, Guards
from mlops_nb.errors import InvalidInput, NotFound

DEFAULT_PATH = Path("/etc/mlops-nb/agent.json")
ENV_SECRETS = "MLOPS_NB_AGENT_SECRETS"
"""A folder with a file for each secret of `SECRETS` that a cloud has brought by itself (a mounted Kubernetes Secret)."""


class AgentSettings(Record, frozen=True, kw_only=True):
    """The settings of an agent.

    Attributes:
        runner_id, name, cloud, agent, guards: Of the runner.
        max_seconds: Until its hard stop, from the machine's start on.
        server: Where `/api/v1` begins, as `https://host/mlops`; "" where there is no server.
        ticket: What is exchanged for the secret and the agent's token there, once.
        mailbox: URL with a signature where the secret lies instead, once.
        secret: The secret itself, where it can be used once only (GitHub's JIT configuration). Base64 or text, as the work knows it.
        folder: Where the agent works; "": a folder in the present one.
        switch: The folder of the dead-man's switch; "": there is none, or the environment names its files.
        user: Whose account executes jobs; "": the agent's own.
    """

    runner_id: str
    name: str
    cloud: CloudName
    agent: AgentWish = AgentWish()
    guards: Guards = Guards()
    max_seconds: float
    server: str = ""
    ticket: str = ""
    mailbox: str = ""
    secret: str = ""
    folder: str = ""
    switch: str = ""
    user: str = ""

    def __repr__(self) -> str:
        return f"AgentSettings(runner_id={self.runner_id!r}, name={self.name!r}, …)"

    def without_secrets(self) -> AgentSettings:
        """Return them without what is good for once."""
        return msgspec.structs.replace(self, **dict.fromkeys(SECRETS, ""))


SECRETS = ("ticket", "mailbox", "secret")


def read_settings(path: Path, environment: Mapping[str, str] | None = None) -> AgentSettings:
    """Return the settings of a file, with the secrets of the folder that `MLOPS_NB_AGENT_SECRETS` names.

    Raises:
        NotFound: If there is no such file.
        InvalidInput: If others could read its secrets, or it is not one of ours.
    """
    environment = os.environ if environment is None else environment
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read()
    except OSError as error:
        raise NotFound(f"The agent's settings {path} cannot be read: {error.strerror}.", hint="A runner's machine has them.") from None
    try:
        settings = msgspec.json.decode(text, type=AgentSettings)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        reason = str(error).partition(" - at")[0] if isinstance(error, msgspec.ValidationError) else "it is not JSON"
        raise InvalidInput(f"{path} does not hold the settings of an agent: {reason}.", hint="Launch the runner again.") from None
    if stat.S_IMODE(mode) & 0o077 and any(getattr(settings, name) for name in SECRETS):
        raise InvalidInput(f"Others can read the secrets in {path}.", hint=f"Run: chmod 600 {path}")
    folder = environment.get(ENV_SECRETS)
    if folder:
        brought = {name: (Path(folder) / name) for name in SECRETS}
        settings = msgspec.structs.replace(
            settings, **{name: file.read_text(encoding="utf-8").strip() for name, file in brought.items() if file.is_file()}
        )
    return settings


def remove_secrets(environment: Mapping[str, str]) -> None:
    """Remove the secrets that a cloud has brought: they were used, and jobs must not find them."""
    folder = environment.get(ENV_SECRETS)
    for name in SECRETS if folder else ():
        (Path(str(folder)) / name).unlink(missing_ok=True)


def write_settings(path: Path, settings: AgentSettings) -> None:
    """Write settings so that only their owner can read them, at once or not at all."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(settings))
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)  # noqa: PTH105
