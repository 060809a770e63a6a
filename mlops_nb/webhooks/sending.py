"""Sending one message to a webhook, and judging what came back."""

from __future__ import annotations

import email.utils
import random
import time
from typing import Self

import msgspec

from mlops_nb.core.formatting import one_line
from mlops_nb.core.webhooks import HEADER_ID, HEADER_SIGNATURE, HEADER_TIMESTAMP, Outgoing, signature
from mlops_nb.errors import MlopsError, PermissionDenied

MAX_ATTEMPTS = 12
FIRST_RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 3600.0

_CONNECT_SECONDS = 5.0
_ANSWER_SECONDS = 10.0
_BODY_SECONDS = 5.0
_MAX_ANSWER = 64 << 10
_RETRIED = {408, 425, 429}


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an attempt.

    Attributes:
        error: Why it was not taken, or "".
        is_final: Whether trying again would be of no use.
        retry_after: How long the receiver asks to be left alone (s), if it does.
    """

    status: int | None = None
    body: bytes | None = None
    error: str = ""
    is_final: bool = False
    retry_after: float | None = None


class Sender:
    """Sends messages through the guarded session; never follows a redirect, and tries each only once.

    Threads: may be shared.
    """

    def __init__(self) -> None:
        from mlops_nb import outgoing

        self._session = outgoing.session(retries=0, timeout=(_CONNECT_SECONDS, _ANSWER_SECONDS))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._session.close()

    def send(self, message: Outgoing) -> Sent:
        """Send a message once. Errors are told, not raised."""
        from mlops_nb.outgoing import read_limited

        if message.problem:
            return Sent(error=message.problem)
        moment = str(int(time.time()))
        headers = {"Content-Type": "application/json", HEADER_ID: message.delivery_id, HEADER_TIMESTAMP: moment}
        if message.secret:
            headers[HEADER_SIGNATURE] = signature(message.secret, message.delivery_id, moment, message.body)
        try:
            response = self._session.post(message.url, data=message.body.encode(), headers=headers, allow_redirects=False, stream=True)
        except MlopsError as error:
            return Sent(error=one_line(str(error)), is_final=isinstance(error, PermissionDenied))
        status = response.status_code
        try:
            body = read_limited(response, _MAX_ANSWER, seconds=_BODY_SECONDS)
        except MlopsError:  # what it says besides the status is of no weight
            body = b""
        return _judged(status, body, response.headers.get("Location"), response.headers.get("Retry-After"))


def _judged(status: int, body: bytes, location: str | None, retry_after: str | None) -> Sent:
    from mlops_nb.outgoing import shown

    if 200 <= status < 300:
        return Sent(status=status, body=body)
    if 300 <= status < 400:
        where = f" to {shown(location)}" if location else ""
        error = f"The receiver redirects{where}, which is not followed. Give the webhook the address that answers."
        return Sent(status=status, body=body, error=error, is_final=True)
    is_final = status < 500 and status not in _RETRIED
    return Sent(status=status, body=body, error=f"The receiver answered {status}.", is_final=is_final, retry_after=_seconds(retry_after))


def retry_in(sent: Sent, attempts: int) -> float | None:
    """Return when to try again (s), or None to give up. It grows fourfold to an hour, and is never the same for two messages."""
    if sent.is_final or attempts >= MAX_ATTEMPTS:
        return None
    longest = min(LONGEST_RETRY_SECONDS, FIRST_RETRY_SECONDS * float(4 ** min(attempts - 1, 10)))
    return max(longest * random.uniform(0.5, 1.0), min(sent.retry_after or 0.0, LONGEST_RETRY_SECONDS))


def _seconds(text: str | None) -> float | None:
    """Return the seconds of a `Retry-After`: a number, or a date."""
    if not text:
        return None
    if text.strip().isascii() and text.strip().isdigit():
        return float(text.strip()[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None
