"""Prices of Azure's machines: as Microsoft's public price service says now, or list prices that stand here."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

SERVICE = "https://prices.azure.com/api/retail/prices"
PRICES_OF = "2025-06"
"""When those were the prices that stand here."""
_MOST_PAGES = 3
_log = logging.getLogger(__name__)

# US dollars an hour on demand for Linux, in East US and West US 2.
_LIST: Mapping[str, float] = {
    "Standard_B1s": 0.0104,
    "Standard_B1ms": 0.0207,
    "Standard_B2s": 0.0416,
    "Standard_D2s_v5": 0.096,
    "Standard_D4s_v5": 0.192,
    "Standard_D8s_v5": 0.384,
    "Standard_D16s_v5": 0.768,
    "Standard_D32s_v5": 1.536,
    "Standard_D64s_v5": 3.072,
    "Standard_D8as_v5": 0.344,
    "Standard_D32as_v5": 1.376,
    "Standard_D64as_v5": 2.752,
    "Standard_NC4as_T4_v3": 0.526,
    "Standard_NC8as_T4_v3": 0.752,
    "Standard_NC16as_T4_v3": 1.204,
    "Standard_NC64as_T4_v3": 4.352,
    "Standard_NV36ads_A10_v5": 3.20,
    "Standard_NV72ads_A10_v5": 6.52,
    "Standard_NC24ads_A100_v4": 3.673,
    "Standard_NC48ads_A100_v4": 7.346,
    "Standard_NC96ads_A100_v4": 14.692,
    "Standard_NC40ads_H100_v5": 6.98,
    "Standard_NC80adis_H100_v5": 13.96,
    "Standard_ND96isr_H100_v5": 98.32,
}
_REGIONS: Mapping[str, float] = {"eastus": 1.0, "westus2": 1.0, "northeurope": 1.12, "westeurope": 1.20}
"""How much dearer a region is, at most."""


def listed(vm_size: str, region: str) -> float | None:
    """Return the list price on demand that stands here, in US dollars an hour; None: there is none."""
    price, factor = _LIST.get(vm_size), _REGIONS.get(region)
    return None if price is None or factor is None else round(price * factor, 4)


def asked(vm_size: str, region: str, *, spot: bool, service: str = "") -> float | None:
    """Return the price that Microsoft's service says now, in US dollars an hour; None: it says none, or cannot be reached."""
    from mlops_nb.errors import MlopsError
    from mlops_nb.outgoing import session

    wish = f"serviceName eq 'Virtual Machines' and armRegionName eq '{region}' and armSkuName eq '{vm_size}' and priceType eq 'Consumption'"
    url = service or SERVICE
    allowed = [urlsplit(service).netloc] if service else []
    params: dict[str, str] | None = {"$filter": wish}
    found: list[float] = []
    try:
        with session(retries=1, allowed_hosts=allowed, timeout=(3.0, 10.0)) as asking:
            for _ in range(_MOST_PAGES):
                answer = asking.get(url, params=params)
                page: Any = answer.json() if answer.ok else {}
                found += [float(one["retailPrice"]) for one in page.get("Items") or [] if _is_it(one, spot)]
                following = page.get("NextPageLink")
                if not following or urlsplit(following).netloc != urlsplit(url).netloc:
                    break
                url, params = following, None
    except (MlopsError, ValueError, KeyError, TypeError, AttributeError) as error:  # a price is worth no failed launch
        _log.info("Microsoft's price service does not tell the price of %s: %s", vm_size, error)
    return min(found, default=None)


def _is_it(one: Mapping[str, Any], spot: bool) -> bool:
    """Say whether a meter is that of a Linux machine of the kind that is looked for."""
    meter, product = str(one.get("meterName", "")), str(one.get("productName", ""))
    usual = "Windows" not in product and "CloudServices" not in product.replace(" ", "") and "Low Priority" not in meter
    return usual and ("Spot" in meter) == spot and str(one.get("unitOfMeasure", "1 Hour")) == "1 Hour"
