"""What a notebook is compared with: the last run of the default branch, a file in the repository, a named run, or main run again."""

from __future__ import annotations

import contextlib
import time
from enum import StrEnum
from pathlib import Path

import msgspec

from mlops_nb.ci.baseline_file import KeptNotebook, as_run, read_baselines
from mlops_nb.ci.origin import Origin
from mlops_nb.core.formatting import format_duration, one_line
from mlops_nb.core.records import TAG_CI_DEFAULT_BRANCH, TAG_GIT_BRANCH, TAG_GIT_COMMIT, Record, Run
from mlops_nb.errors import InvalidInput, NotFound
from mlops_nb.store.base import TrackingStore
from mlops_nb.tracking.lookup import find_run

MAIN, RERUN, NONE = "@main", "rerun", "none"


class Kind(StrEnum):
    """How a baseline is found. AUTO: the last run of the default branch, else the file of the project if there is one."""

    AUTO = "auto"
    MAIN = "main"
    FILE = "file"
    RUN = "run"
    RERUN = "rerun"
    NONE = "none"


class Choice(Record, frozen=True, kw_only=True):
    """Which baseline is wanted: `file` for FILE, also for AUTO; `selector` for RUN."""

    kind: Kind
    file: Path | None = None
    selector: str = ""


class Baseline(Record, frozen=True, kw_only=True):
    """A baseline that was found.

    Attributes:
        run: Its run; made of the file where the store does not have it.
        name: In a word for columns, such as the branch.
        words: Where it comes from, in words.
        commit: Its commit.
        is_stored: Whether the store has the run, with its cells and predictions.
        rows: By metric, the rows that it was computed of; of a file only.
    """

    run: Run
    name: str
    words: str
    commit: str = ""
    is_stored: bool = True
    rows: dict[str, str] = {}


class NoBaseline(Record, frozen=True, kw_only=True):
    """That there is none, and why."""

    reason: str


def choice_of(text: str | None, default_file: Path) -> Choice:
    """Return which baseline a `--baseline` means.

    Args:
        text: `@main`, `rerun`, `none`, a file that ends in .json, or a run; None: what there is.
        default_file: The project's own baseline file.

    Raises:
        NotFound: If it is a file that is not there.
        InvalidInput: If it is empty.
    """
    if text is None:
        return Choice(kind=Kind.AUTO, file=default_file)
    word = text.strip()
    if not word:
        raise InvalidInput("An empty --baseline.", hint="Use @main, rerun, none, a run, or a file such as .mlops/baseline.json.")
    if word in (MAIN, RERUN, NONE):
        return Choice(kind={MAIN: Kind.MAIN, RERUN: Kind.RERUN, NONE: Kind.NONE}[word])
    if word.endswith(".json"):
        path = Path(word).expanduser()
        read_baselines(path)
        return Choice(kind=Kind.FILE, file=path.resolve())
    return Choice(kind=Kind.RUN, selector=word)


def find_baseline(choice: Choice, store: TrackingStore | None, notebook: str, origin: Origin) -> Baseline | NoBaseline:
    """Find a notebook's baseline; RERUN is not for here.

    Args:
        choice: Which one.
        store: Where runs are; None: nothing was ever recorded.
        notebook: The notebook's path, as its runs are tagged.
        origin: Of this job.

    Raises:
        NotFound, SelectorError: If a run that was named is not there.
        InvalidInput: If the file is damaged.
        StoreError: If the store cannot be read.
    """
    if choice.kind is Kind.NONE:
        return NoBaseline(reason="none was asked for")
    if choice.kind is Kind.RUN:
        if store is None:
            raise NotFound(
                f"There is no run '{one_line(choice.selector)[:80]}': nothing has been recorded yet.", hint="Use --baseline none."
            )
        run = find_run(store, choice.selector, notebook=notebook)
        return Baseline(run=run, name=run.name, words=_words(run, ""), commit=run.tags.get(TAG_GIT_COMMIT, ""))
    if choice.kind in (Kind.AUTO, Kind.MAIN) and store is not None:
        with contextlib.suppress(NotFound):
            run = find_run(store, MAIN, notebook=notebook)
            branch = run.tags.get(TAG_CI_DEFAULT_BRANCH) or origin.default_branch
            return Baseline(run=run, name=branch, words=_words(run, branch), commit=run.tags.get(TAG_GIT_COMMIT, ""))
    if choice.file is not None and (choice.kind is Kind.FILE or choice.file.is_file()):
        kept = read_baselines(choice.file).get(notebook)
        if kept is not None:
            return _of_file(choice.file, kept, notebook, store, origin)
        return NoBaseline(reason=f"{choice.file.name} has none of {notebook}")
    return NoBaseline(reason=f"{origin.default_branch} has no finished run of {notebook} in this store that passed its gates")


def _of_file(path: Path, kept: KeptNotebook, notebook: str, store: TrackingStore | None, origin: Origin) -> Baseline:
    run, is_stored = as_run(notebook, kept), False
    if store is not None and kept.run_id:
        try:
            stored = store.get_run(kept.run_id)
        except NotFound:
            stored = None
        # What the file says counts: a run that has other values now is another baseline than the one that was reviewed.
        if stored is not None and all(key in stored.metrics and _same(stored, key, run) for key in run.metrics):
            run, is_stored = stored, True
    of = f" of {kept.branch}" if kept.branch else ""
    return Baseline(
        run=run,
        name=kept.branch or origin.default_branch,
        words=f"{path.name}: run {one_line(kept.run)[:80] or kept.run_id[:8]}{of}{_age(kept.ended)}",
        commit=kept.commit,
        is_stored=is_stored,
        rows={key: metric.rows for key, metric in kept.metrics.items() if metric.rows},
    )


def _same(stored: Run, key: str, run: Run) -> bool:
    one, other = stored.metrics[key].value, run.metrics[key].value
    return one == other or (one != one and other != other)


def baseline_of_rerun(run: Run, origin: Origin, commit: str) -> Baseline:
    """Return the baseline that main gave when it was run again."""
    words = f"{origin.default_branch} ({commit[:7]}), run again in this job"
    tags = {**run.tags, TAG_GIT_BRANCH: origin.default_branch}
    return Baseline(run=msgspec.structs.replace(run, tags=tags), name=origin.default_branch, words=words, commit=commit)


def _words(run: Run, branch: str) -> str:
    of = f" of {branch}" if branch else ""
    return f"run {one_line(run.name)[:80]} ({run.run_id[:8]}){of}{_age(run.end_time or run.start_time)}"


def _age(ended: int) -> str:
    age = time.time() * 1000 - ended
    if not ended or age < 0:
        return ""
    days = int(age // 86_400_000)
    return f", {days} day{'s' if days != 1 else ''} ago" if days else f", {format_duration(age)} ago"
