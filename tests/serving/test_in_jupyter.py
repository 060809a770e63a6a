"""`%serve` in a notebook of a Jupyter server: from a variable to an endpoint that is proven, and what becomes of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from tests.conftest import JupyterProcess
from tests.serving.conftest import run_python, until

_SHELL = """
import os, sys, warnings; warnings.filterwarnings("ignore")
os.environ["JPY_PARENT_PID"] = "{pid}"
from IPython.testing.globalipapp import start_ipython
shell = start_ipython()
shell.run_line_magic("load_ext", "mlops_nb")
shell.run_cell('''
import numpy as np, pandas as pd
from sklearn.linear_model import LogisticRegression, LinearRegression
rng = np.random.default_rng(0)
X = pd.DataFrame(rng.normal(size=(2500, 3)), columns=["tenure", "größe", "<b>bold</b>"])
y = (X.tenure > 0).astype(int)
model = LogisticRegression().fit(X, y)
better = LogisticRegression(C=50).fit(X, y)
''')
X, model = shell.user_ns["X"], shell.user_ns["model"]
def cell(text):
    done = shell.run_cell(text)
    if done.error_in_exec is not None:
        print("ERROR", type(done.error_in_exec).__name__, done.error_in_exec)
    elif done.result is not None:
        data, _ = shell.display_formatter.format(done.result)
        print(data.get("text/plain"))
    return done.result
"""


class Notebook:
    """Runs cells in a process that looks like a kernel of the server."""

    def __init__(self, server: JupyterProcess) -> None:
        self.server = server

    def run(self, code: str) -> str:
        kept = {name: value for name, value in self.server.environment().items() if name in ("HOME", "JUPYTER_RUNTIME_DIR")}
        return run_python(
            _SHELL.replace("{pid}", str(self.server.process.pid)) + code, self.server.project, IPYTHONDIR=str(self.server.home), **kept
        )


@pytest.fixture(scope="module")
def notebook(jupyter: JupyterProcess) -> Notebook:
    """A notebook that has served its model as `churn`."""
    book = Notebook(jupyter)
    out = book.run("""
ep = cell("%serve model --name churn --example X --timeout 20s")
print("URL", ep.url)
print("PREDICTS", ep.predict(X[:4]).tolist() == model.predict(X[:4]).tolist(), repr(ep))
data, _ = shell.display_formatter.format(ep)
print("HTML", len(data["text/html"]), "<script" in data["text/html"], "<b>bold</b>" in data["text/html"])
cell("%serve ls")
cell("%serve code churn curl")
cell("%serve test churn X[:2]")
cell("%serve parity churn X[:100]")
cell("%serve load churn X[:1] --rps 20 --for 1s")
shell.run_cell_magic("serve", "test churn", '{"dataframe_records": [{"tenure": 1, "größe": 2, "<b>bold</b>": 3}]}')
shell.run_cell_magic("serve", "test churn", '{')
cell("%serve monitor churn")
""")
    book.first = out  # type: ignore[attr-defined]
    return book


def test_a_variable_becomes_an_endpoint_whose_answers_are_proven(notebook: Notebook) -> None:
    out = notebook.first  # type: ignore[attr-defined]
    assert "◉ churn v1 ready at /user/me/mlops/serve/churn · schema 3 columns · parity 2,500/2,500 rows equal · stops in" in out, out
    assert "PREDICTS True Endpoint('churn'" in out
    size, has_script, has_markup = out.partition("HTML ")[2].split()[:3]
    assert int(size) < 20_000 and (has_script, has_markup) == ("False", "False")
    assert "curl http://127.0.0.1" in out and "$JUPYTER_TOKEN" in out and notebook.server.local_token not in out
    assert "parity 100/100 rows equal" in out or "has no model of the endpoint" in out
    assert "20 requests in" in out and "no errors" in out
    assert '{"predictions":[1]}' in out and "✗ HTTP 400" in out
    assert "requests in the last minute" in out


def test_only_who_is_logged_in_reaches_a_model_and_nothing_of_it_runs_as_a_page(notebook: Notebook) -> None:
    server = notebook.server
    body = {"dataframe_records": [{"tenure": 1, "größe": 2, "<b>bold</b>": 3}]}
    answer = server.request("POST", "/serve/churn/invocations", json=body)
    assert (answer.status_code, answer.json()) == (200, {"predictions": [1]})
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert server.request("POST", "/serve/churn/invocations", json=body, token=None).status_code == 403
    assert server.request("POST", "/serve/churn/invocations", json=body, token="wrong").status_code == 403
    assert server.request("GET", "/serve/churn/ping", token=None).status_code == 403
    for path in ("/serve/nope/ping", "/serve/..%2f/ping", "/serve/a%00b/ping", "/serve//ping"):
        assert server.request("GET", path).status_code == 404
    page = server.request("GET", "/serve/churn/")
    assert (
        page.headers["Content-Type"].startswith("text/html")
        and "&lt;b&gt;bold" in page.text
        and "sandbox" in page.headers["Content-Security-Policy"]
    )
    big = server.request("POST", "/serve/churn/invocations", data=b" " * (40 << 20), headers={"Content-Type": "application/json"})
    assert big.status_code == 413


def test_it_is_a_version_in_the_registry_and_an_alias_serves_it_again(notebook: Notebook) -> None:
    out = notebook.run("""
