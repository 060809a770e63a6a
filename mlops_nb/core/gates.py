"""Gates: what the metrics of a notebook must keep to, and what came of each.

A gate looks at one metric: against a baseline (not worse by more than a tolerance, where chance does not explain the
difference), against bounds of its own, and whether it is there at all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any

from mlops_nb.core.comparison import Direction, MetricChange, MetricRow, RunComparison, Verdict, direction_of
from mlops_nb.core.formatting import format_number, one_line
from mlops_nb.core.records import Record, Run
from mlops_nb.errors import InvalidInput, did_you_mean

MAX_GATES = 200
_ROUNDING = 1e-9


class GateOutcome(StrEnum):
    """What came of a gate. NOISE: worse, but chance alone explains it. NEW: nothing to compare with."""

    PASS = "pass"
    FAIL = "fail"
    NOISE = "noise"
    NEW = "new"
    MISSING = "missing"
    NOT_COMPARABLE = "not comparable"


class Gate(Record, frozen=True, kw_only=True):
    """What one metric, or all that a pattern names, must keep to.

    Attributes:
        metric: Name of the metric, or a pattern such as `val_*`.
        direction: The good end; None: judged by the metric's name.
        tolerance: How much worse than the baseline it may be, in the metric's own unit.
        relative: The same as a share of the baseline's size: 0.01 is one percent. The larger of the two counts.
        minimum: The smallest value that is allowed.
        maximum: The largest.
        significant: Fail for a difference only where chance alone does not explain it, if that is known.
        required: Fail where the metric is missing.
        comparable: Fail where it cannot be compared with the baseline, such as after a change of the evaluation data.
        notebook: Only for notebooks whose path or name fits this pattern.
        line: Line of the gate file, from 1; None where there is no file.
    """

    metric: str
    direction: Direction | None = None
    tolerance: float = 0.0
    relative: float = 0.0
    minimum: float | None = None
    maximum: float | None = None
    significant: bool = True
    required: bool = True
    comparable: bool = False
    notebook: str = "*"
    line: int | None = None

    def is_for(self, notebook: str) -> bool:
        """Return whether the gate looks at a notebook, named by its POSIX path."""
        return fnmatchcase(notebook, self.notebook) or fnmatchcase(notebook.rsplit("/", 1)[-1], self.notebook)

    def allowance(self, base: float) -> float:
        """Return how much worse than this baseline the metric may be."""
        return max(self.tolerance, self.relative * abs(base))

    def in_words(self, direction: Direction) -> str:
        """Return what the gate asks, short: `Δ ≥ −0.002, ≥ 0.9`."""
        parts = []
        if direction is not Direction.NONE:
            sign, minus = ("≥", "\u2212") if direction is Direction.HIGHER else ("≤", "+")
            shown = [_plain(self.tolerance)] if self.tolerance or not self.relative else []
            shown += [f"{_plain(100 * self.relative)} %"] if self.relative else []
            parts.append(f"Δ {sign} " + " or ".join(f"{minus}{text}" if text != "0" else text for text in shown))
        parts += [f"≥ {_plain(self.minimum)}"] if self.minimum is not None else []
        parts += [f"≤ {_plain(self.maximum)}"] if self.maximum is not None else []
        return ", ".join(parts)


def _plain(value: float) -> str:
    """Return a number as somebody would write it in a gate file."""
    return f"{value:.10g}".replace("-", "\u2212")


class GateResult(Record, frozen=True, kw_only=True):
    """What came of one gate for one metric.

    Attributes:
        metric: Name of the metric.
        outcome: What came of it.
        is_failure: Whether it makes the whole fail: FAIL always, MISSING and NOT_COMPARABLE as the gate says.
        reason: Why, in one sentence.
        limit: What the gate asks, short.
        direction: The good end of the metric.
        base: Its value in the baseline.
        value: Its value here.
        difference: Value minus base; on the rows that both have, where not all are shared.
        interval: Confidence interval of the difference.
        p_value: Of the test, corrected for the number of gated metrics.
        method: The test, in words; empty: noise unknown.
        note: What else a reader must know of the comparison.
        verdict: What became of the metric against the baseline; None without one.
        decimals: Decimal places to show its numbers with.
        line: Line of the gate file, from 1.
    """

    metric: str
    outcome: GateOutcome
    is_failure: bool
    reason: str
    limit: str
    direction: Direction
    base: float | None = None
    value: float | None = None
    difference: float | None = None
    interval: tuple[float, float] | None = None
    p_value: float | None = None
    method: str = ""
    note: str = ""
    verdict: Verdict | None = None
    decimals: int = 4
    line: int | None = None


def gated_metrics(gates: Sequence[Gate], keys: Sequence[str]) -> list[tuple[Gate, str]]:
    """Return each gate with each metric that it looks at; one that names no known metric stands with its own name.

    A metric that several gates name is looked at by each.
    """
    found: list[tuple[Gate, str]] = []
    for gate in gates:
        names = [gate.metric] if gate.metric in keys else [key for key in sorted(keys) if fnmatchcase(key, gate.metric)]
        found += [(gate, name) for name in names or [gate.metric]]
    return found


def direction_for(gate: Gate, metric: str) -> Direction:
    """Return the good end of a metric: the gate's, else by its name."""
    return gate.direction or direction_of(metric)


