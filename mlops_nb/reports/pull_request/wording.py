"""The verdict of a pull-request report in words, and the order in which a reviewer asks for the rest."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from mlops_nb.core.comparison import Direction
from mlops_nb.core.comparison import Verdict as MetricVerdict
from mlops_nb.core.formatting import LARGE, SMALL, exponent, format_number
from mlops_nb.reports.document import Tone
from mlops_nb.reports.pull_request.data import Gate, GateOutcome, Metric, Notebook, Number, PullRequestReport, Verdict, number
from mlops_nb.reports.pull_request.flavors import Flavor

SIGNS: dict[Tone, str] = {"good": "✅", "bad": "❌", "warning": "⚠️", "open": "⏳", "neutral": "⚪"}
ARROWS = {Direction.HIGHER: " ↑", Direction.LOWER: " ↓", Direction.NONE: ""}
VERDICTS = {
    MetricVerdict.BETTER: "▲ better",
    MetricVerdict.WORSE: "▼ worse",
    MetricVerdict.NOISE: "≈ noise",
    MetricVerdict.SAME: "= same",
    MetricVerdict.DIFFERENT: "≠ different",
    MetricVerdict.NEW: "new",
    MetricVerdict.MISSING: "missing",
    MetricVerdict.NOT_COMPARABLE: "not comparable",
}
_ORDER = (
    *(Verdict.FAILED, Verdict.GATE_FAILED, Verdict.WORSE, Verdict.NOT_COMPARABLE, Verdict.MIXED),
    *(Verdict.IMPROVES, Verdict.NO_BASELINE, Verdict.NOISE),
)


_MOST_FIXED = 8
"""Decimal places up to which small numbers are written out."""


def failed_gates(notebook: Notebook) -> list[Metric]:
    """Return the metrics with a gate that fails."""
    return [metric for metric in notebook.metrics if any(gate.is_failure for gate in metric.gates)]


def has_gates(notebook: Notebook) -> bool:
    """Return whether any metric of the notebook has a gate."""
    return any(metric.gates for metric in notebook.metrics)


def tone_of(notebook: Notebook) -> Tone:
    """Return the verdict in one sign: red only where the check fails or a metric is worse without a gate to allow it."""
    if notebook.verdict is Verdict.FAILED or failed_gates(notebook):
        return "bad"
    if notebook.verdict is Verdict.WORSE:
        return "warning" if has_gates(notebook) else "bad"
    tones: dict[Verdict, Tone] = {Verdict.IMPROVES: "good", Verdict.MIXED: "warning", Verdict.NOT_COMPARABLE: "warning"}
    return tones.get(notebook.verdict, "good" if has_gates(notebook) else "neutral")


def by_urgency(report: PullRequestReport) -> list[Notebook]:
    """Return the notebooks, those first that a reviewer must look at."""
    return sorted(report.notebooks, key=lambda each: (not failed_gates(each), _ORDER.index(each.verdict)))


def base_name(notebook: Notebook, flavor: Flavor) -> str:
    """Return what the base is called, such as the branch."""
    return flavor.prose(notebook.baseline.name, 40) if notebook.baseline and notebook.baseline.name else "the base"


def headline(notebook: Notebook, flavor: Flavor) -> str:
    """Return the verdict and what to do, in one line."""
    base = base_name(notebook, flavor)
    failed = failed_gates(notebook)
    failure = notebook.failure
    cell = f" at cell {failure.cell}" if failure and failure.cell else ""
    words = {
        Verdict.IMPROVES: f"Improves on {base}",
        Verdict.WORSE: f"Worse than {base}",
        Verdict.GATE_FAILED: "Not as the gates ask",
        Verdict.MIXED: f"Better and worse than {base}",
        Verdict.NOISE: f"No difference from {base} beyond noise",
        Verdict.FAILED: f"Failed{cell}",
        Verdict.NOT_COMPARABLE: f"Not comparable with {base}",
        Verdict.NO_BASELINE: "No baseline yet",
    }[notebook.verdict]
    return f"{words} — {_advice(notebook, failed, flavor)}"


def _advice(notebook: Notebook, failed: Sequence[Metric], flavor: Flavor) -> str:
    if notebook.next_step:
        return flavor.prose(notebook.next_step, 200)
    if notebook.verdict is Verdict.FAILED:
        return "do not merge before it runs to its end"
    if failed:
        named = ", ".join(flavor.code(metric.key, 40) for metric in failed[:2])
        more = f" and {len(failed) - 2:,} more" if len(failed) > 2 else ""
        return f"{'a gate fails' if len(failed) == 1 else f'{len(failed):,} gates fail'}: {named}{more}"
    gates = has_gates(notebook)
    return {
        Verdict.IMPROVES: "safe to merge" if gates else "no gate is set",
        Verdict.WORSE: "within the gates" if gates else "no gate is set: decide by the table",
        Verdict.GATE_FAILED: "decide by the table",
        Verdict.MIXED: "within the gates: weigh them" if gates else "weigh them: no gate is set",
        Verdict.NOISE: "safe to merge" if gates else "no gate is set",
        Verdict.NOT_COMPARABLE: f"run the base again on the same data ({flavor.code('--baseline rerun')})",
        Verdict.NO_BASELINE: "the first run of the default branch will be one",
    }[notebook.verdict]


def verdict_line(report: PullRequestReport, flavor: Flavor) -> str:
    """Return the first line of a report of several notebooks."""
    bad = [each for each in report.notebooks if tone_of(each) == "bad"]
    count = len(report.notebooks)
    if bad:
        what = "failed" if all(each.verdict is Verdict.FAILED for each in bad) else "must not be merged as they are"
        what = what if len(bad) > 1 or what == "failed" else "must not be merged as it is"
        return f"{SIGNS['bad']} {len(bad)} of {count} notebooks {what}"
    ordered = by_urgency(report)
    alike = Counter(headline(each, flavor).split(" — ")[0] for each in ordered)
    (words, number_of), *others = alike.items()
    said = [f"{count if number_of == count else f'{number_of} of {count}'} notebooks: {words}"]
    said += [f"{number_of}: {words[0].lower()}{words[1:]}" for words, number_of in others]
    gates = " — no gate fails" if any(map(has_gates, ordered)) else ""
    return f"{SIGNS[tone_of(ordered[0])]} {'; '.join(said)}{gates}"


def verdict(report: PullRequestReport, flavor: Flavor) -> str:
    """Return the verdict of a report in one line, without the commits."""
    if len(report.notebooks) > 1:
        return verdict_line(report, flavor)
    (only,) = report.notebooks
    return f"{SIGNS[tone_of(only)]} {headline(only, flavor)}"


def verdicts(report: PullRequestReport, flavor: Flavor) -> str:
    """Return the verdict of each notebook in a line."""
    lines = (f"{SIGNS[tone_of(each)]} {flavor.code(each.key)}: {headline(each, flavor)}" for each in by_urgency(report))
    return "\n".join(lines)


def decimals_of(metric: Metric) -> int | None:
    """Return decimal places for all numbers of a row: four digits of the largest, two of the smallest difference."""
    values = [value for each in (metric.base, metric.this) if (value := number(each)) is not None and math.isfinite(value)]
    if not values or all(value.is_integer() and abs(value) < LARGE for value in values):
        return None
    gap = number(metric.difference)
    start = max(map(exponent, values))
    wanted = [4 if start <= 0 else max(0, 3 - start)]
    if gap and math.isfinite(gap):
        wanted.append(1 - exponent(gap))
    return min(12, max(wanted))


def shown(value: Number, decimals: int | None, *, signed: bool = False) -> str:
    """Return a value for people."""
    found = number(value)
    if found is not None and decimals is not None and decimals <= _MOST_FIXED and 0 < abs(found) < SMALL:
        # Beside numbers with as many places a power of ten is harder to compare.
        sign = "\u2212" if found < 0 else "+" if signed else ""
        return f"{sign}{abs(found):.{decimals}f}"
    return format_number(found, decimals=decimals, signed=signed)


def difference(metric: Metric) -> str:
    """Return the difference with its interval."""
    decimals = decimals_of(metric)
    if metric.difference is None:
        return "–"
    text = shown(metric.difference, decimals, signed=True)
    if metric.interval is None:
        return text
    low, high = (shown(end, decimals, signed=True) for end in metric.interval)
    return f"{text} [{low},\u00a0{high}]"


def reason_of(metric: Metric, gate: Gate) -> str:
    """Return why a gate fails; the row that it stands in names the metric already."""
    name = f"'{metric.key}' "
    return gate.reason.removeprefix(name).removeprefix("is ") if gate.reason.startswith(name) else gate.reason


def gate_rank(metric: Metric) -> int:
    """Return a sort key: gates that fail, then those that nobody can judge, then the others."""
    if any(gate.is_failure for gate in metric.gates):
        return 0
    unsure = (GateOutcome.MISSING, GateOutcome.NOT_COMPARABLE, GateOutcome.NOISE)
    return 1 if any(gate.outcome in unsure for gate in metric.gates) else 2 if metric.gates else 3
