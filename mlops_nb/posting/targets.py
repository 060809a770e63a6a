"""Where a comment goes: what `--target` says, or what the run is about."""

from __future__ import annotations

import re

from mlops_nb.errors import InvalidInput, NotFound
from mlops_nb.forges.base import Forge, ForgeNotFound, Target
from mlops_nb.forges.context import Context, find_pull_request

_COMMIT = re.compile(r"[0-9a-fA-F]{7,64}")
_NUMBER = re.compile(r"[1-9][0-9]{0,17}")
_FORMS = "Targets are pr, pr/NUMBER, commit, commit/HASH and issue/NUMBER."


def resolve_target(forge: Forge, context: Context, wanted: str = "auto") -> Target:
    """Return where a comment goes.

    Args:
        forge: Asked for the pull request of the commit or branch.
        context: What this run is about.
        wanted: `auto` (the pull request, else the commit), `pr`, `commit`, or one of these or `issue` with `/` and which.

    Raises:
        InvalidInput: If it is no target.
        NotFound: If there is no pull request, or no commit is known.
    """
    kind, _, ref = wanted.strip().partition("/")
    kind = kind.lower()
    if ref:
        return _named(kind, ref, wanted)
    if kind == "commit":
        return Target("commit", _commit(context))
    if kind not in ("pr", "auto"):
        raise InvalidInput(f"'{wanted}' is no target of a comment.", hint=_FORMS)
    try:
        found = find_pull_request(forge, context)
    except ForgeNotFound:
        found = None
    if found is not None:
        return Target("pr", str(found.number))
    if kind == "pr":
        about = f"commit {context.commit[:12]}" if context.commit else f"branch {context.branch}"
        raise NotFound(f"There is no open pull request of {about} in {forge.repository}.", hint="Name it: --target pr/NUMBER.")
    return Target("commit", _commit(context))


def _named(kind: str, ref: str, wanted: str) -> Target:
    if kind in ("pr", "issue") and _NUMBER.fullmatch(ref):
        return Target("pr" if kind == "pr" else "issue", ref)
    if kind == "commit" and _COMMIT.fullmatch(ref):
        return Target("commit", ref.lower())
    raise InvalidInput(f"'{wanted}' is no target of a comment.", hint=_FORMS)


def _commit(context: Context) -> str:
    if context.commit is None:
        raise NotFound("No commit is known here: neither a CI nor git says one.", hint="Name it: --target commit/HASH.")
    return context.commit
