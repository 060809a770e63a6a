"""The wheel in an empty environment: magics, sidebar and server extension without a further command."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.timeout(600)


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def uv() -> str:
    found = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        pytest.skip("uv is not installed; dev.py brings it")
    return found


@pytest.fixture(scope="module")
def wheel(uv: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("dist")
    run(uv, "build", "--wheel", "--out-dir", target, cwd=ROOT)
    (path,) = target.glob("mlops_nb-*.whl")
    return path


def test_the_wheel_holds_the_prebuilt_sidebar_and_nothing_of_this_machine(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        content = b"".join(archive.read(name) for name in names)
    data = [name.split(".data/data/")[1] for name in names if ".data/data/" in name]
    assert "etc/jupyter/jupyter_server_config.d/mlops_nb_server.json" in data
    for name in ("package.json", "install.json", "static/style.js"):
        assert f"share/jupyter/labextensions/mlops-nb/{name}" in data
    assert any(name.startswith("share/jupyter/labextensions/mlops-nb/static/remoteEntry.") for name in data)
    assert {"mlops_nb/api/openapi.json", "mlops_nb/reports/templates/report.html.j2", "mlops_nb_server/extension.py"} <= set(names)
    assert "mlops_nb/store/migrations/versions/0001_first_schema.py" in names and "mlops_nb/store/migrations/script.py.mako" in names
    assert not [name for name in names if "build_log" in name or "node_modules" in name or name.startswith(("server_ext", "tests"))]
    assert str(ROOT).encode() not in content


def test_an_empty_environment_needs_nothing_but_the_wheel(uv: str, wheel: Path, tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path / "home"), "VIRTUAL_ENV": str(tmp_path / "env"), "UV_CACHE_DIR": run(uv, "cache", "dir", cwd=ROOT).strip()}
    run(uv, "venv", "-q", "--python", sys.executable, tmp_path / "env", cwd=tmp_path)
    python = tmp_path / "env" / "bin" / "python"
    run(uv, "pip", "install", "-q", "--python", python, wheel, cwd=tmp_path, **home)
    installed = run(uv, "pip", "list", "-q", "--python", python, "--format", "json", cwd=tmp_path, **home)
    names = {entry["name"] for entry in json.loads(installed.strip().splitlines()[-1])}
    assert not names & {"pandas", "torch", "boto3", "matplotlib", "scikit-learn", "mlflow"}
    assert "mlops-nb" in run(python, "-m", "jupyter", "labextension", "list", cwd=tmp_path, **home)
    listed = run(python, "-m", "jupyter", "server", "extension", "list", cwd=tmp_path, **home)
    assert "mlops_nb_server" in listed and "enabled" in listed and "disabled" not in listed
    (tmp_path / "work").mkdir()
    code = "%load_ext mlops_nb\n%track start wheel\n%track log m=1\n%track stop\n%mlops doctor\n"
    (tmp_path / "work" / "try.ipy").write_text(code)
    shown = run(python, "-m", "IPython", "try.ipy", cwd=tmp_path / "work", **home)
    assert "✗" not in shown and "✓ sidebar" in shown and "✓ server extension enabled" in shown and "1 runs" in shown
