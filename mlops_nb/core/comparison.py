"""Runs side by side: which metrics got better or worse, and what else differs.

One latest value per metric and run says nothing about noise. Whoever knows more (predictions of single rows, repeated
runs) gives it as `Evidence`; without, the comparison says so in `significance`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

import msgspec

from mlops_nb.core.formatting import LARGE, exponent, format_number
from mlops_nb.core.records import TAG_GIT_BRANCH, TAG_GIT_COMMIT, TAG_NOTEBOOK, TAG_USER, Record, Run
from mlops_nb.core.run_state import RunStatus
from mlops_nb.core.selectors import lower_is_better
from mlops_nb.errors import NotFound, did_you_mean

SINGLE_VALUES = "single values, noise unknown"
TAGS_OF_INTEREST = (TAG_GIT_COMMIT, TAG_GIT_BRANCH, TAG_NOTEBOOK, TAG_USER)

# Differences below this share of the value are rounding: another thread order in BLAS makes them.
_SAME_RELATIVE = 1e-9


class Direction(StrEnum):
    """Which end of a metric is the good one. NONE: neither, such as an epoch or a learning rate."""

    HIGHER = "higher"
    LOWER = "lower"
    NONE = "none"


class Verdict(StrEnum):
    """What became of a metric. DIFFERENT: it changed, and neither end is the good one. NOISE: chance alone explains the difference."""

    BETTER = "better"
    WORSE = "worse"
    NOISE = "noise"
    SAME = "same"
    DIFFERENT = "different"
    NEW = "new"
    MISSING = "missing"
    NOT_COMPARABLE = "not comparable"


class Evidence(Record, frozen=True, kw_only=True):
    """What is known of a difference besides the two values.

    Attributes:
        is_real: Whether chance alone does not explain it; None: nobody can tell.
        difference: Measured on what both have in common; None: that of the values.
        interval: Confidence interval of the difference.
        p_value: Of the test, corrected for the number of tests.
        method: The test, in words.
        note: What else a reader must know.
        is_comparable: Whether the two values measure the same thing.
    """

    is_real: bool | None = None
    difference: float | None = None
    interval: tuple[float, float] | None = None
    p_value: float | None = None
    method: str = ""
    note: str = ""
    is_comparable: bool = True


class MetricChange(Record, frozen=True, kw_only=True):
    """A metric of one run against the base. `difference` is value minus base; None where there is none.

    `interval`, `p_value`, `method` and `note` are those of the `Evidence`; without, nothing is known of noise.
    """

    value: float | None
    difference: float | None
    verdict: Verdict
    interval: tuple[float, float] | None = None
    p_value: float | None = None
    method: str = ""
    note: str = ""


class MetricRow(Record, frozen=True, kw_only=True):
    """A metric in the base and, in order, in each other run."""

    key: str
    direction: Direction
    base: float | None
    changes: tuple[MetricChange, ...]

    @property
    def decimals(self) -> int:
        """Decimal places for all numbers of the row: four digits of the largest, and two of the smallest difference."""
        values = [float(v) for v in (self.base, *(c.value for c in self.changes)) if v is not None and math.isfinite(v)]
        if all(v.is_integer() and abs(v) < LARGE for v in values):
            return 0
        start = max(exponent(v) for v in values)
        gaps = [c.difference for c in self.changes if c.difference and math.isfinite(c.difference)]
        return max([4 if start <= 0 else 3 - start, *(1 - exponent(gap) for gap in gaps)])


class ValueRow(Record, frozen=True, kw_only=True):
    """A param or tag in all runs, the base first; None where a run lacks it."""

    key: str
    values: tuple[str | None, ...]
    changed: bool


class Phrase(msgspec.Struct, frozen=True):
    """A piece of a sentence. `is_name` marks text that people chose, which a surface must quote."""

    text: str
    is_name: bool = False


class RunComparison(Record, frozen=True, kw_only=True):
    """Runs side by side as plain rows, in a fixed order; the first run is the base.

    Attributes:
        run_ids: Ids, the base first; `labels`, `statuses`, `reasons` and `durations_ms` go along with them.
        labels: Names to show, no two alike.
        metrics: Rows by importance: the named metrics first, else by `importance`.
        params: Rows by key, the changed ones first.
        tags: Rows of `TAGS_OF_INTEREST` that any run has.
        primary: Key of the metric to headline.
        outcome: What happened to the primary metric in the only other run, or in the best of them.
        headline: The verdict as phrases; `verdict` is the same in one string.
        significance: How far the differences can be trusted.
    """

    run_ids: tuple[str, ...]
    labels: tuple[str, ...]
    statuses: tuple[RunStatus, ...]
    reasons: tuple[str | None, ...]
    durations_ms: tuple[int | None, ...]
    metrics: tuple[MetricRow, ...]
    params: tuple[ValueRow, ...]
    tags: tuple[ValueRow, ...]
    primary: str | None
    outcome: Verdict | None
    headline: tuple[Phrase, ...]
    verdict: str
    significance: str = SINGLE_VALUES


def compare(
    base: Run,
    others: Sequence[Run],
    *,
    metrics: Sequence[str] = (),
    only: bool = False,
    evidence: Mapping[tuple[str, int], Evidence] | None = None,
    significance: str = SINGLE_VALUES,
) -> RunComparison:
    """Compare runs with a base run.

    Args:
        base: The run that the others are measured against.
        others: The other runs, in the order of the columns; empty to show the base alone.
        metrics: Metrics to put first, the first one as headline. `-loss` says that lower is better, `+gain` that higher is.
        only: Leave out all metrics that are not named.
        evidence: What is known of noise, by metric and place among the others.
        significance: How far the differences can be trusted, in words.

    Raises:
        NotFound: If no run has a metric that is named.
    """
    runs = (base, *others)
    present = sorted({key for run in runs for key in run.metrics})
    chosen = _directions(metrics, present)
    known = evidence or {}
    rows = {key: _metric_row(key, chosen.get(key) or direction_of(key), base, others, known) for key in present}
    ordered = [rows[key] for key in chosen]
    if not only:
        ordered += sorted((row for key, row in rows.items() if key not in chosen), key=importance)
    primary = next((rows[key] for key in chosen), None) or primary_metric(ordered)
    labels = run_labels(runs)
    outcome, headline = _headline(runs, labels, ordered, primary)
    return RunComparison(
        run_ids=tuple(run.run_id for run in runs),
        labels=labels,
        statuses=tuple(run.status for run in runs),
        reasons=tuple(run.reason for run in runs),
        durations_ms=tuple(run.duration_ms for run in runs),
        metrics=tuple(ordered),
        params=tuple(sorted(_value_rows(sorted({k for r in runs for k in r.params}), [r.params for r in runs]), key=_changed_first)),
        tags=tuple(_value_rows([t for t in TAGS_OF_INTEREST if any(t in r.tags for r in runs)], [r.tags for r in runs])),
        primary=primary.key if primary else None,
        outcome=outcome,
        headline=headline,
        verdict="".join(phrase.text for phrase in headline),
        significance=significance,
    )


_NO_DIRECTION = re.compile(
    r"^system/|(^|[_./\-\s])(lr|learning_rate|epochs?|(global_)?steps?|iterations?|iter|grad_norm|total_flos|num_\w+|n_\w+|threshold)$"
)


def direction_of(metric_key: str) -> Direction:
    """Return which end of a metric is the good one, judged by its name."""
    if lower_is_better(metric_key):
        return Direction.LOWER
    return Direction.NONE if _NO_DIRECTION.search(metric_key.lower()) else Direction.HIGHER


_HELD_OUT = re.compile(r"(^|[_./\-\s])(val|valid|validation|test|cv|eval|dev|holdout|oof)($|[_./\-\s\d])")
_COST = re.compile(r"latency|duration|seconds|time")
# Scores in the order of how well one number of them sums up a model.
_SCORES = ("auc", "f1", "average_precision", "ndcg", "r2", "balanced_accuracy", "accuracy", "acc", "precision", "recall")


def importance(row: MetricRow) -> tuple[int, int, int, int, str]:
    """Return a sort key: in both before in one, held-out data before training, score before loss before time, then by name."""
    key = row.key.lower()
    compared = not row.changes or any(change.verdict not in (Verdict.NEW, Verdict.MISSING) for change in row.changes)
    kind = {Direction.HIGHER: 0, Direction.LOWER: 1, Direction.NONE: 3}[row.direction]
    if row.direction is Direction.LOWER and _COST.search(key):
        kind = 2
    known = next((place for place, name in enumerate(_SCORES) if name in key), len(_SCORES))
    return (0 if compared else 1, 0 if _HELD_OUT.search(key) else 1, kind, known, row.key)


def primary_metric(rows: Iterable[MetricRow]) -> MetricRow | None:
    """Return the row to headline, or None where no row has a good end."""
    return min((row for row in rows if row.direction is not Direction.NONE), key=importance, default=None)


def run_labels(runs: Sequence[Run]) -> tuple[str, ...]:
    """Return the names of runs; runs of one name also get the beginning of their ids."""
    names = [run.name for run in runs]
    return tuple(
        f"{name} ({run.run_id[:6]})" if names.count(name) > 1 else name or run.run_id[:6] for name, run in zip(names, runs, strict=True)
    )


def _directions(marked: Sequence[str], present: Sequence[str]) -> dict[str, Direction | None]:
    chosen: dict[str, Direction | None] = {}
    for text in marked:
        # A metric may be called '-x' itself; then that is what was meant.
        sign, key = (text[0], text[1:]) if text[:1] in ("-", "+") and text not in present else ("", text)
        if key not in present:
            have = f"Have: {', '.join(present[:8])}." if present else "No metrics were logged."
            raise NotFound(f"No metric '{key}' in these runs. {have}", hint=did_you_mean(key, present))
        chosen[key] = {"-": Direction.LOWER, "+": Direction.HIGHER}.get(sign)
    return chosen


def _metric_row(
    key: str, direction: Direction, base: Run, others: Sequence[Run], evidence: Mapping[tuple[str, int], Evidence]
) -> MetricRow:
    before = base.metrics[key].value if key in base.metrics else None
    values = [run.metrics[key].value if key in run.metrics else None for run in others]
    changes = (_change(before, value, direction, evidence.get((key, place), Evidence())) for place, value in enumerate(values))
    return MetricRow(key=key, direction=direction, base=before, changes=tuple(changes))


def _change(before: float | None, value: float | None, direction: Direction, evidence: Evidence) -> MetricChange:
    if before is None or value is None:
        verdict = Verdict.MISSING if value is None else Verdict.NEW
        return MetricChange(value=value, difference=None, verdict=verdict)
    if math.isnan(before) or math.isnan(value):
        return MetricChange(value=value, difference=None, verdict=Verdict.NOT_COMPARABLE, note="a value is NaN")
    if not evidence.is_comparable:
        return MetricChange(value=value, difference=None, verdict=Verdict.NOT_COMPARABLE, method=evidence.method, note=evidence.note)
    is_measured = evidence.difference is not None
    difference = evidence.difference if evidence.difference is not None else 0.0 if before == value else value - before
    if difference == 0 or (not is_measured and math.isclose(before, value, rel_tol=_SAME_RELATIVE)):
        verdict = Verdict.SAME
    elif evidence.is_real is False:
        verdict = Verdict.NOISE
    elif direction is Direction.NONE:
        verdict = Verdict.DIFFERENT
    else:
        verdict = Verdict.BETTER if (difference > 0) is (direction is Direction.HIGHER) else Verdict.WORSE
    return MetricChange(
        value=value,
        difference=difference,
        verdict=verdict,
        interval=evidence.interval,
        p_value=evidence.p_value,
        method=evidence.method,
        note=evidence.note,
    )


def _value_rows(keys: Iterable[str], columns: Sequence[dict[str, str]]) -> list[ValueRow]:
    rows = [(key, tuple(column.get(key) for column in columns)) for key in keys]
    return [ValueRow(key=key, values=values, changed=len(set(values)) > 1) for key, values in rows]


def _changed_first(row: ValueRow) -> tuple[bool, str]:
    return (not row.changed, row.key)


_VERBS = {
    Verdict.BETTER: "improves on",
    Verdict.WORSE: "is worse than",
    Verdict.NOISE: "cannot be told from",
    Verdict.SAME: "equals",
    Verdict.DIFFERENT: "differs from",
}


def _headline(
    runs: Sequence[Run], labels: Sequence[str], rows: Sequence[MetricRow], primary: MetricRow | None
) -> tuple[Verdict | None, tuple[Phrase, ...]]:
    broken = [place for place, run in enumerate(runs) if run.status in (RunStatus.FAILED, RunStatus.KILLED, RunStatus.LOST)]
    phrases: list[Phrase] = []
    for place in broken[:3]:
        phrases += [Phrase(labels[place], True), Phrase(f" {_FATE[runs[place].status]}")]
        if reason := runs[place].reason:
            phrases += [Phrase(" ("), Phrase(_short(reason), True), Phrase(")")]
        phrases.append(Phrase(". "))
    if len(broken) > 3:
        phrases.append(Phrase(f"{len(broken) - 3} more runs did not finish. "))
    if len(runs) == 1:
        return None, (*phrases, *_alone(runs[0], labels[0], primary))
    if primary is None:
        return None, (*phrases, Phrase("No metric to compare: none was logged." if not rows else "No metric here has a good end."))
    outcome, sentence = _measured(labels, primary)
    return outcome, (*phrases, *sentence, *_tally(rows, primary, len(runs) - 1))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 160 else f"{line[:159]}…"


_FATE = {RunStatus.FAILED: "failed", RunStatus.KILLED: "was killed", RunStatus.LOST: "was lost"}


def _alone(run: Run, label: str, primary: MetricRow | None) -> tuple[Phrase, ...]:
    shown = (Phrase(primary.key, True), Phrase(f" {format_number(primary.base)}")) if primary else (Phrase("no metrics"),)
    state = {RunStatus.FINISHED: " finished: ", RunStatus.RUNNING: " is running: ", RunStatus.SCHEDULED: " is scheduled: "}
    return (*((Phrase(label, True), Phrase(state[run.status])) if run.status in state else (Phrase("Until then: "),)), *shown)


def _measured(labels: Sequence[str], row: MetricRow) -> tuple[Verdict, tuple[Phrase, ...]]:
    """Say what happened to a metric in the only other run, or in the best of several."""
    place = _best(row)
    change, decimals = row.changes[place], row.decimals
    name, base, key = Phrase(labels[place + 1], True), Phrase(labels[0], True), Phrase(row.key, True)
    before, now = format_number(row.base, decimals=decimals), format_number(change.value, decimals=decimals)
    if change.verdict in (Verdict.NEW, Verdict.MISSING):
        # Metrics that both have come first: there is none.
        return change.verdict, (name, Phrase(" and "), base, Phrase(" have no metric in common."))
    if change.verdict is Verdict.NOT_COMPARABLE:
        return change.verdict, (name, Phrase(" cannot be compared with "), base, Phrase(" by "), key, Phrase(f": {change.note}."))
    delta = f" ({_difference(change, decimals)})" if change.verdict is not Verdict.SAME else ""
    values = f" {before} → {now}{delta}" if change.verdict is not Verdict.SAME else f" {now}"
    if len(row.changes) == 1:
        return change.verdict, (name, Phrase(f" {_VERBS[change.verdict]} "), base, Phrase(": "), key, Phrase(f"{values}."))
    if change.verdict is Verdict.BETTER:
        start = (Phrase(f"Best of {len(row.changes)}: "), name, Phrase(" improves on "), base, Phrase(": "))
    else:
        start = (Phrase(f"None of {len(row.changes)} improves on "), base, Phrase("; the best is "), name, Phrase(": "))
    return change.verdict, (*start, key, Phrase(f"{values}."))


def _difference(change: MetricChange, decimals: int) -> str:
    shown = format_number(change.difference, decimals=decimals, signed=True)
    if change.interval is None:
        return shown
    low, high = (format_number(end, decimals=decimals, signed=True) for end in change.interval)
    return f"{shown}, interval {low} … {high}"


def _best(row: MetricRow) -> int:
    """Return the place of the best comparable value, those that are surely better first, the first of equals."""
    sign = -1.0 if row.direction is Direction.LOWER else 1.0

    def rank(place: int) -> tuple[bool, bool, float]:
        change = row.changes[place]
        if change.value is None or change.difference is None:
            return (False, False, 0.0)
        return (True, change.verdict is Verdict.BETTER, sign * change.value)

    return max(range(len(row.changes)), key=rank)


def _tally(rows: Sequence[MetricRow], primary: MetricRow, others: int) -> tuple[Phrase, ...]:
    """Count what the other metrics of the only other run did."""
    if others != 1 or primary.changes[0].verdict in (Verdict.NEW, Verdict.MISSING):
        return ()
    rest = [row.changes[0].verdict for row in rows if row is not primary]
    counts = [f"{rest.count(verdict)} {verdict.value}" for verdict in Verdict if verdict in rest and verdict is not Verdict.DIFFERENT]
    return (Phrase(f" Of the other metrics: {', '.join(counts)}."),) if counts else ()
