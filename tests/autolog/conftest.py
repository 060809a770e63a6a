"""Trainings in a project of their own, and what the store has of them afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlops_nb.core.logged_models import LoggedModel, LoggedModelQuery, owner_of_model
from mlops_nb.core.records import TAG_PARENT, Run
from mlops_nb.errors import NotFound
from mlops_nb.store.base import RunQuery, TrackingStore
from mlops_nb.tracking import session as sessions
from mlops_nb.tracking.autolog import _guard, _options
from tests.tracking.conftest import project  # noqa: F401 - a fixture

# The installed MLflow, unmodified, in a process that knows nothing of us; one for all tests, for it takes long to start.
_SCORER = """
import json, sys, traceback, warnings
warnings.filterwarnings("ignore")
import mlflow.pyfunc, numpy, pandas
for line in sys.stdin:
    try:
        folder, data = json.loads(line)
        given = pandas.read_json(data, orient="split", precise_float=True) if data.endswith(".json") else numpy.load(data)
        model = mlflow.pyfunc.load_model(folder)
        signature = model.metadata.signature
        answer = model.predict(given)
        told = {
            "answer": answer.tolist() if hasattr(answer, "tolist") else numpy.asarray(answer).tolist(),
            "example": model.input_example is not None and len(model.input_example),
            "signature": signature and signature.to_dict(),
        }
    except Exception:
        told = {"error": traceback.format_exc()}
    print("ANSWER" + json.dumps(told), flush=True)
"""


class Scorer:
    """Loads model folders with MLflow and has them predict."""

    def __init__(self, folder: Path) -> None:
        kept = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "MLFLOW_TRACKING_URI")}
        environment = {**kept, "KERAS_BACKEND": "torch", "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
        self.log = folder / "scorer.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _SCORER],
                cwd=folder,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def ask(self, folder: Path, data: Path) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps([str(folder), str(data)]) + "\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith("ANSWER"):
                told: dict[str, Any] = json.loads(line.removeprefix("ANSWER"))
                assert "error" not in told, told["error"]
                return told
        raise AssertionError(f"MLflow's process ended:\n{self.log.read_text()[-3000:]}")

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(60)


@pytest.fixture(scope="session")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scorer]:
    pytest.importorskip("mlflow", reason="MLflow is not installed: nothing to compare with")
    scorer = Scorer(tmp_path_factory.mktemp("mlflow"))
    yield scorer
    scorer.close()


class Records:
    """What the store has."""

    def __init__(self, folder: Path, scorer: Scorer) -> None:
        self.folder = folder
        self._scorer = scorer
        self._downloads = 0

    @property
    def store(self) -> TrackingStore:
        return sessions.current.fresh_store()

    @property
    def runs(self) -> list[Run]:
        """All of them, the first one first."""
        try:
            return list(reversed(self.store.search_runs(RunQuery(max_results=200)).items))
        except NotFound:
            return []

    def only_run(self) -> Run:
        (run,) = self.runs
        return run

    def children(self, parent: Run) -> list[Run]:
        return [run for run in self.runs if run.tags.get(TAG_PARENT) == parent.run_id]

    def points(self, run: Run, key: str) -> list[tuple[int, float]]:
        return [(point.step, point.value) for point in self.store.metric_history(run.run_id, key).items]

    def files(self, run: Run) -> set[str]:
        return {file.path for file in self.store.list_artifacts(run.run_id, recursive=True)}

    def text(self, run: Run, path: str) -> str:
        return b"".join(self.store.read_artifact(run.run_id, path)).decode()

    def models(self, run: Run) -> dict[str, LoggedModel]:
        found = self.store.logged_models.search(LoggedModelQuery(experiment_ids=[run.experiment_id]))
        return {model.name: model for model in found.items if model.source_run_id == run.run_id}

    def download(self, model: LoggedModel) -> Path:
        """Put the folder of a model where MLflow can load it."""
        self._downloads += 1
        folder = self.folder / f"downloaded-{self._downloads}"
        owner = owner_of_model(model)
        for file in self.store.files.list(owner, recursive=True):
            to = folder / file.path
            to.parent.mkdir(parents=True, exist_ok=True)
            to.write_bytes(b"".join(self.store.files.read(owner, file.path)))
        return folder

    def score(self, folder: Path, data: Any) -> dict[str, Any]:
        """Have the installed MLflow load a folder and predict: the answer, rows of the input example, the signature."""
        import numpy

        given = self.folder / ("given.json" if hasattr(data, "columns") else "given.npy")
        if hasattr(data, "columns"):
            data.to_json(given, orient="split", double_precision=15)
        else:
            numpy.save(given, data)
        return self._scorer.ask(folder, given)


@pytest.fixture
def records(project: Path, tmp_path: Path, scorer: Scorer) -> Iterator[Records]:  # noqa: F811 - the fixture
    """An empty store; autolog is off again afterwards, and no run is open."""
    sessions.current._shipper = None  # of the project of the test before
    yield Records(tmp_path, scorer)
    _options.enabled.clear()
    _guard._warned.clear()
    for run in reversed(list(sessions.current.runs)):
        run.stop()


@pytest.fixture
def table() -> Any:
    """200 rows of six numbers, and classes 0 and 1."""
    pandas = pytest.importorskip("pandas", reason="tables need pandas")
    datasets = pytest.importorskip("sklearn.datasets", reason="the data come from scikit-learn")
    features, target = datasets.make_classification(200, 6, random_state=0)
    return pandas.DataFrame(features, columns=[f"f{i}" for i in range(6)]), target
