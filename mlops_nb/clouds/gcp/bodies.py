"""What is asked of Compute Engine: the bodies of the calls that make machines and close their network. Pure; no I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mlops_nb.clouds.base import MachineOrder, WishRefused
from mlops_nb.clouds.gcp.types import MachineShape
from mlops_nb.clouds.sizes import DEFAULT_DISK_GB, GPU_DISK_GB
from mlops_nb.core.runners import TAG_EXPIRES, TAG_INSTALLATION, TAG_NAME, TAG_RUNNER, Offer

PREFIX = "mlops-nb-"
SSH_SUFFIX = "-ssh"
IMAGE_PROJECT = "ubuntu-os-cloud"
"""Canonical's project: images are taken from it alone, never by a name that anybody may use."""
_FAMILY = {"x86": "ubuntu-2404-lts-amd64", "arm": "ubuntu-2404-lts-arm64"}
_LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}", re.ASCII)
_LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}", re.ASCII)
_OURS = (TAG_INSTALLATION, TAG_RUNNER, TAG_EXPIRES, TAG_NAME)
_SCOPES = {
    "cloud-platform": "cloud-platform",
    "storage-ro": "devstorage.read_only",
    "storage-rw": "devstorage.read_write",
    "storage-full": "devstorage.full_control",
    "bigquery": "bigquery",
    "datastore": "datastore",
    "compute-ro": "compute.readonly",
    "compute-rw": "compute",
    "logging-write": "logging.write",
    "monitoring": "monitoring",
    "monitoring-write": "monitoring.write",
    "pubsub": "pubsub",
    "sql-admin": "sqlservice.admin",
    "userinfo-email": "userinfo.email",
}
"""gcloud's short names of scopes."""


def name_of(token: str) -> str:
    """Return the name of the machine of a token: the same token always has the same."""
    return f"{PREFIX}{token}"


def instance(order: MachineOrder, offer: Offer, shape: MachineShape, *, image: str, network: Mapping[str, Any], tags: Sequence[str]) -> Any:
    """Return the body of `instances.insert`.

    The machine ends by itself after `max_seconds`, is deleted when it is preempted, and its disk goes with it.

    Args:
        image: URL of the image, or of its family.
        network: Its interface.
        tags: Network tags, by which firewall rules know it.

    Raises:
        WishRefused: If labels, permission set or disk cannot be so.
    """
    labels = labels_of(order.tags)
    for_life = shape.gpus > 0 or offer.spot
    scheduling = {
        "provisioningModel": "SPOT" if offer.spot else "STANDARD",
        "instanceTerminationAction": "DELETE",
        "maxRunDuration": {"seconds": str(max(60, int(order.max_seconds)))},
        "automaticRestart": False,
        "onHostMaintenance": "TERMINATE" if for_life else "MIGRATE",
    }
    body: dict[str, Any] = {
        "name": name_of(order.token),
        "description": f"Runner {order.name} of mlops-nb",
        "machineType": f"zones/{offer.zone}/machineTypes/{shape.machine}",
        "labels": labels,
        "scheduling": scheduling,
        "disks": [
            {
                "boot": True,
                "autoDelete": True,
                "initializeParams": {
                    "sourceImage": image,
                    "diskSizeGb": str(order.disk_gb or (GPU_DISK_GB if shape.gpus else DEFAULT_DISK_GB)),
                    "diskType": f"zones/{offer.zone}/diskTypes/{shape.disk}",
                    "labels": labels,
                },
            }
        ],
        "networkInterfaces": [dict(network)],
        "tags": {"items": list(tags)},
        "metadata": {"items": _metadata(order, image)},
        # Drivers of NVIDIA that are built on the machine are not signed, and Secure Boot would refuse them.
        "shieldedInstanceConfig": {"enableVtpm": True, "enableIntegrityMonitoring": True, "enableSecureBoot": shape.gpus == 0},
    }
    if shape.attached:
        kind = f"zones/{offer.zone}/acceleratorTypes/{shape.accelerator}"
        body["guestAccelerators"] = [{"acceleratorType": kind, "acceleratorCount": shape.gpus}]
    if order.permission_set:
        body["serviceAccounts"] = [service_account(order.permission_set)]
    return body


