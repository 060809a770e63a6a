"""The JSON forms of MLflow's REST API. Fields at their default are left out of answers, never null."""

from __future__ import annotations

import math
from typing import TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from mlops_nb.core.datasets import Dataset, ModelOutput, RunInputs
from mlops_nb.core.records import Experiment, LifecycleStage, Metric, Run, float_to_json
from mlops_nb.core.run_state import RunStatus
from mlops_nb.errors import InvalidInput
from mlops_nb.store.base import MAX_PAGE

_SEE = "See the API docs for more information about request parameters."
_PREFIXES = ("/api/2.0/mlflow", "/ajax-api/2.0/mlflow")

EnumName = str | int
"""An enum value by name or by number."""

T = TypeVar("T")


class Request(msgspec.Struct, kw_only=True):
    """Base of the requests: every field may be missing or null."""


class Answer(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Base of the answers."""


class Empty(Answer, kw_only=True):
    """An answer without fields."""


class KeyValue(msgspec.Struct, kw_only=True):
    key: str
    value: str = ""


# Requests for one thing by its id.


class ExperimentId(Request, kw_only=True):
    experiment_id: str | None = None


class RunId(Request, kw_only=True):
    """A run by id; old clients say `run_uuid`."""

    run_id: str | None = None
    run_uuid: str | None = None

    def id(self) -> str:
        """Return the run id.

        Raises:
            InvalidInput: If it is not given.
        """
        return required(self.run_id or self.run_uuid, "run_id")


# Answers.


class ExperimentInfo(Answer, kw_only=True):
    experiment_id: str
    name: str
    artifact_location: str
    lifecycle_stage: LifecycleStage
    last_update_time: int
    creation_time: int
    tags: list[KeyValue] = []


class MetricInfo(Answer, kw_only=True):
    key: str
    value: float | str
    timestamp: int
    step: int


class RunInfo(Answer, kw_only=True):
    run_id: str
    run_uuid: str
    run_name: str
    experiment_id: str
    user_id: str
    status: str
    start_time: int
    end_time: int | None = None
    artifact_uri: str
    lifecycle_stage: LifecycleStage


class RunData(Answer, kw_only=True):
    metrics: list[MetricInfo] = []
    params: list[KeyValue] = []
    tags: list[KeyValue] = []


class DatasetForm(Answer, kw_only=True, omit_defaults=False):
    """A data set; what it lacks is left out."""

    name: str
    digest: str
    source_type: str
    source: str
    schema: str | UnsetType = UNSET
    profile: str | UnsetType = UNSET


class DatasetInputForm(Answer, kw_only=True):
    tags: list[KeyValue] = []
    dataset: DatasetForm


class ModelInputForm(Answer, kw_only=True):
    model_id: str


class ModelOutputForm(Answer, kw_only=True):
    model_id: str
    step: int


class InputsForm(Answer, kw_only=True):
    dataset_inputs: list[DatasetInputForm] = []
    model_inputs: list[ModelInputForm] = []


class OutputsForm(Answer, kw_only=True):
    model_outputs: list[ModelOutputForm] = []


class RunForm(Answer, kw_only=True):
    info: RunInfo
    data: RunData
    inputs: InputsForm
    outputs: OutputsForm


class RunAnswer(Answer, kw_only=True):
    run: RunForm


def twins(path: str) -> tuple[str, ...]:
    """Return both places of a path of MLflow's API: for clients and for its pages."""
    return tuple(prefix + path for prefix in _PREFIXES)


def required(value: T | None, name: str) -> T:
    """Return a value that must be given and not be empty.

    Raises:
        InvalidInput: In MLflow's words, if it is missing.
    """
    if value is None or value == "":
        raise InvalidInput(f"Missing value for required parameter '{name}'. {_SEE}")
    return value


def experiment_id_of(text: str | None) -> str:
    """Return the id of an experiment that must be given.

    Raises:
        InvalidInput: In MLflow's words, if it is missing or not a number.
    """
    given = required(text, "experiment_id")
    if not (given.isascii() and given.isdigit()):
        raise InvalidInput(f"Invalid experiment ID {given[:80]!r}. Experiment ID must be a valid integer.")
    return given


def invalid(value: object, name: str, why: str) -> InvalidInput:
    """Return the error for a value that cannot be right, in MLflow's words."""
    return InvalidInput(f"Invalid value {value!r} for parameter '{name}' supplied: {why} {_SEE}")


def page_size(max_results: int | None, default: int, *, largest: int = MAX_PAGE) -> int:
    """Return how many results a page holds.

    Raises:
        InvalidInput: If it is out of range.
    """
    if max_results is None:
        return default
    if not 1 <= max_results <= largest:
        raise invalid(max_results, "max_results", f"it must be a number from 1 to {largest}.")
    return max_results


def view_stage(view: EnumName | None, name: str) -> LifecycleStage | None:
    """Return the stage that a view type names; None: both.

    Raises:
        InvalidInput: If there is no such view type.
    """
    views: dict[str, LifecycleStage | None] = {
        "ACTIVE_ONLY": LifecycleStage.ACTIVE,
        "DELETED_ONLY": LifecycleStage.DELETED,
        "ALL": None,
    }
    if view is None:
        return LifecycleStage.ACTIVE
    return views[_enum_name(view, tuple(views), name)]


def run_status(status: EnumName | None) -> RunStatus | None:
    """Return the run status that MLflow's name or number stands for.

    Raises:
        InvalidInput: If there is no such status.
    """
    if status is None:
        return None
    return RunStatus(_enum_name(status, ("RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"), "status"))


def _enum_name(value: EnumName, names: tuple[str, ...], parameter: str) -> str:
    """Return the name of an enum value; numbers count from 1."""
    text = str(value)
    if text in names:
        return text
    if text.isascii() and text.isdigit() and 1 <= int(text) <= len(names):
        return names[int(text) - 1]
    raise invalid(value, parameter, f"it must be one of {', '.join(names)}.")


def tag_map(pairs: list[KeyValue] | None) -> dict[str, str]:
    """Return tags as a map; of two with one key the last stays."""
    return {pair.key: pair.value for pair in pairs or []}


def experiment_info(experiment: Experiment) -> ExperimentInfo:
    return ExperimentInfo(
        experiment_id=experiment.experiment_id,
        name=experiment.name,
        artifact_location=experiment.artifact_location,
        lifecycle_stage=experiment.lifecycle_stage,
        last_update_time=experiment.last_update_time,
        creation_time=experiment.creation_time,
        tags=_pairs(experiment.tags),
    )


def metric_info(metric: Metric) -> MetricInfo:
    value = metric.value
    return MetricInfo(
        key=metric.key,
        value=value if math.isfinite(value) else float_to_json(value),
        timestamp=metric.timestamp,
        step=metric.step,
    )


def run_info(run: Run) -> RunInfo:
    return RunInfo(
        run_id=run.run_id,
        run_uuid=run.run_id,
        run_name=run.name,
        experiment_id=run.experiment_id,
        user_id=run.user,
        status=run.status.as_mlflow,
        start_time=run.start_time,
        end_time=run.end_time,
        artifact_uri=run.artifact_uri,
        lifecycle_stage=run.lifecycle_stage,
    )


def run_form(run: Run) -> RunForm:
    data = RunData(metrics=[metric_info(metric) for metric in run.metrics.values()], params=_pairs(run.params), tags=_pairs(run.tags))
    return RunForm(info=run_info(run), data=data, inputs=_inputs_form(run.inputs), outputs=_outputs_form(run.outputs))


_NO_INPUTS, _NO_OUTPUTS = InputsForm(), OutputsForm()


def _inputs_form(inputs: RunInputs) -> InputsForm:
    if not inputs.datasets and not inputs.models:
        return _NO_INPUTS
    return InputsForm(
        dataset_inputs=[DatasetInputForm(tags=_pairs(one.tags), dataset=_dataset_form(one.dataset)) for one in inputs.datasets],
        model_inputs=[ModelInputForm(model_id=model_id) for model_id in inputs.models],
    )


def _outputs_form(outputs: list[ModelOutput]) -> OutputsForm:
    if not outputs:
        return _NO_OUTPUTS
    return OutputsForm(model_outputs=[ModelOutputForm(model_id=output.model_id, step=output.step) for output in outputs])


def _dataset_form(dataset: Dataset) -> DatasetForm:
    return DatasetForm(
        name=dataset.name,
        digest=dataset.digest,
        source_type=dataset.source_type,
        source=dataset.source,
        schema=UNSET if dataset.schema is None else dataset.schema,
        profile=UNSET if dataset.profile is None else dataset.profile,
    )


def _pairs(items: dict[str, str]) -> list[KeyValue]:
    return [KeyValue(key=key, value=value) for key, value in items.items()]
