"""What a model needs to run: requirements.txt, python_env.yaml and conda.yaml, as MLflow reads them."""

from __future__ import annotations

import functools
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import yaml

REQUIREMENTS_FILE = "requirements.txt"
PYTHON_FILE = "python_env.yaml"
CONDA_FILE = "conda.yaml"
_MLFLOW = "mlflow>=3.4,<4"


@functools.lru_cache(maxsize=256)
def pinned(package: str) -> str | None:
    """Return `package==version` of what is installed; None if it is not. A build such as `+cpu` is not named."""
    try:
        return f"{package}=={metadata.version(package).split('+')[0]}"
    except metadata.PackageNotFoundError:
        return None


def requirements(packages: Sequence[str]) -> list[str]:
    """Return the requirements of a model: these packages as they are installed, and MLflow, which loads the folder."""
    return [pinned("mlflow") or _MLFLOW, *sorted(pin for pin in {pinned(package) for package in packages} if pin)]


def write_environment(folder: Path, needed: Sequence[str]) -> None:
    """Write the three files."""
    python = platform.python_version()
    (folder / REQUIREMENTS_FILE).write_text("\n".join(needed) + "\n", encoding="utf-8")
    build = [pin for pin in (pinned("pip"), pinned("setuptools")) if pin] or ["pip", "setuptools"]
    _write(folder / PYTHON_FILE, {"python": python, "build_dependencies": [*build, "wheel"], "dependencies": [f"-r {REQUIREMENTS_FILE}"]})
    dependencies = [f"python={python}", "pip", {"pip": list(needed)}]
    _write(folder / CONDA_FILE, {"channels": ["conda-forge"], "dependencies": dependencies, "name": "mlflow-env"})


def _write(path: Path, content: object) -> None:
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
