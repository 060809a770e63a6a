"""What is known of an endpoint: kept in a file so that it outlives the server, and told to whoever asks."""

from __future__ import annotations

import os
import re
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from mlops_nb.errors import InvalidInput
from mlops_nb.models.environments import MANAGERS
from mlops_nb.monitoring.bins import Reference
from mlops_nb.serving.limits import Limits

RECORD_FILE = "endpoint.json"
DEFAULT_TTL = 2 * 3600.0
LONGEST_TTL = 30 * 86_400.0
MAX_WORKERS = 16
ROUTES = ("json", "v2", "openai")
ACCELERATIONS = ("auto", "off", "require")
OUTPUT = "prediction"
"""What a prediction of one value a row is called where it is counted."""

KEPT_VERSIONS = 5

_NAME = re.compile(r"[a-z0-9A-Z](?:[\w.-]{0,62}[a-z0-9A-Z])?", re.ASCII)


class Role(StrEnum):
    """What a version does in an endpoint: all traffic but the canary's, a share of it, or a copy that nobody is answered from."""

    LIVE = "live"
    CANARY = "canary"
    SHADOW = "shadow"


class ServedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A version of an endpoint.

    Attributes:
        label: What people call it: the number in the registry, or the beginning of an id.
        model: Where it is from: `models:/…` or `runs:/…`, canonical.
        folder: The name of its copy below the folder of models, or a path where somebody served a folder.
        registered: The registered model that it is a version of, or "".
        run_id: The run that made it, or "".
        allow_unsafe: Somebody has said that it may run code on loading.
        env_manager: What makes its own environment, where the server's Python lacks what it requires; `local`: the server's.
        accelerate: Whether a conversion that is proven to answer the same answers in its place: `auto`, `off`; `require`: or nothing.
        reference: The data that it was trained on, where that is known.
    """

    label: str
    model: str
    folder: str
    registered: str = ""
    run_id: str = ""
    allow_unsafe: bool = False
    env_manager: str = "virtualenv"
    accelerate: str = "off"
    reference: Reference | None = None


class EndpointRecord(msgspec.Struct, kw_only=True):
    """An endpoint as it is kept.

    Attributes:
        name: Part of its address.
        created: When (s since 1970), and `expires`: when it ends; 0: never.
        live: What answers.
        canary, canary_share: What answers this share (0 to 1) of the requests.
        shadow, shadow_share: What gets a copy of this share.
        history: What was live before, the newest last.
        port: A port of its own on this machine; 0: none.
        token: Opens the port.
        reference: What requests are held against, where somebody has said it.
        gpu: Whether its models compute on a GPU.
    """

    name: str
    created: float
    expires: float = 0.0
    live: ServedModel
    canary: ServedModel | None = None
    canary_share: float = 0.0
    shadow: ServedModel | None = None
    shadow_share: float = 0.0
    history: list[ServedModel] = []
    workers: int = 1
    limits: Limits = Limits()
    port: int = 0
    token: str = ""
    reference: Reference | None = None
    gpu: bool = False

    def roles(self) -> list[tuple[Role, ServedModel, float]]:
        """Return the versions that are served, each with the share of the requests that it gets: of copies, a shadow."""
        given = [
            (Role.LIVE, self.live, 1.0 - self.canary_share if self.canary else 1.0),
            (Role.CANARY, self.canary, self.canary_share),
            (Role.SHADOW, self.shadow, self.shadow_share),
        ]
        return [(role, model, share) for role, model, share in given if model is not None]

    def versions(self) -> list[ServedModel]:
        """Return all versions whose files are needed."""
        return [one for one in (self.live, self.canary, self.shadow, *self.history) if one is not None]


class StartRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What shall be served.

    Attributes:
        name: Of the endpoint; one that is there gets a new version.
        model_uri: `models:/m-…`, `models:/NAME/VERSION`, `models:/NAME@ALIAS` or `runs:/RUN/PATH`.
        role: Of the new version.
        share: Of the requests, for a canary or a shadow.
        ttl: Seconds until the endpoint ends; None: two hours for a new one, as it is for another.
        workers: Processes.
        limits: Of each.
        port: A port of its own: 0 any, None none.
        register: Make it a version of the registered model of the endpoint's name, unless it is one of a registered model.
        allow_unsafe: Load it although it can run code on loading.
        env_manager: What makes the model's own environment, where the server's Python lacks what it requires: `virtualenv`, `uv`,
            `conda`; or `local`: it runs in the server's all the same.
        gpu: Whether the model computes on a GPU; None: as it is for an endpoint that is there, else not.
        accelerate: `auto`: what the model is converted to answers where it is proven to answer the same, faster; `require`: it is
            not served otherwise.
    """

    name: str
    model_uri: str
    role: Role = Role.LIVE
    share: float = 0.1
    ttl: float | None = None
    workers: int | None = None
    limits: Limits | None = None
    port: int | None = None
    register: bool = False
    allow_unsafe: bool = False
    env_manager: str = "virtualenv"
    gpu: bool | None = None
    accelerate: str = "off"

    def check(self) -> None:
        """Check what needs nothing but itself.

        Raises:
            InvalidInput: If a part cannot be right.
        """
        check_name(self.name)
        check_share(self.share)
        if self.ttl is not None:
            check_ttl(self.ttl)
        if self.workers is not None and not 1 <= self.workers <= MAX_WORKERS:
            raise InvalidInput(f"{self.workers} workers cannot be started.", hint=f"Give a number from 1 to {MAX_WORKERS}.")
        if self.port is not None and not 0 <= self.port <= 65_535:
            raise InvalidInput(f"{self.port} is no port.", hint="Give a number from 1 to 65535, or 0 for any.")
        if self.limits is not None:
            self.limits.check()
        if self.env_manager not in MANAGERS:
            raise InvalidInput(f"There is no environment manager '{self.env_manager[:40]}'.", hint=f"There are: {', '.join(MANAGERS)}.")
        check_acceleration(self.accelerate)


class VersionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A version of an endpoint, as it is now.

    `acceleration` says in words what came of accelerating it, and `engine` what computes: `model` or `onnxruntime`.
    """

    label: str
    model: str
    registered: str = ""
    state: str
    problem: str = ""
    share: float = 1.0
    restarts: int = 0
    pids: list[int] = []
    memory: int = 0
    platform: str = ""
    batching: str = ""
    load_ms: float = 0.0
    environment: str = ""
    acceleration: str = ""
    engine: str = ""


class Attempt(msgspec.Struct, kw_only=True):
    """The last start of a version: `state` is `starting`, `ready` or `failed`; `step` is what it is at."""

    number: int
    label: str
    role: Role
    state: str
    problem: str = ""
    step: str = ""


class Traffic(msgspec.Struct, frozen=True, kw_only=True):
    """The last minute, of what came through the server: times in milliseconds; and what shadows answered since the start.

    `errors` are answers from 500, `refused` those from 400: requests that were wrong themselves.
    """

    requests: int = 0
    errors: int = 0
    refused: int = 0
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    shadow_same: int = 0
    shadow_different: int = 0
    shadow_failed: int = 0


class EndpointInfo(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint as it is now. `path` is its address below the server's mount, `signature` and `example` are of what is live.

    `drift` is the verdict on its requests in a word, as `monitor.Drift` has it.
    """

    name: str
    state: str
    path: str
    created: float
    expires: float
    workers: int
    problem: str = ""
    live: VersionInfo | None = None
    canary: VersionInfo | None = None
    shadow: VersionInfo | None = None
    history: list[str] = []
    attempt: Attempt | None = None
    traffic: Traffic = Traffic()
    port: int = 0
    signature: dict[str, Any] | None = None
    example: Any = None
    limits: Limits = Limits()
    drift: str = ""


def input_names(signature: dict[str, Any] | None) -> list[str] | None:
    """Return the columns that a model takes; None where they have no names."""
    text = (signature or {}).get("inputs")
    fields = msgspec.json.decode(text) if isinstance(text, str) else []
    return [str(field["name"]) for field in fields if field.get("name") is not None] or None


def check_name(name: str) -> str:
    """Return the name of an endpoint.

    Raises:
        InvalidInput: If it cannot be part of an address.
    """
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"'{name[:80]}' can be no endpoint's name.",
            hint="Use at most 64 letters, digits, '-', '_' and '.', beginning with a letter or digit.",
        )
    return name


def check_route(route: str) -> str:
    """Return the word for a protocol.

    Raises:
        InvalidInput: If there is none such.
    """
    if route not in ROUTES:
        raise InvalidInput(f"There is no route '{route[:40]}'.", hint=f"There are: {', '.join(ROUTES)}.")
    return route


def check_acceleration(mode: str) -> str:
    """Return whether to accelerate.

    Raises:
        InvalidInput: If there is no such answer.
    """
    if mode not in ACCELERATIONS:
        raise InvalidInput(f"There is no acceleration '{mode[:40]}'.", hint=f"There are: {', '.join(ACCELERATIONS)}.")
    return mode


def check_share(share: float) -> float:
    """Return a share of the requests.

    Raises:
        InvalidInput: If it is none.
    """
    if not 0 <= share <= 1:
        raise InvalidInput(f"{share} is no share of the requests.", hint="Give 10% or 0.1.")
    return share


def check_ttl(seconds: float) -> float:
    """Return how long an endpoint may live.

    Raises:
        InvalidInput: If it is not allowed.
    """
    if not 1 <= seconds <= LONGEST_TTL:
        raise InvalidInput(
            f"An endpoint cannot live for {seconds} s.", hint="Give from 1 s to 30 days, such as 30m, 2h or 7d; extend it later."
        )
    return seconds


def save(folder: Path, record: EndpointRecord) -> None:
    """Keep an endpoint in its folder, whole or not at all."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = folder / f"{RECORD_FILE}.partial"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(record), indent=1))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(folder / RECORD_FILE)


def load(folder: Path) -> EndpointRecord | None:
    """Return the endpoint that is kept in a folder; None where there is none, or it cannot be read."""
    try:
        record = msgspec.json.decode((folder / RECORD_FILE).read_bytes(), type=EndpointRecord)
        check_name(record.name)
    except (OSError, msgspec.MsgspecError, InvalidInput):
        return None
    return record if record.name == folder.name else None
