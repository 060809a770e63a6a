"""What a supervisor and a worker say to each other: one JSON object a line, over a pair of sockets.

The worker's first line is its configuration. The end of the stream tells each side that the other is gone.
"""

from __future__ import annotations

from typing import Any

import msgspec

from mlops_nb.monitoring.bins import Reference
from mlops_nb.monitoring.observed import Counts
from mlops_nb.serving.app import Door
from mlops_nb.serving.limits import Limits


class WorkerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker serves, and how.

    Attributes:
        name: Of the endpoint.
        version: Of the model, as the protocols tell it.
        folder: The model folder.
        model: Where the model is from.
        figures: The folder of its figures.
        listeners: Numbers of the open sockets that it accepts connections from.
        allow_unsafe: Load the model although it can run code on loading.
        gpu: Compute on a GPU.
        accelerate: `auto`, `off` or `require`.
        reference: What requests are counted by; `reference_number` comes back with the counts.
    """

    name: str
    version: str
    folder: str
    model: str
    figures: str
    limits: Limits
    door: Door
    listeners: list[int] = []
    allow_unsafe: bool = False
    gpu: bool = False
    accelerate: str = "off"
    reference: Reference | None = None
    reference_number: int = 0


class Ready(msgspec.Struct, frozen=True, kw_only=True, tag="ready"):
    """The worker takes requests.

    Attributes:
        signature: As in MLmodel.
        example: A request that the model answers.
        platform: The framework.
        load_ms: How long loading took.
        batching: Why requests are asked together or one by one.
        acceleration: What came of accelerating it, in words; "" where nobody asked for that.
        engine: What computes: `model` itself, or `onnxruntime`.
    """

    signature: dict[str, Any] | None = None
    example: Any = None
    platform: str = ""
    load_ms: float = 0.0
    batching: str = ""
    acceleration: str = ""
    engine: str = ""


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag="failed"):
    """The model cannot be loaded; trying again will not help."""

    message: str
    hint: str | None = None
    code: str = "INVALID_PARAMETER_VALUE"


class Alive(msgspec.Struct, frozen=True, kw_only=True, tag="alive"):
    """The event loop of the worker runs."""


class Stuck(msgspec.Struct, frozen=True, kw_only=True, tag="stuck"):
    """The model computes longer than a request may take."""


class Seen(msgspec.Struct, frozen=True, kw_only=True, tag="seen"):
    """What was counted of requests since the last time, by the reference of this number."""

    reference_number: int
    counts: Counts


class Watch(msgspec.Struct, frozen=True, kw_only=True, tag="watch"):
    """Count requests by another reference, or none: from the supervisor to the worker."""

    reference: Reference | None
    reference_number: int


class Drain(msgspec.Struct, frozen=True, kw_only=True, tag="drain"):
    """Finish the requests that run, then end: from the supervisor to the worker."""


Word = Ready | Failed | Alive | Stuck | Seen
Order = Drain | Watch

encode = msgspec.json.Encoder().encode
decode_word = msgspec.json.Decoder(Word).decode
decode_order = msgspec.json.Decoder(Order).decode
decode_config = msgspec.json.Decoder(WorkerConfig).decode


def line(word: Any) -> bytes:
    """Return a word as a line."""
    return encode(word) + b"\n"
