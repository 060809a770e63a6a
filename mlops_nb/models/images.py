"""An image that serves a model: the folder to build it from, and building it with what is there."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from importlib import metadata
from pathlib import Path

from mlops_nb.errors import InvalidInput, MissingDependencyError, MlopsError
from mlops_nb.models.environments import needed_by
from mlops_nb.models.metadata import read_metadata

_IMAGE = re.compile(r"[a-z0-9][\w.\-/:@]{0,250}")
_DOCKERFILE = """\
# syntax=docker/dockerfile:1
FROM {base} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
COPY requirements.txt ./
RUN python -m venv /opt/model-env && /opt/model-env/bin/pip install -r requirements.txt

FROM {base}
ENV PATH=/opt/model-env/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin model
COPY --from=build /opt/model-env /opt/model-env
COPY --chown=root:root model /opt/model
USER 10001
EXPOSE {port}
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \\
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:{port}/ping', timeout=2)"]
ENTRYPOINT {entry}
"""
_IGNORE = "**/__pycache__\n**/*.pyc\n"


def write_context(folder: Path, directory: Path, *, base_image: str | None = None, port: int = 8080, allow_unsafe: bool = False) -> Path:
    """Write a folder with a Dockerfile, pinned requirements and the model; return it.

    Args:
        folder: The model folder.
        directory: Where to write; empty, or not there yet.
        base_image: An image with Python and useradd; by default `python:X.Y-slim` of the model's version.
        port: Where the container listens.
        allow_unsafe: Whether the container may load a model that could run code.

    Raises:
        InvalidInput: If the folder is not empty, a requirement has no version, or the name of the image is none.
    """
    import json

    read_metadata(folder)
    if directory.exists() and any(directory.iterdir()):
        raise InvalidInput(f"The folder '{directory}' is not empty.", hint="Give another one: -d DIRECTORY.")
    python, wanted = needed_by(folder)
    base = base_image or f"python:{'.'.join(python.split('.')[:2])}-slim"
    if not _IMAGE.fullmatch(base):
        raise InvalidInput(f"'{base[:100]}' is no name of an image.")
    loose = [line for line in wanted if "==" not in line]
    if loose:
        raise InvalidInput(
            f"The requirement '{loose[0]}' has no version: the image would change by itself.",
            hint="update-pip-requirements add NAME==VERSION",
        )
    directory.mkdir(parents=True, exist_ok=True)
    lines = [*wanted, f"mlops-nb[serve]=={metadata.version('mlops-nb')}"]
    (directory / "requirements.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (directory / ".dockerignore").write_text(_IGNORE, encoding="utf-8")
    entry = ["mlops-nb", "models", "serve", "-m", "/opt/model", "--host", "0.0.0.0", "--port", str(port), "--env-manager", "local"]
    text = _DOCKERFILE.format(base=base, port=port, entry=json.dumps([*entry, *(["--allow-unsafe"] if allow_unsafe else [])]))
    (directory / "Dockerfile").write_text(text, encoding="utf-8")
    shutil.copytree(folder, directory / "model")
    return directory


def build(folder: Path, name: str, *, base_image: str | None = None, port: int = 8080, allow_unsafe: bool = False) -> None:
    """Build the image with the first of docker, podman and buildah that is there.

    Raises:
        MissingDependencyError: If none is.
        MlopsError: If building fails.
    """
    if not _IMAGE.fullmatch(name):
        raise InvalidInput(f"'{name[:100]}' is no name of an image.")
    program = next((found for one in ("docker", "podman", "buildah") if (found := shutil.which(one))), None)
    if program is None:
        raise MissingDependencyError("docker", extra="models", purpose="Building an image (or podman, or buildah)")
    with tempfile.TemporaryDirectory(prefix="mlops-nb-image-") as held:
        context = write_context(folder, Path(held) / "context", base_image=base_image, port=port, allow_unsafe=allow_unsafe)
        if subprocess.run([program, "build", "-t", name, str(context)]).returncode:
            raise MlopsError(f"{Path(program).name} could not build '{name}'.", hint="The reason stands above.")
