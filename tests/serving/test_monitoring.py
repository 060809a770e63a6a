"""What an endpoint is asked is watched: counted in the worker, held against a reference, and nothing of a row is kept."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from mlops_nb.monitoring.bins import Reference, bins_of
from mlops_nb.serving.monitor import Monitored
from mlops_nb.serving.records import Role
from tests.serving.conftest import Host, until

COLUMNS = ["a", "b", "größe ☃", "d"]


def rows(count: int, seed: int, shift: float = 0.0) -> pd.DataFrame:
    frame = pd.DataFrame(np.random.default_rng(seed).normal(size=(count, 4)), columns=COLUMNS)
    frame["b"] += shift
    return frame


def monitor(host: Host, name: str) -> Monitored:
    async def told() -> Monitored:
        return host.supervisor.endpoint(name).monitor()

    return host.do(told())  # type: ignore[no-any-return]


def watch(host: Host, name: str, reference: Reference | None) -> None:
    host.do(host.supervisor.watch(name, reference))


def ask(host: Host, name: str, frame: pd.DataFrame, at_once: int = 10) -> None:
    for at in range(0, len(frame), at_once):
        part = frame.iloc[at : at + at_once].to_dict("split", index=False)
        assert host.ask(name, {"dataframe_split": part}).status == 200


def seen(host: Host, name: str, count: int) -> Monitored:
    def enough() -> Any:
        told = monitor(host, name)
        return told if told.drift.rows + told.drift.passed >= count else None

    return until(enough)  # type: ignore[no-any-return]


def test_requests_are_held_against_the_reference_and_a_shift_is_named(host: Host, models: Path) -> None:
    host.start("watched", models / "numbers")
    assert monitor(host, "watched").drift.verdict == "no reference" and host.info("watched").drift == "no reference"
    reference = Reference(
        source="the training data, 1,000 rows",
        inputs=bins_of(rows(1000, 0)),
        outputs=bins_of(np.array([0, 1] * 500), alone="prediction"),
    )
    watch(host, "watched", reference)
    ask(host, "watched", rows(50, 1))
    told = seen(host, "watched", 50)
    assert told.drift.verdict == "too few rows" and told.drift.rows == 50
    ask(host, "watched", rows(250, 2))
    told = seen(host, "watched", 300)
    assert told.drift.verdict == "ok" and {one.name for one in told.drift.inputs} == set(COLUMNS)
    assert told.drift.outputs[0].name == "prediction" and told.drift.outputs[0].verdict == "ok"
    assert "no class probabilities" in told.drift.accuracy_note and told.drift.accuracy is None
    ask(host, "watched", rows(300, 3, shift=2.0))
    told = seen(host, "watched", 600)
    assert told.drift.verdict == "drift" and host.info("watched").drift == "drift"
    assert told.drift.inputs[0].name == "b" and told.drift.inputs[0].verdict == "drift"
    assert {one.verdict for one in told.drift.inputs[1:]} == {"ok"}
    # Another reference begins anew, and the one of the requests themselves does not differ from them.
    watch(host, "watched", Reference(source="now", inputs=bins_of(rows(1000, 4, shift=2.0))))
    assert monitor(host, "watched").drift.rows == 0
    ask(host, "watched", rows(200, 5, shift=2.0))
    assert seen(host, "watched", 200).drift.verdict == "ok"


def test_a_worker_that_is_killed_counts_on_and_a_new_version_begins_anew(host: Host, models: Path) -> None:
    host.start("lasting", models / "numbers")
    watch(host, "lasting", Reference(source="r", inputs=bins_of(rows(1000, 0))))
    ask(host, "lasting", rows(150, 1))
    seen(host, "lasting", 150)
    os.kill(host.info("lasting").live.pids[0], signal.SIGKILL)  # type: ignore[union-attr]
    until(lambda: host.ask("lasting", {"dataframe_split": rows(1, 2).to_dict("split", index=False)}).status == 200)
    ask(host, "lasting", rows(50, 3))
    assert seen(host, "lasting", 200).drift.verdict == "ok"
    host.start("lasting", models / "other")
    told = monitor(host, "lasting").drift
    assert told.rows == 0 and told.reference == "r"


def test_each_versions_share_of_the_traffic_is_told_and_a_shadow_answers_nobody(host: Host, models: Path) -> None:
    host.start("shared", models / "numbers")
    host.start("shared", models / "other", role=Role.CANARY, share=0.5)
    ask(host, "shared", rows(200, 1), at_once=1)
    assert host.ask("shared", {"nonsense": 1}).status == 400
    told = monitor(host, "shared")
    shares = {one.role: one.requests for one in told.versions}
    assert sum(shares.values()) == 201 and 60 < shares[Role.CANARY] < 140
    assert (told.traffic.requests, told.traffic.refused, told.traffic.errors) == (201, 1, 0)
    assert told.traffic.p50 is not None and told.traffic.p99 is not None and told.traffic.p50 <= told.traffic.p99
    assert sum(told.course) == 201


def test_no_value_of_a_request_leaves_the_worker(host: Host, models: Path) -> None:
    host.start("private", models / "mixed")
    trained = pd.DataFrame({"age": np.arange(200) % 60, "plan": ["free", "pro"] * 100, "income": np.linspace(0, 1, 200)})
    watch(host, "private", Reference(source="r", inputs=bins_of(trained)))
    secret = "4242 4242 4242 4242"
    body = {"dataframe_records": [{"age": 41, "plan": secret, "income": 0.123456789}] * 150}
    assert host.ask("private", body).status == 200
    told = seen(host, "private", 150)
    plan = next(one for one in told.drift.inputs if one.name == "plan")
    assert plan.unseen == 1.0 and plan.verdict == "drift"
    text = msgspec.json.encode(told).decode() + host.logs("private")
    assert secret not in text and "0.123456789" not in text
    kept = b"".join(path.read_bytes() for path in host.supervisor._folder.rglob("*") if path.is_file() and path.suffix == ".json")
    assert secret.encode() not in kept and b'"plan"' in kept  # the record has the reference, and no request


def test_an_hour_of_floods_is_looked_at_in_part_and_probabilities_estimate_how_often_it_is_right(host: Host, tmp_path: Path) -> None:
    from tests.serving.conftest import run_python

    run_python(
        """
import numpy as np, pandas as pd
from sklearn.linear_model import LogisticRegression
from mlops_nb.models import save_model
rng = np.random.default_rng(0)
X = pd.DataFrame(rng.normal(size=(4000, 2)), columns=["x", "z"])
y = (rng.random(4000) < 1 / (1 + np.exp(-2 * X.x))).astype(int)
save_model(LogisticRegression().fit(X, y), "sure", input_example=X[:3], pyfunc_predict_fn="predict_proba")
""",
        tmp_path,
    )
    host.start("sure", tmp_path / "sure")
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(rng.normal(size=(2000, 2)), columns=["x", "z"])
    watch(host, "sure", Reference(source="r", inputs=bins_of(frame)))
    right = float(np.mean((rng.random(2000) < 1 / (1 + np.exp(-2 * frame.x))) == (frame.x > 0)))
    ask(host, "sure", frame, at_once=500)
    told = seen(host, "sure", 2000).drift
    assert 0 < told.rows < 2000 and told.passed == 2000 - told.rows
    assert told.accuracy is not None and abs(told.accuracy - right) < 0.05
    assert "calibrated" in told.accuracy_note
