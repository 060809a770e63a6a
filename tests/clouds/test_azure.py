"""Azure: against a Resource Manager over TLS, with asynchronous operations and the faults of real life."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from azure.core.credentials import AccessToken

from mlops_nb.clouds.azure import AzureCloud
from mlops_nb.clouds.azure.bodies import image, name_of
from mlops_nb.clouds.azure.prices import listed
from mlops_nb.clouds.base import CloudError, NoCapacity, NoCredentials, PermissionMissing, WishRefused
from mlops_nb.clouds.dates import dated
from mlops_nb.core.runners import MachineWish
from tests.clouds.azure_world import SUBSCRIPTION, AzureWorld
from tests.clouds.loopback import Fault
from tests.clouds.renting import INSTALLATION, TOKEN, FaultContract, Notes, RentingContract, an_order, rid_of


class TokenOfTheTest:
    """A credential that the loopback knows."""

    def __init__(self, token: str = "token-of-the-test") -> None:
        self._token = token

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        return AccessToken(self._token, int(time.time()) + 3600)


def a_cloud(world: AzureWorld, token: str = "token-of-the-test") -> AzureCloud:
    return AzureCloud(
        subscription=SUBSCRIPTION,
        endpoint=world.endpoint,
        credential=TokenOfTheTest(token),
        verify=world.certificate,
        prices=world.shop.address,
        pause=0.001,
    )


@pytest.fixture
def world(tmp_path: Path) -> Iterator[AzureWorld]:
    world = AzureWorld(tmp_path)
    yield world
    world.stop()


@pytest.fixture
def cloud(world: AzureWorld) -> AzureCloud:
    return a_cloud(world)


class TestAzureContract(RentingContract):
    stride = 17


@pytest.mark.slow
class TestAzureFaultsAtEachCall(FaultContract):
    pass


def made(world: AzureWorld, kind: str) -> Any:
    """Return the body of the last call that made something of a kind."""
    return [call.body for call in world.changing() if call.method == "PUT" and f"/{kind.lower()}/" in call.path.lower()][-1]


def test_offers_leave_the_zone_to_azure_first_and_then_try_each(world: AzureWorld, cloud: AzureCloud) -> None:
    world.prices |= {("Standard_D8s_v5", False): 0.40, ("Standard_D8s_v5", True): 0.09}
    offers = cloud.offers(MachineWish())
    assert [(one.type, one.zone) for one in offers] == [
        ("Standard_D8s_v5", ""),
        ("Standard_D8s_v5", "1"),
        ("Standard_D8s_v5", "2"),
        ("Standard_D8as_v5", ""),
        ("Standard_D8as_v5", "1"),
    ]
    assert (offers[0].cpus, offers[0].memory_gb, offers[0].region) == (8, 32, "westus2")
    assert offers[0].hourly == 0.40 and offers[-1].hourly == listed("Standard_D8as_v5", "westus2") == 0.344
    assert cloud.offers(MachineWish(spot=True, zones=["2"]))[0].hourly == 0.09


def test_a_price_service_that_is_down_leaves_the_list_price(world: AzureWorld, cloud: AzureCloud) -> None:
    world.shop.faults.append(Fault("malformed", lambda call: True, 99))
    assert cloud.offers(MachineWish())[0].hourly == 0.384
    assert listed("Standard_M416s_v2", "westus2") is None and listed("Standard_D8s_v5", "mars") is None


def test_a_type_that_the_subscription_may_not_have_is_said_before_anything_is_made(world: AzureWorld, cloud: AzureCloud) -> None:
    with pytest.raises(WishRefused, match=r"'Standard_NC64as_T4_v3' cannot be had by this subscription \(NotAvailableForSubscription\)"):
        cloud.offers(MachineWish(types=["l+t4"]))
    (offer,) = cloud.offers(MachineWish(types=["l+t4", "m+t4"], spot=True, spot_price=0.2))
    assert (offer.type, offer.gpu, offer.gpus) == ("Standard_NC4as_T4_v3", "t4", 1)
    with pytest.raises(WishRefused, match="is not in zone 9, but in 1, 2"):
        cloud.offers(MachineWish(types=["Standard_D8s_v5"], zones=["9"]))
    assert cloud.offers(MachineWish(cpus=6, memory_gb=40))[0].type == "Standard_E8s_v5"


def test_a_spot_machine_is_deleted_when_it_is_taken_back_and_costs_no_more_than_was_said(world: AzureWorld, cloud: AzureCloud) -> None:
    identity = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/ml/providers/Microsoft.ManagedIdentity/userAssignedIdentities/trainer"
    order = an_order(spot_price=0.2, disk_gb=80, permission_set=identity)
    cloud.create(order, cloud.offers(MachineWish(spot=True, spot_price=0.2))[0], Notes())
    body = made(world, "virtualMachines")
    machine = body["properties"]
    assert (machine["priority"], machine["evictionPolicy"], machine["billingProfile"]) == ("Spot", "Delete", {"maxPrice": 0.2})
    disk = machine["storageProfile"]["osDisk"]
    assert (disk["diskSizeGB"], disk["deleteOption"], disk["name"]) == (80, "Delete", f"{name_of(TOKEN)}-disk")
    assert machine["networkProfile"]["networkInterfaces"][0]["properties"]["deleteOption"] == "Delete"
    assert body["tags"] == dict(order.tags)
    assert body["identity"] == {"type": "UserAssigned", "userAssignedIdentities": {identity: {}}}
    assert base64.b64decode(machine["osProfile"]["customData"]).decode() == order.user_data
    assert machine["storageProfile"]["imageReference"]["publisher"] == "Canonical"
    assert machine["securityProfile"] == {"encryptionAtHost": True}


def test_all_that_is_made_carries_the_tags_in_the_call_that_makes_it(world: AzureWorld, cloud: AzureCloud) -> None:
    cloud.create(an_order(), cloud.offers(MachineWish())[0], Notes())
    bodies = [call.body for call in world.changing() if call.method == "PUT"]
    assert len(bodies) == 7 and all(body["tags"] == dict(an_order().tags) for body in bodies)


def test_nothing_gets_in_and_ssh_only_where_it_was_asked_for(world: AzureWorld, cloud: AzureCloud) -> None:
    offer = cloud.offers(MachineWish())[0]
    notes = Notes()
    cloud.create(an_order(), offer, notes)
    (rule,) = made(world, "networkSecurityGroups")["properties"]["securityRules"]
    assert rule["properties"]["access"] == "Deny" and rule["properties"]["destinationPortRange"] == "*"
    nic = made(world, "networkInterfaces")["properties"]
    assert nic["networkSecurityGroup"]["id"].endswith(f"networkSecurityGroups/{name_of(TOKEN)}")
    rid_of(cloud, notes.resources)
    cloud.create(an_order(ssh_public_key="ssh-ed25519 AAAA me"), offer, Notes())
    ssh, _ = made(world, "networkSecurityGroups")["properties"]["securityRules"]
    assert (ssh["properties"]["access"], ssh["properties"]["destinationPortRange"]) == ("Allow", "22")
    keys = made(world, "virtualMachines")["properties"]["osProfile"]["linuxConfiguration"]["ssh"]["publicKeys"]
    assert keys[0]["keyData"] == "ssh-ed25519 AAAA me"


def test_azure_itself_ends_a_machine_at_its_hard_stop(world: AzureWorld, cloud: AzureCloud) -> None:
    before = time.time()
    cloud.create(an_order(), cloud.offers(MachineWish())[0], Notes())
    schedule = made(world, "schedules")["properties"]
    assert schedule["targetResourceId"].endswith(f"virtualMachines/{name_of(TOKEN)}")
    assert (schedule["status"], schedule["taskType"], schedule["timeZoneId"]) == ("Enabled", "ComputeVmShutdownTask", "UTC")
    wanted = [datetime.fromtimestamp(before + 7200 + 300 + more, UTC).strftime("%H%M") for more in (0, 60)]
    assert schedule["dailyRecurrence"]["time"] in wanted


def test_a_machine_for_longer_than_a_day_has_no_time_of_the_day_at_which_it_ends(world: AzureWorld, cloud: AzureCloud) -> None:
    cloud.create(an_order(max_seconds=200_000.0), cloud.offers(MachineWish())[0], Notes())
    assert world.of_kind("schedules") == []


def test_a_schedule_that_azure_refuses_does_not_cost_the_machine(world: AzureWorld, cloud: AzureCloud) -> None:
    world.forbidden["PUT .*/schedules/"] = "Microsoft.DevTestLab/schedules/write"
    notes = Notes()
    assert cloud.create(an_order(), cloud.offers(MachineWish())[0], notes).phase in ("starting", "running")
    assert rid_of(cloud, notes.resources) == [] and world.count() == 0


def test_a_disk_is_encrypted_at_the_host_where_the_subscription_can(world: AzureWorld, cloud: AzureCloud) -> None:
    world.no_host_encryption = True
    cloud.create(an_order(), cloud.offers(MachineWish())[0], Notes())
    assert "securityProfile" not in made(world, "virtualMachines")["properties"]
    assert len(list(world.machines())) == 1


def test_a_foreign_thing_in_our_group_stays_and_the_group_with_it(world: AzureWorld, cloud: AzureCloud) -> None:
    notes = Notes()
    cloud.create(an_order(), cloud.offers(MachineWish())[0], notes)
    world.put_foreign(name_of(TOKEN), "somebodysdata", {"team": "web"})
    assert rid_of(cloud, notes.resources) == []
    assert [entry["name"] for entry in world.entries.values()] == ["somebodysdata"]
    assert list(world.groups) == [name_of(TOKEN)]
    assert cloud.find(INSTALLATION).resources == []


def test_a_machine_that_could_not_be_allocated_before_is_made_anew(world: AzureWorld, cloud: AzureCloud) -> None:
    first, second, *_ = cloud.offers(MachineWish())
    world.run_out(first)
    world.forbidden["DELETE"] = "Microsoft.Resources/subscriptions/resourceGroups/delete"
    with pytest.raises(NoCapacity):
        cloud.create(an_order(), first, Notes())
    assert [machine["properties"]["provisioningState"] for machine in world.machines()] == ["Failed"]
    world.forbidden.clear()
    assert cloud.create(an_order(), second, Notes()).phase in ("starting", "running")
    assert [machine["properties"]["provisioningState"] for machine in world.machines()] == ["Succeeded"]


def test_a_machine_that_switched_itself_off_is_said_to_go_on_costing(world: AzureWorld, cloud: AzureCloud) -> None:
    machine = cloud.create(an_order(), cloud.offers(MachineWish())[0], Notes()).resource
    next(world.machines())["power"] = "stopped"
    described = cloud.describe(machine)
    assert described.phase == "stopping" and "it costs until it is removed" in described.reason
    next(world.machines())["power"] = "deallocated"
    assert "disk is still there" in cloud.describe(machine).reason


def test_the_console_is_read_by_an_address_that_is_not_shown(
    world: AzureWorld, cloud: AzureCloud, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    machine = cloud.create(an_order(), cloud.offers(MachineWish())[0], Notes()).resource
    assert cloud.console(machine) == ""
    world.console = "x" * 100_000 + "the end"
    assert cloud.console(machine).endswith("the end") and len(cloud.console(machine)) == 64 << 10
    ours = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("mlops_nb"))
    assert "very-secret" not in ours


def test_a_missing_permission_and_a_wrong_login_are_named(world: AzureWorld, cloud: AzureCloud) -> None:
    offer = cloud.offers(MachineWish())[0]
    world.forbidden["PUT .*/networkInterfaces/"] = "Microsoft.Network/networkInterfaces/write"
    with pytest.raises(PermissionMissing, match="role 'Contributor'") as caught:
        cloud.create(an_order(), offer, Notes())
    assert caught.value.permission == "Microsoft.Network/networkInterfaces/write"
    assert world.count() == 0
    with pytest.raises(NoCredentials, match="az login") as wrong:
        a_cloud(world, token="of-somebody-else").offers(MachineWish())
    assert "of-somebody-else" not in str(wrong.value)


def test_no_subscription_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("AZURE_SUBSCRIPTION_ID", raising=False)
    monkeypatch.setenv("AZURE_CONFIG_DIR", str(tmp_path))
    with pytest.raises(NoCredentials, match="Set AZURE_SUBSCRIPTION_ID"):
        AzureCloud(credential=TokenOfTheTest()).offers(MachineWish())


def test_wishes_that_azure_would_not_take_are_refused_before_anything_is_made(world: AzureWorld, cloud: AzureCloud) -> None:
    offer = cloud.offers(MachineWish())[0]
    for order, said in [
        (an_order(tags={"a<b": "c"}), "no tag 'a<b'"),
        (an_order(image="ubuntu"), "is not an image of Azure"),
    ]:
        with pytest.raises(WishRefused, match=said):
            cloud.create(order, offer, Notes())
    assert list(world.changing()) == []
    for order, said in [
        (an_order(user_data="#!/bin/sh\n" + "x" * 70_000), "Azure takes 65,535"),
        (an_order(permission_set="trainer"), "no permission set of Azure"),
        (an_order(subnet="mine"), "is not a subnet of Azure"),
    ]:
        with pytest.raises(WishRefused, match=said):
            cloud.create(order, offer, Notes())
        assert world.count() == 0


def test_images_are_named_as_azure_and_cml_do() -> None:
    urn = image("ubuntu@Canonical:ubuntu-24_04-lts:server:latest#plan", "Standard_D8s_v5")
    assert (urn.publisher, urn.sku) == ("Canonical", "server")
    assert image("", "Standard_D8ps_v5").sku == "server-arm64"
    whole = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/images/mine"
    assert image(whole, "Standard_D8s_v5").id == whole


def test_the_doctor_says_what_is_and_what_is_not_well(world: AzureWorld, cloud: AzureCloud) -> None:
    said = {finding.text: (finding.ok, finding.hint) for finding in cloud.check()}
    assert said["Microsoft.Compute is registered"] == (True, "")
    missing = "Microsoft.DevTestLab is NotRegistered: Azure itself will not end machines at their hard stop"
    assert said[missing] == (False, "Run: az provider register --namespace Microsoft.DevTestLab")
    assert said["Total Regional vCPUs: 10 of 10 are used in westus2"][0] is False
    (only,) = a_cloud(world, token="of-somebody-else").check()
    assert only.what == "credentials" and not only.ok
    assert list(world.changing()) == []


def test_a_subscription_that_gives_no_answer_is_not_taken_for_empty(world: AzureWorld, cloud: AzureCloud) -> None:
    world.stop()
    found = cloud.find(INSTALLATION)
    assert found.resources == [] and len(found.unseen) == 2
    with pytest.raises(CloudError, match="Listing the machine types"):
        cloud.offers(MachineWish())


def test_what_was_found_says_the_time_that_the_cloud_has(cloud: AzureCloud) -> None:
    clock = cloud.find(INSTALLATION).clock
    assert clock is not None and abs(clock - time.time()) < 60
    assert dated("") is None and dated("yesterday") is None
