"""transformers: weights as safetensors and the tokenizer beside them, as a pipeline of a task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from mlops_nb.errors import InvalidInput, NotSupported
from mlops_nb.models.flavors.form import TAG_FORMAT, Loaded, Opened, Parts, Request
from mlops_nb.models.metadata import inside

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


def load(opened: Opened) -> Loaded:
    """Load the pipeline from its parts. Nothing is fetched, and no code of the model's own is run.

    `predict` answers for texts what MLflow's loader does; for other tasks use `native`, which is the pipeline.
    """
    import transformers
    from transformers import pipelines

    about = opened.about
    task = str(about.get("task"))
    if not about.get("model_binary"):
        raise NotSupported("The weights of this model are not in its folder.", hint="Save it with save_pretrained=True.")
    kind: Any = getattr(transformers, str(about.get("pipeline_model_type")), None)
    if not (isinstance(kind, type) and issubclass(kind, transformers.PreTrainedModel)):
        raise InvalidInput(f"MLmodel names '{about.get('pipeline_model_type')}', which is no model of transformers.")
    network = cast(Any, kind).from_pretrained(inside(opened.folder, about["model_binary"]), local_files_only=True)
    makers = {"tokenizer": "AutoTokenizer", "feature_extractor": "AutoFeatureExtractor", "image_processor": "AutoImageProcessor"}
    parts = {
        name: getattr(transformers, makers[name]).from_pretrained(
            inside(opened.folder, f"components/{name}"), local_files_only=True, trust_remote_code=False
        )
        for name in about.get("components") or []
        if name in makers
    }
    pipeline = pipelines.pipeline(task, model=network, device=opened.config.get("device"), **parts)
    return Loaded(native=pipeline, predict=lambda data, params: _answer(pipeline, task, data, {**opened.config, **params}))


def _answer(pipeline: Any, task: str, data: Any, params: dict[str, Any]) -> Any:
    import numpy

    params.pop("device", None)
    if hasattr(data, "columns"):
        data = data.iloc[:, 0].tolist() if len(data.columns) == 1 else data.to_dict(orient="records")
    texts = data.tolist() if isinstance(data, numpy.ndarray) else data
    if task in ("text-classification", "sentiment-analysis"):
        import pandas

        return pandas.DataFrame(pipeline(texts, **params))
    if task == "fill-mask":
        found = pipeline(texts, **params)
        return [one[0]["token_str"] for one in found] if isinstance(found[0], list) else [found[0]["token_str"]]
    if task == "feature-extraction":
        return numpy.array(pipeline(texts, **params)[0][0])
    if task in ("token-classification", "ner"):
        found = pipeline(texts, **params)
        return [_labels(one) for one in found] if found and isinstance(found[0], list) else [_labels(found)]
    if task == "text-generation":
        found = pipeline(texts, **params)
        return [one["generated_text"] for part in found for one in (part if isinstance(part, list) else [part])]
    raise NotSupported(f"Answers of the task '{task}' have no common form here.", hint="Use load_model(...).native, the pipeline.")


def _labels(found: list[dict[str, Any]]) -> str:
    return ",".join(str(one.get("entity_group", one.get("entity"))) for one in found)