def marked(gated: Sequence[tuple[Gate, str]]) -> list[str]:
    """Return the metrics as `compare` takes them: each once, marked with the good end."""
    signs = {Direction.HIGHER: "+", Direction.LOWER: "-", Direction.NONE: ""}
    found: dict[str, str] = {}
    for gate, metric in gated:
        found.setdefault(metric, signs[direction_for(gate, metric)] + metric)
    return list(found.values())


def evaluate(gates: Sequence[Gate], run: Run, base: Run | None, comparison: RunComparison | None) -> tuple[GateResult, ...]:
    """Judge the metrics of a run.

    Args:
        gates: Those for its notebook.
        run: The run.
        base: The baseline, if there is one.
        comparison: Of the baseline with the run, over the gated metrics that either has; None without a baseline.
    """
    keys = [*run.metrics, *(key for key in (base.metrics if base else ()) if key not in run.metrics)]
    rows = {row.key: row for row in comparison.metrics} if comparison else {}
    return tuple(_judge(gate, metric, run, base, rows.get(metric)) for gate, metric in gated_metrics(gates, keys))


def _judge(gate: Gate, metric: str, run: Run, base: Run | None, row: MetricRow | None) -> GateResult:
    direction = direction_for(gate, metric)
    value = run.metrics[metric].value if metric in run.metrics else None
    before = base.metrics[metric].value if base is not None and metric in base.metrics else None
    change = row.changes[0] if row is not None else None
    outcome, reason = _outcome(gate, metric, direction, value, before, base is not None, change, run)
    is_failure = (
        outcome is GateOutcome.FAIL
        or (outcome is GateOutcome.MISSING and gate.required)
        or (outcome is GateOutcome.NOT_COMPARABLE and gate.comparable)
    )
    return GateResult(
        metric=metric,
        outcome=outcome,
        is_failure=is_failure,
        reason=reason,
        limit=gate.in_words(direction),
        direction=direction,
        base=before,
        value=value,
        difference=change.difference if change else None,
        interval=change.interval if change else None,
        p_value=change.p_value if change else None,
        method=change.method if change else "",
        note=change.note if change else "",
        verdict=change.verdict if change else None,
        decimals=row.decimals if row is not None else 4,
        line=gate.line,
    )


def _outcome(
    gate: Gate,
    metric: str,
    direction: Direction,
    value: float | None,
    before: float | None,
    has_base: bool,
    change: MetricChange | None,
    run: Run,
) -> tuple[GateOutcome, str]:
    name = f"'{one_line(metric)[:80]}'"
    if value is None:
        guess = did_you_mean(metric, run.metrics) if before is None else None
        # A gate that names no notebook is for all of them, and of these it may be the wrong one.
        other = "A gate for other notebooks names them (notebook: …)." if gate.notebook == "*" and before is None and not guess else None
        return GateOutcome.MISSING, " ".join(filter(None, [f"{name} was not logged.", guess, other]))
    if math.isnan(value):
        return GateOutcome.FAIL, f"{name} is NaN."
    if gate.minimum is not None and value < gate.minimum:
        return GateOutcome.FAIL, f"{name} is {_shown(value, gate.minimum)}, below {_shown(gate.minimum, value)}."
    if gate.maximum is not None and value > gate.maximum:
        return GateOutcome.FAIL, f"{name} is {_shown(value, gate.maximum)}, above {_shown(gate.maximum, value)}."
    if before is None or change is None:
        if gate.minimum is not None or gate.maximum is not None:
            return GateOutcome.PASS, f"{name} keeps its bounds; there is no baseline to compare it with."
        return GateOutcome.NEW, f"{name} is not in the baseline." if has_base else "There is no baseline."
    if change.verdict is Verdict.NOT_COMPARABLE or change.difference is None:
        return GateOutcome.NOT_COMPARABLE, f"{name} cannot be compared: {change.note or 'no difference can be told'}."
    worse_by = -change.difference if direction is Direction.HIGHER else change.difference
    if direction is Direction.NONE or worse_by <= 0 or change.verdict is Verdict.SAME:
        return GateOutcome.PASS, f"{name} is not worse."
    allowed = gate.allowance(before)
    if worse_by <= allowed or math.isclose(worse_by, allowed, rel_tol=_ROUNDING, abs_tol=_ROUNDING * abs(before)):
        return GateOutcome.PASS, f"{name} is worse by {format_number(worse_by)}, which the gate allows."
    if change.verdict is Verdict.NOISE and gate.significant:
        return GateOutcome.NOISE, f"{name} is worse by {format_number(worse_by)}, which chance alone explains."
    known = "" if change.method else " (one value each: noise unknown)"
    return GateOutcome.FAIL, f"{name} is worse by {format_number(worse_by)}, more than {allowed:.4g}{known}."


