"""Which runs, metrics and params a figure shows, and what it says of those that it leaves out."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

import msgspec

from mlops_nb.comparing.explaining import REPETITIONS
from mlops_nb.core.comparison import run_labels
from mlops_nb.core.names import SYSTEM_METRICS
from mlops_nb.core.records import Run
from mlops_nb.core.salience import common_keys, main_metrics
from mlops_nb.errors import InvalidInput, NotFound, did_you_mean

MAX_LINES = 20
MAX_PANELS = 6


class Group(msgspec.Struct, frozen=True):
    """Runs that are one line of a figure."""

    label: str
    runs: Sequence[Run]


def some(runs: Sequence[Run]) -> None:
    """Refuse a figure of nothing.

    Raises:
        InvalidInput: If there are no runs.
    """
    if not runs:
        raise InvalidInput("There are no runs to draw.", hint="See %track ls for what there is.")


def metrics_of(runs: Sequence[Run]) -> list[str]:
    """Return the metrics that any of the runs has, by name."""
    return sorted({key for run in runs for key in run.metrics})


def params_of(runs: Sequence[Run]) -> list[str]:
    """Return the params that any of the runs has, by name."""
    return sorted({key for run in runs for key in run.params})


def chosen_metrics(runs: Sequence[Run], metrics: str | Sequence[str] | None, *, default: int = 4) -> list[str]:
    """Return the metrics to draw: those asked for, else the main ones of most runs.

    Raises:
        NotFound: If no run has one that was asked for; with the nearest name.
        InvalidInput: If the runs have none at all.
    """
    present = metrics_of(runs)
    if not present:
        raise InvalidInput("These runs have no metrics.", hint="Log one with %track log NAME=value.")
    if not metrics:
        frequent = common_keys([[key for key in run.metrics if not key.startswith(SYSTEM_METRICS)] for run in runs], default, main_metrics)
        return frequent or present[:default]
    wanted = [metrics] if isinstance(metrics, str) else list(dict.fromkeys(metrics))
    return [known(_unsigned(key, present), present, "metric") for key in wanted]


def _unsigned(key: str, present: Sequence[str]) -> str:
    """Return a metric without the sign that says which end is good."""
    return key[1:] if key[:1] in "-+" and key not in present else key


def known(name: str, present: Sequence[str], kind: str) -> str:
    """Return a name that is there.

    Raises:
        NotFound: If it is not; with what there is.
    """
    if name in present:
        return name
    have = f"Have: {', '.join(present[:8])}." if present else f"They have no {kind}s."
    raise NotFound(f"No {kind} '{name[:80]}' in these runs. {have}", hint=did_you_mean(name, present))


def is_seed(param: str) -> bool:
    """Return whether a param only repeats a run, as its seed does, judged by its name."""
    return param.rpartition("__")[2].lower() in REPETITIONS


def grouped(runs: Sequence[Run], by: str | None) -> list[Group]:
    """Return runs as groups in the order of their first runs; None: each by itself.

    Args:
        runs: The runs.
        by: `seed`: runs of one group have the same params, seeds aside. Else a param or tag: of one group its value is the same.

    Raises:
        NotFound: If no run has such a param or tag.
    """
    if by is None:
        return [Group(label, [run]) for label, run in zip(run_labels(runs), runs, strict=True)]
    found: dict[tuple[tuple[str, str], ...], list[Run]] = {}
    if by.lower() in REPETITIONS:
        for run in runs:
            found.setdefault(tuple(sorted((k, v) for k, v in run.params.items() if not is_seed(k))), []).append(run)
        shared = set.intersection(*(set(pairs) for pairs in found)) if found else set()
        return [Group(_group_label([p for p in pairs if p not in shared], members), members) for pairs, members in found.items()]
    present = sorted({key for run in runs for key in (*run.params, *run.tags)})
    key = known(by.removeprefix("params.").removeprefix("tags."), present, "param or tag")
    for run in runs:
        found.setdefault(((key, run.params.get(key, run.tags.get(key, "—"))),), []).append(run)
    return [Group(_group_label(pairs, members), members) for pairs, members in found.items()]


def _group_label(pairs: Iterable[tuple[str, str]], members: Sequence[Run]) -> str:
    shown = " ".join(f"{key}={value}" for key, value in pairs)
    name = shown if shown else re.sub(r"\s*#\d+$", "", members[0].name)
    return f"{name[:50]} ({len(members)} run{'s' if len(members) != 1 else ''})"


def left_out(shown: int, total: int, what: str = "runs") -> list[str]:
    """Return the line that says how many are not shown; nothing if all are."""
    return [f"{total - shown} of {total} {what} are not shown"] if shown < total else []


def number_of(text: str | None) -> float | None:
    """Return the finite number that a param's text is, or None."""
    try:
        value = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None
