"""The data of two runs side by side: read from their data sets in the store."""

from __future__ import annotations

from html import escape
from typing import Any

import msgspec

from mlops_nb.core.data_comparison import DataComparison, Known, compare_known
from mlops_nb.core.data_profile import from_json, sketch_from_bytes
from mlops_nb.core.datasets import DatasetInput
from mlops_nb.core.records import Run
from mlops_nb.errors import InvalidInput, MlopsError
from mlops_nb.store.base import TrackingStore

_MAX_SKETCH = 64_000_000


class RunDataComparison(msgspec.Struct, frozen=True, kw_only=True):
    """The data of two runs: what was read for the same purpose or under the same name, side by side.

    `only_base` and `only_other` are names of data sets that only one of them read.
    """

    pairs: list[DataComparison]
    only_base: list[str]
    only_other: list[str]

    @property
    def same(self) -> bool:
        """Whether both runs read the same data."""
        return not self.only_base and not self.only_other and all(pair.same for pair in self.pairs)

    def __str__(self) -> str:
        lines = [str(pair) for pair in self.pairs]
        lines += [f"only the base read {name}" for name in self.only_base]
        lines += [f"the base did not read {name}" for name in self.only_other]
        return "\n".join(lines) or "Neither run read data that is known."

    def table(self) -> list[dict[str, Any]]:
        """Return one row a column of each data set, for a table."""
        return [{"data": pair.names[1], **row} for pair in self.pairs for row in pair.table()]

    def _repr_html_(self) -> str:
        rest = str(msgspec.structs.replace(self, pairs=[]))
        return "".join(pair._repr_html_() for pair in self.pairs) + (
            f"<div>{escape(rest)}</div>" if self.only_base or self.only_other or not self.pairs else ""
        )


def compare_run_data(store: TrackingStore, base: Run, other: Run) -> RunDataComparison:
    """Compare the data sets that two runs read."""
    pairs, only_base, only_other = _paired(base.inputs.datasets, other.inputs.datasets)
    return RunDataComparison(
        pairs=[compare_known(_of_run(store, base, a), _of_run(store, other, b)) for a, b in pairs],
        only_base=[one.dataset.name for one in only_base],
        only_other=[one.dataset.name for one in only_other],
    )


def _paired(
    base: list[DatasetInput], other: list[DatasetInput]
) -> tuple[list[tuple[DatasetInput, DatasetInput]], list[DatasetInput], list[DatasetInput]]:
    """Pair data sets: equal ones first, then those of the same name and purpose, then of the same name, then of the same purpose."""
    pairs: list[tuple[DatasetInput, DatasetInput]] = []
    left, right = list(base), list(other)

    def same_data(a: DatasetInput, b: DatasetInput) -> bool:
        return a.dataset.digest == b.dataset.digest

    def same_name(a: DatasetInput, b: DatasetInput) -> bool:
        return a.dataset.name == b.dataset.name

    def same_use(a: DatasetInput, b: DatasetInput) -> bool:
        return a.context is not None and a.context == b.context

    for fits in (
        lambda a, b: same_data(a, b) and same_name(a, b),
        same_data,
        lambda a, b: same_name(a, b) and a.context == b.context,
        same_name,
        same_use,
    ):
        for a in list(left):
            b = next((b for b in right if fits(a, b)), None)
            if b is not None:
                pairs.append((a, b))
                left.remove(a)
                right.remove(b)
    order = {id(one): place for place, one in enumerate(base)}
    pairs.sort(key=lambda pair: order[id(pair[0])])
    return pairs, left, right


def _of_run(store: TrackingStore, run: Run, used: DatasetInput) -> Known:
    dataset = used.dataset
    profile = from_json(dataset.profile)
    sketch = None
    if profile is not None and profile.sketch is not None:
        try:
            content = bytearray()
            for chunk in store.read_artifact(run.run_id, profile.sketch):
                content += chunk
                if len(content) > _MAX_SKETCH:
                    raise InvalidInput("too long for a sketch")
            sketch = sketch_from_bytes(bytes(content))
        except MlopsError:  # deleted, or not delivered yet: then only the rows cannot be counted
            sketch = None
    return Known(name=dataset.name, digest=dataset.digest, profile=profile, sketch=sketch)
