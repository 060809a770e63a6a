"""Calls of the Azure Resource Manager: who asks, whom, tried again with patience, followed to their end."""

from __future__ import annotations

import json
import logging
import os
import random
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from mlops_nb.clouds.azure.errors import is_passing, translated
from mlops_nb.clouds.base import CloudError, CloudUnreachable, NoCredentials
from mlops_nb.clouds.dates import dated
from mlops_nb.errors import MissingDependencyError

PUBLIC = "https://management.azure.com"
_ENDPOINTS = {
    "login.microsoftonline.us": "https://management.usgovcloudapi.net",
    "login.chinacloudapi.cn": "https://management.chinacloudapi.cn",
}
"""Where the governments' and China's clouds are asked, by where one logs in (AZURE_AUTHORITY_HOST)."""
_TRIES = 4
_log = logging.getLogger(__name__)
T = TypeVar("T")


class Arm:
    """One subscription.

    Args:
        credential: As azure-core wants it; None: of the environment.
        verify: The certificate that the endpoint is known by; "": as usual.
        pause: Seconds before the first repetition, and between two looks at an operation.
    """

    def __init__(self, *, subscription: str = "", endpoint: str = "", credential: Any = None, verify: str = "", pause: float = 2.0) -> None:
        self._subscription = subscription
        self._credential = credential
        self.verify = verify
        self._pause = pause
        self.clock: float | None = None  # the time of the last answer, as Azure has it
        host = os.environ.get("AZURE_AUTHORITY_HOST", "").removeprefix("https://").strip("/")
        self.endpoint = endpoint or _ENDPOINTS.get(host, PUBLIC)

    @property
    def subscription(self) -> str:
        """The subscription's id: as given, as the environment says, or the one that `az` uses."""
        if not self._subscription:
            self._subscription = os.environ.get("AZURE_SUBSCRIPTION_ID", "") or _subscription_of_az()
        if not self._subscription:
            raise NoCredentials("The Azure subscription is not known.", hint="Set AZURE_SUBSCRIPTION_ID to its id, or run 'az login'.")
        return self._subscription

    @cached_property
    def compute(self) -> Any:
        try:
            from azure.mgmt.compute import ComputeManagementClient
        except ImportError as error:
            raise _missing("azure-mgmt-compute") from error
        return self._client(ComputeManagementClient)

    @cached_property
    def network(self) -> Any:
        try:
            from azure.mgmt.network import NetworkManagementClient
        except ImportError as error:
            raise _missing("azure-mgmt-network") from error
        return self._client(NetworkManagementClient)

    @cached_property
    def resources(self) -> Any:
        try:
            from azure.mgmt.resource.resources import ResourceManagementClient
        except ImportError as error:
            raise _missing("azure-mgmt-resource") from error
        return self._client(ResourceManagementClient)

    def ask(self, what: str, call: Callable[[], T]) -> T:
        """Make a call and return its answer; one whose answer was lost or cannot be read is made again.

        Args:
            what: What is tried, for error messages.
            call: May be made any number of times: Azure's PUT and DELETE say what shall be, not what shall change.

        Raises:
            CloudError: If it is refused, or there is no usable answer.
        """
        try:
            from azure.core.exceptions import AzureError
        except ImportError as error:
            raise _missing("azure-identity") from error
        failure: CloudError | None = None
        for attempt in range(_TRIES):
            if attempt:
                time.sleep(self._pause * 2 ** (attempt - 1) * random.uniform(0.7, 1.3))
            try:
                return call()
            except (AzureError, OSError, ValueError) as error:  # the latter where an answer cannot be read
                failure = translated(error, what)
                if not is_passing(failure):
                    raise failure from None
                _log.info("%s (try %d of %d): %s", what, attempt + 1, _TRIES, failure)
        assert failure is not None
        raise failure

    def pause(self) -> None:
        """Wait before the next look at something."""
        time.sleep(self._pause)

    def finish(self, what: str, begin: Callable[[], Any], *, seconds: float) -> Any:
        """Begin an operation, wait for it and return its result.

        Raises:
            CloudUnreachable: If it takes longer than `seconds`.
            CloudError: If it fails.
        """

        def once() -> Any:
            poller = begin()
            poller.wait(seconds)
            if not poller.done():
                raise CloudUnreachable(f"{what} was not done within {seconds:g} s.", hint="Look again in a few minutes.")
            return poller.result()

        return self.ask(what, once)

    def _client(self, kind: Callable[..., Any]) -> Any:
        options: dict[str, Any] = {"connection_verify": self.verify} if self.verify else {}
        return kind(
            self._identity(),
            self.subscription,
            base_url=self.endpoint,
            credential_scopes=[f"{self.endpoint}/.default"],
            polling_interval=self._pause,
            connection_timeout=10,
            read_timeout=60,
            retry_total=2,
            raw_response_hook=self._look_at_clock,
            retry_backoff_factor=self._pause / 2,
            **options,
        )

    def _look_at_clock(self, answer: Any) -> None:
        if answer.http_response.status_code < 300:
            self.clock = dated(answer.http_response.headers.get("Date", ""))

    def _identity(self) -> Any:
        if self._credential is None:
            try:
                from azure.identity import DefaultAzureCredential
            except ImportError as error:
                raise _missing("azure-identity") from error
            # azure-identity warns of each place that has no credentials; our own error says what to do.
            logging.getLogger("azure.identity").setLevel(logging.ERROR)
            self._credential = DefaultAzureCredential(exclude_interactive_browser_credential=True)
        return self._credential


def _missing(package: str) -> MissingDependencyError:
    return MissingDependencyError(package, extra="azure-machines", purpose="Azure")


def _subscription_of_az() -> str:
    """Return the subscription that the command `az` uses; "": it has none."""
    place = Path(os.environ.get("AZURE_CONFIG_DIR", Path.home() / ".azure")) / "azureProfile.json"
    try:
        profile = json.loads(place.read_text(encoding="utf-8-sig"))
        return next((str(one["id"]) for one in profile.get("subscriptions", []) if one.get("isDefault")), "")
    except (OSError, ValueError, KeyError, AttributeError):
        return ""
