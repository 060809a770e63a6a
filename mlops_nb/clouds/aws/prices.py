"""List prices of EC2's on-demand Linux machines, in US dollars an hour, without tax, disk and traffic.

The table has what CML's sizes and wishes lead to; what it has not is asked of AWS's Price List API, where the credentials may.
Prices within a family follow its size, and those of a region follow the family: kept is one price a family and region, within 1 %.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from mlops_nb.clouds.aws.account import Account
from mlops_nb.clouds.base import CloudError

DATE = "2025-06"
"""When these were the prices, to our knowledge; they were not read from AWS."""
HOME = "us-east-1"
_US = ("us-east-1", "us-east-2", "us-west-2")
# The Price List API answers from a few regions alone.
_PRICE_REGION = "us-east-1"

_SIZES: Mapping[str, float] = {
    "nano": 1 / 64,
    "micro": 1 / 32,
    "small": 1 / 16,
    "medium": 1 / 8,
    "large": 1 / 4,
    "xlarge": 1 / 2,
    "2xlarge": 1,
    "4xlarge": 2,
    "8xlarge": 4,
    "12xlarge": 6,
    "16xlarge": 8,
    "24xlarge": 12,
    "48xlarge": 24,
}
_M7I: Mapping[str, float] = {
    **dict.fromkeys(_US, 0.4032),
    "us-west-1": 0.4704,
    "ca-central-1": 0.4494,
    "eu-central-1": 0.483,
    "eu-north-1": 0.4284,
    "eu-south-1": 0.4704,
    "eu-south-2": 0.4494,
    "eu-west-1": 0.4494,
    "eu-west-2": 0.4662,
    "eu-west-3": 0.4704,
    "ap-east-1": 0.5544,
    "ap-northeast-1": 0.5208,
    "ap-northeast-2": 0.4956,
    "ap-northeast-3": 0.5208,
    "ap-south-1": 0.4242,
    "ap-southeast-1": 0.504,
    "ap-southeast-2": 0.504,
    "me-central-1": 0.49436,
}
_T3: Mapping[str, float] = {
    **dict.fromkeys(_US, 0.3328),
    "us-west-1": 0.3968,
    "ca-central-1": 0.3712,
    "eu-central-1": 0.384,
    "eu-north-1": 0.3456,
    "eu-west-1": 0.3648,
    "eu-west-2": 0.3776,
    "eu-west-3": 0.3776,
    "ap-northeast-1": 0.4352,
    "ap-northeast-2": 0.416,
    "ap-south-1": 0.3584,
    "ap-southeast-1": 0.4224,
    "ap-southeast-2": 0.4224,
}
# Of the size 2xlarge, by family and region.
_PLAIN: Mapping[str, Mapping[str, float]] = {
    "t3": _T3,
    "t3a": dict.fromkeys(_US, 0.3008),
    "m5": {region: price / 1.05 for region, price in _M7I.items()},
    "m6i": {region: price / 1.05 for region, price in _M7I.items()},
    "m7i": _M7I,
    "c7i": dict.fromkeys(_US, 0.357),
    "r7i": dict.fromkeys(_US, 0.5292),
}
_PLAIN_SIZES: Mapping[str, Sequence[str]] = {
    "t3": ("small", "medium", "large"),
    "c7i": ("large", "xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge", "16xlarge", "24xlarge", "48xlarge"),
    "m7i": ("large", "xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge", "16xlarge", "24xlarge", "48xlarge"),
    "r7i": ("large", "xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge", "16xlarge", "24xlarge", "48xlarge"),
}

# In us-east-1, and how much more a family costs elsewhere.
_GPU: Mapping[str, float] = {
    "g4dn.xlarge": 0.526,
    "g4dn.2xlarge": 0.752,
    "g4dn.4xlarge": 1.204,
    "g4dn.8xlarge": 2.176,
    "g4dn.12xlarge": 3.912,
    "g4dn.16xlarge": 4.352,
    "g4dn.metal": 7.824,
    "g5.xlarge": 1.006,
    "g5.2xlarge": 1.212,
    "g5.4xlarge": 1.624,
    "g5.8xlarge": 2.448,
    "g5.12xlarge": 5.672,
    "g5.16xlarge": 4.096,
    "g5.24xlarge": 8.144,
    "g5.48xlarge": 16.288,
    "g6.xlarge": 0.8048,
    "g6.2xlarge": 0.9776,
    "g6.4xlarge": 1.3232,
    "g6.8xlarge": 2.0144,
    "g6.12xlarge": 4.6016,
    "g6.16xlarge": 3.3968,
    "g6.24xlarge": 6.6752,
    "g6.48xlarge": 13.3504,
    "g6e.xlarge": 1.861,
    "g6e.2xlarge": 2.24208,
    "g6e.4xlarge": 3.00424,
    "g6e.8xlarge": 4.52856,
    "g6e.12xlarge": 10.49264,
    "g6e.16xlarge": 7.57719,
    "g6e.24xlarge": 15.06559,
    "g6e.48xlarge": 30.13118,
    "p4d.24xlarge": 21.957642,
    "p4de.24xlarge": 27.44705,
    "p5.4xlarge": 6.88,
    "p5.48xlarge": 55.04,
    "p5en.48xlarge": 63.296,
}
_HERE = dict.fromkeys(_US, 1.0)
_G5: Mapping[str, float] = {
    **_HERE,
    "ca-central-1": 1.1103,
    "eu-central-1": 1.2505,
    "eu-north-1": 1.0606,
    "eu-west-1": 1.1163,
    "eu-west-2": 1.2694,
    "eu-west-3": 1.2694,
    "ap-northeast-1": 1.4503,
    "ap-northeast-2": 1.2296,
    "ap-south-1": 1.2008,
    "ap-southeast-2": 1.3002,
    "ap-southeast-3": 1.3996,
    "me-central-1": 1.228,
}
_MORE: Mapping[str, Mapping[str, float]] = {
    "g4dn": {
        **_HERE,
        "us-west-1": 1.2,
        "ca-central-1": 1.11,
        "eu-central-1": 1.251,
        "eu-north-1": 1.061,
        "eu-west-1": 1.116,
        "eu-west-2": 1.169,
        "eu-west-3": 1.169,
        "ap-northeast-1": 1.35,
        "ap-northeast-2": 1.23,
        "ap-south-1": 1.101,
        "ap-southeast-1": 1.399,
        "ap-southeast-2": 1.3,
    },
    "g5": _G5,
    "g6": _G5,
    "g6e": _G5,
    "p4d": _HERE,
    "p4de": {"us-east-1": 1.0, "us-west-2": 1.0},
    "p5": {
        **_HERE,
        "us-west-1": 1.25,
        "ap-northeast-1": 1.25,
        "ap-south-1": 1.2,
        "ap-southeast-2": 1.3,
        "ap-southeast-3": 1.38,
        "eu-west-2": 1.3,
    },
    "p5en": {**_HERE, "ap-northeast-1": 1.25, "ap-south-1": 1.2, "eu-north-1": 1.07, "eu-south-2": 1.08, "me-central-1": 1.2},
}


def listed(type: str, region: str) -> float | None:
    """Return the price of a machine type in a region by the table; None: it has none."""
    family, _, size = type.partition(".")
    if type in _GPU:
        more = _MORE[family].get(region)
        return None if more is None else round(_GPU[type] * more, 5)
    base, share = _PLAIN.get(family, {}).get(region), _SIZES.get(size)
    return None if base is None or share is None else round(base * share, 5)


def hourly(account: Account, type: str, region: str) -> float | None:
    """Return the price of a machine type in a region, by the table or by AWS; None: neither says it."""
    price = listed(type, region)
    return _asked(account, type, region) if price is None else price


def known_types() -> list[str]:
    """Return the types that the table has."""
    return [*plain_types(), *_GPU]


def plain_types() -> list[str]:
    """Return the types without GPU that a wish for CPUs and memory is served from, the cheapest first."""
    types = [f"{family}.{size}" for family, sizes in _PLAIN_SIZES.items() for size in sizes]
    return sorted(types, key=lambda type: listed(type, HOME) or 0.0)


def regions_of(type: str) -> list[str]:
    """Return the regions of which the table has a price for a type: there it can be had."""
    family = type.partition(".")[0]
    return sorted(_MORE.get(family) or _PLAIN.get(family) or ())


def _asked(account: Account, type: str, region: str) -> float | None:
    wanted = {
        "instanceType": type,
        "regionCode": region,
        "operatingSystem": "Linux",
        "preInstalledSw": "NA",
        "tenancy": "Shared",
        "capacitystatus": "Used",
    }
    filters = [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in wanted.items()]
    # Who may not see prices may have machines all the same; a launch with a cost limit then says that it does not know the price.
    with contextlib.suppress(CloudError):
        answer = account.call("pricing", _PRICE_REGION, "get_products", ServiceCode="AmazonEC2", Filters=filters, once=True)
        return _on_demand(answer.get("PriceList") or ())
    return None


def _on_demand(products: Sequence[str | Mapping[str, Any]]) -> float | None:
    """Return the hourly price in a list of products, whose form is AWS's; None: there is none."""
    for product in products:
        try:
            terms = (json.loads(product) if isinstance(product, str) else product)["terms"]["OnDemand"]
            prices = [float(each["pricePerUnit"]["USD"]) for term in terms.values() for each in term["priceDimensions"].values()]
        except (KeyError, TypeError, ValueError, AttributeError):
            continue
        if any(price > 0 for price in prices):
            return max(prices)
    return None
