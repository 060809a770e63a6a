"""Runs in kernels that a real Jupyter server started: live in the store, and honest about how they ended."""

from __future__ import annotations

import json
import os
import re
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


_ENDINGS = {
    "os._exit(3)": "exited with status 3 without closing the run while cell [",
    "os.kill(os.getpid(), signal.SIGSEGV)": "was killed by SIGSEGV while cell [",
    "os.kill(os.getpid(), signal.SIGKILL)": "was killed by SIGKILL (memory ran out, or someone ended it; it last held ",
}


def end_and_go_on(server: Any, endings: list[tuple[Kernel, str, str]]) -> None:
    """Let kernels die while they log to a run; see what becomes of the runs, and that each kernel can be used afterwards."""
    for kernel, _, name in endings:
        assert kernel.run(f"%load_ext mlops_nb\n%track start {name}")["status"] == "ok"
    for _, _, name in endings:
        wait_for_run(server, name, lambda run: run["status"] == "RUNNING", 10)
    for kernel, how, name in endings:
        code = (
            "import os, signal, time\nside = open('side-NAME', 'w')\nfor i in range(500):\n    mlops_nb_run.log(m=i)\n"
            "    print(i, file=side, flush=True)\nHOW\ntime.sleep(60)"
        )
        kernel.run("import mlops_nb; mlops_nb_run = mlops_nb.active_run()")
        kernel.run(code.replace("NAME", name).replace("HOW", how), wait=False)
    for _, how, name in endings:
        run = wait_for_run(server, name, lambda run: run["status"] == "KILLED", 20)
        print(json.dumps({"test": how, "reason": run["reason"]}))
        assert _ENDINGS[how] in run["reason"]
        accepted = (server.project / f"side-{name}").read_text().split()
        series = server.request("GET", f"/api/v1/runs/{run['run_id']}/series").json()["series"]
        assert series[0]["total"] == len(accepted) == 500
    for kernel, _, _ in endings:
        again = Reconnected(kernel)  # the server starts another kernel in its place
        assert again.run("21 * 2")["status"] == "ok"
        again.close()


class Reconnected(Kernel):
    """The kernel that a server put in the place of one that died."""

    def __init__(self, kernel: Kernel) -> None:
        self.server, self.id = kernel.server, kernel.id
        deadline = time.monotonic() + 60
        while self.api("GET", f"kernels/{self.id}")["execution_state"] in ("restarting", "dead"):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        self.client = BlockingKernelClient(connection_file=str(self.server.home / "runtime" / f"kernel-{self.id}.json"))
        self.client.load_connection_file()
        self.client.start_channels()
        self.wait_until_ready()


def wait_for_run(server: Any, name: str, condition: Callable[[dict[str, Any]], bool], seconds: float) -> dict[str, Any]:
    """Wait until the run of a name is as wanted and return it."""
    deadline = time.monotonic() + seconds
    while True:
        runs = server.request("POST", "/api/v1/runs/search", json={"query": f"run_name = '{name}'"}).json()["runs"]
        if runs and condition(runs[0]):
            return dict(runs[0])
        assert time.monotonic() < deadline, f"after {seconds} s: {runs}"
        time.sleep(0.02)


def test_however_a_kernel_dies_its_run_says_how_and_the_next_cell_runs(server: Any) -> None:
    kernels = [Kernel(server, f"ending-{number}.ipynb") for number in range(2)]
    try:
        how = list(_ENDINGS)[:2]
        end_and_go_on(server, [(kernel, how, f"ending-{number}") for number, (kernel, how) in enumerate(zip(kernels, how, strict=True))])
    finally:
        for kernel in kernels:
            kernel.close()
            kernel.api("DELETE", f"kernels/{kernel.id}")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("how", list(_ENDINGS))
def test_twenty_dead_kernels_leave_no_notebook_that_cannot_go_on(server: Any, how: str) -> None:
    for trial in range(5):
        kernels = [Kernel(server, f"many-{number}.ipynb") for number in range(4)]
        names = [f"many-{list(_ENDINGS).index(how)}-{trial}-{number}" for number in range(4)]
        end_and_go_on(server, [(kernel, how, name) for kernel, name in zip(kernels, names, strict=True)])
        for kernel in kernels:
            kernel.close()
            kernel.api("DELETE", f"kernels/{kernel.id}")


_STARVED = """
%%track starved
import resource
size = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 200_000_000, resource.RLIM_INFINITY))
%track log before=1
hoard = []
while True:
    hoard.append(bytearray(4_000_000))
"""


