"""The verdict on a notebook, from what became of the metrics that count."""

from __future__ import annotations

from collections.abc import Sequence

from mlops_nb.core.comparison import MetricRow
from mlops_nb.core.comparison import Verdict as MetricVerdict
from mlops_nb.core.gates import GateResult
from mlops_nb.reports.pull_request.data import Gate, GateOutcome, Metric, Verdict


def judge(metrics: Sequence[Metric], *, has_baseline: bool, failed: bool = False) -> Verdict:
    """Return what became of a notebook.

    Args:
        metrics: All of them, the most important first; those with gates decide, without gates the first.
        has_baseline: Whether there is anything to compare with.
        failed: Whether it did not run to its end.
    """
    if failed:
        return Verdict.FAILED
    gated = [metric for metric in metrics if metric.gates]
    failing = [metric for metric in gated if any(gate.is_failure for gate in metric.gates)]
    if failing:
        return Verdict.WORSE if any(metric.verdict is MetricVerdict.WORSE for metric in failing) else Verdict.GATE_FAILED
    if not has_baseline:
        return Verdict.NO_BASELINE
    found = {metric.verdict for metric in gated or metrics[:1]}
    if {MetricVerdict.BETTER, MetricVerdict.WORSE} <= found:
        return Verdict.MIXED
    if MetricVerdict.WORSE in found:
        return Verdict.WORSE
    if MetricVerdict.BETTER in found:
        return Verdict.IMPROVES
    told = found - {MetricVerdict.NOT_COMPARABLE, MetricVerdict.NEW, MetricVerdict.MISSING}
    return Verdict.NOISE if told else Verdict.NOT_COMPARABLE


def metrics_of(rows: Sequence[MetricRow], gates: Sequence[GateResult] = (), *, has_baseline: bool = True) -> list[Metric]:
    """Return metrics with the results of their gates.

    Args:
        rows: Of the comparison of the baseline with this run, the most important first.
        gates: The results; one whose metric is in no row makes a row of its own.
        has_baseline: False where `rows` are of this run alone.
    """
    by_metric: dict[str, list[GateResult]] = {}
    for result in gates:
        by_metric.setdefault(result.metric, []).append(result)
    found = []
    for row in rows:
        judged = by_metric.pop(row.key, [])
        change = row.changes[0] if row.changes else None
        # A gate's test is corrected for the gated metrics alone, as the reader is told.
        known = next((result for result in judged if result.verdict is not None), None) or change
        found.append(
            Metric(
                key=row.key[:400],
                direction=judged[0].direction if judged else row.direction,
                base=row.base if has_baseline and change else None,
                this=change.value if has_baseline and change else row.base,
                difference=known.difference if known else None,
                interval=known.interval if known else None,
                p_value=known.p_value if known else None,
                verdict=(known.verdict if known else None) or MetricVerdict.NEW,
                note=known.note[:2000] if known else "",
                gates=[_gate(result) for result in judged[:50]],
            )
        )
    for key, results in by_metric.items():
        one = results[0]
        verdict = one.verdict or (MetricVerdict.MISSING if one.value is None else MetricVerdict.NEW)
        gates_of_it = [_gate(result) for result in results[:50]]
        found.append(Metric(key=key[:400], direction=one.direction, base=one.base, this=one.value, verdict=verdict, gates=gates_of_it))
    return found


def _gate(result: GateResult) -> Gate:
    return Gate(
        limit=result.limit[:400], outcome=GateOutcome(result.outcome.value), is_failure=result.is_failure, reason=result.reason[:2000]
    )
