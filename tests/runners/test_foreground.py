"""The record of a runner that is this process."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from mlops_nb.core.runners import AgentWish, Heartbeat, Resource, RunnerEvent, RunnerRequest, RunnerState
from mlops_nb.runners.foreground import OwnRunner
from tests.runners.ledgers import WatchedLedger


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[WatchedLedger]:
    made = WatchedLedger(tmp_path / "store.db")
    yield made
    made.close()


def own(ledger: WatchedLedger) -> OwnRunner:
    request = RunnerRequest(name="here-1", cloud="local", agent=AgentWish(kind="notebook"))
    return OwnRunner(ledger, request, user="ada", host="desk")


def test_one_that_somebody_has_ended_meanwhile_does_not_come_further(ledger: WatchedLedger) -> None:
    runner = own(ledger)
    ended = replace(runner.get(), state=RunnerState.DESTROYING, reason="down")
    ledger.save(ended, RunnerEvent(time=time.time(), kind="destroying"))
    assert runner.become(RunnerState.BOOTING).state is RunnerState.DESTROYING
    assert runner.close("its work is done").reason == "down"


def test_one_that_is_gone_has_neither_job_nor_lease(ledger: WatchedLedger) -> None:
    runner = own(ledger)
    ledger.heartbeat(runner.id, Heartbeat(state="busy", job="train", jobs=1))
    assert runner.get().job == "train" and runner.get().lease_expires is not None
    gone = runner.close("interrupted")
    assert (gone.state, gone.reason, gone.job, gone.lease_expires) == (RunnerState.GONE, "interrupted", "", None)
    assert [event.kind for event in ledger.events(runner.id)][-2:] == ["destroying", "gone"]


def test_it_costs_nothing_and_keeps_the_id_of_its_registration(ledger: WatchedLedger) -> None:
    runner = own(ledger)
    runner.note(Resource(kind="registration", id="", region="https://github.com/o/r"))
    runner.note(Resource(kind="registration", id="7", region="https://github.com/o/r"))
    now = runner.get()
    assert (now.registration, [item.id for item in now.resources], now.cost(time.time() + 3600)) == ("7", ["7"], 0.0)
