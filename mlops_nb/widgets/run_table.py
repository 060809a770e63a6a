"""A table of runs to filter, sort, group and choose from; the store is asked for one page at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import traitlets

from mlops_nb.comparing.comparison import Comparison, compare_runs
from mlops_nb.core.comparison import Direction, RunComparison, direction_of
from mlops_nb.core.formatting import format_number
from mlops_nb.core.records import TAG_ARCHIVED, Run
from mlops_nb.core.run_state import RunStatus
from mlops_nb.errors import InvalidInput
from mlops_nb.store.base import RunQuery, TrackingStore
from mlops_nb.tracking.lookup import Runs
from mlops_nb.widgets.columns import cell, checked_column, default_columns, head, is_number, offered_columns, order_by
from mlops_nb.widgets.explorer import MAX_RUNS, MetricExplorer
from mlops_nb.widgets.following import Follower
from mlops_nb.widgets.selecting import query_of, session_store
from mlops_nb.widgets.static_form import Bundle, table_bundle
from mlops_nb.widgets.view import View, front_end, style

PAGE_SIZES = (10, 25, 50, 100)
MAX_SELECTED = 50
_MAX_COLUMNS = 30
_COMPARED_ROWS = 40


def run_table(
    query: str = "",
    *,
    sort: str = "",
    group: str = "",
    columns: Sequence[str] | None = None,
    page_size: int = 25,
) -> RunTable:
    """Show the runs of this project as a table to filter, sort, group and choose from.

        table = mlops_nb.run_table("val_auc > .9", sort="-val_auc", group="params.model")
        table                       # shows it; choose runs in it, then
        table.selected_runs.df      # ... the chosen ones as a pandas table
        table.compare()             # ... what differs between them
        table.explore()             # ... their curves

    What is changed in the notebook can be read here, and the other way round: `table.query = "tag.stage = 'prod'"`.

    Args:
        query: A filter in the language of `%track ls`, or text that a name or tag contains.
        sort: A metric or column; `-val_auc` puts the highest first. By default the newest run is first.
        group: A column, such as `params.model`: runs with the same value stand together under a heading.
        columns: Such as `metrics.val_auc`, `params.lr`, `tags.stage`, `started`; by default what most runs have.
        page_size: Runs a page: 10, 25, 50 or 100.

    Raises:
        FilterError, InvalidInput: If the query does not parse, or a column is none.
    """
    table = RunTable(session_store(), query=query, sort=sort, group=group, columns=list(columns or ()), page_size=page_size)
    if table.message:
        raise InvalidInput(table.message)
    return table


class RunTable(View):
    """See `run_table`.

    Attributes:
        query, sort, group, columns, page, page_size: What is asked for; pages count from 0.
        selected: Ids of the chosen runs, at most 50, in the order of choosing; they stay chosen on other pages.
        rows: What is shown: of each run `id`, `name`, `status`, `group` and `cells`, the texts of the columns.
        header: Of each column `key`, `label`, `number` (set to the right), `sorted` (how it is) and `sort` (what to sort by
            next; None where the store cannot).
        offered: The columns that could be chosen.
        place: First and last run shown, how many there are (0: not known), and whether more follow.
        compared: The chosen runs compared: `verdict`, `header`, `rows`; empty until asked for.
    """

    _esm = front_end("run_table")
    _css = style()

    query = traitlets.Unicode("").tag(sync=True)
    sort = traitlets.Unicode("").tag(sync=True)
    group = traitlets.Unicode("").tag(sync=True)
    columns = traitlets.List(traitlets.Unicode()).tag(sync=True)
    page = traitlets.Int(0, min=0).tag(sync=True)
    page_size = traitlets.Int(25, min=1, max=max(PAGE_SIZES)).tag(sync=True)
    selected = traitlets.List(traitlets.Unicode(), maxlen=MAX_SELECTED).tag(sync=True)
    rows = traitlets.List(traitlets.Dict()).tag(sync=True)
    header = traitlets.List(traitlets.Dict()).tag(sync=True)
    offered = traitlets.List(traitlets.Unicode()).tag(sync=True)
    place = traitlets.Dict().tag(sync=True)
    compared = traitlets.Dict().tag(sync=True)

    def __init__(self, store: TrackingStore, **state: Any) -> None:
        self._store = store
        self._tokens: list[str | None] = [None]
        self._runs: list[Run] = []
        self._seen: list[str] = []
        self._follower: Follower = Follower(store, self.refresh, self._has_running)
        super().__init__(**state)
        self._reload()
        self.observe(self._changed, ["query", "sort", "group", "columns", "page", "page_size"])
        self.observe(self._reselected, ["selected"])

    # -- what a user does

    def actions(self) -> dict[str, Callable[[], object]]:
        return {"refresh": self.refresh, "compare": self.compare, "close-comparison": self._close_comparison}

    def refresh(self) -> None:
        """Read the page again."""
        self._reload()

    def sort_by(self, column: str) -> None:
        """Sort by a column; the other way round if it is sorted by it already. Metrics begin with the best end."""
        self.sort = self._next_sort(checked_column(column, self._seen))

    def select(self, *runs: str | Run) -> None:
        """Choose runs, by id or themselves, besides those that are chosen."""
        ids = [run if isinstance(run, str) else run.run_id for run in runs]
        self.selected = list(dict.fromkeys([*self.selected, *ids]))[:MAX_SELECTED]

    @property
    def runs(self) -> Runs:
        """The runs of the page."""
        return Runs(self._runs)

    @property
    def selected_runs(self) -> Runs:
        """The chosen runs as the store has them now."""
        return Runs(self._store.get_run(run_id) for run_id in self.selected)

    def compare(self) -> Comparison:
        """Compare the chosen runs with the first of them, as `%compare` does.

        Raises:
            InvalidInput: If fewer than two are chosen.
        """
        runs = self.selected_runs
        if len(runs) < 2:
            raise InvalidInput("Choose two runs or more to compare.")
        found = compare_runs(self._store, runs)
        self.compared = _comparison_state(found.result)
        return found

    def explore(self, metrics: str | Sequence[str] | None = None) -> MetricExplorer:
        """Return the curves of the chosen runs, or of those of the page where none is chosen."""
        return MetricExplorer(self._store, list(self.selected_runs) or self._runs[:MAX_RUNS], metrics)

    # -- how it follows

    def _changed(self, change: Any) -> None:
        with self._lock:
            if change["name"] == "page":
                self._reload()
            elif change["name"] == "columns":
                self.try_to(self._draw)
            else:
                self._tokens = [None]
                if self.page:
                    self.page = 0  # which reads the page
                else:
                    self._reload()

    def _reselected(self, _: Any) -> None:
        self.compared = {}

    def _close_comparison(self) -> None:
        self.compared = {}

    def _has_running(self) -> bool:
        return any(run.status is RunStatus.RUNNING for run in self._runs)

    def _reload(self) -> None:
        self.try_to(self._read)
        if self._has_running():
            self._follower.start()

    def _read(self) -> None:
        self._follower.look()
        clauses = list(self._order())
        if self.page >= len(self._tokens):
            self._tokens = self._tokens[: self.page + 1]
            while len(self._tokens) <= self.page:  # a page that was not come to by its neighbour
                token = self._store.search_runs(self._query(clauses, self._tokens[-1])).token
                if token is None:
                    break
                self._tokens.append(token)
        at = min(self.page, len(self._tokens) - 1)
        found = self._store.search_runs(self._query(clauses, self._tokens[at]))
        self._runs = found.items
        del self._tokens[at + 1 :]
        if found.token is not None:
            self._tokens.append(found.token)
        first = at * self.page_size
        total = first + len(found.items) if found.token is None else self._total()
        self._draw()
        self.place = {
            "first": first + 1 if found.items else 0,
            "last": first + len(found.items),
            "total": total,
            "more": found.token is not None,
        }
        if at != self.page:
            self.set_trait("page", at)

    def _query(self, clauses: Sequence[str], token: str | None) -> RunQuery:
        return query_of(self.query, order_by=clauses, max_results=self.page_size, page_token=token)

    def _order(self) -> Iterable[str]:
        for name in (self.group, self.sort):
            if name:
                column = checked_column(name.removeprefix("-"), self._seen or self._look_ahead())
                clause = order_by(column, name.startswith("-"))
                if clause is None:
                    raise InvalidInput(f"Runs cannot be sorted by '{column}'.", hint="Sort by 'started' or a metric.")
                yield clause

    def _look_ahead(self) -> list[str]:
        """Return the columns of the newest runs, to know what a bare name means."""
        self._seen = offered_columns(self._store.search_runs(query_of("", max_results=100)).items, [])
        return self._seen

    def _sorted(self, column: str) -> str:
        if not self.sort or checked_column(self.sort.removeprefix("-"), self._seen) != column:
            return "none"
        return "descending" if self.sort.startswith("-") else "ascending"

    def _next_sort(self, column: str) -> str:
        ways = (column, f"-{column}")
        now = self._sorted(column)
        if now != "none":
            return ways[now == "ascending"]
        best_is_high = column.startswith("metrics.") and direction_of(head(column)) is Direction.HIGHER
        return ways[best_is_high or column == "started"]

    def _total(self) -> int:
        """Return how many runs there are where that is known without counting; else 0."""
        if self.query.strip():
            return 0
        hidden = self._store.search_runs(RunQuery(filter=f"tags.`{TAG_ARCHIVED}` is not null", max_results=1)).items
        return 0 if hidden else self._store.status().run_count

    def _draw(self) -> None:
        chosen = [checked_column(name, self._seen) for name in self.columns] or default_columns(self._runs)
        shown = [name for name in dict.fromkeys(chosen) if name != "name"][:_MAX_COLUMNS]
        self._seen = list(dict.fromkeys([*self._seen, *offered_columns(self._runs, shown)]))
        grouped = checked_column(self.group, self._seen) if self.group else None
        with self.hold_sync():
            self.header = [
                {
                    "key": name,
                    "label": head(name),
                    "number": is_number(name),
                    "sorted": self._sorted(name),
                    "sort": None if order_by(name, False) is None else self._next_sort(name),
                }
                for name in ["name", *shown]
            ]
            self.offered = self._seen
            self.rows = [
                {
                    "id": run.run_id,
                    "name": cell(run, "name"),
                    "status": run.status.value.lower(),
                    "group": None if grouped is None else f"{head(grouped)} = {cell(run, grouped) or '(none)'}",
                    "cells": [cell(run, name) for name in shown],
                }
                for run in self._runs
            ]

    def static_bundle(self) -> Bundle:
        rows = [[row["name"], *row["cells"]] for row in self.rows]
        of = f" of {self.place['total']:,}" if self.place.get("total") else ""
        title = f"Runs {self.place.get('first', 0):,}–{self.place.get('last', 0):,}{of}" if rows else "No runs here yet."
        note = "" if rows else "Start one: %track start"
        return table_bundle(title + (f" · {self.query}" if self.query else ""), [each["label"] for each in self.header], rows, note)


def _comparison_state(found: RunComparison) -> dict[str, Any]:
    rows = []
    for row in found.metrics[:_COMPARED_ROWS]:
        values = [(row.base, ""), *((change.value, change.verdict.value) for change in row.changes)]
        texts = [f"{format_number(value, decimals=row.decimals)} {verdict}".strip() for value, verdict in values]
        rows.append({"kind": "metric", "key": row.key, "cells": texts})
    for param in found.params:
        if param.changed and len(rows) < 2 * _COMPARED_ROWS:
            rows.append({"kind": "param", "key": param.key, "cells": ["—" if value is None else value[:80] for value in param.values]})
    return {"verdict": f"{found.verdict} ({found.significance})", "header": list(found.labels), "rows": rows}
