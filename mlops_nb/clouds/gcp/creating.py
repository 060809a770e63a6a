"""Makes a machine on Compute Engine, in a network that lets nothing in."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mlops_nb.clouds.base import CloudError, CloudUnreachable, Machine, MachineOrder, Note, PermissionMissing, WishRefused
from mlops_nb.clouds.gcp.bodies import closing_rule, default_image, instance, name_of, ssh_rule
from mlops_nb.clouds.gcp.errors import AlreadyThere, NotThere
from mlops_nb.clouds.gcp.machines import machine_named, machine_of, path_of
from mlops_nb.clouds.gcp.rest import Compute, last
from mlops_nb.clouds.gcp.types import MachineShape, shape_of
from mlops_nb.core.records import Record
from mlops_nb.core.runners import TAG_RUNNER, Offer, Resource, ResourceKind

RULE_SECONDS = 120.0
MACHINE_SECONDS = 300.0
_log = logging.getLogger(__name__)


class Network(Record, frozen=True, kw_only=True):
    """Where a machine will be.

    Attributes:
        url: Of the network.
        interface: The machine's, as the API wants it.
        is_ours_to_close: Whether a firewall rule of ours can close it: not in a network that another project shares.
    """

    url: str
    interface: Mapping[str, Any]
    is_ours_to_close: bool


def create(compute: Compute, order: MachineOrder, offer: Offer, note: Note, remove: Callable[[Sequence[Resource]], object]) -> Machine:
    """Create the machine of an order, or return the one that its token has made, in whichever zone.

    Args:
        remove: Takes away what this call has made, where it fails.

    Raises:
        CloudError: If it cannot be had; then nothing of it is left, or it was noted.
    """
    what = f"Looking for the machine '{order.name}'"
    if there := machine_named(compute, name_of(order.token), order.tags.get(TAG_RUNNER, ""), what):
        return there
    shape = shape_of(offer.type)
    image = _image(compute, order, shape)
    network = _network(compute, order, offer)
    own = name_of(order.token)
    tags = [own, *(tag.strip() for tag in order.security_group.split(",") if tag.strip())]
    body = instance(order, offer, shape, image=image, network=network.interface, tags=tags)
    made: list[Resource] = []

    def noted(kind: ResourceKind, place: str, collection: str, name: str) -> None:
        resource = Resource(kind=kind, id=path_of(compute.project, place, collection, name), region=place, tags=dict(order.tags))
        note(resource)
        made.append(resource)

    try:
        if network.is_ours_to_close and not order.security_group:
            for rule in [closing_rule(order, network.url), *([ssh_rule(order, network.url)] if order.ssh_public_key else [])]:
                noted("group", "global", "firewalls", rule["name"])
                _insert(compute, "global/firewalls", rule, "Closing the network", RULE_SECONDS)
        noted("machine", offer.zone, "instances", own)
        what = f"Creating the machine '{order.name}' ({offer.type} in {offer.zone})"
        _insert(compute, f"zones/{offer.zone}/instances", body, what, MACHINE_SECONDS)
        listed = compute.call("GET", f"zones/{offer.zone}/instances/{own}", what)
        if (listed.get("labels") or {}).get(TAG_RUNNER) != order.tags.get(TAG_RUNNER):
            raise AlreadyThere(f"{what}: a machine of another runner has its name, '{own}'.", hint="Remove it in the console.")
        machine = machine_of(compute.project, listed)
        note(machine.resource)
        return machine
    except CloudError as error:
        try:
            remove(made)
        except CloudError as second:  # what may be left was noted, and the first error says why
            _log.warning("What was made of '%s' may still be there: %s", order.name, second)
        raise error


def _insert(compute: Compute, path: str, body: Mapping[str, Any], what: str, seconds: float) -> None:
    """Make something and wait until it is there. What has its name already is taken for what an earlier try has made.

    The request's id is of this call, so that only its own repetitions are known as such: by an id of the token, a later try
    would be answered with the old failure. Between calls the name, which is of the token, stands against doubles.
    """
    try:
        operation = compute.call("POST", path, what, body=body, requestId=str(uuid.uuid4()))
        finished = compute.finish(operation, what, seconds=seconds)
    except AlreadyThere:
        return
    if not finished:
        raise CloudUnreachable(f"{what} was not done within {seconds:g} s.", hint="Try another zone or type: --zones, --types.")


def _image(compute: Compute, order: MachineOrder, shape: MachineShape) -> str:
    """Return the image: Canonical's, or what was named as [USER@]PROJECT/IMAGE-OR-FAMILY, IMAGE, or by its path."""
    wished = order.image.rpartition("@")[2].strip()
    if not wished:
        return default_image(shape)
    if wished.startswith(("projects/", "https://", "global/")):
        return wished
    project, _, name = wished.rpartition("/")
    images = f"projects/{project or compute.project}/global/images"
    what = f"Looking for the image '{wished}'"
    try:
        compute.call("GET", f"{images}/family/{name}", what)
        return f"{images}/family/{name}"
    except NotThere:
        compute.call("GET", f"{images}/{name}", what)
        return f"{images}/{name}"


def _network(compute: Compute, order: MachineOrder, offer: Offer) -> Network:
    """Return the network of a machine, with an address of its own only where nothing else leads out.

    The agent has to reach our server: by the network's NAT gateway where it has one, else by an external address, to which
    the firewall lets nobody in.
    """
    interface: dict[str, Any] = {}
    if order.subnet:
        path = order.subnet.removeprefix("https://www.googleapis.com/compute/v1/").removeprefix(compute.endpoint)
        if "/" not in path:
            path = f"projects/{compute.project}/regions/{offer.region}/subnetworks/{path}"
        elif path.startswith("regions/"):
            path = f"projects/{compute.project}/{path}"
        if "/subnetworks/" not in path:
            hint = "Name it, or write projects/PROJECT/regions/REGION/subnetworks/NAME."
            raise WishRefused(f"'{order.subnet[:120]}' is not a subnetwork of Google Cloud.", hint=hint)
        listed = compute.call("GET", path, f"Looking for the subnetwork '{order.subnet}'")
        network = str(listed.get("network", ""))
        interface["subnetwork"] = path
        ours = path.startswith(f"projects/{compute.project}/")
    else:
        network, ours = f"projects/{compute.project}/global/networks/default", True
        interface["network"] = network
    # Another project's network is closed by its own rules; where we cannot close it, nothing shall reach in from outside.
    if order.ssh_public_key or (ours and not _has_nat(compute, network, offer.region)):
        interface["accessConfigs"] = [{"type": "ONE_TO_ONE_NAT", "name": "External NAT", "networkTier": "PREMIUM"}]
    return Network(url=network, interface=interface, is_ours_to_close=ours)


def _has_nat(compute: Compute, network: str, region: str) -> bool:
    what = f"Looking for the NAT gateways of {region}"
    try:
        for page in compute.pages(f"regions/{region}/routers", what):
            for router in page.get("items") or []:
                if router.get("nats") and last(router.get("network", "")) == last(network):
                    return True
    except PermissionMissing as error:
        _log.info("%s; the machine gets an external address.", error)
    return False
