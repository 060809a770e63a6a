"""What tests of Kubernetes begin with: the small cluster, its kubeconfig, a cloud of it, and orders."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlops_nb.clouds.base import MachineOrder
from mlops_nb.clouds.kubernetes.api import Api, load_configuration
from mlops_nb.clouds.kubernetes.cloud import KubernetesCloud
from mlops_nb.core.runners import TAG_EXPIRES, TAG_INSTALLATION, TAG_NAME, TAG_RUNNER, MachineWish, Resource
from tests.clouds.host_contract import OURS
from tests.clouds.kubernetes_server import served
from tests.clouds.kubernetes_world import Cluster

SMALL = MachineWish(types=("0.1-64",))


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path) as cluster:
        yield cluster


@pytest.fixture
def configuration(cluster: Cluster) -> Iterator[str]:
    with served(cluster) as text:
        yield text


@pytest.fixture
def make(configuration: str) -> Callable[..., KubernetesCloud]:
    def make(*, patience: float = 0.5, naps: list[float] | None = None) -> KubernetesCloud:
        api = Api(load_configuration(configuration), seconds=5, sleep=(naps if naps is not None else []).append)
        return KubernetesCloud(api=api, patience=patience, sleep=lambda seconds: time.sleep(0.02))

    return make


@pytest.fixture
def cloud(make: Callable[..., KubernetesCloud]) -> KubernetesCloud:
    return make()


def order(script: str = "sleep 600", *, token: str = "", installation: str = OURS, max_seconds: float = 600.0, **more: Any) -> MachineOrder:
    token = token or uuid.uuid4().hex
    tags = {TAG_INSTALLATION: installation, TAG_RUNNER: token, TAG_EXPIRES: "1900000000", TAG_NAME: "gpu-1", "team": "vision & sound"}
    return MachineOrder(token=token, name="gpu-1", tags=tags, user_data=script, max_seconds=max_seconds, **more)


def start(cloud: KubernetesCloud, wanted: MachineOrder, wish: MachineWish = SMALL) -> Resource:
    return cloud.create(wanted, cloud.offers(wish)[0], lambda one: None).resource


def pod_of(cluster: Cluster) -> dict[str, Any]:
    job = next(one for one in cluster.of("jobs") if one["metadata"]["name"].startswith("mlops-nb-"))
    spec: dict[str, Any] = job["spec"]["template"]["spec"]
    return spec
