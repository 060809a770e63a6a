"""A model that requires what the server's Python does not have is served from an environment of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from mlops_nb.errors import InvalidInput, MlopsError, UnsafeModel
from mlops_nb.models import environments
from mlops_nb.models.requirements import unknown, unmet
from tests.serving.conftest import Host, run_python, until

ROWS = {"dataframe_split": {"columns": ["x"], "data": [[1.0], [2.0]]}}

MODEL = """
import sys, tinydep
class Model:
    def predict(self, data, params=None):
        return [f"{tinydep.VERSION} {sys.prefix}"] * len(data)
def _load_pyfunc(path): return Model()
"""


def wheel(folder: Path, version: str) -> None:
    """Write a package `tinydep` of a version, as an index would give it."""
    folder.mkdir(exist_ok=True)
    about = f"tinydep-{version}.dist-info"
    with zipfile.ZipFile(folder / f"tinydep-{version}-py3-none-any.whl", "w") as file:
        file.writestr("tinydep.py", f"VERSION = '{version}'\n")
        file.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: tinydep\nVersion: {version}\n")
        file.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{about}/RECORD", f"tinydep.py,,\n{about}/METADATA,,\n{about}/WHEEL,,\n{about}/RECORD,,\n")


def model(folder: Path, *lines: str, python: str = "") -> Path:
    """Write a model whose code imports `tinydep`."""
    (folder / "code").mkdir(parents=True)
    (folder / "code" / "tiny_model.py").write_text(MODEL)
    (folder / "data").mkdir()
    signature = json.dumps([{"type": "double", "name": "x", "required": True}])
    (folder / "MLmodel").write_text(
        "flavors:\n  python_function:\n    loader_module: tiny_model\n    code: code\n    data: data\n    env: {}\n"
        f"signature:\n  inputs: '{signature}'\n  outputs: null\n  params: null\nmodel_uuid: {'0' * 32}\nmlflow_version: 3.4.0\n"
    )
    (folder / "requirements.txt").write_text("\n".join(lines) + "\n")
    if python:
        (folder / "python_env.yaml").write_text(f"python: {python}\n")
    return folder


@pytest.fixture(autouse=True)
def _packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packages come from a folder, and environments are kept in another: no network is needed."""
    for version in ("1.0", "2.0"):
        wheel(tmp_path / "wheels", version)
    for name in ("UV_FIND_LINKS", "PIP_FIND_LINKS"):
        monkeypatch.setenv(name, str(tmp_path / "wheels"))
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def kept(tmp_path: Path) -> list[Path]:
    return [one for one in (tmp_path / "cache" / "mlops_nb" / "environments").glob("*") if one.is_dir()]


def test_two_versions_of_a_package_are_served_beside_each_other_from_environments_of_their_own(host: Host, tmp_path: Path) -> None:
    for number in ("1", "2"):
        info = host.start(f"dep{number}", model(tmp_path / f"model{number}", f"tinydep=={number}.0"))
        assert info.state == "ready", host.logs(f"dep{number}")
        assert info.live is not None and "its own environment" in info.live.environment
        (first, _) = json.loads(host.ask(f"dep{number}", ROWS).body)["predictions"]
        version, prefix = first.split()
        assert version == f"{number}.0" and Path(prefix).is_relative_to(tmp_path / "cache")
        assert f"tinydep=={number}.0 is wanted, none is here" in host.logs(f"dep{number}")
        # Of the server's packages the model sees only what the worker needs.
        (own,) = (one for one in Path(prefix).glob("mlops-nb-*") if one.is_dir())
        names = {one.name for one in own.iterdir()}
        assert {"uvicorn", "msgspec", "mlops_nb"} <= names and "sklearn" not in names
    assert len(kept(tmp_path)) == 2
    before = pids(host, "dep1")
    os.kill(before[0], signal.SIGKILL)  # comes back in the same environment
    until(lambda: pids(host, "dep1") not in ([], before) and host.info("dep1").state == "ready")
    assert json.loads(host.ask("dep1", ROWS).body)["predictions"][0].startswith("1.0 ")
    for name in ("dep1", "dep2"):
        host.do(host.supervisor.stop(name))


def pids(host: Host, name: str) -> list[int]:
    live = host.info(name).live
    return live.pids if live else []


