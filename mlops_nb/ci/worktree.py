"""A commit of the repository checked out beside the user's tree, which is not touched."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlops_nb.errors import NotFound
from mlops_nb.forges.git import git


def commit_of_branch(folder: Path, branch: str, *, is_ci: bool) -> str:
    """Return the commit that a branch points to: the remote's in a CI, else the user's own.

    Raises:
        NotFound: If this clone does not have it.
    """
    places = ["refs/remotes/origin", "refs/heads"]
    for place in places if is_ci else reversed(places):
        if found := git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{place}/{branch}^{{commit}}"):
            return found
    raise NotFound(
        f"The branch '{branch}' is not in this clone.",
        hint=f"Fetch it first (git fetch origin {branch}:refs/remotes/origin/{branch}), or check out with the full history.",
    )


@contextmanager
def checked_out(folder: Path, commit: str) -> Iterator[Path]:
    """Give a temporary working tree of a commit, which is removed in the end.

    Args:
        folder: Inside the repository.
        commit: Its full hash.

    Raises:
        NotFound: If git cannot check it out.
    """
    place = Path(tempfile.mkdtemp(prefix="mlops-nb-baseline-")).resolve()
    tree = place / "tree"
    try:
        if git(folder, "worktree", "add", "--detach", "--quiet", str(tree), commit) is None:
            raise NotFound(f"git cannot check out {commit[:12]}.", hint="Check out with the full history (fetch-depth: 0).")
        yield tree
    finally:
        git(folder, "worktree", "remove", "--force", "--force", str(tree))
        shutil.rmtree(place, ignore_errors=True)
        git(folder, "worktree", "prune")


def top_of(folder: Path) -> Path | None:
    """Return the root of the working tree that a folder belongs to; None outside of one."""
    found = git(folder, "rev-parse", "--show-toplevel")
    return Path(found).resolve() if found else None
