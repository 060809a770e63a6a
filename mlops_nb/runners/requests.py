"""From the words of people, and of CML, to a request: what the command line and the magic share."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast, get_args

from mlops_nb.core.durations import seconds_of
from mlops_nb.core.runners import (
    LONGEST_HOURS,
    AgentWish,
    CloudName,
    Guards,
    MachineWish,
    RunnerRequest,
    check_runner_name,
)
from mlops_nb.errors import InvalidInput, did_you_mean

CLOUDS: tuple[str, ...] = get_args(CloudName)
_OTHER_NAMES = {"k8s": "kubernetes", "google": "gcp", "amazon": "aws", "here": "local"}
_NEVER = ("never", "-1", "infinity", "off")
_GPU = re.compile(r"([\w.-]+?)(?::(\d+))?")
_LABEL = re.compile(r"[\w.:/@+ -]{1,256}")


def new_name() -> str:
    """Return a name that no other runner has."""
    return f"runner-{secrets.token_hex(4)}"


def cloud_of(word: str) -> tuple[CloudName, str]:
    """Return the cloud that `--on` or `--cloud` names, and the host of `ssh:HOST`.

    Raises:
        InvalidInput: If there is no such cloud.
    """
    name, _, rest = word.partition(":")
    name = _OTHER_NAMES.get(name.lower(), name.lower())
    if name not in CLOUDS or (rest and name != "ssh"):
        raise InvalidInput(f"'{word[:80]}' is no place for a runner.", hint=did_you_mean(name, CLOUDS) or f"Use {', '.join(CLOUDS)}.")
    if name == "ssh" and (not rest or rest.startswith("-")):
        raise InvalidInput("ssh needs a host.", hint="Write ssh:HOST or ssh:USER@HOST:PORT.")
    return cast(CloudName, name), rest


def guards_of(*, idle: str | None = None, max_hours: float | None = None, max_cost: float | None = None) -> Guards:
    """Return the limits. CML's "never" is as long as the machine may live: there is no limit that can be off.

    Raises:
        InvalidInput: If one cannot be.
    """
    hours = Guards().max_hours if max_hours is None else max_hours
    if idle is None:
        seconds = Guards().idle
    elif idle.strip().lower() in _NEVER:
        seconds = max(hours, 0.0) * 3600
    else:
        seconds = seconds_of(idle)
    return Guards(idle=min(seconds, LONGEST_HOURS * 3600), max_hours=hours, max_cost=max_cost)


def gpu_of(word: str) -> tuple[str, int]:
    """Return a GPU's name and how many: `L4`, `a100:2`, `nogpu`.

    Raises:
        InvalidInput: If the word says neither.
    """
    match = _GPU.fullmatch(word.strip().lower())
    if match is None or match[2] == "0":
        raise InvalidInput(f"'{word[:80]}' is no GPU.", hint="Write T4, L4, A100:2, or nogpu.")
    name = "v100" if match[1] == "tesla" else match[1]
    return name, 0 if name == "nogpu" else int(match[2] or 1)


def labels_of(text: str) -> tuple[str, ...]:
    """Return labels that are separated by commas, each once.

    Raises:
        InvalidInput: If there is none, or one has characters that forges refuse.
    """
    found = tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    for word in found:
        if not _LABEL.fullmatch(word):
            raise InvalidInput(f"{word[:80]!r} is no label.", hint="Use letters, digits, and . : / @ + - _")
    if not found:
        raise InvalidInput("A runner needs a label by which jobs choose it.", hint="Write --labels gpu,cml")
    return found


def pairs_of(words: Iterable[str], option: str) -> dict[str, str]:
    """Return `KEY=VALUE` words as a mapping.

    Raises:
        InvalidInput: If one has no key or no equals sign.
    """
    found: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key.strip():
            raise InvalidInput(f"{option} {word[:80]!r} is no pair.", hint=f"Write {option} KEY=VALUE")
        found[key.strip()] = value
    return found


def script_of(text: str) -> str:
    """Return a start-up script that comes in base64, as CML's, as text.

    Raises:
        InvalidInput: If it is not base64 of UTF-8.
    """
    try:
        return base64.b64decode("".join(text.split()), validate=True).decode()
    except (binascii.Error, ValueError):
        raise InvalidInput(
            "The start-up script is not base64 of a text.", hint='Write --cloud-startup-script "$(base64 -w0 setup.sh)"'
        ) from None


def words_of(values: Sequence[str]) -> tuple[str, ...]:
    """Return the words of options that can be repeated and may hold several, separated by commas."""
    return tuple(word.strip() for value in values for word in value.split(",") if word.strip())


def request_of(
    *,
    name: str | None = None,
    on: str = "local",
    agent: AgentWish,
    idle: str | None = None,
    max_hours: float | None = None,
    max_cost: float | None = None,
    region: str = "",
    zones: Sequence[str] = (),
    types: Sequence[str] = (),
    gpu: str = "",
    cpus: float | None = None,
    memory_gb: float | None = None,
    disk_gb: int | None = None,
    spot: bool = False,
    spot_price: float | None = None,
    image: str = "",
    node_selector: Sequence[str] = (),
    metadata: Sequence[str] = (),
    permission_set: str = "",
    startup_script: str = "",
    ssh: bool = False,
    security_group: str = "",
    subnet: str = "",
    namespace: str = "",
) -> RunnerRequest:
    """Return the request that the words describe, checked as far as it can be without the cloud.

    Raises:
        InvalidInput: If something cannot be, or does not go together.
    """
    cloud, host = cloud_of(on)
    kind, count = gpu_of(gpu) if gpu else ("", 0)
    wish = MachineWish(
        region=host or region,
        zones=words_of(zones),
        types=words_of(types),
        gpu=kind,
        gpus=count,
        cpus=cpus,
        memory_gb=memory_gb,
        disk_gb=disk_gb,
        # CML's own default is -1: no limit but the list price.
        spot=spot,
        spot_price=spot_price if spot_price is not None and spot_price > 0 else None,
        image=image,
        node_selector=pairs_of(node_selector, "--cloud-kubernetes-node-selector"),
    )
    _check_together(cloud, wish, permission_set=permission_set, aws={"security group": security_group, "subnet": subnet}, ssh=ssh)
    return RunnerRequest(
        name=check_runner_name(name or new_name()),
        cloud=cloud,
        host=host,
        machine=wish,
        agent=agent,
        guards=guards_of(idle=idle, max_hours=max_hours, max_cost=max_cost),
        permission_set=permission_set,
        metadata=_metadata(metadata),
        startup_script=script_of(startup_script) if startup_script else "",
        ssh=ssh,
        security_group=security_group,
        subnet=subnet,
        namespace=namespace,
    )


def _metadata(words: Sequence[str]) -> dict[str, str]:
    found = pairs_of(words, "--cloud-metadata")
    ours = [key for key in found if key.startswith("mlops-nb-")]
    if ours:
        raise InvalidInput(f"The tag '{ours[0]}' is ours: by it leftovers are found.", hint="Give your tags other names.")
    return found


def _check_together(cloud: str, wish: MachineWish, *, permission_set: str, aws: Mapping[str, str], ssh: bool) -> None:
    if wish.spot_price is not None and not wish.spot:
        raise InvalidInput("A spot price was given, but no spot machine asked for.", hint="Add --cloud-spot.")
    refused: list[tuple[Any, str, tuple[str, ...]]] = [
        (wish.spot, "spot machines", ("aws", "gcp", "azure", "kubernetes")),
        (wish.spot_price, "a highest spot price", ("aws", "azure")),
        (wish.node_selector, "a node selector", ("kubernetes",)),
        (permission_set, "a permission set", ("aws", "gcp", "azure", "kubernetes")),
        (aws["security group"], "a security group of yours", ("aws", "azure", "gcp")),
        (aws["subnet"], "a subnet", ("aws", "azure", "gcp")),
        (ssh, "SSH", ("aws", "gcp", "azure")),
        (wish.types, "machine types", ("aws", "gcp", "azure", "kubernetes")),
    ]
    for value, words, places in refused:
        if value and cloud not in places:
            raise InvalidInput(f"On '{cloud}' there is no such thing as {words}.", hint=f"It is for {', '.join(places)}.")
