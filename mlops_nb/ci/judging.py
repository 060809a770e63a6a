"""A run against its baseline: the comparison, with the gated metrics tested as one family, and what came of the gates."""

from __future__ import annotations

import os
from collections.abc import Sequence

import msgspec

from mlops_nb.ci.baseline import Baseline
from mlops_nb.ci.baseline_file import rows_of
from mlops_nb.comparing.comparison import Comparison, compare_runs, redacted_run
from mlops_nb.comparing.evidence import Sig, evidence_of_rows
from mlops_nb.core.comparison import Evidence, RunComparison, compare
from mlops_nb.core.gates import Gate, GateResult, evaluate, gated_metrics, marked
from mlops_nb.core.records import Run
from mlops_nb.core.redaction import Redactor
from mlops_nb.store.base import TrackingStore

_ALPHA = 0.05


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a run. `result` is of the baseline with the run; `comparison` is it with cells and data, where the store has both."""

    gates: tuple[GateResult, ...]
    result: RunComparison | None = None
    comparison: Comparison | None = None


def judge(store: TrackingStore, run: Run, baseline: Baseline | None, gates: Sequence[Gate], *, is_quick: bool = False) -> Judged:
    """Compare a run with its baseline and apply the gates.

    Args:
        store: Where the run is.
        run: The run.
        baseline: What it is compared with; None: only bounds can be judged.
        gates: Those for its notebook.
        is_quick: Leave the tests of noise out.

    Raises:
        StoreError: If the store cannot be read.
    """
    if baseline is None:
        return Judged(gates=evaluate(gates, run, None, None))
    base = baseline.run
    keys = list(dict.fromkeys((*run.metrics, *base.metrics)))
    marks = marked([(gate, metric) for gate, metric in gated_metrics(gates, keys) if metric in keys])
    sig = Sig.OFF if is_quick else Sig.AUTO
    if not baseline.is_stored:
        result = _with_file(store, run, baseline, keys, marks)
        return Judged(gates=evaluate(gates, run, base, result), result=result)
    comparison = compare_runs(store, [base, run], metrics=marks, sig=Sig.OFF if marks else sig)
    if marks and sig is not Sig.OFF:
        # The correction for many tests is to count the gates only: else each metric that is logged makes them blinder.
        gated = compare_runs(store, [base, run], metrics=marks, only=True, sig=sig).result
        rows = {row.key: row for row in gated.metrics}
        comparison.result = msgspec.structs.replace(
            comparison.result,
            metrics=tuple(rows.get(row.key, row) for row in comparison.result.metrics),
            significance=gated.significance,
            outcome=gated.outcome,
            headline=gated.headline,
            verdict=gated.verdict,
        )
    return Judged(gates=evaluate(gates, run, base, comparison.result), result=comparison.result, comparison=comparison)


def _with_file(store: TrackingStore, run: Run, baseline: Baseline, keys: Sequence[str], marks: Sequence[str]) -> RunComparison:
    """Compare with a run of which only a file is left: its values, and whether they are of the same data and rows."""
    redact = Redactor(os.environ)
    base, this = redacted_run(baseline.run, redact), redacted_run(run, redact)
    evidence = evidence_of_rows(store, base, [this], keys, Sig.OFF, _ALPHA).evidence
    rows = rows_of(store, run)
    for key in keys:
        if key in rows and key in baseline.rows and rows[key] != baseline.rows[key]:
            evidence[key, 0] = Evidence(is_comparable=False, note="other evaluation rows")
    return compare(base, [this], metrics=marks, evidence=evidence)
