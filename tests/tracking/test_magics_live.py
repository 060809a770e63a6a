"""The live card of `%%track`: what it sends while the cell runs, what it costs, and what stays."""

from __future__ import annotations

import itertools
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from mlops_nb.magics.live import MAX_METRICS, PERIOD, LiveCard, Progress, Trace, card_bundle
from mlops_nb.tracking.run import ActiveRun
from mlops_nb.tracking.session import Session

Shown = list[tuple[dict[str, str], str, bool, float]]


@pytest.fixture
def session(project: Path) -> Iterator[Session]:
    session = Session()
    yield session
    for run in reversed(list(session.runs)):
        run.stop()
    session.close()


@pytest.fixture
def shown() -> Shown:
    return []


@pytest.fixture
def publish(shown: Shown) -> Callable[[dict[str, str], str, bool], None]:
    return lambda bundle, identity, update: shown.append((bundle, identity, update, time.monotonic()))


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_card_redraws_at_most_twice_a_second_and_ends_with_the_run(
    session: Session, shown: Shown, publish: Callable[[dict[str, str], str, bool], None]
) -> None:
    run = session.start("lively", params={"lr": 0.1})
    card = LiveCard(run, publish, with_button=True)
    card.show()
    assert [(update, "<button" in bundle["text/html"]) for bundle, _, update, _ in shown] == [(False, False), (False, True)]
    logged = 0
    while len(shown) < 5:
        run.log(loss=1 / (logged + 1))
        logged += 1
        time.sleep(0.001)
    times = [when for _, _, update, when in shown if update]
    assert all(later - earlier >= PERIOD * 0.9 for earlier, later in itertools.pairwise(times))
    assert {identity for _, identity, _, _ in shown} == {identity for _, identity, update, _ in shown if not update}
    run.stop("FAILED", "ValueError: <b>bad</b>")
    card.finish()
    wait_for(lambda: not any(thread.name == "mlops_nb-card" for thread in threading.enumerate()))
    last, foot = shown[-2][0], shown[-1][0]
    assert "FAILED" in last["text/html"] and "&lt;b&gt;bad" in last["text/html"] and "FAILED" in last["text/plain"]
    assert "<svg" in last["text/html"] and "<button" not in foot["text/html"] and run.on_point is None
    count = len(shown)
    time.sleep(PERIOD * 1.5)
    assert len(shown) == count
    for bundle, *_ in shown:
        assert "<script" not in bundle["text/html"] and "onclick" not in bundle["text/html"] and len(bundle["text/html"]) < 10_000


def test_a_card_of_a_run_with_very_much_in_it_stays_small(session: Session) -> None:
    run = session.start("n" * 250, experiment="e" * 400, params={f"p{i}{'x' * 200}": "v" * 500 for i in range(100)})
    run.log({f"metric_{i}/{'m' * 200}": float(i) for i in range(50)})
    courses = {key: [float(j % 7) for j in range(240)] for key in run.latest}
    html = card_bundle(run, courses)["text/html"]
    assert len(html) < 20_000 and html.count("<svg") == MAX_METRICS and "and 44 more" in html and "and 88 more" in html


def test_a_trace_keeps_the_course_of_many_points_in_few() -> None:
    trace = Trace()
    for i in range(100_000):
        trace.add(float(i))
    assert len(trace.values) <= 240 and trace.values[0] == 0.0 and trace.values[-1] > 98_000
    steps = {later - earlier for earlier, later in itertools.pairwise(trace.values)}
    assert len(steps) == 1


def test_a_card_costs_less_than_a_hundredth_of_a_core(session: Session, publish: Callable[[dict[str, str], str, bool], None]) -> None:
    run = session.start("cheap", params={f"p{i}": i for i in range(10)})
    card = LiveCard(run, publish, with_button=True)
    for i in range(2000):
        run.log({f"m{j}": float((i * j) % 13) for j in range(8)})
    card._bundle()
    began = time.thread_time()
    for _ in range(100):
        card._redraw()
    drawn = (time.thread_time() - began) / 100
    noted = min(_cost_of_points(card) for _ in range(5))
    share = drawn / PERIOD + noted * 10_000
    print(
        {
            "test": "live card",
            "redraw_ms": round(drawn * 1000, 3),
            "point_us": round(noted * 1e6, 3),
            "share_at_10k_points_s": round(share, 5),
        }
    )
    assert drawn / PERIOD < 0.01


