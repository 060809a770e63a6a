"""`mlops-nb comment ...`"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from mlops_nb.cli.forge_options import flag, forge_command, forge_group

CODES = (
    "Exit status: 0 posted, or shown in the job's summary because the token may not comment; 1 failed; 2 wrong usage; "
    "3 not posted but saved to a file (0 with --exit-zero)."
)


@forge_group()
def comment() -> None:
    """Post a report to a pull request, commit or issue."""


def _options(function: Any) -> Any:
    decorators = (
        click.argument("markdown_file", metavar="MARKDOWN_FILE", type=click.Path(dir_okay=False, path_type=Path)),
        click.option(
            "--target",
            default=None,
            metavar="TARGET",
            help="pr, commit, pr/42, commit/f00ba4 or issue/7; else the pull request, or the commit.",
        ),
        flag("--watch", help="Post now, then after each change of the report, and what is left at the end."),
        flag("--publish", default=True, help="Upload the local images that the report shows; only those inside the workspace."),
        click.option(
            "--publish-url",
            metavar="URL",
            help="Where images go: s3://, gs:// or az://bucket/folder, mlflow-artifacts: (the tracking server); else to the forge itself.",
        ),
        flag("--publish-native", "--native", help="Images go to the forge itself, as they do by default."),
        click.option("--watermark-title", default="", metavar="TITLE", help="Which comment it is; {workflow} and {run} are filled in."),
        flag("--exit-zero", help="A report that could only be saved to a file is no failure."),
        flag("--pr", hidden=True, help="--target pr"),
        click.option("--commit-sha", "--head-sha", "commit_sha", hidden=True, help="--target commit/SHA"),
        flag("--rm-watermark", hidden=True, help="Post without a mark: a new comment each time."),
        click.option("--trigger-file", hidden=True, type=click.Path(path_type=Path), help="With --watch: post when this file appears."),
    )
    for decorator in reversed(decorators):
        function = decorator(function)
    return function


@forge_command(comment, "create", "COMMENT", epilog=CODES)
@_options
@flag("--update", hidden=True, help="As comment update.")
@flag("--new", hidden=False, help="Always make a new comment.")
def create(update: bool, new: bool, **given: Any) -> None:
    """Post the report MARKDOWN_FILE as a comment, and print its URL.

    A report has one comment: posted again by this job or the next run, it takes the place of the one before. Comments that
    CML has made under this name are taken over.
    """
    _post(mode="update" if update else "new" if new else "create", **given)


@forge_command(comment, "update", "COMMENT", epilog=CODES)
@_options
@flag("--update", hidden=True, default=True)
@flag("--new", hidden=True)
def update_comment(update: bool, new: bool, **given: Any) -> None:
    """Put the report MARKDOWN_FILE into the last comment, or make one, and print its URL.

    The comment of this name, else of this file, else the last one of ours without a name.
    """
    _post(mode="update" if update and not new else "new", **given)


def _post(
    *,
    mode: str,
    markdown_file: Path,
    target: str | None,
    watch: bool,
    publish: bool,
    publish_url: str | None,
    publish_native: bool,
    watermark_title: str,
    exit_zero: bool,
    pr: bool,
    commit_sha: str | None,
    rm_watermark: bool,
    trigger_file: Path | None,
    driver: str | None,
    repo: str | None,
    driver_token: str | None,
) -> None:
    from mlops_nb.cli.places import open_forge, place_of, writer_of
    from mlops_nb.posting.report import Report

    if sum((pr, commit_sha is not None, target is not None)) > 1:
        raise click.UsageError("--target, --pr and --commit-sha exclude each other.")
    if rm_watermark and (watermark_title or mode == "update"):
        raise click.UsageError("Without a mark (--rm-watermark) a comment cannot be found again to be updated.")
    if rm_watermark and watch:
        raise click.UsageError("Without a mark (--rm-watermark) each change of the report would be a new comment: leave out --watch.")
    wanted = "pr" if pr else f"commit/{commit_sha}" if commit_sha else target or "auto"
    report = Report(
        path=markdown_file,
        target=wanted,
        title=watermark_title,
        mode="plain" if rm_watermark else mode,
        publish=publish,
        publish_url=None if publish_native else publish_url,
    )
    report.place(lambda: open_forge(driver, repo, driver_token), writer_of, place_of)
    if watch:
        click.get_current_context().exit(0 if report.watch(trigger_file, lambda url: click.echo(url)) or exit_zero else 3)
    posted = report.post()
    if posted.url:
        click.echo(posted.url)
    if posted.kept_in_file and not exit_zero:
        sys.exit(3)
