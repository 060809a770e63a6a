"""The doctor's look at a cluster: nothing is changed."""

from __future__ import annotations

from collections.abc import Sequence

from mlops_nb.clouds.base import CloudError, Finding
from mlops_nb.clouds.kubernetes.api import Api

_NEEDED = (
    *(("batch", "jobs", verb) for verb in ("create", "get", "list", "delete")),
    *(("", "secrets", verb) for verb in ("create", "get", "list", "delete")),
    *(("", "pods", verb) for verb in ("get", "list", "delete")),
    ("", "pods/log", "get"),
)
_USEFUL = (
    ("", "events", "list", "without it, why a pod does not start is not told, nor that no node fits"),
    ("", "nodes", "list", "without it, the label of a GPU has to be named: --cloud-kubernetes-node-selector"),
)


def findings(api: Api) -> Sequence[Finding]:
    """Return what was found: the cluster, what we may do there, and the quotas of the namespace."""
    try:
        denied = [f"{verb} {name}" for group, name, verb in _NEEDED if not api.may(group, name, verb)]
        weak = [(name, why) for group, name, verb, why in _USEFUL if not api.may(group, name, verb, everywhere=name == "nodes")]
    except CloudError as error:
        return [Finding(what="cluster", ok=False, text=f"{api.server}: {error.message}", hint=error.hint or "")]
    found = [Finding(what="cluster", ok=True, text=f"{api.server}, namespace {api.namespace}")]
    if denied:
        hint = f"Ask for a role in {api.namespace} that allows it."
        found.append(Finding(what="permissions", ok=False, text=f"You may not: {', '.join(denied)}.", hint=hint))
    else:
        found.append(Finding(what="permissions", ok=True, text="jobs, secrets, pods and logs"))
    found += [Finding(what=f"may list {name}", ok=True, text=f"No; {why}.") for name, why in weak]
    return [*found, *_quotas(api)]


def _quotas(api: Api) -> Sequence[Finding]:
    from lightkube.resources.core_v1 import ResourceQuota

    try:
        quotas = api.list(ResourceQuota, api.namespace)
    except CloudError:
        return ()  # a quota that cannot be seen still refuses by name when it is used up
    found = []
    for quota in quotas:
        hard = dict((quota.status.hard if quota.status else None) or {})
        used = dict((quota.status.used if quota.status else None) or {})
        text = ", ".join(f"{key} {used.get(key, '?')} of {limit}" for key, limit in sorted(hard.items()))
        name = quota.metadata.name if quota.metadata else ""
        found.append(Finding(what=f"quota {name}", ok=not any(used.get(key) == limit for key, limit in hard.items()), text=text))
    return found