def test_a_model_whose_requirements_are_met_is_served_without_an_environment(host: Host, models: Path, tmp_path: Path) -> None:
    info = host.start("met", models / "numbers", allow_unsafe=False)
    assert info.state == "ready" and info.live is not None and info.live.environment == ""
    assert psutil.Process(info.live.pids[0]).exe() == psutil.Process().exe() and not kept(tmp_path)
    host.do(host.supervisor.stop("met"))


def test_local_serves_in_this_python_and_names_what_differs(host: Host, models: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(models / "numbers", tmp_path / "old")
    (folder / "requirements.txt").write_text("scikit-learn==1.0.2\nmsgspec\nnosuch-xyz>=2\n")
    info = host.start("old", folder, env_manager="local")
    assert info.state == "ready" and info.live is not None
    assert "scikit-learn==1.0.2 is wanted, 1." in info.live.environment and "nosuch-xyz>=2 is wanted, none" in info.live.environment
    assert "msgspec" not in info.live.environment and "scikit-learn==1.0.2" in host.logs("old")
    host.do(host.supervisor.stop("old"))


def test_what_cannot_be_had_is_named_and_leaves_nothing(host: Host, tmp_path: Path) -> None:
    info = host.start("absent", model(tmp_path / "m", "tinydep==1.0", "quite-absent==4.2"))
    assert info.attempt is not None and info.attempt.state == "failed"
    assert "'quite-absent" in info.attempt.problem and "--env-manager local" in info.attempt.problem
    assert not kept(tmp_path)
    with pytest.raises(InvalidInput, match="no environment manager 'venv'"):
        host.start("absent", tmp_path / "m", env_manager="venv")


def test_nothing_is_installed_for_a_model_that_would_be_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsafeModel, match="code that is imported"):
        environments.choose(model(tmp_path / "m", "tinydep==1.0"), "virtualenv")
    assert not kept(tmp_path)


def test_no_package_of_a_strangers_own_is_installed_for_a_harmless_model(models: Path, tmp_path: Path) -> None:
    """A wheel runs code as soon as a program starts beside it: by a `.pth` file, or in the place of another package."""
    folder = shutil.copytree(models / "numbers", tmp_path / "m")  # not known here any more, once it is changed
    (folder / "requirements.txt").write_text("numpy\nTinyDep==1.0\npytest<1\n")
    with pytest.raises(UnsafeModel, match="it wants tinydep installed, which is no framework of models"):
        environments.choose(folder, "virtualenv")
    assert not kept(tmp_path)
    assert unknown(["scikit-learn==1.0.2", "PyTest<1", "torch; python_version > '3'"]) == []


def test_a_python_that_is_too_old_for_the_worker_is_told(tmp_path: Path) -> None:
    folder = model(tmp_path / "m", python="3.9.1")
    assert [str(one) for one in unmet(folder)] == [f"Python 3.9.1 is wanted, {sys.version.split()[0]} is here"]
    environment = tmp_path / "cache" / "old"
    (environment / "lib" / "python3.9" / "site-packages").mkdir(parents=True)
    from mlops_nb.models.own_packages import layer

    with pytest.raises(MlopsError, match=r"wants Python 3\.9, and what serves it needs 3\.11"):
        layer(environment, lambda *_: None)


