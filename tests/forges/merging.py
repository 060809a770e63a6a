"""What a forge does to a repository when it merges: merge commits, squashes and rebases, by git itself."""

from __future__ import annotations

import subprocess

from tests.forges.git_repository import GitRepository


class CannotMerge(Exception):
    """The branches have conflicts, or nothing is left to merge."""


def _tree(git: GitRepository, onto: str, commit: str) -> str:
    try:
        return git.git("merge-tree", "--write-tree", onto, commit).splitlines()[0]
    except subprocess.CalledProcessError as error:
        raise CannotMerge(f"{commit} onto {onto}") from error


def merge(git: GitRepository, source: str, target: str, *, message: str, squash: bool = False, forward: bool = False) -> str:
    """Bring the branch `source` into the branch `target` and return the target's new commit.

    Args:
        squash: One new commit with one parent instead of a merge commit.
        forward: Move the branch without a new commit; `CannotMerge` where it has gone on in between.
    """
    head, onto = git.resolve(f"refs/heads/{source}"), git.resolve(f"refs/heads/{target}")
    assert head and onto
    if forward:
        if git.git("merge-base", head, onto) != onto:
            raise CannotMerge(f"{target} is not behind {source}")
        made = head
    else:
        parents = ("-p", onto) if squash else ("-p", onto, "-p", head)
        made = git.git("commit-tree", _tree(git, onto, head), *parents, "-m", message)
    git.git("update-ref", f"refs/heads/{target}", made)
    return made


def rebase(git: GitRepository, source: str, target: str) -> str:
    """Put the commits of `source` on top of `target` and return the new head of `source`."""
    onto = git.resolve(f"refs/heads/{target}")
    assert onto
    for commit in git.git("rev-list", "--reverse", f"refs/heads/{target}..refs/heads/{source}").split():
        # A commit with the files of `onto` on top of the commit's parent makes that parent the base of the merge.
        beside = git.git("commit-tree", f"{onto}^{{tree}}", "-p", f"{commit}^", "-m", "beside")
        tree = _tree(git, beside, commit)
        onto = git.git("commit-tree", tree, "-p", onto, "-m", git.git("log", "-1", "--format=%B", commit))
    git.git("update-ref", f"refs/heads/{source}", onto)
    return onto


def has_conflicts(git: GitRepository, source: str, target: str) -> bool:
    """Tell whether `source` cannot be merged into `target` without a person."""
    head, onto = git.resolve(f"refs/heads/{source}"), git.resolve(f"refs/heads/{target}")
    try:
        return bool(head and onto and not _tree(git, onto, head))
    except CannotMerge:
        return True
