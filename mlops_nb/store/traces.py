"""The contract of traces: what is known of each call that was traced."""

from __future__ import annotations

from abc import ABC


class TraceStore(ABC):
    """The contract of traces: what is known of each call that was traced."""
