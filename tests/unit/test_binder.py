"""The demo environment for Binder: what it installs and what it runs, without building the image."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent.parent
BINDER = ROOT / "binder"


def _requirements() -> dict[str, Requirement]:
    lines = [line for line in (BINDER / "requirements.txt").read_text().splitlines() if line.strip() and not line.startswith("#")]
    return {requirement.name: requirement for requirement in map(Requirement, lines)}


def _project() -> dict[str, list[Requirement]]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = {"": project["dependencies"], **project["optional-dependencies"]}
    return {name: [Requirement(text) for text in texts] for name, texts in groups.items()}


def test_the_scripts_may_be_executed_and_are_valid_for_bash() -> None:
    for name in ("postBuild", "start"):
        script = BINDER / name
        assert os.access(script, os.X_OK), f"{name} is not executable"
        assert script.read_text().startswith("#!/bin/bash\n")
        subprocess.run(["bash", "-n", script], check=True)


def test_post_build_installs_the_package_itself_and_stops_at_the_first_error() -> None:
    text = (BINDER / "postBuild").read_text()
    assert "set -euo pipefail" in text
    assert re.search(r"^python -m pip install --no-cache-dir '\.\[models,serve\]'$", text, re.MULTILINE)


def test_start_runs_the_command_of_binder_last_and_opens_the_quick_start_in_every_server(tmp_path: Path) -> None:
    script = BINDER / "start"
    assert script.read_text().rstrip().splitlines()[-1] == 'exec "$@"'
    command = [script, "sh", "-c", 'printf "%s|" "$@"', "_", "two words", "$x"]
    result = subprocess.run(command, env={**os.environ, "HOME": str(tmp_path)}, capture_output=True, text=True, check=True)
    assert result.stdout == "two words|$x|"
    config = json.loads((tmp_path / ".jupyter" / "jupyter_server_config.json").read_text())
    urls = {section["default_url"] for section in config.values()}
    assert set(config) == {"ServerApp", "LabApp", "JupyterNotebookApp"}
    assert urls == {"/lab/tree/notebooks/quickstart.ipynb"}
    assert (ROOT / urls.pop().removeprefix("/lab/tree/")).exists()


def test_start_leaves_a_configuration_that_is_there_alone(tmp_path: Path) -> None:
    config = tmp_path / ".jupyter" / "jupyter_server_config.json"
    config.parent.mkdir()
    config.write_text("{}")
    subprocess.run([BINDER / "start", "true"], env={**os.environ, "HOME": str(tmp_path)}, check=True)
    assert config.read_text() == "{}"


def test_the_python_of_the_image_is_one_that_the_package_supports() -> None:
    version = (BINDER / "runtime.txt").read_text().strip().removeprefix("python-")
    requires = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert Requirement(f"python{requires}").specifier.contains(version)


def test_the_requirements_allow_nothing_that_the_package_forbids() -> None:
    groups = _project()
    known = {requirement.name: requirement for name in ("", "report", "demo") for requirement in groups[name]}
    for name, requirement in _requirements().items():
        assert name in known, f"{name} is in binder/requirements.txt and not in pyproject.toml"
        lowest = next(part.version for part in requirement.specifier if part.operator == ">=")
        assert known[name].specifier.contains(lowest), f"{name} {lowest} is too old for pyproject.toml"


def test_the_requirements_bring_what_the_notebooks_import() -> None:
    source = "\n".join(
        "".join(cell["source"])
        for path in (ROOT / "notebooks").glob("*.ipynb")
        for cell in json.loads(path.read_text())["cells"]
        if cell["cell_type"] == "code"
    )
    imported = set(re.findall(r"^(?:from|import) (\w+)", source, re.MULTILINE))
    names = {"IPython": "ipython", "sklearn": "scikit-learn"}
    brought = {*_requirements(), *(requirement.name for requirement in _project()[""])}
    # MLflow: the notebook on the team server shows its own client, for who has it.
    outside = {names.get(module, module) for module in imported} - {"mlops_nb", "numpy", "mlflow"} - sys.stdlib_module_names
    assert outside <= brought
    assert "scikit-learn" in outside, "the search for imports finds nothing"
