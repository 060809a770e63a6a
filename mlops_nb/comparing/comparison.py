"""Runs side by side with all that is known of them: metrics and noise, params, data, cells, environment, what explains the change."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence

import msgspec

from mlops_nb.comparing.cells import CellPair, compare_cells
from mlops_nb.comparing.data import RunDataComparison, compare_run_data
from mlops_nb.comparing.environment import compare_environments
from mlops_nb.comparing.explaining import Cause, explain
from mlops_nb.core.comparison import MetricRow, RunComparison, ValueRow, Verdict, compare
from mlops_nb.core.records import Run
from mlops_nb.core.redaction import Redactor
from mlops_nb.errors import InvalidInput
from mlops_nb.store.base import RunQuery, TrackingStore

MAX_RUNS = 50
_SIBLINGS = 500


class Comparison:
    """Runs side by side; the first is the base. What takes reading is read when it is first asked for.

    Attributes:
        runs: The runs, the base first; a group of repeated runs stands as one run with the means of its metrics.
        result: Metrics, params and the verdict as plain rows.
    """

    def __init__(self, store: TrackingStore, runs: Sequence[Run], result: RunComparison, *, redacted: bool = True) -> None:
        self.runs = tuple(runs)
        self.result = result
        self._store = store
        self._redacted = redacted

    @property
    def verdict(self) -> str:
        """What became of the most important metric, in one sentence or two."""
        return self.result.verdict

    @property
    def outcome(self) -> Verdict | None:
        """What became of the most important metric, in one word."""
        return self.result.outcome

    @property
    def significance(self) -> str:
        """How far the differences can be trusted."""
        return self.result.significance

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the runs, no two alike."""
        return self.result.labels

    @property
    def metrics(self) -> tuple[MetricRow, ...]:
        """What became of each metric, the most important first."""
        return self.result.metrics

    @property
    def params(self) -> tuple[ValueRow, ...]:
        """The params of all runs, the changed ones first."""
        return self.result.params

    @functools.cached_property
    def environment(self) -> tuple[ValueRow, ...]:
        """What the runs ran on, the changed rows first; packages only where they differ."""
        return compare_environments(self._store, self.runs)

    @functools.cached_property
    def data(self) -> RunDataComparison | None:
        """What differs in the data of two runs; None for more."""
        return compare_run_data(self._store, *self.runs) if len(self.runs) == 2 else None

    @functools.cached_property
    def cells(self) -> list[CellPair]:
        """The cells of two runs, paired; for more runs none."""
        return compare_cells(self._store, *self.runs, redacted=self._redacted) if len(self.runs) == 2 else []

    @functools.cached_property
    def causes(self) -> list[Cause]:
        """What else differs between two runs, the likeliest cause of the change first; for more runs the params."""
        siblings = self._store.search_runs(RunQuery(experiment_ids=[self.runs[-1].experiment_id], max_results=_SIBLINGS)).items
        pair = len(self.runs) == 2
        environment = self.environment if pair else ()
        return explain(self.params, environment, self.data, self.cells, metric=self.result.primary, siblings=siblings)


def compare_runs(
    store: TrackingStore,
    runs: Sequence[Run],
    *,
    metrics: Sequence[str] = (),
    only: bool = False,
    redacted: bool = True,
) -> Comparison:
    """Compare runs with the first of them.

    Args:
        store: Where they are.
        runs: The base and the others, at most `MAX_RUNS`.
        metrics: Metrics to put first, the first one as headline. `-loss` says that lower is better.
        only: Leave out all metrics that are not named.
        redacted: Take secrets out once more, for what is to be passed on.

    Raises:
        InvalidInput: If there are too few or too many runs.
        NotFound: If no run has a metric that is named.
        StoreError: If the store cannot be read.
    """
    if not 2 <= len(runs) <= MAX_RUNS:
        raise InvalidInput(
            f"{len(runs)} runs cannot be compared.", hint=f"Name 2 to {MAX_RUNS}." if runs else "Name at least two, such as @last~1 @last."
        )
    if redacted:
        redact = Redactor(os.environ)
        runs = [redacted_run(run, redact) for run in runs]
    result = compare(runs[0], runs[1:], metrics=metrics, only=only)
    return Comparison(store, runs, result, redacted=redacted)


def redacted_run(run: Run, redact: Redactor) -> Run:
    """Return a run without the secrets in its texts."""

    def value(key: str, text: str) -> str:
        # Written as an assignment, so that the redactor also judges the name.
        return redact(f'{key}="{text}"')[len(key) + 2 : -1]

    return msgspec.structs.replace(
        run,
        name=redact(run.name),
        reason=redact(run.reason) if run.reason else None,
        params={key: value(key, text) for key, text in run.params.items()},
        tags={key: value(key, text) for key, text in run.tags.items()},
    )
