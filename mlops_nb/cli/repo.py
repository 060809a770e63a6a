"""`mlops-nb repo ...`"""

from __future__ import annotations

import sys

import click

from mlops_nb.cli.forge_options import EXIT_CODES, flag, forge_command, forge_group
from mlops_nb.cli.pr import USER_EMAIL, USER_NAME


@forge_group()
def repo() -> None:
    """Prepare the checked-out repository for git."""


@forge_command(repo, "prepare", "REPO", epilog=f"{EXIT_CODES}.")
@click.option("--fetch-depth", type=int, metavar="COMMITS", help="Commits of each branch to fetch; 0 is all, with tags.")
@flag("--unshallow", hidden=True, help="--fetch-depth 0")
@click.option("--user-email", default=USER_EMAIL, show_default=True, help="The author of commits.")
@click.option("--user-name", default=USER_NAME, show_default=True, help="The author of commits.")
def prepare(
    fetch_depth: int | None,
    unshallow: bool,
    user_email: str,
    user_name: str,
    driver: str | None,
    repo: str | None,
    driver_token: str | None,
) -> None:
    """Give the repository an author, history, and a way to push in this job.

    Only settings of this repository change, and none holds a token: git asks this program, which takes it from the job's
    environment (REPO_TOKEN and the like; not from --token).
    """
    from pathlib import Path

    from mlops_nb.cli.places import open_forge
    from mlops_nb.posting.changes import Identity
    from mlops_nb.posting.prepare import prepare as prepare_repository

    forge, _ = open_forge(driver, repo, driver_token)
    depth = 0 if unshallow and fetch_depth is None else fetch_depth
    prepare_repository(forge, Path.cwd(), identity=Identity(name=user_name, email=user_email), fetch_depth=depth)


@repo.command("credential", hidden=True)
@click.argument("action")
def credential(action: str) -> None:
    """Answer git's question for credentials from this job's environment; see gitcredentials(7)."""
    from urllib.parse import urlsplit

    from mlops_nb.cli.places import open_forge

    asked = dict(line.rstrip("\n").split("=", 1) for line in sys.stdin if "=" in line)
    if action != "get":
        return
    forge, _ = open_forge(None, None, None)
    known = forge.git_credentials()
    parts = urlsplit(known.url)
    if (asked.get("protocol"), asked.get("host")) == (parts.scheme, parts.netloc.rpartition("@")[2]):
        click.echo(f"username={known.username}\npassword={known.password}")
