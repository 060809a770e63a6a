"""What a worker notes of requests and predictions: counts in bins, made after the answer in a thread of its own.

The way of a request pays for one look at a number and one `append`. No row, value or text leaves the process: only how
many values fell into each bin of the reference. Of what comes faster than a few hundred rows a second, a part is looked at.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mlops_nb.monitoring.bins import ColumnBins, Reference, columns_of, count
from mlops_nb.monitoring.observed import Counts
from mlops_nb.serving.records import OUTPUT

if TYPE_CHECKING:
    from mlops_nb.serving.invocations import Asked

log = logging.getLogger("mlops_nb.serving")

_TICK = 1.0
_ROWS_A_TICK = 500
_ROWS_A_REQUEST = 200
_COLUMNS_AT_ONCE = 20
_TABLE_COSTS = 8
"""A table of pandas costs as much to look at as so many rows of an array."""


class Observer:
    """Counts.

    Threads: `offer` from those that answer, `watch` from any.

    Args:
        names: The columns of an array, as the signature has them; none: they are numbered.
        say: Called with the number of the reference and what was counted since the last time, from a thread.
    """

    def __init__(self, names: list[str], say: Callable[[int, Counts], None]) -> None:
        self._names = names
        self._say = say
        self._room = 0
        self._passed = 0
        self._offered: deque[tuple[Any, Any]] = deque()
        self._reference: Reference | None = None
        self._number = 0
        self._changed = threading.Lock()
        self._thread: threading.Thread | None = None

    def watch(self, number: int, reference: Reference | None) -> None:
        """Count by the bins of another reference from now on; None: count nothing."""
        with self._changed:
            self._reference, self._number = reference, number
            self._offered.clear()
            self._passed = 0
            self._room = _ROWS_A_TICK if reference is not None else 0
            if reference is not None and self._thread is None:
                self._thread = threading.Thread(target=self._work, name="mlops-observer", daemon=True)
                self._thread.start()

    def offer(self, asked: Asked, prediction: Any) -> None:
        """Take note of an answered request, if there is room; costs about a microsecond."""
        if self._reference is None:
            return
        if self._room <= 0:
            self._passed += asked.rows
            return
        array = asked.array
        self._room -= min(asked.rows, _ROWS_A_REQUEST) if array is not None else max(asked.rows, _TABLE_COSTS)
        self._offered.append((asked.data if array is None else array, prediction))

    def _work(self) -> None:
        while True:
            time.sleep(_TICK)
            with self._changed:
                reference, number = self._reference, self._number
                offered = [self._offered.popleft() for _ in range(len(self._offered))]
                passed, self._passed = self._passed, 0
                self._room = _ROWS_A_TICK if reference is not None else 0
            if reference is None or not (offered or passed):
                continue
            try:
                counts = self._count(reference, offered)
            except Exception:  # what a client sends or a model answers may be anything; watching goes on
                log.debug("Requests could not be looked at.", exc_info=True)
                counts = Counts()
            counts.passed += passed
            self._say(number, counts)

    def _count(self, reference: Reference, offered: list[tuple[Any, Any]]) -> Counts:
        counts = Counts()
        inputs: list[Any] = []
        outputs: list[Any] = []
        for data, prediction in offered:
            rows = _rows(data)
            step = max(1, -(-rows // _ROWS_A_REQUEST))
            looked = -(-rows // step)
            counts.rows += looked
            counts.passed += rows - looked
            inputs.append(_every(data, step))
            if _rows(prediction) == rows:
                outputs.append(_every(prediction, step))
        together = _joined(inputs)
        names = self._names if not hasattr(together, "keys") else []
        columns = columns_of(together)
        if names:
            columns = [(names[int(i)], values) for i, values in columns if int(i) < len(names)]
        answers = _joined(outputs)
        counts.inputs = _counted(reference.inputs, columns)
        counts.outputs = _counted(reference.outputs, columns_of(answers, alone=OUTPUT))
        _add_sureness(counts, answers)
        return counts


def _joined(parts: list[Any]) -> Any:
    """Return parts one after the other: arrays as one array, which is quick; anything else as lists by column."""
    import numpy as np

    if not parts:
        return ()
    shape = getattr(parts[0], "shape", ())[1:]
    if all(isinstance(one, np.ndarray) and one.ndim in (1, 2) and one.shape[1:] == shape for one in parts):
        return np.concatenate(parts)
    columns: dict[str, list[Any]] = {}
    for part in parts:
        named = part.to_dict("list").items() if hasattr(part, "to_dict") and hasattr(part, "columns") else columns_of(part, alone=OUTPUT)
        for name, values in named:
            columns.setdefault(str(name), []).extend(values.tolist() if hasattr(values, "tolist") else values)
    return columns


def _counted(bins: list[ColumnBins], columns: list[tuple[str, Any]]) -> list[list[int]]:
    given = dict(columns)
    found = []
    for number, column in enumerate(bins):
        found.append(count(given.get(column.name, []), column))
        if number % _COLUMNS_AT_ONCE == _COLUMNS_AT_ONCE - 1:
            time.sleep(0.002)  # a wide table must not hold up requests
    return found


def _rows(data: Any) -> int:
    if isinstance(data, dict):
        data = next(iter(data.values()), ())
    try:
        return len(data)
    except TypeError:
        return 1


def _every(data: Any, step: int) -> Any:
    if step == 1:
        return data
    if isinstance(data, dict):
        return {name: values[::step] for name, values in data.items()}
    return (data.iloc if hasattr(data, "iloc") else data)[::step]


def _add_sureness(counts: Counts, answers: Any) -> None:
    """Note how sure the model is, where it answers probabilities of classes: rows between 0 and 1 that add up to 1."""
    import numpy as np

    if getattr(answers, "ndim", 0) != 2 or answers.dtype.kind != "f" or answers.shape[1] < 2:
        return
    rows = answers[(answers >= 0).all(axis=1) & np.isclose(answers.sum(axis=1), 1.0, atol=1e-3)]
    if len(rows) == len(answers) and len(rows):
        counts.sure += float(rows.max(axis=1).sum())
        counts.sure_rows += len(rows)
