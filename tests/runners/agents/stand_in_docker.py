"""Stands in for docker with Bitbucket's runner in it: `docker run` takes steps from the loopback Bitbucket, one at a time.

What runs is in the folder that `STAND_IN_DOCKER` names: a file for each container, with its environment.
"""

from __future__ import annotations

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

STATE = Path(__file__).with_name("containers")


def ask(server: str, path: str, body: Any) -> Any:
    client = {"client": os.environ["OAUTH_CLIENT_ID"], "secret": os.environ["OAUTH_CLIENT_SECRET"]}
    request = urllib.request.Request(f"{server}/_runners/{path}", json.dumps({**client, **body}).encode(), method="POST")
    with urllib.request.urlopen(request, timeout=10) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def container(name: str, environment: dict[str, str]) -> Path:
    path = STATE / name
    path.write_text(json.dumps({"Name": f"/{name}", "Config": {"Env": [f"{key}={value}" for key, value in environment.items()]}}))
    return path


def run(arguments: list[str]) -> int:
    name = arguments[arguments.index("--name") + 1]
    given = [arguments[index + 1] for index, word in enumerate(arguments) if word == "--env"]
    assert "OAUTH_CLIENT_SECRET" in given and all("=" not in one for one in given), "secrets go by the environment"
    own = container(name, {one: os.environ[one] for one in given if one != "OAUTH_CLIENT_SECRET"})
    (STATE / f"{name}.pid").write_text(str(os.getpid()))
    server = (STATE / "server").read_text()
    stop: list[int] = []
    running: list[subprocess.Popen[bytes]] = []

    def on_stop(number: int, frame: FrameType | None) -> None:
        stop.append(number)
        if running:
            os.killpg(running[0].pid, signal.SIGKILL)

    signal.signal(signal.SIGTERM, on_stop)
    signal.signal(signal.SIGINT, on_stop)
    try:
        while not stop:
            try:
                step = ask(server, "next", {})
            except urllib.error.HTTPError:
                return 1
            if step is None:
                time.sleep(0.05)
                continue
            build = container(f"{step['step'].strip('{}')}_build", step["environment"])
            environment = {**os.environ, **step["environment"]}
            del environment["OAUTH_CLIENT_SECRET"]
            running.append(subprocess.Popen(["/bin/bash", "-ec", "\n".join(step["script"])], env=environment, start_new_session=True))
            code = running[0].wait()
            running.clear()
            build.unlink()
            ask(server, "done", {"step": step["step"], "result": "SUCCESSFUL" if code == 0 else "FAILED"})
    finally:
        own.unlink(missing_ok=True)
        (STATE / f"{name}.pid").unlink(missing_ok=True)
    return 0


def main(command: str, arguments: list[str]) -> int:
    if command == "run":
        return run(arguments)
    if command == "ps":
        print("\n".join(path.name for path in STATE.iterdir() if not path.suffix and path.name != "server"))
    elif command == "image":
        print(json.dumps([f"registry.example/runner@sha256:{'a' * 64}"]))
    elif command == "inspect":
        found = [path for name in arguments if (path := STATE / name).exists()]
        print(json.dumps([json.loads(path.read_text()) for path in found]))
    elif command in ("stop", "rm"):
        path = STATE / f"{arguments[-1]}.pid"
        if path.exists():
            os.kill(int(path.read_text()), signal.SIGTERM)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
