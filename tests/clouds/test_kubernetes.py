"""Runners on Kubernetes, against a small cluster on the loopback; on a real one where MLOPS_NB_TEST_KUBECONFIG names its kubeconfig."""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlops_nb.clouds.base import (
    CloudError,
    CloudThrottled,
    CloudUnreachable,
    MachineOrder,
    NoCapacity,
    NoCredentials,
    PermissionMissing,
    QuotaExceeded,
    WishRefused,
)
from mlops_nb.clouds.kubernetes.api import Api, load_configuration
from mlops_nb.clouds.kubernetes.cloud import KubernetesCloud
from mlops_nb.core.runners import TAG_EXPIRES, TAG_INSTALLATION, TAG_NAME, TAG_RUNNER, MachineWish, Resource
from mlops_nb.errors import MissingDependencyError
from tests.clouds.host_contract import OURS, carriers, uptime, wait_for
from tests.clouds.kubernetes_world import Cluster, served

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


def ended(cloud: KubernetesCloud, machine: Resource) -> str:
    wait_for(lambda: cloud.describe(machine).phase == "gone")
    return cloud.describe(machine).reason


def destroyed(cloud: KubernetesCloud, *machines: Resource) -> None:
    wait_for(lambda: not cloud.destroy(list(machines), OURS))


def whole_story(cloud: KubernetesCloud) -> None:
    """Launch, watch, and remove a runner; fails on whatever a cluster does otherwise than the small one."""
    assert all(finding.ok for finding in cloud.check() if finding.what != "may list nodes")
    wanted = order("echo begun; sleep 600")
    machine = start(cloud, wanted)
    wait_for(lambda: cloud.describe(machine).phase == "running", 300)
    wait_for(lambda: "begun" in cloud.console(machine), 60)
    assert start(cloud, wanted).id == machine.id
    found = cloud.find(OURS, regions=[machine.region]).resources
    assert sorted(one.kind for one in found if one.runner_id == wanted.token) == ["container", "job", "secret"]
    wait_for(lambda: not cloud.destroy(found, OURS), 120)
    assert cloud.describe(machine).phase == "gone"
    assert [one for one in cloud.find(OURS, regions=[machine.region]).resources if one.runner_id == wanted.token] == []


def test_a_runner_is_launched_watched_and_removed(cloud: KubernetesCloud) -> None:
    whole_story(cloud)


@pytest.mark.skipif("MLOPS_NB_TEST_KUBECONFIG" not in os.environ, reason="MLOPS_NB_TEST_KUBECONFIG names no cluster")
@pytest.mark.timeout(600)
def test_a_runner_is_launched_watched_and_removed_on_a_real_cluster() -> None:
    whole_story(KubernetesCloud(load_configuration(Path(os.environ["MLOPS_NB_TEST_KUBECONFIG"]).read_text())))


def test_a_runner_runs_its_script_and_says_how_it_ended(cloud: KubernetesCloud) -> None:
    machine = start(cloud, order('echo "in $HOME by $MLOPS_NB_MACHINE"; exit 3'))
    reason = ended(cloud, machine)
    assert reason == "its pod failed: it ended by itself, with exit status 3"
    assert f"by {machine.id.removeprefix('mlops-nb-')}\n" in cloud.console(machine)


def test_all_is_noted_before_it_is_made_and_found_by_its_tags(cloud: KubernetesCloud, cluster: Cluster) -> None:
    noted: list[tuple[str, str, bool]] = []

    def note(one: Resource) -> None:
        noted.append((one.kind, one.id, (f"{one.kind}s", "team", one.id) in cluster.objects))

    wanted = order()
    made = cloud.create(wanted, cloud.offers(SMALL)[0], note)
    name = f"mlops-nb-{wanted.token}"
    assert noted == [("job", name, False), ("secret", name, False)]
    found = cloud.find(OURS)
    assert (sorted(one.kind for one in found.resources), dict(found.unseen)) == (["container", "job", "secret"], {})
    job = next(one for one in found.resources if one.kind == "job")
    assert (job.runner_id, job.expires, job.tags["team"], job.region) == (wanted.token, 1.9e9, "vision & sound", "team")
    assert job.created is not None and abs(job.created - time.time()) < 60
    wait_for(lambda: cloud.describe(made.resource).phase == "running")


