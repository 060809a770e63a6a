"""What machines cost by the tables that are here, for clouds that cannot be asked: no key, no network, no promise of capacity."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from mlops_nb.clouds import sizes
from mlops_nb.core.runners import CloudName, MachineWish, Offer

PRICES_OF = "2025-06"
"""When the tables were right, to our knowledge."""


def listed_offers(cloud: CloudName, wish: MachineWish) -> Sequence[Offer]:
    """Return the machines of a wish that have a price in the tables. Spot machines have none: their price changes by the hour.

    Raises:
        WishRefused: If there is no such size or GPU.
    """
    if cloud not in _PRICES or wish.spot:
        return []
    region = sizes.region_of(cloud, wish.region)
    found = []
    for word in wish.types or [""]:
        for native in sizes.types_of(cloud, word, wish.gpu, wish.gpus):  # type: ignore[arg-type]  # those of _PRICES
            hourly = _PRICES[cloud](native, region)
            if hourly is not None:
                gpu, gpus = sizes.gpu_of_type(cloud, native)  # type: ignore[arg-type]
                found.append(Offer(cloud=cloud, type=native, region=region, hourly=hourly, gpu=gpu, gpus=gpus))
    return found


def _aws(native: str, region: str) -> float | None:
    from mlops_nb.clouds.aws.prices import listed

    return listed(native, region)


def _gcp(native: str, region: str) -> float | None:
    from mlops_nb.clouds.gcp.prices import hourly
    from mlops_nb.clouds.gcp.types import shape_of

    return hourly(shape_of(native), region)


def _azure(native: str, region: str) -> float | None:
    from mlops_nb.clouds.azure.prices import listed

    return listed(native, region)


_PRICES: Mapping[CloudName, Callable[[str, str], float | None]] = {"aws": _aws, "gcp": _gcp, "azure": _azure}
