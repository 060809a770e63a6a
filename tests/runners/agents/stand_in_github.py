"""Stands in for GitHub's agent: takes a job from the loopback GitHub, runs its steps with the hooks around them, and says how it ended.

As the real one it is started by `run.sh`, takes its just-in-time configuration from a variable and that out of the environment of
jobs, starts a process `Runner.Worker` for the job, breaks it off on SIGINT, and ends after one job.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import FrameType
from typing import Any

HERE = Path(sys.argv[1])


def ask(configuration: dict[str, Any], path: str, body: Any = None) -> Any:
    url = f"{configuration['server']}/_agents/{configuration['id']}/{path}"
    data = json.dumps(body or {}).encode()
    request = urllib.request.Request(url, data, {"Authorization": f"Bearer {configuration['key']}"}, method="POST")
    with urllib.request.urlopen(request, timeout=10) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def facts(job: dict[str, Any]) -> dict[str, str]:
    return {
        "GITHUB_ACTIONS": "true",
        "GITHUB_RUN_ID": str(job["run"]),
        "GITHUB_RUN_ATTEMPT": str(job["attempt"]),
        "GITHUB_REPOSITORY": job["repository"],
        "GITHUB_JOB": job["name"],
        "GITHUB_WORKFLOW": "train",
        **job["environment"],
    }


def listen() -> int:
    configuration = json.loads(base64.b64decode(os.environ.pop("ACTIONS_RUNNER_INPUT_JITCONFIG")))
    (HERE / ".credentials").write_text(json.dumps(configuration), encoding="utf-8")
    worker: list[subprocess.Popen[bytes]] = []

    taken: list[int] = []  # a job was taken, and signals that came before its process was there

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        if not taken:
            sys.exit(0)
        taken.append(number)
        if not worker:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(worker[0].pid, signal.SIGTERM)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_interrupt)
    print("Listening for Jobs", flush=True)
    while True:
        try:
            job = ask(configuration, "next")
        except (urllib.error.HTTPError, OSError) as error:
            print(f"the server refuses: {error}", flush=True)
            return 1
        if job is not None:
            break
        time.sleep(0.05)
    print(f"Running job: {job['name']}", flush=True)
    taken.append(0)
    program = HERE / "Runner.Worker"
    program.symlink_to(sys.executable)
    environment = {**os.environ, **facts(job)}
    worker.append(subprocess.Popen([program, __file__, HERE, json.dumps(job)], env=environment, start_new_session=True))
    if len(taken) > 1:
        os.killpg(worker[0].pid, signal.SIGTERM)
    code = worker[0].wait()
    conclusion = {0: "success", -signal.SIGTERM: "cancelled"}.get(code, "failure")
    with contextlib.suppress(OSError):
        ask(configuration, "done", {"job": job["id"], "conclusion": conclusion})
    print(f"Job {job['name']} completed with result: {conclusion}", flush=True)
    return 0


def work(job: dict[str, Any]) -> int:
    subprocess.run([os.environ["ACTIONS_RUNNER_HOOK_JOB_STARTED"]], check=False)
    folder = HERE / "_work"
    folder.mkdir()
    code = 0
    for step in job["steps"]:
        code = code or subprocess.run(["/bin/bash", "-c", step], cwd=folder, check=False).returncode
    subprocess.run([os.environ["ACTIONS_RUNNER_HOOK_JOB_COMPLETED"]], check=False)
    return code


if __name__ == "__main__":
    sys.exit(work(json.loads(sys.argv[2])) if len(sys.argv) > 2 else listen())
