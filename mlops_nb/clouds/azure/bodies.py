"""What is asked of Azure: machines, their networks and the schedule that ends them, as models of azure-mgmt. No I/O."""

from __future__ import annotations

import base64
import importlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from mlops_nb.clouds.base import MachineOrder, WishRefused
from mlops_nb.clouds.sizes import DEFAULT_DISK_GB, GPU_DISK_GB
from mlops_nb.core.runners import GRACE_SECONDS, Offer

PREFIX = "mlops-nb-"
USER = "ubuntu"
_PUBLISHER, _IMAGE = "Canonical", "ubuntu-24_04-lts"
"""Canonical's own publisher name, which nobody else can take."""
_ARM = re.compile(r"Standard_[A-Z]+\d+[a-z]*p[a-z]*_v\d+", re.ASCII)
_IMAGE_ID = re.compile(r"/(?:subscriptions|communityGalleries|sharedGalleries)/\S+", re.IGNORECASE | re.ASCII)
_BAD_TAG = re.compile(r"[<>%&\\?/\x00-\x1f]")
SCHEDULE_API = "2018-09-15"
LONGEST_SCHEDULE = 23 * 3600.0
_MOST_USER_DATA = 65_535


def name_of(token: str) -> str:
    """Return the name of the resource group of a token, and of the machine in it."""
    return f"{PREFIX}{token}"


def group_id(subscription: str, group: str) -> str:
    return f"/subscriptions/{subscription}/resourceGroups/{group}"


def resource_id(subscription: str, group: str, kind: str, name: str) -> str:
    """Return the id of a resource; `kind` as Azure has it: Microsoft.Compute/virtualMachines."""
    return f"{group_id(subscription, group)}/providers/{kind}/{name}"


def checked_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return tags that Azure takes.

    Raises:
        WishRefused: If it would not.
    """
    for key, value in tags.items():
        if not key or len(key) > 512 or _BAD_TAG.search(key) or len(value) > 256:
            hint = "Keys have at most 512 characters and none of <>%&\\?/, values at most 256."
            raise WishRefused(f"Azure takes no tag {key[:80]!r}={value[:80]!r}.", hint=hint)
    if len(tags) > 50:
        raise WishRefused(f"Azure takes no {len(tags)} tags.", hint="At most 50: leave some out of --cloud-metadata.")
    return dict(tags)


def security_group(order: MachineOrder, offer: Offer) -> Any:
    """Return a security group without any rule that lets something in, but SSH where it was asked for."""
    models = _models("network")

    rules = []
    if order.ssh_public_key:
        rules.append(
            models.SecurityRule(
                name="ssh",
                priority=100,
                direction="Inbound",
                access="Allow",
                protocol="Tcp",
                source_address_prefix="*",
                source_port_range="*",
                destination_address_prefix="*",
                destination_port_range="22",
            )
        )
    # Azure's own rules let the whole virtual network in; there is nobody else in it, and nobody shall get in by peering.
    closed = models.SecurityRule(
        name="closed",
        priority=4096,
        direction="Inbound",
        access="Deny",
        protocol="*",
        source_address_prefix="*",
        source_port_range="*",
        destination_address_prefix="*",
        destination_port_range="*",
    )
    return models.NetworkSecurityGroup(location=offer.region, tags=dict(order.tags), security_rules=[*rules, closed])


def virtual_network(order: MachineOrder, offer: Offer, security_group_id: str) -> Any:
    """Return a network of its own with one subnet."""
    models = _models("network")

    subnet = models.Subnet(
        name="machine",
        address_prefix="10.0.0.0/28",
        network_security_group=models.NetworkSecurityGroup(id=security_group_id) if security_group_id else None,
    )
    space = models.AddressSpace(address_prefixes=["10.0.0.0/28"])
    return models.VirtualNetwork(location=offer.region, tags=dict(order.tags), address_space=space, subnets=[subnet])


def public_address(order: MachineOrder, offer: Offer) -> Any:
    """Return an address by which the machine gets out: new networks of Azure's have no other way."""
    models = _models("network")

    return models.PublicIPAddress(
        location=offer.region,
        tags=dict(order.tags),
        sku=models.PublicIPAddressSku(name="Standard"),
        public_ip_allocation_method="Static",
        zones=_zones(offer),
    )


def network_interface(order: MachineOrder, offer: Offer, *, subnet_id: str, security_group_id: str, address_id: str) -> Any:
    models = _models("network")

    configuration = models.NetworkInterfaceIPConfiguration(
        name="machine",
        subnet=models.Subnet(id=subnet_id),
        public_ip_address=models.PublicIPAddress(id=address_id) if address_id else None,
    )
    return models.NetworkInterface(
        location=offer.region,
        tags=dict(order.tags),
        ip_configurations=[configuration],
        network_security_group=models.NetworkSecurityGroup(id=security_group_id) if security_group_id else None,
    )


