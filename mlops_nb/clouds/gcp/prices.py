"""List prices of Google Cloud's machines. Pure; no I/O.

US dollars an hour on demand, Linux, without discounts, disks and traffic, rounded as on Google's price list. What is not in
these tables has no price here, rather than a guess. Spot machines cost 9 to 40 % of it, by a rate that changes monthly: the
list price bounds theirs from above.
"""

from __future__ import annotations

from collections.abc import Mapping

from mlops_nb.clouds.gcp.types import MachineShape

PRICES_OF = "2025-06"
"""When these were the prices."""

# A CPU and a GiB of memory, in Iowa, Oregon and South Carolina.
_FAMILIES: Mapping[str, tuple[float, float]] = {
    "e2": (0.021811, 0.002923),
    "n1": (0.031611, 0.004237),
    "n2": (0.031611, 0.004237),
    "n2d": (0.027502, 0.003686),
    "c2": (0.03398, 0.00455),
    "g2": (0.024988, 0.002927),
    "t2d": (0.027502, 0.003686),
}
_SHARED: Mapping[str, float] = {"e2-micro": 0.008376, "e2-small": 0.016751, "e2-medium": 0.033503, "f1-micro": 0.0076, "g1-small": 0.0257}
_GPUS: Mapping[str, float] = {
    "nvidia-tesla-t4": 0.35,
    "nvidia-tesla-v100": 2.48,
    "nvidia-tesla-p100": 1.46,
    "nvidia-tesla-p4": 0.60,
    "nvidia-l4": 0.560040,
}
_WHOLE: Mapping[str, float] = {
    "a2-highgpu-1g": 3.673385,
    "a2-highgpu-2g": 7.346770,
    "a2-highgpu-4g": 14.693540,
    "a2-highgpu-8g": 29.387080,
    "a2-megagpu-16g": 55.739504,
    "a2-ultragpu-1g": 5.068798,
    "a2-ultragpu-2g": 10.137596,
    "a2-ultragpu-4g": 20.275192,
    "a2-ultragpu-8g": 40.550384,
    "a3-highgpu-1g": 11.061300,
    "a3-highgpu-2g": 22.122600,
    "a3-highgpu-4g": 44.245200,
    "a3-highgpu-8g": 88.490000,
}
# How much dearer a region is, at most by a machine's kind.
_REGIONS: Mapping[str, float] = {
    "us-central1": 1.0,
    "us-west1": 1.0,
    "us-east1": 1.0,
    "us-east4": 1.13,
    "us-west2": 1.21,
    "us-west4": 1.13,
    "europe-west1": 1.11,
    "europe-west4": 1.11,
    "europe-west2": 1.29,
    "europe-west3": 1.29,
    "europe-north1": 1.11,
    "asia-east1": 1.16,
    "asia-southeast1": 1.24,
    "asia-northeast1": 1.29,
}


def hourly(shape: MachineShape, region: str) -> float | None:
    """Return the list price of a machine in US dollars an hour; None: it is not known here."""
    factor = _REGIONS.get(region)
    if factor is None:
        return None
    price = _WHOLE.get(shape.machine)
    if price is None:
        price = _SHARED.get(shape.machine)
    if price is None:
        rates = _FAMILIES.get(shape.family)
        if rates is None or shape.cpus is None or shape.memory_gb is None or (shape.is_custom and shape.family not in ("e2", "n1", "n2")):
            return None
        price = shape.cpus * rates[0] + shape.memory_gb * rates[1]
        if shape.is_custom:
            price *= 1.05  # what custom shapes cost more, at most
    if shape.gpus and shape.machine not in _WHOLE:
        one = _GPUS.get(shape.accelerator)
        if one is None:
            return None
        price += shape.gpus * one
    return round(price * factor, 4)
