"""Makes a machine on Azure: a resource group of its own, with a network that lets nothing in."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from mlops_nb.clouds.azure.arm import Arm
from mlops_nb.clouds.azure.bodies import (
    SCHEDULE_API,
    checked_tags,
    group_id,
    image,
    name_of,
    network_interface,
    public_address,
    resource_id,
    security_group,
    shutdown_schedule,
    virtual_machine,
    virtual_network,
)
from mlops_nb.clouds.azure.errors import BeingDeleted, NotThere
from mlops_nb.clouds.azure.machines import machine_of
from mlops_nb.clouds.base import CloudError, Machine, MachineOrder, Note, WishRefused
from mlops_nb.core.runners import TAG_RUNNER, Offer, Resource, ResourceKind

STEP_SECONDS = 120.0
MACHINE_SECONDS = 480.0
_GROUP = "Microsoft.Network/networkSecurityGroups"
_NETWORK = "Microsoft.Network/virtualNetworks"
_ADDRESS = "Microsoft.Network/publicIPAddresses"
_INTERFACE = "Microsoft.Network/networkInterfaces"
_MACHINE = "Microsoft.Compute/virtualMachines"
_SCHEDULE = "Microsoft.DevTestLab/schedules"
_log = logging.getLogger(__name__)


class Creation:
    """The making of one machine; `made` is what may be there by now."""

    def __init__(self, arm: Arm, order: MachineOrder, offer: Offer, note: Note) -> None:
        self._arm = arm
        self._order = order
        self._offer = offer
        self._note = note
        self._own = name_of(order.token)
        self.made: list[Resource] = []
        checked_tags(order.tags)
        image(order.image, offer.type)

    def machine_before(self) -> Machine | None:
        """Return the machine that this token has made; None: there is none, or one that never came up."""
        what = f"Looking for the machine '{self._order.name}'"
        try:
            vm = self._arm.ask(what, lambda: self._arm.compute.virtual_machines.get(self._own, self._own, expand="instanceView"))
        except NotThere:
            return None
        if (vm.tags or {}).get(TAG_RUNNER) != self._order.tags.get(TAG_RUNNER) or vm.provisioning_state in ("Failed", "Deleting"):
            return None
        return machine_of(vm)

    def make(self) -> Machine:
        """Make everything, each thing noted before it is asked for."""
        order, offer, own, network = self._order, self._offer, self._own, self._arm.network
        self._make_group()
        closed = order.security_group
        if not closed:
            closed = self._id(_GROUP)
            body = security_group(order, offer)
            self._step(
                "group", _GROUP, "Closing the network", lambda: network.network_security_groups.begin_create_or_update(own, own, body)
            )
        subnet = order.subnet
        if not subnet:
            net = virtual_network(order, offer, closed)
            self._step("network", _NETWORK, "Making the network", lambda: network.virtual_networks.begin_create_or_update(own, own, net))
            subnet = f"{self._id(_NETWORK)}/subnets/machine"
        address = address_id = ""
        if not order.subnet or order.ssh_public_key or not self._leads_out(order.subnet):
            address_id = self._id(_ADDRESS)
            ip = public_address(order, offer)
            made = self._step(
                "address", _ADDRESS, "Making the address", lambda: network.public_ip_addresses.begin_create_or_update(own, own, ip)
            )
            address = str(made.ip_address or "")
        nic = network_interface(order, offer, subnet_id=subnet, security_group_id=closed, address_id=address_id)
        self._step(
            "interface", _INTERFACE, "Making the interface", lambda: network.network_interfaces.begin_create_or_update(own, own, nic)
        )
        machine = self._make_machine(address)
        self._schedule_its_end()
        return machine

    def _make_group(self) -> None:
        from azure.mgmt.resource.resources import models

        order, groups = self._order, self._arm.resources.resource_groups
        body = models.ResourceGroup(location=self._offer.region, tags=dict(order.tags))
        self._noted("group", group_id(self._arm.subscription, self._own))
        until = time.monotonic() + STEP_SECONDS * 3
        while True:
            try:
                self._arm.ask("Making the resource group", lambda: groups.create_or_update(self._own, body))
                return
            except BeingDeleted:  # what an earlier offer has left is still going
                if time.monotonic() > until:
                    raise
                self._arm.pause()

    def _make_machine(self, address: str) -> Machine:
        order, offer, own = self._order, self._offer, self._own
        public_key = order.ssh_public_key or a_key_without_owner()
        what = f"Creating the machine '{order.name}' ({offer.type} in {offer.zone or offer.region})"
        self._noted("disk", resource_id(self._arm.subscription, own, "Microsoft.Compute/disks", f"{own}-disk"))
        for encrypted in (True, False):
            body = virtual_machine(order, offer, interface_id=self._id(_INTERFACE), public_key=public_key, encrypted_at_host=encrypted)
            try:
                vm = self._step(
                    "machine",
                    _MACHINE,
                    what,
                    functools.partial(self._arm.compute.virtual_machines.begin_create_or_update, own, own, body),
                    seconds=MACHINE_SECONDS,
                )
            except WishRefused as error:
                if not encrypted or "encryptionathost" not in str(error).lower():
                    raise
                _log.info("%s; its disk is encrypted at rest alone.", error)
                continue
            machine = machine_of(vm, address=address)
            self._note(machine.resource)
            return machine
        raise AssertionError("unreachable")

    def _schedule_its_end(self) -> None:
        body = shutdown_schedule(self._order, self._offer, self._id(_MACHINE), time.time())
        if body is None:
            _log.info("'%s' may live for longer than a day: the reaper alone deallocates it.", self._order.name)
            return
        name = f"shutdown-computevm-{self._own}"
        whole = resource_id(self._arm.subscription, self._own, _SCHEDULE, name)
        self._noted("job", whole)
        resources = self._arm.resources.resources
        try:
            self._arm.finish(
                "Setting the time at which Azure ends the machine",
                lambda: resources.begin_create_or_update_by_id(resource_id=whole, api_version=SCHEDULE_API, parameters=body),
                seconds=STEP_SECONDS,
            )
        except CloudError as error:  # the switch on the machine and the reaper are there all the same
            _log.warning("Azure itself will not end '%s' at its hard stop: %s", self._order.name, error)

    def _leads_out(self, subnet: str) -> bool:
        """Say whether a subnet of the user's has a way out: a NAT gateway, or routes of its own."""
        parts = subnet.strip("/").split("/")
        if len(parts) != 10 or parts[8].lower() != "subnets":
            hint = "Give its id: /subscriptions/…/virtualNetworks/NETWORK/subnets/NAME"
            raise WishRefused(f"'{subnet[:120]}' is not a subnet of Azure.", hint=hint)
        what = f"Looking for the subnet '{parts[9]}'"
        found = self._arm.ask(what, lambda: self._arm.network.subnets.get(parts[3], parts[7], parts[9]))
        return found.nat_gateway is not None or found.route_table is not None

    def _id(self, kind: str) -> str:
        return resource_id(self._arm.subscription, self._own, kind, self._own)

    def _noted(self, kind: ResourceKind, whole: str) -> None:
        resource = Resource(kind=kind, id=whole, region=self._offer.region, tags=dict(self._order.tags))
        self._note(resource)
        self.made.append(resource)

    def _step(self, kind: ResourceKind, azures: str, what: str, begin: Callable[[], Any], *, seconds: float = STEP_SECONDS) -> Any:
        self._noted(kind, self._id(azures))
        return self._arm.finish(what, begin, seconds=seconds)


def create(arm: Arm, order: MachineOrder, offer: Offer, note: Note, remove: Callable[[Sequence[Resource]], Sequence[Resource]]) -> Machine:
    """Create the machine of an order, or return the one that its token has made.

    Args:
        remove: Takes away what this call has made, where it fails.

    Raises:
        CloudError: If it cannot be had; then nothing of it is left, or it was noted.
    """
    creation = Creation(arm, order, offer, note)
    if there := creation.machine_before():
        return there
    try:
        return creation.make()
    except CloudError as error:
        try:
            if left := remove(creation.made):
                _log.warning("Of '%s' there may still be: %s", order.name, ", ".join(one.id for one in left))
        except CloudError as second:  # what may be left was noted, and the first error says why
            _log.warning("What was made of '%s' may still be there: %s", order.name, second)
        raise error


def a_key_without_owner() -> str:
    """Return a public key whose private half is forgotten: Azure wants one also where nobody may log in."""
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
