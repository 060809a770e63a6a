"""What a wish means on a cluster: requests of a pod, and the labels of the nodes that it may run on. Pure; no I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from mlops_nb.clouds.base import WishRefused
from mlops_nb.clouds.kubernetes.manifests import SPOT_LABELS
from mlops_nb.clouds.sizes import REGIONS, gpu_of, types_of
from mlops_nb.core.runners import MachineWish, Offer

_TYPE = re.compile(r"(\d{1,4}(?:\.\d{1,3})?)-(\d{1,8})(?:\+([A-Za-z0-9._/-]{1,80})\*([1-9]\d{0,2}))?", re.ASCII)
_GPU_LABELS = (
    "nvidia.com/gpu.product",
    "cloud.google.com/gke-accelerator",
    "k8s.amazonaws.com/accelerator",
    "karpenter.k8s.aws/instance-gpu-name",
    "accelerator",
)
ZONE_LABEL = "topology.kubernetes.io/zone"
INFER = "infer"
"""CML's word for: the label of the GPU that was asked for."""

Labels = Mapping[str, str]


def offers(wish: MachineWish, namespace: str, nodes: Sequence[Labels] | None) -> Sequence[Offer]:
    """Return what to ask the cluster for: types as wished, zones within; the price is not known.

    Args:
        nodes: The labels of each node; None: we may not see them.

    Raises:
        WishRefused: If the wish is no wish for a cluster.
    """
    if wish.spot_price is not None:
        raise WishRefused("A cluster has no spot price.", hint="Leave --cloud-spot-price out.")
    if wish.region and wish.region not in REGIONS:
        raise WishRefused(
            f"A cluster has no region '{wish.region}' to choose.",
            hint=f"Choose its nodes: --cloud-kubernetes-node-selector topology.kubernetes.io/region={wish.region}",
        )
    if wish.spot and not wish.node_selector and nodes is not None and not any(_is_spot(labels) for labels in nodes):
        raise WishRefused(
            "No node of the cluster is marked as spot.", hint="Name the label that marks them: --cloud-kubernetes-node-selector KEY=VALUE"
        )
    found = []
    for size in wish.types or ("",):
        for native in _natives(wish, size):
            cpus, memory, gpu, gpus = _parsed(native)
            gpu, gpus = gpu or wish.gpu, gpus or wish.gpus or (1 if gpu_of(wish.gpu) else 0)
            if gpus == 0 or wish.gpu == "nogpu":
                gpu, gpus = "", 0
            found += [
                Offer(
                    cloud="kubernetes",
                    type=native,
                    region=namespace,
                    zone=zone,
                    spot=wish.spot,
                    cpus=wish.cpus or cpus,
                    memory_gb=wish.memory_gb or memory,
                    gpu=gpu,
                    gpus=gpus,
                )
                for zone in wish.zones or ("",)
            ]
    for offer in found:
        selector(offer, wish.node_selector, nodes)
    return found


def selector(offer: Offer, wished: Labels, nodes: Sequence[Labels] | None) -> dict[str, str]:
    """Return the labels of the nodes that may run an offer's pod.

    Where a kind of GPU is asked for and no label is named, it is the label by which the nodes there are tell their GPU.

    Raises:
        WishRefused: If none of the nodes has such a GPU, and so its label is not known.
    """
    labels = {key: value for key, value in wished.items() if value != INFER}
    inferred = [key for key, value in wished.items() if value == INFER]
    if offer.zone:
        labels[ZONE_LABEL] = offer.zone
    if offer.spot and not wished and nodes is not None:
        spot = next(((key, value) for node in nodes for key, value in SPOT_LABELS.items() if node.get(key) == value), None)
        labels |= [spot] if spot else []
    if not offer.gpus or "/" in offer.gpu or (wished and not inferred):
        return labels
    for key in (*inferred, *(key for key in _GPU_LABELS if key not in inferred)):
        for node in nodes or ():
            if key in node and _same_gpu(offer.gpu, node[key]):
                return {**labels, key: node[key]}
    if inferred:
        return {**labels, inferred[0]: offer.gpu}
    if nodes is None:
        raise WishRefused(
            f"Which nodes have the GPU '{offer.gpu}' cannot be seen: you may not list nodes.",
            hint="Name their label: --cloud-kubernetes-node-selector nvidia.com/gpu.product=…",
        )
    there = sorted({node[key] for node in nodes for key in _GPU_LABELS if key in node})
    raise WishRefused(
        f"No node of the cluster has the GPU '{offer.gpu}'"
        + (f"; there are: {', '.join(there)}." if there else ", and none is marked with any."),
        hint="If nodes are added on demand, name their label: --cloud-kubernetes-node-selector KEY=VALUE",
    )


def _natives(wish: MachineWish, size: str) -> Sequence[str]:
    if _TYPE.fullmatch(size):
        return (size,)
    if not size and (wish.cpus or wish.memory_gb):
        return (f"{wish.cpus or 1:g}-{round((wish.memory_gb or 4) * 1024)}",)
    if "/" in wish.gpu or (wish.gpu and wish.node_selector and INFER not in wish.node_selector.values()):
        return types_of("kubernetes", size)  # the nodes are named by label: any GPU that they have will do
    return types_of("kubernetes", size, "" if wish.gpu == "nogpu" else wish.gpu, wish.gpus)


def _parsed(native: str) -> tuple[float, float, str, int]:
    match = _TYPE.fullmatch(native)
    if match is None:
        raise WishRefused(
            f"'{native[:80]}' is no type of machine on Kubernetes.",
            hint="Give s, m, l, xl, or CPU-MEMORY[+GPU*COUNT] with MiB: 4-16384+t4*1",
        )
    cpus, memory = float(match[1]), int(match[2]) / 1024
    if cpus == 0 or memory == 0:
        raise WishRefused(f"'{native}' asks for nothing.", hint="Give CPU-MEMORY[+GPU*COUNT] with MiB: 4-16384")
    return cpus, memory, match[3] or "", int(match[4] or 0)


def _is_spot(labels: Labels) -> bool:
    return any(labels.get(key) == value for key, value in SPOT_LABELS.items())


def _same_gpu(wanted: str, label: str) -> bool:
    """Say whether a node's label names this GPU: `t4` is in `Tesla-T4` and `nvidia-tesla-t4`, but `a10` is not in `A100-SXM4`."""
    words = re.split(r"[^a-z0-9]+", label.lower())
    return wanted.lower() == label.lower() or gpu_of(wanted) in words or gpu_of(label) == gpu_of(wanted)
