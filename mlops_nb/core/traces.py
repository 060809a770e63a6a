"""Traces: what is known of each call that was traced. Its spans are a file among the trace's artifacts."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec

from mlops_nb.core.records import Record
from mlops_nb.errors import InvalidInput

# Tags and metadata that MLflow's clients read.
TAG_ARTIFACT_LOCATION = "mlflow.artifactLocation"
TAG_LINKED_PROMPTS = "mlflow.linkedPrompts"
META_SOURCE_RUN = "mlflow.sourceRun"

SPANS_FILE = "traces.json"

_ID = re.compile(r"[0-9a-zA-Z_-]{1,64}")
_DURATION = re.compile(r"(\d{1,12})(?:\.(\d{1,9}))?s")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class TraceState(StrEnum):
    UNSPECIFIED = "STATE_UNSPECIFIED"
    OK = "OK"
    ERROR = "ERROR"
    IN_PROGRESS = "IN_PROGRESS"


class Assessment(Record, frozen=True, kw_only=True):
    """A judgement on a trace. `body` is all of it in MLflow's JSON form."""

    assessment_id: str
    body: dict[str, Any]


class TraceInfo(Record, frozen=True, kw_only=True):
    """A trace without its spans. Times are milliseconds."""

    trace_id: str
    experiment_id: str
    client_request_id: str | None = None
    request_time: int
    duration_ms: int | None = None
    state: TraceState
    request_preview: str | None = None
    response_preview: str | None = None
    metadata: dict[str, str] = {}
    tags: dict[str, str] = {}
    assessments: list[Assessment] = []


class TraceQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which traces, in which order.

    Attributes:
        experiment_ids: Only of these.
        filter: In the language of `core.filters`.
        order_by: Clauses such as `timestamp_ms ASC`. Ties, and all when empty, by time descending, then id.
        max_results: At most `MAX_PAGE`.
        page_token: From the last `Page`.
    """

    experiment_ids: list[str]
    filter: str = ""
    order_by: list[str] = []
    max_results: int = 100
    page_token: str | None = None


def check_trace_id(trace_id: str) -> str:
    """Return `trace_id` if it may be one: it becomes the name of a folder.

    Raises:
        InvalidInput: If it is too long or has other characters than letters, digits, `_` and `-`.
    """
    if not _ID.fullmatch(trace_id):
        raise InvalidInput(f"Invalid trace ID {trace_id[:80]!r}.", hint="Use 1 to 64 letters, digits, '_' or '-'.")
    return trace_id


def new_assessment_id() -> str:
    """Return the id of a new assessment: `a-` and 32 hexadecimal digits."""
    return f"a-{secrets.token_hex(16)}"


def merged_prompts(known: str | None, added: Iterable[tuple[str, str]]) -> str:
    """Return the value of the tag that names the prompts of a trace, each once.

    Args:
        known: The value so far; what is not a JSON array of it is dropped.
        added: Names and versions.
    """
    try:
        listed = json.loads(known or "[]")
    except ValueError:
        listed = []
    entries = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    entries += [{"name": name, "version": version} for name, version in added]
    unique = {(entry.get("name"), entry.get("version")): entry for entry in entries}
    return json.dumps(list(unique.values()))


def text_of_time(milliseconds: int) -> str:
    """Return a time as RFC 3339 text."""
    moment = datetime.fromtimestamp(milliseconds // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03d}Z"


def time_of_text(text: str) -> int:
    """Return the milliseconds since 1970 of an RFC 3339 text.

    Raises:
        InvalidInput: If it is none.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(f"'{text[:40]}' is not a time.", hint="Write it as 2026-11-21T08:09:12.971Z.") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def text_of_duration(milliseconds: int) -> str:
    """Return a duration as protobuf writes it: seconds, with a fraction where there is one."""
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds}.{rest:03d}s" if rest else f"{seconds}s"


def duration_of_text(text: str) -> int:
    """Return the milliseconds of a duration in seconds such as `0.012s`.

    Raises:
        InvalidInput: If it is none.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise InvalidInput(f"'{text[:40]}' is not a duration.", hint="Write it as 0.012s.")
    return int(match[1]) * 1000 + int((match[2] or "").ljust(3, "0")[:3])
