"""What an agent starts with, as it travels to its machine: the registration, where it came from, and how jobs are executed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from mlops_nb.core.records import Record
from mlops_nb.errors import InvalidInput
from mlops_nb.forges.base import ForgeKind


class Binary(Record, frozen=True, kw_only=True):
    """An agent's program. `sha256` is that of the file at `url`, in lower-case hexadecimal digits."""

    version: str
    url: str
    sha256: str


class Enrolment(Record, frozen=True, kw_only=True):
    """All that a machine needs of a forge. It is a secret as a whole, and shows itself as such.

    Attributes:
        place: URL of the repository, organisation, enterprise, group or workspace.
        id, name: Of the registration.
        secret: JIT configuration (GitHub), authentication token (GitLab) or OAuth secret (Bitbucket).
        reusable: Whether the next job can have the same registration.
        facts: What else the agent is told: OAuth client, identifiers.
        binaries: The agent's program by architecture (`x64`, `arm64`), where the forge or the launcher names it.
        image: The agent's container image, where it comes as one.
    """

    kind: ForgeKind
    server_url: str
    place: str
    id: str
    name: str
    secret: str
    reusable: bool = False
    facts: Mapping[str, str] = {}
    single: bool = False
    executor: Literal["docker", "shell"] = "docker"
    docker_image: str = ""
    docker_volumes: Sequence[str] = ()
    binaries: Mapping[str, Binary] = {}
    image: str = ""

    def __repr__(self) -> str:
        return f"Enrolment(kind={self.kind!r}, place={self.place!r}, name={self.name!r}, …)"

    def encode(self) -> bytes:
        """Return it as JSON."""
        return msgspec.json.encode(self)

    @staticmethod
    def decode(secret: bytes) -> Enrolment:
        """Read what `encode` wrote.

        Raises:
            InvalidInput: If it is none; what it holds is not shown.
        """
        try:
            return msgspec.json.decode(secret, type=Enrolment)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise InvalidInput("What came for the agent is no registration.", hint="Launch the runner again.") from None
