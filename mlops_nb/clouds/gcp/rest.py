"""Calls of Compute Engine's REST API: who asks, tries again with patience, reads all pages, follows operations to their end."""

from __future__ import annotations

import json
import logging
import os
import random
import time
from collections.abc import Iterator, Mapping
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

from mlops_nb.clouds.base import CloudError, CloudUnreachable, NoCredentials
from mlops_nb.clouds.dates import dated
from mlops_nb.clouds.gcp.errors import LOG_IN, is_throttled, of_answer, of_operation
from mlops_nb.errors import InvalidInput, MissingDependencyError

ENDPOINT = "https://compute.googleapis.com/compute/v1/"
MANAGER = "https://cloudresourcemanager.googleapis.com/v1/"
"""Who knows what an account may do in a project."""
ENV_ENDPOINT = "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE"
"""gcloud's own setting of another address: a private endpoint, or a stand-in."""
_PROJECTS = ("GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT", "GOOGLE_PROJECT", "CLOUDSDK_CORE_PROJECT")
_TOKENS = ("CML_GCP_ACCESS_TOKEN", "GOOGLE_OAUTH_ACCESS_TOKEN", "CLOUDSDK_AUTH_ACCESS_TOKEN")
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_TRIES = 5
_LONGEST_PAUSE = 60.0

_log = logging.getLogger(__name__)


class Identity(Protocol):
    """Who asks: a token for each call, and the project that the credentials name ("" where they name none)."""

    @property
    def project(self) -> str:
        """The project's id."""

    def token(self) -> str:
        """Return an access token that is valid now; "": calls carry none.

        Raises:
            NoCredentials: If there is none to be had.
        """


class Compute:
    """One project's Compute Engine.

    Each call is tried up to five times where the answer was lost, malformed or said to come back later; those that make
    something carry a `requestId`, by which a repetition is known as one.
    """

    def __init__(self, identity: Identity, *, project: str = "", endpoint: str = "", pause: float = 1.0) -> None:
        from mlops_nb.outgoing import session

        self.endpoint = (endpoint or os.environ.get(ENV_ENDPOINT) or ENDPOINT).rstrip("/") + "/"
        self._identity = identity
        self._project = project
        self._pause = pause
        self.clock: float | None = None  # the time of the last answer, as Google has it
        # Companies give Google's names addresses of their own network (Private Service Connect).
        self._session = session(retries=0, allowed_hosts=[urlsplit(self.endpoint).netloc, urlsplit(MANAGER).netloc])

    @property
    def project(self) -> str:
        """The project: as given, as the environment says, or as the credentials do."""
        if not self._project:
            said = (os.environ.get(name, "") for name in _PROJECTS)
            self._project = next((name for name in said if name), "") or self._identity.project
        if not self._project:
            raise NoCredentials("The Google Cloud project is not known.", hint="Set GOOGLE_CLOUD_PROJECT to its id.")
        return self._project

    def url(self, path: str) -> str:
        """Return the address of something: of our project, unless the path begins with `projects/`."""
        rest = path if path.startswith("projects/") else f"projects/{self.project}/{path}"
        return self.endpoint + quote(rest, safe="/:")

    def call(self, method: str, path: str, what: str, *, body: Any = None, **query: str | int) -> dict[str, Any]:
        """Make a call and return its answer.

        Args:
            what: What is tried, for error messages: `Creating the machine 'x'`.
            query: As the API names it.

        Raises:
            CloudError: If it is refused, or there is no usable answer.
        """
        return self.call_url(method, self.url(path), what, body=body, **query)

    def call_url(self, method: str, url: str, what: str, *, body: Any = None, **query: str | int) -> dict[str, Any]:
        """Make a call of another of Google's APIs, as `call` does."""
        failure: CloudError | None = None
        for attempt in range(_TRIES):
            if attempt:
                _sleep(self._pause * 2 ** (attempt - 1))
            answered, failure = self._once(method, url, what, body, query)
            if failure is None:
                return answered
            _log.info("%s (try %d of %d): %s", what, attempt + 1, _TRIES, failure)
        assert failure is not None
        raise failure

    def _once(
        self, method: str, url: str, what: str, body: Any, query: Mapping[str, str | int]
    ) -> tuple[dict[str, Any], CloudError | None]:
        """Try a call once: its answer, or the error after which it may be tried again. Others are raised."""
        from mlops_nb.outgoing import OutgoingError

        token = self._identity.token()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            answer = self._session.request(method, url, params=dict(query), json=body, headers=headers, allow_redirects=False)
        except OutgoingError as lost:
            return {}, CloudUnreachable(f"{what}: {lost.message}", hint="Look at your network, or try again later.")
        try:
            content: Any = json.loads(answer.content) if answer.content else {}
        except ValueError:
            content = None
        if answer.ok and isinstance(content, dict):
            self.clock = dated(answer.headers.get("Date", ""))
            return content, None
        if answer.ok or (content is None and answer.status_code < 400):
            text = f"{what}: the answer is none of Compute Engine's."
            return {}, CloudUnreachable(text, hint="Look whether a proxy or a login page of your network answered.")
        error = of_answer(answer.status_code, content, what)
        if answer.status_code >= 500 or is_throttled(answer.status_code, content):
            asked = answer.headers.get("Retry-After", "")
            if asked.isdigit():
                _sleep(min(float(asked), _LONGEST_PAUSE))
            return {}, error
        raise error

    def pages(self, path: str, what: str, **query: str | int) -> Iterator[dict[str, Any]]:
        """Yield all pages of a list."""
        token = ""
        while True:
            page = self.call("GET", path, what, **query, **({"pageToken": token} if token else {}))
            yield page
            following = page.get("nextPageToken", "")
            if not following or following == token:
                return
            token = str(following)

    def finish(self, operation: Mapping[str, Any], what: str, *, seconds: float) -> bool:
        """Wait for an operation and say whether it ended in time.

        Raises:
            CloudError: If it failed.
        """
        until = time.monotonic() + seconds
        pause = self._pause
        while operation.get("status") != "DONE":
            if time.monotonic() >= until:
                return False
            time.sleep(min(pause, 5.0))
            pause *= 1.3
            scope = f"zones/{last(operation['zone'])}" if operation.get("zone") else "global"
            operation = self.call("GET", f"{scope}/operations/{operation.get('name', '')}", what)
        if error := of_operation(operation, what):
            raise error
        return True


