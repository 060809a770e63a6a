"""What EC2 has for a wish and what it costs, what the doctor says, and that the AWS of the tests is as AWS."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from mlops_nb.clouds.aws import prices
from mlops_nb.clouds.aws.account import Account
from mlops_nb.clouds.aws.cloud import AwsCloud
from mlops_nb.clouds.base import NoCredentials, WishRefused
from mlops_nb.clouds.sizes import REGIONS, types_of
from mlops_nb.core.runners import MachineWish, Offer
from tests.clouds.aws_world import AwsWorld, open_world


@pytest.fixture(scope="module")
def world() -> Iterator[AwsWorld]:
    with open_world() as world:
        yield world


@pytest.fixture
def cloud(world: AwsWorld) -> AwsCloud:
    world.calm()
    return AwsCloud(world.environment, settle=0, sleep=lambda seconds: None)


def said(offers: Sequence[Offer]) -> list[tuple[str, str]]:
    return [(offer.type, offer.zone) for offer in offers]


def test_cmls_sizes_are_machines_of_today_in_each_zone_in_order(cloud: AwsCloud) -> None:
    offers = cloud.offers(MachineWish(types=["m"], region="us-west"))
    types = ["m7i.2xlarge", "m6i.2xlarge", "m5.2xlarge"]
    assert said(offers) == [(type, zone) for type in types for zone in ("us-west-1a", "us-west-1b")]
    assert (offers[0].cpus, offers[0].memory_gb, offers[0].hourly) == (8, 32, 0.4704)
    assert cloud.offers(MachineWish()) == offers


def test_zones_are_tried_as_wished_and_may_be_letters_or_stand_for_the_region(cloud: AwsCloud) -> None:
    assert said(cloud.offers(MachineWish(types=["t3.small"], region="us-east", zones=["c", "us-east-1a"]))) == [
        ("t3.small", "us-east-1c"),
        ("t3.small", "us-east-1a"),
    ]
    assert said(cloud.offers(MachineWish(types=["t3.small", "t3.micro"], region="eu-west-1b"))) == [
        ("t3.small", "eu-west-1b"),
        ("t3.micro", "eu-west-1b"),
    ]
    with pytest.raises(WishRefused, match="zone 'eu-west-1a' is not in us-east-1"):
        cloud.offers(MachineWish(region="us-east", zones=["eu-west-1a"]))


def test_a_gpu_is_found_by_its_short_name_and_number(cloud: AwsCloud) -> None:
    one = cloud.offers(MachineWish(gpu="t4", region="us-east"))[0]
    assert (one.type, one.gpu, one.gpus, one.hourly) == ("g4dn.xlarge", "t4", 1, 0.526)
    four = cloud.offers(MachineWish(gpu="a10g", gpus=4, region="eu-west"))[0]
    assert (four.type, four.gpus, four.hourly) == ("g5.12xlarge", 4, 6.33165)


def test_cpus_and_memory_alone_find_the_cheapest_that_have_them(cloud: AwsCloud) -> None:
    offers = cloud.offers(MachineWish(cpus=16, memory_gb=100, region="us-east"))
    assert offers[0].type == "r7i.4xlarge"
    hourly = [offer.hourly for offer in offers]
    assert all(offer.cpus >= 16 and offer.memory_gb >= 100 for offer in offers if offer.cpus and offer.memory_gb)
    assert all(hourly) and hourly == sorted(hourly, key=lambda price: price or 0.0)


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        ({"types": ["g6.xlarge"], "region": "us-west"}, "It is in ap-northeast-1"),
        ({"types": ["p3.2xlarge"]}, "AWS has retired it"),
        ({"types": ["m7i.2xlage"]}, "Did you mean"),
        ({"region": "us-wset"}, "AWS has no region 'us-wset'"),
        ({"cpus": 5000}, "has 5000 CPUs"),
        ({"types": ["t3.small"], "gpu": "t4"}, "1 GPUs 't4'"),
        ({"types": ["t3.small"], "zones": ["us-west-1q"]}, "is in us-west-1q"),
        ({"types": ["x'; drop table.large"]}, "There is no machine type"),
    ],
)
def test_what_cannot_be_had_is_refused_with_what_can(cloud: AwsCloud, wish: Any, says: str) -> None:
    with pytest.raises(WishRefused) as caught:
        cloud.offers(MachineWish(**wish))
    assert says in str(caught.value) and caught.value.hint


def test_the_table_has_a_price_for_each_type_of_the_sizes_where_that_can_be_had(cloud: AwsCloud) -> None:
    for size in ("s", "m", "l", "xl"):
        for region in (names["aws"] for names in REGIONS.values()):
            assert prices.listed(types_of("aws", size)[0], region), (size, region)
    for gpu in ("t4", "a10g", "l4", "l40s", "a100", "h100"):
        for type in types_of("aws", "m", gpu):
            assert prices.listed(type, "us-east-1"), type
    assert prices.listed("t3.small", "us-east-1") == 0.0208 and prices.listed("m5.2xlarge", "eu-central-1") == 0.46


def test_a_price_that_the_table_has_not_is_asked_of_aws_and_is_unknown_where_that_is_not_allowed(world: AwsWorld, cloud: AwsCloud) -> None:
    world.prices["c6a.large", "us-east-1"] = 0.0765
    wish = MachineWish(types=["c6a.large"], region="us-east")
    assert cloud.offers(wish)[0].hourly == 0.0765
    world.prices.clear()
    assert cloud.offers(wish)[0].hourly is None
    world.refuse("AccessDeniedException", "not authorized to perform: pricing:GetProducts", action="GetProducts")
    assert cloud.offers(wish)[0].hourly is None
    world.calm()
    before = len(world.calls)
    assert prices.hourly(Account(world.environment), "m7i.2xlarge", "us-east-1") == 0.4032
    assert len(world.calls) == before


def test_the_doctor_says_what_is_well_and_what_is_not(world: AwsWorld, cloud: AwsCloud) -> None:
    findings = {finding.what: finding for finding in cloud.check()}
    assert findings["AWS credentials"].ok and "123456789012" in findings["AWS credentials"].text
    assert findings["AWS permissions"].ok and findings["AWS network"].ok and findings["AWS image"].ok
    assert any(not finding.ok and "P instances: 0 CPUs" in finding.text and finding.hint for finding in cloud.check())
    assert not [call.action for call in world.calls if call.changes and call.form.get("DryRun") != "true"]


def test_the_doctor_names_the_permission_that_is_missing(world: AwsWorld, cloud: AwsCloud) -> None:
    for action in ("RunInstances", "DeleteSecurityGroup"):
        world.refuse("UnauthorizedOperation", f"User: x is not authorized to perform: ec2:{action}", status=403, action=action)
    permissions = next(finding for finding in cloud.check() if finding.what == "AWS permissions")
    assert not permissions.ok and "ec2:RunInstances, ec2:DeleteSecurityGroup" in permissions.text


def test_without_credentials_the_doctor_says_that_alone(world: AwsWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ENDPOINT_URL", "AWS_EC2_METADATA_DISABLED", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, world.environment[name])
    cloud = AwsCloud()
    findings = cloud.check()
    assert [finding.ok for finding in findings] == [False] and "AWS_ACCESS_KEY_ID" in findings[0].hint
    with pytest.raises(NoCredentials, match="no credentials for AWS"):
        cloud.offers(MachineWish())


def test_the_credentials_of_the_process_are_used_where_none_are_given(world: AwsWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in world.environment.items():
        monkeypatch.setenv(name, value)
    assert AwsCloud().offers(MachineWish(types=["t3.small"]))[0].hourly == 0.0248


def test_a_secret_key_is_in_no_error_and_no_repr(world: AwsWorld) -> None:
    secret = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"
    cloud = AwsCloud({**world.environment, "AWS_SECRET_ACCESS_KEY": secret, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, sleep=lambda s: None)
    with pytest.raises(Exception, match="did not answer") as caught:
        cloud.offers(MachineWish())
    assert secret not in repr(cloud) + str(caught.value) + repr(caught.value)


def test_importing_the_driver_loads_no_library_of_amazon() -> None:
    code = "import sys, mlops_nb.clouds.aws.cloud; print([name for name in sys.modules if name.startswith('boto')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_without_boto3_the_extra_is_named() -> None:
    code = (
        "import sys; sys.modules['boto3'] = None\n"
        "from mlops_nb.clouds.aws.cloud import AwsCloud; from mlops_nb.core.runners import MachineWish\n"
        "try: AwsCloud({}).offers(MachineWish())\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("MissingDependencyError") and "pip install 'mlops-nb[aws]'" in done.stdout
