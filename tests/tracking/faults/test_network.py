"""A network that breaks and a server that is gone: every point arrives once and unaltered, and the training does not notice.

The short tests wait for the same few seconds: their loops begin together.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mlops_nb.store.base import TrackingStore
from mlops_nb.store.open import open_store
from tests.durability.figures import report
from tests.durability.figures import seed as new_seed
from tests.team import TOKEN, TeamProcess
from tests.tracking.faults import proxy as faults
from tests.tracking.faults.proxy import FaultProxy
from tests.tracking.faults.training import Training, judge

_SLOWDOWN = 0.05
_STEP_SECONDS = 0.01
_LEAST_PAUSE = 0.99
_HALVES = (faults.BREAKING[::2], faults.BREAKING[1::2])
_PATIENCE = [faults.OK, "429", faults.OK, "503"]


@dataclass
class Loop:
    """A training loop behind a proxy of its own."""

    proxy: FaultProxy
    training: Training
    points: int
    seed: int


@pytest.fixture(scope="module")
def server(start_team: Callable[..., TeamProcess]) -> TeamProcess:
    return start_team()


@pytest.fixture(scope="module")
def store(server: TeamProcess) -> Iterator[TrackingStore]:
    store = open_store(server.url, token=TOKEN)
    assert store is not None
    yield store
    store.close()


@pytest.fixture(scope="module")
def loops(server: TeamProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Loop]]:
    """The loops of the short tests, begun."""
    found = {}
    opened = []

    def begin(
        name: str, choose: Callable[[int], str], points: int, pause: float, deliver: float, *, up: bool = True, **options: float
    ) -> None:
        proxy = FaultProxy(server.url, choose, **options)
        if up:
            proxy.up()
        opened.append(proxy)
        project = tmp_path_factory.mktemp("project")
        (project / "pyproject.toml").touch()
        seed = new_seed()
        training = Training(project, proxy.url, TOKEN, points=points, pause=pause, seed=seed, deliver=deliver)
        found[name] = Loop(proxy, training, points, seed)

    for number, half in enumerate(_HALVES):
        begin(f"each-{number}", _following([what for fault in half for what in (faults.OK, fault)]), 10_000, 0.0002, 60)
    begin("patience", _following(_PATIENCE), 300, 0.01, 30, retry_after=2)
    begin("hole", lambda _: faults.BLACKHOLE, 1000, 0.0, 0)
    begin("gone", _following([]), 300, _STEP_SECONDS, 0, up=False)
    begin("backlog", _following([]), 100_000, 0.0, 60, up=False)
    yield found
    for proxy in opened:
        proxy.close()


def _following(plan: list[str]) -> Callable[[int], str]:
    return lambda number: plan[number] if number < len(plan) else faults.OK


def shortest_pause(proxy: FaultProxy) -> float:
    """Return the shortest time between a request that failed and the next one (s)."""
    pairs = itertools.pairwise(proxy.seen)
    return min((after.at - before.answered_at for before, after in pairs if before.fault in faults.BREAKING), default=float("inf"))


def check(test: str, store: TrackingStore, loop: Loop, answer: dict[str, Any], **more: object) -> None:
    """Print how it went; fail if anything was lost, doubled, altered or raised, or the user was warned too often."""
    verdict = judge(store, answer["run_id"], loop.points, loop.seed)
    seen = loop.proxy.seen
    report(
        test,
        loop.points,
        lost=verdict.lost,
        dup=verdict.dup,
        altered=verdict.altered,
        errors=answer["errors"],
        seed=loop.seed,
        requests=len(seen),
        failed=sum(request.fault in faults.BREAKING for request in seen),
        loop_s=round(answer["seconds"], 2),
        delivery_s=round(answer["delivery"], 2),
        exit_s=round(answer["exit"], 2),
        log_p50_us=round(answer["p50"] * 1e6, 1),
        log_p999_us=round(answer["p999"] * 1e6, 1),
        warnings=len(answer["warnings"]),
        **more,
    )
    assert verdict.counts == (0, 0, 0) and answer["errors"] == 0
    unreachable = [at for at, text in zip(answer["warned_at"], answer["warnings"], strict=True) if "cannot be reached" in text]
    assert all(later - earlier >= 60 for earlier, later in itertools.pairwise(unreachable))


def test_a_backlog_is_delivered_soon_after_the_server_returns(loops: dict[str, Loop], store: TrackingStore) -> None:
    loop = loops["backlog"]
    loop.training.wait_for("logged")
    returned = time.monotonic()
    loop.proxy.up()
    answer = loop.training.result()
    took = answer["ended"] - answer["stop"] - returned
    check("backlog after the return", store, loop, answer, delivered_s=round(took, 2))
    assert took <= 30


@pytest.mark.parametrize("half", [0, 1])
def test_each_way_to_break_a_request_costs_nothing_but_time(loops: dict[str, Loop], store: TrackingStore, half: int) -> None:
    loop = loops[f"each-{half}"]
    answer = loop.training.result()
    check("10,000 points, each breakage once", store, loop, answer, shortest_pause=round(shortest_pause(loop.proxy), 3))
    assert {request.fault for request in loop.proxy.seen} >= set(_HALVES[half]), "not every fault came to pass"
    assert shortest_pause(loop.proxy) >= _LEAST_PAUSE


def test_a_server_that_asks_for_patience_gets_it(loops: dict[str, Loop], store: TrackingStore) -> None:
    loop = loops["patience"]
    answer = loop.training.result()
    check("Retry-After: 2", store, loop, answer, shortest_pause=round(shortest_pause(loop.proxy), 3))
    assert [request.fault for request in loop.proxy.seen[:4]] == _PATIENCE and shortest_pause(loop.proxy) >= 2.0


def test_a_server_that_never_answers_does_not_hold_up_the_exit(loops: dict[str, Loop], store: TrackingStore) -> None:
    loop = loops["hole"]
    answer = loop.training.result()
    loop.proxy.choose = _following([])
    loop.training.sync()
    check("no answer, ever", store, loop, answer)
    assert answer["exit"] <= 5.5


def test_a_server_that_is_never_there_is_not_noticed(loops: dict[str, Loop], store: TrackingStore) -> None:
    loop = loops["gone"]
    answer = loop.training.result()
    loop.proxy.up()
    loop.training.sync()
    share = answer["logging"] / answer["seconds"]
    check("server down all the time, 300 steps", store, loop, answer, logging_share=round(share, 4))
    assert share < _SLOWDOWN and answer["exit"] <= 5.5


# -- at length


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").touch()
    return tmp_path


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("fault", [*faults.BREAKING, faults.SLOW, faults.TRICKLE])
def test_three_of_ten_requests_break(server: TeamProcess, store: TrackingStore, project: Path, fault: str) -> None:
    points, seed = 100_000, new_seed()
    chance = random.Random(seed)
    with FaultProxy(server.url, lambda _: fault if chance.random() < 0.3 else faults.OK) as proxy:
        training = Training(project, proxy.url, TOKEN, points=points, seed=seed, deliver=300)
        answer = training.result(500)
        check(f"100,000 points, 30 % {fault}", store, Loop(proxy, training, points, seed), answer)
        assert shortest_pause(proxy) >= _LEAST_PAUSE


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_million_points_through_every_kind_of_trouble(server: TeamProcess, store: TrackingStore, project: Path) -> None:
    points, seed = 1_000_000, new_seed()
    chance = random.Random(seed)
    every = (*faults.BREAKING, faults.SLOW, faults.TRICKLE, faults.BLACKHOLE)
    with FaultProxy(server.url, lambda _: chance.choice(every) if chance.random() < 0.3 else faults.OK, hole_seconds=5) as proxy:
        training = Training(project, proxy.url, TOKEN, points=points, seed=seed, deliver=1200)
        answer = training.result(1700)
        pause = shortest_pause(proxy)
        check("a million points, 30 % trouble", store, Loop(proxy, training, points, seed), answer, shortest_pause=round(pause, 3))
        assert pause >= _LEAST_PAUSE


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("trouble", ["down from 20 % to 80 %", "down all the time", "30 % trouble"])
def test_ten_thousand_steps_keep_their_pace(server: TeamProcess, store: TrackingStore, project: Path, trouble: str) -> None:
    """A loop of 10 ms steps, beside one that tracks nothing."""
    steps, seed = 10_000, new_seed()
    chance = random.Random(seed)
    breaks = 0.3 if trouble == "30 % trouble" else 0.0
    proxy = FaultProxy(server.url, lambda _: chance.choice(faults.BREAKING) if chance.random() < breaks else faults.OK)
    if trouble != "down all the time":
        proxy.up()
    tracked = Training(project, proxy.url, TOKEN, points=steps, pause=_STEP_SECONDS, seed=seed)
    plain = Training(project, proxy.url, TOKEN, points=steps, pause=_STEP_SECONDS, seed=seed, track=False)
    tracked.wait_for("ready")
    if trouble.startswith("down from"):
        threading.Timer(0.2 * steps * _STEP_SECONDS, proxy.down).start()
        threading.Timer(0.8 * steps * _STEP_SECONDS, proxy.up).start()
    answer = tracked.result(500)
    slowdown = answer["seconds"] / plain.result()["seconds"] - 1
    proxy.choose = _following([])
    if trouble == "down all the time":
        proxy.up()
    tracked.sync()
    check(f"10,000 steps, {trouble}", store, Loop(proxy, tracked, steps, seed), answer, slowdown=round(slowdown, 4))
    proxy.close()
    assert slowdown < _SLOWDOWN and answer["exit"] <= 5.5
