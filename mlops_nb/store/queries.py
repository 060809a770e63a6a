"""What is asked of a store: which runs or experiments, in which order."""

from __future__ import annotations

import msgspec

from mlops_nb.core.records import LifecycleStage


class RunQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which runs, in which order.

    Attributes:
        experiment_ids: Only these; None means all.
        filter: In the language of `core.filters`.
        text: Free text that the run's name or a tag's value contains, any case.
        order_by: Clauses such as `metrics.acc DESC`. Ties, and all when empty, by start time descending, then id.
        lifecycle_stage: None means deleted and active ones.
        max_results: At most `MAX_PAGE`.
        page_token: From the last `Page`.
    """

    experiment_ids: list[str] | None = None
    filter: str = ""
    text: str = ""
    order_by: list[str] = []
    lifecycle_stage: LifecycleStage | None = LifecycleStage.ACTIVE
    max_results: int = 1000
    page_token: str | None = None


class ExperimentQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which experiments, in which order.

    Attributes:
        filter: In the language of `core.filters`.
        order_by: Clauses such as `name ASC`. Ties, and all when empty, by last update descending, then id descending.
        lifecycle_stage: None means deleted and active ones.
        max_results: At most `MAX_PAGE`.
        page_token: From the last `Page`.
    """

    filter: str = ""
    order_by: list[str] = []
    lifecycle_stage: LifecycleStage | None = LifecycleStage.ACTIVE
    max_results: int = 1000
    page_token: str | None = None
