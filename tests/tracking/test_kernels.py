"""Runs in kernels that a real Jupyter server started: live in the store, and honest about how they ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from jupyter_client.blocking.client import BlockingKernelClient

TOKEN = "the-servers-token"
# The promise is 2 s where the server owns the kernel.
PROMISE_SECONDS = 2.0


class Kernel:
    """A notebook session on a server, driven over the kernel's own channels."""

    def __init__(self, server: Any, notebook: str = "work.ipynb") -> None:
        self.server = server
        (server.project / notebook).write_text(json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
        body = {"path": notebook, "name": notebook, "type": "notebook", "kernel": {"name": "python3"}}
        self.id = self.api("POST", "sessions", json=body)["kernel"]["id"]
        connection = server.home / "runtime" / f"kernel-{self.id}.json"
        self.client = BlockingKernelClient(connection_file=str(connection))
        self.client.load_connection_file()
        self.client.start_channels()
        self.wait_until_ready()

    def api(self, method: str, path: str, **kwargs: Any) -> Any:
        answer = requests.request(method, f"{self.server.url}api/{path}", headers={"Authorization": f"token {TOKEN}"}, timeout=60, **kwargs)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def run(self, code: str, *, wait: bool = True) -> dict[str, Any]:
        message = self.client.execute(code)
        if not wait:
            return {}
        while True:
            reply = self.client.get_shell_msg(timeout=60)
            if reply["parent_header"].get("msg_id") == message:
                return dict(reply["content"])

    def wait_until_ready(self) -> None:
        """Wait for the kernel; on a busy machine a beat of its heart comes late, which the client takes for death."""
        deadline = time.monotonic() + 60
        while True:
            try:
                return self.client.wait_for_ready(timeout=60)
            except RuntimeError:
                if time.monotonic() > deadline:
                    raise

    def pid(self) -> int:
        self.run("import os; open('pid', 'w').write(str(os.getpid()))")
        return int((self.server.project / "pid").read_text())

    def close(self) -> None:
        self.client.stop_channels()


@pytest.fixture(scope="module")
def server(start_jupyter: Callable[..., Any]) -> Any:
    return start_jupyter()


@pytest.fixture
def kernel(server: Any) -> Iterator[Kernel]:
    kernel = Kernel(server)
    assert kernel.run("%load_ext mlops_nb")["status"] == "ok"
    yield kernel
    kernel.close()
    requests.delete(f"{server.url}api/kernels/{kernel.id}", headers={"Authorization": f"token {TOKEN}"}, timeout=60)


def newest(server: Any) -> dict[str, Any]:
    runs = server.request("POST", "/api/v1/runs/search", json={"max_results": 1}).json()["runs"]
    return dict(runs[0]) if runs else {}


def wait_for(server: Any, condition: Callable[[dict[str, Any]], bool], seconds: float) -> tuple[dict[str, Any], float]:
    """Wait until the newest run is as wanted; return it and how long that took."""
    began = time.monotonic()
    while True:
        run = newest(server)
        took = time.monotonic() - began
        if run and condition(run):
            return run, took
        assert took < seconds, f"after {took:.1f} s: {run}"
        time.sleep(0.02)


def status_of(name: str, status: str) -> Callable[[dict[str, Any]], bool]:
    return lambda run: run["name"] == name and run["status"] == status


def test_what_a_cell_logs_is_on_the_server_within_a_second(server: Any, kernel: Kernel) -> None:
    kernel.run("%track start live -e demo -p lr=0.1")
    wait_for(server, status_of("live", "RUNNING"), 10)  # the first delivery imports the client
    kernel.run("%track log acc=0.5 --step 3")
    run, took = wait_for(server, lambda run: any(m["key"] == "acc" and m["step"] == 3 for m in run["metrics"]), 1.0)
    print(json.dumps({"test": "visible after %track log", "seconds": round(took, 3)}))
    assert run["params"] == {"lr": "0.1"} and run["tags"]["mlops.notebook"] == "work.ipynb"
    kernel.run("%track stop")
    wait_for(server, status_of("live", "FINISHED"), PROMISE_SECONDS)


def test_a_killed_kernel_ends_its_run_within_two_seconds_with_the_reason(server: Any, kernel: Kernel) -> None:
    pid = kernel.pid()
    kernel.run("%track start victim")
    wait_for(server, status_of("victim", "RUNNING"), 10)
    kernel.run("%track log loss=0.25\nimport time; time.sleep(60)", wait=False)
    wait_for(server, lambda run: bool(run["metrics"]), 10)
    os.kill(pid, signal.SIGKILL)
    run, took = wait_for(server, status_of("victim", "KILLED"), PROMISE_SECONDS)
    print(json.dumps({"test": "kill -9 of a kernel", "seconds": round(took, 3), "reason": run["reason"]}))
    assert f"process {pid} was killed by SIGKILL" in run["reason"] and "while cell [" in run["reason"]
    assert run["end_time"] >= run["start_time"] and run["metrics"][0]["value"] == 0.25
    cells = server.request("GET", f"/api/v1/runs/{run['run_id']}/cells").json()["cells"]
    assert cells[-1]["outcome"] == "interrupted"


def test_a_restarted_kernel_ends_its_run_and_can_start_another(server: Any, kernel: Kernel) -> None:
    kernel.run("%track start before")
    wait_for(server, status_of("before", "RUNNING"), 10)
    kernel.api("POST", f"kernels/{kernel.id}/restart")
    run, _ = wait_for(server, status_of("before", "KILLED"), PROMISE_SECONDS)
    assert "shut down while the run was open" in run["reason"]
    kernel.wait_until_ready()
    assert kernel.run("%load_ext mlops_nb\n%track start after\n%track stop")["status"] == "ok"
    wait_for(server, status_of("after", "FINISHED"), 10)


def test_an_exception_in_a_track_cell_fails_the_run_and_the_cell(server: Any, kernel: Kernel) -> None:
    reply = kernel.run("%%track broken\n%track log m=1\nraise ValueError('no <good>')")
    assert (reply["status"], reply["ename"]) == ("error", "ValueError")
    run, _ = wait_for(server, status_of("broken #1", "FAILED"), PROMISE_SECONDS)
    assert run["reason"].startswith("ValueError: no <good> in cell [")


def test_an_interrupt_kills_the_run_of_the_cell_and_the_kernel_goes_on(server: Any, kernel: Kernel) -> None:
    kernel.run("%%track long\n%track log m=1\nimport time; time.sleep(60)", wait=False)
    wait_for(server, status_of("long #1", "RUNNING"), 10)
    kernel.api("POST", f"kernels/{kernel.id}/interrupt")
    run, _ = wait_for(server, status_of("long #1", "KILLED"), PROMISE_SECONDS)
    assert run["reason"].startswith("interrupted in cell [")
    replies = (kernel.run("1 + 1")["status"] for _ in range(50))  # what follows an error at once is aborted by the kernel
    assert "ok" in replies


def test_a_second_kernel_records_to_the_same_store(server: Any, kernel: Kernel) -> None:
    other = Kernel(server, "other.ipynb")
    try:
        other.run("%load_ext mlops_nb")
        kernel.run("%track start one")
        other.run("%track start two")
        for k in (kernel, other):
            assert k.run("for i in range(200):\n    %track log m=i --step i")["status"] == "ok"
            k.run("%track stop")
        wait_for(server, status_of("two", "FINISHED"), 10)
        runs = server.request("POST", "/api/v1/runs/search", json={"query": "run_name in ('one', 'two')"}).json()["runs"]
        series = [server.request("GET", f"/api/v1/runs/{run['run_id']}/series").json()["series"][0]["total"] for run in runs]
        assert series == [200, 200]
    finally:
        other.close()
        kernel.api("DELETE", f"kernels/{other.id}")


@pytest.mark.parametrize("busy", [False, True])
def test_a_stopped_server_leaves_no_run_open(start_jupyter: Callable[..., Any], busy: bool) -> None:
    server = start_jupyter()
    kernel = Kernel(server)
    kernel.run("%load_ext mlops_nb\n%track start open")
    wait_for(server, status_of("open", "RUNNING"), 10)
    if busy:
        kernel.run("%track log m=1\nimport time\nwhile True:\n    try: time.sleep(60)\n    except KeyboardInterrupt: pass", wait=False)
        wait_for(server, lambda run: bool(run["metrics"]), 10)
    kernel.close()
    server.stop()
    again = start_jupyter(server.project, home=server.home)
    run, _ = wait_for(again, status_of("open", "KILLED"), PROMISE_SECONDS)
    assert run["reason"]


def test_a_killed_server_costs_no_data_and_the_next_one_has_it(start_jupyter: Callable[..., Any], tmp_path: Path) -> None:
    server = start_jupyter()
    code = "import mlops_nb, time\nrun = mlops_nb.start_run('survivor')\nfor i in range(300): run.log(m=i); time.sleep(0.01)\nrun.stop()\n"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=server.project, env=server.environment())
    wait_for(server, lambda run: bool(run["metrics"]), 20)
    server.process.kill()
    assert process.wait(60) == 0
    again = start_jupyter(server.project, home=server.home)
    run, _ = wait_for(again, status_of("survivor", "FINISHED"), 10)
    assert again.request("GET", f"/api/v1/runs/{run['run_id']}/series").json()["series"][0]["total"] == 300
