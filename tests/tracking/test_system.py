"""System metrics: which runs get them, when, and what is in them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlops_nb.core.records import CellExecution
from mlops_nb.tracking import system
from mlops_nb.tracking.session import Session
from mlops_nb.tracking.system import Gpus, Probe


@pytest.fixture
def session(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    monkeypatch.setattr(system, "_chosen", None)
    monkeypatch.setenv("MLOPS_NB_SYSTEM_METRICS_INTERVAL", "0.05")
    session = Session()
    yield session
    for run in reversed(list(session.runs)):
        run.stop()


def wait_until(fact: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def points(session: Session, run: Any, key: str = "system/cpu_utilization_percentage") -> list[Any]:
    return list(session.store().metric_history(run.run_id, key).items)


def test_a_run_that_asks_for_them_has_mlflows_metrics_with_their_cells(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLOPS_NB_SYSTEM_METRICS", "true")
    with session.start() as run:
        run.begin_cell(CellExecution(index=0, source="", source_hash="", started=0))
        wait_until(lambda: session.companions.system._steps.get(run.run_id, 0) >= 3)
        run.end_cell(CellExecution(index=0, source="", source_hash="", started=0))
    found = run.record()
    assert {
        "system/cpu_utilization_percentage",
        "system/system_memory_usage_megabytes",
        "system/system_memory_usage_percentage",
        "system/disk_usage_percentage",
        "system/disk_available_megabytes",
        "system/network_receive_megabytes",
        "system/network_transmit_megabytes",
    } <= set(found.metrics)
    history = points(session, run)
    assert len(history) >= 3 and [p.step for p in history] == list(range(len(history)))
    assert {p.cell for p in history} <= {0, None} and history[0].cell == 0
    assert 0 <= found.metrics["system/system_memory_usage_percentage"].value <= 100
    assert run.latest == {}  # cards show what the user logged


def test_a_short_run_has_none_and_a_long_one_has_them_from_its_beginning(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    with session.start() as short:
        wait_until(lambda: session.companions.system._waiting[short.run_id])
    assert short.record().metrics == {}
    monkeypatch.setattr(system, "LONG_RUN_SECONDS", 0.3)
    with session.start() as long:
        wait_until(lambda: session.companions.system._steps.get(long.run_id, 0) >= 10)
    history = points(session, long)
    assert len(history) >= 10 and history[0].timestamp - long.start_time < 2000


@pytest.mark.parametrize("how", ["environment", "mlflows environment", "call"])
def test_they_can_be_switched_off(session: Session, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    if how == "call":
        system.disable_system_metrics_logging()
    else:
        monkeypatch.setenv("MLOPS_NB_SYSTEM_METRICS" if how == "environment" else "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "false")
    with session.start():
        assert session.companions.system._thread is None


def test_nothing_is_sampled_when_no_run_is_open_and_again_when_one_is(session: Session) -> None:
    for _ in range(3):
        with session.start():
            thread = session.companions.system._thread
            assert thread is not None and thread.is_alive()
        thread.join(10)
        assert not thread.is_alive() and session.companions.system._thread is None


def test_inner_and_outer_runs_have_their_own_points(session: Session) -> None:
    system.enable_system_metrics_logging()
    with session.start() as outer, session.start(nested=True) as inner:
        wait_until(lambda: session.companions.system._steps.get(inner.run_id, 0) >= 2)
    assert len(points(session, outer)) >= 2 and len(points(session, inner)) >= 2


def test_a_probe_that_fails_costs_only_its_own_values(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    probe = Probe(project)
    probe._folder = "/nowhere/at/all"
    values = probe.sample()
    assert "disk_usage_percentage" not in values and "cpu_utilization_percentage" in values
    probe.close()


def test_without_a_gpu_there_is_nothing_about_gpus_and_with_one_there_is() -> None:
    gpus = Gpus()
    values = gpus.sample()
    assert len(gpus.describe()) == len(gpus.handles) and len([k for k in values if k.endswith("memory_usage_megabytes")]) == len(
        gpus.handles
    )
    gpus.close()


def test_sampling_takes_less_than_a_thousandth_of_a_processor(project: Path) -> None:
    probe = Probe(project)
    probe.sample()
    began = time.thread_time()
    for _ in range(50):
        probe.sample()
    assert (time.thread_time() - began) / 50 < 0.001 * system._FIRST_SECONDS
    probe.close()
