"""`mlops-nb pr ...`"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from mlops_nb.cli.forge_options import BEFORE, EXIT_CODES, flag, forge_command, forge_group

USER_NAME, USER_EMAIL = "Olivaw[bot]", "olivaw@iterative.ai"
"""CML's, so that filters on the author go on to work."""


class _Create(click.Group):
    """`pr` is `pr create`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args if self._names_command(args) else ["create", *args])

    def _names_command(self, args: Sequence[str]) -> bool:
        """Return whether the first word that is no common option, nor its value, is a command."""
        common = {name for names in BEFORE for name in names}
        place = 0
        while place < len(args) and args[place].partition("=")[0] in common:
            place += 1 if "=" in args[place] else 2
        return place < len(args) and args[place] in (*self.commands, "-h", "--help")


@forge_group(_Create)
def pr() -> None:
    """Make a pull request of changed files; `pr` alone is `pr create`."""


@forge_command(pr, "create", "PR", epilog=f"{EXIT_CODES}; nothing to commit is 0 and prints nothing.")
@click.argument("globs", nargs=-1, metavar="[GLOB]...")
@flag("--md", help="Print a link in markdown.")
@flag("--skip-ci", "--skip-CI", help="No CI for the commit; so by default without --message and without merging.")
@flag("--merge", "--auto-merge", help="Merge as soon as the checks pass, or at once.")
@flag("--rebase", help="The same by rebasing.")
@flag("--squash", help="The same in one commit.")
@click.option("--branch", default="", metavar="NAME", help="The pull request's branch; else TARGET-cml-pr-COMMIT.")
@click.option("--target-branch", default="", metavar="NAME", help="What it goes into; else the branch of this run.")
@click.option("--title", default="", help="Its title.")
@click.option("--body", default="", help="Its description.")
@click.option("--message", default="", help="The commit's message.")
@click.option("--remote", default="origin", show_default=True, help="The remote to push to.")
@click.option("--user-email", default=USER_EMAIL, show_default=True, help="The commit's author.")
@click.option("--user-name", default=USER_NAME, show_default=True, help="The commit's author.")
def create(
    globs: tuple[str, ...],
    md: bool,
    skip_ci: bool,
    merge: bool,
    rebase: bool,
    squash: bool,
    branch: str,
    target_branch: str,
    title: str,
    body: str,
    message: str,
    remote: str,
    user_email: str,
    user_name: str,
    driver: str | None,
    repo: str | None,
    driver_token: str | None,
) -> None:
    """Commit the changed files that match GLOB, and open a pull request with them or update it; print its URL.

    Without GLOB it is opened for the commits of HEAD. The branch, index and files here stay as they are. Files are matched
    from this folder on: `*` stops at a slash, `**` does not, a folder means all in it. A run that such a pull request has
    started does nothing.
    """
    from pathlib import Path

    from mlops_nb.cli.places import open_forge
    from mlops_nb.core.formatting import log_line
    from mlops_nb.posting.changes import Identity
    from mlops_nb.posting.pull_request import Proposal, propose

    if merge + rebase + squash > 1:
        raise click.UsageError("--merge, --rebase and --squash exclude each other.")
    forge, context = open_forge(driver, repo, driver_token)
    proposal = Proposal(
        globs=globs,
        branch=branch,
        target_branch=target_branch,
        title=title,
        body=body,
        message=message,
        skip_ci=skip_ci,
        merge="merge" if merge else "rebase" if rebase else "squash" if squash else None,
        remote=remote,
        identity=Identity(name=user_name, email=user_email),
    )
    done = propose(forge, context, Path.cwd(), proposal)
    if done.pull_request is None:
        click.echo(f"· {log_line(done.nothing)}", err=True)
        return
    url = done.pull_request.url
    click.echo(f"[{'Merge' if forge.kind == 'gitlab' else 'Pull'} request]({url})" if md else url)
    if done.problem:
        click.echo(f"✗ {log_line(done.problem)}", err=True)
        sys.exit(1)
