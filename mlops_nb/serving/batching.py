"""Whether a model may be asked several requests at once, and whether that pays: tried out before the first request.

A row's prediction must not depend on the rows beside it, to the last bit, and asking together must take clearly less
time. Models of unknown code are always asked one request at a time: no trial proves what they do with a whole table.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from mlops_nb.models.loading import LoadedModel

_TOGETHER = 16
_GAIN = 2.0
_ROW_BY_ROW = frozenset({"sklearn", "xgboost", "lightgbm", "catboost"})
_LONGEST_TRIAL = 2.0
_TRIES = 3


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """What was found.

    Attributes:
        together: Whether requests are asked together.
        why: In words.
        one_row_ms: How long one row takes; None where it was not tried.
        gain: How many times faster rows are together.
    """

    together: bool
    why: str
    one_row_ms: float | None = None
    gain: float | None = None

    @property
    def is_quick(self) -> bool:
        """Whether a row takes less than a millisecond."""
        return self.one_row_ms is not None and self.one_row_ms < 1


def try_out(model: LoadedModel, example: Any = None) -> Trial:
    """Ask a model the same rows one by one and together. Costs at most about two seconds, mostly milliseconds.

    Args:
        model: Loaded; this is also its warm-up.
        example: Rows as an array, a column for each field of the signature; random ones without.
    """
    import numpy

    if not model.takes_arrays:
        return Trial(together=False, why="the model is asked with tables")
    if not _ROW_BY_ROW & model.metadata.flavors.keys():
        return Trial(together=False, why="the model's code is unknown")
    fields = (model.signature.inputs if model.signature else None) or []
    try:
        rows = _rows(numpy, example, len(fields), {str(field["type"]) for field in fields})
        model.predict_array(rows[:1])
        began = time.perf_counter()
        single, times = [], []
        for i in range(_TOGETHER):
            start = time.perf_counter()
            single.append(numpy.asarray(model.predict_array(rows[i : i + 1])))
            times.append(time.perf_counter() - start)
            if time.perf_counter() - began > _LONGEST_TRIAL:
                return Trial(together=False, why="the model is too slow to be tried out", one_row_ms=times[0] * 1e3)
        took = float("inf")
        for _ in range(_TRIES):  # the fastest: others on the machine only make it slower
            start = time.perf_counter()
            together = numpy.asarray(model.predict_array(rows))
            took = min(took, time.perf_counter() - start)
    except Exception as error:  # noqa: BLE001 - a model may dislike rows that nobody chose; requests are asked one by one then
        return Trial(together=False, why=f"the trial failed: {type(error).__name__}")
    one_row = min(times)
    gain = one_row * _TOGETHER / max(took, 1e-9)
    if not _same(numpy, numpy.concatenate(single), together):
        return Trial(together=False, why="rows together give other answers", one_row_ms=one_row * 1e3, gain=gain)
    if gain < _GAIN:
        return Trial(together=False, why="rows together are not faster", one_row_ms=one_row * 1e3, gain=gain)
    return Trial(together=True, why="rows together give the same answers, faster", one_row_ms=one_row * 1e3, gain=gain)


def _rows(numpy: Any, example: Any, columns: int, kinds: set[str]) -> Any:
    if example is not None and len(example):
        return numpy.resize(example, (_TOGETHER, example.shape[1]))
    random = numpy.random.default_rng(0)
    if kinds <= {"float", "double"}:
        return random.normal(size=(_TOGETHER, columns)) * 5
    return random.integers(0, 10, size=(_TOGETHER, columns))


def _same(numpy: Any, one: Any, other: Any) -> bool:
    return one.shape == other.shape and bool(numpy.array_equal(one, other, equal_nan=one.dtype.kind == "f"))
