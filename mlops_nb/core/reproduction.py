"""Whether a run that was repeated gave the same metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape

from mlops_nb.core.formatting import format_number
from mlops_nb.core.records import Record, Run

DEFAULT_TOLERANCE = 1e-6
_UNREPEATABLE = ("system/", "system.")


class MetricAgreement(Record, frozen=True, kw_only=True):
    """The final value of one metric, then and now. `tolerance` is relative; `again` is None where it was not logged."""

    key: str
    value: float
    again: float | None
    tolerance: float

    @property
    def agrees(self) -> bool:
        """Whether the values are the same within the tolerance; NaN is the same as NaN."""
        if self.again is None:
            return math.isinf(self.tolerance)
        if self.value == self.again or (math.isnan(self.value) and math.isnan(self.again)):
            return True
        if math.isinf(self.value) or math.isinf(self.again):
            return math.isinf(self.tolerance)
        return abs(self.value - self.again) <= self.tolerance * max(abs(self.value), abs(self.again))


class Reproduction(Record, frozen=True, kw_only=True):
    """What came out when a run was repeated.

    Attributes:
        run_id: The run that was repeated.
        name: Its name.
        again_id: The run that repeated it; None if it came to none.
        metrics: How its metrics came out, by key.
        cells: How many cells were run.
        reason: Why it could not be repeated to the end; None if it could.
    """

    run_id: str
    name: str
    again_id: str | None
    metrics: list[MetricAgreement] = []
    cells: int = 0
    reason: str | None = None

    @property
    def verified(self) -> bool | None:
        """Whether the run is reproducible; None if it has no metrics that could tell."""
        if self.reason is not None:
            return False
        return all(metric.agrees for metric in self.metrics) if self.metrics else None

    @property
    def verdict(self) -> str:
        """The result in one line."""
        count = f"{self.cells} cell{'' if self.cells == 1 else 's'}"
        if self.reason is not None:
            return f"{self.name}: not reproduced · {count} · {self.reason}"
        if self.verified is None:
            return f"{self.name}: {count} ran again, but there are no metrics to compare"
        agreeing = sum(metric.agrees for metric in self.metrics)
        said = "reproduced" if self.verified else "not reproduced"
        return f"{self.name}: {said} · {count} · {agreeing} of {len(self.metrics)} metrics agree"

    def __str__(self) -> str:
        return "\n".join([self.verdict, *("  " + "  ".join(row) for row in self._rows())])

    def _rows(self) -> list[list[str]]:
        return [
            [
                "✓" if metric.agrees else "✗",
                metric.key,
                format_number(metric.value),
                "missing" if metric.again is None else format_number(metric.again),
                "" if metric.again is None or metric.agrees else f"differs by {format_number(metric.again - metric.value)}",
            ]
            for metric in self.metrics
        ]

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        return {"text/plain": str(self), "text/html": self._repr_html_()}

    def _repr_html_(self) -> str:
        colour = "var(--jp-success-color1, #2e7d32)" if self.verified else "var(--jp-warn-color1, #b26a00)"
        rows = "".join(
            "<tr>" + "".join(f'<td style="text-align:left">{escape(text)}</td>' for text in row) + "</tr>" for row in self._rows()[:100]
        )
        table = f"<table><tr><th></th><th>metric</th><th>then</th><th>now</th><th></th></tr>{rows}</table>" if rows else ""
        return f'<div style="border-left:3px solid {colour};padding:2px 10px;margin:2px 0"><b>{escape(self.verdict)}</b>{table}</div>'


def agreements(run: Run, again: Run | None, tolerance: float | Mapping[str, float] = DEFAULT_TOLERANCE) -> list[MetricAgreement]:
    """Return how the final metrics of a run came out again; what the machine measured of itself is left out.

    Args:
        run: The run that was repeated.
        again: The run that repeated it.
        tolerance: Relative; one for all metrics, or by key, where others get the default. `inf` accepts anything.
    """
    by_key = tolerance if isinstance(tolerance, Mapping) else {}
    default = DEFAULT_TOLERANCE if isinstance(tolerance, Mapping) else float(tolerance)
    found = again.metrics if again is not None else {}
    return [
        MetricAgreement(
            key=key,
            value=metric.value,
            again=found[key].value if key in found else None,
            tolerance=float(by_key.get(key, default)),
        )
        for key, metric in sorted(run.metrics.items())
        if not key.startswith(_UNREPEATABLE)
    ]
