"""Repeating a run in a fresh kernel: real papermill, real kernels, the embedded store."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from mlops_nb.core.records import TAG_HYGIENE, TAG_REPRODUCES, TAG_VERIFIED, Metric, Run
from mlops_nb.core.reproduction import MetricAgreement, agreements
from mlops_nb.core.run_state import RunStatus
from mlops_nb.errors import InvalidInput
from mlops_nb.execution.checking import check_notebook, reproduce
from mlops_nb.tracking.session import Session
from tests.tracking.test_headless import execute, notebook

ROOT = Path(__file__).parent.parent.parent
STOCHASTIC = [
    ("parameters", "n = 50\nscale = 1.0"),
    (None, "%load_ext mlops_nb\nimport numpy as np"),
    (None, "np.random.seed(5)\nrng = np.random.default_rng(5)"),
    (None, "scratch = [1, 2, 3]\nopen('ran-scratch', 'a').write('x')"),
    (None, "def draw(size):\n    return rng.normal(size=size) * scale"),
    (None, "warm_up = draw(3)"),
    (None, "%track start sampled -p size=n"),
    (None, "values = draw(n)\n%track log mean=values.mean() spread=values.std() legacy=np.random.rand()"),
    (None, "import matplotlib.pyplot as plt\nplt.plot(values)\nplt.show()"),
    (None, "%track stop"),
]


@pytest.fixture
def session(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "server_ext"), os.environ.get("PYTHONPATH", "")]))
    session = Session()
    yield session
    session.close()


def recorded(session: Session, cells: list[tuple[str | None, str]], *arguments: str) -> Run:
    notebook(Path.cwd(), cells)
    execute("papermill", "--engine", "mlops_nb", "train.ipynb", "out.ipynb", *arguments)
    from mlops_nb.tracking.lookup import find_run

    return find_run(session.fresh_store(), "@last")


def test_a_seeded_run_gives_the_same_again_without_the_cells_it_does_not_need(session: Session, project: Path) -> None:
    run = recorded(session, STOCHASTIC, "-p", "n", "80")
    assert run.tags[TAG_HYGIENE] == "linear"
    assert check_notebook(run, session=session).ok
    shown = [file.path for file in session.store().list_artifacts(run.run_id, "cells", recursive=True)]
    assert [path for path in shown if "figure-" in path] == ["cells/9/figure-1.png"]
    (project / "ran-scratch").unlink()
    result = reproduce(run, session=session)
    assert result.verified is True, str(result)
    assert [metric.key for metric in result.metrics] == ["legacy", "mean", "spread"] and all(m.agrees for m in result.metrics)
    assert not (project / "ran-scratch").exists()
    store = session.fresh_store()
    assert store.get_run(run.run_id).tags[TAG_VERIFIED] == "true"
    again = store.get_run(result.again_id or "")
    assert again.tags[TAG_REPRODUCES] == run.run_id and again.params == {"size": "80", "n": "80"} and again.status is RunStatus.FINISHED
    assert "3 of 3 metrics agree" in str(result) and "sampled" in result._repr_html_()


@pytest.mark.slow
def test_a_run_that_depends_on_chance_or_fails_is_not_verified(session: Session, project: Path) -> None:
    cells: list[tuple[str | None, str]] = [
        (None, "%load_ext mlops_nb\nimport os, random"),
        (None, "%track start chance"),
        (None, "%track log same=1.5 luck=random.random()"),
        (None, "%track stop"),
    ]
    run = recorded(session, cells)
    result = reproduce("@last", session=session)
    assert result.verified is False and [metric.agrees for metric in result.metrics] == [False, True]
    assert session.fresh_store().get_run(run.run_id).tags[TAG_VERIFIED] == "false"
    assert reproduce(run, {"luck": math.inf}, session=session).verified is True
    cells[2] = (None, "assert not os.path.exists('poison')\n%track log same=1.5")
    run = recorded(session, cells)
    (project / "poison").touch()
    failed = reproduce(run, session=session)
    assert failed.verified is False and "AssertionError" in (failed.reason or "")


@pytest.mark.slow
def test_a_notebook_that_does_not_track_itself_is_repeated_too(session: Session) -> None:
    run = recorded(session, [("parameters", "lr = 0.1"), (None, "total = lr * 2\nprint(total)"), (None, "other = 1")])
    result = reproduce(run, session=session)
    assert result.reason is None and result.verified is None and "no metrics to compare" in str(result)
    again = session.fresh_store().get_run(result.again_id or "")
    assert again.params == {"lr": "0.1"} and TAG_VERIFIED not in session.store().get_run(run.run_id).tags


@pytest.mark.slow
def test_what_was_not_kept_cannot_be_repeated(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLOPS_NB_CAPTURE", "hash")
    run = recorded(session, STOCHASTIC)
    document = nbformat.read("train.ipynb", as_version=4)
    document.cells[7].source += "\n# another version"
    nbformat.write(document, "train.ipynb")
    with pytest.raises(InvalidInput, match=r"1 cell version\(s\) whose source is not known.*%track restore"):
        reproduce(run, session=session)


def test_values_agree_within_a_relative_tolerance() -> None:
    def agrees(value: float, again: float | None, tolerance: float = 1e-6) -> bool:
        return MetricAgreement(key="m", value=value, again=again, tolerance=tolerance).agrees

    assert agrees(1e9, 1e9 + 1) and not agrees(1.0, 1.00001) and agrees(1.0, 1.00001, 1e-4)
    assert agrees(0.0, 0.0) and not agrees(0.0, 1e-9) and not agrees(1.0, None) and agrees(1.0, None, math.inf)
    assert agrees(math.nan, math.nan) and agrees(math.inf, math.inf) and not agrees(math.inf, -math.inf) and not agrees(math.nan, 1.0)


def test_what_the_machine_measures_of_itself_is_not_compared() -> None:
    values = {"loss": 0.5, "system/cpu_utilization_percentage": 30.0}
    metrics = {key: Metric(key=key, value=value, timestamp=0) for key, value in values.items()}
    run = Run(run_id="a" * 32, experiment_id="0", name="r", status=RunStatus.FINISHED, start_time=0, metrics=metrics)
    assert [metric.key for metric in agreements(run, run)] == ["loss"]
