"""What a model needs to run: requirements.txt, python_env.yaml and conda.yaml, as MLflow reads them."""

from __future__ import annotations

import functools
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import yaml

from mlops_nb.errors import InvalidInput

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


def update_requirements(folder: Path, operation: str, changes: Sequence[str]) -> list[str]:
    """Add requirements to a folder, or remove them, in requirements.txt and conda.yaml; return all of them.

    Args:
        folder: The model folder.
        operation: `add` (also another version of what is there) or `remove`.
        changes: Requirements; for `remove` their names.

    Raises:
        InvalidInput: If one is none, or is not there to be removed.
    """
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    try:
        given = {canonicalize_name(Requirement(text).name): text.strip() for text in changes}
    except InvalidRequirement as error:
        raise InvalidInput(f"That is no requirement: {error}.", hint="Write it as pip does: 'pandas==2.2'.") from None
    path = folder / REQUIREMENTS_FILE
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    present: dict[str, str] = {}
    for line in lines:
        try:
            present[canonicalize_name(Requirement(line).name)] = line
        except InvalidRequirement:
            present[line] = line
    missing = [name for name in given if name not in present]
    if operation == "remove" and missing:
        raise InvalidInput(f"The model does not require '{missing[0]}'.", hint=f"It requires: {', '.join(present) or 'nothing'}.")
    added: dict[str, str] = {str(name): text for name, text in given.items()}
    kept = {name: line for name, line in present.items() if operation == "add" or name not in added}
    needed = list({**kept, **(added if operation == "add" else {})}.values())
    path.write_text("\n".join(needed) + "\n", encoding="utf-8")
    conda = folder / CONDA_FILE
    if conda.is_file():
        content = yaml.safe_load(conda.read_text(encoding="utf-8")) or {}
        for part in content.get("dependencies") or []:
            if isinstance(part, dict) and "pip" in part:
                part["pip"] = needed
        _write(conda, content)
    return needed