def _cost_of_points(card: LiveCard) -> float:
    began = time.perf_counter()
    for i in range(20_000):
        card._on_point("loss", 1.0, i)
    return (time.perf_counter() - began) / 20_000


def test_a_display_that_fails_is_not_seen(session: Session, caplog: pytest.LogCaptureFixture) -> None:
    calls: list[bool] = []

    def publish(_bundle: dict[str, str], _identity: str, update: bool) -> None:
        calls.append(update)
        if update:
            raise OSError("the channel is gone")

    run: ActiveRun = session.start("unseen")
    card = LiveCard(run, publish, with_button=False)
    card.show()
    wait_for(lambda: True in calls)
    run.log(m=1.0)
    run.stop()
    card.finish()
    assert "gone" not in caplog.text


def execute(project: Path, *cells: str) -> list[Any]:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    place = {"metadata": {"path": str(project)}}
    NotebookClient(notebook, timeout=60, kernel_name="python3", allow_errors=True, resources=place).execute()
    return [cell.outputs for cell in notebook.cells]


LOOP = "%%track looped -p lr=0.1\nimport time\nfor i in range(12):\n    %track log loss=1/(i+1)\n    time.sleep(.1)\n'value'"


def test_in_a_kernel_that_is_looked_at_the_card_stays_as_it_ended(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JPY_SESSION_NAME", str(project / "live.ipynb"))
    outputs = execute(project, "%load_ext mlops_nb", LOOP, "%%track broken\n1 / 0", "%%track quiet\npass")
    ran, failed, quiet = outputs[1:]
    assert [output.output_type for output in ran] == ["display_data", "display_data", "execute_result"]
    card = ran[0].data["text/html"]
    assert "looped #1" in card and "finished" in card and "<svg" in card and "lr <b>0.1</b>" in card
    assert ran[2].data["text/plain"] == "'value'"
    assert [output.output_type for output in failed].count("error") == 1 and "FAILED" in failed[0].data["text/html"]
    assert "ZeroDivisionError: division by zero" in failed[0].data["text/html"]
    assert "finished" in quiet[0].data["text/html"]
    for output in (*ran[:2], *failed[:2], *quiet):
        assert not re.search("<script|<button|commandlinker", output.data["text/html"]) and len(output.data["text/html"]) < 10_000


def test_headless_there_is_one_card_at_the_end(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    ran, failed = execute(project, "%load_ext mlops_nb", LOOP, "%%track broken\n1 / 0")[1:]
    cards = [output for output in ran if output.output_type == "display_data"]
    assert len(cards) == 1 and "looped #1 finished" in cards[0].data["text/plain"]
    assert sum(output.output_type == "error" for output in failed) == 1
    assert any("broken #1 failed" in output.data["text/plain"] for output in failed if output.output_type == "display_data")


def test_the_time_that_is_left_follows_from_a_param_and_the_steps(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    run = session.start("epochs", params={"train/epochs": 10, "lr": 3})
    progress = Progress(run)
    elapsed = [1000]
    monkeypatch.setattr(ActiveRun, "elapsed_ms", property(lambda _run: elapsed[-1]))
    progress.add("system/cpu", 99)
    progress.add("loss", 0)
    assert progress.remaining_ms() is None
    elapsed.append(4000)
    progress.add("loss", 3)
    assert progress.remaining_ms() == 6000.0
    progress.add("loss", 10)  # more steps than it said: nobody knows
    assert progress.remaining_ms() is None


@pytest.mark.parametrize("params", [{}, {"epochs": "many"}, {"epochs": 0}, {"epochs": -3}, {"warmup_epochs_share": 3}])
def test_without_a_number_of_steps_nothing_is_said_of_the_time_left(session: Session, params: dict[str, Any]) -> None:
    progress = Progress(session.start("r", params=params))
    for step in range(3):
        progress.add("loss", step)
    assert progress.remaining_ms() is None


def test_a_clock_that_is_set_back_takes_no_time_off_a_card(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    run = session.start("back in time")
    earlier = time.time_ns() - 3_600_000_000_000
    monkeypatch.setattr(time, "time_ns", lambda: earlier)
    assert 0 <= run.elapsed_ms < 60_000
    assert "-" not in card_bundle(run, {})["text/plain"].replace(run.name, "")