def test_nothing_secret_is_in_the_pod_and_the_job_finds_none_of_it(cloud: KubernetesCloud, cluster: Cluster) -> None:
    script = 'cat "$MLOPS_NB_AGENT_SECRETS/ticket"; rm "$MLOPS_NB_AGENT_SECRETS/ticket"; env; echo end; sleep 600'
    machine = start(cloud, order(script, secret={"ticket": "one-time-ticket"}))
    wait_for(lambda: cloud.console(machine).endswith("end\n"))
    assert cloud.console(machine).count("one-time-ticket") == 1
    assert "one-time-ticket" not in json.dumps([body for body in cluster.bodies if body["kind"] != "Secret"])
    secret = next(body for body in cluster.bodies if body["kind"] == "Secret")
    assert secret["metadata"]["ownerReferences"][0]["name"] == machine.id
    seen_by = [c["name"] for c in _pod(cluster)["initContainers"] + _pod(cluster)["containers"] if "order" in _mounts(c)]
    assert seen_by == ["prepare"]
    assert carriers("one-time-ticket") == set()


def test_its_pod_has_no_rights_it_does_not_need(cloud: KubernetesCloud, cluster: Cluster) -> None:
    start(cloud, order(disk_gb=20), MachineWish(cpus=2, memory_gb=3))
    pod = _pod(cluster)
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in (*pod["initContainers"], *pod["containers"]):
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        assert container["resources"]["requests"] == container["resources"]["limits"]
    wanted = {"cpu": "2000m", "memory": "3072Mi", "ephemeral-storage": "20Gi"}
    assert pod["containers"][0]["resources"]["limits"] == wanted
    job = cluster.of("jobs")[0]["spec"]
    assert (job["backoffLimit"], job["activeDeadlineSeconds"], job["ttlSecondsAfterFinished"]) == (0, 600, 900)


def test_a_service_account_is_given_only_where_it_is_asked_for(cloud: KubernetesCloud, cluster: Cluster) -> None:
    start(cloud, order(permission_set="trainer"))
    assert (_pod(cluster)["serviceAccountName"], _pod(cluster)["automountServiceAccountToken"]) == ("trainer", True)


def test_the_cluster_ends_it_at_its_hard_stop_with_all_its_processes(cloud: KubernetesCloud) -> None:
    machine = start(cloud, order("setsid sleep 600 & sleep 600", max_seconds=1))
    assert "hard stop" in ended(cloud, machine)
    wait_for(lambda: not carriers(machine.id.removeprefix("mlops-nb-")))


def test_its_pod_ends_when_its_lease_runs_out(cloud: KubernetesCloud) -> None:
    machine = start(cloud, order(f'echo {uptime() - 1:.0f} >"$MLOPS_NB_LEASE"; sleep 600'))
    assert ended(cloud, machine) == "its lease ran out: the agent gave no sign of life"


def test_asked_for_twice_it_is_one(cloud: KubernetesCloud, cluster: Cluster) -> None:
    wanted = order()
    assert start(cloud, wanted).id == start(cloud, wanted).id
    assert len(cluster.of("jobs")) == len(cluster.of("secrets")) == 1
    wait_for(lambda: cluster.of("pods"))
    assert len(cluster.of("pods")) == 1


def test_destroying_leaves_nothing_and_nothing_of_others_is_touched(cloud: KubernetesCloud, cluster: Cluster) -> None:
    for number in range(1000):
        labels = {TAG_INSTALLATION: "b" * 32} if number % 2 else {"app": "theirs"}
        kind = ("jobs", "secrets", "pods")[number % 3]
        body: dict[str, Any] = {
            "metadata": {"name": f"theirs-{number}", "labels": labels},
            "status": {"phase": "Running", "conditions": [{"type": "Complete", "status": "True"}], "x-ended": 1e18},
        }
        cluster.put(kind, "team", {**body, "spec": _spec(kind)})
    theirs = {key: one["metadata"]["uid"] for key, one in cluster.objects.items() if key[2].startswith("theirs")}
    machine = start(cloud, order("setsid sleep 600 & sleep 600"))
    everything = [Resource(kind=kind[:-1] if kind != "pods" else "container", id=name, region=place) for kind, place, name in theirs]  # type: ignore[arg-type]
    assert cloud.destroy(everything, OURS) == []
    destroyed(cloud, *cloud.find(OURS).resources)
    assert cloud.find(OURS).resources == []
    wait_for(lambda: not carriers(machine.id.removeprefix("mlops-nb-")))
    assert {key: one["metadata"]["uid"] for key, one in cluster.objects.items() if key[2].startswith("theirs")} == theirs
    assert cloud.destroy([machine], OURS) == []
    assert cloud.describe(machine).phase == "gone"


def test_more_than_a_page_of_them_is_found(cloud: KubernetesCloud, cluster: Cluster) -> None:
    for number in range(1200):
        status = {"conditions": [{"type": "Complete", "status": "True"}], "x-ended": 1e18}
        labels = {TAG_INSTALLATION: OURS}
        cluster.put(
            "jobs",
            "other",
            {"metadata": {"name": f"j-{number}", "labels": labels}, "spec": _spec("jobs"), "status": status},
        )
    assert len(cloud.find(OURS).resources) == 1200


