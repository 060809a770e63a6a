"""What clouds announce at a machine's metadata service is understood, and a service that fails ends nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from mlops_nb.core.runners import CloudName
from mlops_nb.runners.machine.notices import Notice, notices_of
from mlops_nb.runners.machine.notices.aws import AwsNotices
from mlops_nb.runners.machine.notices.azure import AzureNotices
from mlops_nb.runners.machine.notices.gcp import GcpNotices
from mlops_nb.runners.machine.notices.metadata import MetadataService, seconds_until
from tests.machine.worlds import Metadata

SPOT = "/latest/meta-data/spot/instance-action"
REBALANCE = "/latest/meta-data/events/recommendations/rebalance"
EVENTS = "/metadata/scheduledevents?api-version=2020-07-01"
NAME = "/metadata/instance/compute/name?api-version=2021-02-01&format=text"
GOOGLE = "/computeMetadata/v1/instance"


@pytest.fixture
def metadata() -> Iterator[Metadata]:
    world = Metadata()
    yield world
    world.close()


def moment(seconds: float, form: str = "%Y-%m-%dT%H:%M:%SZ") -> str:
    return time.strftime(form, time.gmtime(time.time() + seconds))


def test_aws_takes_a_spot_machine_back_in_two_minutes(metadata: Metadata) -> None:
    metadata.needs_token = "a-token"
    aws = AwsNotices(metadata.url)
    assert aws.check() is None
    metadata.put(SPOT, {"action": "terminate", "time": moment(120)})
    notice = aws.check()
    assert notice is not None and notice.final and 110 < notice.seconds <= 120
    assert notice.text.startswith("AWS takes this spot machine back")
    assert [method for method, _, _ in metadata.asked].count("PUT") == 1, "one token is enough"


def test_a_token_of_aws_that_has_expired_is_renewed(metadata: Metadata) -> None:
    metadata.needs_token = "first"
    aws = AwsNotices(metadata.url)
    aws.check()
    metadata.needs_token = "second"
    metadata.put(SPOT, {"action": "stop", "time": moment(60)})
    notice = aws.check()
    assert notice is not None and notice.text.startswith("AWS stops this spot machine")


def test_a_recommendation_of_aws_is_not_the_end(metadata: Metadata) -> None:
    metadata.put(REBALANCE, {"noticeTime": moment(0)})
    notice = AwsNotices(metadata.url).check()
    assert notice is not None and not notice.final


@pytest.mark.parametrize("answer", ["", "not json", "[]", '{"action": 5, "time": null}', '{"time": "some day"}', "\xff\x00"])
def test_what_aws_says_in_another_form_is_a_notice_all_the_same(metadata: Metadata, answer: str) -> None:
    metadata.put(SPOT, answer)
    notice = AwsNotices(metadata.url).check()
    if answer:
        assert notice is not None and notice.final and notice.seconds == 20
    else:
        assert notice is None


def test_google_preempts_a_machine_and_ends_one_for_maintenance(metadata: Metadata) -> None:
    metadata.headers = {"Metadata-Flavor": "Google"}
    metadata.put(f"{GOOGLE}/preempted", "FALSE")
    metadata.put(f"{GOOGLE}/maintenance-event", "MIGRATE_ON_HOST_MAINTENANCE")
    google = GcpNotices(metadata.url)
    assert google.check() is None
    metadata.put(f"{GOOGLE}/maintenance-event", "TERMINATE_ON_HOST_MAINTENANCE")
    assert google.check() == Notice(text="Google ends this machine for the maintenance of its host", seconds=60)
    metadata.put(f"{GOOGLE}/preempted", "TRUE\n")
    assert google.check() == Notice(text="Google takes this spot machine back (preempted)", seconds=30)


def event(kind: str, *, resources: list[str], seconds: float | None, status: str = "Scheduled") -> dict[str, object]:
    before = "" if seconds is None else moment(seconds, "%a, %d %b %Y %H:%M:%S GMT")
    return {
        "EventId": "1",
        "EventType": kind,
        "ResourceType": "VirtualMachine",
        "Resources": resources,
        "EventStatus": status,
        "NotBefore": before,
    }


def test_azure_evicts_this_machine_and_not_another(metadata: Metadata) -> None:
    metadata.headers = {"Metadata": "true"}
    metadata.put(NAME, "ours")
    metadata.put(EVENTS, {"DocumentIncarnation": 1, "Events": []})
    azure = AzureNotices(metadata.url)
    assert azure.check() is None
    others = [event("Preempt", resources=["theirs"], seconds=30), event("Freeze", resources=["ours"], seconds=300)]
    metadata.put(EVENTS, {"Events": others})
    assert azure.check() is None
    metadata.put(
        EVENTS, {"Events": [*others, event("Reboot", resources=["ours"], seconds=600), event("Preempt", resources=["ours"], seconds=30)]}
    )
    notice = azure.check()
    assert notice is not None and notice.final and notice.seconds <= 30 and "Preempt" in notice.text
    metadata.put(EVENTS, {"Events": [event("Terminate", resources=["ours"], seconds=None, status="Started")]})
    notice = azure.check()
    assert notice is not None and notice.seconds == 25


@pytest.mark.parametrize("answer", ["", "no", "[1]", '{"Events": 7}', '{"Events": [3, {"EventType": "New"}]}'])
def test_what_azure_says_in_another_form_is_no_notice(metadata: Metadata, answer: str) -> None:
    metadata.put(EVENTS, answer)
    assert AzureNotices(metadata.url).check() is None


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503])
def test_a_metadata_service_that_fails_is_no_notice(metadata: Metadata, status: int) -> None:
    metadata.status = status
    assert [kind(metadata.url).check() for kind in (AwsNotices, AzureNotices, GcpNotices)] == [None] * 3


def test_a_machine_without_a_metadata_service_is_told_so_once(caplog: pytest.LogCaptureFixture) -> None:
    world = Metadata()
    world.close()
    google = GcpNotices(world.url)
    assert google.check() is None and google.check() is None
    assert caplog.text.count("spot notices cannot be seen") == 1


def test_the_metadata_service_is_asked_directly_and_not_through_a_proxy(metadata: Metadata, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    metadata.put("/x", "here")
    assert MetadataService(metadata.url).ask("/x", {}) == (200, "here")


def test_a_clock_that_is_wrong_does_not_take_the_time_to_save(metadata: Metadata) -> None:
    assert seconds_until(moment(-9000), least=20, most=120) == 20
    assert seconds_until(moment(90_000), least=20, most=120) == 120


@pytest.mark.parametrize(("cloud", "count"), [("aws", 1), ("gcp", 1), ("azure", 1), ("kubernetes", 0), ("ssh", 0), ("local", 0)])
def test_each_cloud_has_its_own_place_for_notices(cloud: CloudName, count: int) -> None:
    assert len(notices_of(cloud)) == count
