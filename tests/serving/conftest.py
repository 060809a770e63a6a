"""Models to serve: made once, in processes of their own, as a notebook would log them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent


def run_python(code: str, folder: Path, **environment: str) -> str:
    """Run a program in a folder with this tree, and return what it prints."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "MLOPS_NB_"))}
    path = os.pathsep.join([str(ROOT), str(ROOT / "server_ext")])
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**kept, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


_MAKE = """
import sys, warnings; warnings.filterwarnings("ignore")
import numpy as np, pandas as pd
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from mlops_nb.models import infer_signature, save_model
out = sys.argv[1] if len(sys.argv) > 1 else "."
rng = np.random.default_rng(0)
X = pd.DataFrame(rng.normal(size=(200, 4)), columns=["a", "b", "größe ☃", "d"])
y = (X.a + X.b > 0).astype("int64")
save_model(LogisticRegression().fit(X, y), out + "/numbers", input_example=X[:3], name="numbers")
save_model(LinearRegression().fit(X, X.a * 3), out + "/other", input_example=X[:3], name="other")
M = pd.DataFrame({"age": rng.integers(18, 80, 200), "plan": rng.choice(["free", "pro"], 200), "income": rng.normal(size=200)})
pipe = make_pipeline(make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["plan"]), remainder="passthrough"), LogisticRegression())
save_model(pipe.fit(M, (M.age > 40).astype("int64")), out + "/mixed", input_example=M[:3], name="mixed")
A = rng.normal(size=(50, 3))
save_model(LinearRegression().fit(A, A[:, 0]), out + "/tensor", input_example=A[:2], name="tensor")
"""


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with model folders: `numbers`, `other` (the same columns, another answer), `mixed`, `tensor`."""
    folder = tmp_path_factory.mktemp("models")
    run_python(_MAKE, folder)
    return folder


BAD_MODEL = '''
import ctypes, os, subprocess, sys, time
class Model:
    """Does what its first value says."""
    kept = []
    def predict(self, data, params=None):
        what = str(data.iloc[0, 0])
        if what == "loop":
            while True: pass
        if what == "hold":  # computes in C without letting go
            ctypes.PyDLL(None).sleep(600)
        if what == "leak":
            self.kept.append(bytearray(b"x") * (3 << 30))
        if what == "fork":
            for _ in range(200): subprocess.Popen(["sleep", "300"])
            time.sleep(30)
        if what == "flood":
            until = time.time() + 3
            while time.time() < until: sys.stdout.write("flood " * 10000 + chr(10))
        if what == "die": os._exit(7)
        if what == "raise": raise ValueError("the model says no")
        if what.startswith("sleep"): time.sleep(float(what[5:]))
        return [what] * len(data)
def _load_pyfunc(path): return Model()
'''
"""A model of Python code, as MLflow keeps one, that misbehaves on demand."""


@pytest.fixture(scope="session")
def bad_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder whose model loops, leaks, forks, floods or dies, as the row says."""
    folder = tmp_path_factory.mktemp("bad") / "model"
    (folder / "code").mkdir(parents=True)
    (folder / "code" / "bad_model.py").write_text(BAD_MODEL)
    (folder / "data").mkdir()
    signature = json.dumps([{"type": "string", "name": "what", "required": True}])
    (folder / "MLmodel").write_text(
        "flavors:\n  python_function:\n    loader_module: bad_model\n    code: code\n    data: data\n    python_version: 3.11.0\n"
        f"    env: {{}}\nsignature:\n  inputs: '{signature}'\n  outputs: null\n  params: null\nmodel_uuid: {'0' * 32}\n"
        "utc_time_created: '2026-01-01 00:00:00.000000'\nmlflow_version: 3.4.0\n"
    )
    return folder


JSON = {"Content-Type": "application/json"}
Ask = Callable[..., Any]