class GoogleIdentity:
    """The credentials of the environment: a token, a key in CML's variable, or what gcloud and Google's machines have."""

    def __init__(self) -> None:
        self._credentials: Any = None
        self._looked = False
        self._project = ""

    @property
    def project(self) -> str:
        self._look()
        return self._project

    def token(self) -> str:
        self._look()
        if self._credentials is None:
            return ""
        from google.auth.exceptions import GoogleAuthError, TransportError
        from google.auth.transport.requests import Request

        try:
            if not self._credentials.valid:
                self._credentials.refresh(Request())
        except TransportError as error:
            raise CloudUnreachable("Google's login service gives no answer.", hint="Look at your network.") from error
        except GoogleAuthError as error:
            raise NoCredentials("Google does not accept the credentials, or they have expired.", hint=LOG_IN) from error
        return str(self._credentials.token)

    def _look(self) -> None:
        if self._looked:
            return
        if os.environ.get("CLOUDSDK_AUTH_DISABLE_CREDENTIALS", "").lower() in ("1", "true"):  # gcloud's own switch
            self._looked = True
            return
        try:
            import google.auth
            import google.oauth2.credentials
            from google.auth.exceptions import GoogleAuthError
        except ImportError as error:
            raise MissingDependencyError("google-auth", extra="gcp", purpose="Google Cloud") from error
        token = next((value for name in _TOKENS if (value := os.environ.get(name))), "")
        try:
            if token:
                self._credentials = google.oauth2.credentials.Credentials(token=token)  # type: ignore[no-untyped-call]
            elif data := os.environ.get("GOOGLE_APPLICATION_CREDENTIALS_DATA"):
                self._credentials, self._project = _from_key(data)
            else:
                self._credentials, project = google.auth.default(scopes=[_SCOPE])
                self._project = project or ""
        except (GoogleAuthError, ValueError) as error:  # its text may quote the key
            raise NoCredentials("There are no credentials for Google Cloud.", hint=LOG_IN) from error
        self._looked = True


def last(url: Any) -> str:
    """Return the last part of a URL of Google's: the name of what it points to."""
    return str(url).rstrip("/").rpartition("/")[2]


def _from_key(data: str) -> tuple[Any, str]:
    """Return the credentials of a key's text, and its project."""
    import google.oauth2.credentials
    import google.oauth2.service_account

    try:
        key = json.loads(data)
    except ValueError:
        key = None
    kind = key.get("type") if isinstance(key, dict) else None
    if kind == "service_account":
        service = google.oauth2.service_account.Credentials
        return service.from_service_account_info(key, scopes=[_SCOPE]), str(key.get("project_id", ""))  # type: ignore[no-untyped-call]
    if kind == "authorized_user":
        user = google.oauth2.credentials.Credentials
        return user.from_authorized_user_info(key, scopes=[_SCOPE]), str(key.get("quota_project_id", ""))  # type: ignore[no-untyped-call]
    hint = "It is the content of the JSON file of a service account; put others into a file and set GOOGLE_APPLICATION_CREDENTIALS."
    raise InvalidInput("GOOGLE_APPLICATION_CREDENTIALS_DATA is not the text of a key.", hint=hint)


def _sleep(seconds: float) -> None:
    time.sleep(seconds * random.uniform(0.7, 1.3))
