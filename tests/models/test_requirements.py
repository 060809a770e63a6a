"""What a model imports when it is asked is in its requirements, also where nothing has imported it before."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlops_nb.models import inferring

pytest.importorskip("pandas", reason="pandas is not installed")
ROOT = Path(__file__).parent.parent.parent

LATE = """
import sys
from mlops_nb.models import save_model

class Base:
    def parse(self, text):
        import yaml  # when it is used
        return yaml.safe_load(text)

class Model(Base):
    def predict(self, rows):
        import importlib
        lib = importlib.import_module("tq" + "dm")  # no source says which
        return [len(str(self.parse(str(value)))) + bool(lib) for value in rows["a"]]

save_model(Model(), sys.argv[1], input_example=__import__("pandas").DataFrame({"a": ["x", "y"]}))
print(open(sys.argv[1] + "/requirements.txt").read())
"""


def saved(code: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    (folder / "make.py").write_text(code)
    return subprocess.run(
        [sys.executable, "make.py", "model"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
    )


def names(text: str) -> set[str]:
    return {line.split("==")[0].lower() for line in text.split()}


def test_packages_that_are_imported_when_the_model_is_asked_are_required(tmp_path: Path) -> None:
    done = saved(LATE, tmp_path)
    assert done.returncode == 0, done.stderr
    assert {"pyyaml", "tqdm", "pandas", "numpy"} <= names(done.stdout), done.stdout
    assert names(done.stdout) <= {"pyyaml", "tqdm", "pandas", "numpy", "mlflow"}, done.stdout  # and nothing else


def test_a_model_that_is_not_done_in_time_keeps_what_its_source_says(tmp_path: Path) -> None:
    slow = LATE.replace("import importlib\n", "import importlib, os, time\n        if os.getcwd() != HERE: time.sleep(600)\n")
    slow = slow.replace("class Base:", "import os\nHERE = os.getcwd()\n\nclass Base:", 1)
    began = time.monotonic()
    done = saved(slow, tmp_path, **{inferring.SECONDS_VARIABLE: "6"})
    assert done.returncode == 0 and time.monotonic() - began < 60, done.stderr
    assert "may lack packages" in done.stderr and "not done after 6 s" in done.stderr
    assert "pyyaml" in names(done.stdout) and "tqdm" not in names(done.stdout)


def test_a_package_that_comes_with_another_is_not_named_unless_it_is_asked_for() -> None:
    assert "pandas" in inferring._distributions({"pandas", "dateutil", "six"}, set())
    assert "six" not in inferring._distributions({"pandas", "dateutil", "six"}, set())
    assert "python-dateutil" in inferring._distributions({"pandas"}, {"dateutil"})


SPARING = """
import sys
from mlops_nb.models.flavors import pickling
from mlops_nb.models.loading import load_model
pickling.spare_memory()
model = load_model(sys.argv[1])
import sklearn.utils, skops.io._trusted_types as types
import numpy
answer = round(float(model.predict(numpy.array([[2.0]]))[0]), 6)
print(answer, "pytest" in sys.modules, types.SKLEARN_ESTIMATOR_TYPE_NAMES, sklearn.utils.all_estimators.__name__)
"""


def test_a_worker_does_not_import_all_of_scikit_learn_for_one_estimator(tmp_path: Path) -> None:
    linear = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    pytest.importorskip("skops", reason="skops is not installed")
    from mlops_nb.models import save_model

    save_model(linear.LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0]), tmp_path / "m", input_example=[[0.0]])
    done = subprocess.run(
        [sys.executable, "-c", SPARING, str(tmp_path / "m")], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.stdout.split() == ["4.0", "False", "[]", "all_estimators"], done.stderr
