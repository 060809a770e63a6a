"""What can go wrong on the way out, in words without secrets."""

from __future__ import annotations

from urllib.parse import urlsplit

import requests
import urllib3

from mlops_nb.errors import InvalidInput, MlopsError, PermissionDenied

MAX_REDIRECTS = 5


class AddressRefused(PermissionDenied):
    """An address that the guard does not connect to."""


class OutgoingError(MlopsError):
    """No usable answer: the host is down, too slow, not to be trusted, or answers too much. `timed_out` tells the second."""

    code = "TEMPORARILY_UNAVAILABLE"

    def __init__(self, message: str, *, hint: str | None = None, timed_out: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.timed_out = timed_out


def shown(url: str) -> str:
    """Return a URL as it may stand in messages and logs: without user, password, query and fragment."""
    try:
        parts = urlsplit(url)
        netloc = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "(not a URL)"
    return f"{parts.scheme}://{netloc}{parts.path}"[:300]


def host_of(url: str) -> tuple[str, int]:
    """Return host and port of an http(s) URL."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or parts.scheme not in ("http", "https"):
        raise InvalidInput(f"'{shown(url)}' is not a URL of a web server.", hint="It begins with https:// or http://.")
    return host, port or (443 if parts.scheme == "https" else 80)


def translated(error: Exception, url: str) -> MlopsError:
    """Return an error of `requests` as ours; its own text may hold the query of the URL, with tokens."""
    where = shown(url)
    if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.InvalidSchema | requests.exceptions.MissingSchema):
        return InvalidInput(f"'{where}' is not a URL of a web server.", hint="It begins with https:// or http://.")
    if isinstance(error, requests.exceptions.InvalidHeader):
        return InvalidInput(f"A header for {where} has characters that no header may have.", hint="Look at the token: is it whole?")
    if _timed_out(error):
        return OutgoingError(f"{where} did not answer in time.", hint="Try again later.", timed_out=True)
    if isinstance(error, requests.exceptions.TooManyRedirects):
        return OutgoingError(f"{where} redirects more than {MAX_REDIRECTS} times.")
    if isinstance(error, requests.exceptions.SSLError):
        hint = "For a certificate of your own authority, set REQUESTS_CA_BUNDLE to its file."
        return OutgoingError(f"{where} cannot prove who it is: its certificate does not pass.", hint=hint)
    if isinstance(error, requests.exceptions.ProxyError):
        return OutgoingError(f"The proxy does not let us reach {where}.", hint="Look at HTTPS_PROXY, HTTP_PROXY and NO_PROXY.")
    if isinstance(error, ValueError) and not isinstance(error, requests.RequestException):
        return InvalidInput(f"{where} redirects to something that is not a URL, or is none.")
    hint = "Is it up, and its name right?"
    return OutgoingError(f"{where} cannot be reached, or broke the connection.", hint=hint)


def _timed_out(error: object) -> bool:
    """Return whether an error is one of time; `requests` wraps those of urllib3, which wraps them itself."""
    if isinstance(error, urllib3.exceptions.NewConnectionError):  # nobody listens; it only descends from a time-out
        return False
    if isinstance(error, requests.exceptions.Timeout | urllib3.exceptions.TimeoutError | TimeoutError):
        return True
    inner = [getattr(error, "reason", None), *(error.args if isinstance(error, Exception) else ())]
    return any(_timed_out(each) for each in inner if isinstance(each, Exception))
