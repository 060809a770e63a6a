"""The calls to a cluster: where it is, retries, and what its refusals mean."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mlops_nb.clouds.base import (
    CloudError,
    CloudThrottled,
    CloudUnreachable,
    NoCredentials,
    PermissionMissing,
    QuotaExceeded,
    WishRefused,
)
from mlops_nb.errors import MissingDependencyError

if TYPE_CHECKING:
    from lightkube import KubeConfig

T = TypeVar("T")

ENV_CONFIGURATION = "KUBERNETES_CONFIGURATION"
"""The text of a kubeconfig, as CML takes it."""
_WAITS = (0.2, 0.6, 1.8)
_DENIED = re.compile(r'cannot (\S+) resource "([^"]+)"(?: in API group "([^"]*)")?(?:.*in the namespace "([^"]+)")?')
_QUOTA = re.compile(r"exceeded quota: ([^,]+)(.*)")


def load_configuration(text: str | None = None) -> KubeConfig:
    """Return where the cluster is, and who we are: from a text, `KUBERNETES_CONFIGURATION`, `KUBECONFIG`, the pod, or ~/.kube/config.

    Raises:
        NoCredentials: If there is none, or it is none.
        MissingDependencyError: If lightkube is not installed.
    """
    try:
        from lightkube import KubeConfig
        from lightkube.core.exceptions import ConfigError
    except ImportError:
        raise MissingDependencyError("lightkube", extra="kubernetes", purpose="Launching runners on Kubernetes") from None
    import yaml

    text = text if text is not None else os.environ.get(ENV_CONFIGURATION, "")
    try:
        if text.strip():
            content = yaml.safe_load(text)
            if not isinstance(content, dict):
                raise ConfigError("it is no mapping")
            return KubeConfig.from_dict(content)
        return KubeConfig.from_env(default_config=os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config"))
    except (ConfigError, OSError, KeyError, TypeError, ValueError, AttributeError, yaml.YAMLError) as error:
        # The text of a kubeconfig holds keys: of an error of YAML's only its place is told.
        mark = getattr(error, "problem_mark", None)
        why = f"line {mark.line + 1} is no YAML" if mark is not None else str(error)[:200] or type(error).__name__
        where = ENV_CONFIGURATION if text.strip() else "The kubeconfig"
        raise NoCredentials(
            f"{where} cannot be used: {why}.",
            hint=f"Set KUBECONFIG to a file, or {ENV_CONFIGURATION} to its text; then: mlops-nb runner doctor",
        ) from None


class Api:
    """A cluster's API as one user: calls that are repeated where that can help, with errors that say what to do.

    Args:
        configuration: See `load_configuration`; None: as found.
        seconds: How long one call may take.
        sleep: Waits between two tries (s).
    """

    def __init__(
        self, configuration: KubeConfig | None = None, *, seconds: float = 15.0, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        config = configuration or load_configuration()
        import httpx2
        from lightkube import Client
        from lightkube.core.exceptions import ConfigError

        self._sleep = sleep
        try:
            single = config.get()
            if single is None:
                raise ConfigError("it has no current context; choose one: kubectl config use-context NAME")
            self.server = str(single.cluster.server)
            self._client: Any = Client(single, timeout=httpx2.Timeout(seconds), trust_env=True)
        except (ConfigError, OSError, ValueError) as error:
            raise NoCredentials(f"The kubeconfig cannot be used: {error}", hint="Try it: kubectl version") from None

    @property
    def namespace(self) -> str:
        """The namespace of the current context."""
        return str(self._client.namespace)

    def get(self, kind: type[Any], name: str, namespace: str) -> Any | None:
        """Return an object, or None where there is none."""
        return self._absent_is_none(lambda: self._client.get(kind, name, namespace=namespace))

    def list(
        self, kind: type[Any], namespace: str, *, labels: dict[str, Any] | None = None, fields: dict[str, Any] | None = None
    ) -> Sequence[Any]:
        """Return all objects (`*`: of all namespaces) with these labels; all pages are read."""
        return self._do(lambda: list(self._client.list(kind, namespace=namespace, labels=labels, fields=fields, chunk_size=500)))

    def nodes(self) -> Sequence[Any]:
        """Return the nodes of the cluster."""
        from lightkube.resources.core_v1 import Node

        return self._do(lambda: list(self._client.list(Node, chunk_size=500)))

    def create(self, kind: type[Any], manifest: Mapping[str, Any]) -> Any:
        """Make an object, or return the one of that name: a try whose answer was lost may have made it."""
        metadata = manifest["metadata"]
        try:
            return self._do(lambda: self._client.create(kind.from_dict(dict(manifest)), namespace=metadata["namespace"]))
        except _Exists:
            there = self.get(kind, metadata["name"], metadata["namespace"])
            if there is None:
                raise CloudUnreachable(f"{metadata['name']} is being removed at this moment.", hint="Try again in a minute.") from None
            return there

    def may(self, group: str, resource: str, verb: str, *, everywhere: bool = False) -> bool:
        """Ask the cluster whether we may do this in our namespace, or in all of them."""
        from lightkube.resources.authorization_v1 import SelfSubjectAccessReview

        name, _, sub = resource.partition("/")
        attributes = {"group": group, "resource": name, "verb": verb, "subresource": sub}
        if not everywhere:
            attributes["namespace"] = self.namespace
        question: Any = SelfSubjectAccessReview.from_dict({"spec": {"resourceAttributes": attributes}})
        answer = self._do(lambda: self._client.create(question))
        return bool(answer.status is not None and answer.status.allowed)

    def delete(self, kind: type[Any], name: str, namespace: str, *, foreground: bool = False) -> None:
        """Remove an object; one that is gone is fine. In the foreground it stays until all that it owns is gone."""
        from lightkube.types import CascadeType

        cascade = CascadeType.FOREGROUND if foreground else CascadeType.BACKGROUND
        self._absent_is_none(lambda: self._client.delete(kind, name, namespace=namespace, cascade=cascade))

    def log(self, pod: str, namespace: str, container: str, *, lines: int = 2000) -> str:
        """Return the end of what a container has printed; "" where it has not begun."""
        text = self._absent_is_none(lambda: "".join(self._client.log(pod, namespace=namespace, container=container, tail_lines=lines)))
        return text or ""

    def _absent_is_none(self, call: Callable[[], T]) -> T | None:
        try:
            return self._do(call)
        except _Absent:
            return None

    def _do(self, call: Callable[[], T]) -> T:
        for wait in (*_WAITS, None):
            try:
                return _translated(call, self.server)
            except (CloudUnreachable, CloudThrottled):
                if wait is None:
                    raise
                self._sleep(wait)
        raise AssertionError("the last try returns or raises")


class _Exists(CloudError):
    """There is one of this name."""


class _Absent(WishRefused):
    """There is none of this name, or no such namespace."""


def _translated(call: Callable[[], T], server: str) -> T:
    import httpx2
    from lightkube.core.exceptions import ApiError, ConfigError

    try:
        return call()
    except ApiError as error:
        code = error.response.status_code if error.response is not None else error.status.code or 0
        raise refusal(int(code or 0), error.status.message or "", error.status.reason or "") from None
    except httpx2.HTTPStatusError as error:
        raise refusal(error.response.status_code, error.response.text[:300], "") from None
    except ConfigError as error:
        raise NoCredentials(f"The credentials of the kubeconfig did not work: {error}", hint="Try it: kubectl version") from None
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        why = str(error) or type(error).__name__
        raise CloudUnreachable(f"The cluster at {server} does not answer: {why[:300]}.", hint="Try it: kubectl version") from None
    except (ValueError, KeyError, TypeError) as error:
        # What a proxy or a broken balancer says in place of the cluster: no JSON, no type, half an answer.
        raise CloudUnreachable(
            f"{server} answers, but not as Kubernetes does: {type(error).__name__}.", hint="Is a proxy between?"
        ) from None


def refusal(code: int, message: str, reason: str) -> CloudError:
    """Return what an answer of a cluster means."""
    said = " ".join(message.split())[:500] or reason or f"HTTP {code}"
    name = reason or str(code)
    if code == 401:
        return NoCredentials(
            "The cluster does not accept these credentials (401).", hint="Log in again, as with: kubectl get pods", provider_code=name
        )
    if code == 403:
        if quota := _QUOTA.search(said):
            return QuotaExceeded(
                f"The namespace's quota '{quota[1]}' is used up{quota[2]}.",
                hint="Ask for less, or end another runner.",
                provider_code=name,
                quota=quota[1],
            )
        if denied := _DENIED.search(said):
            what = f"{denied[1]} {denied[2]}" + (f" in namespace {denied[4]}" if denied[4] else "")
            return PermissionMissing(
                f"You may not {what}.",
                hint=f"Ask for a role that allows it; test: kubectl auth can-i {denied[1]} {denied[2]}"
                + (f".{denied[3]}" if denied[3] else ""),
                provider_code=name,
                permission=f"{denied[1]} {denied[2]}",
            )
        return PermissionMissing(f"The cluster refused it: {said}", hint="Ask who runs the cluster.", provider_code=name)
    if code == 404:
        return _Absent(f"The cluster does not have it: {said}", hint="Is the namespace right?", provider_code=name)
    if code == 409 and reason == "AlreadyExists":
        return _Exists(said, provider_code=name)
    if code == 429:
        return CloudThrottled(f"The cluster has too much to do: {said}", hint="Try again later.", provider_code=name)
    if code >= 500 or code == 409:
        return CloudUnreachable(f"The cluster could not do it: {said}", hint="Try again.", provider_code=name)
    return WishRefused(f"The cluster refused it: {said}", hint="Change what it names, and try again.", provider_code=name)