def test_an_endpoint_that_is_stopped_ends_what_installs_for_it(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = tmp_path / "bin" / "uv"
    slow.parent.mkdir()
    slow.write_text("#!/bin/sh\necho Resolving slowly\nexec sleep 321\n")
    slow.chmod(0o755)
    monkeypatch.setattr("mlops_nb.models.installing.find_uv", lambda: str(slow))
    from mlops_nb.serving.records import StartRequest

    folder = model(tmp_path / "m", "tinydep==1.0")
    asked = StartRequest(name="slow", model_uri="x", allow_unsafe=True)
    info = host.do(host.supervisor.start(asked, wait=0.0, folder=folder))
    until(lambda: (now := host.info("slow").attempt) is not None and now.step == "Resolving slowly")
    assert info.state == "starting" and sleepers()
    host.do(host.supervisor.stop("slow"))
    until(lambda: not sleepers(), 10)


def sleepers() -> list[psutil.Process]:
    return [one for one in psutil.process_iter(["cmdline"]) if one.info["cmdline"] == ["sleep", "321"]]


CLI = [sys.executable, "-m", "mlops_nb.cli", "models"]


def test_the_command_serves_from_the_environment_that_prepare_env_has_made(tmp_path: Path) -> None:
    folder = model(tmp_path / "m", "tinydep==2.0")
    made = subprocess.run(
        [*CLI, "prepare-env", "-m", str(folder), "--env-manager", "uv", "--allow-unsafe"], capture_output=True, text=True, check=True
    )
    assert "is ready" in made.stdout and "tinydep==2.0" in made.stderr and len(kept(tmp_path)) == 1
    command = [*CLI, "serve", "-m", str(folder), "-p", "0", "--allow-unsafe"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = server.stdout.readline().split()[-1]
        answer = requests.post(f"{url}/invocations", json=ROWS, timeout=30).json()
        assert answer["predictions"][0].startswith("2.0 ")
    finally:
        server.terminate()
        _, said = server.communicate(timeout=30)
    assert "tinydep==2.0 is wanted" in said and "Prepared" not in said and len(kept(tmp_path)) == 1
    given = json.dumps(ROWS)
    done = subprocess.run(
        [*CLI, "predict", "-m", str(folder), "--env-manager", "virtualenv", "--allow-unsafe"], input=given, capture_output=True, text=True
    )
    assert json.loads(done.stdout)["predictions"][0].startswith("2.0 "), done.stderr


@pytest.mark.slow
def test_a_model_of_another_scikit_learn_is_served_with_that_one(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Needs the package index."""
    for name in ("UV_OFFLINE", "PIP_NO_INDEX", "UV_FIND_LINKS", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    code = (
        "import sys\nfrom sklearn.linear_model import LinearRegression\nimport pandas as pd\nfrom mlops_nb.models import save_model\n"
        "X = pd.DataFrame({'x': [0.0, 1.0, 2.0]})\n"
        "save_model(LinearRegression().fit(X, 2 * X.x), 'model', input_example=X, pip_requirements=['scikit-learn==1.5.2'])"
    )
    run_python(code, tmp_path)
    info = host.start("older", tmp_path / "model")
    assert info.attempt is not None and "skops" in info.attempt.problem and "update-pip-requirements" in info.attempt.problem
    with (tmp_path / "model" / "requirements.txt").open("a") as file:
        file.write("skops==0.16.0\n")
    began = time.monotonic()
    info = host.start("older", tmp_path / "model", limits=None)
    print(f"ready after {time.monotonic() - began:.1f} s")
    assert info.state == "ready", host.logs("older")
    assert json.loads(host.ask("older", ROWS).body)["predictions"] == [pytest.approx(2), pytest.approx(4)]
    (environment,) = (one for one in kept(tmp_path) if next(one.glob("lib/*/site-packages/skops"), None))
    found: Any = next((environment / "lib").glob("python3.*/site-packages"))
    assert (found / "scikit_learn-1.5.2.dist-info").is_dir() and not (found / "mlflow").exists()
    maps = Path(f"/proc/{pids(host, 'older')[0]}/maps").read_text()
    assert f"{found}/sklearn/" in maps  # compiled code of that one
    host.do(host.supervisor.stop("older"))


@pytest.mark.slow
def test_a_model_of_another_python_is_served_by_that_one(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Needs the package index, and another Python."""
    monkeypatch.delenv("UV_OFFLINE")
    minor = 13 if sys.version_info[1] == 12 else 12
    places = [Path(found).parent for found in [shutil.which(f"python3.{minor}")] if found]
    places += sorted((Path.home() / ".pyenv" / "versions").glob(f"3.{minor}.*/bin"))
    if not places:
        pytest.skip(f"Python 3.{minor} is not installed")
    monkeypatch.setenv("PATH", f"{places[-1]}:{os.environ['PATH']}")
    info = host.start("newer", model(tmp_path / "m", "tinydep==1.0", python=f"3.{minor}.1"))
    assert info.state == "ready", host.logs("newer")
    prefix = json.loads(host.ask("newer", ROWS).body)["predictions"][0].split()[1]
    assert (Path(prefix) / "lib" / f"python3.{minor}").is_dir()
    host.do(host.supervisor.stop("newer"))
