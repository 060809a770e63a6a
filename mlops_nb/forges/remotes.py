"""Where a repository is: reads what `git remote` and people write, and tells the forge and its API."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

from mlops_nb.core.records import Record
from mlops_nb.errors import InvalidInput
from mlops_nb.forges.base import ForgeKind

KINDS: tuple[ForgeKind, ...] = ("github", "gitlab", "bitbucket")
PUBLIC_SERVERS: dict[ForgeKind, str] = {
    "github": "https://github.com",
    "gitlab": "https://gitlab.com",
    "bitbucket": "https://bitbucket.org",
}
# user@host:path, of which Windows' `C:\\path` is none.
_SCP = re.compile(r"(?:[^@/\s]+@)?(?P<host>[^:/\s]{2,}|\[[0-9a-fA-F:]+\]):(?P<path>(?!//).+)")
_SLUG = re.compile(r"[\w.~-]+(?:/[\w.~-]+)+")
_SSH_GATES = {"ssh.github.com": "github.com", "altssh.gitlab.com": "gitlab.com", "altssh.bitbucket.org": "bitbucket.org"}
"""Hosts that take SSH on port 443, and those that they stand for."""


class Remote(Record, frozen=True, kw_only=True):
    """A repository's place without any user-info. `server` is scheme, host and port; `path` has no slash around it."""

    server: str
    path: str

    def below(self, server_url: str) -> str | None:
        """Return the repository's path below a server that may live at a sub-path, or None if it is not there."""
        parts = urlsplit(server_url)
        prefix = parts.path.strip("/")
        if _host(self.server) != (parts.hostname or "").lower():
            return None
        if not prefix:
            return self.path
        return self.path[len(prefix) + 1 :] if self.path.startswith(f"{prefix}/") else None


def _host(server: str) -> str:
    return (urlsplit(server).hostname or "").lower()


def parse_remote(text: str) -> Remote | None:
    """Read a URL (https, http, ssh, git) or scp-like address of a repository; None for folders and what is neither.

    User names and passwords in it are dropped. Of ssh addresses only the host is kept, for the web is at another port.
    """
    text = text.strip()
    if "://" in text:
        try:
            parts = urlsplit(text)
            host, port = (parts.hostname or "").lower(), parts.port
        except ValueError:
            return None
        if not host or parts.scheme not in ("https", "http", "ssh", "git", "git+ssh", "git+https"):
            return None
        is_web = parts.scheme in ("https", "http")
        path = unquote(parts.path)
    else:
        match = _SCP.fullmatch(text)
        if match is None or text.startswith((".", "/")):
            return None
        host, port, is_web, path = match["host"].strip("[]").lower(), None, False, match["path"]
        parts = urlsplit("https://unused")
    path = path.strip("/").removesuffix(".git").strip("/")
    if not path or any(part in ("", ".", "..") for part in path.split("/")) or re.search(r"[\x00-\x20\x7f\\]", path):
        return None
    host = host if is_web else _SSH_GATES.get(host, host)
    netloc = f"[{host}]" if ":" in host else host
    if f"https://{netloc}" in PUBLIC_SERVERS.values() and (not is_web or port in (None, 80, 443)):
        return Remote(server=f"https://{netloc}", path=path)  # they only redirect http, after a token has gone there in the clear
    netloc += f":{port}" if is_web and port else ""
    return Remote(server=f"{parts.scheme if is_web else 'https'}://{netloc}", path=path)


def is_slug(text: str) -> bool:
    """Tell whether a text is `owner/name`, with any number of groups."""
    return _SLUG.fullmatch(text) is not None and not any(part in (".", "..") for part in text.split("/"))


def kind_of_host(server: str) -> ForgeKind | None:
    """Guess the forge from the name of its host; None where the name does not say."""
    host = _host(server)
    if host == "github.com" or host.endswith(".ghe.com"):
        return "github"
    if host in ("bitbucket.org", "bitbucket.com"):
        return "bitbucket"
    labels = host.split(".")
    return next((kind for kind in KINDS if any(label == kind or label.startswith(f"{kind}-") for label in labels)), None)


def checked_kind(text: str) -> ForgeKind:
    """Return a forge's kind as people write it."""
    for kind in KINDS:
        if text.strip().lower() == kind:
            return kind
    raise InvalidInput(f"'{text[:60]}' is not a forge that we know.", hint="Use github, gitlab or bitbucket.")


def api_of(kind: ForgeKind, server_url: str) -> str:
    """Return the API's base URL of a server, as that forge's installations have it."""
    parts = urlsplit(server_url)
    host = (parts.hostname or "").lower()
    if kind == "bitbucket":
        return "https://api.bitbucket.org/2.0" if host in ("bitbucket.org", "bitbucket.com") else f"{server_url.rstrip('/')}/2.0"
    if kind == "gitlab":
        return f"{server_url.rstrip('/')}/api/v4"
    if host == "github.com":
        return "https://api.github.com"
    if host.endswith(".ghe.com"):
        return f"https://api.{host}"
    return f"{server_url.rstrip('/')}/api/v3"


def repository_of(kind: ForgeKind, path: str) -> str:
    """Return `owner/name` from a path below the server; a page's address inside of the repository is cut off."""
    path = path.split("/-/")[0] if kind == "gitlab" else "/".join(path.split("/")[:2])
    if not is_slug(path):
        raise InvalidInput(f"'{path[:200]}' is not a repository on {kind}.", hint="It is owner/name, or its URL.")
    return path
