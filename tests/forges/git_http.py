"""Git's own protocol at a loopback forge, for those who give a token as the password."""

from __future__ import annotations

import base64

from tests.forges.git_repository import GitRepository
from tests.forges.server import Reply, Request


def serve(git: GitRepository, request: Request, place: str, writers: dict[str, bool]) -> Reply | None:
    """Answer a request below `place` (`/group/project.git`), or return None for what is elsewhere.

    Args:
        writers: The tokens that may read, and whether they may push too.
    """
    if not request.path.startswith(f"{place}/"):
        return None
    kind, _, encoded = request.headers.get("Authorization", "").partition(" ")
    user, _, password = base64.b64decode(encoded).decode().partition(":") if kind == "Basic" else ("", "", "")
    if password not in writers or not user:
        return Reply(b"", 401, {"WWW-Authenticate": 'Basic realm="forge"', "Content-Type": "text/plain"})
    path = request.path.removeprefix(place)
    if ("receive-pack" in path or request.one("service") == "git-receive-pack") and not writers[password]:
        return Reply(b"Permission denied", 403, {"Content-Type": "text/plain"})
    return git.serve(request, path, user)
