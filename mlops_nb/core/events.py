"""What can happen to a run, as events: the lines of the journal and the body of the ingest operation.

An event carries `seq`, its number within one source (one journal), counted from 1. A store remembers the
highest number it has applied per source, so that a batch can be sent again without harm.
"""

from __future__ import annotations

import msgspec

from mlops_nb.core.datasets import DatasetInput
from mlops_nb.core.logged_models import LoggedModelStatus
from mlops_nb.core.records import CellExecution
from mlops_nb.core.run_state import RunStatus
from mlops_nb.errors import InvalidInput


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="t", omit_defaults=True):
    """Base of the events. `ts` is when it happened (ms). The journal gives `seq`."""

    seq: int = 0
    ts: int = 0


class RunStarted(Event, frozen=True, kw_only=True, tag="run"):
    """The run begins, or goes on (`resume`) in another process."""

    experiment: str
    name: str
    user: str = ""
    tags: dict[str, str] = {}
    resume: bool = False


class MetricLogged(Event, frozen=True, kw_only=True, tag="m"):
    """One point. `value` is a number, or "NaN", "Infinity", "-Infinity"."""

    key: str
    value: float | str
    step: int
    cell: int | None = None


class ParamLogged(Event, frozen=True, kw_only=True, tag="p"):
    """A param; the first value stays."""

    key: str
    value: str
    cell: int | None = None


class TagSet(Event, frozen=True, kw_only=True, tag="g"):
    """A tag; the last value stays. None removes it."""

    key: str
    value: str | None = None


class ArtifactAdded(Event, frozen=True, kw_only=True, tag="a"):
    """A file was added, to the run or to a model that it made. `spool` names the copy that is still to be delivered."""

    path: str
    spool: str | None = None
    model_id: str | None = None
    cell: int | None = None


class DatasetLogged(Event, frozen=True, kw_only=True, tag="d"):
    """The run read a data set."""

    input: DatasetInput
    cell: int | None = None


class ModelLogged(Event, frozen=True, kw_only=True, tag="model"):
    """The run made a model, which is PENDING until its files are there; told again, its status changes."""

    model_id: str
    name: str
    status: LoggedModelStatus
    model_type: str = ""
    step: int = 0
    params: dict[str, str] = {}
    tags: dict[str, str] = {}
    cell: int | None = None


class CellRan(Event, frozen=True, kw_only=True, tag="c"):
    """A cell began or ended; the last one of an index stays."""

    cell: CellExecution


class RunEnded(Event, frozen=True, kw_only=True, tag="end"):
    """The run ended."""

    status: RunStatus
    reason: str | None = None


AnyEvent = RunStarted | MetricLogged | ParamLogged | TagSet | ArtifactAdded | DatasetLogged | ModelLogged | CellRan | RunEnded

_DECODER = msgspec.json.Decoder(AnyEvent)


def encode_event(event: AnyEvent) -> bytes:
    """Return the line of the journal of an event.

    Raises:
        InvalidInput: If something in it is of another type than it has to be, so that nobody could read it back.
    """
    try:
        line = msgspec.json.encode(event)
        _DECODER.decode(line)
    except (msgspec.MsgspecError, TypeError, ValueError) as error:  # the latter two: what JSON has no word for
        what = type(event).__name__
        raise InvalidInput(f"This cannot be recorded: {error}.", hint=f"Use texts and numbers ({what}).") from None
    return line


def decode_event(line: bytes) -> AnyEvent:
    """Decode one line of a journal.

    Raises:
        msgspec.DecodeError: If it is not an event.
    """
    event: AnyEvent = _DECODER.decode(line)
    return event
