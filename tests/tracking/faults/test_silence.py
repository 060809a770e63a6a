"""Servers that nothing is heard of: no connection comes about, no answer comes, the name is not known."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.durability.figures import report

_LEAST_WAIT = 5.5
_SLOWDOWN = 0.05

# The packets to a listener whose queue is full are dropped, as by a firewall that says nothing.
_TRAINING = """
import json, os, socket, sys, time
import mlops_nb
from mlops_nb.tracking import session

def listener(queue):
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(queue)
    return listening

kept = []
if sys.argv[1] == "no name":
    address = "does-not-exist.invalid:9"
else:
    kept.append(listener(0 if sys.argv[1] == "no connection" else 100))
    address = "127.0.0.1:%d" % kept[0].getsockname()[1]
    for _ in range(3 if sys.argv[1] == "no connection" else 0):
        kept.append(socket.socket())
        kept[-1].setblocking(False)
        kept[-1].connect_ex(kept[0].getsockname())
os.environ["MLOPS_NB_TRACKING_URI"] = f"http://{address}/mlops"
run = mlops_nb.start_run("unheard")
shipper = session.current.shipper()
while not (shipper._busy.locked() or shipper._failures):
    time.sleep(0.01)
began = time.perf_counter()
forks, costs = [], []
for step in range(120):
    before = time.perf_counter()
    run.log_metric("m", float(step), step)
    costs.append(time.perf_counter() - before)
    if step % 20 == 0:  # as the workers of a loader are
        before = time.perf_counter()
        pid = os.fork()
        if pid == 0:
            run.log_metric("child", 1.0, step)
            os._exit(0)
        os.waitpid(pid, 0)
        forks.append(time.perf_counter() - before)
    time.sleep(0.01)
logged = time.perf_counter()
run.stop()
answer = {"forks": sum(forks), "logging": sum(costs), "loop": logged - began, "stop": time.perf_counter() - logged, "run_id": run.run_id}
print(json.dumps(answer))
"""


def test_a_server_that_nothing_is_heard_of_slows_neither_steps_nor_forks_nor_the_exit(project: Path) -> None:
    kinds = ("no connection", "no answer", "no name")
    processes = {}
    for kind in kinds:
        (project / kind).mkdir()
        (project / kind / "pyproject.toml").touch()
        command = [sys.executable, "-c", _TRAINING, kind]
        processes[kind] = subprocess.Popen(command, cwd=project / kind, stdout=subprocess.PIPE, text=True)
    for kind, process in processes.items():
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        answer = json.loads(output)
        report(f"a server that is {kind}", 120, **{key: round(answer[key], 3) for key in ("forks", "logging", "loop", "stop")})
        assert answer["logging"] / answer["loop"] < _SLOWDOWN and answer["stop"] < _LEAST_WAIT, kind
        assert answer["forks"] < 2.0, f"forks wait for a request: {kind}"
        journals = "".join(path.read_text() for path in (project / kind / ".mlops" / "journal").glob(f"{answer['run_id']}.*.jsonl"))
        assert journals.count('"key":"m"') == 120 and journals.count('"key":"child"') == 6
        assert not os.access(project / kind / ".mlops" / "store.db", os.F_OK), "nothing goes to another store than the one that is named"