def virtual_machine(order: MachineOrder, offer: Offer, *, interface_id: str, public_key: str, encrypted_at_host: bool) -> Any:
    """Return a machine whose disk and interface go with it, and which is deleted when its spot price or place is lost.

    Args:
        public_key: Azure wants one; of machines without SSH nobody has its other half.
    """
    models = _models("compute")

    data = order.user_data.encode()
    if len(data) > _MOST_USER_DATA:
        raise WishRefused(f"The start-up script has {len(data):,} bytes; Azure takes {_MOST_USER_DATA:,}.", hint="Shorten yours.")
    own = name_of(order.token)
    disk = models.OSDisk(
        name=f"{own}-disk",
        create_option="FromImage",
        delete_option="Delete",
        disk_size_gb=order.disk_gb or (GPU_DISK_GB if offer.gpus else DEFAULT_DISK_GB),
        managed_disk=models.ManagedDiskParameters(storage_account_type="StandardSSD_LRS"),
    )
    path = f"/home/{USER}/.ssh/authorized_keys"
    ssh = models.SshConfiguration(public_keys=[models.SshPublicKey(path=path, key_data=public_key)])
    identities = [one.strip() for one in order.permission_set.split(",") if one.strip()]
    return models.VirtualMachine(
        location=offer.region,
        tags=dict(order.tags),
        zones=_zones(offer),
        hardware_profile=models.HardwareProfile(vm_size=offer.type),
        storage_profile=models.StorageProfile(image_reference=image(order.image, offer.type), os_disk=disk),
        os_profile=models.OSProfile(
            computer_name=order.name[:63],
            admin_username=USER,
            custom_data=base64.b64encode(data).decode(),
            linux_configuration=models.LinuxConfiguration(disable_password_authentication=True, ssh=ssh),
        ),
        network_profile=models.NetworkProfile(
            network_interfaces=[models.NetworkInterfaceReference(id=interface_id, primary=True, delete_option="Delete")]
        ),
        diagnostics_profile=models.DiagnosticsProfile(boot_diagnostics=models.BootDiagnostics(enabled=True)),
        security_profile=models.SecurityProfile(encryption_at_host=True) if encrypted_at_host else None,
        priority="Spot" if offer.spot else "Regular",
        eviction_policy="Delete" if offer.spot else None,
        billing_profile=models.BillingProfile(max_price=-1 if order.spot_price is None else order.spot_price) if offer.spot else None,
        identity=_identity(identities) if identities else None,
    )


def image(wished: str, vm_size: str) -> Any:
    """Return the image: Canonical's, `PUBLISHER:OFFER:SKU:VERSION` (CML's with USER@ before it), or an id of Azure's.

    Raises:
        WishRefused: If it is none of these.
    """
    models = _models("compute")

    wished = wished.rpartition("@")[2].partition("#")[0].strip()
    if not wished:
        sku = "server-arm64" if _ARM.fullmatch(vm_size) else "server"
        return models.ImageReference(publisher=_PUBLISHER, offer=_IMAGE, sku=sku, version="latest")
    if _IMAGE_ID.fullmatch(wished):
        if wished.lower().startswith("/communitygalleries/"):
            return models.ImageReference(community_gallery_image_id=wished)
        return models.ImageReference(id=wished)
    parts = wished.split(":")
    if len(parts) != 4 or not all(parts):
        hint = "Write PUBLISHER:OFFER:SKU:VERSION (Canonical:ubuntu-24_04-lts:server:latest), or the id of an image."
        raise WishRefused(f"'{wished[:120]}' is not an image of Azure.", hint=hint)
    return models.ImageReference(publisher=parts[0], offer=parts[1], sku=parts[2], version=parts[3])


def shutdown_schedule(order: MachineOrder, offer: Offer, machine_id: str, now: float) -> Any:
    """Return the schedule by which Azure itself deallocates the machine at its hard stop, or None where it cannot say when.

    A machine of Azure that only switches itself off goes on costing until it is deallocated, which it cannot do itself
    without credentials. The schedule knows a time of the day, so lives of more than 23 hours are the reaper's alone.
    """
    models = _models("resource.resources")

    if order.max_seconds > LONGEST_SCHEDULE:
        return None
    at = datetime.fromtimestamp(now + order.max_seconds + GRACE_SECONDS, UTC)
    properties = {
        "status": "Enabled",
        "taskType": "ComputeVmShutdownTask",
        "dailyRecurrence": {"time": at.strftime("%H%M")},
        "timeZoneId": "UTC",
        "targetResourceId": machine_id,
        "notificationSettings": {"status": "Disabled"},
    }
    return models.GenericResource(location=offer.region, tags=dict(order.tags), properties=properties)


def _zones(offer: Offer) -> list[str] | None:
    """Return the zone in Azure's own word, which is a number within the region."""
    return [offer.zone.rpartition("-")[2]] if offer.zone else None


def _models(part: str) -> Any:
    """Return the models of a part of azure-mgmt. Its types know no flat keywords, which all versions take."""
    return importlib.import_module(f"azure.mgmt.{part}.models")


def _identity(ids: list[str]) -> Any:
    models = _models("compute")

    for one in ids:
        if "/providers/microsoft.managedidentity/userassignedidentities/" not in one.lower():
            hint = "Give ids of user-assigned identities: /subscriptions/…/userAssignedIdentities/NAME, with commas between."
            raise WishRefused(f"'{one[:120]}' is no permission set of Azure.", hint=hint)
    return models.VirtualMachineIdentity(type="UserAssigned", user_assigned_identities={one: {} for one in ids})
