"""Which machines of Google Cloud fit a wish, and in which zones: as Compute Engine lists them now."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from mlops_nb.clouds.base import WishRefused
from mlops_nb.clouds.gcp.prices import hourly
from mlops_nb.clouds.gcp.rest import Compute, last
from mlops_nb.clouds.gcp.types import MachineShape, shape_of
from mlops_nb.clouds.sizes import region_of, types_of
from mlops_nb.core.runners import MachineWish, Offer

_ZONE = re.compile(r"([a-z]+-[a-z]+\d+)-[a-z]", re.ASCII)
_REGION = re.compile(r"[a-z]+-[a-z]+\d+", re.ASCII)
# What is taken where CPUs and memory are wished and no type: CPUs, GiB, type.
_BY_SIZE = (
    (2, 2, "e2-small"),
    (2, 8, "e2-standard-2"),
    (2, 16, "e2-highmem-2"),
    (4, 16, "e2-standard-4"),
    (4, 32, "e2-highmem-4"),
    (8, 32, "e2-standard-8"),
    (8, 64, "e2-highmem-8"),
    (16, 64, "e2-standard-16"),
    (16, 128, "e2-highmem-16"),
    (32, 128, "e2-standard-32"),
    (48, 192, "n2-standard-48"),
    (64, 256, "n2-standard-64"),
    (80, 320, "n2-standard-80"),
    (64, 512, "n2-highmem-64"),
    (128, 512, "n2-standard-128"),
    (128, 864, "n2-highmem-128"),
)


def offers(compute: Compute, wish: MachineWish) -> Sequence[Offer]:
    """Return what fits a wish, in the order to try.

    Raises:
        WishRefused: If nothing can fit.
    """
    if wish.spot_price is not None:
        hint = "Leave --cloud-spot-price out, or limit the whole: --max-cost."
        raise WishRefused("Google Cloud sets the price of spot machines itself; no highest price can be named.", hint=hint)
    region, zones = _place(wish)
    found: list[Offer] = []
    elsewhere: dict[str, list[str]] = {}
    for name in _names(wish):
        shape = shape_of(name)
        there = _zones_of(compute, shape)
        here = {zone: at for zone, at in there.items() if zone.startswith(f"{region}-")}
        elsewhere[name] = sorted({zone.rpartition("-")[0] for zone in there})
        for zone in (zone for zone in zones or sorted(here) if zone in here):
            whole = here[zone]
            found.append(
                Offer(
                    cloud="gcp",
                    type=shape.name,
                    region=region,
                    zone=zone,
                    spot=wish.spot,
                    hourly=hourly(whole, region),
                    cpus=whole.cpus,
                    memory_gb=whole.memory_gb,
                    gpu=whole.gpu,
                    gpus=whole.gpus,
                )
            )
    if not found:
        raise _nothing(region, zones, elsewhere)
    return found


def _place(wish: MachineWish) -> tuple[str, list[str]]:
    region, zones = region_of("gcp", wish.region), list(wish.zones)
    if zone := _ZONE.fullmatch(region):
        region, zones = zone[1], zones or [region]
    if not _REGION.fullmatch(region):
        hint = "Name a short one (us-west, us-east, eu-west, eu-north), a region (us-central1) or a zone (us-central1-a)."
        raise WishRefused(f"'{region[:80]}' is not a region of Google Cloud.", hint=hint)
    short = [f"{region}-{zone}" if re.fullmatch(r"[a-z]", zone) else zone for zone in zones]
    for name in short:
        if not name.startswith(f"{region}-") or not _ZONE.fullmatch(name):
            raise WishRefused(f"'{name[:80]}' is not a zone of {region}.", hint=f"Its zones are called {region}-a, {region}-b, …")
    return region, short


def _names(wish: MachineWish) -> list[str]:
    """Return the types to look for: sizes in Google's words, GPUs attached where they were wished beside a type."""
    if not wish.types and not wish.gpu and (wish.cpus or wish.memory_gb):
        fitting = [name for cpus, memory, name in _BY_SIZE if cpus >= (wish.cpus or 0) and memory >= (wish.memory_gb or 0)]
        if not fitting:
            raise WishRefused("No common machine is as large as that.", hint="Name a type: --cloud-type m3-ultramem-128")
        return fitting[:2]
    names: list[str] = []
    for size in wish.types or ("",):
        for name in types_of("gcp", size, wish.gpu, wish.gpus):
            if wish.gpu and wish.gpu != "nogpu" and "+" not in name and name.startswith(("n1-", "custom-")):
                kind = wish.gpu if wish.gpu.startswith("nvidia-") else f"nvidia-tesla-{wish.gpu.lower()}"
                name = f"{name}+{kind}*{wish.gpus or 1}"
            names.append(name)
    return list(dict.fromkeys(names))


def _zones_of(compute: Compute, shape: MachineShape) -> dict[str, MachineShape]:
    """Return in which zones a type is, with what it has there."""
    what = f"Looking for the machine type '{shape.machine}'"
    if shape.is_custom:
        zones = [zone for page in compute.pages("zones", what) for zone in page.get("items") or []]
        there = {str(zone["name"]): shape for zone in zones if zone.get("status") == "UP"}
    else:
        pages = compute.pages("aggregated/machineTypes", what, filter=f'name = "{shape.machine}"')
        there = {zone: _whole(shape, at) for zone, at in _scoped(pages, "machineTypes", shape.machine)}
    if not shape.attached or not there:
        return there
    what = f"Looking for the GPU '{shape.accelerator}'"
    pages = compute.pages("aggregated/acceleratorTypes", what, filter=f'name = "{shape.accelerator}"')
    with_gpu = {zone for zone, _ in _scoped(pages, "acceleratorTypes", shape.accelerator)}
    return {zone: at for zone, at in there.items() if zone in with_gpu}


def _scoped(pages: Any, kind: str, name: str) -> list[tuple[str, Mapping[str, Any]]]:
    found = []
    for page in pages:
        for scope, listed in (page.get("items") or {}).items():
            found += [(last(scope), one) for one in listed.get(kind) or [] if one.get("name") == name and not _is_retired(one)]
    return found


def _is_retired(one: Mapping[str, Any]) -> bool:
    return str((one.get("deprecated") or {}).get("state", "")) in ("OBSOLETE", "DELETED")


def _whole(shape: MachineShape, listed: Mapping[str, Any]) -> MachineShape:
    own = (listed.get("accelerators") or [{}])[0]
    return msgspec.structs.replace(
        shape,
        cpus=float(listed.get("guestCpus") or 0) or None,
        memory_gb=float(listed.get("memoryMb") or 0) / 1024 or None,
        accelerator=shape.accelerator or str(own.get("guestAcceleratorType", "")),
        gpus=shape.gpus or int(own.get("guestAcceleratorCount") or 0),
    )


def _nothing(region: str, zones: Sequence[str], elsewhere: Mapping[str, Sequence[str]]) -> WishRefused:
    types = " or ".join(f"'{name}'" for name in elsewhere)
    places = sorted({place for there in elsewhere.values() for place in there})
    where = ", ".join(zones) or region
    if not places:
        return WishRefused(f"Google Cloud has no machine {types} that this project may use.", hint="Look at --cloud-type and --cloud-gpu.")
    near = sorted(places, key=lambda place: place.partition("-")[0] != region.partition("-")[0])[:6]
    hint = f"Other zones of {region} have it." if zones and region in places else f"There is one in {', '.join(near)}: --cloud-region."
    return WishRefused(f"There is no {types} in {where}.", hint=hint)
