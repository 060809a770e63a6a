"""The HTTP of all forges: authentication, JSON, paging, and patience with limits.

Reads, and writes that can be repeated without harm, are tried again after a lost connection or a 5xx. A POST is tried
again only if it was never sent or the forge says that it did nothing; else `OutcomeUnknown` tells the caller to look.
Rate limits are waited for if that is short, and each wait is told on stderr. In all, a client waits no longer than
`WAIT_SECONDS` within any `WINDOW_SECONDS`.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypedDict
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from mlops_nb.forges.answers import TITLES, Answer, error_of, limited, wait_asked
from mlops_nb.forges.base import ForgeError, ForgeKind, ForgeUnreachable, OutcomeUnknown

if TYPE_CHECKING:
    import requests

    from mlops_nb.outgoing import OutgoingError

WAIT_SECONDS = 120.0
WINDOW_SECONDS = 900.0
RETRIES = 4
MAX_PAGES = 1000
PER_PAGE = 100
_RETRIED = (500, 502, 503, 504)


def part(text: str | int) -> str:
    """Return a value as one segment of a path, whatever characters it has."""
    quoted = quote(str(text), safe="")
    return {".": "%2E", "..": "%2E%2E"}.get(quoted, quoted)


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


class PatienceOptions(TypedDict, total=False):
    """How a client knows the time, waits, and tells that it waits."""

    clock: Callable[[], float]
    sleep: Callable[[float], None]
    tell: Callable[[str], None]


class Patience:
    """How much longer a client may wait. Time that went by in vain before a time-out counts as waiting."""

    def __init__(self, clock: Callable[[], float], budget: float = WAIT_SECONDS, window: float = WINDOW_SECONDS) -> None:
        self._clock, self._budget, self._window = clock, budget, window
        self._spent: deque[tuple[float, float]] = deque()

    def left(self) -> float:
        """Return the seconds that may still be waited."""
        while self._spent and self._spent[0][0] < self._clock() - self._window:
            self._spent.popleft()
        return self._budget - sum(seconds for _, seconds in self._spent)

    def spend(self, seconds: float) -> None:
        self._spent.append((self._clock(), seconds))


class ForgeClient:
    """Requests to one forge's API.

    Args:
        kind: The forge.
        api_url: Base of the API; paths are appended to it. It may be in a private network, since it was configured.
        headers: Gives the headers that authenticate, before each request.
        source: Where the token came from, for messages; None without a token.
        fork_hint: What to do on 403 in a run for a fork, or None.
        clock: Seconds since 1970 UTC.
        sleep: Waits so many seconds.
        tell: Takes one line for each wait.
    """

    def __init__(
        self,
        kind: ForgeKind,
        api_url: str,
        headers: Callable[[], Mapping[str, str]],
        *,
        source: str | None,
        fork_hint: str | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        tell: Callable[[str], None] = _tell,
    ) -> None:
        from mlops_nb.outgoing import session

        self.kind = kind
        self.api_url = api_url.rstrip("/")
        self.source = source
        self.clock, self.sleep, self._tell = clock, sleep, tell
        self._headers, self._fork_hint = headers, fork_hint
        self._patience = Patience(clock)
        parts = urlsplit(self.api_url)
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._session: requests.Session = session(allowed_hosts=[parts.netloc.rpartition("@")[2]], retries=0)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def get(self, path: str, *, what: str, params: Mapping[str, Any] | None = None) -> Any:
        """Return the JSON of a GET."""
        return self.send("GET", path, what=what, params=params).json_or_none()

    def post(self, path: str, body: Any = None, *, what: str, repeatable: bool = False) -> Any:
        """Return the JSON of a POST; `repeatable` says that doing it twice is as good as once."""
        return self.send("POST", path, what=what, body=body, repeatable=repeatable).json_or_none()

    def put(self, path: str, body: Any = None, *, what: str) -> Any:
        """Return the JSON of a PUT."""
        return self.send("PUT", path, what=what, body=body).json_or_none()

    def patch(self, path: str, body: Any = None, *, what: str) -> Any:
        """Return the JSON of a PATCH; ours set values, so it may be repeated."""
        return self.send("PATCH", path, what=what, body=body, repeatable=True).json_or_none()

    def delete(self, path: str, *, what: str) -> None:
        """Send a DELETE."""
        self.send("DELETE", path, what=what)

    def pages(self, path: str, *, what: str, params: Mapping[str, Any] | None = None, items: str | None = None) -> Iterator[Any]:
        """Iterate over the items of all pages, fetching each page when it is needed.

        Follows the `Link` header (GitHub, GitLab also by cursor), the `X-Next-Page` header (GitLab) or the field `next`
        (Bitbucket).

        Args:
            items: The field of the body that holds the items; None if the body is the list.
        """
        url: str | None = _with_query(self._url(path), params or {})
        seen: set[str] = set()
        while url is not None:
            if url in seen or len(seen) >= MAX_PAGES:
                raise ForgeUnreachable(
                    f"{TITLES[self.kind]} gave no end of pages when asked to {what}.", hint="Stopped after the first thousand."
                )
            seen.add(url)
            answer = self.send("GET", url, what=what)
            body = answer.json()
            listed = body.get(items) if items is not None and isinstance(body, dict) else body
            if not isinstance(listed, list):
                raise ForgeUnreachable(f"{TITLES[self.kind]} gave no list when asked to {what}.", hint=f"Is {self.api_url} its API?")
            yield from listed
            url = self._next(url, answer, body)

    def _next(self, url: str, answer: Answer, body: Any) -> str | None:
        from requests.utils import parse_header_links

        links = parse_header_links(answer.headers.get("Link", "")) if answer.headers.get("Link") else []
        following = next((link["url"] for link in links if link.get("rel") == "next"), None)
        if following is None and isinstance(body, dict) and isinstance(body.get("next"), str):
            following = body["next"]
        if following is None and answer.headers.get("X-Next-Page"):
            parts = urlsplit(url)
            query = {**dict(parse_qsl(parts.query, keep_blank_values=True)), "page": answer.headers["X-Next-Page"]}
            following = urlunsplit(parts._replace(query=urlencode(query)))
        return self._on_our_server(url, following) if following else None

    def _on_our_server(self, url: str, following: str) -> str:
        """Keep the token at home: a server behind a proxy may name itself otherwise, and then only its query counts."""
        ours, theirs = urlsplit(url), urlsplit(following)
        if (ours.scheme, ours.netloc) == (theirs.scheme, theirs.netloc) and following.startswith(f"{self.api_url}/"):
            return following
        query = {**dict(parse_qsl(ours.query, keep_blank_values=True)), **dict(parse_qsl(theirs.query, keep_blank_values=True))}
        return urlunsplit(ours._replace(query=urlencode(query)))

    def _url(self, path: str) -> str:
        """Return a path below the API as a URL; a whole URL on the same server stays as it is."""
        if path.startswith(f"{self._origin}/"):
            return path
        return f"{self.api_url}/{path.lstrip('/')}"

    def send(
        self,
        method: str,
        path: str,
        *,
        what: str,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        repeatable: bool | None = None,
        **options: Any,
    ) -> Answer:
        """Send a request and return its answer of less than 400.

        Args:
            path: Below the API's base, with its segments already encoded by `part`; or a URL on its server.
            what: What is to be done, as a verb with its object, for messages: "add a comment to pull request 3".
            body: Sent as JSON, unless None.
            repeatable: Whether it may be sent again when the answer was lost; default: all methods but POST and PATCH.
            options: For `requests`, such as `data`, `files`, `headers`.

        Raises:
            ForgeError: As its tree says.
        """
        url = _with_query(self._url(path), params or {})
        may_repeat = method not in ("POST", "PATCH") if repeatable is None else repeatable
        headers: dict[str, str] = {"Accept": "application/json", **options.pop("headers", {})}
        if body is not None:
            options["data"] = json.dumps(body, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
            headers["Content-Type"] = "application/json"
        tried = f"{method} {urlsplit(url).path}"
        for attempt in range(RETRIES + 1):
            outcome = self._once(method, url, headers, options)
            is_last = attempt == RETRIES
            if isinstance(outcome, Answer):
                if outcome.status < 400:
                    return self._checked(outcome, what)
                error, wait = self._judged(outcome, what, tried, attempt, may_repeat=may_repeat, is_read=method in ("GET", "HEAD"))
            else:
                error, wait = self._lost(outcome, what, tried, attempt, may_repeat=may_repeat)
            if wait is None or is_last or wait > self._patience.left():
                raise error
            self._wait(wait, what, error)
        raise AssertionError("the last attempt returns or raises")

    def _once(self, method: str, url: str, headers: dict[str, str], options: Mapping[str, Any]) -> Answer | OutgoingError:
        from mlops_nb.outgoing import OutgoingError

        begun = self.clock()
        try:
            response = self._session.request(method, url, headers={**headers, **self._headers()}, **options)
        except OutgoingError as error:
            self._patience.spend(max(0.0, self.clock() - begun))
            return error
        return Answer(response.status_code, response.headers, response.content)

    def _checked(self, answer: Answer, what: str) -> Answer:
        kind = answer.headers.get("Content-Type", "")
        if "html" in kind:
            raise ForgeUnreachable(
                f"{self.api_url} answered with a web page when asked to {what}: it is not the API of {TITLES[self.kind]}.",
                hint="A proxy or a login page may be in between, or the address is wrong.",
            )
        return answer

    def _judged(
        self, answer: Answer, what: str, tried: str, attempt: int, *, may_repeat: bool, is_read: bool
    ) -> tuple[ForgeError, float | None]:
        """Return the error for an answer and how long to wait before trying again; None for never."""
        now = self.clock()
        asked = wait_asked(answer, now)
        if asked is not None:
            return limited(self.kind, what, answer, asked, now), asked
        error = error_of(
            self.kind, what, tried, answer, source=self.source, fork_hint=self._fork_hint, is_read=is_read or answer.status not in _RETRIED
        )
        return error, _backoff(attempt) if may_repeat and answer.status in _RETRIED else None

    def _lost(self, failure: OutgoingError, what: str, tried: str, attempt: int, *, may_repeat: bool) -> tuple[ForgeError, float | None]:
        """Return the error for a request without an answer and how long to wait before trying again; None for never."""
        message = f"{TITLES[self.kind]} gave no answer when asked to {what} ({tried}): {failure.message}"
        if may_repeat or _never_sent(failure):
            return ForgeUnreachable(message, hint=failure.hint), _backoff(attempt)
        return OutcomeUnknown(message, hint="It may have taken effect all the same; look before running it again."), None

    def _wait(self, seconds: float, what: str, error: ForgeError) -> None:
        self._tell(f"{TITLES[self.kind]}: could not {what} yet ({_reason(error)}); trying again in {seconds:.0f} s.")
        self._patience.spend(seconds)
        self.sleep(seconds)


def _reason(error: ForgeError) -> str:
    if error.status is None:
        return "no answer"
    return "rate limit" if error.status in (403, 429) else f"status {error.status}"


def _backoff(attempt: int) -> float:
    return float(2**attempt) * random.uniform(0.75, 1.25)


def _never_sent(failure: OutgoingError) -> bool:
    """Tell whether there was not even a connection, from what `requests` and urllib3 said."""
    from requests.exceptions import ConnectTimeout, ProxyError, SSLError
    from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

    cause: Any = failure.__context__
    if isinstance(cause, ConnectTimeout | ProxyError | SSLError):
        return True
    reason = getattr(cause.args[0], "reason", None) if cause is not None and cause.args else None
    return isinstance(reason, NewConnectionError | ConnectTimeoutError)


def _with_query(url: str, params: Mapping[str, Any]) -> str:
    said = {name: value for name, value in params.items() if value is not None}
    return f"{url}{'&' if '?' in url else '?'}{urlencode(said, doseq=True)}" if said else url
