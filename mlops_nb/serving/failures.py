"""What a model server answers when it cannot predict: MLflow's codes, statuses and bodies."""

from __future__ import annotations

import json
from typing import Any

# The classes and states that MLflow 3.17 writes beside its codes.
_KNOWN = {
    "BAD_REQUEST": (400, "KAM00", "INVALID_PARAMETER_VALUE"),
    "INVALID_PARAMETER_VALUE": (400, "KAM00", "INVALID_PARAMETER_VALUE"),
    "PERMISSION_DENIED": (403, "KAM00", "PERMISSION_DENIED"),
    "CUSTOMER_UNAUTHORIZED": (401, "KAM00", "PERMISSION_DENIED"),
    "NOT_FOUND": (404, "KAM00", "RESOURCE_NOT_FOUND"),
    "REQUEST_LIMIT_EXCEEDED": (429, None, None),
    "TEMPORARILY_UNAVAILABLE": (503, "XXM00", "CLIENT_INTERNAL_ERROR"),
    "INTERNAL_ERROR": (500, "XXM00", "CLIENT_INTERNAL_ERROR"),
}
PROTOCOL_CHANGE = (
    "IMPORTANT: The MLflow Model scoring protocol has changed in MLflow version 2.0. If you are"
    " seeing this error, you are likely using an outdated scoring request format. To resolve the"
    " error, either update your request format or adjust your MLflow Model's requirements file to"
    " specify an older version of MLflow (for example, change the 'mlflow' requirement specifier"
    " to 'mlflow==1.30.0'). If you are making a request using the MLflow client"
    " (e.g. via `mlflow.pyfunc.spark_udf()`), upgrade your MLflow client to a version >= 2.0 in"
    " order to use the new request format. For more information about the updated MLflow"
    " Model scoring protocol in MLflow 2.0, see"
    " https://mlflow.org/docs/latest/models.html#deploy-mlflow-models."
)
_LONGEST = 4000


class ScoringFailure(Exception):
    """A request that gets no prediction.

    Args:
        message: What is wrong, in MLflow's words where it has some.
        code: MLflow's error code.
        status: The HTTP status; that of the code by default.
        stack_trace: Of the model's own code.
        retry_after: Seconds after which the client may come again.
        plain: Answer the message alone, as text.
        is_schema: The data are not what the signature says; MLflow has a class of its own for that.
    """

    def __init__(
        self,
        message: str,
        code: str = "BAD_REQUEST",
        *,
        status: int | None = None,
        stack_trace: str | None = None,
        retry_after: int | None = None,
        plain: bool = False,
        is_schema: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message if len(message) <= _LONGEST else f"{message[: _LONGEST // 2]} … {message[-_LONGEST // 2 :]}"
        self.code = code
        self.status = status or _KNOWN[code][0]
        self.stack_trace = stack_trace
        self.retry_after = retry_after
        self.plain = plain
        self.is_schema = is_schema

    @property
    def content_type(self) -> bytes:
        return b"text/plain; charset=utf-8" if self.plain else b"application/json"

    def body(self) -> bytes:
        """Return the answer's body."""
        if self.plain:
            return self.message.encode("utf-8", "replace")
        _, state, kind = (400, "KAM01", "SCHEMA_ENFORCEMENT_FAILED") if self.is_schema else _KNOWN[self.code]
        document: dict[str, Any] = {"error_code": self.code, "message": self.message}
        if state is not None:
            document |= {"sqlstate": state, "error_class": kind}
        if self.stack_trace is not None:
            document["stack_trace"] = self.stack_trace[-_LONGEST:]
        return json.dumps(document).encode()


def invalid(message: str) -> ScoringFailure:
    """Return MLflow's refusal of an input."""
    return ScoringFailure(f"Invalid input. {message}")


def unsupported(message: str) -> ScoringFailure:
    """Return MLflow's refusal of a form."""
    return ScoringFailure(message, status=415, plain=True)


def too_large(message: str) -> ScoringFailure:
    """Return the refusal of a request over a limit."""
    return ScoringFailure(message, "INVALID_PARAMETER_VALUE", status=413)
