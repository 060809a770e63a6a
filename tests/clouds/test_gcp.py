"""Google Cloud: held to the published description of its API, with the faults of real life."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from mlops_nb.clouds.base import CloudUnreachable, NoCredentials, PermissionMissing, WishRefused
from mlops_nb.clouds.dates import dated
from mlops_nb.clouds.gcp import GcpCloud
from mlops_nb.clouds.gcp.bodies import closing_rule, labels_of, name_of, service_account
from mlops_nb.clouds.gcp.prices import hourly
from mlops_nb.clouds.gcp.types import shape_of
from mlops_nb.core.runners import MachineWish
from tests.clouds.gcp_world import PROJECT, GcpWorld
from tests.clouds.renting import INSTALLATION, SECRET_WORD, TOKEN, FaultContract, Notes, RentingContract, an_order, rid_of


class NoIdentity:
    """Nobody: the loopback asks for no token."""

    project = PROJECT

    def token(self) -> str:
        return ""


@pytest.fixture
def world() -> Iterator[GcpWorld]:
    world = GcpWorld()
    yield world
    world.stop()


@pytest.fixture
def cloud(world: GcpWorld) -> GcpCloud:
    return GcpCloud(endpoint=world.endpoint, identity=NoIdentity(), pause=0.001)


class TestGcpContract(RentingContract):
    stride = 4


@pytest.mark.slow
class TestGcpFaultsAtEachCall(FaultContract):
    pass


def test_offers_come_by_type_and_then_by_zone_with_list_prices(cloud: GcpCloud) -> None:
    offers = cloud.offers(MachineWish(types=["m", "g2-standard-8"]))
    assert [(one.type, one.zone) for one in offers] == [
        ("e2-standard-8", "us-west1-a"),
        ("e2-standard-8", "us-west1-b"),
        ("n2-standard-8", "us-west1-a"),
        ("n2-standard-8", "us-west1-b"),
        ("g2-standard-8", "us-west1-a"),
    ]
    assert offers[0].hourly == pytest.approx(0.268, abs=0.001)
    assert (offers[-1].gpu, offers[-1].gpus, offers[-1].cpus, offers[-1].memory_gb) == ("l4", 1, 8, 32)
    assert offers[-1].hourly == pytest.approx(0.8536, abs=0.001)


def test_a_gpu_is_offered_only_where_it_can_be_attached(cloud: GcpCloud) -> None:
    offers = cloud.offers(MachineWish(gpu="t4", zones=["b", "us-west1-a"], spot=True))
    assert [(one.type, one.zone, one.spot) for one in offers] == [
        ("n1-standard-4+nvidia-tesla-t4*1", "us-west1-b", True),
        ("n1-standard-4+nvidia-tesla-t4*1", "us-west1-a", True),
    ]
    with pytest.raises(WishRefused, match=r"There is no 'n1-standard-4\+nvidia-tesla-t4\*1' in europe-west1.*us-central1, us-west1"):
        cloud.offers(MachineWish(gpu="t4", region="eu-west"))


def test_a_wish_for_cpus_and_memory_takes_the_smallest_type_that_has_them(cloud: GcpCloud) -> None:
    assert cloud.offers(MachineWish(cpus=6, memory_gb=40, region="us-central1-a"))[0].type == "e2-highmem-8"


def test_a_price_limit_for_spot_is_refused_with_what_to_do(cloud: GcpCloud) -> None:
    with pytest.raises(WishRefused, match="--max-cost"):
        cloud.offers(MachineWish(spot=True, spot_price=0.5))


def test_a_spot_machine_with_a_gpu_ends_by_itself_and_takes_its_disk_along(world: GcpWorld, cloud: GcpCloud) -> None:
    offer = cloud.offers(MachineWish(gpu="t4", spot=True))[0]
    cloud.create(an_order(permission_set="trainer@p.iam.gserviceaccount.com,scopes=storage-rw", disk_gb=80), offer, Notes())
    body = next(call.body for call in world.changing() if call.path.endswith("/instances"))
    assert body["scheduling"] == {
        "provisioningModel": "SPOT",
        "instanceTerminationAction": "DELETE",
        "maxRunDuration": {"seconds": "7200"},
        "automaticRestart": False,
        "onHostMaintenance": "TERMINATE",
    }
    assert body["guestAccelerators"] == [{"acceleratorType": "zones/us-west1-a/acceleratorTypes/nvidia-tesla-t4", "acceleratorCount": 1}]
    (disk,) = body["disks"]
    assert disk["autoDelete"] and disk["initializeParams"]["diskSizeGb"] == "80"
    assert disk["initializeParams"]["labels"] == body["labels"] == an_order().tags
    assert disk["initializeParams"]["sourceImage"] == "projects/ubuntu-os-cloud/global/images/family/ubuntu-2404-lts-amd64"
    email, scope = "trainer@p.iam.gserviceaccount.com", "https://www.googleapis.com/auth/devstorage.read_write"
    assert body["serviceAccounts"] == [{"email": email, "scopes": [scope]}]
    assert body["shieldedInstanceConfig"]["enableSecureBoot"] is False


def test_a_machine_without_permission_set_has_no_service_account(world: GcpWorld, cloud: GcpCloud) -> None:
    cloud.create(an_order(), cloud.offers(MachineWish())[0], Notes())
    body = next(call.body for call in world.changing() if call.path.endswith("/instances"))
    assert "serviceAccounts" not in body
    assert body["shieldedInstanceConfig"]["enableSecureBoot"] is True


def test_nothing_gets_in_by_the_rules_of_the_default_network(world: GcpWorld, cloud: GcpCloud) -> None:
    cloud.create(an_order(), cloud.offers(MachineWish())[0], Notes())
    (rule,) = world.firewalls.values()
    (machine,) = world.machines()
    assert rule["denied"] == [{"IPProtocol": "all"}] and rule["sourceRanges"] == ["0.0.0.0/0"] and rule["priority"] == 1
    assert set(rule["targetTags"]) <= set(machine["tags"]["items"])
    order = [call.path.rpartition("/")[2] for call in world.changing()]
    assert order == ["firewalls", "instances"], "the machine came before its network was closed"


def test_ssh_is_let_in_only_where_it_was_asked_for(world: GcpWorld, cloud: GcpCloud) -> None:
    notes = Notes()
    cloud.create(an_order(ssh_public_key="ssh-ed25519 AAAA me"), cloud.offers(MachineWish())[0], notes)
    allowed = [rule["allowed"] for rule in world.firewalls.values() if "allowed" in rule]
    assert allowed == [[{"IPProtocol": "tcp", "ports": ["22"]}]]
    items = {item["key"]: item["value"] for item in next(world.machines())["metadata"]["items"]}
    assert items["ssh-keys"] == "ubuntu:ssh-ed25519 AAAA me"
    rid_of(cloud, notes.resources)
    assert world.count() == 0


def test_a_machine_has_an_external_address_only_where_nothing_else_leads_out(world: GcpWorld, cloud: GcpCloud) -> None:
    offer = cloud.offers(MachineWish())[0]
    notes = Notes()
    assert cloud.create(an_order(), offer, notes).address == "203.0.113.7"
    rid_of(cloud, notes.resources)
    world.nat = True
    notes = Notes()
    assert cloud.create(an_order(subnet="inner"), offer, notes).address == ""
    assert next(world.machines())["networkInterfaces"][0]["subnetwork"].endswith("/regions/us-west1/subnetworks/inner")


def test_who_may_not_list_nat_gateways_gets_an_address(world: GcpWorld, cloud: GcpCloud) -> None:
    world.forbidden["/routers"] = "compute.routers.list"
    assert cloud.create(an_order(), cloud.offers(MachineWish())[0], Notes()).address


def test_a_preempted_machine_is_gone_and_says_why(world: GcpWorld, cloud: GcpCloud) -> None:
    machine = cloud.create(an_order(), cloud.offers(MachineWish(spot=True))[0], Notes()).resource
    world.preempt(name_of(TOKEN))
    described = cloud.describe(machine)
    assert described.phase == "gone" and described.reason.startswith("preempted")
    assert cloud.console(machine) == ""


def test_a_machine_that_switched_itself_off_is_on_its_way_out_and_says_that_its_disk_is_there(world: GcpWorld, cloud: GcpCloud) -> None:
    machine = cloud.create(an_order(), cloud.offers(MachineWish())[0], Notes()).resource
    next(world.machines())["status"] = "TERMINATED"
    described = cloud.describe(machine)
    assert described.phase == "stopping" and "disk is still there" in described.reason


def test_the_console_shows_the_end_of_what_was_printed(world: GcpWorld, cloud: GcpCloud) -> None:
    machine = cloud.create(an_order(), cloud.offers(MachineWish())[0], Notes()).resource
    world.serial[name_of(TOKEN)] = "x" * 200_000 + "the end"
    assert cloud.console(machine).endswith("the end") and len(cloud.console(machine)) == 64 << 10


def test_images_are_found_by_family_by_name_or_by_path(world: GcpWorld, cloud: GcpCloud) -> None:
    offer = cloud.offers(MachineWish())[0]
    for image, path in {
        "ubuntu@ubuntu-os-cloud/ubuntu-2404-lts-amd64": "projects/ubuntu-os-cloud/global/images/family/ubuntu-2404-lts-amd64",
        "trained": f"projects/{PROJECT}/global/images/trained",
        "projects/ml/global/images/base-1": "projects/ml/global/images/base-1",
    }.items():
        notes = Notes()
        cloud.create(an_order(image=image), offer, notes)
        body = [call.body for call in world.changing() if call.path.endswith("/instances")][-1]
        assert body["disks"][0]["initializeParams"]["sourceImage"] == path
        # An image that may have no cloud-init gets the script where Google's own agent finds it.
        keys = [item["key"] for item in body["metadata"]["items"]]
        assert ("user-data" in keys) == ("ubuntu" in image) and ("startup-script" in keys) == ("ubuntu" not in image)
        rid_of(cloud, notes.resources)
    with pytest.raises(WishRefused, match="Looking for the image 'nobody/knows'"):
        cloud.create(an_order(image="nobody/knows"), offer, Notes())
    assert world.count() == 0


def test_a_missing_permission_is_named_with_the_role_that_has_it(world: GcpWorld, cloud: GcpCloud) -> None:
    offer = cloud.offers(MachineWish())[0]
    world.forbidden["POST .*/firewalls"] = "compute.firewalls.create"
    with pytest.raises(PermissionMissing, match=r"compute.firewalls.create.*roles/compute\.securityAdmin") as caught:
        cloud.create(an_order(), offer, Notes())
    assert caught.value.permission == "compute.firewalls.create"
    assert world.count() == 0


def test_labels_that_google_would_not_take_are_refused_before_anything_is_made(world: GcpWorld, cloud: GcpCloud) -> None:
    offer = cloud.offers(MachineWish())[0]
    with pytest.raises(WishRefused, match="no label 'Owner'='Ada Lovelace'"):
        cloud.create(an_order(tags={"Owner": "Ada Lovelace"}), offer, Notes())
    assert list(world.changing()) == []
    assert labels_of({"team": "vision"}) == {"team": "vision"}


def test_permission_sets_are_read_as_cml_writes_them() -> None:
    assert service_account("a@p.iam.gserviceaccount.com")["scopes"] == ["https://www.googleapis.com/auth/cloud-platform"]
    for wrong in ("storage-rw", "a@b.c,storage-rw", "a@b.c,scopes="):
        with pytest.raises(WishRefused, match="EMAIL,scopes="):
            service_account(wrong)


def test_a_rule_s_description_holds_our_tags_and_not_the_user_s() -> None:
    rule = closing_rule(an_order(tags={"note": "mlops-nb-installation=ff"}), "n")
    assert "note" not in rule["description"] and f"mlops-nb-installation={INSTALLATION}" in rule["description"]


def test_two_projects_can_share_a_name_without_harm(world: GcpWorld, cloud: GcpCloud) -> None:
    world.add_foreign(4, labels={"mlops-nb-runner": "someone-else"})
    cloud.create(an_order(token=f"{1:032x}"), cloud.offers(MachineWish(zones=["a"]))[0], Notes())
    assert sum(machine["labels"].get("mlops-nb-installation") == INSTALLATION for machine in world.machines()) == 1


def test_no_credentials_are_said_with_how_to_get_them(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS_DATA", json.dumps({"type": "service_account", "private_key": SECRET_WORD}))
    for name in ("CML_GCP_ACCESS_TOKEN", "GOOGLE_OAUTH_ACCESS_TOKEN", "CLOUDSDK_AUTH_ACCESS_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(NoCredentials, match="gcloud auth application-default login") as caught:
        GcpCloud().offers(MachineWish())
    assert SECRET_WORD not in str(caught.value)


def test_a_token_of_the_environment_goes_into_the_header_and_nowhere_else(world: GcpWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CML_GCP_ACCESS_TOKEN", "ya29.secret")
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", PROJECT)
    monkeypatch.setenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE", world.endpoint)
    GcpCloud(pause=0.001).offers(MachineWish())
    assert {call.headers["Authorization"] for call in world.calls} == {"Bearer ya29.secret"}
    assert not any("ya29" in f"{call.path} {call.query}" for call in world.calls)


def test_a_cloud_that_is_down_is_unreachable_and_not_empty(world: GcpWorld, cloud: GcpCloud) -> None:
    world.stop()
    found = cloud.find(INSTALLATION)
    assert found.resources == [] and len(found.unseen) == 3
    with pytest.raises(CloudUnreachable, match="Looking for the machine type"):
        cloud.offers(MachineWish())


def test_google_s_names_may_have_addresses_of_the_own_network(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo

    def inside(host: str, *more: Any, **options: Any) -> Any:
        return real("127.0.0.1" if host == "compute.googleapis.com" else host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", inside)
    monkeypatch.delenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE", raising=False)
    with pytest.raises(CloudUnreachable, match="Looking for the machine type"):  # nobody listens there, but it was allowed
        GcpCloud(identity=NoIdentity(), pause=0.001).offers(MachineWish())


def test_the_doctor_says_what_is_and_what_is_not_well(world: GcpWorld, cloud: GcpCloud) -> None:
    found = {finding.what: finding for finding in cloud.check()}
    assert found["project"].ok and found["network"].ok
    limits = {finding.text: finding.ok for finding in cloud.check() if finding.what == "limits"}
    assert limits == {"GPUS_ALL_REGIONS: 0 of 0 are used in all regions": False, "CPUS: 8 of 24 are used in us-west1": True}
    world.forbidden["GET projects/proj-1$"] = "compute.projects.get"
    (only,) = cloud.check()
    assert not only.ok and "compute.projects.get" in only.text and only.hint
    assert list(world.changing()) == []


@pytest.mark.parametrize(
    ("name", "region", "price"),
    [
        ("n1-standard-4+nvidia-tesla-t4*1", "us-west1", None),  # its CPUs are Google's to say
        ("e2-custom-8-32768", "us-west1", 0.2816),
        ("a2-highgpu-1g", "europe-west4", 4.0775),
        ("m3-ultramem-128", "us-west1", None),
        ("a2-highgpu-1g", "mars-west1", None),
    ],
)
def test_prices_are_known_or_said_not_to_be(name: str, region: str, price: float | None) -> None:
    assert hourly(shape_of(name), region) == (None if price is None else pytest.approx(price, abs=0.001))


@pytest.mark.parametrize("name", ["", "x", "n1-standard-4+", "n1-standard-4+*2", "a b", "../etc", "n1-standard-4+t4*999"])
def test_names_that_are_no_machine_types_are_refused(name: str) -> None:
    with pytest.raises(WishRefused, match="is not a machine type"):
        shape_of(name)


def test_what_was_found_says_the_time_that_the_cloud_has(cloud: GcpCloud) -> None:
    clock = cloud.find(INSTALLATION).clock
    assert clock is not None and abs(clock - time.time()) < 60
    assert dated("") is None and dated("yesterday") is None
