"""Comparing runs: which ones are meant, and the comparison."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mlops_nb.core import filters
from mlops_nb.core.records import TAG_ARCHIVED, TAG_NOTEBOOK, Run
from mlops_nb.errors import InvalidInput, NotFound
from mlops_nb.store.base import RunQuery, TrackingStore
from mlops_nb.tracking import session as sessions
from mlops_nb.tracking.capture import notebook_path, notebook_tags
from mlops_nb.tracking.lookup import find_run
from mlops_nb.tracking.run import ActiveRun

if TYPE_CHECKING:
    from mlops_nb.comparing.comparison import Comparison

_LAST = re.compile(r"last\s+(\d{1,4})")
_MOST = 50


def compare(
    *runs: str | Run | ActiveRun,
    base: str | Run | ActiveRun | None = None,
    what: str = "all",
    metrics: str | Sequence[str] = (),
    by: str | None = None,
    sig: str = "auto",
    alpha: float = 0.05,
    only_changed: bool = False,
) -> Comparison:
    """Compare runs with a base: which metrics got better, whether that is more than noise, and what else differs.

    Args:
        *runs: Selectors, such as `@last` and `@best:val_auc`, or runs; or one text: `last 5`, or a filter such as
            `val_auc > .9`. None: the last two runs of this notebook. The first (of a filter or `last`, the oldest) is the base.
        base: Compare with this run instead.
        what: What its display shows: `all`, `metrics`, `params`, `code`, `cells`, `outputs`, `data`, `env` or `system`.
        metrics: Metrics to put first, the first one decides: `val_auc`, or `-loss` where lower is better; also one text
            with commas. The others are left out.
        by: Compare groups of repeated runs: by `seed`, those that differ in nothing else; by a param or tag, those that
            have the same. Their means are compared.
        sig: How differences are tested for noise: `auto` (by predictions of rows, where the runs keep them), `bootstrap`,
            `mcnemar`, `seeds` or `off`.
        alpha: The error that is allowed over all tests together.
        only_changed: Leave what did not change out of the display.

    Raises:
        NotFound, SelectorError: If a run is not there.
        InvalidInput: If there are too few runs, or an option has no such value.
        StoreError: If the store cannot be reached.
    """
    from mlops_nb.comparing.comparison import compare_runs

    store = sessions.current.fresh_store()
    found, named = _selected(store, runs, with_base=base is not None)
    if base is not None:
        first = find_run(store, base)
        found = [first, *(run for run in found if run.run_id != first.run_id)]
    keys = [key.strip() for key in metrics.split(",") if key.strip()] if isinstance(metrics, str) else list(metrics)
    return compare_runs(
        store,
        found,
        metrics=keys,
        only=bool(keys),
        by=by,
        expand=named,
        sig=sig,
        alpha=alpha,
        what=what,
        only_changed=only_changed,
    )


def _selected(store: TrackingStore, words: Sequence[str | Run | ActiveRun], *, with_base: bool) -> tuple[list[Run], bool]:
    """Return the runs that are meant, the base first, and whether they were named one by one."""
    if not words:
        return _last_runs(store, 1 if with_base else 2), True
    text = " ".join(words) if all(isinstance(word, str) for word in words) else ""  # type: ignore[arg-type]
    if last := _LAST.fullmatch(text.strip()):
        count = int(last[1])
        if not 2 <= count <= _MOST:
            raise InvalidInput(f"'last {count}' cannot be compared.", hint=f"Use last 2 to last {_MOST}.")
        return _last_runs(store, count), False
    if text and filters.looks_like_filter(text):
        page = store.search_runs(RunQuery(filter=_without_archived(text), max_results=_MOST + 1))
        if len(page.items) > _MOST:
            raise InvalidInput(f"More than {_MOST} runs fit '{text[:80]}'.", hint="Narrow the query.")
        if len(page.items) < 2:
            count_text = "No run fits" if not page.items else "Only one run fits"
            raise NotFound(f"{count_text} '{text[:80]}'.", hint="See %track ls for what there is.")
        return list(reversed(page.items)), False
    found: dict[str, Run] = {}
    for word in words:
        run = find_run(store, word)
        found.setdefault(run.run_id, run)
    if len(found) == 1 and not with_base:
        (run,) = found.values()
        if len(words) > 1:
            raise InvalidInput(f"All of these are the same run, {run.name}.", hint="Name two runs, such as @last~1 @last.")
        return [run, find_run(store, "@last")] if find_run(store, "@last").run_id != run.run_id else [find_run(store, "@last~1"), run], True
    return list(found.values()), True


def _without_archived(text: str) -> str:
    return text if TAG_ARCHIVED in text else f"({text}) and tags.`{TAG_ARCHIVED}` is null"


def _last_runs(store: TrackingStore, count: int) -> list[Run]:
    """Return the last runs of this notebook, or of the project where no notebook is known; the oldest first."""
    path = notebook_path(sessions.current.user_ns)
    condition, where = _without_archived("run_id is not null"), "here"
    if path is not None:
        name = notebook_tags(path, sessions.current.shipper().target.project)[TAG_NOTEBOOK]
        condition, where = f"{condition} and tags.`{TAG_NOTEBOOK}` = '{name.replace(chr(39), chr(39) * 2)}'", "of this notebook"
    runs = list(reversed(store.search_runs(RunQuery(filter=condition, max_results=count)).items))
    if len(runs) < min(2, count):
        number = {0: "There is no run", 1: "There is only one run"}[len(runs)]
        raise NotFound(f"{number} {where} to compare.", hint="Name two: %compare @last~1 @last, or see %track ls.")
    return runs