def test_a_namespace_that_cannot_be_seen_is_told_and_the_own_one_looked_at(cloud: KubernetesCloud, cluster: Cluster) -> None:
    machine = start(cloud, order())
    cluster.denied |= {("list", "jobs", "*"), ("list", "secrets", "*"), ("list", "pods", "*"), ("list", "secrets", "other")}
    found = cloud.find(OURS)
    assert machine.id in {one.id for one in found.resources}
    assert set(found.unseen) == {f"{kind}s in namespaces other than team" for kind in ("job", "container", "secret")}
    assert set(cloud.find(OURS, regions=["team", "other"]).unseen) == {"secrets in other"}


FAULTS = ("before", "after", "throttled", "cut", "cut after", "malformed")


@pytest.mark.parametrize("lasting", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_no_fault_of_any_call_leaves_anything_or_makes_two(make: Callable[..., KubernetesCloud], cluster: Cluster, lasting: bool) -> None:
    cluster.runs_pods = False
    cloud = make()
    injected = 0
    for fault in FAULTS:
        for at in itertools.count():
            seen = itertools.count()

            def strike(
                verb: str, resource: str, at: int = at, seen: Iterator[int] = seen, lasting: bool = lasting, fault: str = fault
            ) -> str:
                number = next(seen)
                return fault if number == at or (lasting and number > at) else ""

            wanted, noted = order(), {}
            cluster.fault = strike
            failed: CloudError | None = None
            try:
                cloud.create(wanted, cloud.offers(SMALL)[0], lambda one, noted=noted: noted.__setitem__((one.kind, one.id), one))  # type: ignore[misc]
            except CloudError as error:
                failed = error
                assert isinstance(error, CloudUnreachable | CloudThrottled), (fault, at, error)
            calls = next(seen)
            assert len(cluster.of("jobs")) <= 1 and len(cluster.of("secrets")) <= 1
            assert failed is None or lasting, (fault, at, failed)
            if not lasting:
                cluster.fault = lambda verb, resource: ""
            try:
                cloud.destroy(list(noted.values()), OURS)
            except CloudError:
                assert lasting
            cluster.fault = lambda verb, resource: ""
            wait_for(lambda noted=noted: not cloud.destroy(list(noted.values()), OURS))  # type: ignore[misc]
            assert cloud.find(OURS).resources == [], (fault, at)
            injected += 1
            if calls <= at:
                break
    assert injected >= 60
    print(json.dumps({"test": "kubernetes faults", "n": injected, "left": 0}))


def test_a_job_that_was_cut_off_without_its_secret_is_completed_when_asked_again(cloud: KubernetesCloud, cluster: Cluster) -> None:
    wanted = order("echo done; sleep 600")

    def dying(one: Resource) -> None:
        if one.kind == "secret":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cloud.create(wanted, cloud.offers(SMALL)[0], dying)
    assert (len(cluster.of("jobs")), len(cluster.of("secrets"))) == (1, 0)
    machine = start(cloud, wanted)
    wait_for(lambda: cloud.console(machine) == "done\n")
    assert len(cluster.of("jobs")) == 1


def test_a_pod_that_no_node_takes_is_no_capacity_and_goes(cloud: KubernetesCloud, cluster: Cluster) -> None:
    with pytest.raises(NoCapacity, match="0/1 nodes are available"):
        start(cloud, order(), MachineWish(cpus=500))
    wait_for(lambda: not cluster.of("jobs") and not cluster.of("secrets") and not cluster.of("pods"))


def test_where_a_node_is_on_its_way_the_pod_may_wait(cloud: KubernetesCloud, cluster: Cluster) -> None:
    wanted = order()

    def scale_up(verb: str, resource: str) -> str:
        for pod in cluster.of("pods"):
            cluster.event(pod, "TriggeredScaleUp", "pod triggered scale-up: 1->2", "Normal")
        return ""

    cluster.fault = scale_up
    machine = start(cloud, wanted, MachineWish(cpus=500))
    seen = cloud.describe(machine)
    assert (seen.phase, seen.reason) == ("starting", "0/1 nodes are available: 1 node(s) didn't match.")
    cluster.add_node("big", {}, cpus=512)
    wait_for(lambda: cloud.describe(machine).phase == "running")


def test_a_used_up_quota_is_named(cloud: KubernetesCloud, cluster: Cluster) -> None:
    cluster.put("resourcequotas", "team", {"metadata": {"name": "few-pods"}, "status": {"hard": {"pods": "0"}, "used": {"pods": "0"}}})
    with pytest.raises(QuotaExceeded, match=r"quota 'few-pods' is used up.*limited: pods=0") as caught:
        start(cloud, order())
    assert caught.value.quota == "few-pods"
    wait_for(lambda: not cluster.of("jobs"))
    assert [finding.what for finding in cloud.check() if not finding.ok] == ["quota few-pods"]


def test_a_missing_permission_is_named_with_how_to_test_it(cloud: KubernetesCloud, cluster: Cluster) -> None:
    cluster.denied.add(("create", "jobs", "team"))
    with pytest.raises(
        PermissionMissing, match=r"You may not create jobs in namespace team\. .*kubectl auth can-i create jobs\.batch"
    ) as caught:
        start(cloud, order())
    assert caught.value.permission == "create jobs"
    texts = [finding.text for finding in cloud.check() if not finding.ok]
    assert texts == ["You may not: create jobs."]


def test_a_cluster_where_all_is_well_is_told_as_such(cloud: KubernetesCloud) -> None:
    assert [(finding.what, finding.ok) for finding in cloud.check()] == [("cluster", True), ("permissions", True)]


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"namespace": "nowhere"}, WishRefused, 'namespaces "nowhere" not found'),
        ({"installation": "not a label!"}, WishRefused, "cannot be the label mlops-nb-installation"),
        ({"ssh_public_key": "ssh-ed25519 A"}, WishRefused, "kubectl exec"),
    ],
)
def test_an_order_that_cannot_be_is_refused_and_nothing_is_made(
    cloud: KubernetesCloud, cluster: Cluster, change: dict[str, Any], error: type[CloudError], says: str
) -> None:
    with pytest.raises(error, match=says):
        start(cloud, order(**change))
    assert cluster.of("jobs") == []


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
    pod = _pod(cluster)
    assert pod["nodeSelector"] == chosen
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    wait_for(lambda: cloud.describe(machine).phase == "running")


