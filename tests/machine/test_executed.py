"""Start-up scripts are executed: a machine of namespaces, with its own root, a metadata service, a real server, and no power switch."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.machine import scenarios

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare here: start-up scripts cannot be executed")
    begins = f"--boottime=-{int(float(Path('/proc/uptime').read_text().split()[0])) - 5}"
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    room = ["unshare", *user, "--mount", "--net", "--time", begins, "--pid", "--fork", "--mount-proc"]
    if subprocess.run([*room, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system gives no namespaces to this user: start-up scripts cannot be executed")
    folder = tmp_path_factory.mktemp("room")
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'server_ext'}"}
    command = [*room, "--kill-child", sys.executable, "-m", "tests.machine.room", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(json.loads((folder / "results.json").read_text()))


@pytest.mark.parametrize("name", scenarios.ALL)
def test_the_story_holds(name: str, results: dict[str, dict[str, Any]]) -> None:
    result = results[name]
    print(f"{name}: {result['seconds']} s")
    assert not result["error"], f"{result['error']}\n{result['console']}"
