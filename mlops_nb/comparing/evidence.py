"""What is known of the noise of each difference: from predictions of single rows, or from repeated runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from enum import StrEnum

from mlops_nb.comparing import scores, statistics
from mlops_nb.comparing.grouping import Group
from mlops_nb.comparing.predictions import RunPredictions, paired
from mlops_nb.core.comparison import SINGLE_VALUES, Evidence
from mlops_nb.core.datasets import DatasetInput
from mlops_nb.core.names import SYSTEM_METRICS
from mlops_nb.core.records import Record, Run
from mlops_nb.errors import InvalidInput
from mlops_nb.store.base import TrackingStore

_EVALUATION = frozenset({"validation", "val", "eval", "evaluation", "test", "testing"})
_MAX_TESTS = 300
_FEW_ROWS = 30
_FULLY_DRAWN = 20
_FEWEST_DRAWS = 500


class Sig(StrEnum):
    """How differences are tested. AUTO: by predictions where there are some; SEEDS: by repeated runs; OFF: not at all."""

    AUTO = "auto"
    BOOTSTRAP = "bootstrap"
    MCNEMAR = "mcnemar"
    SEEDS = "seeds"
    OFF = "off"


class Findings(Record, frozen=True, kw_only=True):
    """Evidence by metric and place among the others, and in one line how far the differences can be trusted."""

    evidence: dict[tuple[str, int], Evidence]
    significance: str


class _Test(Record, frozen=True, kw_only=True):
    """One test, before it is corrected for the others. `p_value` is None where it could not be made."""

    method: str
    difference: float | None = None
    interval: tuple[float, float] | None = None
    p_value: float | None = None
    note: str = ""
    is_comparable: bool = True


Tests = dict[tuple[object, ...], "_Test | None"]
"""Tests that were made, so that another comparison of the same runs need not repeat them."""


def evidence_of_rows(
    store: TrackingStore, base: Run, others: Sequence[Run], keys: Sequence[str], sig: Sig, alpha: float, tested: Tests | None = None
) -> Findings:
    """Test the differences of metrics on the rows whose predictions both runs have kept.

    Args:
        store: Where the runs are.
        base: The run that the others are compared with.
        others: The others.
        keys: The metrics to be tested.
        sig: AUTO, BOOTSTRAP or MCNEMAR; OFF tells only what cannot be compared.
        alpha: The error that is allowed over all tests together.
        tested: Tests of these runs that were made before; taken from there, and added to.
    """
    made: Tests = {} if tested is None else tested
    tests: dict[tuple[str, int], _Test] = {}
    pairs = sum(key in base.metrics and key in run.metrics for key in keys for run in others)
    draws = draws_for(pairs)
    first = RunPredictions(store, base.run_id) if sig is not Sig.OFF else None
    for place, other in enumerate(others):
        second = RunPredictions(store, other.run_id) if first else None
        for key in keys:
            if key not in base.metrics or key not in other.metrics or key.startswith(SYSTEM_METRICS):
                continue
            if reason := _other_data(base, other, key):
                tests[key, place] = _Test(method="", note=reason, is_comparable=False)
            elif first and second and len(tests) < _MAX_TESTS:
                test = (base.run_id, other.run_id, key, sig, alpha, draws)
                if test not in made:
                    made[test] = _test(first, second, key, base.metrics[key].value, other.metrics[key].value, sig, alpha, draws)
                found = made[test]
                if found is not None:
                    tests[key, place] = found
    return _corrected(tests, alpha, pairs)


def draws_for(pairs: int) -> int:
    """Return how many draws each of so many tests gets: fifty runs side by side are to take seconds, not minutes."""
    return max(_FEWEST_DRAWS, min(statistics.DRAWS, statistics.DRAWS * _FULLY_DRAWN // max(1, pairs)))


def _other_data(base: Run, other: Run, key: str) -> str:
    """Return why two values of a metric measure different things, if the runs say so."""
    one, two = base.metrics[key], other.metrics[key]
    if one.dataset_digest and two.dataset_digest and one.dataset_digest != two.dataset_digest:
        return f"other evaluation data: {one.dataset_digest[:4]}… → {two.dataset_digest[:4]}…"
    if not any(part in _EVALUATION for part in key.lower().replace("/", "_").split("_")):
        return ""
    digests = [{used.dataset.digest for used in run.inputs.datasets if _is_evaluation(used)} for run in (base, other)]
    if all(digests) and digests[0].isdisjoint(digests[1]):
        return f"other evaluation data: {min(digests[0])[:4]}… → {min(digests[1])[:4]}…"
    return ""


def _is_evaluation(used: DatasetInput) -> bool:
    return (used.context or "").lower() in _EVALUATION


def _test(
    first: RunPredictions, second: RunPredictions, key: str, before: float, now: float, sig: Sig, alpha: float, draws: int
) -> _Test | None:
    """Return the test of one metric; None where its predictions are not known."""
    sources = first.source_of(key, before), second.source_of(key, now)
    if sources[0] is None or sources[1] is None:
        return None
    function, arguments = sources[0].function, sources[0].arguments
    one, two = first.of(sources[0].file), second.of(sources[1].file)
    if one is None or two is None or (sources[1].function, sources[1].arguments) != (function, arguments):
        return None
    rows = paired(one, two)
    if isinstance(rows, str):
        return _Test(method="", note=rows, is_comparable=False)
    tested = statistics.paired_bootstrap(function, rows.target, rows.base, rows.other, arguments=arguments, level=1 - alpha, draws=draws)
    if tested is None:
        return None
    count = len(rows.target)
    notes = [rows.note] if rows.note else []
    if count < _FEW_ROWS:
        notes.append(f"only {count} rows")
    is_exact = sig is not Sig.BOOTSTRAP and scores.is_accuracy(function, arguments)
    if sig is Sig.MCNEMAR and not is_exact:
        return None
    method = f"{'exact McNemar' if is_exact else 'paired bootstrap'}, n={count:,}"
    p_value = statistics.mcnemar(rows.target, rows.base, rows.other) if is_exact else tested.p_value
    # Where all rows are shared, the difference is that of the logged values, which a reader can check.
    difference = tested.difference if rows.note else None
    return _Test(method=method, difference=difference, interval=(tested.low, tested.high), p_value=p_value, note="; ".join(notes))


def evidence_of_groups(groups: Sequence[Group], keys: Sequence[str], alpha: float) -> Findings:
    """Test the differences of the means of metrics between groups of repeated runs; the first group is the base.

    Raises:
        InvalidInput: If no group has two runs.
    """
    if all(len(group.members) < 2 for group in groups):
        raise InvalidInput(
            "Each of these groups has one run: their noise is unknown.",
            hint="Repeat the runs with other seeds; log the seed as a param.",
        )
    tests: dict[tuple[str, int], _Test] = {}
    for key in keys:
        values = [[run.metrics[key].value for run in group.members if key in run.metrics] for group in groups]
        for place, other in enumerate(values[1:]):
            found = statistics.welch(values[0], other, level=1 - alpha)
            if found is not None and values[0] and other:
                method = f"Welch, {len(values[0])} and {len(other)} runs"
                interval = (found.low, found.high)
                tests[key, place] = _Test(method=method, interval=interval, p_value=found.p_value, note=_spread(values[0], other))
    return _corrected(tests, alpha, sum(bool(key in groups[0].run.metrics and key in g.run.metrics) for key in keys for g in groups[1:]))


def _spread(base: Sequence[float], other: Sequence[float]) -> str:
    import statistics as plain

    from mlops_nb.core.formatting import format_number

    shown = [f"± {format_number(plain.stdev(values))}" if len(values) > 1 else "one run" for values in (base, other)]
    return f"spread {shown[0]} and {shown[1]}"


def _corrected(tests: dict[tuple[str, int], _Test], alpha: float, pairs: int) -> Findings:
    judged = [place for place, test in tests.items() if test.p_value is not None]
    corrected = dict(zip(judged, statistics.holm([tests[place].p_value or 0.0 for place in judged]), strict=True))
    evidence = {}
    for place, test in tests.items():
        p_value = corrected.get(place)
        note = test.note
        if p_value is not None and test.p_value is not None and test.p_value < alpha <= p_value:
            note = "; ".join(filter(None, [note, f"p {test.p_value:.3f} alone, {p_value:.3f} as one of {len(judged)} tests"]))
        evidence[place] = Evidence(
            is_real=None if p_value is None else p_value < alpha,
            difference=test.difference,
            interval=test.interval,
            p_value=p_value,
            method=test.method,
            note=note,
            is_comparable=test.is_comparable,
        )
    return Findings(evidence=evidence, significance=_in_words(tests, judged, alpha, pairs))


def _in_words(tests: dict[tuple[str, int], _Test], judged: Sequence[tuple[str, int]], alpha: float, pairs: int) -> str:
    if not judged:
        return SINGLE_VALUES
    methods = Counter(tests[place].method for place in judged)
    level = f"{100 * (1 - alpha):g} %"
    shown = " and ".join(method for method, _ in methods.most_common(2)) + (" and others" if len(methods) > 2 else "")
    holm = f", Holm over {len(judged)} tests" if len(judged) > 1 else ""
    rest = pairs - len(judged) - sum(not test.is_comparable for test in tests.values())
    others = f"; of {rest} more: {SINGLE_VALUES}" if rest > 0 else ""
    return f"noise: {level} {shown}{holm}{others}"
