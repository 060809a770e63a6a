"""Who may come in to a team's server: by token, by the name that the server was called, by the page that asks.

A page of a foreign site can make a browser on the server's network send requests; it cannot make it send a token, choose
its `Origin` or, with a domain name of its own that leads here (DNS rebinding), its `Host`. All three are checked.
"""

from __future__ import annotations

import base64
import binascii
import fnmatch
import hmac
import ipaddress
import socket
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from mlops_nb.api.http import HttpAnswer, refuse
from mlops_nb.api.operation import Permission
from mlops_nb.errors import InvalidInput, PermissionDenied
from mlops_nb.store.runners import AGENT_TOKEN_PREFIX

Headers = Mapping[bytes, bytes]

_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_EVERYWHERE = ("0.0.0.0", "::")
_BEARER = (b"bearer", b"token")
_REMEMBERED = 1000
_DENIED = b'Bearer realm="mlops-nb"'


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """Who may come in.

    Attributes:
        tokens: Each opens everything. Empty: whoever reaches the server may do everything.
        read_tokens: Each opens what only reads.
        hosts: Names of the server in a `Host` header, with `*` for any text; with a port only that port.
        any_address: Whether IP addresses are names of the server: no page of a foreign site has one by a name of its own.
        origins: Sites whose pages may ask, besides the server's own.
    """

    tokens: tuple[str, ...] = ()
    read_tokens: tuple[str, ...] = ()
    hosts: tuple[str, ...] = _LOOPBACK
    any_address: bool = False
    origins: tuple[str, ...] = ()

    def check(self) -> None:
        """Check that the parts fit together.

        Raises:
            InvalidInput: If a token cannot travel in a header, or what would protect is missing.
        """
        for token in (*self.tokens, *self.read_tokens):
            if token.startswith(AGENT_TOKEN_PREFIX):
                raise InvalidInput(
                    f"A token of the server cannot begin with {AGENT_TOKEN_PREFIX}.", hint="So do those of runners: make another one."
                )
            if not token.isascii() or not token.isprintable() or " " in token:
                raise InvalidInput("A token has characters that no HTTP header carries.", hint="Use letters, digits and -._~+/=.")
        if self.read_tokens and not self.tokens:
            raise InvalidInput("There is a token for reading but none for writing.", hint="Give --token-file as well.")
        if not self.tokens and "*" in self.origins:
            raise InvalidInput("Without a token, any web page could change the store.", hint="Name the origins instead of '*'.")


def agent_token(authorization: str) -> str:
    """Return the token of a runner's agent in an Authorization header; "" if there is another one, or none."""
    scheme, _, given = authorization.partition(" ")
    token = given.strip()
    return token if scheme.lower() == "bearer" and token.startswith(AGENT_TOKEN_PREFIX) else ""


class Caller(NamedTuple):
    """Who asks: the name is what they say, the permission what their token gives."""

    name: str
    may_write: bool

    def may(self, permission: Permission) -> bool:
        """Return whether they may do what needs this permission."""
        return self.may_write or permission is Permission.READ


_ANYBODY = Caller("", True)


class Gate:
    """Checks requests.

    Threads: used from one.
    """

    def __init__(self, access: Access) -> None:
        access.check()
        self._tokens = [(token.encode(), True) for token in access.tokens]
        self._tokens += [(token.encode(), False) for token in access.read_tokens]
        self._hosts = [host.lower() for host in access.hosts]
        self._any_address = access.any_address
        self._origins = frozenset(origin.rstrip("/").lower() for origin in access.origins)
        self._known_hosts: set[bytes] = set()

    def refusal(self, headers: Headers) -> HttpAnswer | None:
        """Return the answer to a request that names another server or comes from a foreign page; None lets it on."""
        host = headers.get(b"host", b"")
        if host not in self._known_hosts:
            if not self._is_ours(host.decode("latin-1").lower()):
                return refuse(PermissionDenied("The Host header names another server.", hint="Its names are set by --allowed-hosts."))
            if len(self._known_hosts) < _REMEMBERED:
                self._known_hosts.add(host)
        origin = headers.get(b"origin")
        if origin is not None and not self._is_welcome(origin.decode("latin-1").lower(), host.decode("latin-1").lower()):
            hint = "Origins are let in by --cors-allowed-origins."
            return refuse(PermissionDenied("The request comes from a foreign web page.", hint=hint))
        return None

    def caller(self, headers: Headers) -> Caller | None:
        """Return who asks, or None for someone without a token or with a wrong one."""
        if not self._tokens:
            return _ANYBODY
        name, given = _credentials(headers.get(b"authorization", b""))
        # All are compared, each in constant time, so that the time tells nothing of any.
        fits = [may_write for token, may_write in self._tokens if hmac.compare_digest(token, given)]
        return Caller(name, any(fits)) if fits else None

    def _is_ours(self, host: str) -> bool:
        name = _without_port(host)
        if any(fnmatch.fnmatchcase(host, known) or fnmatch.fnmatchcase(name, known) for known in self._hosts if "[" not in known):
            return True
        return host in self._hosts or name in self._hosts or (self._any_address and _is_address(name))

    def _is_welcome(self, origin: str, host: str) -> bool:
        return origin in self._origins or "*" in self._origins or origin.partition("://")[2] == host != ""


def denied(caller: Caller | None, permission: Permission) -> HttpAnswer | None:
    """Return the answer to someone who may not do what needs a permission; None where they may."""
    if caller is None:
        hint = "Send 'Authorization: Bearer TOKEN'; for MLflow's client set MLFLOW_TRACKING_TOKEN."
        answer = refuse(PermissionDenied("No valid token came with the request.", hint=hint))
        answer.status = 401
        answer.headers["WWW-Authenticate"] = _DENIED.decode()
        return answer
    if not caller.may(permission):
        return refuse(PermissionDenied("The token is for reading only.", hint="Use one that may write."))
    return None


def default_hosts(host: str) -> tuple[tuple[str, ...], bool]:
    """Return the names of a server that listens on a host, and whether IP addresses are names of it too."""
    if host in _EVERYWHERE:
        return (*_LOOPBACK, socket.gethostname(), socket.getfqdn()), True
    return (*_LOOPBACK, f"[{host}]" if ":" in host else host), False


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches a server that listens on a host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _credentials(authorization: bytes) -> tuple[str, bytes]:
    """Return the name and the token in an Authorization header; of a basic one the password is the token."""
    scheme, _, given = authorization.partition(b" ")
    scheme = scheme.lower()
    if scheme in _BEARER:
        return "", given.strip()
    if scheme == b"basic":
        try:
            name, _, password = base64.b64decode(given.strip(), validate=True).partition(b":")
        except binascii.Error:
            return "", b""
        return name.decode("utf-8", "replace"), password
    return "", b""


def _without_port(host: str) -> str:
    if host.endswith("]"):
        return host
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
