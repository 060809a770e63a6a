"""Machines of Compute Engine as our records, and how they ended."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from mlops_nb.clouds.base import CloudError, Machine, MachinePhase
from mlops_nb.clouds.gcp.bodies import described_tags
from mlops_nb.clouds.gcp.errors import NotThere
from mlops_nb.clouds.gcp.rest import Compute, last
from mlops_nb.core.runners import TAG_RUNNER, Resource

_PHASES: Mapping[str, MachinePhase] = {
    "PENDING": "starting",
    "PROVISIONING": "starting",
    "STAGING": "starting",
    "RUNNING": "running",
    "PENDING_STOP": "stopping",
    "STOPPING": "stopping",
    "STOPPED": "stopping",
    "TERMINATED": "stopping",
    "SUSPENDING": "stopping",
    "SUSPENDED": "stopping",
    "DEPROVISIONING": "stopping",
}
_ENDED = {
    "compute.instances.preempted": "preempted: Google Cloud has taken the spot machine back",
    "compute.instances.hostError": "the host failed",
    "compute.instances.terminateOnHostMaintenance": "ended for maintenance of the host",
    "delete": "deleted",
    "stop": "stopped",
}


def path_of(project: str, place: str, collection: str, name: str) -> str:
    """Return what a resource is asked for by: its path below `projects/`."""
    where = place if place == "global" else f"zones/{place}"
    return f"projects/{project}/{where}/{collection}/{name}"


def machine_of(project: str, listed: Mapping[str, Any]) -> Machine:
    """Return a machine as Compute Engine shows it."""
    status, zone = str(listed.get("status", "")), last(listed.get("zone", ""))
    faces = listed.get("networkInterfaces") or [{}]
    access = faces[0].get("accessConfigs") or [{}]
    resource = Resource(
        kind="machine",
        id=path_of(project, zone, "instances", str(listed["name"])),
        region=zone,
        tags=dict(listed.get("labels") or {}),
        created=time_of(listed),
        state=status,
    )
    reason = str(listed.get("statusMessage") or "")
    if status == "TERMINATED" and not reason:
        reason = "it is switched off; its disk is still there"
    return Machine(resource=resource, phase=_PHASES.get(status, "unknown"), reason=reason, address=str(access[0].get("natIP") or ""))


def disk_of(project: str, listed: Mapping[str, Any]) -> Resource:
    """Return a disk as Compute Engine shows it."""
    zone = last(listed.get("zone", ""))
    return Resource(
        kind="disk",
        id=path_of(project, zone, "disks", str(listed["name"])),
        region=zone,
        tags=dict(listed.get("labels") or {}),
        created=time_of(listed),
        state=str(listed.get("status", "")),
    )


def rule_of(project: str, listed: Mapping[str, Any]) -> Resource:
    """Return a firewall rule as Compute Engine shows it; its description has its tags."""
    return Resource(
        kind="group",
        id=path_of(project, "global", "firewalls", str(listed["name"])),
        region="global",
        tags=described_tags(listed.get("description")),
        created=time_of(listed),
    )


def time_of(listed: Mapping[str, Any]) -> float | None:
    """Return when something was made (s since 1970); None: not said."""
    try:
        return datetime.fromisoformat(str(listed.get("creationTimestamp", ""))).timestamp()
    except ValueError:
        return None


def looked_for(compute: Compute, machine: Resource) -> Machine | None:
    """Return the machine, also where it came up in another zone than it was first noted in; None: it is nowhere."""
    what = "Looking at the machine"
    try:
        return machine_of(compute.project, compute.call("GET", machine.id, what))
    except NotThere:
        return machine_named(compute, last(machine.id), machine.runner_id, what)


def machine_named(compute: Compute, name: str, runner: str, what: str) -> Machine | None:
    """Return the machine of a runner by its name, in whichever zone; None: there is none."""
    for page in compute.pages("aggregated/instances", what, filter=f'name = "{name}"'):
        for scope in (page.get("items") or {}).values():
            for listed in scope.get("instances") or []:
                if listed.get("name") == name and (listed.get("labels") or {}).get(TAG_RUNNER) == runner:
                    return machine_of(compute.project, listed)
    return None


def how_it_ended(compute: Compute, resource: Resource) -> str:
    """Return why a machine that is gone ended, in words; "" where the operations of its zone do not say it."""
    zone, name = resource.region, last(resource.id)
    if not zone:
        return ""
    try:
        page = compute.call(
            "GET", f"zones/{zone}/operations", f"Looking how '{name}' ended", filter=f'targetLink eq ".*/instances/{name}"', maxResults=50
        )
    except CloudError:  # a machine that is gone stays gone, whether its end can be told or not
        return ""
    of_it = [one for one in page.get("items") or [] if last(one.get("targetLink", "")) == name and one.get("operationType") != "insert"]
    of_it.sort(key=lambda one: str(one.get("insertTime", "")))
    kinds = [str(one.get("operationType", "")) for one in of_it]
    for kind in kinds:
        if kind.startswith("compute.instances."):
            return _ENDED.get(kind, kind)
    return _ENDED.get(kinds[-1], kinds[-1]) if kinds else ""
