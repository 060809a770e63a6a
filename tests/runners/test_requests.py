"""What people and CML's workflows write becomes a request, or an error that says what to write."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from mlops_nb.core.durations import seconds_of
from mlops_nb.core.runners import AgentWish, Guards, RunnerState, check_transition
from mlops_nb.errors import IllegalTransition, InvalidInput
from mlops_nb.runners.requests import cloud_of, gpu_of, guards_of, labels_of, request_of

AGENT = AgentWish(kind="github", repository="https://github.com/acme/churn")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("300", 300), ("5 minutes", 300), ("10m", 600), ("1h 30m", 5400), ("1 day, 2 hours", 93_600), ("0.5h", 1800), (" 90S ", 90)],
)
def test_durations_are_read_as_people_and_cml_write_them(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5", "5 parsecs", "2h 30", "1e3", "٥ minutes", "5m5", "nan"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="no duration"):
        seconds_of(text)


@pytest.mark.parametrize("never", ["never", "-1", " Never "])
def test_an_idle_limit_cannot_be_off_only_as_long_as_the_machine_may_live(never: str) -> None:
    assert guards_of(idle=never, max_hours=6) == Guards(idle=6 * 3600, max_hours=6)


@pytest.mark.parametrize("given", [{"max_hours": 0}, {"max_hours": 10_000}, {"max_cost": 0}, {"max_cost": float("nan")}, {"idle": "1s"}])
def test_limits_that_cannot_be_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        guards_of(**given)


def test_the_cost_limit_shortens_the_life_of_a_dear_machine() -> None:
    guards = Guards(max_hours=4, max_cost=1)
    assert guards.seconds(4.0) == 900
    assert guards.seconds(0.1) == 4 * 3600
    with pytest.raises(InvalidInput, match="not known"):
        guards.seconds(None)


@pytest.mark.parametrize(
    ("word", "found"),
    [("aws", ("aws", "")), ("k8s", ("kubernetes", "")), ("ssh:me@box:2222", ("ssh", "me@box:2222")), ("LOCAL", ("local", ""))],
)
def test_places_have_the_names_that_people_use(word: str, found: tuple[str, str]) -> None:
    assert cloud_of(word) == found


@pytest.mark.parametrize("word", ["moon", "aws:us-west", "ssh", "ssh:", "ssh:-oProxyCommand=id", ""])
def test_other_places_are_refused(word: str) -> None:
    with pytest.raises(InvalidInput):
        cloud_of(word)


def test_gpus_are_named_with_their_number() -> None:
    assert gpu_of("A100:2") == ("a100", 2)
    assert gpu_of("tesla") == ("v100", 1)
    assert gpu_of("nogpu") == ("nogpu", 0)
    with pytest.raises(InvalidInput):
        gpu_of("t4:many")


def test_labels_are_each_once_and_without_control_characters() -> None:
    assert labels_of("gpu, cml,gpu") == ("gpu", "cml")
    for text in ("", " , ", "a\nb", "x;y"):
        with pytest.raises(InvalidInput):
            labels_of(text)


def test_a_request_has_all_that_was_written() -> None:
    request = request_of(
        name="gpu-1",
        on="aws",
        agent=AGENT,
        idle="10m",
        max_cost=2,
        region="us-west",
        zones=["us-west-2a,us-west-2b"],
        types=["g4dn.xlarge", "m+t4"],
        gpu="T4",
        spot=True,
        spot_price=0.3,
        metadata=["team=churn=1"],
        startup_script=base64.b64encode("echo grüße".encode()).decode(),
    )
    assert request.machine.zones == ("us-west-2a", "us-west-2b")
    assert request.machine.types == ("g4dn.xlarge", "m+t4")
    assert request.metadata == {"team": "churn=1"}
    assert request.startup_script == "echo grüße"
    assert request.guards == Guards(idle=600, max_hours=4, max_cost=2)
    assert request_of(on="aws", agent=AGENT, spot=True, spot_price=-1).machine.spot_price is None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"on": "local", "spot": True}, "spot machines"),
        ({"on": "aws", "spot_price": 1.0}, "spot price"),
        ({"on": "gcp", "spot": True, "spot_price": 1.0}, "spot price"),
        ({"on": "aws", "node_selector": ["a=b"]}, "node selector"),
        ({"on": "ssh:box", "permission_set": "x"}, "permission set"),
        ({"on": "aws", "metadata": ["mlops-nb-expires=9"]}, "ours"),
        ({"on": "aws", "metadata": ["lonely"]}, "no pair"),
        ({"on": "aws", "startup_script": "not base64!"}, "base64"),
        ({"on": "aws", "name": "Über"}, "called"),
    ],
)
def test_what_does_not_go_together_is_said_before_anything_is_asked(given: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        request_of(agent=AGENT, **given)


def test_nothing_leads_out_of_gone_and_each_state_can_be_ended() -> None:
    for state in RunnerState:
        if state not in (RunnerState.GONE, RunnerState.DESTROYING):
            check_transition(state, RunnerState.DESTROYING)
        if state is not RunnerState.GONE:
            with pytest.raises(IllegalTransition):
                check_transition(RunnerState.GONE, state)


def test_the_host_of_ssh_is_where_its_machine_is_asked_for() -> None:
    request = request_of(on="ssh:me@box", agent=AGENT)
    assert (request.host, request.machine.region) == ("me@box", "me@box")
