"""Which token speaks to a forge, what kind it is, and how it is held without ever being shown."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Literal, NoReturn

from mlops_nb.errors import InvalidInput
from mlops_nb.forges.base import ForgeKind

TokenKind = Literal[
    "github-classic",
    "github-fine-grained",
    "github-user",
    "github-app",
    "gitlab-access",
    "gitlab-job",
    "gitlab-deploy",
    "gitlab-oauth",
    "bitbucket-access",
    "bitbucket-api",
    "bitbucket-password",
    "unknown",
]
"""What was recognised. GitHub: classic, fine-grained, on behalf of a user, installation of an App (also `GITHUB_TOKEN` in
Actions). GitLab: personal, project or group access token, job token, deploy token, token of OAuth 2.0. Bitbucket: access
token of a repository, project or workspace (Bearer), API token with the e-mail address, user name with app password."""

ANY_FORGE: Final = ("CML_TOKEN", "CML_DRIVER_TOKEN", "MLOPS_NB_FORGE_TOKEN", "REPO_TOKEN", "repo_token")
OWN: Final[dict[ForgeKind, tuple[str, ...]]] = {
    "github": ("GITHUB_TOKEN", "GH_TOKEN"),
    "gitlab": ("GITLAB_TOKEN", "CI_JOB_TOKEN"),
    "bitbucket": ("BITBUCKET_TOKEN", "BITBUCKET_ACCESS_TOKEN"),
}
"""Variables that only their own forge may see, though CML sends each to any."""
EMAIL_NAMES: Final = ("BITBUCKET_EMAIL", "BITBUCKET_API_EMAIL", "ATLASSIAN_EMAIL")
USER_NAMES: Final = ("BITBUCKET_USERNAME", "BITBUCKET_USER")
APP_ID_NAMES: Final = ("MLOPS_NB_GITHUB_APP_ID", "GITHUB_APP_ID")
APP_KEY_NAMES: Final = ("MLOPS_NB_GITHUB_APP_PRIVATE_KEY", "GITHUB_APP_PRIVATE_KEY")


class Secret:
    """A text that shows itself only to who calls `reveal`; not to repr, str, vars, pickle or a debugger's list of locals."""

    __slots__ = ("_reveal",)

    def __init__(self, text: str) -> None:
        self._reveal: Callable[[], str] = lambda: text

    def reveal(self) -> str:
        """Return the text."""
        return self._reveal()

    def __repr__(self) -> str:
        return "Secret(***)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.reveal() == self.reveal()

    def __hash__(self) -> int:
        return hash(self.reveal())

    def __reduce__(self) -> NoReturn:
        raise TypeError("A secret is not written to files or sent to other processes.")


class Token:
    """A token, its kind, and where it came from.

    Attributes:
        kind: What was recognised.
        source: The variable's name, or `--token`.
        secret: The token itself; for `bitbucket-password` the password.
        user: User name or e-mail address that goes with it, where it needs one.
    """

    __slots__ = ("kind", "secret", "source", "user")

    def __init__(self, kind: TokenKind, secret: Secret, *, source: str, user: str | None = None) -> None:
        self.kind, self.secret, self.source, self.user = kind, secret, source, user

    def __repr__(self) -> str:
        return f"Token(kind={self.kind!r}, source={self.source!r})"


class AppKey:
    """A GitHub App's identity, which is exchanged for a token of its installation on the repository."""

    __slots__ = ("app_id", "private_key", "source")

    def __init__(self, app_id: str, private_key: Secret, *, source: str) -> None:
        self.app_id, self.private_key, self.source = app_id, private_key, source

    def __repr__(self) -> str:
        return f"AppKey(app_id={self.app_id!r}, source={self.source!r})"


def find_token(kind: ForgeKind, environment: Mapping[str, str], argument: str | None = None) -> Token | AppKey | None:
    """Return the token for a forge: the argument, else the first variable that is set, in CML's order; else None.

    Variables with the name of another forge are not looked at, so that no forge sees another's token.
    """
    if argument:
        return recognised(kind, argument, source="--token", environment=environment)
    for name in ANY_FORGE:
        if environment.get(name, "").strip():
            return recognised(kind, environment[name], source=name, environment=environment)
    if kind == "github" and (app := _app_key(environment)) is not None:
        return app
    for name in OWN[kind]:
        if environment.get(name, "").strip():
            return recognised(kind, environment[name], source=name, environment=environment)
    return None


