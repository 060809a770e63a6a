"""Models to serve: made once, in processes of their own, as a notebook would log them."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlops_nb.serving.forwarding import Forwarded
from mlops_nb.serving.records import EndpointInfo, StartRequest

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
coded = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["plan"]), remainder="passthrough")
pipe = make_pipeline(coded, LogisticRegression())
save_model(pipe.fit(M, (M.age > 40).astype("int64")), out + "/mixed", input_example=M[:3], name="mixed")
A = rng.normal(size=(50, 3))
save_model(LinearRegression().fit(A, A[:, 0]), out + "/tensor", input_example=A[:2], name="tensor")
"""


@pytest.fixture(scope="session", autouse=True)
def _compiled_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let workers find what the first of them compiled: an environment without compiled files costs each some seconds."""
    patch = pytest.MonkeyPatch()
    patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    if "PYTHONPYCACHEPREFIX" not in os.environ:
        patch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path_factory.getbasetemp() / "compiled"))
    yield
    patch.undo()


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
            for _ in range(40):
                self.kept.append(bytearray(b"x") * (200 << 20))
                time.sleep(0.2)
        if what == "huge": bytearray(b"x") * (50 << 30)
        if what == "fork":
            for _ in range(200): subprocess.Popen(["sleep", "300"])
            time.sleep(30)
        if what == "daemon":  # leaves its session, is left by its parent, and forgets its name
            if os.fork() == 0:
                os.setsid()
                subprocess.Popen(["sleep", "654"])
                subprocess.Popen(["env", "-i", "sleep", "654"], start_new_session=True)
                os._exit(0)
            time.sleep(0.3)
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


class Host:
    """A supervisor on an event loop of its own thread, as a Jupyter server has one."""

    def __init__(self, folder: Path) -> None:
        from mlops_nb.serving.supervisor import Supervisor

        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.supervisor = Supervisor(folder, lambda: pytest.fail("no store is needed"))  # type: ignore[arg-type,return-value]

    def do(self, work: Any, timeout: float = 120) -> Any:
        """Run something on the loop and return what it gives."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout)

    def start(self, name: str, folder: Path, *, allow_unsafe: bool = True, **request: Any) -> EndpointInfo:
        """Serve a model folder and wait until it is ready or has failed."""
        asked = StartRequest(name=name, model_uri=str(folder), allow_unsafe=allow_unsafe, **request)
        return self.do(self.supervisor.start(asked, wait=100, folder=folder))  # type: ignore[no-any-return]

    def ask(self, name: str, body: Any, kind: str = "application/json", path: str = "/invocations", method: str = "POST") -> Forwarded:
        """Send a request through the supervisor."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        endpoint = self.supervisor.endpoint(name)
        headers = [(b"content-type", kind.encode())] if kind else []
        return self.do(endpoint.send(method, path, headers, content))  # type: ignore[no-any-return]

    def info(self, name: str) -> EndpointInfo:
        async def info() -> EndpointInfo:
            return self.supervisor.endpoint(name).info()

        return self.do(info())  # type: ignore[no-any-return]

    def logs(self, name: str) -> str:
        async def logs() -> str:
            return "\n".join(self.supervisor.logs(name, 500))

        return self.do(logs())  # type: ignore[no-any-return]

    def close(self) -> None:
        self.do(self.supervisor.close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A supervisor for the tests of a module."""
    one = Host(tmp_path_factory.mktemp("serving"))
    yield one
    one.close()


def until(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    """Wait until something holds, and return it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError("It did not come about in time.")
