"""Finds what is ours on Azure, and removes it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

from mlops_nb.clouds.azure.arm import Arm
from mlops_nb.clouds.azure.bodies import PREFIX, SCHEDULE_API
from mlops_nb.clouds.azure.errors import BeingDeleted, NotThere
from mlops_nb.clouds.azure.machines import group_of, resource_of
from mlops_nb.clouds.base import CloudError, Found, NoCredentials
from mlops_nb.core.runners import TAG_INSTALLATION, Resource

DESTROY_SECONDS = 300.0
"""How long one call waits for what it removes."""
_ORDER = (
    "microsoft.devtestlab/schedules",
    "microsoft.compute/virtualmachines",
    "microsoft.network/networkinterfaces",
    "microsoft.compute/disks",
    "microsoft.network/publicipaddresses",
    "microsoft.network/virtualnetworks",
    "microsoft.network/networksecuritygroups",
)
_VERSIONS = {
    "microsoft.compute/virtualmachines": "2024-07-01",
    "microsoft.compute/disks": "2024-03-02",
    "microsoft.devtestlab/schedules": SCHEDULE_API,
}
_NETWORK_VERSION = "2024-05-01"
_log = logging.getLogger(__name__)


def find(arm: Arm, installation: str, regions: Collection[str]) -> Found:
    """Return all that carries an installation's tag, and what could not be looked at."""
    wish = f"tagName eq '{TAG_INSTALLATION}' and tagValue eq '{installation}'"
    found: list[Resource] = []
    unseen: dict[str, str] = {}
    looks: dict[str, Callable[[], list[Any]]] = {
        "resource groups": lambda: list(arm.resources.resource_groups.list(filter=wish)),
        "resources": lambda: list(arm.resources.resources.list(filter=wish, expand="createdTime,provisioningState")),
    }
    for what, look in looks.items():
        try:
            found += [resource_of(listed) for listed in arm.ask(f"Listing the {what}", look)]
        except NoCredentials:
            raise
        except CloudError as error:  # the other shall be looked at all the same, and this not be taken for empty
            unseen[f"{what} of the subscription"] = str(error)
    ours = [one for one in found if one.installation == installation and (not regions or one.region in regions)]
    return Found(resources=ours, unseen=unseen, clock=arm.clock)


def destroy(arm: Arm, resources: Sequence[Resource], installation: str, *, seconds: float = DESTROY_SECONDS) -> Sequence[Resource]:
    """Remove what is ours of these and return what is still there.

    A runner's resource group goes as a whole, as long as nothing foreign was put into it.
    """
    until = time.monotonic() + seconds
    groups: dict[str, list[Resource]] = {}
    for one in resources:
        groups.setdefault(group_of(one.id).lower(), []).append(one)
    errors: list[CloudError] = []
    left: list[Resource] = []
    going: list[tuple[str, Any]] = []
    for group, inside in groups.items():
        try:
            if poller := _remove_group(arm, group, installation, until):
                going.append((group, poller))
        except NoCredentials:
            raise
        except CloudError as error:  # one that cannot be removed shall not keep the others
            _log.warning("'%s' is still there: %s", group, error)
            errors.append(error)
            left += inside
    for group, poller in going:
        if not _is_gone(arm, group, poller, until):
            left += groups[group]
    if errors and len(errors) == len(groups):
        raise errors[0]
    return left


def _remove_group(arm: Arm, group: str, installation: str, until: float) -> Any:
    """Begin to remove a group; None: it is gone, not ours, or only what is ours in it had to go, and is gone."""
    groups = arm.resources.resource_groups
    what = f"Removing '{group}'"
    if not group.startswith(PREFIX):  # all that we make is in groups of such names
        return None
    try:
        listed = arm.ask(what, lambda: groups.get(group))
        if (listed.tags or {}).get(TAG_INSTALLATION) != installation:
            return None
        inside = arm.ask(what, lambda: list(arm.resources.resources.list_by_resource_group(group)))
        own = f"{group}-disk"
        ours = [one for one in inside if _is_ours(one, installation, own)]
        if len(ours) < len(inside):
            return _remove_among_others(arm, group, ours, listed, until)
        force = "Microsoft.Compute/virtualMachines"
        return arm.ask(what, lambda: groups.begin_delete(group, force_deletion_types=force))
    except NotThere:
        return None
    except BeingDeleted:
        return _Going()


def _is_ours(listed: Any, installation: str, disk: str) -> bool:
    """Say whether a resource is ours: by its tag, or as the disk that came with our machine."""
    if (listed.tags or {}).get(TAG_INSTALLATION) == installation:
        return True
    return str(listed.type).lower() == "microsoft.compute/disks" and str(listed.name).lower() == disk


def _remove_among_others(arm: Arm, group: str, ours: Sequence[Any], listed: Any, until: float) -> None:
    """Remove what is ours of a group that has foreign things in it, and then our mark from the group."""
    from azure.mgmt.resource.resources import models

    _log.warning("There is something in '%s' that is not of this runner: the group stays, and is no longer ours.", group)
    for one in sorted(ours, key=lambda one: _ORDER.index(str(one.type).lower()) if str(one.type).lower() in _ORDER else 0):
        what = f"Removing '{one.name}'"
        version = _VERSIONS.get(str(one.type).lower(), _NETWORK_VERSION)

        def begin(whole: str = str(one.id), version: str = version) -> Any:
            return arm.resources.resources.begin_delete_by_id(resource_id=whole, api_version=version)

        try:
            arm.finish(what, begin, seconds=max(1.0, until - time.monotonic()))
        except NotThere:  # it went with its machine
            continue
    tags = {key: value for key, value in (listed.tags or {}).items() if not key.startswith(PREFIX)}
    arm.ask(f"Leaving '{group}'", lambda: arm.resources.resource_groups.update(group, models.ResourceGroupPatchable(tags=tags)))


class _Going:
    """A removal that somebody else has begun."""

    def wait(self, seconds: float) -> None:
        """Return at once: only looking at the group tells."""

    def done(self) -> bool:
        return False


def _is_gone(arm: Arm, group: str, poller: Any, until: float) -> bool:
    what = f"Removing '{group}'"
    try:
        arm.ask(what, lambda: poller.wait(max(0.1, until - time.monotonic())))
        while True:
            arm.ask(what, lambda: arm.resources.resource_groups.get(group))
            if time.monotonic() > until or poller.done():
                return False
            arm.pause()
    except NotThere:
        return True
    except NoCredentials:
        raise
    except CloudError as error:  # such as a lock: the next call has it
        _log.warning("'%s' is still there: %s", group, error)
        return False
