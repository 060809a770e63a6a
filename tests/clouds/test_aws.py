"""Amazon EC2: what every rented cloud must do, and what is AWS's own."""

from __future__ import annotations

import base64
import gzip
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from mlops_nb.clouds.aws import tags
from mlops_nb.clouds.aws.account import Account
from mlops_nb.clouds.aws.cloud import AwsCloud
from mlops_nb.clouds.base import CloudError, CloudUnreachable, NoCapacity, NoCredentials, PermissionMissing, QuotaExceeded, WishRefused
from mlops_nb.core.runners import TAG_INSTALLATION, TAG_RUNNER, Resource
from tests.clouds import aws_state
from tests.clouds.aws_renting import KEY, REGION, ContractWorld, a_cloud, an_offer, asked
from tests.clouds.aws_world import AwsWorld, open_world
from tests.clouds.renting import INSTALLATION, SECRET_WORD, TOKEN, Notes, RentingContract, an_order, rid_of

KINDS = ("error", "lost", "throttle", "malformed", "portal", "cut-before", "cut-after")


@pytest.fixture
def world() -> Iterator[ContractWorld]:
    with open_world(ContractWorld) as world:
        yield world


@pytest.fixture
def cloud(world: ContractWorld) -> AwsCloud:
    return a_cloud(world)


def tell(test: str, faults: int) -> None:
    print(json.dumps({"test": f"aws {test}", "n": faults, "left": 0, "double": 0}))


def faults(quick: str) -> list[Any]:
    """Return the kinds of faults; all but one take their time, and the life of runners meets all of them at each call, too."""
    return [kind if kind == quick else pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS]


class TestAws(RentingContract):
    # What fails is injected by AWS's own world: into each call of the sequences, in more ways.
    @pytest.mark.parametrize("kind", faults("lost"))
    def test_whatever_fails_while_creating_one_machine_is_there_or_none(self, world: Any, cloud: Any, kind: str) -> None:
        offer = an_offer(cloud)
        start = len(world.calls)
        notes = Notes()
        cloud.create(an_order(ssh_public_key=KEY), offer, notes)
        steps = len(world.calls) - start
        assert rid_of(cloud, notes.resources) == []
        for step in range(1, steps + 1):
            for times in (1, None):
                token = f"{step:030x}{times or 0:02x}"
                fault = world.fault(kind, step, times=times)
                notes = Notes()
                try:
                    machine = cloud.create(an_order(token=token, ssh_public_key=KEY), offer, notes)
                    assert [thing.id for thing in world.machines()] == [machine.resource.id]
                except CloudError as error:
                    assert times is None, f"{kind} at step {step} once: {error}"
                    assert SECRET_WORD not in str(error) and error.hint
                assert fault.fired and len(world.machines()) <= 1
                world.calm()
                assert rid_of(cloud, [*notes.resources, *cloud.find(INSTALLATION, regions=[REGION]).resources]) == []
                assert world.left() == [], f"{kind} × {times} at step {step}"
        tell(f"create, {kind}", 2 * steps)

    @pytest.mark.parametrize("kind", faults("portal"))
    def test_whatever_fails_while_destroying_another_pass_ends_it(self, world: Any, cloud: Any, kind: str) -> None:
        offer = an_offer(cloud)
        steps = 1
        step = 0
        while step < steps:
            step += 1
            for times in (1, None):
                notes = Notes()
                cloud.create(an_order(token=f"{step:030x}{times or 0:02x}", ssh_public_key=KEY), offer, notes)
                begin = len(world.calls)
                fault = world.fault(kind, step, times=times)
                try:
                    left = cloud.destroy(notes.resources, INSTALLATION)
                    assert left or world.left() == []
                    steps = max(steps, len(world.calls) - begin if times == 1 else 0)
                except CloudError:
                    assert times is None, f"{kind} at step {step} once"
                assert fault.fired or step == steps
                world.calm()
                assert rid_of(cloud, notes.resources) == [] and world.left() == []
        assert steps >= 8
        tell(f"destroy, {kind}", 2 * steps)


