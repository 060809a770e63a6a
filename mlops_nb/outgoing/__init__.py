"""The one HTTP session for what goes out to addresses that people wrote down: webhooks, forges, alerts.

It connects only to addresses that anybody on the internet could reach. Loopback, private networks, shared address space,
link-local, metadata services, multicast and reserved addresses are refused, unless `MLOPS_NB_ALLOWED_HOSTS` or the caller
names the host. What is checked is the address of the connection itself, each time that one is opened: a name whose
address changes after a check, a redirect, `http://2130706433/` and IPv4 inside of IPv6 all end at the same gate.

Proxies of the environment (`HTTPS_PROXY`, `NO_PROXY`) are respected. Then it is the proxy that looks names up and connects:
the guard refuses names whose address it can see to be private, and the rest is up to the rules of the proxy.
"""

from __future__ import annotations

import importlib.metadata
import socket
import time
from collections.abc import Collection, Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError, MaxRetryError, ResponseError
from urllib3.poolmanager import PoolManager
from urllib3.util import Retry

from mlops_nb.errors import InvalidInput
from mlops_nb.outgoing.connections import pools
from mlops_nb.outgoing.errors import MAX_REDIRECTS, AddressRefused, OutgoingError, host_of, shown, translated
from mlops_nb.outgoing.guard import ENV_ALLOWED_HOSTS, Guard

__all__ = [
    "ENV_ALLOWED_HOSTS",
    "AddressRefused",
    "OutgoingError",
    "PatientRetry",
    "check_url",
    "read_limited",
    "session",
    "shown",
]

CONNECT_SECONDS = 5.0
READ_SECONDS = 30.0
RETRY_AFTER_SECONDS = 60.0
MAX_RESPONSE_BYTES = 64 << 20

_RETRIED_STATUS = (429, 502, 503, 504)
_KEPT_ACROSS_HOSTS = {
    *("accept", "accept-encoding", "accept-language", "connection", "content-length", "content-type", "range", "user-agent"),
    *("transfer-encoding", "proxy-authorization"),  # the latter is set anew for each proxy
}


def session(
    *,
    allow_private: bool = False,
    allowed_hosts: Collection[str] = (),
    retries: Retry | int = 2,
    timeout: tuple[float, float] = (CONNECT_SECONDS, READ_SECONDS),
    max_bytes: int = MAX_RESPONSE_BYTES,
) -> requests.Session:
    """Return a session that only connects where that is allowed, never waits for ever, and tries again with patience.

    Its requests raise `MlopsError`s: `AddressRefused`, `OutgoingError`, `InvalidInput` for a URL that is none. Statuses of
    400 and more are answers, not errors. Threads may share it. It keeps no cookies and reads no `.netrc`.

    Args:
        allow_private: Whether loopback and private networks may be reached; metadata services may not even then.
        allowed_hosts: What may be reached although it is private: `host`, `host:port`, an address or a network such as
            `10.1.0.0/16`. Adds to `MLOPS_NB_ALLOWED_HOSTS` (with commas between). A metadata service must be named by its address.
        retries: How often a request is tried again after a failed connection, 429, 502, 503 or 504, if its method may be
            repeated (GET, HEAD, OPTIONS, PUT, DELETE); or a `urllib3.util.Retry`. A `Retry-After` of more than a minute ends it.
        timeout: To connect and between two pieces of the answer (s), where a request gives none; the latter is also the most
            that the head of the answer may take as a whole.
        max_bytes: The longest answer that is read into memory; `stream=True` is for longer ones.
    """
    if isinstance(retries, int):
        retries = PatientRetry(total=retries, backoff_factor=0.5, status_forcelist=_RETRIED_STATUS, raise_on_status=False)
    guard = Guard(allow_private=allow_private, allowed_hosts=allowed_hosts)
    made = _Session(timeout, max_bytes)
    adapter = _Adapter(guard, retries)
    made.mount("https://", adapter)
    made.mount("http://", adapter)
    return made


def check_url(url: str, *, allow_private: bool = False, allowed_hosts: Collection[str] = ()) -> None:
    """Refuse a URL that `session` would not connect to, as far as that can be seen now.

    A name that has no address at present passes: the connection is checked again.

    Raises:
        InvalidInput: If it is no http(s) URL, or has a password in it.
        AddressRefused: If its host may not be reached.
    """
    host, port = host_of(url)
    if "@" in urlsplit(url).netloc:
        raise InvalidInput(f"'{shown(url)}' has a user name or password in it.", hint="Leave it out: URLs are shown and logged.")
    guard = Guard(allow_private=allow_private, allowed_hosts=allowed_hosts)
    try:
        guard.addresses(host, port)
    except socket.gaierror:
        guard.check_name(host, port)


