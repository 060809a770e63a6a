"""The forges: GitHub, GitLab and Bitbucket Cloud behind one protocol (`base`).

context = discover(os.environ, Path.cwd())
forge = connect(context, find_token(context.kind, os.environ))
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_nb.errors import InvalidInput

if TYPE_CHECKING:
    from mlops_nb.forges.base import Forge
    from mlops_nb.forges.context import Context
    from mlops_nb.forges.tokens import AppKey, Token


def connect(context: Context, token: Token | AppKey | None) -> Forge:
    """Return the forge of a context, which asks with this token; nothing is sent yet."""
    if context.kind == "github":
        from mlops_nb.forges.github import GitHub

        return GitHub(context, token)
    from mlops_nb.forges.tokens import AppKey

    if isinstance(token, AppKey):
        raise InvalidInput(f"The key of a GitHub App ({token.source}) opens nothing at {context.kind}.", hint="Give a token of that forge.")
    if context.kind == "gitlab":
        from mlops_nb.forges.gitlab import GitLab

        return GitLab(context, token)
    from mlops_nb.forges.bitbucket import Bitbucket

    return Bitbucket(context, token)
