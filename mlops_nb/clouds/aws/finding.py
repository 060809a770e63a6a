"""What there is in EC2 that carries our tags, in one region or all."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mlops_nb.clouds.aws import tags
from mlops_nb.clouds.aws.account import Account
from mlops_nb.clouds.base import CloudError, Found
from mlops_nb.core.runners import Resource, ResourceKind

AT_ONCE = 8
KINDS: tuple[ResourceKind, ...] = ("machine", "disk", "interface", "address", "group", "key", "spot")


def listed(
    account: Account, region: str, kind: ResourceKind, which: Sequence[dict[str, Any]], whose: Sequence[dict[str, Any]]
) -> Iterator[Resource]:
    """Yield what there is of a kind in a region that fits the filters; machines and spot requests that are over are left out."""
    filters = [*which, *whose]

    def pages(operation: str, key: str) -> Iterator[dict[str, Any]]:
        return account.pages("ec2", region, operation, key, Filters=filters)

    match kind:
        case "machine":
            for instance in tags.instances(list(pages("describe_instances", "Reservations"))):
                machine = tags.machine_of(instance, region)
                if machine.phase != "gone":
                    yield machine.resource
        case "disk":
            for disk in pages("describe_volumes", "Volumes"):
                yield tags.resource(kind, disk["VolumeId"], region, disk, str(disk.get("State", "")), disk.get("CreateTime"))
        case "interface":
            for interface in pages("describe_network_interfaces", "NetworkInterfaces"):
                yield tags.resource(kind, interface["NetworkInterfaceId"], region, interface, str(interface.get("Status", "")))
        case "address":
            for address in pages("describe_addresses", "Addresses"):
                yield tags.resource(kind, address["AllocationId"], region, address, "used" if address.get("AssociationId") else "free")
        case "group":
            for group in pages("describe_security_groups", "SecurityGroups"):
                yield tags.resource(kind, group["GroupId"], region, group, "")
        case "key":
            for pair in pages("describe_key_pairs", "KeyPairs"):
                yield tags.resource(kind, pair["KeyName"], region, pair, "", pair.get("CreateTime"))
        case "spot":
            for request in pages("describe_spot_instance_requests", "SpotInstanceRequests"):
                if request.get("State") in ("open", "active"):
                    id = request["SpotInstanceRequestId"]
                    yield tags.resource(kind, id, region, request, str(request["State"]), request.get("CreateTime"))


def used_regions(account: Account) -> tuple[Sequence[str], dict[str, str]]:
    """Return the regions that are enabled for the account, and what could not be seen of them."""
    try:
        answer = account.call("ec2", account.region, "describe_regions")
    except CloudError as error:
        return [account.region], {"all other regions": f"which there are cannot be seen: {error.message}"}
    return sorted(str(region["RegionName"]) for region in answer.get("Regions", ())), {}


def find(account: Account, installation: str, regions: Collection[str]) -> Found:
    """Return all that an installation has; a region of which anything could not be looked at is named."""
    unseen: dict[str, str] = {}
    account.clock = None
    if not regions:
        regions, unseen = used_regions(account)
    found: list[Resource] = []
    clear: list[str] = []
    for region in dict.fromkeys(regions):
        try:
            account.client("ec2", region)  # made here: sessions belong to one thread, clients do not
            clear.append(region)
        except CloudError as error:
            unseen[region] = str(error)

    def look(region: str) -> tuple[str, list[Resource], str]:
        resources: list[Resource] = []
        trouble = ""
        for kind in KINDS:
            try:
                resources += listed(account, region, kind, [], tags.of_installation(installation))
            except CloudError as error:
                trouble = trouble or error.message
        return region, resources, trouble

    with ThreadPoolExecutor(min(AT_ONCE, max(1, len(clear)))) as pool:
        for region, resources, trouble in pool.map(look, clear):
            found += resources
            if trouble:
                unseen[region] = trouble
    return Found(resources=found, unseen=unseen, clock=account.clock)
