"""A training loop in a process of its own, which says at its end how it went, and the check of what the store has of it.

python -m tests.tracking.faults.training '{"name": ..., "points": ..., "seed": ..., "pause": ..., "track": ..., "deliver": ...}'
"""

from __future__ import annotations

import json
import logging
import math
import os
import random
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops_nb.store.base import TrackingStore

ROOT = Path(__file__).parent.parent.parent.parent
_SPECIAL = (math.nan, math.inf, -math.inf, -0.0, 5e-324, -1.7976931348623157e308)


def values_of(seed: int) -> Iterator[float]:
    """Return the values that a loop logs: the same ones each time."""
    chance = random.Random(seed)
    while True:
        yield chance.choice(_SPECIAL) if chance.random() < 0.02 else chance.gauss(0, 1)


class _Told(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.at: list[float] = []
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.at.append(time.monotonic())
        self.texts.append(record.getMessage()[:300])


def main(settings: dict[str, Any]) -> None:
    """Log points, one a step, and print what it took."""
    import mlops_nb
    from mlops_nb.tracking import session

    told = _Told()
    logging.getLogger("mlops_nb").addHandler(told)
    run = mlops_nb.start_run(settings["name"]) if settings["track"] else None
    values = values_of(settings["seed"])
    pause, errors, costs = settings["pause"], 0, []
    print("ready", flush=True)
    began = time.monotonic()
    for step in range(settings["points"]):
        value = next(values)
        before = time.perf_counter()
        if run is not None:
            try:
                run.log_metric("m", value, step)
            except Exception:
                errors += 1
        costs.append(time.perf_counter() - before)
        if pause:
            time.sleep(pause)
    ended = time.monotonic()
    print("logged", flush=True)
    if settings["deliver"]:
        while not session.current.flush(1) and time.monotonic() < ended + settings["deliver"]:
            time.sleep(0.05)
    delivered = time.monotonic()
    if run is not None:
        run.stop()
    logging_seconds = sum(costs)
    costs.sort()
    answer = {
        "run_id": "" if run is None else run.run_id,
        "seconds": ended - began,
        "logging": logging_seconds,
        "delivery": delivered - ended,
        "stop": time.monotonic() - delivered,
        "errors": errors,
        "warnings": told.texts,
        "warned_at": told.at,
        "p50": costs[len(costs) // 2],
        "p999": costs[int(len(costs) * 0.999)],
        "ended": time.monotonic(),
    }
    print(json.dumps(answer), flush=True)


class Training:
    """The loop as a process.

    Args:
        project: The folder where it runs.
        uri: Of the server; None for the project's own store.
        deliver: How long it waits after the loop until all is in the store (s).
    """

    def __init__(
        self,
        project: Path,
        uri: str | None,
        token: str,
        *,
        points: int,
        pause: float = 0.0,
        seed: int = 1,
        track: bool = True,
        deliver: float = 0.0,
        name: str = "trained",
    ) -> None:
        settings = {"name": name, "points": points, "seed": seed, "pause": pause, "track": track, "deliver": deliver}
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("MLOPS_NB_TRACKING", "MLFLOW_", "JPY_"))}
        self.environment = {**kept, "PYTHONPATH": f"{ROOT}:{ROOT}/server_ext", "MLOPS_NB_TRACKING_TOKEN": token}
        if uri is not None:
            self.environment["MLOPS_NB_TRACKING_URI"] = uri
        self._project = project
        command = [sys.executable, "-m", "tests.tracking.faults.training", json.dumps(settings)]
        self._complaints = project / "complaints"
        with self._complaints.open("wb") as complaints:
            self._process = subprocess.Popen(
                command, cwd=project, env=self.environment, stdout=subprocess.PIPE, stderr=complaints, text=True
            )
        self._said: list[str] = []
        self._ended = 0.0
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._news:
                self._said.append(line.strip())
                self._news.notify_all()
        self._process.wait()
        self._ended = time.monotonic()

    def wait_for(self, word: str) -> None:
        """Wait until the loop begins (`ready`) or is over (`logged`)."""
        with self._news:
            assert self._news.wait_for(lambda: word in self._said, 150), f"it never was {word}"

    def result(self, timeout: float = 150) -> dict[str, Any]:
        """Wait for its end and return what it said, and as `exit` how long the run's and the process's end took (s)."""
        self._reader.join(timeout)
        assert self._process.poll() == 0, self._complaints.read_text()
        answer: dict[str, Any] = json.loads(self._said[-1])
        answer["exit"] = answer["stop"] + self._ended - answer["ended"]
        return answer

    def sync(self) -> str:
        """Send what is left, as a person would."""
        command = [sys.executable, "-m", "mlops_nb.cli", "sync"]
        return subprocess.run(command, cwd=self._project, env=self.environment, capture_output=True, text=True, check=True).stdout


@dataclass
class Verdict:
    lost: int = 0
    dup: int = 0
    altered: int = 0

    @property
    def counts(self) -> tuple[int, int, int]:
        return self.lost, self.dup, self.altered


def judge(store: TrackingStore, run_id: str, points: int, seed: int) -> Verdict:
    """Compare what a loop logged with what the store has, bit by bit."""
    there: Counter[tuple[int, int]] = Counter()
    token = None
    while True:
        page = store.metric_history(run_id, "m", max_results=20_000, page_token=token)
        there.update((point.step, _bits(point.value)) for point in page.items)
        token = page.token
        if token is None:
            break
    values = values_of(seed)
    must = {(step, _bits(next(values))) for step in range(points)}
    steps = {step for step, _ in there}
    return Verdict(
        lost=sum(step not in steps for step, _ in must),
        dup=sum(there.values()) - len(there),
        altered=len(there.keys() - must),
    )


def _bits(value: float) -> int:
    return int(struct.unpack("<q", struct.pack("<d", value))[0])


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
