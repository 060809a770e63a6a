"""A model card says where the model is worse and what it has seen, as far as the run knows it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlops_nb.models.card import draft
from mlops_nb.tracking import session as sessions
from mlops_nb.tracking.session import Session
from tests.tracking.conftest import project  # noqa: F401 - a fixture

np = pytest.importorskip("numpy", reason="numpy is not installed")
pd = pytest.importorskip("pandas", reason="pandas is not installed")
linear = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")


def card(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, **kept: Any) -> str:
    """Train in a run, and return the card of its model."""
    import mlops_nb
    from mlops_nb.models import save_model

    monkeypatch.setattr(sessions, "current", Session())
    rows = pd.DataFrame({"plan": ["free|<b>"] * 100 + ["pro"] * 100, "age": np.arange(200.0)})
    truth = np.zeros(200, dtype=int)
    guess = truth.copy()
    guess[:30] = 1  # all errors are among the young with the free plan
    with mlops_nb.start_run() as run:
        if kept.get("data"):
            mlops_nb.log_data(rows, name="train")
        if kept.get("rows"):
            mlops_nb.log_predictions(truth, guess, rows=rows, name="validation")
        run.log(acc=0.85)
        run.log({"system/cpu_utilization_percentage": 97.0})
        model = linear.LogisticRegression().fit(rows[["age"]], np.arange(200) % 2)
        save_model(model, tmp_path / "model", input_example=rows[["age"]][:3], run_id=run.run_id)
    store = sessions.current.fresh_store()
    try:
        return draft(tmp_path / "model", store)
    finally:
        sessions.current.close()


def test_the_worst_slices_and_what_was_seen_are_told(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    text = card(monkeypatch, tmp_path, data=True, rows=True)
    assert "On validation the error rate is 0.15 (200 rows). Worst slices:" in text
    lines = [line for line in text.splitlines() if line.startswith(("| age", "| plan")) and " to " in line]
    assert lines[0].startswith("| age | 0 to 49.75 | 50 | 0.6 | 0.4618 to 0.7239")  # Wilson's interval of 30 in 50
    assert r"| plan | free\|&lt;b&gt; | 100 | 0.3 |" in text and "<b>" not in text
    assert "age: float64; 0.0 to 199.0; none missing" in text and "pro" in text
    assert "| acc | 0.85 |" in text and "cpu" not in text  # of the machine's load no model gets better
    assert "hold nothing that a scan knows to run code" in text


def test_what_is_not_known_is_said_to_be_so(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    text = card(monkeypatch, tmp_path)
    assert "it is not known where it is worse" in text and "Which values it has seen is not known" in text and "Worst slices" not in text


def test_slices_of_numbers_have_the_mean_error_and_bad_tables_none() -> None:
    from mlops_nb.tracking.slices import slices_of

    truth = np.linspace(0, 9.5, 100)
    rows = pd.DataFrame({"side": ["left"] * 50 + ["right"] * 50, "same": [1] * 100, "odd": [[1]] * 100, "gap": [None] * 30 + ["x"] * 70})
    found = slices_of(truth, truth + np.repeat([0.0, 2.0], 50), rows, "test", None)
    assert found is not None and found.measure == "mean absolute error" and found.overall.value == pytest.approx(1)
    assert [(one.column, one.level, one.value) for one in found.worst][:1] == [("side", "right", pytest.approx(2))]
    assert {(one.column, one.level) for one in found.worst} >= {("gap", "missing"), ("gap", "x")} and "same" not in str(found.worst)
    assert slices_of(truth, truth, np.zeros((100, 2)), "test", None) is None
    assert slices_of(truth, truth, rows[:5], "test", None) is None
