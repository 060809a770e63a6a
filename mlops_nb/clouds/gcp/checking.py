"""What the doctor looks at on Google Cloud: credentials, permissions, limits and the network. It changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mlops_nb.clouds.base import CloudError, Finding, NoCredentials
from mlops_nb.clouds.gcp.rest import ENDPOINT, MANAGER, Compute
from mlops_nb.clouds.sizes import region_of

NEEDED = (
    "compute.instances.create",
    "compute.instances.delete",
    "compute.instances.get",
    "compute.instances.list",
    "compute.instances.setLabels",
    "compute.instances.setMetadata",
    "compute.instances.setTags",
    "compute.disks.create",
    "compute.disks.list",
    "compute.disks.setLabels",
    "compute.firewalls.create",
    "compute.firewalls.delete",
    "compute.firewalls.list",
    "compute.networks.updatePolicy",
    "compute.subnetworks.use",
    "compute.subnetworks.useExternalIp",
)
_LIMITS = ("CPUS", "NVIDIA_T4_GPUS", "NVIDIA_L4_GPUS", "NVIDIA_A100_GPUS", "GPUS_ALL_REGIONS")


def check(compute: Compute) -> Sequence[Finding]:
    """Return how things are, in the order in which they would fail."""
    try:
        project = compute.call("GET", f"projects/{compute.project}", f"Looking at the project '{compute.project}'")
    except CloudError as error:
        what = "credentials" if isinstance(error, NoCredentials) else "project"
        return [Finding(what=what, ok=False, text=error.message, hint=error.hint or "")]
    found = [Finding(what="project", ok=True, text=f"{compute.project} answers")]
    if compute.endpoint == ENDPOINT:
        found.append(_permissions(compute))
    found += _quotas(project, "all regions")
    region = region_of("gcp", "")
    try:
        found += _quotas(compute.call("GET", f"regions/{region}", f"Looking at the region {region}"), region)
        compute.call("GET", "global/networks/default", "Looking at the network 'default'")
        found.append(Finding(what="network", ok=True, text="'default' is there"))
    except CloudError as error:
        found.append(Finding(what="network", ok=False, text=error.message, hint="Name a subnetwork: --cloud-aws-subnet NAME"))
    return found


def _permissions(compute: Compute) -> Finding:
    url = f"{MANAGER}projects/{compute.project}:testIamPermissions"
    try:
        answer = compute.call_url("POST", url, "Asking for the permissions", body={"permissions": list(NEEDED)})
    except CloudError as error:
        return Finding(what="permissions", ok=True, text=f"could not be asked for: {error.message}")
    missing = [name for name in NEEDED if name not in (answer.get("permissions") or [])]
    if not missing:
        return Finding(what="permissions", ok=True, text=f"all {len(NEEDED)} that are needed")
    hint = "roles/compute.instanceAdmin.v1 and roles/compute.securityAdmin together have them."
    return Finding(what="permissions", ok=False, text=f"missing: {', '.join(missing)}", hint=hint)


def _quotas(holder: Mapping[str, Any], where: str) -> Iterator[Finding]:
    for quota in holder.get("quotas") or []:
        metric, limit, usage = str(quota.get("metric", "")), float(quota.get("limit") or 0), float(quota.get("usage") or 0)
        if metric in _LIMITS:
            text = f"{metric}: {usage:g} of {limit:g} are used in {where}"
            hint = "Ask for more under IAM & Admin > Quotas, if you want such machines." if limit <= usage else ""
            yield Finding(what="limits", ok=limit > usage, text=text, hint=hint)
