"""What sizes, GPUs, zones and spot mean on a cluster."""

from __future__ import annotations

import pytest

from mlops_nb.clouds.base import WishRefused
from mlops_nb.clouds.kubernetes.cloud import KubernetesCloud
from mlops_nb.core.runners import MachineWish
from tests.clouds import kubernetes_fixtures as fixtures
from tests.clouds.host_contract import wait_for
from tests.clouds.kubernetes_fixtures import order, pod_of, start
from tests.clouds.kubernetes_world import Cluster

cloud, cluster, configuration, make = fixtures.cloud, fixtures.cluster, fixtures.configuration, fixtures.make


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        (MachineWish(types=("huge",)), "CPU-MEMORY"),
        (MachineWish(types=("0-0",)), "asks for nothing"),
        (MachineWish(region="mars"), "topology.kubernetes.io/region=mars"),
        (MachineWish(spot_price=0.5), "no spot price"),
        (MachineWish(spot=True), "marked as spot"),
        (MachineWish(gpu="t4"), "No node of the cluster has the GPU"),
        (MachineWish(gpu="t44"), "cannot be had"),
    ],
)
def test_a_wish_that_no_cluster_has_is_refused(cloud: KubernetesCloud, wish: MachineWish, says: str) -> None:
    with pytest.raises(WishRefused, match=says):
        cloud.offers(wish)


def test_sizes_and_zones_are_offered_in_the_order_of_the_wish(cloud: KubernetesCloud) -> None:
    offers = cloud.offers(MachineWish(region="us-west", types=("s", "2-4096"), zones=("a", "b")))
    assert [(one.type, one.zone, one.cpus, one.memory_gb, one.hourly) for one in offers] == [
        ("1-2048", "a", 1, 2, None),
        ("1-2048", "b", 1, 2, None),
        ("2-4096", "a", 2, 4, None),
        ("2-4096", "b", 2, 4, None),
    ]


@pytest.mark.parametrize(
    ("labels", "wish", "chosen"),
    [
        ({"nvidia.com/gpu.product": "Tesla-T4"}, MachineWish(gpu="t4"), {"nvidia.com/gpu.product": "Tesla-T4"}),
        (
            {"cloud.google.com/gke-accelerator": "nvidia-tesla-t4"},
            MachineWish(types=("m+t4",)),
            {"cloud.google.com/gke-accelerator": "nvidia-tesla-t4"},
        ),
        (
            {"accelerator": "nvidia-tesla-t4"},
            MachineWish(gpu="t4", node_selector={"accelerator": "infer"}),
            {"accelerator": "nvidia-tesla-t4"},
        ),
        ({"pool": "blue"}, MachineWish(types=("4-8192",), gpu="t4", node_selector={"pool": "blue"}), {"pool": "blue"}),
    ],
)
def test_a_gpu_is_chosen_by_the_label_that_the_nodes_have(
    cloud: KubernetesCloud, cluster: Cluster, labels: dict[str, str], wish: MachineWish, chosen: dict[str, str]
) -> None:
    cluster.add_node("gpu-node", {**labels}, gpus=1)
    cluster.add_node("other-node", {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-40GB"}, gpus=8)
    machine = start(cloud, order(node_selector=wish.node_selector), wish)
    pod = pod_of(cluster)
    assert pod["nodeSelector"] == chosen
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    wait_for(lambda: cloud.describe(machine).phase == "running")


def test_a_spot_node_is_chosen_by_its_mark_and_tolerated(cloud: KubernetesCloud, cluster: Cluster) -> None:
    cluster.add_node("cheap", {"cloud.google.com/gke-spot": "true"})
    start(cloud, order(), MachineWish(types=("0.1-64",), spot=True))
    assert pod_of(cluster)["nodeSelector"] == {"cloud.google.com/gke-spot": "true"}
    assert "cloud.google.com/gke-spot" in {one["key"] for one in pod_of(cluster)["tolerations"]}
