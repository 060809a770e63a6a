"""Stands in for gitlab-runner: takes jobs from the loopback GitLab, one at a time, and serves metrics as the real one does.

SIGQUIT lets it end after its job, SIGTERM breaks the job off; the shell executor alone is there.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import tomllib
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType
from typing import Any

now: dict[str, Any] = {"job": None, "total": 0, "stopping": False, "cut": False, "process": None}


class Metrics(BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        job = now["job"]
        if self.path == "/metrics":
            text = f'gitlab_runner_jobs_total{{runner="abc"}} {now["total"]}\n# TYPE gitlab_runner_jobs gauge\n'
            if job:
                text += 'gitlab_runner_jobs{executor="shell",executor_stage="build",runner="abc",stage="step_script",state="running"} 1\n'
        else:
            text = f"url={job['url']} state=running stage=step_script executor_stage=run duration=1s\n" if job else ""
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())


def ask(method: str, url: str, body: Any) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def main() -> int:
    assert sys.argv[1] == "run"
    configuration = tomllib.loads(Path(sys.argv[sys.argv.index("--config") + 1]).read_text(encoding="utf-8"))
    (runner,) = configuration["runners"]
    port = int(re.fullmatch(r"127\.0\.0\.1:(\d+)", configuration["listen_address"])[1])  # type: ignore[index]
    server = ThreadingHTTPServer(("127.0.0.1", port), Metrics)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

    def on_quit(number: int, frame: FrameType | None) -> None:
        now["stopping"] = True

    def on_terminate(number: int, frame: FrameType | None) -> None:
        now["stopping"] = now["cut"] = True
        if now["process"] is not None:
            os.killpg(now["process"].pid, signal.SIGKILL)

    signal.signal(signal.SIGQUIT, on_quit)
    signal.signal(signal.SIGTERM, on_terminate)
    signal.signal(signal.SIGINT, on_terminate)
    api, token = f"{runner['url']}/api/v4", runner["token"]
    while not now["stopping"]:
        try:
            job = ask("POST", f"{api}/jobs/request", {"token": token})
        except urllib.error.HTTPError as error:
            print(f"Checking for jobs... forbidden {error.code}", flush=True)
            return 1
        if job is None:
            time.sleep(0.05)
            continue
        now["job"], now["total"] = job, now["total"] + 1
        print(f"Checking for jobs... received job={job['id']}", flush=True)
        builds = Path(runner["builds_dir"])
        builds.mkdir(exist_ok=True)
        environment = {**os.environ, **job["variables"], "CI_JOB_ID": str(job["id"]), "GITLAB_CI": "true"}
        script = "set -e\n" + "\n".join(job["script"])
        now["process"] = subprocess.Popen(["/bin/bash", "-c", script], cwd=builds, env=environment, start_new_session=True)
        if now["cut"]:  # it was told while the job was being begun
            os.killpg(now["process"].pid, signal.SIGKILL)
        code = now["process"].wait()
        ask("PUT", f"{api}/jobs/{job['id']}", {"token": token, "state": "success" if code == 0 else "failed"})
        now.update(job=None, process=None)
    server.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
