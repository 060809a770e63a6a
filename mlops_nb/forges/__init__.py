"""The forges: GitHub, GitLab and Bitbucket Cloud behind one protocol (`base`).

context = discover(os.environ, Path.cwd())
forge = connect(context, find_token(context.kind, os.environ))
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_nb.forges.base import ForgeNotSupported

if TYPE_CHECKING:
    from mlops_nb.forges.base import Forge
    from mlops_nb.forges.context import Context
    from mlops_nb.forges.tokens import AppKey, Token


def connect(context: Context, token: Token | AppKey | None) -> Forge:
    """Return the forge of a context, which asks with this token; nothing is sent yet."""
    if context.kind == "github":
        from mlops_nb.forges.github import GitHub

        return GitHub(context, token)
    raise ForgeNotSupported(f"'{context.kind}' is not a forge that we know.")
