"""The Job and the Secret of a runner, as Kubernetes takes them. Pure; no I/O.

The Job is made first and owns the Secret, so nothing is ever there that Kubernetes would not remove with it. Until the Secret is
there the pod waits. Only the init container sees the Secret; it copies what is in it to a volume in memory, from where the agent
removes it, so the job that runs later finds nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from mlops_nb.clouds.base import MachineOrder, WishRefused
from mlops_nb.clouds.hosts import keeper
from mlops_nb.core.runners import REGISTER_SECONDS, TAG_EXPIRES, TAG_INSTALLATION, TAG_NAME, TAG_RUNNER, Offer

IMAGE = "docker.io/library/python:3.12-bookworm"
"""Where the user names none: it has git and curl, which CI jobs and the start-up script need."""
TAGS_ANNOTATION = "mlops-nb/tags"
KEPT_SECONDS = 900
"""How long a Job that has ended stays, so that its log can be read."""
TERM_SECONDS = 45
USER = 1000

ORDER_PATH = "/run/mlops-nb-order"
MACHINE_PATH = "/run/mlops-nb"
HOME_PATH = "/home/runner"
LAST_WORDS = "/dev/termination-log"
CONTAINER = "runner"
NAME_PREFIX = "mlops-nb-"

_LABEL = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?", re.ASCII)
_OURS = (TAG_RUNNER, TAG_INSTALLATION, TAG_EXPIRES, TAG_NAME)

_PREPARE = """set -eu
umask 077
dir="$MLOPS_NB_POD/$MLOPS_NB_KEEPER"
mkdir -p "$dir/secret" "$HOME/work"
cp "$MLOPS_NB_ORDER/start" "$MLOPS_NB_ORDER/keeper.sh" "$MLOPS_NB_ORDER/limits" "$dir/"
for file in "$MLOPS_NB_ORDER"/secret.*; do
  [ -e "$file" ] || continue
  name=${file##*/secret.}
  cp "$file" "$dir/secret/$name"
done
ln -s "$HOME/work" "$dir/work"
"""
_RUN = """dir="$MLOPS_NB_POD/$MLOPS_NB_KEEPER"
exec sh "$dir/keeper.sh" run "$dir"
"""


def is_label(value: str) -> bool:
    """Say whether Kubernetes takes this as the value of a label."""
    return _LABEL.fullmatch(value) is not None


def job_name(token: str) -> str:
    """Return the name of a runner's Job and Secret: from its token, so asking twice makes one."""
    return NAME_PREFIX + token


def labels_of(tags: Mapping[str, str]) -> dict[str, str]:
    """Return our own tags as labels.

    Raises:
        WishRefused: If one of them cannot be the value of a label.
    """
    labels = {key: tags[key] for key in _OURS if key in tags}
    for key, value in labels.items():
        if not is_label(value):
            raise WishRefused(
                f"{value[:80]!r} cannot be the label {key} of Kubernetes.",
                hint="Use letters, digits, '-', '_' and '.', at most 63: is MLOPS_NB_INSTALLATION set to something else?",
            )
    return {**labels, "app.kubernetes.io/managed-by": "mlops-nb"}


def job(order: MachineOrder, offer: Offer, namespace: str, selector: Mapping[str, str]) -> dict[str, Any]:
    """Return the Job of a runner; `selector` holds the labels of the nodes that it may run on."""
    labels = labels_of(order.tags)
    seconds = max(1, int(order.max_seconds))
    metadata = {
        "name": job_name(order.token),
        "namespace": namespace,
        "labels": labels,
        "annotations": {TAGS_ANNOTATION: msgspec.json.encode(dict(order.tags)).decode()},
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {
            "activeDeadlineSeconds": seconds,
            "ttlSecondsAfterFinished": KEPT_SECONDS,
            "backoffLimit": 0,
            "parallelism": 1,
            "completions": 1,
            "template": {"metadata": {"labels": labels}, "spec": _pod(order, offer, selector)},
        },
    }


def secret(order: MachineOrder, namespace: str, owner_uid: str) -> dict[str, Any]:
    """Return the Secret of a runner, owned by its Job: the start-up script, the keeper, and what is exchanged for tokens."""
    name = job_name(order.token)
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": owner_uid}
    for key in order.secret:
        if not re.fullmatch(r"[A-Za-z0-9_.-]{1,200}", key):
            raise WishRefused(f"{key[:40]!r} cannot be a key of a Secret.")
    limits = f"{max(1, int(order.max_seconds))} {int(REGISTER_SECONDS)} {TERM_SECONDS - 20} 2\n"
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, "labels": labels_of(order.tags), "ownerReferences": [owner]},
        "type": "Opaque",
        "immutable": True,
        "stringData": {
            "start": order.user_data,
            "keeper.sh": keeper(),
            "limits": limits,
            **{f"secret.{key}": value for key, value in order.secret.items()},
        },
    }


