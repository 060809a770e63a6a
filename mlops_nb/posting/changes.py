"""Changed files become a commit without touching the user's branch, index or working tree: through an index of its own."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mlops_nb.core.records import Record
from mlops_nb.errors import InvalidInput
from mlops_nb.posting.fallback import SAVED
from mlops_nb.posting.git import Git, GitError


class Identity(Record, frozen=True, kw_only=True):
    """Who makes a commit."""

    name: str
    email: str

    def settings(self) -> tuple[tuple[str, str], ...]:
        """Return git's settings for it."""
        return (("user.name", self.name), ("user.email", self.email), ("commit.gpgsign", "false"))


def changed(git: Git, globs: Sequence[str], folder: Path) -> list[bytes]:
    """Return the paths from the root that differ from HEAD and match: changed, new, deleted and renamed ones.

    Args:
        git: The repository.
        globs: Files, folders or patterns from `folder`; `*` stops at `/`, `**` does not, `!pattern` takes away. Dotfiles match;
            a report that could not be posted (`unposted-report.md`) never does.
        folder: What the patterns start from, usually the working directory.
    """
    listed = git.raw("status", "--porcelain=v1", "-z", "--untracked-files=all", "--no-renames", "--ignore-submodules=dirty")
    paths = [entry[3:] for entry in listed.split(b"\0") if len(entry) > 3]
    try:
        prefix = os.fsencode(folder.resolve().relative_to(git.root.resolve()))
    except ValueError:
        raise InvalidInput(f"{folder} is not in the repository {git.root}.") from None
    prefix = b"" if prefix == b"." else prefix + b"/"
    wanted = [_pattern(_normal(glob, git.root, folder), prefix) for glob in globs if not glob.startswith("!")]
    unwanted = [_pattern(_normal(glob[1:], git.root, folder), prefix) for glob in globs if glob.startswith("!")]
    return [p for p in paths if any(w.fullmatch(p) for w in wanted) and not any(u.fullmatch(p) for u in unwanted) and not _is_left_over(p)]


def _is_left_over(path: bytes) -> bool:
    """Return whether a path is the report that an earlier step of the job could not post: nobody means that by `.`."""
    return path.rpartition(b"/")[2] == os.fsencode(SAVED)


def _normal(glob: str, root: Path, folder: Path) -> str:
    if Path(glob).is_absolute():
        glob = os.path.relpath(glob, folder.resolve())
    return os.path.normpath(glob) if glob else "."


def _pattern(glob: str, prefix: bytes) -> re.Pattern[bytes]:
    """Return what a pattern means for paths from the root; a folder means all that is in it."""
    parts = [part for part in os.fsdecode(prefix).split("/") if part]
    for part in glob.split("/"):
        if part == "..":
            if not parts:
                raise InvalidInput(f"'{glob}' is outside of the repository.")
            parts.pop()
        elif part != ".":
            parts.append(part)
    translated = "/".join(parts)
    pattern = _translated(translated)
    return re.compile(os.fsencode(f"{pattern}(?:/.*)?" if translated else ".*"), re.DOTALL)


def _translated(glob: str) -> str:
    found, position = "", 0
    while position < len(glob):
        rest = glob[position:]
        if rest.startswith("**/"):
            found, position = found + "(?:[^/]*/)*", position + 3
        elif rest.startswith("**"):
            found, position = found + ".*", position + 2
        elif rest[0] == "*":
            found, position = found + "[^/]*", position + 1
        elif rest[0] == "?":
            found, position = found + "[^/]", position + 1
        elif rest[0] in "[{" and (special := _class_or_choice(rest)):
            found, position = found + special[0], position + special[1]
        else:
            found, position = found + re.escape(rest[0]), position + 1
    return found


def _class_or_choice(rest: str) -> tuple[str, int] | None:
    """Return the expression of `[abc]` or `{a,b}` at the beginning, and its length; None: it is only a character."""
    end = rest.find("]" if rest[0] == "[" else "}", 2)
    if end < 0:
        return None
    inner = rest[1:end]
    if rest[0] == "[":
        negated = "^/" if inner[0] in "!^" else ""
        body = re.sub(r"([\\\]\[^&~|])", r"\\\1", inner[1:] if negated else inner)
        return f"[{negated}{body}]", end + 1
    return f"(?:{'|'.join(_translated(part) for part in inner.split(','))})", end + 1


def commit_of(git: Git, paths: Sequence[bytes], *, base: str, message: str, identity: Identity, own: Sequence[bytes] = ()) -> str | None:
    """Make a commit of these paths, as they are in the working tree, on top of `base`; None: `base` has all of it already.

    HEAD, the index and the working tree stay as they are. Where `base` is not HEAD, what the paths changed since HEAD is
    merged into it; the paths of `own`, which only we have written in `base`, are replaced instead.

    Raises:
        GitError: If git fails, or what `base` changed does not fit together with it.
    """
    with tempfile.TemporaryDirectory(prefix="mlops-nb-index-") as folder:
        index = Path(folder) / "index"
        git("read-tree", "HEAD", index=index)
        git("update-index", "--add", "--remove", "-z", "--stdin", index=index, stdin=b"".join(path + b"\0" for path in paths))
        tree = git("write-tree", index=index)
    if git("rev-parse", f"{base}^{{tree}}") != git("rev-parse", "HEAD^{tree}"):
        tree = _carried(git, tree, base, identity, own)
    if tree == git("rev-parse", f"{base}^{{tree}}"):
        return None
    return git("commit-tree", tree, "-p", base, "-F", "-", stdin=message.encode(), settings=identity.settings())


def _carried(git: Git, tree: str, base: str, identity: Identity, own: Sequence[bytes]) -> str:
    """Return the tree of `base` with what lies between HEAD and `tree`: a three-way merge of commits made for it alone."""

    def commit(content: str, *parents: str) -> str:
        return git("commit-tree", content, *(f"-p{parent}" for parent in parents), "-m", "for a merge", settings=identity.settings())

    start = commit(_start(git, base, own))
    ours, theirs = commit(tree, start), commit(f"{base}^{{tree}}", start)
    try:
        return git("merge-tree", "--write-tree", "--no-messages", theirs, ours).split("\n")[0]
    except GitError as error:
        raise GitError(
            f"The files were changed in {base[:12]}, too, and the changes do not fit together.",
            hint="Check out the newest state of the branch and run again; git must be 2.38 or newer.",
        ) from error


def _start(git: Git, base: str, own: Sequence[bytes]) -> str:
    """Return the tree of HEAD in which our own paths are as they are in `base`: a change of theirs then counts as ours alone."""
    if not own:
        return "HEAD^{tree}"
    with tempfile.TemporaryDirectory(prefix="mlops-nb-index-") as folder:
        index = Path(folder) / "index"
        git("read-tree", "HEAD", index=index)
        listed = git.raw("--literal-pathspecs", "ls-tree", "-r", "-z", "--full-tree", base, "--", *map(os.fsdecode, own))
        there = {entry.split(b"\t", 1)[1] for entry in listed.split(b"\0") if entry}
        gone = b"".join(b"0 " + b"0" * 40 + b"\t" + path + b"\0" for path in own if path not in there)
        git("update-index", "-z", "--index-info", index=index, stdin=listed + gone)
        return git("write-tree", index=index)