def test_a_spot_node_is_chosen_by_its_mark_and_tolerated(cloud: KubernetesCloud, cluster: Cluster) -> None:
    cluster.add_node("cheap", {"cloud.google.com/gke-spot": "true"})
    start(cloud, order(), MachineWish(types=("0.1-64",), spot=True))
    assert _pod(cluster)["nodeSelector"] == {"cloud.google.com/gke-spot": "true"}
    assert "cloud.google.com/gke-spot" in {one["key"] for one in _pod(cluster)["tolerations"]}


def test_wrong_credentials_and_broken_kubeconfigs_are_told_without_showing_them(configuration: str) -> None:
    wrong = configuration.replace("the-clusters-token", "wrong-token-value")
    with pytest.raises(NoCredentials, match="401") as caught:
        KubernetesCloud(load_configuration(wrong)).offers(SMALL)
    assert "wrong-token-value" not in str(caught.value)
    for broken in (
        "token: [secret-value",
        "secret-value",
        "{}",
        "contexts: secret-value",
        "current-context: x\nclusters: []\ncontexts: []\nusers: []",
    ):
        with pytest.raises(NoCredentials) as caught:
            KubernetesCloud(load_configuration(broken))
        assert "secret-value" not in str(caught.value) and caught.value.hint


def test_without_lightkube_the_extra_is_named(configuration: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightkube", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'mlops-nb\[kubernetes\]'"):
        load_configuration(configuration)


def test_the_kubeconfig_comes_from_cmls_variable(configuration: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_CONFIGURATION", configuration)
    assert KubernetesCloud().check()[0].text.endswith("namespace team")
    monkeypatch.delenv("KUBERNETES_CONFIGURATION")
    monkeypatch.setenv("KUBECONFIG", "/nonexistent/config")
    monkeypatch.setenv("HOME", "/nonexistent")
    with pytest.raises(NoCredentials, match="KUBECONFIG"):
        KubernetesCloud()


def test_a_cluster_that_does_not_answer_is_named_after_some_tries(make: Callable[..., KubernetesCloud], cluster: Cluster) -> None:
    naps: list[float] = []
    cloud = make(naps=naps)
    cluster.fault = lambda verb, resource: "cut"
    with pytest.raises(CloudUnreachable, match="does not answer"):
        cloud.describe(Resource(kind="job", id="mlops-nb-x", region="team"))
    assert naps == [0.2, 0.6, 1.8]
    found = cloud.find(OURS)
    assert set(found.unseen) == {"jobs in all namespaces", "containers in all namespaces", "secrets in all namespaces"}


def _spec(kind: str) -> dict[str, Any]:
    pod: dict[str, Any] = {"containers": [{"name": "theirs"}]}
    return {"ttlSecondsAfterFinished": 9, "template": {"spec": pod}} if kind == "jobs" else pod


def _pod(cluster: Cluster) -> dict[str, Any]:
    job = next(one for one in cluster.of("jobs") if one["metadata"]["name"].startswith("mlops-nb-"))
    spec: dict[str, Any] = job["spec"]["template"]["spec"]
    return spec


def _mounts(container: dict[str, Any]) -> set[str]:
    return {mount["name"] for mount in container["volumeMounts"]}
