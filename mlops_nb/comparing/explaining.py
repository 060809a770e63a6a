"""What explains the change: what else differs between two runs, the likeliest cause first.

The weight of a cause, from 0 to 1, is a judgement and not a probability:

- A param has 0.6. Where at least `ENOUGH_RUNS` other runs of the experiment differ in it, it has 0.3 to 0.95 by how far the
  metric goes with it there: the rank correlation of numbers, the share of variance between the levels of words.
- A data set has 0.5 to 0.9 by the share of its rows that changed; a column that came, went or changed its type 0.7.
- A code cell whose value the results need has 0.55, another one 0.1. A cell in which only comments changed is left out.
- A package that the cells import has 0.3 (0.5 for another major version), another one 0.03.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterable, Sequence
from enum import StrEnum

from mlops_nb.comparing.cells import CellPair, CellStatus
from mlops_nb.comparing.data import RunDataComparison
from mlops_nb.comparing.environment import PACKAGE
from mlops_nb.core.comparison import ValueRow
from mlops_nb.core.data_comparison import ColumnVerdict, DataComparison
from mlops_nb.core.dataflow import code_of
from mlops_nb.core.formatting import one_line
from mlops_nb.core.records import Record, Run

ENOUGH_RUNS = 8
_SHOWN = 60
_MOST = 50
# Names under which packages are installed, where they are not those that are imported.
_INSTALLED_AS = {"sklearn": "scikit-learn", "PIL": "pillow", "cv2": "opencv-python", "yaml": "pyyaml", "skimage": "scikit-image"}
_IMPORT = re.compile(r"^\s*(?:import|from)\s+([A-Za-z_]\w*)", re.MULTILINE)
# What repeats a run without meaning to change it.
REPETITIONS = frozenset({"seed", "random_state", "random_seed", "fold", "split", "repeat", "replicate"})


class CauseKind(StrEnum):
    PARAM = "param"
    DATA = "data"
    CELL = "cell"
    PACKAGE = "package"


class Cause(Record, frozen=True, kw_only=True):
    """Something that differs. `text` says how; `weight` is how likely it explains the change."""

    kind: CauseKind
    name: str
    text: str
    weight: float


def explain(
    params: Sequence[ValueRow],
    environment: Sequence[ValueRow],
    data: RunDataComparison | None,
    cells: Sequence[CellPair],
    *,
    metric: str | None = None,
    siblings: Sequence[Run] = (),
) -> list[Cause]:
    """Return what differs between two runs, the likeliest cause first.

    Args:
        params: Rows of two values.
        environment: Rows of two values.
        data: What differs in the data that they read.
        cells: Their cells.
        metric: What changed.
        siblings: Other runs of the experiment, from which the importance of params is told.
    """
    causes = [
        *_params(params, metric, siblings),
        *(_data(data) if data is not None else ()),
        *_cells(cells),
        *_packages(environment, cells),
    ]
    return sorted(causes, key=lambda cause: -cause.weight)[:_MOST]


def _short(value: str | None) -> str:
    text = "not set" if value is None else one_line(value) or "empty"
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _params(rows: Sequence[ValueRow], metric: str | None, siblings: Sequence[Run]) -> Iterable[Cause]:
    for row in rows:
        if not row.changed:
            continue
        base, other = row.values[0], row.values[-1]
        weight, why = (0.3, " (repeats the run)") if row.key.lower() in REPETITIONS else (0.6, "")
        found = None if metric is None else importance_of(row.key, metric, siblings)
        if found is not None:
            strength, count = found
            weight, why = 0.3 + 0.65 * strength, f" ({metric} goes with it by {strength:.2f} in {count} runs)"
        yield Cause(kind=CauseKind.PARAM, name=row.key, text=f"{row.key} {_short(base)} → {_short(other)}{why}", weight=round(weight, 3))


def importance_of(param: str, metric: str, runs: Sequence[Run]) -> tuple[float, int] | None:
    """Return how far a metric goes with a param over runs, from 0 to 1, and over how many; None where they are too few.

    For numbers it is the absolute rank correlation (Spearman), for words the square root of the share of variance between
    the levels (the correlation ratio). With few runs chance alone gives values above 0: what it gives on average is taken off.
    """
    pairs = [(run.params[param], run.metrics[metric].value) for run in runs if param in run.params and metric in run.metrics]
    pairs = [(text, value) for text, value in pairs if math.isfinite(value)]
    levels = {text for text, _ in pairs}
    if len(pairs) < ENOUGH_RUNS or len(levels) < 2 or len({value for _, value in pairs}) < 2:
        return None
    values = [value for _, value in pairs]
    try:
        numbers = [float(text) for text, _ in pairs]
    except ValueError:
        numbers = []
    if numbers and all(map(math.isfinite, numbers)):
        from scipy.stats import spearmanr

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            strength = abs(float(spearmanr(numbers, values).statistic))
        chance = 1 / math.sqrt(len(pairs) - 1)
    else:
        mean = sum(values) / len(values)
        groups = [[value for text, value in pairs if text == level] for level in levels]
        between = sum(len(group) * (sum(group) / len(group) - mean) ** 2 for group in groups)
        strength = math.sqrt(between / sum((value - mean) ** 2 for value in values))
        chance = math.sqrt((len(levels) - 1) / (len(pairs) - 1))
    if math.isnan(strength) or chance >= 1:
        return None
    return max(0.0, (strength - chance) / (1 - chance)), len(pairs)


def _data(data: RunDataComparison) -> Iterable[Cause]:
    for pair in data.pairs:
        if not pair.same:
            yield from _data_set(pair)
    for name in data.only_base:
        yield Cause(kind=CauseKind.DATA, name=name, text=f"{name} is no longer read", weight=0.7)
    for name in data.only_other:
        yield Cause(kind=CauseKind.DATA, name=name, text=f"{name} is read now", weight=0.7)


def _data_set(pair: DataComparison) -> Iterable[Cause]:
    name, rows = one_line(pair.names[1]), max(filter(None, pair.rows), default=0)
    if pair.added or pair.removed:
        share = min(1.0, ((pair.added or 0) + (pair.removed or 0)) / max(1, rows))
        text = ", ".join(f"{sign}{count:,} rows" for sign, count in (("+", pair.added), ("−", pair.removed)) if count)
        yield Cause(kind=CauseKind.DATA, name=name, text=f"{name}: {text}", weight=round(0.5 + 0.4 * share, 3))
    for column in pair.changed:
        if column.verdict is ColumnVerdict.CHANGED:
            share = min(1.0, (column.rows if column.rows is not None else rows / 2) / max(1, rows))
            weight = 0.5 + 0.4 * share
        else:
            weight = 0.7
        yield Cause(kind=CauseKind.DATA, name=f"{name}.{column.name}", text=f"{name}: {column}", weight=round(weight, 3))
    if not pair.changed and not pair.added and not pair.removed:
        yield Cause(kind=CauseKind.DATA, name=name, text=f"{name}: {pair.verdict}", weight=0.5)


def _cells(cells: Sequence[CellPair]) -> Iterable[Cause]:
    for cell in cells:
        side = cell.other or cell.base
        if side is None or not cell.source_changed or _is_same_code(cell):
            continue
        weight = 0.55 if cell.is_upstream or cell.status is CellStatus.REMOVED else 0.1
        number = f"cell [{side.execution_count}]" if side.execution_count else f"cell {side.index}"
        lines = [line.strip() for sign, line in cell.source_diff if sign in "+-" and line.strip()]
        first = f": {_short(lines[0])}" if lines else ""
        what = {CellStatus.ADDED: "added", CellStatus.REMOVED: "removed"}.get(cell.status, "changed")
        yield Cause(kind=CauseKind.CELL, name=number, text=f"{number} {what}{first}", weight=weight)


def _is_same_code(cell: CellPair) -> bool:
    """Return whether only comments and layout differ."""
    if cell.base is None or cell.other is None:
        return False
    try:
        before, now = code_of(cell.base.source), code_of(cell.other.source)
    except (SyntaxError, ValueError, RecursionError):  # magics, or no Python at all
        return False
    return before == now != ""


def _packages(environment: Sequence[ValueRow], cells: Sequence[CellPair]) -> Iterable[Cause]:
    imported = {name for cell in cells if cell.other is not None for name in _IMPORT.findall(cell.other.source)}
    used = {_INSTALLED_AS.get(name, name).replace("_", "-").lower() for name in imported}
    for row in environment:
        if row.changed and (row.key.startswith(PACKAGE) or row.key == "python"):
            name = row.key.removeprefix(PACKAGE)
            base, other = row.values[0], row.values[-1]
            is_used = name in used or name == "python"
            is_major = (base or "").partition(".")[0] != (other or "").partition(".")[0]
            weight = (0.5 if is_major else 0.3) if is_used else 0.03
            yield Cause(kind=CauseKind.PACKAGE, name=name, text=f"{name} {_short(base)} → {_short(other)}", weight=weight)
