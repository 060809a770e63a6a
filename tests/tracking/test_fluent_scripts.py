"""The usual scripts of MLflow's tutorials, run with MLflow and with `import mlops_nb as mlflow`: the same is stored."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = Path(__file__).parent / "mlflow_scripts"
EXPERIMENTS = {
    "quickstart": "MLflow Quickstart",
    "elasticnet_wine": "wine",
    "nested_search": "hyperparameter search",
    "artifacts": "artifacts",
    "pictures": "pictures",
    "search_runs": "searched",
    "resume": "resumed",
    "children": "children",
    "exceptions": "exceptions",
    "training_loop": "training loop",
}


def run_all(library: str, folder: Path) -> dict[str, Any]:
    (folder / "pyproject.toml").touch()
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "MLOPS_NB_", "JPY_"))}
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "GIT_PYTHON_REFRESH": "quiet", "MPLBACKEND": "Agg", "DO_NOT_TRACK": "true"}
    environment = {**kept, **quiet, "HOME": str(folder), "JUPYTER_RUNTIME_DIR": str(folder / "runtime"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / "__main__.py"), library, str(folder)], env=environment, capture_output=True, text=True, timeout=170
    )
    assert done.returncode == 0, done.stderr[-3000:]
    answer: dict[str, Any] = json.loads((folder / f"{library}.json").read_text())
    return answer


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    theirs = run_all("mlflow", tmp_path_factory.mktemp("mlflow"))
    return theirs, run_all("mlops_nb", tmp_path_factory.mktemp("mlops_nb"))


def test_every_script_is_here() -> None:
    assert {path.stem for path in SCRIPTS.glob("[a-z]*.py")} == set(EXPERIMENTS)


@pytest.mark.slow
@pytest.mark.parametrize("script", sorted(EXPERIMENTS))
def test_a_script_stores_the_same_with_both(script: str, both: tuple[dict[str, Any], dict[str, Any]]) -> None:
    theirs, ours = both
    assert f"{script}.py" not in theirs["failures"], theirs["failures"][f"{script}.py"]
    assert f"{script}.py" not in ours["failures"], ours["failures"][f"{script}.py"]
    expected, found = (library["stored"][EXPERIMENTS[script]] for library in both)
    assert found["tags"] == expected["tags"]
    assert set(found["runs"]) == set(expected["runs"])
    for name, run in expected["runs"].items():
        mine = found["runs"][name]
        # Without a step MLflow logs to step 0 again and again, and we count on.
        assert {key: with_steps(run["points"][key]) for key in run["points"]} == {
            key: with_steps(mine["points"][key]) for key in mine["points"]
        }
        for fact in ("status", "stage", "params", "tags", "models"):
            assert mine[fact] == run[fact], f"{fact} of {name}"
        assert list(mine["files"]) == list(run["files"])
        for path, content in run["files"].items():
            # MLflow writes ten digits of a table's numbers, we write all.
            assert rounded(mine["files"][path]) == rounded(content), path


def with_steps(points: list[Any]) -> list[Any]:
    # MLflow's database takes no infinity and keeps the largest number instead; ours keeps it.
    largest = {"inf": repr(sys.float_info.max)}
    return [(step if any(step for step, _ in points) else 0, largest.get(value, value)) for step, value in points]


def rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    return [rounded(each) for each in value] if isinstance(value, list) else round(value, 10) if isinstance(value, float) else value
