"""The contract of traces: what is known of each call that was traced."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from mlops_nb.core.traces import Assessment, TraceInfo, TraceQuery
from mlops_nb.store.page import Page


class TraceStore(ABC):
    """Where traces are kept. Threads, crashes and errors: as for `TrackingStore`."""

    @abstractmethod
    def put(self, trace: TraceInfo) -> TraceInfo:
        """Write a trace and return it as it is stored, with the place of its artifacts among its tags.

        Of a trace that is there already the columns are replaced; tags, metadata and assessments are added to it.

        Raises:
            NotFound: If there is no such experiment.
            InvalidInput: If the experiment is deleted, or the trace belongs to another one.
        """

    @abstractmethod
    def get(self, trace_id: str) -> TraceInfo:
        """Return a trace.

        Raises:
            NotFound: If there is none of this id.
        """

    @abstractmethod
    def get_many(self, trace_ids: Sequence[str]) -> list[TraceInfo]:
        """Return those of the traces that are there, in the order asked for."""

    @abstractmethod
    def search(self, query: TraceQuery) -> Page[TraceInfo]:
        """Return the traces that fit.

        Raises:
            FilterError: If the filter or the order does not parse.
        """

    @abstractmethod
    def set_tag(self, trace_id: str, key: str, value: str | None) -> None:
        """Set a tag; None removes it.

        Raises:
            NotFound: If there is no such trace, or no such tag to remove.
        """

    @abstractmethod
    def delete(
        self, experiment_id: str, *, trace_ids: Sequence[str] | None = None, until: int | None = None, max_traces: int | None = None
    ) -> list[str]:
        """Delete traces of an experiment and return their ids: those named, or the oldest up to a time.

        Args:
            experiment_id: Traces of others stay.
            trace_ids: Which; those that are not there are left out of the answer.
            until: Those requested up to this time, oldest first; only without `trace_ids`.
            max_traces: At most so many.
        """

    @abstractmethod
    def link_to_run(self, run_id: str, trace_ids: Sequence[str]) -> None:
        """Let searches for a run's traces find these. Linking twice is as once; traces may be linked before they arrive."""

    @abstractmethod
    def get_assessment(self, trace_id: str, assessment_id: str) -> Assessment:
        """Return an assessment.

        Raises:
            NotFound: If there is no such trace or assessment.
        """

    @abstractmethod
    def add_assessment(self, trace_id: str, assessment: Assessment) -> None:
        """Write a new assessment. One that it overrides is no longer valid.

        Raises:
            NotFound: If there is no such trace, or no such assessment to override.
        """

    @abstractmethod
    def update_assessment(self, trace_id: str, assessment_id: str, changes: Mapping[str, Any]) -> Assessment:
        """Replace fields of an assessment, of its metadata only the entries given, and return it.

        Raises:
            NotFound: If there is no such trace or assessment.
        """

    @abstractmethod
    def delete_assessment(self, trace_id: str, assessment_id: str) -> None:
        """Remove an assessment. One that it had overridden is valid again.

        Raises:
            NotFound: If there is no such trace or assessment.
        """

    @abstractmethod
    def link_prompts(self, trace_id: str, prompts: Sequence[tuple[str, str]]) -> None:
        """Note the prompts, as name and version, that a traced call used, in the tag where clients look for them.

        Raises:
            NotFound: If there is no such trace.
        """
