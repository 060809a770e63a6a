"""What a Job, its pod and their events say about a runner. Pure; no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from mlops_nb.clouds.base import Machine, MachinePhase
from mlops_nb.clouds.kubernetes.manifests import CONTAINER, NAME_PREFIX, TAGS_ANNOTATION
from mlops_nb.core.runners import Resource, ResourceKind

_WAITING_FOR_GOOD = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "CreateContainerConfigError", "CreateContainerError"}
)
_ENDS: Mapping[str, str] = {
    "DeadlineExceeded": "it reached its hard stop",
    "BackoffLimitExceeded": "its pod failed",
}


def resource(found: Any, kind: ResourceKind) -> Resource:
    """Return a Job, Secret or pod as a resource; its tags are its labels, and of a Job those of the user, too."""
    metadata = found.metadata
    tags = dict(metadata.labels or {})
    try:
        noted = msgspec.json.decode((metadata.annotations or {}).get(TAGS_ANNOTATION, "{}"), type=dict[str, str])
    except msgspec.DecodeError:
        noted = {}
    created = metadata.creationTimestamp
    return Resource(
        kind=kind,
        id=metadata.name or "",
        region=metadata.namespace or "",
        tags={**noted, **{key: value for key, value in tags.items() if key.startswith(NAME_PREFIX)}},
        created=created.timestamp() if created is not None else None,
        state=_state(found) if kind == "job" else "",
    )


def machine(job: Any, pod: Any | None, events: Sequence[Any]) -> Machine:
    """Return how a runner is, by its Job, its pod if there is one, and what happened to both, the newest last."""
    phase, reason = _phase(job, pod, events)
    address = (pod.status.podIP or "") if pod is not None and pod.status is not None else ""
    return Machine(resource=resource(job, "job"), phase=phase, reason=reason, address=address)


def unschedulable(pod: Any | None) -> str:
    """Return why no node takes the pod; "" where one does, or that is not decided."""
    for condition in _conditions(pod):
        if condition.type == "PodScheduled" and condition.status == "False" and condition.reason == "Unschedulable":
            return str(condition.message or "no node takes it")
    return ""


def is_scheduled(pod: Any | None) -> bool:
    """Say whether a node has the pod."""
    return pod is not None and bool(pod.spec is not None and pod.spec.nodeName)


def refused_pods(events: Sequence[Any]) -> str:
    """Return why the cluster does not let the Job make its pod (a quota, a policy); "" where it does."""
    return next((event.message or "" for event in reversed(events) if event.reason == "FailedCreate"), "")


def is_over(job: Any) -> bool:
    """Say whether a Job has ended."""
    return _state(job) in ("complete", "failed")


def _state(job: Any) -> str:
    for condition in _conditions(job):
        if condition.type in ("Complete", "Failed") and condition.status == "True":
            return str(condition.type).lower()
    return "deleting" if job.metadata.deletionTimestamp else "active"


def _phase(job: Any, pod: Any | None, events: Sequence[Any]) -> tuple[MachinePhase, str]:
    state = _state(job)
    if state == "complete":
        return "gone", _last_words(pod) or "it ended by itself"
    if state == "failed":
        failed = next(condition for condition in _conditions(job) if condition.type == "Failed")
        known = _ENDS.get(failed.reason or "", failed.message or failed.reason or "it failed")
        return "gone", ": ".join(part for part in (known, _last_words(pod)) if part)
    if state == "deleting":
        return "stopping", "it is being removed"
    if pod is None:
        return "starting", refused_pods(events)
    if pod.metadata.deletionTimestamp:
        return "stopping", "its pod is being removed"
    if pod.status is not None and pod.status.phase == "Running":
        return "running", ""
    return "starting", unschedulable(pod) or _waiting(pod) or _newest_warning(events)


def _waiting(pod: Any) -> str:
    for status in (*(pod.status.initContainerStatuses or ()), *(pod.status.containerStatuses or ())) if pod.status else ():
        waiting = status.state.waiting if status.state else None
        if waiting is not None and waiting.reason in _WAITING_FOR_GOOD:
            return f"{waiting.reason}: {waiting.message or status.image}"
    return ""


def _last_words(pod: Any | None) -> str:
    if pod is None or pod.status is None:
        return ""
    for status in pod.status.containerStatuses or ():
        ended = status.state.terminated if status.state else None
        if status.name == CONTAINER and ended is not None:
            return str(ended.message or ended.reason or f"exit status {ended.exitCode}").strip()[-500:]
    return str(pod.status.message or pod.status.reason or "")


def _newest_warning(events: Sequence[Any]) -> str:
    return next((event.message or "" for event in reversed(events) if event.type == "Warning"), "")


def _conditions(found: Any | None) -> Sequence[Any]:
    return (found.status.conditions or ()) if found is not None and found.status is not None else ()
