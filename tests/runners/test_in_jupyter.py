"""`%runner` in a notebook of a Jupyter server: the server launches a runner on this machine, which executes what it is given, and ends."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import nbformat
import pytest

from tests.conftest import JupyterProcess
from tests.serving.conftest import run_python

_SHELL = """
import os
os.environ["JPY_PARENT_PID"] = "{pid}"
from IPython.testing.globalipapp import start_ipython
shell = start_ipython()
shell.run_line_magic("load_ext", "mlops_nb")
def cell(source):
    result = shell.run_cell(source)
    error = result.error_before_exec or result.error_in_exec
    if error is not None: print("ERROR", type(error).__name__, error)
    elif result.result is not None: print(shell.display_formatter.format(result.result)[0].get("text/plain"))
    return result.result
"""


def train(jupyter: JupyterProcess) -> None:
    cells = [
        nbformat.v4.new_code_cell("depth = 2", metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell("import helper\n%load_ext mlops_nb"),
        nbformat.v4.new_code_cell("for step in range(20):\n    %track log loss=helper.loss(depth, step)"),
        nbformat.v4.new_code_cell("print('depth was', depth)"),
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    book = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(book, jupyter.project / "train.ipynb")
    (jupyter.project / "helper.py").write_text("def loss(depth, step):\n    return 1 / (1 + depth * step)\n")


@pytest.fixture(scope="module")
def out(jupyter: JupyterProcess) -> Iterator[str]:
    """What a notebook prints that does all of it."""
    train(jupyter)
    kept = {name: value for name, value in jupyter.environment().items() if name in ("HOME", "JUPYTER_RUNTIME_DIR")}
    kept["XDG_STATE_HOME"] = str(jupyter.home / "state")
    code = """
print("== none"); cell("%runner")
print("== where"); cell("%runner launch")
print("== dry"); cell("%runner launch --on local --dry")
print("== launch"); handle = cell("%runner launch here-1 --on local --idle 60s --max-hours 1 --yes")
print("== list"); cell("%runner")
print("== twice"); cell("%runner launch here-1 --on local --yes")
print("== run"); cell("%runner run train.ipynb -p depth=1+2 --on here-1")
shell.run_cell("X = list(range(5))")
print("== cell"); shell.run_cell_magic("runner", "here-1 --in X --out total", "total = sum(X) * 2")
print("TOTAL", shell.user_ns.get("total"))
print("== extend"); cell("%runner extend here-1 30m")
print("== logs"); cell("%runner logs here-1")
print("== down"); cell("%runner down here-1")
print("== after"); cell("%runner ls --all"); print(handle.info().state.value, handle.info().resources)
print("== wrong"); cell("%runner lanch"); cell("%runner stop nope"); cell("%runner extend here-1 soon")
print("== end")
"""
    yield run_python(_SHELL.replace("{pid}", str(jupyter.process.pid)) + code, jupyter.project, IPYTHONDIR=str(jupyter.home), **kept)


def part(out: str, name: str) -> str:
    return out.partition(f"== {name}\n")[2].partition("\n== ")[0]


def test_a_runner_on_this_machine_is_launched_by_the_server_and_shows_its_limits(out: str) -> None:
    assert "No runners." in part(out, "none")
    assert "where?" in part(out, "where")
    assert "Nothing has been rented." in part(out, "dry")
    assert "here-1" in part(out, "list") and "idle" in part(out, "list") and "$0.00" in part(out, "list")
    assert "ERROR AlreadyExists" in part(out, "twice")


def test_a_notebook_is_executed_there_with_its_parameters_and_modules_and_comes_back(out: str, jupyter: JupyterProcess) -> None:
    assert "ERROR" not in part(out, "run"), part(out, "run")
    back = sorted(path for path in jupyter.project.glob("*.ipynb") if path.name != "train.ipynb")
    assert back, part(out, "run")
    texts = [output.get("text", "") for path in back for one in nbformat.read(path, 4).cells for output in one.get("outputs", [])]
    assert "depth was 3\n" in texts
    runs = jupyter.request("POST", "/api/2.0/mlflow/runs/search", json={"experiment_ids": ["0", "1", "2"]}).json()["runs"]
    losses = [metric["value"] for run in runs for metric in run["data"].get("metrics", []) if metric["key"] == "loss"]
    assert losses == [pytest.approx(1 / 58)]


def test_a_cell_is_executed_there_and_its_names_come_back(out: str) -> None:
    assert "TOTAL 20" in out, part(out, "cell")


def test_it_is_extended_tells_what_it_said_and_leaves_nothing(out: str, jupyter: JupyterProcess) -> None:
    assert "1 h 2" in part(out, "extend") or "stops in" in part(out, "extend")
    assert "begins" in part(out, "logs")
    assert "■ here-1 is gone." in part(out, "down")
    assert part(out, "after").splitlines()[-1] == "gone []"
    deadline = time.monotonic() + 20
    while left := [pid for pid in _processes() if "here-1" in _command(pid) or str(jupyter.home / "state") in _command(pid)]:
        assert time.monotonic() < deadline, [_command(pid) for pid in left]
        time.sleep(0.2)


def test_what_cannot_be_says_what_to_do(out: str) -> None:
    wrong = part(out, "wrong")
    assert "Did you mean `launch`" in wrong or "launch" in wrong
    assert "There is no runner 'nope'" in wrong and "is no duration" in wrong


def _processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _command(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