@pytest.mark.parametrize("when", ["kill-before", "kill-after"])
def test_a_process_that_is_killed_at_any_change_leaves_what_carries_our_tags(world: ContractWorld, cloud: AwsCloud, when: Any) -> None:
    offer = an_offer(cloud)
    number = 0

    def create() -> None:
        a_cloud(world).create(an_order(token=f"{number:032x}", ssh_public_key=KEY), offer, Notes())

    while world.killed(create, when, number + 1, changes=True):
        assert len(world.machines()) <= 1
        found = cloud.find(INSTALLATION, regions=[REGION])
        assert {thing.id for thing in world.left()} == {resource.id for resource in found.resources}
        assert rid_of(cloud, found.resources) == [] and world.left() == []
        number += 1
    assert number == 4  # group, inbound rule, key, machine
    tell(f"create, {when}", number)


def test_a_machine_is_closed_encrypted_and_ends_itself_by_shutting_down(world: ContractWorld, cloud: AwsCloud) -> None:
    cloud.create(an_order(), an_offer(cloud), Notes())
    form = asked(world, "RunInstances")
    assert form["InstanceInitiatedShutdownBehavior"] == "terminate"
    assert form["MetadataOptions.HttpTokens"] == "required" and form["MetadataOptions.HttpPutResponseHopLimit"] == "1"
    disk = {name.rpartition(".")[2]: value for name, value in form.items() if name.startswith("BlockDeviceMapping.1.Ebs")}
    assert disk == {"DeleteOnTermination": "true", "VolumeSize": "35", "VolumeType": "gp3", "Encrypted": "true"}
    assert "KeyName" not in form and "IamInstanceProfile.Arn" not in form
    group = aws_state.backend(REGION).get_security_group_from_id(form["NetworkInterface.1.SecurityGroupId.1"])
    assert group.ingress_rules == [] and "AuthorizeSecurityGroupIngress" not in world.actions()
    assert {thing.kind for thing in world.left()} == {"machine", "disk", "interface", "group"}


def test_nothing_is_tagged_in_a_second_call(world: ContractWorld, cloud: AwsCloud) -> None:
    cloud.create(an_order(ssh_public_key=KEY, tags={"team": "vision"}), an_offer(cloud, spot=True), Notes())
    assert "CreateTags" not in world.actions()
    call = next(call for call in world.calls if call.action == "RunInstances")
    for kind in ("instance", "volume", "network-interface", "spot-instances-request"):
        assert call.tags(kind)[TAG_RUNNER] == TOKEN and call.tags(kind)["team"] == "vision"


def test_ssh_is_open_only_where_it_was_asked_for(world: ContractWorld, cloud: AwsCloud) -> None:
    notes = Notes()
    cloud.create(an_order(ssh_public_key=KEY), an_offer(cloud), notes)
    form = asked(world, "AuthorizeSecurityGroupIngress")
    assert (form["IpPermissions.1.FromPort"], form["IpPermissions.1.ToPort"]) == ("22", "22")
    assert asked(world, "RunInstances")["KeyName"] == f"mlops-nb-{TOKEN}"
    assert rid_of(cloud, notes.resources) == [] and world.left() == []


def test_an_image_of_somebody_else_with_a_newer_date_and_the_same_name_is_never_taken(world: ContractWorld, cloud: AwsCloud) -> None:
    cloud.create(an_order(), an_offer(cloud), Notes())
    assert asked(world, "RunInstances")["ImageId"] == aws_state.UBUNTU_AMD64
    # Also where the parameter cannot be read, so that it is looked for by name.
    world.refuse("AccessDeniedException", "not allowed to ssm:GetParameter", action="GetParameter")
    cloud.create(an_order(token="b" * 32), an_offer(cloud), Notes())
    assert asked(world, "RunInstances")["ImageId"] == aws_state.UBUNTU_AMD64


@pytest.mark.parametrize(
    ("wish", "image"),
    [
        ({"types": ["m7g.large"]}, aws_state.UBUNTU_ARM64),
        ({"types": ["g4dn.xlarge"]}, aws_state.GPU_AMD64),
        ({"types": ["p3dn.24xlarge"], "region": "us-east-1"}, aws_state.UBUNTU_AMD64),  # its GPU is too old for the image's driver
    ],
)
def test_the_image_goes_with_the_machine(world: ContractWorld, cloud: AwsCloud, wish: Mapping[str, Any], image: str) -> None:
    cloud.create(an_order(), an_offer(cloud, **wish), Notes())
    assert asked(world, "RunInstances")["ImageId"] == image


