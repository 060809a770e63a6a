"""MLflow's operations on what runs read and made: data sets and models."""

from __future__ import annotations

import json
from typing import Any

from mlops_nb.api.mlflow.wire import Answer, Empty, KeyValue, Request, RunId, required, tag_map, twins
from mlops_nb.api.operation import AgentScope, Context, Permission, operation
from mlops_nb.core.datasets import Dataset, DatasetInput, ModelOutput
from mlops_nb.core.wire import Int64
from mlops_nb.errors import InvalidInput

_MAX_EXPERIMENTS = 20
_HISTORY_FIELDS = ("run_id", "artifact_path", "utc_time_created", "model_uuid", "flavors")
_NEEDED_FIELDS = ("artifact_path", "flavors", "run_id", "utc_time_created")


class GivenDataset(Request, kw_only=True):
    name: str | None = None
    digest: str | None = None
    source_type: str | None = None
    source: str | None = None
    schema: str | None = None
    profile: str | None = None


class GivenInput(Request, kw_only=True):
    tags: list[KeyValue] | None = None
    dataset: GivenDataset


class GivenModel(Request, kw_only=True):
    model_id: str
    step: Int64 | None = None


class LogInputs(RunId, kw_only=True):
    datasets: list[GivenInput] | None = None
    models: list[GivenModel] | None = None


class LogOutputs(RunId, kw_only=True):
    models: list[GivenModel] | None = None


class LogModel(RunId, kw_only=True):
    model_json: str | None = None


class SearchDatasets(Request, kw_only=True):
    experiment_ids: list[str] | None = None


class SummaryForm(Answer, kw_only=True):
    experiment_id: str
    name: str
    digest: str
    context: str | None = None


class SummariesAnswer(Answer, kw_only=True):
    dataset_summaries: list[SummaryForm] = []


@operation("mlflow.runs.logInputs", "POST", twins("/runs/log-inputs"), permission=Permission.WRITE, agent=AgentScope.RUN)
def log_inputs(context: Context, request: LogInputs) -> Empty:
    """Note the data sets and models that a run read; what is noted already stays as it is."""
    models = [required(model.model_id, "model_id") for model in request.models or []]
    context.store.log_inputs(request.id(), [_input(given) for given in request.datasets or []], models)
    return Empty()


def _input(given: GivenInput) -> DatasetInput:
    dataset = given.dataset
    return DatasetInput(
        dataset=Dataset(
            name=dataset.name or "",
            digest=dataset.digest or "",
            source_type=dataset.source_type or "",
            source=dataset.source or "",
            schema=dataset.schema or None,
            profile=dataset.profile or None,
        ),
        tags=tag_map(given.tags),
    )


@operation("mlflow.runs.logOutputs", "POST", twins("/runs/outputs"), permission=Permission.WRITE, agent=AgentScope.RUN)
def log_outputs(context: Context, request: LogOutputs) -> Empty:
    """Note the models that a run made."""
    models = required(request.models or None, "models")
    outputs = [ModelOutput(model_id=required(model.model_id, "model_id"), step=model.step or 0) for model in models]
    context.store.log_outputs(request.id(), outputs)
    return Empty()


@operation("mlflow.runs.logModel", "POST", twins("/runs/log-model"), permission=Permission.WRITE, agent=AgentScope.RUN)
def log_model(context: Context, request: LogModel) -> Empty:
    """Append a model to the tag in which clients of MLflow 2 keep the models of a run."""
    text = required(request.model_json, "model_json")
    try:
        model = json.loads(text)
    except ValueError:
        raise InvalidInput(f"Malformed model info. \n {text[:200]} \n is not a valid JSON.") from None
    if not isinstance(model, dict):
        raise InvalidInput(f"Malformed model info. \n {text[:200]} \n is not a JSON object.")
    missing = [field for field in _NEEDED_FIELDS if field not in model]
    if missing:
        raise InvalidInput(f"Model json is missing mandatory fields: {missing}")
    context.store.log_model_history(request.id(), _history_entry(model))
    return Empty()


def _history_entry(model: dict[str, Any]) -> dict[str, Any]:
    """Return what the tag keeps of a model."""
    return {field: model.get(field) for field in _HISTORY_FIELDS}


@operation("mlflow.experiments.searchDatasets", "POST", twins("/experiments/search-datasets"), permission=Permission.READ)
def search_datasets(context: Context, request: SearchDatasets) -> SummariesAnswer:
    """List the data sets of experiments with what runs read them for."""
    experiment_ids = request.experiment_ids or []
    if not experiment_ids:
        raise InvalidInput("SearchDatasets request must specify at least one experiment_id.")
    if len(experiment_ids) > _MAX_EXPERIMENTS:
        raise InvalidInput(
            f"SearchDatasets request cannot specify more than {_MAX_EXPERIMENTS} experiment_ids. "
            f"Received {len(experiment_ids)} experiment_ids."
        )
    found = context.store.dataset_summaries(experiment_ids)
    return SummariesAnswer(
        dataset_summaries=[SummaryForm(experiment_id=s.experiment_id, name=s.name, digest=s.digest, context=s.context) for s in found]
    )


OPERATIONS = (log_inputs, log_outputs, log_model, search_datasets)
