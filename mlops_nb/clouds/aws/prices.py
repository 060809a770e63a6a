"""List prices of EC2's on-demand Linux machines, in US dollars an hour, without tax."""

from __future__ import annotations

from collections.abc import Mapping

DATE = "2026-11"

_PRICES: Mapping[str, float] = {"t3.small": 0.0208, "m7i.2xlarge": 0.4032, "m6i.2xlarge": 0.384, "m5.2xlarge": 0.384, "t3.micro": 0.0104}


def hourly(type: str, region: str) -> float | None:
    """Return the list price of a machine type in a region; None: not known here."""
    return _PRICES.get(type)


def known_types() -> list[str]:
    """Return the types whose price is known."""
    return list(_PRICES)


def plain_types() -> list[str]:
    """Return the types without GPU whose price is known."""
    return list(_PRICES)