def _pod(order: MachineOrder, offer: Offer, selector: Mapping[str, str]) -> dict[str, Any]:
    resources: dict[str, str] = {}
    if offer.cpus:
        resources["cpu"] = f"{max(1, round(offer.cpus * 1000))}m"
    if offer.memory_gb:
        resources["memory"] = f"{max(1, round(offer.memory_gb * 1024))}Mi"
    if order.disk_gb:
        resources["ephemeral-storage"] = f"{order.disk_gb}Gi"
    device = offer.gpu if "/" in offer.gpu else "nvidia.com/gpu"
    main = dict(resources)
    if offer.gpus:
        main[device] = str(offer.gpus)
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": TERM_SECONDS,
        "automountServiceAccountToken": bool(order.permission_set),
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "initContainers": [_container(order, "prepare", _PREPARE, {"cpu": "100m", "memory": "64Mi"}, sees_order=True)],
        "containers": [_container(order, CONTAINER, _RUN, main, sees_order=False)],
        "volumes": [
            {"name": "order", "secret": {"secretName": job_name(order.token), "defaultMode": 0o440}},
            {"name": "machine", "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}},
            {"name": "home", "emptyDir": {"sizeLimit": f"{order.disk_gb}Gi"} if order.disk_gb else {}},
        ],
    }
    if selector:
        pod["nodeSelector"] = dict(selector)
    if order.permission_set:
        pod["serviceAccountName"] = order.permission_set
    tolerations = [{"key": device, "operator": "Exists", "effect": "NoSchedule"}] if offer.gpus else []
    if offer.spot:
        tolerations += [{"key": key, "operator": "Equal", "value": value, "effect": "NoSchedule"} for key, value in SPOT_LABELS.items()]
    if tolerations:
        pod["tolerations"] = tolerations
    return pod


SPOT_LABELS: Mapping[str, str] = {
    "cloud.google.com/gke-spot": "true",
    "eks.amazonaws.com/capacityType": "SPOT",
    "karpenter.sh/capacity-type": "spot",
    "kubernetes.azure.com/scalesetpriority": "spot",
}
"""How providers mark nodes that they may take back."""


def _container(order: MachineOrder, name: str, script: str, resources: Mapping[str, str], *, sees_order: bool) -> dict[str, Any]:
    mounts: list[dict[str, Any]] = [{"name": "machine", "mountPath": MACHINE_PATH}, {"name": "home", "mountPath": HOME_PATH}]
    if sees_order:
        mounts.append({"name": "order", "mountPath": ORDER_PATH, "readOnly": True})
    environment = {
        "HOME": HOME_PATH,
        "MLOPS_NB_POD": MACHINE_PATH,
        "MLOPS_NB_KEEPER": order.token,
        "MLOPS_NB_ORDER": ORDER_PATH,
        "MLOPS_NB_LAST_WORDS": LAST_WORDS,
    }
    return {
        "name": name,
        "image": order.image or IMAGE,
        "command": ["/bin/sh", "-c", script],
        "env": [{"name": key, "value": value} for key, value in environment.items()],
        "resources": {"requests": dict(resources), "limits": dict(resources)},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "terminationMessagePath": LAST_WORDS,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
    }