def test_a_cell_that_memory_runs_out_for_fails_with_the_figure(server: Any, kernel: Kernel) -> None:
    assert kernel.run(_STARVED.lstrip())["ename"] == "MemoryError"
    run = wait_for_run(server, "starved #1", lambda run: run["status"] == "FAILED", 10)
    print(json.dumps({"test": "memory ran out", "reason": run["reason"]}))
    assert re.search(
        r"MemoryError: it held (\d+ MB|[\d.]+ GB) of the (\d+ MB|[\d.]+ GB) of address space that are allowed in cell \[", run["reason"]
    )
    assert [metric["key"] for metric in run["metrics"]] == ["before"]
    replies = (kernel.run("hoard.clear()")["status"] for _ in range(50))
    assert "ok" in replies


def test_a_kernel_that_the_system_ended_for_want_of_memory_says_so_with_the_figure(server: Any, kernel: Kernel, memory_group: Path) -> None:
    (memory_group / "cgroup.procs").write_text(str(kernel.pid()))
    kernel.run("%track start hungry\n%track log before=1")
    wait_for_run(server, "hungry", lambda run: bool(run["metrics"]), 10)
    kernel.run("import time\nhoard = []\nwhile True:\n    hoard.append(b'x' * 2_000_000); time.sleep(0.01)", wait=False)
    run = wait_for_run(server, "hungry", lambda run: run["status"] == "KILLED", 30)
    print(json.dumps({"test": "out of memory", "reason": run["reason"]}))
    assert re.search(r"was killed by SIGKILL \(memory ran out: it last held \d+ MB of 200 MB\) while cell \[", run["reason"])
    again = Reconnected(kernel)
    assert again.run("21 * 2")["status"] == "ok"
    again.close()


@pytest.mark.slow
def test_twenty_interrupts_and_twenty_restarts_leave_a_kernel_that_works(server: Any, kernel: Kernel) -> None:
    for trial in range(20):
        # Short sleeps: Python misses an interrupt that comes just before a sleep begins, until that is over.
        kernel.run(f"%%track often-{trial}\n%track log m=1\nimport time\nwhile True: time.sleep(0.05)", wait=False)
        wait_for_run(server, f"often-{trial} #1", lambda run: run["status"] == "RUNNING", 20)
        kernel.api("POST", f"kernels/{kernel.id}/interrupt")
        run = wait_for_run(server, f"often-{trial} #1", lambda run: run["status"] == "KILLED", 10)
        assert run["reason"].startswith("interrupted in cell [")
        assert "ok" in (kernel.run("1 + 1")["status"] for _ in range(50))
    for trial in range(20):
        kernel.run(f"%load_ext mlops_nb\n%track start anew-{trial}")
        wait_for_run(server, f"anew-{trial}", lambda run: run["status"] == "RUNNING", 20)
        kernel.api("POST", f"kernels/{kernel.id}/restart")
        run = wait_for_run(server, f"anew-{trial}", lambda run: run["status"] == "KILLED", 10)
        assert "shut down while the run was open" in run["reason"]
        kernel.wait_until_ready()
        assert kernel.run("1 + 1")["status"] == "ok"


@pytest.mark.slow
def test_a_server_that_is_killed_under_a_living_kernel_costs_none_of_its_points(start_jupyter: Callable[..., Any]) -> None:
    server = start_jupyter()
    kernel = Kernel(server)
    pid = kernel.pid()
    kernel.run("%load_ext mlops_nb\n%track start orphan\nimport mlops_nb, time; run = mlops_nb.active_run()")
    wait_for_run(server, "orphan", lambda run: run["status"] == "RUNNING", 10)
    kernel.run(
        "side = open('side', 'w')\nfor i in range(100_000):\n    run.log(m=i)\n    print(i, file=side, flush=True)\n    time.sleep(0.001)",
        wait=False,
    )
    wait_for(server, lambda run: bool(run["metrics"]), 10)
    server.process.kill()
    server.process.wait()
    time.sleep(3)
    lives = os.path.exists(f"/proc/{pid}") and "Z" not in Path(f"/proc/{pid}/stat").read_text().split(")")[1]
    if lives:
        os.kill(pid, signal.SIGKILL)
    accepted = len((server.project / "side").read_text().splitlines())
    again = start_jupyter(server.project, home=server.home)
    run = wait_for_run(again, "orphan", lambda run: run["status"] == "KILLED", 10)
    total = again.request("GET", f"/api/v1/runs/{run['run_id']}/series").json()["series"][0]["total"]
    print(json.dumps({"test": "server killed under a kernel", "kernel went on": lives, "accepted": accepted, "kept": total, **run}))
    assert accepted <= total <= accepted + 1 and run["reason"]
    kernel.close()


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
