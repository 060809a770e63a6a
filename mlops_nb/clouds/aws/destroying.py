"""How what a runner had in EC2 goes, in the order that AWS allows, and nothing that is not ours."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mlops_nb.clouds.aws import tags
from mlops_nb.clouds.aws.account import Account
from mlops_nb.clouds.aws.errors import GONE
from mlops_nb.clouds.aws.finding import listed
from mlops_nb.clouds.base import CloudError
from mlops_nb.core.runners import Resource, ResourceKind

AT_ONCE = 200
FRESH_SECONDS = 120.0
# Who uses another goes first: the machine, then what it held.
ORDER: tuple[ResourceKind, ...] = ("spot", "machine", "disk", "interface", "address", "group", "key")


class Destroying:
    """Removes resources of one account.

    Args:
        settle: How long something that was asked for a moment ago is looked for before it counts as never made (s): what AWS
            has made, it does not always show at once.
    """

    def __init__(self, account: Account, *, settle: float = 5.0) -> None:
        self._account = account
        self._settle = settle

    def all(self, resources: Sequence[Resource], installation: str) -> list[Resource]:
        """Remove these and return those that are still there.

        Raises:
            CloudError: If a region could not be served; what could be removed elsewhere was.
        """
        regions: dict[str, list[Resource]] = defaultdict(list)
        for resource in resources:
            regions[resource.region].append(resource)
        left: list[Resource] = []
        first: CloudError | None = None
        for region, wanted in regions.items():
            try:
                left += self._in_region(region, wanted, installation)
            except CloudError as error:
                first = first or error
        if first is not None:
            raise first
        return left

    def _in_region(self, region: str, wanted: Sequence[Resource], installation: str) -> list[Resource]:
        left: list[Resource] = []
        first: CloudError | None = None
        for kind in ORDER:
            try:
                there = self._ours(region, kind, [resource for resource in wanted if resource.kind == kind], installation)
                left += self._remove(region, kind, there)
            except CloudError as error:
                first = first or error
        if first is not None:
            raise first
        return left

    def _ours(self, region: str, kind: ResourceKind, wanted: Sequence[Resource], installation: str) -> list[Resource]:
        """Return what is there of these, as AWS has it now; what is not the installation's is left out."""
        if not wanted:
            return []
        there: dict[str, Resource] = {}
        ids = sorted({resource.id for resource in wanted if resource.id})
        for start in range(0, len(ids), AT_ONCE):
            for found in listed(
                self._account, region, kind, _by_id(kind, ids[start : start + AT_ONCE]), tags.of_installation(installation)
            ):
                there[found.id] = found
        for runner, newest in _possible(wanted).items():
            for found in self._look_for(region, kind, tags.of_runner(installation, runner), newest):
                there[found.id] = found
        return list(there.values())

    def _look_for(self, region: str, kind: ResourceKind, filters: list[dict[str, Any]], asked: float) -> list[Resource]:
        deadline = time.monotonic() + (self._settle if time.time() - asked < FRESH_SECONDS else 0)
        pause = 0.5
        while True:
            found = list(listed(self._account, region, kind, [], filters))
            if found or time.monotonic() >= deadline:
                return found
            self._account.sleep(min(pause, max(0.0, deadline - time.monotonic())))
            pause *= 2

    def _remove(self, region: str, kind: ResourceKind, there: Sequence[Resource]) -> list[Resource]:
        """Ask AWS to remove these and return those that are still there afterwards."""
        if kind == "machine":
            for start in range(0, len(there), AT_ONCE):
                self._terminate(region, [each.id for each in there[start : start + AT_ONCE] if each.state != "shutting-down"])
            # It takes AWS up to minutes; only then what a machine uses can go.
            return list(self._again(region, kind, there))
        return [resource for resource in there if not self._removed(region, kind, resource)]

    def _terminate(self, region: str, ids: Sequence[str]) -> None:
        if not ids:
            return
        try:
            self._account.call("ec2", region, "terminate_instances", InstanceIds=list(ids))
        except CloudError as error:
            if not GONE.match(error.provider_code):
                raise
            # One that is no longer known keeps AWS from ending the others.
            for each in ids if len(ids) > 1 else ():
                self._terminate(region, [each])

    def _again(self, region: str, kind: ResourceKind, there: Sequence[Resource]) -> Iterator[Resource]:
        ids = [each.id for each in there]
        for start in range(0, len(ids), AT_ONCE):
            yield from listed(self._account, region, kind, _by_id(kind, ids[start : start + AT_ONCE]), [])

    def _removed(self, region: str, kind: ResourceKind, resource: Resource) -> bool:
        """Remove one and tell whether it is gone; False while something uses it."""
        operation, parameter = _REMOVAL[kind]
        value: Any = [resource.id] if kind == "spot" else resource.id
        if kind in ("disk", "interface") and resource.state != "available":
            # It goes with its machine; one that is left behind becomes available.
            return False
        try:
            self._account.call("ec2", region, operation, **{parameter: value})
        except CloudError as error:
            if GONE.match(error.provider_code):
                return True
            if error.provider_code in (
                "DependencyViolation",
                "InvalidGroup.InUse",
                "VolumeInUse",
                "InvalidParameterValue",
                "IncorrectState",
            ):
                return False
            raise
        return True


_REMOVAL: Mapping[str, tuple[str, str]] = {
    "spot": ("cancel_spot_instance_requests", "SpotInstanceRequestIds"),
    "disk": ("delete_volume", "VolumeId"),
    "interface": ("delete_network_interface", "NetworkInterfaceId"),
    "address": ("release_address", "AllocationId"),
    "group": ("delete_security_group", "GroupId"),
    "key": ("delete_key_pair", "KeyName"),
}
_ID_FILTERS: Mapping[str, str] = {
    "spot": "spot-instance-request-id",
    "machine": "instance-id",
    "disk": "volume-id",
    "interface": "network-interface-id",
    "address": "allocation-id",
    "group": "group-id",
    "key": "key-name",
}


def _by_id(kind: ResourceKind, ids: Sequence[str]) -> list[dict[str, Any]]:
    # As a filter, not as ids: one that is not there is then no error.
    return [{"Name": _ID_FILTERS[kind], "Values": list(ids)}]


def _possible(wanted: Sequence[Resource]) -> Mapping[str, float]:
    """Return the runners of which something was noted before its id was known, and when it was last asked for."""
    found: dict[str, float] = {}
    for resource in wanted:
        if not resource.id and resource.runner_id:
            found[resource.runner_id] = max(found.get(resource.runner_id, 0.0), resource.created or 0.0)
    return found
