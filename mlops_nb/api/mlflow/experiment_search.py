"""Searching experiments with the filter language of runs.

An experiment is looked at as a run of the same name and tags, whose times are metrics: a bare `creation_time` reads as
a metric in that language, so that one parser and one meaning of `LIKE`, `AND` and quotes serve both.
"""

from __future__ import annotations

import base64
import binascii
import functools
import json
import re
from collections.abc import Iterator

from mlops_nb.core import filters
from mlops_nb.core.records import Experiment, LifecycleStage, Metric, Run
from mlops_nb.core.run_state import RunStatus
from mlops_nb.errors import FilterError, InvalidInput
from mlops_nb.store.base import MAX_PAGE, Page, TrackingStore

_TIMES = ("creation_time", "last_update_time")
_QUOTED_OR_PREFIX = re.compile(r"""'[^']*'|"[^"]*"|`[^`]*`|\battr(?:ibutes?)?\.""", re.IGNORECASE)
_KNOWN = {filters.Field.ATTRIBUTE: ("run_name", "experiment_id"), filters.Field.METRIC: _TIMES}


def search(
    store: TrackingStore, *, filter_text: str, order_by: list[str], stage: LifecycleStage | None, max_results: int, page_token: str | None
) -> Page[Experiment]:
    """Return a page of the experiments that fit, by default newest first.

    Raises:
        FilterError: If the filter or the order does not parse, or names what experiments do not have.
        InvalidInput: If the page token is none of ours.
    """
    node = filters.parse(_bare(filter_text))
    _check(node)
    found = [experiment for experiment in _all(store, stage) if filters.matches(node, _as_run(experiment))]
    found.sort(key=lambda e: (e.creation_time, int(e.experiment_id)), reverse=True)
    for clause in reversed(order_by):
        order = filters.parse_order_by(_bare(clause))
        _check_key(order.field, order.key)
        found.sort(key=functools.partial(_value, order.key), reverse=order.descending)
    offset = _offset(page_token)
    end = offset + max_results
    return Page(items=found[offset:end], token=_token(end) if end < len(found) else None)


def _bare(text: str) -> str:
    """Return the text without the prefix `attribute.`, which names the same things."""
    return _QUOTED_OR_PREFIX.sub(lambda match: match[0] if match[0][0] in "'\"`" else "", text)


def _all(store: TrackingStore, stage: LifecycleStage | None) -> Iterator[Experiment]:
    token: str | None = None
    while True:
        page = store.list_experiments(lifecycle_stage=stage, max_results=MAX_PAGE, page_token=token)
        yield from page.items
        token = page.token
        if token is None:
            return


def _as_run(experiment: Experiment) -> Run:
    return Run(
        run_id="",
        experiment_id=experiment.experiment_id,
        name=experiment.name,
        status=RunStatus.RUNNING,
        start_time=0,
        tags=experiment.tags,
        metrics={key: Metric(key=key, value=float(getattr(experiment, key)), timestamp=0) for key in _TIMES},
    )


def _check(node: filters.Node | None) -> None:
    if isinstance(node, filters.And | filters.Or):
        for part in node.parts:
            _check(part)
    elif isinstance(node, filters.Not):
        _check(node.part)
    elif node is not None and node.field is not filters.Field.TAG:
        _check_key(node.field, node.key)


def _check_key(field: filters.Field, key: str) -> None:
    if key not in _KNOWN.get(field, ()):
        raise FilterError(
            f"Experiments cannot be searched by {field.value} '{key}'.",
            hint="Use name, tags.KEY, creation_time or last_update_time.",
        )


def _value(key: str, experiment: Experiment) -> str | int:
    if key == "experiment_id":
        return int(experiment.experiment_id)
    value: str | int = experiment.name if key == "run_name" else getattr(experiment, key)
    return value


def _offset(token: str | None) -> int:
    if not token:
        return 0
    try:
        return max(0, int(json.loads(base64.urlsafe_b64decode(token))["offset"]))
    except (ValueError, KeyError, TypeError, binascii.Error):
        raise InvalidInput(f"Invalid page token {token[:80]!r}.", hint="Use next_page_token of the last answer as it is.") from None


def _token(offset: int) -> str:
    return base64.urlsafe_b64encode(json.dumps({"offset": offset}).encode()).decode()
