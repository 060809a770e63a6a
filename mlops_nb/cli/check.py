"""`mlops-nb check ...`"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mlops_nb.cli.forge_options import EXIT_CODES, forge_command, forge_group

_CONCLUSIONS = ["success", "failure", "neutral", "cancelled", "skipped", "timed_out"]
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@forge_group()
def check() -> None:
    """Set a check on a commit."""


def _options(function: Any) -> Any:
    decorators = (
        click.argument("markdown_file", metavar="MARKDOWN_FILE", type=_FILE),
        click.option("--commit-sha", "--head-sha", "commit_sha", metavar="SHA", help="The commit; else the one that this run is about."),
        click.option("--conclusion", type=click.Choice(_CONCLUSIONS), default="success", show_default=True, help="Of a completed check."),
        click.option(
            "--status",
            type=click.Choice(["queued", "in_progress", "completed"]),
            default="completed",
            show_default=True,
            help="Of the check.",
        ),
        click.option("--title", default="CML Report", show_default=True, help="Its name, too: the same again is an update."),
        click.option("--annotations", type=_FILE, help="The report.json of `mlops-nb ci run`, or a list of path, line, message."),
        click.option("--details-url", metavar="URL", help="Where the forge links to; else the page of this run."),
        click.option("--id", "check_id", metavar="ID", help="Update this check."),
    )
    for decorator in reversed(decorators):
        function = decorator(function)
    return function


_SUMMARY = """Set a check from the markdown file MARKDOWN_FILE, and print its URL.

    A check run on GitHub, a commit status on GitLab, a Code Insights report on Bitbucket. Only a completed check has a
    conclusion; set again with the same title on the same commit, it is updated. Annotations stand at the cells that failed.
    """


@forge_command(check, "create", "CHECK", epilog=f"{EXIT_CODES}.", help=_SUMMARY, short_help="Set a check on a commit.")
@_options
def create(**given: Any) -> None:
    _set(**given)


@forge_command(check, "update", "CHECK", epilog=f"{EXIT_CODES}.", help=_SUMMARY, short_help="Change a check.")
@_options
def update(**given: Any) -> None:
    _set(**given)


def _set(
    *,
    markdown_file: Path,
    commit_sha: str | None,
    conclusion: str,
    status: str,
    title: str,
    annotations: Path | None,
    details_url: str | None,
    check_id: str | None,
    driver: str | None,
    repo: str | None,
    driver_token: str | None,
) -> None:
    import os

    from mlops_nb.cli.places import open_forge
    from mlops_nb.config import find_project
    from mlops_nb.core.redaction import Redactor
    from mlops_nb.errors import NotFound
    from mlops_nb.posting.checks import checked_conclusion, checked_status, read_annotations, set_check

    forge, context = open_forge(driver, repo, driver_token)
    commit = commit_sha or context.commit
    if commit is None:
        raise NotFound("No commit is known here: neither a CI nor git says one.", hint="Name it: --commit-sha SHA.")
    posted = set_check(
        forge,
        commit=commit,
        name=title,
        summary=Redactor(os.environ)(markdown_file.read_text(encoding="utf-8", errors="replace")),
        status=checked_status(status),
        conclusion=checked_conclusion(conclusion) if status == "completed" else None,
        annotations=read_annotations(annotations) if annotations else (),
        details_url=details_url or context.run_url,
        id=check_id,
        project=find_project(),
    )
    click.echo(posted.url or posted.id)
