"""The metadata service of a machine: a link-local address that is asked directly, never through a proxy."""

from __future__ import annotations

import http.client
import logging
import urllib.error
import urllib.request
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

logger = logging.getLogger("mlops_nb")

ADDRESS = "http://169.254.169.254"
_SECONDS = 5.0
_MAX_BYTES = 1 << 20


class MetadataService:
    """Reads small texts from a metadata service; one thread uses it.

    Args:
        url: Of the service.
        seconds: How long an answer may take.
    """

    def __init__(self, url: str = ADDRESS, *, seconds: float = _SECONDS) -> None:
        self._url = url
        self._seconds = seconds
        self._open = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self._silent = False

    def ask(self, path: str, headers: Mapping[str, str], *, method: str = "GET") -> tuple[int, str]:
        """Return the status and the text; status 0: there was no answer, which is logged when it begins."""
        request = urllib.request.Request(f"{self._url}{path}", headers=dict(headers), method=method)
        try:
            with self._open.open(request, timeout=self._seconds) as response:
                answer = int(response.status), response.read(_MAX_BYTES).decode("utf-8", "replace")
        except urllib.error.HTTPError as error:
            error.close()
            answer = int(error.code), ""
        except (OSError, http.client.HTTPException) as error:
            if not self._silent:
                logger.warning("The metadata service of this machine does not answer (%s): spot notices cannot be seen.", error)
            self._silent = True
            return 0, ""
        self._silent = False
        return answer


def seconds_until(moment: str, *, least: float, most: float) -> float:
    """Return the seconds from now to a moment in ISO 8601 or HTTP's format, within limits: a machine's clock may be wrong."""
    try:
        when = datetime.fromisoformat(moment)
    except ValueError:
        try:
            when = parsedate_to_datetime(moment)
        except ValueError:
            return least
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return min(most, max(least, (when - datetime.now(UTC)).total_seconds()))
