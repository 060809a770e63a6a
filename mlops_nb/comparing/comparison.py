"""Runs side by side with all that is known of them: metrics and noise, params, data, cells, environment, what explains the change."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from mlops_nb.comparing import card
from mlops_nb.comparing.cells import CellPair, compare_cells
from mlops_nb.comparing.data import RunDataComparison, compare_run_data
from mlops_nb.comparing.document import document_of
from mlops_nb.comparing.environment import compare_environments
from mlops_nb.comparing.evidence import Sig, Tests, evidence_of_groups, evidence_of_rows
from mlops_nb.comparing.explaining import Cause, explain
from mlops_nb.comparing.grouping import SEED, groups_of
from mlops_nb.comparing.tables import metric_table, to_csv
from mlops_nb.core.comparison import MetricRow, RunComparison, ValueRow, Verdict, compare
from mlops_nb.core.records import Run
from mlops_nb.core.redaction import Redactor
from mlops_nb.errors import InvalidInput, did_you_mean
from mlops_nb.reports.markdown import to_markdown
from mlops_nb.reports.page import to_html
from mlops_nb.reports.writing import write_document, write_file
from mlops_nb.store.base import RunQuery, TrackingStore

if TYPE_CHECKING:
    from pandas import DataFrame

MAX_RUNS = 50
_SIBLINGS = 500


class Comparison:
    """Runs side by side; the first is the base. What takes reading is read when it is first asked for.

    Attributes:
        runs: The runs, the base first; a group of repeated runs stands as one run with the means of its metrics.
        members: The runs themselves, those of groups one by one.
        by: What the groups are made by; None where runs are compared one by one.
        result: Metrics, params and the verdict as plain rows.
    """

    def __init__(
        self,
        store: TrackingStore,
        runs: Sequence[Run],
        result: RunComparison,
        *,
        redacted: bool = True,
        what: str = "all",
        only_changed: bool = False,
        members: Sequence[Run] = (),
        by: str | None = None,
    ) -> None:
        self.runs = tuple(runs)
        self.members = tuple(members) or self.runs
        self.by = by
        self.result = result
        self._store = store
        self._redacted = redacted
        self._what, self._only_changed = what, only_changed

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

    @property
    def df(self) -> DataFrame:
        """The metrics as a pandas table: one row a metric and run, besides the base.

        Raises:
            MissingDependencyError: If pandas is not installed.
        """
        return metric_table(self.result)

    def to_markdown(self) -> str:
        """Return all of it as GitHub-flavoured Markdown, without figures."""
        return to_markdown(document_of(self._store, self, figures=False), {})

    def to_html(self, *, figures: bool = False) -> str:
        """Return all of it as one page without script.

        Args:
            figures: Draw curves and bars, which needs Matplotlib.
        """
        return to_html(document_of(self._store, self, figures=figures))

    def export(self, path: str | Path) -> Path:
        """Write it as Markdown, HTML or CSV, as the name ends; figures are drawn where Matplotlib is installed.

        Raises:
            InvalidInput: If the name ends otherwise.
            PermissionDenied: If the file may not be written.
        """
        path = Path(path).expanduser()
        suffix = path.suffix.lower()
        if suffix == ".csv":
            write_file(path, to_csv(self.result).encode("utf-8"))
        elif suffix in (".md", ".html", ".htm"):
            document = document_of(self._store, self, figures=find_spec("matplotlib") is not None)
            write_document(document, markdown=path if suffix == ".md" else None, html=None if suffix == ".md" else path)
        else:
            raise InvalidInput(f"A comparison cannot be written as '{path.name}'.", hint="Let the name end in .md, .html or .csv")
        return path

    def __str__(self) -> str:
        return card.text_of(self, self._what, self._only_changed)

    def __repr__(self) -> str:
        return f"<Comparison {self.outcome.value if self.outcome else 'of'} {' · '.join(self.labels[:3])}>"

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        return {"text/plain": str(self), "text/html": card.html_of(self, self._what, self._only_changed)}


def compare_runs(
    store: TrackingStore,
    runs: Sequence[Run],
    *,
    metrics: Sequence[str] = (),
    only: bool = False,
    by: str | None = None,
    expand: bool = True,
    sig: Sig | str = Sig.AUTO,
    alpha: float = 0.05,
    what: str = "all",
    only_changed: bool = False,
    redacted: bool = True,
    tested: Tests | None = None,
) -> Comparison:
    """Compare runs with the first of them.

    Args:
        store: Where they are.
        runs: The base and the others, at most `MAX_RUNS`.
        metrics: Metrics to put first, the first one as headline. `-loss` says that lower is better.
        only: Leave out all metrics that are not named.
        by: Compare groups of repeated runs, by `seed` or by a param or tag; see `grouping.groups_of`.
        expand: Take in the other runs of those groups.
        sig: How differences are tested for noise.
        alpha: The error that is allowed over all tests together.
        what: What its display shows: `all` or one of `card.PARTS`.
        only_changed: Leave what did not change out of its display.
        redacted: Take secrets out once more, for what is to be passed on.
        tested: Tests of these runs that another comparison made; taken from there, and added to.

    Raises:
        InvalidInput: If there are too few or too many runs, or an option has no such value.
        NotFound: If no run has a metric that is named.
        StoreError: If the store cannot be read.
    """
    if not 2 <= len(runs) <= MAX_RUNS:
        raise InvalidInput(
            f"{len(runs)} runs cannot be compared.", hint=f"Name 2 to {MAX_RUNS}." if runs else "Name at least two, such as @last~1 @last."
        )
    if what != "all" and what not in card.PARTS:
        raise InvalidInput(
            f"A comparison has no '{what}'.", hint=did_you_mean(what, card.PARTS) or f"There are: all, {', '.join(card.PARTS)}."
        )
    sig = _sig(sig)
    if not 0 < alpha < 0.5:
        raise InvalidInput(f"alpha is {alpha}.", hint="Give a share of errors between 0 and 0.5, such as 0.05.")
    if by is None and sig is Sig.SEEDS:
        by = SEED
    groups = [] if by is None else groups_of(store, runs, by, expand=expand)
    if groups:
        runs = [group.run for group in groups]
    if redacted:
        redact = Redactor(os.environ)
        runs = [redacted_run(run, redact) for run in runs]
    plain = compare(runs[0], runs[1:], metrics=metrics, only=only)
    keys = [row.key for row in plain.metrics]
    if groups and sig is not Sig.OFF:
        found = evidence_of_groups(groups, keys, alpha)
    else:
        found = evidence_of_rows(store, runs[0], runs[1:], keys, Sig.OFF if groups else sig, alpha, tested)
    result = compare(runs[0], runs[1:], metrics=metrics, only=only, evidence=found.evidence, significance=found.significance)
    members = [run for group in groups for run in group.members]
    return Comparison(store, runs, result, redacted=redacted, what=what, only_changed=only_changed, members=members, by=by)


def _sig(word: Sig | str) -> Sig:
    try:
        return Sig(word)
    except ValueError:
        raise InvalidInput(f"There is no test '{word}'.", hint=did_you_mean(str(word), Sig) or f"Use {', '.join(Sig)}.") from None


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
