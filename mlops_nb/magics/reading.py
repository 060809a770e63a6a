"""The verbs of `%track` that look at runs, and change or pass on what is there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from IPython.display import FileLink, display

import mlops_nb
from mlops_nb import fluent
from mlops_nb.core import filters
from mlops_nb.core.filters import order_clause
from mlops_nb.core.records import LifecycleStage, Run, Series
from mlops_nb.errors import InvalidInput, MlopsError
from mlops_nb.magics.arguments import unquoted
from mlops_nb.magics.knowledge import Knowledge
from mlops_nb.magics.tabs import Tab, tab_named
from mlops_nb.tracking.lookup import Runs
from mlops_nb.tracking.run import ActiveRun
from mlops_nb.tracking.session import Session


class ReadingVerbs:
    """One method a verb; each takes the parsed arguments.

    Attributes:
        known: What completion knows of the store.
    """

    session: Session
    known: Knowledge

    def say(self, text: str) -> None:
        """Show one line."""
        raise NotImplementedError

    def selected(self, word: str | Run | ActiveRun) -> str | Run | ActiveRun:
        """Return what a RUN word stands for."""
        raise NotImplementedError

    def _ls(self, arguments: Any) -> Runs:
        return fluent.search_runs(
            " ".join(arguments.query),
            order_by=[order_clause(arguments.sort)] if arguments.sort else [],
            max_results=arguments.number,
            experiment=unquoted(arguments.experiment) if arguments.experiment else None,
            archived=arguments.archived,
        )

    def _table(self, arguments: Any) -> Any:
        return mlops_nb.run_table(
            " ".join(arguments.query), sort=arguments.sort, group=arguments.group, columns=[unquoted(each) for each in arguments.column]
        )

    def _explore(self, arguments: Any) -> Any:
        return mlops_nb.explore(
            self._wanted(arguments.runs),
            [unquoted(each) for each in arguments.metric] or None,
            axis=arguments.axis,
            smoothing=arguments.smoothing,
            log=arguments.log,
            group=unquoted(arguments.group),
        )

    def _wanted(self, words: list[str]) -> Any:
        """Return the runs that words stand for: one filter or text, or a list of runs."""
        text = " ".join(words)
        if not words or filters.looks_like_filter(text) or (len(words) == 1 and text.startswith("tag:")):
            return text or None
        return [self.selected(word) for word in words]

    def _show(self, arguments: Any) -> Run | Tab:
        run = fluent.get_run(self.selected(arguments.run or self.session.active or "@last"))
        return tab_named(self.session.store(), run, arguments.tab) if arguments.tab else run

    def _check(self, arguments: Any) -> Any:
        word = arguments.run
        if word is not None and unquoted(word).endswith(".ipynb"):
            return fluent.check_notebook(path=unquoted(word))
        return fluent.check_notebook(None if word is None else self.selected(word))

    def _reproduce(self, arguments: Any) -> Any:
        if arguments.on is not None:
            raise InvalidInput(
                f"%track reproduce: a run is reproduced on this machine only, not on '{arguments.on}'.",
                hint=f"Leave out --on, or execute its notebook there and compare: %runner run NOTEBOOK --on {arguments.on}",
            )
        tolerances = {}
        for word in arguments.tol:
            key, _, number = word.rpartition("=")
            try:
                tolerances[key] = float(number)
            except ValueError:
                raise InvalidInput(f"%track reproduce: '{word}' is not METRIC=NUMBER.", hint="For example: --tol val_auc=1e-3") from None
        result = fluent.reproduce(self.selected(arguments.run), tolerances or None)
        if arguments.open and result.again_id is not None:
            from mlops_nb.execution.run_cells import write_executed

            link = FileLink(str(write_executed(self.session.store(), result.again_id)), result_html_prefix="The executed notebook: ")  # type: ignore[no-untyped-call]
            display(link)  # type: ignore[no-untyped-call]  # IPython has no types here
        return result

    def _restore(self, arguments: Any) -> None:
        path = fluent.restore_notebook(self.selected(arguments.run), unquoted(arguments.path) if arguments.path else None)
        self.say(f"The cells are in {path}")

    def _share(self, arguments: Any) -> None:
        if arguments.live or arguments.ttl:
            raise InvalidInput(
                "%track share: links that follow a run are not in this version.",
                hint="One file instead: %track share RUN --static run.html",
            )
        run = fluent.get_run(self.selected(arguments.run))
        slug = re.sub(r"[^\w.-]+", "-", run.name).strip("-") or run.run_id[:8]
        name = unquoted(arguments.static) if arguments.static else f"{slug}.html"
        path = fluent.share_run(run, Path(name).expanduser())
        self.say(f"{run.name} is in {path} ({path.stat().st_size / 1000:,.0f} kB): one file, which needs no server.")

    def _note(self, arguments: Any) -> None:
        fluent.note_run(self.selected(arguments.run), unquoted(" ".join(arguments.text)))

    def _tag(self, arguments: Any) -> None:
        pairs = (word.partition("=") for word in arguments.tags)
        fluent.tag_run(self.selected(arguments.run), {unquoted(key): unquoted(value) or "true" for key, _, value in pairs})

    def _archive(self, arguments: Any) -> None:
        for run in [fluent.get_run(self.selected(word)) for word in arguments.runs]:
            fluent.archive_run(run, undo=arguments.undo)
            undo = f"Put it back: %track archive {run.run_id[:8]} --undo"
            self.say(f"{run.name} is back in the lists." if arguments.undo else f"{run.name} is archived. {undo}")

    def _delete(self, arguments: Any) -> None:
        for run in [fluent.get_run(self.selected(word)) for word in arguments.runs]:
            if arguments.undo:
                fluent.restore_run(run)
                self.say(f"{run.name} is back.")
            elif run.lifecycle_stage is LifecycleStage.DELETED:
                raise InvalidInput(
                    f"%track delete: {run.name} is deleted already.", hint=f"Bring it back: %track delete {run.run_id[:8]} --undo"
                )
            else:
                fluent.delete_run(run)
                self.say(f"{run.name} is deleted. Bring it back: %track delete {run.run_id[:8]} --undo")

    def _privacy(self, arguments: Any) -> Any:
        return fluent.privacy(arguments.level)

    def series_of(self, run: Run) -> list[Series]:
        """Return the curves of a run for its card; none when the store has gone."""
        try:
            return self.session.store().series(run.run_id, max_points=120)
        except MlopsError:
            return []
