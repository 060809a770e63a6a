"""MLflow's operations on assessments: what people, programs and models judge of a trace."""

from __future__ import annotations

import re
import time
from typing import Any

from mlops_nb.api.mlflow.traces import TraceId, twins_v3
from mlops_nb.api.mlflow.wire import Answer, Empty, required
from mlops_nb.api.operation import Context, Permission, operation
from mlops_nb.core.traces import Assessment, new_assessment_id, text_of_time
from mlops_nb.errors import InvalidInput

_PATH = "/traces/{trace_id}/assessments"
_UPPER = re.compile(r"[A-Z]")
_CHANGEABLE = frozenset({"assessment_name", "feedback", "expectation", "rationale", "metadata", "source", "span_id", "error", "valid"})
_KINDS = ("feedback", "expectation", "issue")


class CreateAssessment(TraceId, kw_only=True):
    assessment: dict[str, Any] | None = None


class AssessmentId(TraceId, kw_only=True):
    assessment_id: str | None = None

    def ids(self) -> tuple[str, str]:
        """Return the ids of the trace and of the assessment."""
        return required(self.trace_id, "trace_id"), required(self.assessment_id, "assessment_id")


class UpdateAssessment(AssessmentId, kw_only=True):
    assessment: dict[str, Any] | None = None
    update_mask: str | None = None


class AssessmentAnswer(Answer, kw_only=True):
    assessment: dict[str, Any]


@operation("mlflow.assessments.create", "POST", twins_v3(_PATH), permission=Permission.WRITE)
def create_assessment(context: Context, request: CreateAssessment) -> AssessmentAnswer:
    """Add an assessment to a trace. One that it overrides is no longer valid."""
    trace_id = required(request.trace_id, "trace_id")
    given = _in_snake_case(required(request.assessment, "assessment"))
    required(given.get("assessment_name"), "assessment.assessment_name")
    if not any(kind in given for kind in _KINDS):
        raise InvalidInput("One of `feedback`, `expectation` or `issue` must be specified.")
    now = text_of_time(time.time_ns() // 1_000_000)
    body: dict[str, Any] = {"create_time": now, "last_update_time": now, "valid": True}
    body |= {key: value for key, value in given.items() if value is not None}
    body |= {"assessment_id": new_assessment_id(), "trace_id": trace_id}
    context.store.traces.add_assessment(trace_id, Assessment(assessment_id=body["assessment_id"], body=body))
    return AssessmentAnswer(assessment=body)


@operation("mlflow.assessments.get", "GET", twins_v3(f"{_PATH}/{{assessment_id}}"), permission=Permission.READ)
def get_assessment(context: Context, request: AssessmentId) -> AssessmentAnswer:
    """Return an assessment of a trace."""
    return AssessmentAnswer(assessment=context.store.traces.get_assessment(*request.ids()).body)


@operation("mlflow.assessments.update", "PATCH", twins_v3(f"{_PATH}/{{assessment_id}}"), permission=Permission.WRITE)
def update_assessment(context: Context, request: UpdateAssessment) -> AssessmentAnswer:
    """Replace the fields of an assessment that the mask names; entries of its metadata are added."""
    given = _in_snake_case(required(request.assessment, "assessment"))
    masked = [_snake_case(path.strip()) for path in required(request.update_mask, "update_mask").split(",")]
    unknown = [path for path in masked if path not in _CHANGEABLE]
    if unknown:
        raise InvalidInput(f"The field '{unknown[0][:40]}' of an assessment cannot change.", hint=f"Use {', '.join(sorted(_CHANGEABLE))}.")
    changes = {path: given[path] for path in masked if path in given}
    changes["last_update_time"] = text_of_time(time.time_ns() // 1_000_000)
    return AssessmentAnswer(assessment=context.store.traces.update_assessment(*request.ids(), changes).body)


@operation("mlflow.assessments.delete", "DELETE", twins_v3(f"{_PATH}/{{assessment_id}}"), permission=Permission.WRITE)
def delete_assessment(context: Context, request: AssessmentId) -> Empty:
    """Remove an assessment of a trace. One that it had overridden is valid again."""
    context.store.traces.delete_assessment(*request.ids())
    return Empty()


def _in_snake_case(body: dict[str, Any]) -> dict[str, Any]:
    return {_snake_case(key): value for key, value in body.items()}


def _snake_case(name: str) -> str:
    return _UPPER.sub(lambda match: f"_{match[0].lower()}", name)


OPERATIONS = (create_assessment, get_assessment, update_assessment, delete_assessment)