def closing_rule(order: MachineOrder, network: str) -> dict[str, Any]:
    """Return the body of the firewall rule that lets nothing in to the machine, whatever the network's own rules allow.

    Rules have no labels: their description carries our tags.
    """
    return _rule(order, network) | {"priority": 1, "denied": [{"IPProtocol": "all"}]}


def ssh_rule(order: MachineOrder, network: str) -> dict[str, Any]:
    """Return the body of the firewall rule that lets SSH in, for machines that were asked for with it."""
    rule = _rule(order, network) | {"priority": 0, "allowed": [{"IPProtocol": "tcp", "ports": ["22"]}]}
    return rule | {"name": name_of(order.token) + SSH_SUFFIX}


def _rule(order: MachineOrder, network: str) -> dict[str, Any]:
    return {
        "name": name_of(order.token),
        "description": " ".join(f"{key}={order.tags[key]}" for key in _OURS if key in order.tags),
        "network": network,
        "direction": "INGRESS",
        "sourceRanges": ["0.0.0.0/0"],
        "targetTags": [name_of(order.token)],
    }


def described_tags(description: Any) -> dict[str, str]:
    """Return the tags that a rule's description carries."""
    pairs = (word.partition("=") for word in str(description or "").split())
    return {key: value for key, _, value in pairs if key in _OURS}


def labels_of(tags: Mapping[str, str]) -> dict[str, str]:
    """Return tags as labels.

    Raises:
        WishRefused: If Google would not take them.
    """
    for key, value in tags.items():
        if not _LABEL_KEY.fullmatch(key) or not _LABEL_VALUE.fullmatch(value):
            hint = "Labels have lower-case letters, digits, '_' and '-', at most 63, and their keys begin with a letter."
            raise WishRefused(f"Google Cloud takes no label {key[:80]!r}={value[:80]!r}.", hint=hint)
    if len(tags) > 64:
        raise WishRefused(f"Google Cloud takes no {len(tags)} labels on a machine.", hint="At most 64: leave some out of --cloud-metadata.")
    return dict(tags)


def service_account(permission_set: str) -> dict[str, Any]:
    """Return the service account of `EMAIL,scopes=A,B`, as CML writes it; without scopes it may all that its roles allow.

    Raises:
        WishRefused: If it is not written so.
    """
    email, _, rest = permission_set.partition(",")
    scopes = rest.removeprefix("scopes=").split(",") if rest else ["cloud-platform"]
    whole = [_scope(scope.strip()) for scope in scopes if scope.strip()]
    if "@" not in email or (rest and not rest.startswith("scopes=")) or not whole:
        hint = "Write EMAIL,scopes=SCOPE,SCOPE: trainer@project.iam.gserviceaccount.com,scopes=storage-rw"
        raise WishRefused(f"'{permission_set[:80]}' is no permission set of Google Cloud.", hint=hint)
    return {"email": email.strip(), "scopes": whole}


def _scope(name: str) -> str:
    return name if name.startswith("https://") else f"https://www.googleapis.com/auth/{_SCOPES.get(name, name)}"


def default_image(shape: MachineShape) -> str:
    """Return the newest image of Ubuntu 24.04 from Canonical's own project."""
    return f"projects/{IMAGE_PROJECT}/global/images/family/{_FAMILY['arm' if shape.is_arm else 'x86']}"


def _metadata(order: MachineOrder, image: str) -> list[dict[str, str]]:
    # cloud-init runs `user-data` once; images without it run `startup-script` at each start.
    by_cloud_init = "ubuntu" in image.lower() or not order.user_data.startswith("#!")
    items = {"user-data" if by_cloud_init else "startup-script": order.user_data, "block-project-ssh-keys": "TRUE"}
    if order.ssh_public_key:
        items |= {"ssh-keys": f"ubuntu:{order.ssh_public_key.strip()}", "enable-oslogin": "FALSE"}
    else:
        items |= {"enable-oslogin": "TRUE"}
    return [{"key": key, "value": value} for key, value in items.items()]