cell("%serve better --name churn --example X[:50] --canary 10%")
cell("%serve promote churn --to prod")
cell("%serve churn@prod --name again --ttl 10m")
cell("%serve rollback churn")
cell("%serve stop again")
""")
    assert "ERROR" not in out, out
    assert "canary v2 ready · 10% of the requests" in out and "◉ churn v2 ready" in out
    assert "◉ again v2 ready" in out and "■ again is stopped." in out
    version = notebook.server.request("GET", "/api/2.0/mlflow/registered-models/alias?name=churn&alias=prod").json()
    assert version["model_version"]["version"] == "2"
    info = notebook.server.request("GET", "/api/v1/endpoints/churn").json()["endpoint"]
    assert (info["live"]["label"], info["canary"]) == ("1", None)


def test_what_answers_otherwise_than_the_variable_does_not_stay(notebook: Notebook) -> None:
    out = notebook.run("""
kind = type(model)
right = kind.predict
kind.predict = lambda self, rows: 1 - right(self, rows)  # in this process alone
cell("%serve model --name liar --example X[:20]")
cell("%serve ls")
cell("%serve model --name liar --example X[:20] --no-parity")
cell("%serve stop liar")
""")
    assert "does not answer what the variable answers: parity 0/20 rows equal; different: 0, 1, 2" in out, out
    assert "row 0: notebook" in out and "It has been ended." in out
    assert "◉ liar" in out.partition("--no-parity")[2]


def test_mistakes_are_one_line_with_the_next_step(notebook: Notebook) -> None:
    out = notebook.run("""
cell("del X")
cell("%serve model")
cell("%serve lgos churn")
cell("%serve logs chrun")
cell("%serve stop churn extra")
cell("%serve model --ttl soon --example y")
cell("%serve @best:nothing")
cell("%serve models:/none/1")
cell("%serve 'a/b@c' --name ../x")
cell("%serve churn@prod --canary 200%")
cell("%serve load churn --rps 1e9")
print(shell.run_line_magic("mlops", "serve ls"))
""")
    for said in (
        "`model` needs an example row to infer its schema. Try `%serve model --example X_val[:3]`.",
        "no sub-command 'lgos'. Did you mean 'logs'?",
        "There is no endpoint 'chrun'. Did you mean 'churn'?",
        "unrecognized arguments: extra",
        "'soon' is no duration.",
        "'200%' is no share of the requests.",
        "at most 2,000 requests a second",
    ):
        assert said in out, (said, out)
    assert "Traceback" not in out


def test_endpoints_outlive_kernels_and_a_server_that_starts_again_brings_them_back(
    notebook: Notebook, start_jupyter: Callable[..., JupyterProcess]
) -> None:
    server = notebook.server
    info = server.request("GET", "/api/v1/endpoints/churn").json()["endpoint"]
    worker = psutil.Process(info["live"]["pids"][0])
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait()
    until(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE, 10)
    again = start_jupyter(server.project, home=server.home)
    body = {"dataframe_records": [{"tenure": 1, "größe": 2, "<b>bold</b>": 3}]}

    def answers() -> Any:
        answer = again.request("POST", "/serve/churn/invocations", json=body)
        assert answer.status_code in (200, 503), answer.text
        return answer.status_code == 200

    until(answers, 90)
    assert again.request("DELETE", "/api/v1/endpoints/churn").status_code == 200
    assert again.request("GET", "/serve/churn/ping").status_code == 404
    assert not list((server.project / ".mlops" / "serving" / "endpoints").iterdir())
    assert not list((server.project / ".mlops" / "serving" / "models").iterdir())


def test_the_command_line_serves_by_itself_until_it_is_told_to_end(models: Path, tmp_path: Path) -> None:
    import subprocess
    import sys

    from tests.serving.conftest import ROOT

    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}", "MLOPS_NB_SERVE_TOKEN": "secret"}
    command = [
        sys.executable,
        "-m",
        "mlops_nb.cli",
        "models",
        "serve",
        "-m",
        str(models / "numbers"),
        "-p",
        "0",
        "-t",
        "30",
        "--env-manager",
        "local",
    ]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = server.stdout.readline().split()[-1]
        try:
            body = {"dataframe_split": {"columns": ["a", "b", "größe ☃", "d"], "data": [[1, 1, 1, 1]]}}
            assert requests.post(f"{url}/invocations", json=body, timeout=30).status_code == 401
            answer = requests.post(f"{url}/invocations", json=body, headers={"Authorization": "Bearer secret"}, timeout=30)
            assert (answer.status_code, answer.json()) == (200, {"predictions": [1]})
            assert requests.get(f"{url}/ping", timeout=30).status_code == 200
        finally:
            server.send_signal(signal.SIGTERM)
        assert server.wait(40) == 0