def read_limited(response: requests.Response, max_bytes: int = MAX_RESPONSE_BYTES, *, seconds: float | None = None) -> bytes:
    """Return the body of an answer to a request with `stream=True`, if it is neither too long nor too slow, and close it.

    Raises:
        OutgoingError: If it has more than `max_bytes` after decompression, takes longer than `seconds`, or breaks off.
    """
    until = None if seconds is None else time.monotonic() + seconds
    body = bytearray()
    try:
        while piece := response.raw.read1(1 << 16, decode_content=True):  # what is there; not waiting for so many
            body += piece
            if len(body) > max_bytes:
                raise OutgoingError(f"{shown(response.url)} answered with more than {max_bytes:,} bytes.")
            if until is not None and time.monotonic() > until:
                raise OutgoingError(f"{shown(response.url)} took more than {seconds:g} s for its answer.", timed_out=True)
    except (requests.RequestException, HTTPError) as error:
        raise translated(error, response.url) from None
    finally:
        response.close()
    return bytes(body)


class PatientRetry(Retry):
    """A retry that heeds `Retry-After` up to a minute, and gives up rather than come back earlier than it was asked to."""

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: Any = None,
        error: Exception | None = None,
        _pool: Any = None,
        _stacktrace: Any = None,
    ) -> PatientRetry:
        if response is not None and (self.get_retry_after(response) or 0) > RETRY_AFTER_SECONDS:
            raise MaxRetryError(_pool, url or "", ResponseError("asked to be left alone for longer"))
        return super().increment(method, url, response, error, _pool, _stacktrace)


class _Session(requests.Session):
    """A session with time-outs, limits on the answer, and no credentials of the machine."""

    def __init__(self, timeout: tuple[float, float], max_bytes: int) -> None:
        super().__init__()
        self._timeout = timeout
        self._max_bytes = max_bytes
        self.max_redirects = MAX_REDIRECTS
        self.headers["User-Agent"] = f"mlops-nb/{_version()}"
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        if not request.auth and not self.auth:
            request.auth = _as_it_is  # or requests would look for credentials in .netrc
        try:
            return super().prepare_request(request)
        except (requests.RequestException, ValueError) as error:
            raise translated(error, str(request.url)) from None

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        if options.get("timeout") is None:
            options["timeout"] = self._timeout
        streamed = options.get("stream", self.stream)
        options["stream"] = True
        try:
            response = super().send(request, **options)
        except (requests.RequestException, HTTPError, ValueError) as error:
            raise translated(error, request.url or "") from None
        if not streamed and not vars(response)["_content_consumed"]:
            _set_body(response, read_limited(response, self._max_bytes))
        return response

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        old, new = response.request.url or "", prepared_request.url or ""
        host_of(new)  # an http URL at all
        if urlsplit(old).scheme == "https" and urlsplit(new).scheme != "https":
            hint = "Nothing was sent there. Use the address that it redirects to, if that is right."
            raise AddressRefused(f"{shown(old)} redirects to {shown(new)}, which is not encrypted.", hint=hint)
        if host_of(old) != host_of(new):
            for name in [name for name in prepared_request.headers if name.lower() not in _KEPT_ACROSS_HOSTS]:
                del prepared_request.headers[name]


class _Adapter(HTTPAdapter):
    """Opens guarded connections, and looks at the target itself where a proxy will connect."""

    def __init__(self, guard: Guard, retries: Retry) -> None:
        self._guard = guard
        super().__init__(max_retries=retries)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: Any) -> None:
        self.poolmanager = PoolManager(num_pools=connections, maxsize=maxsize, block=block, **options)
        self.poolmanager.pool_classes_by_scheme = pools(self._guard)

    def send(self, request: requests.PreparedRequest, *arguments: Any, **options: Any) -> requests.Response:
        host, port = host_of(request.url or "")
        proxies: Mapping[str, str] = options.get("proxies") or {}
        if requests.utils.select_proxy(request.url or "", dict(proxies)):
            try:
                self._guard.addresses(host, port)
            except socket.gaierror:  # only the proxy knows the name
                self._guard.check_name(host, port)
        response = super().send(request, *arguments, **options)
        if response.is_redirect:  # requests would read the body of a redirect to its end, however long
            response.close()
            _set_body(response, b"")
        return response


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _set_body(response: requests.Response, body: bytes) -> None:
    """Give an answer the body that `requests` would have read without a limit."""
    vars(response).update(_content=body, _content_consumed=True)


def _version() -> str:
    try:
        return importlib.metadata.version("mlops-nb")
    except importlib.metadata.PackageNotFoundError:  # a source tree that is not installed
        return "unknown"