def _shown(value: float, beside: float) -> str:
    """Return a number with so many digits that it can be told from the one beside it."""
    for decimals in (None, 6, 9, 12):
        if format_number(value, decimals=decimals) != format_number(beside, decimals=decimals):
            return format_number(value, decimals=decimals)
    return repr(value)


_FIELDS = ("metric", "direction", "tolerance", "min", "max", "significant", "required", "comparable", "notebook")
_DIRECTIONS = {
    "maximize": Direction.HIGHER,
    "higher": Direction.HIGHER,
    "minimize": Direction.LOWER,
    "lower": Direction.LOWER,
}


def gate_from_fields(fields: Mapping[str, Any], lines: Mapping[str, int], *, line: int, where: str) -> Gate:
    """Return the gate that an entry of a gate file describes.

    Args:
        fields: `metric`, `direction` (maximize, minimize), `tolerance` (a number, or a text such as `1%`), `min`, `max`,
            `significant`, `required`, `comparable` (true, false), `notebook` (a pattern).
        lines: Line of each field.
        line: Line of the entry.
        where: Name of the file, for errors.

    Raises:
        InvalidInput: If a field is unknown or has no such value; with its line.
    """

    def wrong(field: str, message: str, hint: str) -> InvalidInput:
        return InvalidInput(f"{where}, line {lines.get(field, line)}: {message}", hint=hint)

    def number(field: str) -> float | None:
        value = fields.get(field)
        if value is None:
            return None
        found = _number(value)
        if found is None:
            raise wrong(field, f"{field} is {_said(value)}.", "Give a finite number.")
        return found

    def flag(field: str, default: bool) -> bool:
        value = fields.get(field, default)
        if not isinstance(value, bool):
            raise wrong(field, f"{field} is {_said(value)}.", "Give true or false.")
        return value

    def text(field: str, default: str | None) -> str:
        value = fields.get(field, default)
        if not isinstance(value, str) or not value.strip():
            message = f"{field} is {_said(value)}." if field in fields else f"A gate without a {field}."
            raise wrong(field, message, f"Give the name, such as {field}: {'val_auc' if field == 'metric' else 'train.ipynb'}")
        return value.strip()

    for field in fields:
        if field not in _FIELDS:
            known = f"There are: {', '.join(_FIELDS)}."
            raise wrong(field, f"A gate has no {_said(field)}.", did_you_mean(field, _FIELDS) or known)
    metric = text("metric", None)
    word = fields.get("direction")
    if word is not None and (not isinstance(word, str) or word not in _DIRECTIONS):
        raise wrong("direction", f"direction is {_said(word)}.", "Use maximize or minimize.")
    tolerance, relative = _tolerance(fields.get("tolerance", 0))
    if tolerance is None:
        raise wrong("tolerance", f"tolerance is {_said(fields.get('tolerance'))}.", "Give a number such as 0.002, or a share such as 1%.")
    minimum, maximum = number("min"), number("max")
    if minimum is not None and maximum is not None and minimum > maximum:
        raise wrong("max", f"max ({format_number(maximum)}) is below min ({format_number(minimum)}).", "No value could pass.")
    return Gate(
        metric=metric,
        direction=None if word is None else _DIRECTIONS[word],
        tolerance=tolerance,
        relative=relative,
        minimum=minimum,
        maximum=maximum,
        significant=flag("significant", True),
        required=flag("required", True),
        comparable=flag("comparable", False),
        notebook=text("notebook", "*"),
        line=line,
    )


def _tolerance(value: Any) -> tuple[float | None, float]:
    """Return an absolute and a relative tolerance; the first None where the value is none."""
    if value is None:
        return 0.0, 0.0
    is_share = isinstance(value, str) and value.strip().endswith("%")
    found = _number(value.strip().removesuffix("%")) if isinstance(value, str) else _number(value)
    if found is None or found < 0:
        return None, 0.0
    return (0.0, found / 100) if is_share else (found, 0.0)


def _number(value: Any) -> float | None:
    """Return a finite number, also one that is written as text, as YAML reads `1e-3`; None for all else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def _said(value: Any) -> str:
    return "empty" if value is None else f"'{one_line(str(value))[:60]}'"
