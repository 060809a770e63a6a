"""What other engines need to serve a model folder: KServe, Ray Serve, BentoML, SageMaker. None of them is imitated here."""

from __future__ import annotations

import re
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from mlops_nb.errors import InvalidInput
from mlops_nb.models.metadata import read_metadata

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
KINDS = ("kserve", "ray", "bento", "sagemaker")
PACKAGES = ("docker", "bento", "kserve", "mlflow", "ray", "sagemaker")

_RAY = '''"""Serves the model folder with Ray Serve: serve run app:app"""

from pathlib import Path

import pandas
from ray import serve
from starlette.requests import Request

from mlops_nb.models import load_model


@serve.deployment
class Model:
    def __init__(self) -> None:
        self.model = load_model(Path(__file__).parent / "model", allow_unsafe={allow})

    async def __call__(self, request: Request) -> dict:
        body = await request.json()
        split = body.get("dataframe_split")
        rows = pandas.DataFrame(**split) if split else pandas.DataFrame(body["dataframe_records"])
        answer = self.model.predict(rows, body.get("params"))
        return {{"predictions": answer.tolist() if hasattr(answer, "tolist") else answer}}


app = Model.bind()
'''
_BENTO = '''"""Serves the model folder with BentoML: bentoml serve service:Model"""

from pathlib import Path

import bentoml
import pandas

from mlops_nb.models import load_model


@bentoml.service(name="{name}")
class Model:
    def __init__(self) -> None:
        self.model = load_model(Path(__file__).parent / "model", allow_unsafe={allow})

    @bentoml.api
    def predict(self, dataframe_records: list[dict]) -> list:
        answer = self.model.predict(pandas.DataFrame(dataframe_records))
        return answer.tolist() if hasattr(answer, "tolist") else list(answer)
'''


def package(
    kind: str, folder: Path, directory: Path, *, name: str = "model", storage_uri: str | None = None, allow_unsafe: bool = False
) -> list[Path]:
    """Write what is needed to serve a model folder elsewhere; return the files.

    Args:
        kind: `docker`: a folder to build an image from; `mlflow`: the model folder, which `mlflow models serve` takes; or
            one of `KINDS`.
        folder: The model folder.
        directory: Where to write; made where it is not there, and empty.
        name: Of the endpoint; where an engine allows fewer characters, those take the place of others.
        storage_uri: Where a cluster finds the model folder; KServe needs it.
        allow_unsafe: Whether what is written may load a model that could run code.

    Raises:
        InvalidInput: If the folder is not empty, or something is missing.
    """
    if kind not in PACKAGES:
        raise InvalidInput(f"There is no package '{kind}'.", hint=f"There are: {', '.join(PACKAGES)}.")
    if storage_uri is not None and kind not in ("kserve", "sagemaker"):
        raise InvalidInput(f"A package for {kind} has the model in it: --storage-uri says nothing there.")
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise InvalidInput(f"'{directory}' is not an empty folder.", hint="Give another one.")
    if kind == "docker":
        from mlops_nb.models.images import write_context

        return sorted(write_context(folder, directory, allow_unsafe=allow_unsafe).iterdir())
    if kind == "mlflow":
        read_metadata(folder)
        shutil.copytree(folder, directory, dirs_exist_ok=True)
        return sorted(directory.iterdir())
    safe = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:63] or "model"
    return write_export(kind, folder, directory, name=safe, storage_uri=storage_uri, allow_unsafe=allow_unsafe)


NEXT_STEPS = {
    "docker": "docker build -t NAME {directory}",
    "bento": "pip install -r {directory}/requirements.txt; cd {directory} && bentoml serve service:Model",
    "kserve": "kubectl apply -f {directory}/inferenceservice.yaml",
    "mlflow": "mlflow models serve -m {directory} --env-manager local",
    "ray": "pip install -r {directory}/requirements.txt; cd {directory} && serve run app:app",
    "sagemaker": "aws s3 cp {directory}/model.tar.gz s3://BUCKET/; fill in create-model.yaml",
}
"""What to do with a package."""


def write_export(
    kind: str, folder: Path, directory: Path, *, name: str = "model", storage_uri: str | None = None, allow_unsafe: bool = False
) -> list[Path]:
    """Write what an engine needs into a folder; return the files.

    Args:
        kind: One of `KINDS`.
        folder: The model folder.
        directory: Where to write; made where it is not there, and empty.
        name: Of the endpoint: small letters, digits and dashes.
        storage_uri: Where a cluster finds the model folder; KServe needs it.
        allow_unsafe: Whether the endpoint may load a model that could run code.

    Raises:
        InvalidInput: If the name is not allowed, the folder is not empty, or KServe is not told where the model is.
    """
    if kind not in KINDS:
        raise InvalidInput(f"There is no export '{kind}'.", hint=f"There are: {', '.join(KINDS)}.")
    if not _NAME.fullmatch(name):
        raise InvalidInput(f"'{name[:80]}' cannot name an endpoint.", hint="Use small letters, digits and dashes, at most 63.")
    if directory.exists() and any(directory.iterdir()):
        raise InvalidInput(f"The folder '{directory}' is not empty.")
    metadata = read_metadata(folder)
    directory.mkdir(parents=True, exist_ok=True)
    if kind == "kserve":
        return [_write_yaml(directory / "inferenceservice.yaml", inference_service(name, storage_uri))]
    if kind == "sagemaker":
        path = directory / "model.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            for file in sorted(folder.iterdir()):
                archive.add(file, file.name)
        about = {
            "ModelName": name,
            "PrimaryContainer": {"Image": "<image of generate-dockerfile>", "ModelDataUrl": storage_uri or "<s3://…/model.tar.gz>"},
        }
        return [path, _write_yaml(directory / "create-model.yaml", about)]
    shutil.copytree(folder, directory / "model")
    requirements = directory / "requirements.txt"
    needed = (folder / "requirements.txt").read_text(encoding="utf-8") if (folder / "requirements.txt").is_file() else ""
    engine, text, program = ("ray[serve]", _RAY, "app.py") if kind == "ray" else ("bentoml", _BENTO, "service.py")
    requirements.write_text(f"{needed}mlops-nb\n{engine}\n", encoding="utf-8")
    (directory / program).write_text(text.format(name=name, allow=allow_unsafe), encoding="utf-8")
    assert metadata.flavors
    return [directory / program, requirements, directory / "model"]


def inference_service(name: str, storage_uri: str | None) -> dict[str, Any]:
    """Return an InferenceService of KServe (serving.kserve.io/v1beta1) that serves the folder with its MLflow runtime."""
    if not storage_uri:
        raise InvalidInput("KServe fetches the model itself.", hint="Say where it is: --storage-uri s3://BUCKET/PATH (or gs://, pvc://).")
    if not re.fullmatch(r"(s3|gs|pvc|hf|https?|abfss?)://\S+", storage_uri):
        raise InvalidInput(
            f"'{storage_uri[:100]}' is no place that KServe fetches from.", hint="Use s3://, gs://, pvc://, hf:// or https://."
        )
    limits = {"cpu": "1", "memory": "2Gi"}
    model = {
        "modelFormat": {"name": "mlflow"},
        "protocolVersion": "v2",
        "storageUri": storage_uri,
        "resources": {"requests": dict(limits), "limits": dict(limits)},
    }
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": "mlops-nb"}},
        "spec": {"predictor": {"minReplicas": 1, "model": model}},
    }


def _write_yaml(path: Path, content: Mapping[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(dict(content), sort_keys=False), encoding="utf-8")
    return path
