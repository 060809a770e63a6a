"""Calls to AWS: clients, time-outs, retries, pages, and errors in our words."""

from __future__ import annotations

import email.utils
import functools
import itertools
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from mlops_nb.clouds.aws import errors
from mlops_nb.clouds.base import CloudError, CloudThrottled, CloudUnreachable, WishRefused
from mlops_nb.errors import MissingDependencyError

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 8.0
FALLBACK_REGION = "us-east-1"
"""Where what has no region of its own is asked for, if the environment names none."""


@functools.cache
def _loader() -> Any:
    """Return the reader of the descriptions of AWS's services, whose cache all sessions share."""
    import botocore.loaders

    return botocore.loaders.create_loader()


def _date(answer: Mapping[str, Any]) -> float | None:
    said = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
    try:
        return email.utils.parsedate_to_datetime(said).timestamp()
    except (TypeError, ValueError):
        return None


def _is_answer(client: Any, operation: str, answer: Mapping[str, Any]) -> bool:
    """Tell whether AWS said this: botocore takes a page of a proxy for a list without members, and half a JSON for none."""
    model = client.meta.service_model
    shape = model.operation_model(client.meta.method_to_api_mapping[operation]).output_shape
    if model.metadata.get("protocol") == "json" and shape is not None and not shape.members.keys() & answer.keys():
        return False
    return bool(answer.get("ResponseMetadata", {}).get("RequestId"))


class Account:
    """One account, by the credentials of an environment.

    Retries are here and not botocore's, because botocore asks five times for capacity that is not there (AWS says so with
    status 500) and gives up at once on answers that are cut.

    Args:
        environment: AWS's variables; None: those of the process, with all other places where botocore looks for credentials.
        attempts: How often a call is tried that got no answer, or was one too many.
        connect_timeout, read_timeout: Seconds.
        sleep: Waits so many seconds.
    """

    def __init__(
        self,
        environment: Mapping[str, str] | None = None,
        *,
        attempts: int = 5,
        connect_timeout: float = 5.0,
        read_timeout: float = 30.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._environment = environment
        self._attempts = attempts
        self._timeouts = (connect_timeout, read_timeout)
        self.sleep = sleep
        self._clients: dict[tuple[str, str], Any] = {}
        self._made: Any = None
        self.clock: float | None = None
        """AWS's time of its last answer (s since 1970)."""

    @property
    def _session(self) -> Any:
        if self._made is None:
            try:
                import boto3
                import botocore.session
            except ImportError as error:
                raise MissingDependencyError("boto3", extra="aws", purpose="A runner on AWS") from error
            core = botocore.session.Session(profile=(self._environment or {}).get("AWS_PROFILE"))
            core.register_component("data_loader", _loader())
            self._made = boto3.session.Session(botocore_session=core)
        return self._made

    @property
    def given_region(self) -> str:
        """The region that the environment or the profile names; "" where none does."""
        said = self._environment or {}
        return str(said.get("AWS_REGION") or said.get("AWS_DEFAULT_REGION") or self._session.region_name or "")

    @property
    def region(self) -> str:
        """The region that the environment names, or one that every account has."""
        return self.given_region or FALLBACK_REGION

    def client(self, service: str, region: str) -> Any:
        """Return boto3's client of a service in a region; the first time it is made, in this thread."""
        if (service, region) not in self._clients:
            import botocore.exceptions
            from botocore.config import Config

            connect, read = self._timeouts
            config = Config(connect_timeout=connect, read_timeout=read, retries={"total_max_attempts": 1}, user_agent_extra="mlops-nb")
            said = self._environment
            try:
                self._clients[service, region] = self._session.client(
                    service,
                    region_name=region,
                    config=config,
                    endpoint_url=said.get("AWS_ENDPOINT_URL") if said else None,
                    aws_access_key_id=said.get("AWS_ACCESS_KEY_ID") if said else None,
                    aws_secret_access_key=said.get("AWS_SECRET_ACCESS_KEY") if said else None,
                    aws_session_token=said.get("AWS_SESSION_TOKEN") if said else None,
                )
            except (botocore.exceptions.BotoCoreError, ValueError) as error:
                raise self._translated(error, service, region, {}, service) from error
        return self._clients[service, region]

    def call(self, service: str, region: str, operation: str, *, once: bool = False, **params: Any) -> dict[str, Any]:
        """Call an operation (`run_instances`) and return its answer; `once`: without a second try.

        Raises:
            CloudError: As the answer says; `CloudUnreachable` and `CloudThrottled` after all attempts.
        """
        import botocore.exceptions
        import botocore.parsers

        method = getattr(self.client(service, region), operation)
        pause = FIRST_PAUSE
        for attempt in itertools.count(1):
            try:
                answer: dict[str, Any] = method(**params)
                if not _is_answer(self.client(service, region), operation, answer):
                    raise botocore.parsers.ResponseParserError("what came is no answer of AWS")
                self.clock = _date(answer) or self.clock
                return answer
            except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError, botocore.parsers.ResponseParserError) as error:
                told = self._translated(error, operation, region, params, service)
                if once or attempt >= self._attempts or not isinstance(told, CloudUnreachable | CloudThrottled):
                    raise told from error
            self.sleep(random.uniform(pause / 2, pause))
            pause = min(LONGEST_PAUSE, pause * 2)
        raise AssertionError("unreachable")

    def pages(self, service: str, region: str, operation: str, key: str, **params: Any) -> Iterator[dict[str, Any]]:
        """Yield the members of a list from all its pages."""
        while True:
            answer = self.call(service, region, operation, **params)
            yield from answer.get(key) or ()
            token = answer.get("NextToken")
            if not token:
                return
            params["NextToken"] = token

    def known_regions(self) -> Sequence[str]:
        """Return the regions that boto3 knows; there may be newer ones."""
        return list(self._session.get_available_regions("ec2"))

    def _translated(self, error: Exception, operation: str, region: str, params: Mapping[str, Any], service: str) -> CloudError:
        import botocore.exceptions as known

        name = "".join(word.capitalize() for word in operation.split("_"))
        if isinstance(error, known.ClientError):
            said = error.response.get("Error", {})
            status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
            code, message = str(said.get("Code", "")), str(said.get("Message", ""))
            return errors.refused(code, message, status, name, service, region, params)
        if isinstance(
            error,
            known.NoCredentialsError
            | known.PartialCredentialsError
            | known.CredentialRetrievalError
            | known.ProfileNotFound
            | known.NoAuthTokenError
            | known.SSOError
            | known.TokenRetrievalError,
        ):
            return errors.no_credentials(error)
        if isinstance(error, known.ParamValidationError | known.InvalidRegionError | known.NoRegionError | ValueError):
            return WishRefused(f"AWS cannot be asked for {name} in {region[:60]!r}: {errors.short(str(error))}")
        return errors.unreachable(error, name, region)