def names_for(kind: ForgeKind) -> str:
    """Return the variables that may hold a forge's token, for people."""
    return ", ".join((*ANY_FORGE[:-1], *OWN[kind]))


def recognised(kind: ForgeKind, text: str, *, source: str, environment: Mapping[str, str]) -> Token:
    """Return a token with its kind, told from its form, from its variable, and from the variables beside it."""
    text = text.strip()
    if re.search(r"[\x00-\x20\x7f]", text) or not text.isascii():
        raise InvalidInput(f"The token from {source} has spaces or control characters in it.", hint="Was it copied whole, and alone?")
    if kind == "github":
        return Token(_github_kind(text), Secret(text), source=source)
    if kind == "gitlab":
        is_job = source == "CI_JOB_TOKEN" or text.startswith("glcbt-") or text == environment.get("CI_JOB_TOKEN")
        return Token("gitlab-job" if is_job else _gitlab_kind(text), Secret(text), source=source)
    return _bitbucket(text, source, environment)


def _github_kind(text: str) -> TokenKind:
    forms: dict[str, TokenKind] = {
        "ghp_": "github-classic",
        "github_pat_": "github-fine-grained",
        "gho_": "github-user",
        "ghu_": "github-user",
        "ghs_": "github-app",
    }
    return next((form for start, form in forms.items() if text.startswith(start)), "unknown")


def _gitlab_kind(text: str) -> TokenKind:
    """Return the kind of a token that is no job's. Tokens of OAuth have no prefix, and 64 hexadecimal digits."""
    if text.startswith("gldt-"):
        return "gitlab-deploy"
    return "gitlab-oauth" if re.fullmatch(r"[0-9a-f]{64}", text) else "gitlab-access"


def _bitbucket(text: str, source: str, environment: Mapping[str, str]) -> Token:
    """Return a token of Bitbucket; `user:password` may be plain or in base64, as CML has it."""
    user = next((environment[name] for name in USER_NAMES if environment.get(name)), None)
    email = next((environment[name] for name in EMAIL_NAMES if environment.get(name)), None)
    pair = text if ":" in text else _decoded_pair(text)
    if pair is not None:
        user, _, password = pair.partition(":")
        kind: TokenKind = "bitbucket-api" if "@" in user or password.startswith("ATATT") else "bitbucket-password"
        return Token(kind, Secret(password), source=source, user=user)
    if text.startswith("ATCTT"):
        return Token("bitbucket-access", Secret(text), source=source)
    if text.startswith("ATATT"):
        if email is None:
            raise InvalidInput(
                f"The token from {source} is an Atlassian API token, which works only with its owner's e-mail address.",
                hint="Set BITBUCKET_EMAIL, or use an access token of the repository.",
            )
        return Token("bitbucket-api", Secret(text), source=source, user=email)
    if text.startswith("ATBB") and user is not None:
        return Token("bitbucket-password", Secret(text), source=source, user=user)
    if email is not None:
        return Token("bitbucket-api", Secret(text), source=source, user=email)
    return Token("bitbucket-access", Secret(text), source=source)


def _decoded_pair(text: str) -> str | None:
    try:
        pair = base64.b64decode(text, validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        return None
    return pair if re.fullmatch(r"[^\s:]+:[^\s]+", pair) else None


def _app_key(environment: Mapping[str, str]) -> AppKey | None:
    app_id = next((environment[name] for name in APP_ID_NAMES if environment.get(name)), None)
    source = next((name for name in APP_KEY_NAMES if environment.get(name)), None)
    if app_id is None or source is None:
        return None
    key = environment[source]
    if "-----BEGIN" not in key:
        try:
            key = Path(key).expanduser().read_text(encoding="ascii")
        except (OSError, ValueError):
            raise InvalidInput(
                f"{source} is neither a private key in PEM form nor a file with one.",
                hint="Its first line is -----BEGIN RSA PRIVATE KEY-----.",
            ) from None
    return AppKey(app_id, Secret(key.replace("\\n", "\n")), source=source)