@pytest.mark.parametrize(
    "image",
    [
        "ami-0000000000000old1",
        "099720109477:ubuntu/images/*noble*20250101",
        "ubuntu@099720109477:x86_64:*ubuntu-noble-24.04*20250101",
    ],
)
def test_an_image_may_be_wished_by_id_or_by_owner_and_name(world: ContractWorld, cloud: AwsCloud, image: str) -> None:
    cloud.create(an_order(image=image), an_offer(cloud), Notes())
    assert asked(world, "RunInstances")["ImageId"] == "ami-0000000000000old1"


@pytest.mark.parametrize(
    ("order", "says"),
    [
        ({"image": "ubuntu-noble"}, "names no owner"),
        ({"image": "ami-doesnotexist00"}, "no image ami-doesnotexist00"),
        ({"image": "ssm:/mine/none"}, "no parameter '/mine/none'"),
        ({"subnet": "subnet-00000000"}, "InvalidSubnetID"),
        ({"security_group": "sg-00000000"}, "no security group 'sg-00000000'"),
        ({"disk_gb": 4}, "too small for the image"),
        ({"tags": {"aws:mine": "1"}}, "cannot take the tag 'aws:mine'"),
        ({"tags": {f"t{number}": "1" for number in range(60)}}, "tags are too many"),
        ({"tags": {"team": "a\nb\x00"}}, "cannot take the tag 'team'"),
        ({"user_data": base64.b85encode(bytes(range(256)) * 999).decode() + "".join(map(chr, range(300, 40000)))}, "AWS takes 16384"),
        ({"permission_set": "nobody"}, "nobody"),
        ({"ssh_public_key": "not a key"}, "ssh-keygen -t ed25519"),
    ],
)
def test_a_wish_that_cannot_be_fulfilled_is_refused_with_a_way_on_and_leaves_nothing(
    world: ContractWorld, cloud: AwsCloud, order: Mapping[str, Any], says: str
) -> None:
    offer = an_offer(cloud)
    with pytest.raises(WishRefused) as caught:
        cloud.create(an_order(**order), offer, Notes())
    assert says in str(caught.value) and SECRET_WORD not in str(caught.value)
    assert world.left() == []


def test_a_long_start_up_script_is_packed(world: ContractWorld, cloud: AwsCloud) -> None:
    script = "#!/bin/sh\n" + "echo the same again and again\n" * 2000
    cloud.create(an_order(user_data=script), an_offer(cloud), Notes())
    assert gzip.decompress(base64.b64decode(asked(world, "RunInstances")["UserData"])).decode() == script


def test_a_given_group_and_subnet_are_used_and_stay(world: ContractWorld, cloud: AwsCloud) -> None:
    held = aws_state.backend(REGION)
    group = held.create_security_group("of the company", "theirs", held.get_default_vpc().id)
    subnet = held.get_default_subnets()["us-west-1b"]
    notes = Notes()
    cloud.create(an_order(security_group="of the company", subnet=subnet.id), an_offer(cloud, zones=["b"]), notes)
    form = asked(world, "RunInstances")
    assert form["NetworkInterface.1.SubnetId"] == subnet.id and form["NetworkInterface.1.SecurityGroupId.1"] == group.id
    assert rid_of(cloud, notes.resources) == [] and held.get_security_group_from_id(group.id) is group
    with pytest.raises(NoCapacity, match="is in us-west-1b, not in us-west-1a"):
        cloud.create(an_order(token="c" * 32, subnet=subnet.id), an_offer(cloud, zones=["a"]), Notes())


def test_a_spot_machine_is_asked_for_once_and_not_above_its_price(world: ContractWorld, cloud: AwsCloud) -> None:
    offer = an_offer(cloud, spot=True, spot_price=0.2)
    assert offer.spot and offer.hourly == 0.2
    cloud.create(an_order(spot_price=0.2), offer, Notes())
    form = asked(world, "RunInstances")
    options = {name.rpartition(".")[2]: value for name, value in form.items() if name.startswith("InstanceMarketOptions")}
    assert options == {
        "MarketType": "spot",
        "SpotInstanceType": "one-time",
        "InstanceInterruptionBehavior": "terminate",
        "MaxPrice": "0.2000",
    }


