"""Which metrics and params of many runs deserve a column of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mlops_nb.core.names import SYSTEM_METRICS
from mlops_nb.core.selectors import lower_is_better

_MAIN_METRICS = 3


def main_metrics(keys: Sequence[str], limit: int = _MAIN_METRICS) -> list[str]:
    """Return the metrics to show first: validation before training, scores before losses."""

    def rank(key: str) -> tuple[int, int, str]:
        low = key.lower()
        held_out = low.startswith(("val", "test", "eval", "cv")) or "/val" in low
        return (0 if held_out else 2 if low.startswith("train") else 1, int(lower_is_better(key)), key)

    return sorted((key for key in keys if not key.startswith(SYSTEM_METRICS)), key=rank)[:limit]


def common_keys(per_run: Sequence[Sequence[str]], limit: int, order: Callable[[Sequence[str], int], list[str]] | None = None) -> list[str]:
    """Return the keys that most runs have, at most `limit`; `order` puts the frequent ones in another order and cuts them."""
    counts: dict[str, int] = {}
    for keys in per_run:
        for key in keys:
            counts[key] = counts.get(key, 0) + 1
    frequent = sorted(counts, key=lambda key: (-counts[key], key))[: 3 * limit]
    return order(frequent, limit) if order else frequent[:limit]
