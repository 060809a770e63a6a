"""Which machines of Azure fit a wish, and in which zones: as Azure lists them now for the subscription."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mlops_nb.clouds.azure.arm import Arm
from mlops_nb.clouds.azure.prices import asked, listed
from mlops_nb.clouds.base import WishRefused
from mlops_nb.clouds.sizes import gpu_of_type, region_of, types_of
from mlops_nb.core.records import Record
from mlops_nb.core.runners import MachineWish, Offer

_REGION = re.compile(r"[a-z]+[0-9]*[a-z]*", re.ASCII)
_SIZE = re.compile(r"Standard_[A-Za-z0-9_-]+|Basic_[A-Za-z0-9_]+", re.ASCII)
_GPU = re.compile(r"_(T4|A10|A100|H100|V100|H200|V710|GB200)_", re.ASCII)
_BY_SIZE = (
    (2, 4, "Standard_B2s"),
    (2, 8, "Standard_D2s_v5"),
    (2, 16, "Standard_E2s_v5"),
    (4, 16, "Standard_D4s_v5"),
    (4, 32, "Standard_E4s_v5"),
    (8, 32, "Standard_D8s_v5"),
    (8, 64, "Standard_E8s_v5"),
    (16, 64, "Standard_D16s_v5"),
    (16, 128, "Standard_E16s_v5"),
    (32, 128, "Standard_D32s_v5"),
    (32, 256, "Standard_E32s_v5"),
    (64, 256, "Standard_D64s_v5"),
    (96, 384, "Standard_D96s_v5"),
    (96, 672, "Standard_E96s_v5"),
)


class Listed(Record, frozen=True, kw_only=True):
    """A type as Azure lists it for a region. `refused` says why the subscription cannot have it; "" where it can."""

    name: str
    zones: Sequence[str]
    refused: str
    cpus: float | None
    memory_gb: float | None
    gpus: int
    spot: bool
    encrypts_at_host: bool


def offers(arm: Arm, wish: MachineWish, *, prices: str = "") -> Sequence[Offer]:
    """Return what fits a wish, in the order to try: types as wished; of each Azure's own choice of zone, then zone by zone.

    Args:
        prices: Address of the price service; "": Microsoft's own.

    Raises:
        WishRefused: If nothing can fit.
    """
    region = region_of("azure", wish.region)
    if not _REGION.fullmatch(region):
        hint = "Name a short one (us-west, us-east, eu-west, eu-north) or Azure's own (westus2)."
        raise WishRefused(f"'{region[:80]}' is not a region of Azure.", hint=hint)
    if wish.spot_price is not None and not wish.spot:
        raise WishRefused("A highest price is for spot machines alone.", hint="Add --cloud-spot.")
    names = _names(wish)
    there = types_in(arm, region)
    if not there:
        raise WishRefused(f"Azure lists no machines in '{region}'.", hint="'az account list-locations -o table' shows the regions.")
    found: list[Offer] = []
    why: list[str] = []
    for name in names:
        one = there.get(name.lower())
        if one is None:
            why.append(f"'{name}' is not there")
        elif one.refused:
            why.append(f"'{name}' cannot be had by this subscription ({one.refused})")
        elif wish.spot and not one.spot:
            why.append(f"'{name}' cannot be had as spot")
        else:
            zones = [zone.removeprefix(f"{region}-") for zone in wish.zones] or ["", *one.zones]
            price = asked(one.name, region, spot=wish.spot, service=prices) or listed(one.name, region)
            gpu = gpu_of_type("azure", one.name)[0] or (found_gpu[1].lower() if (found_gpu := _GPU.search(one.name)) else "")
            made = Offer(
                cloud="azure",
                type=one.name,
                region=region,
                spot=wish.spot,
                hourly=price,
                cpus=one.cpus,
                memory_gb=one.memory_gb,
                gpu=gpu,
                gpus=one.gpus,
            )
            found += [_in_zone(made, zone) for zone in zones if not zone or zone in one.zones]
            if wish.zones and not any(zone in one.zones for zone in zones):
                why.append(f"'{name}' is not in zone {' or '.join(zones)}, but in {', '.join(one.zones) or 'none that has a name'}")
    if not found:
        reasons = "; ".join(why)
        raise WishRefused(f"Azure has no such machine in {region}: {reasons}.", hint="Try other types or regions: --types, --cloud-region.")
    return found


def types_in(arm: Arm, region: str) -> Mapping[str, Listed]:
    """Return the machine types of a region, by name in lower case."""
    what = f"Listing the machine types of {region}"
    call: Callable[[], list[Any]] = lambda: list(arm.compute.resource_skus.list(filter=f"location eq '{region}'"))  # noqa: E731
    skus = arm.ask(what, call)
    return {str(sku.name).lower(): _listed(sku, region) for sku in skus if sku.resource_type == "virtualMachines"}


def _listed(sku: Any, region: str) -> Listed:
    able = {str(one.name): str(one.value) for one in sku.capabilities or []}
    zones = {zone for place in sku.location_info or [] if str(place.location).lower() == region for zone in place.zones or []}
    refused = ""
    for restriction in sku.restrictions or []:
        info = restriction.restriction_info
        if restriction.type == "Location":
            code = restriction.reason_code
            refused = str(getattr(code, "value", code) or "restricted")
        elif info is not None:
            zones -= set(info.zones or [])
    return Listed(
        name=str(sku.name),
        zones=sorted(zones),
        refused=refused,
        cpus=_number(able.get("vCPUsAvailable") or able.get("vCPUs")),
        memory_gb=_number(able.get("MemoryGB")),
        gpus=int(_number(able.get("GPUs")) or 0),
        spot=able.get("LowPriorityCapable", "True") == "True",
        encrypts_at_host=able.get("EncryptionAtHostSupported") == "True",
    )


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def _names(wish: MachineWish) -> list[str]:
    if not wish.types and not wish.gpu and (wish.cpus or wish.memory_gb):
        fitting = [name for cpus, memory, name in _BY_SIZE if cpus >= (wish.cpus or 0) and memory >= (wish.memory_gb or 0)]
        if not fitting:
            raise WishRefused("No common machine is as large as that.", hint="Name a type: --cloud-type Standard_M128s_v2")
        return fitting[:2]
    names = [name for size in wish.types or ("",) for name in types_of("azure", size, wish.gpu, wish.gpus)]
    for name in names:
        if not _SIZE.fullmatch(name):
            hint = "Write s, m, l, xl, one of them with a GPU (m+t4), or Azure's own name: Standard_D8s_v5"
            raise WishRefused(f"'{name[:80]}' is not a machine type of Azure.", hint=hint)
    return list(dict.fromkeys(names))


def _in_zone(offer: Offer, zone: str) -> Offer:
    import msgspec

    return msgspec.structs.replace(offer, zone=zone)