def test_a_ticket_that_is_new_in_the_second_try_makes_no_second_machine(world: ContractWorld, cloud: AwsCloud) -> None:
    offer = an_offer(cloud)
    first = cloud.create(an_order(user_data="#!/bin/sh\n# ticket 1"), offer, Notes())
    # AWS does not show the machine to the second try before it asks for one.
    world.hide_machines(1)
    again = cloud.create(an_order(user_data="#!/bin/sh\n# ticket 2"), offer, Notes())
    assert again.resource.id == first.resource.id and len(world.machines()) == 1


def test_what_aws_does_not_show_yet_is_waited_for_before_it_counts_as_never_made(world: ContractWorld) -> None:
    cloud = a_cloud(world, settle=3.0, sleep=time.sleep)
    offer = an_offer(cloud)
    world.lag = 2
    world.fault("kill-after", action="RunInstances", times=None)
    patient = a_cloud(world, attempts=1, settle=0)
    notes = Notes()
    with pytest.raises(CloudUnreachable):
        patient.create(an_order(), offer, notes)
    world.calm()
    assert len(world.machines()) == 1
    assert rid_of(cloud, notes.resources) == [] and world.left() == []


def test_a_machine_that_is_ending_is_still_there_and_so_is_its_group(world: ContractWorld, cloud: AwsCloud) -> None:
    notes = Notes()
    machine = cloud.create(an_order(), an_offer(cloud), notes)
    world.ending = 2
    left = cloud.destroy(notes.resources, INSTALLATION)
    assert sorted(resource.kind for resource in left) == ["group", "machine"]
    assert cloud.describe(machine.resource).phase == "stopping"
    assert rid_of(cloud, left) == [] and world.left() == []


def test_an_order_that_aws_takes_back_says_why(world: ContractWorld, cloud: AwsCloud) -> None:
    machine = cloud.create(an_order(), an_offer(cloud, spot=True), Notes())
    world.end(machine.resource.id, REGION)
    gone = cloud.describe(machine.resource)
    assert gone.phase == "gone" and "Server.SpotInstanceTermination" in gone.reason


def test_a_machine_made_a_moment_ago_that_aws_does_not_show_is_not_called_gone(cloud: AwsCloud) -> None:
    here = Resource(kind="machine", id="i-0123456789abcdef0", region=REGION, created=time.time())
    assert cloud.describe(here).phase == "unknown"
    assert cloud.describe(Resource(kind="machine", id="i-0123456789abcdef0", region=REGION, created=time.time() - 300)).phase == "gone"


def test_the_console_is_what_the_machine_has_printed(world: ContractWorld, cloud: AwsCloud) -> None:
    machine = cloud.create(an_order(), an_offer(cloud), Notes())
    assert "Linux version" in cloud.console(machine.resource)
    world.fault("error", action="GetConsoleOutput", code="UnsupportedOperation", message="Latest is for Nitro", status=400)
    assert "Linux version" in cloud.console(machine.resource)
    assert cloud.console(Resource(kind="machine", id="i-0123456789abcdef0", region=REGION)) == ""


def test_disks_interfaces_addresses_and_spot_requests_that_were_left_behind_are_found_and_removed(
    world: ContractWorld, cloud: AwsCloud
) -> None:
    held = aws_state.backend(REGION)
    ours = {TAG_INSTALLATION: INSTALLATION, TAG_RUNNER: TOKEN}
    held.create_volume(size=8, zone_name="us-west-1a").add_tags(ours)
    held.create_network_interface(held.get_default_subnets()["us-west-1a"], None, tags=ours)
    held.allocate_address("vpc", tags=ours)
    Account(world.environment).call(
        "ec2",
        REGION,
        "request_spot_instances",
        InstanceCount=1,
        LaunchSpecification={"ImageId": aws_state.UBUNTU_AMD64, "InstanceType": "t3.small"},
        TagSpecifications=tags.specified(ours, "spot-instances-request"),
    )
    found = cloud.find(INSTALLATION, regions=[REGION])
    assert sorted(resource.kind for resource in found.resources) == ["address", "disk", "interface", "spot"]
    assert rid_of(cloud, found.resources) == [] and world.left() == []


@pytest.mark.slow
def test_hundreds_on_many_pages_are_all_found_and_ended(world: ContractWorld, cloud: AwsCloud) -> None:
    AwsWorld.add_foreign(world, 330, regions=(REGION,), tags={TAG_INSTALLATION: INSTALLATION, TAG_RUNNER: TOKEN})
    found = cloud.find(INSTALLATION, regions=[REGION]).resources
    assert len([resource for resource in found if resource.kind == "machine"]) == 110
    assert {resource.id for resource in found} == {thing.id for thing in world.left()}
    assert rid_of(cloud, found) == [] and world.left() == []
    assert world.actions().count("TerminateInstances") == 1


