"""Machines and other things of Azure as our records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlops_nb.clouds.base import Machine, MachinePhase
from mlops_nb.core.runners import Resource, ResourceKind

_PHASES: Mapping[str, MachinePhase] = {
    "PowerState/starting": "starting",
    "PowerState/running": "running",
    "PowerState/stopping": "stopping",
    "PowerState/stopped": "stopping",
    "PowerState/deallocating": "stopping",
    "PowerState/deallocated": "stopping",
}
_KINDS: Mapping[str, ResourceKind] = {
    "microsoft.compute/virtualmachines": "machine",
    "microsoft.compute/disks": "disk",
    "microsoft.network/networkinterfaces": "interface",
    "microsoft.network/publicipaddresses": "address",
    "microsoft.network/networksecuritygroups": "group",
    "microsoft.network/virtualnetworks": "network",
    "microsoft.devtestlab/schedules": "job",
    "microsoft.resources/resourcegroups": "group",
}


def machine_of(vm: Any, *, address: str = "") -> Machine:
    """Return a machine as Azure shows it, with its instance view where that was asked for."""
    statuses = [str(one.code) for one in (vm.instance_view.statuses or [])] if vm.instance_view else []
    power = next((code for code in statuses if code.startswith("PowerState/")), "")
    state = str(vm.provisioning_state or "")
    phase: MachinePhase = _PHASES.get(power, "unknown")
    if phase == "unknown" and state in ("Creating", "Updating", "Succeeded"):
        phase = "starting"
    if state == "Deleting":
        phase = "stopping"
    reason = ""
    if power == "PowerState/stopped":
        reason = "it is switched off, but not deallocated: it costs until it is removed"
    elif power == "PowerState/deallocated":
        reason = "it is deallocated; its disk is still there"
    elif state == "Failed":
        reason = "it could not be set up"
    created = getattr(vm, "time_created", None)
    resource = Resource(
        kind="machine",
        id=str(vm.id),
        region=str(vm.location or ""),
        tags=dict(vm.tags or {}),
        created=created.timestamp() if created else None,
        state=power.partition("/")[2] or state,
    )
    return Machine(resource=resource, phase=phase, reason=reason, address=address)


def resource_of(listed: Any) -> Resource:
    """Return anything that Azure lists."""
    created = getattr(listed, "created_time", None)
    return Resource(
        kind=_KINDS.get(str(listed.type or "Microsoft.Resources/resourceGroups").lower(), "group"),
        id=str(listed.id),
        region=str(listed.location or ""),
        tags=dict(listed.tags or {}),
        created=created.timestamp() if created else None,
        state=str(getattr(listed, "provisioning_state", None) or ""),
    )


def group_of(whole: str) -> str:
    """Return the resource group of an id; "": it names none."""
    parts = whole.strip("/").split("/")
    return parts[3] if len(parts) >= 4 and parts[2].lower() == "resourcegroups" else ""
