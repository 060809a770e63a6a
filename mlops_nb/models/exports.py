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
