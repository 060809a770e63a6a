"""transformers: weights as safetensors and the tokenizer beside them, as a pipeline of a task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlops_nb.errors import InvalidInput
from mlops_nb.models.flavors.form import TAG_FORMAT, Parts, Request

_TASKS = {
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForCausalLM": "text-generation",
    "LMHeadModel": "text-generation",
    "ForMaskedLM": "fill-mask",
    "ForImageClassification": "image-classification",
    "ForAudioClassification": "audio-classification",
}
"""By the end of a model's class name, the task of the pipeline that it is for."""

_COMPONENTS = ("tokenizer", "feature_extractor", "image_processor")


def predict(model: Any, request: Request) -> Any:
    """Return None: what a pipeline answers is text or records, whose form MLflow knows by the task."""
    return None


def task_of(model: Any) -> str | None:
    """Return the task that a model is for; None where its class does not say."""
    name = type(model).__name__
    return next((task for end, task in _TASKS.items() if name.endswith(end)), None)


def save(model: Any, request: Request) -> Parts:
    """Write a pipeline, or a mapping of `model` and `tokenizer`. Option: `task`."""
    import transformers
    from transformers import pipelines

    parts = dict(model) if isinstance(model, Mapping) else {name: getattr(model, name, None) for name in ("model", *_COMPONENTS)}
    network = parts.get("model")
    task = request.options.get("task") or getattr(model, "task", None) or task_of(network)
    if network is None or task is None:
        raise InvalidInput(
            "A model of transformers is kept as a pipeline.", hint="Give a pipeline, or {'model': m, 'tokenizer': t} and task=..."
        )
    parts = {name: part for name, part in parts.items() if part is not None}
    pipeline = pipelines.check_task(task)[1]["impl"]
    network.save_pretrained(request.folder / "model")
    about: dict[str, Any] = {
        "code": None,
        "components": [],
        "instance_type": pipeline if isinstance(pipeline, str) else pipeline.__name__,
        "model_binary": "model",
        "pipeline_model_type": type(network).__name__,
        "source_model_name": network.name_or_path,
        "task": task,
        "torch_dtype": str(network.dtype),
        "transformers_version": transformers.__version__,
    }
    for name in _COMPONENTS:
        if name in parts:
            part: Any = parts[name]
            part.save_pretrained(request.folder / "components" / name)
            about["components"].append(name)
            about[f"{name}_type"] = type(part).__name__
    return Parts(
        flavors={"transformers": about},
        pyfunc={"loader_module": "mlflow.transformers"},
        packages=["transformers", "torch", "accelerate", "safetensors", "tokenizers", "numpy", "pandas"],
        tags={TAG_FORMAT: "safetensors"},
    )
