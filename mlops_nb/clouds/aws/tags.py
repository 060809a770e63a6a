"""How our tags look in EC2, and how things that carry them become resources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from mlops_nb.clouds.base import Machine, MachinePhase
from mlops_nb.core.runners import TAG_INSTALLATION, TAG_RUNNER, Resource, ResourceKind

MOST_TAGS = 50
_PHASES: Mapping[str, MachinePhase] = {
    "pending": "starting",
    "running": "running",
    "shutting-down": "stopping",
    "stopping": "stopping",
    "stopped": "stopping",
    "terminated": "gone",
}


def written(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Return tags as EC2 takes them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def specified(tags: Mapping[str, str], *kinds: str) -> list[dict[str, Any]]:
    """Return the tags for what a create call makes of these kinds."""
    return [{"ResourceType": kind, "Tags": written(tags)} for kind in kinds]


def read(thing: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags of something that EC2 describes."""
    return {str(tag.get("Key", "")): str(tag.get("Value", "")) for tag in thing.get("Tags") or thing.get("TagSet") or ()}


def of_installation(installation: str) -> list[dict[str, Any]]:
    """Return the filter for all that an installation has."""
    return [{"Name": f"tag:{TAG_INSTALLATION}", "Values": [_literal(installation)]}]


def of_runner(installation: str, runner: str) -> list[dict[str, Any]]:
    """Return the filter for what a runner has."""
    return [*of_installation(installation), {"Name": f"tag:{TAG_RUNNER}", "Values": [_literal(runner)]}]


def _literal(value: str) -> str:
    # In EC2's filters * and ? stand for anything.
    return value.replace("\\", "\\\\").replace("*", "\\*").replace("?", "\\?")


def resource(kind: ResourceKind, id: str, region: str, thing: Mapping[str, Any], state: str, created: object = None) -> Resource:
    """Return something that EC2 describes as a resource."""
    seconds = created.timestamp() if isinstance(created, datetime) else None
    return Resource(kind=kind, id=id, region=region, tags=read(thing), created=seconds, state=state)


def machine_of(instance: Mapping[str, Any], region: str) -> Machine:
    """Return an instance that EC2 describes as a machine."""
    state = str(instance.get("State", {}).get("Name", ""))
    why = instance.get("StateReason") or {}
    return Machine(
        resource=resource("machine", str(instance["InstanceId"]), region, instance, state, instance.get("LaunchTime")),
        phase=_PHASES.get(state, "unknown"),
        reason=str(why.get("Message") or why.get("Code") or "") if state not in ("pending", "running") else "",
        address=str(instance.get("PublicIpAddress") or instance.get("PrivateIpAddress") or ""),
    )


def instances(reservations: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the instances of reservations."""
    return [instance for reservation in reservations for instance in reservation.get("Instances", ())]
