"""The report of `mlops-nb ci run`, from the job that ran the notebooks to the pull request: checked, rendered, posted.

The job that ran them may have run anybody's code. Of what it left only the data are used, after their schema has been
checked; the Markdown is made here. To which commit and pull request they belong says the forge, not the data.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from mlops_nb.core.records import Record
from mlops_nb.errors import InvalidInput
from mlops_nb.forges.base import Forge, ForgeError, ForgeUnreachable, NotAuthenticated, PermissionMissing, RateLimited
from mlops_nb.forges.context import Context
from mlops_nb.posting.checks import annotations_of, set_check
from mlops_nb.posting.marks import Writer, unmarked
from mlops_nb.posting.report import Outcome, Report
from mlops_nb.reports.pull_request.data import PullRequestReport
from mlops_nb.reports.pull_request.files import load, write_pull_request_report
from mlops_nb.reports.pull_request.flavors import FLAVORS, PLAIN
from mlops_nb.reports.pull_request.markdown import to_markdown
from mlops_nb.reports.pull_request.redacting import redacted
from mlops_nb.reports.pull_request.wording import verdict, verdicts

log = logging.getLogger("mlops_nb.posting")

DATA = "report.json"
CHECK = "Notebooks"
# Room for the mark by which the comment is found again.
_MARK_CHARACTERS = 600
_NO_CHECK = (ForgeUnreachable, PermissionMissing, NotAuthenticated, RateLimited)


class PostedReport(Record, frozen=True, kw_only=True):
    """What became of a report. `passed`: all notebooks came to their end and no gate failed."""

    passed: bool
    comment: Outcome
    check_url: str = ""


def post_ci_report(
    folder: Path,
    forge: Forge,
    context: Context,
    *,
    writer: Writer,
    place: Sequence[str] = (),
    target: str = "auto",
    images: bool = True,
    publish_url: str | None = None,
    check: bool = True,
) -> PostedReport:
    """Post the report that a job has left in a folder.

    Args:
        folder: With `report.json` and the pictures; whatever else lies there is not looked at.
        forge: Where.
        context: What this run is about.
        writer: Who writes.
        place: The workflow and job in whose name.
        target: As `--target` of `mlops-nb comment`.
        images: Whether pictures are uploaded and shown.
        publish_url: Where to, if not to the forge.
        check: Whether the commit gets a check, with a remark at each cell that failed.

    Raises:
        InvalidInput: If the data are no report. A check says so first.
        ForgeError: If the forge refuses the comment for another reason than missing rights.
    """
    try:
        report, files = load(folder / DATA)
        if not report.notebooks:
            raise InvalidInput(f"{folder / DATA} holds no notebook.", hint="Name one in the command that runs them.")
    except FileNotFoundError:
        reason = InvalidInput(
            f"There is no {DATA} in {folder}.", hint="The job that runs the notebooks ended before it wrote one: see its log."
        )
        _say_none(forge, context, reason, wanted=check)
        raise reason from None
    except InvalidInput as refused:
        _say_none(forge, context, refused, wanted=check)
        raise
    # What the comment is about, and so which one it replaces, says the trusted job alone.
    key = ":".join((*place, folder.resolve().name))[:400]
    report = msgspec.structs.replace(report, key=key, commit=context.commit or "", branch=context.branch or "", full_report=None)
    hosts = [urlsplit(context.server_url).hostname or ""]
    with tempfile.TemporaryDirectory(prefix="mlops-nb-report-") as made:
        path = Path(made) / "report.md"
        flavor = FLAVORS[forge.kind]
        room = min(flavor.characters, forge.limits.comment_characters) - _MARK_CHARACTERS
        flavor = msgspec.structs.replace(flavor, characters=room)
        shown = files if images else {}
        write_pull_request_report(_with_pictures(report, set(shown)), shown, markdown=path, flavor=flavor, hosts=hosts)
        # Where it is kept instead of posted, there is no place for pictures.
        bare = to_markdown(redacted(_with_pictures(report, set())), flavor, hosts=hosts)
        posting = Report(
            path=path,
            target=target,
            title="",
            mode="create",
            publish=images,
            publish_url=publish_url,
            root=Path(made),
            kept=(bare, Path.cwd()),
        )
        posting.place(lambda: (forge, context), lambda _: writer, lambda _: tuple(place))
        done = posting.post()
        url = _set_check(forge, context, report, done.markdown or bare) if check else ""
    return PostedReport(passed=has_passed(report), comment=done, check_url=url)


def has_passed(report: PullRequestReport) -> bool:
    """Return whether all notebooks came to their end and no gate failed."""
    return not any(
        notebook.failure is not None or any(gate.is_failure for metric in notebook.metrics for gate in metric.gates)
        for notebook in report.notebooks
    )


def _with_pictures(report: PullRequestReport, there: set[str]) -> PullRequestReport:
    """Return the report with only the pictures that there are."""
    notebooks = []
    for notebook in report.notebooks:
        cells = [
            msgspec.structs.replace(
                cell,
                before=[output for output in cell.before if output.path is None or output.path in there],
                after=[output for output in cell.after if output.path is None or output.path in there],
            )
            for cell in notebook.cells
        ]
        notebooks.append(msgspec.structs.replace(notebook, cells=cells, images=[image for image in notebook.images if image.path in there]))
    return msgspec.structs.replace(report, notebooks=notebooks)


def _set_check(forge: Forge, context: Context, report: PullRequestReport, markdown: str) -> str:
    if context.commit is None:
        log.warning("No commit is known here, so none gets a check.")
        return ""
    try:
        posted = set_check(
            forge,
            commit=context.commit,
            name=CHECK,
            title=verdict(report, PLAIN),
            # Bitbucket shows no Markdown there.
            summary=verdicts(report, PLAIN) if forge.kind == "bitbucket" else unmarked(markdown),
            status="completed",
            conclusion="success" if has_passed(report) else "failure",
            annotations=annotations_of(report),
            details_url=context.run_url,
        )
    except _NO_CHECK as error:
        log.warning("The commit has no check: %s", error)
        return ""
    return posted.url or ""


def _say_none(forge: Forge, context: Context, reason: InvalidInput, *, wanted: bool) -> None:
    """Let the check say that there is no report, and why."""
    if not wanted or context.commit is None:
        return
    try:
        set_check(
            forge,
            commit=context.commit,
            name=CHECK,
            summary=f"{reason.message}\n\n{reason.hint or ''}",
            status="completed",
            conclusion="failure",
            details_url=context.run_url,
        )
    except ForgeError as error:
        log.warning("The commit has no check: %s", error)