def test_a_region_that_cannot_be_seen_is_named_and_the_others_are_looked_at(world: ContractWorld, cloud: AwsCloud) -> None:
    cloud.create(an_order(), an_offer(cloud), Notes())
    world.refuse("UnauthorizedOperation", "You are not authorized to perform this operation.", status=403, region="eu-north-1")
    found = cloud.find(INSTALLATION)
    assert list(found.unseen) == ["eu-north-1"] and "ec2:Describe" in found.unseen["eu-north-1"]
    assert {resource.region for resource in found.resources} == {REGION}
    assert found.clock is not None and abs(found.clock - time.time()) < 60
    world.refuse("UnauthorizedOperation", "not authorized", status=403, action="DescribeRegions")
    assert "all other regions" in cloud.find(INSTALLATION).unseen


def test_expired_credentials_are_told_from_a_missing_permission(world: ContractWorld, cloud: AwsCloud) -> None:
    notes = Notes()
    cloud.create(an_order(), an_offer(cloud), notes)
    world.expired.add("AKIATESTING")
    with pytest.raises(NoCredentials, match="have expired"):
        cloud.destroy(notes.resources, INSTALLATION)
    renewed = AwsCloud({**world.environment, "AWS_ACCESS_KEY_ID": "AKIARENEWED"}, settle=0)
    assert rid_of(renewed, notes.resources) == [] and world.left() == []
    message = (
        "You are not authorized to perform this operation. User: arn:aws:iam::1:user/ci is not authorized to perform: "
        "iam:PassRole on resource: arn:aws:iam::1:role/x. Encoded authorization failure message: " + "A1b2" * 500
    )
    world.refuse("UnauthorizedOperation", message, status=403, action="RunInstances")
    with pytest.raises(PermissionMissing) as caught:
        cloud_of = AwsCloud({**world.environment, "AWS_ACCESS_KEY_ID": "AKIARENEWED"}, settle=0)
        cloud_of.create(an_order(token="d" * 32), an_offer(cloud_of), Notes())
    assert caught.value.permission == "iam:PassRole" and "A1b2" not in str(caught.value) and "iam:PassRole" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("code", "error", "calls"),
    [
        ("InsufficientInstanceCapacity", NoCapacity, 1),
        ("UnfulfillableCapacity", NoCapacity, 1),
        ("MaxSpotInstanceCountExceeded", QuotaExceeded, 1),
        ("MaxFleetCountExceeded", QuotaExceeded, 1),
        ("VcpuLimitExceeded", QuotaExceeded, 1),
        ("RequestLimitExceeded", CloudError, 5),
        ("AuthFailure", NoCredentials, 1),
        ("InvalidAMIID.NotFound", WishRefused, 1),
    ],
)
def test_each_refusal_has_its_kind_and_a_way_on(
    world: ContractWorld, cloud: AwsCloud, code: str, error: type[CloudError], calls: int
) -> None:
    offer = an_offer(cloud, spot=True)
    world.refuse(code, "said by AWS", status=500 if "Capacity" in code else 400, action="RunInstances")
    with pytest.raises(error) as caught:
        cloud.create(an_order(), offer, Notes())
    assert caught.value.provider_code == code and caught.value.hint
    assert world.actions().count("RunInstances") == calls
    assert world.left() == []


def test_a_quota_is_called_as_the_console_calls_it(world: ContractWorld, cloud: AwsCloud) -> None:
    world.exceed_quota(an_offer(cloud))
    for wish, quota in (
        ({"types": ["g5.xlarge"], "region": "us-east-1"}, "G and VT"),
        ({"types": ["p4d.24xlarge"], "region": "us-east-1"}, "P"),
    ):
        for spot in (False, True):
            with pytest.raises(QuotaExceeded) as caught:
                cloud.create(an_order(), an_offer(cloud, spot=spot, **wish), Notes())
            expected = f"All {quota} Spot Instance Requests" if spot else f"Running On-Demand {quota} instances"
            assert caught.value.quota == expected and caught.value.everywhere
