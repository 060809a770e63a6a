"""A series of ten million points in one run: taken in, charted without losing a spike, and paged, in little memory."""

from __future__ import annotations

import http.client
import math
import random
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

from tests.durability.figures import quantile, report, rss_mb, seed
from tests.durability.fleet import Server
from tests.durability.servers import TeamPlace, kill

_POINTS = 10_000_000
_BATCH, _SPIKES, _BUCKETS = 1000, 100, 1000
_PAGES = 40


class _Client:
    """One connection that is kept."""

    def __init__(self, server: Server, token: str) -> None:
        parts = urlsplit(server.mount)
        self._connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=120)
        self._headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}

    def ask(self, method: str, path: str, document: Any = None) -> tuple[Any, int]:
        """Return an answer and its size in bytes."""
        body = None if document is None else msgspec.json.encode(document)
        self._connection.request(method, f"/api/2.0/mlflow/{path}", body, self._headers)
        answer = self._connection.getresponse()
        content = answer.read()
        assert answer.status == 200, content
        return msgspec.json.decode(content), len(content)

    def close(self) -> None:
        self._connection.close()


def _value(step: int, spikes: set[int]) -> float:
    return 1e6 + step if step in spikes else math.sin(step / 1000)


def _fill(client: _Client, run_id: str, points: int, spikes: set[int]) -> None:
    for start in range(0, points, _BATCH):
        steps = range(start, start + _BATCH)
        metrics = [{"key": "loss", "step": s, "timestamp": 1_700_000_000_000 + s, "value": _value(s, spikes)} for s in steps]
        client.ask("POST", "runs/log-batch", {"run_id": run_id, "metrics": metrics})


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_a_long_series_is_charted_with_every_spike_and_paged_in_little_memory(tmp_path: Path) -> None:
    points = _POINTS
    number = seed()
    chance = random.Random(number)
    place = TeamPlace(tmp_path / "team", chance, f"sqlite:///{tmp_path}/store.db")
    server = place.start()
    client = _Client(server, place.token)
    try:
        run_id = client.ask("POST", "runs/create", {"experiment_id": "0"})[0]["run"]["info"]["run_id"]
        spikes = sorted(chance.sample(range(points), _SPIKES))
        high = set(spikes)
        started = time.monotonic()
        _fill(client, run_id, points, high)
        ingest = time.monotonic() - started

        chart = f"metrics/get-history-bulk-interval?run_ids={run_id}&metric_key=loss&max_results={_BUCKETS}"
        seconds: list[float] = []
        largest = missed = 0
        for spike in spikes:  # a window around each, that may reach into its neighbours
            first = max(0, spike - chance.randrange(1, points // 3))
            last = min(points - 1, spike + chance.randrange(1, points // 3))
            started = time.monotonic()
            answer, size = client.ask("GET", f"{chart}&start_step={first}&end_step={last}")
            seconds.append(time.monotonic() - started)
            largest = max(largest, size)
            highest = max(s for s in spikes if first <= s <= last)
            missed += (highest, _value(highest, high)) not in [(m["step"], m["value"]) for m in answer["metrics"]]
        shown = {m["step"] for m in client.ask("GET", chart)[0]["metrics"]}
        missed += spikes[-1] not in shown

        pages: list[float] = []
        token, at = "", 0
        while len(pages) < _PAGES and token is not None:
            started = time.monotonic()
            query = f"metrics/get-history?run_id={run_id}&metric_key=loss&max_results=25000&page_token={token}"
            answer, _ = client.ask("GET", query)
            pages.append(time.monotonic() - started)
            found = [(metric["step"], metric["value"]) for metric in answer["metrics"]]
            assert found == [(step, _value(step, high)) for step in range(at, at + len(found))]
            at += len(answer["metrics"])
            token = answer.get("next_page_token")
        memory = rss_mb(server.process.pid)
    finally:
        client.close()
        kill(server)
    report(
        "long-series",
        points,
        lost=missed,
        seconds=seconds,
        rss_mb=memory,
        seed=number,
        ingest_s=round(ingest, 1),
        points_per_s=round(points / ingest),
        chart_p95=round(quantile(seconds, 0.95), 4),
        chart_kb=round(largest / 1024),
        page_p95=round(quantile(pages, 0.95), 4),
    )
    assert missed == 0
    assert at == min(points, _PAGES * 25_000)
    assert largest <= 1 << 20
    assert memory <= 512
