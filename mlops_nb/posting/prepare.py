"""A checked-out repository made ready for git in the rest of a job: history, an author, and a way to push without a stored token."""

from __future__ import annotations

import logging
import shlex
import sys
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from mlops_nb.errors import PermissionDenied
from mlops_nb.forges.base import Forge
from mlops_nb.posting.changes import Identity
from mlops_nb.posting.git import Git, process_environment

log = logging.getLogger("mlops_nb.posting")


def prepare(forge: Forge, folder: Path, *, identity: Identity, fetch_depth: int | None = None, remote: str = "origin") -> None:
    """Prepare the repository that a folder is in; only its own settings change, and no token is among them.

    Afterwards `git push` in the job asks `mlops-nb repo credential`, which takes the token from the job's environment.
    A token that CI has put into the remote's address, or a header that it has set for the forge, is out of use.

    Args:
        forge: Gives the credentials of fetching, and the host that they are for.
        folder: Inside of the working tree.
        identity: The author of commits.
        fetch_depth: How many commits of each branch to fetch; 0 is all, with tags; None fetches nothing.
        remote: The remote's name.
    """
    try:
        credentials = forge.git_credentials()
    except PermissionDenied:
        credentials = None
    git = Git(folder, process_environment(), credentials)
    git("config", "--local", "user.name", identity.name)
    git("config", "--local", "user.email", identity.email)
    url = git.tries("remote", "get-url", remote)
    if credentials is not None and url is not None and not Path(url).exists() and urlsplit(url).scheme != "file":
        parts = urlsplit(url if urlsplit(url).scheme in ("http", "https") else credentials.url)
        host = parts.netloc.rpartition("@")[2]
        git("remote", "set-url", remote, urlunsplit(parts._replace(netloc=host)))
        _ask_us(git, f"{parts.scheme}://{host}")
        log.info("git asks mlops-nb for the token of %s in this repository; it is not stored.", host)
    _fetch(git, remote, fetch_depth)


def _ask_us(git: Git, place: str) -> None:
    """Let git ask this program for credentials at a place, and use no header that CI has set for it."""
    # -P: git runs it in the repository, whose files are no modules of ours.
    helper = f"!{shlex.join([sys.executable, '-P', '-m', 'mlops_nb.cli', 'repo', 'credential'])}"
    key, header = f"credential.{place}.helper", f"http.{place}/.extraheader"
    git.tries("config", "--local", "--unset-all", key)
    for value in ("", helper):  # the empty one forgets the helpers of the user, which could ask
        git("config", "--local", "--add", key, value)
    if git.tries("config", "--get-all", header):
        git("config", "--local", "--add", header, "")


def _fetch(git: Git, remote: str, depth: int | None) -> None:
    if depth is None:
        return
    if depth > 0:
        git("fetch", "--quiet", "--all", "--tags", f"--depth={depth}", network=True)
    elif git("rev-parse", "--is-shallow-repository") == "true":
        git("fetch", "--quiet", "--all", "--tags", "--unshallow", network=True)
    else:
        git("fetch", "--quiet", "--all", "--tags", network=True)
    log.info("The history is fetched (%s).", f"{depth} commits of each branch" if depth else "all of it")
