"""Which machines of EC2 fit a wish, zone by zone, with their list price."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from mlops_nb.clouds import sizes
from mlops_nb.clouds.aws import prices
from mlops_nb.clouds.aws.account import Account
from mlops_nb.clouds.base import WishRefused
from mlops_nb.core.runners import MachineWish, Offer
from mlops_nb.errors import did_you_mean

_ZONE = re.compile(r"(?P<region>(?:[a-z]+-)+\d+)(?P<letter>[a-z])")
# For regions that are newer than the boto3 that is installed.
_REGION = re.compile(r"(us|eu|ap|sa|ca|me|af|il|mx|cn)(-[a-z]+)+-\d+")
_FEW = 5
_MIB = 1024.0


def offers(account: Account, wish: MachineWish) -> list[Offer]:
    """Return what fits, types as wished, zones within.

    Raises:
        WishRefused: If nothing can fit.
    """
    region, zones = places(wish)
    known_regions = account.known_regions()
    if region not in known_regions and not _REGION.fullmatch(region):
        hint = (
            did_you_mean(region, [*known_regions, *sizes.REGIONS]) or f"There is {', '.join(sizes.REGIONS)}, and AWS's own names: us-east-2"
        )
        raise WishRefused(f"AWS has no region '{region[:60]}'.", hint=hint)
    native = _wished(wish)
    known = _described(account, region, native)
    fitting = [type for type in native if type in known and _fits(known[type], wish)]
    if not wish.types and (wish.cpus or wish.memory_gb):
        fitting = fitting[:_FEW]
    if not fitting:
        raise _nothing(native, known, wish, region)
    where = _zones_of(account, region, fitting, zones)
    price = {type: prices.hourly(account, type, region) for type in fitting if type in where}
    found = [_offer(known[type], region, zone, wish, price[type]) for type in fitting for zone in where.get(type, ())]
    if not found:
        raise WishRefused(
            f"None of {', '.join(fitting[:_FEW])} is in {', '.join(zones) or region}.", hint="Try another region, or fewer --zones."
        )
    return found


def places(wish: MachineWish) -> tuple[str, Sequence[str]]:
    """Return the region of a wish and its zones; a zone may be written with its letter alone, and also as the region."""
    region = sizes.region_of("aws", wish.region)
    zones = list(wish.zones)
    if match := _ZONE.fullmatch(region):
        region = match["region"]
        zones = zones or [match[0]]
    full = [f"{region}{zone}" if re.fullmatch(r"[a-z]", zone) else zone for zone in zones]
    for zone in full:
        if not zone.startswith(region):
            raise WishRefused(
                f"The zone '{zone}' is not in {region}.", hint=f"Zones of one region: --cloud-region {region} --zones {region}a"
            )
    return region, full


def _wished(wish: MachineWish) -> list[str]:
    """Return the native types of a wish, in its order."""
    words: Iterable[str] = wish.types
    if not wish.types and (wish.cpus or wish.memory_gb) and not sizes.gpu_of(wish.gpu):
        return prices.plain_types()
    found: list[str] = []
    for word in words or ("",):
        if "." in word:
            found.append(word)
        else:
            found += sizes.types_of("aws", word, wish.gpu, wish.gpus)
    return list(dict.fromkeys(found))


def _described(account: Account, region: str, native: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return what AWS says of these types; those that the region does not have are left out."""
    filters = [{"Name": "instance-type", "Values": list(native)}]
    found = account.pages("ec2", region, "describe_instance_types", "InstanceTypes", Filters=filters)
    return {str(each["InstanceType"]): each for each in found}


def _cpus(described: dict[str, Any]) -> float:
    return float(described.get("VCpuInfo", {}).get("DefaultVCpus", 0))


def _memory(described: dict[str, Any]) -> float:
    return float(described.get("MemoryInfo", {}).get("SizeInMiB", 0)) / _MIB


def _gpu(described: dict[str, Any]) -> tuple[str, int]:
    cards = described.get("GpuInfo", {}).get("Gpus", ())
    if not cards:
        return "", 0
    return sizes.gpu_of(str(cards[0].get("Name", "gpu"))), sum(int(card.get("Count", 0)) for card in cards)


def _fits(described: dict[str, Any], wish: MachineWish) -> bool:
    gpu, count = _gpu(described)
    if wish.types and any("." in word for word in wish.types):
        # Who names a type means it; a GPU beside it is checked all the same.
        return not sizes.gpu_of(wish.gpu) or gpu == sizes.gpu_of(wish.gpu)
    if wish.spot and "spot" not in described.get("SupportedUsageClasses", ["spot"]):
        return False
    return _cpus(described) >= (wish.cpus or 0) and _memory(described) >= (wish.memory_gb or 0) and count >= wish.gpus


def _nothing(native: Sequence[str], known: dict[str, dict[str, Any]], wish: MachineWish, region: str) -> WishRefused:
    missing = [type for type in native if type not in known]
    if missing and not known:
        return WishRefused(f"There is no machine type {', '.join(missing[:_FEW])} in {region}.", hint=_elsewhere(missing[0], region))
    asked = ", ".join(
        text
        for text in (
            f"{wish.cpus:g} CPUs" if wish.cpus else "",
            f"{wish.memory_gb:g} GB" if wish.memory_gb else "",
            f"{wish.gpus or 1} GPUs '{wish.gpu}'" if sizes.gpu_of(wish.gpu) else "",
        )
        if text
    )
    return WishRefused(
        f"No machine in {region} has {asked or 'what is asked for'}: {', '.join(sorted(known)[:_FEW])} do not.",
        hint="Name a type of AWS itself: --cloud-type r7i.8xlarge",
    )


def _elsewhere(type: str, region: str) -> str:
    others = [name for name in prices.regions_of(type) if name != region] if type in prices.known_types() else []
    if others:
        return f"It is in {', '.join(others)}: --cloud-region {'us-west-2' if 'us-west-2' in others else others[0]}"
    near = did_you_mean(type, prices.known_types())
    return f"{near or 'Try another region (--cloud-region) or type (--cloud-type).'} CML's sizes are s, m, l, xl."


def _zones_of(account: Account, region: str, native: Sequence[str], zones: Sequence[str]) -> dict[str, list[str]]:
    """Return in which zones each type is, as wished or by name."""
    filters = [{"Name": "instance-type", "Values": list(native)}]
    if zones:
        filters.append({"Name": "location", "Values": list(zones)})
    found: dict[str, list[str]] = {}
    for each in account.pages(
        "ec2", region, "describe_instance_type_offerings", "InstanceTypeOfferings", LocationType="availability-zone", Filters=filters
    ):
        found.setdefault(str(each["InstanceType"]), []).append(str(each["Location"]))
    order = {zone: place for place, zone in enumerate(zones)}
    return {type: sorted(where, key=lambda zone: (order.get(zone, 0), zone)) for type, where in found.items()}


def _offer(described: dict[str, Any], region: str, zone: str, wish: MachineWish, price: float | None) -> Offer:
    type = str(described["InstanceType"])
    gpu, count = _gpu(described)
    if wish.spot and wish.spot_price is not None:
        # A spot machine costs what the market says, and never more than was offered.
        price = wish.spot_price if price is None else min(price, wish.spot_price)
    return Offer(
        cloud="aws",
        type=type,
        region=region,
        zone=zone,
        spot=wish.spot,
        hourly=price,
        cpus=_cpus(described),
        memory_gb=_memory(described),
        gpu=gpu,
        gpus=count,
    )
