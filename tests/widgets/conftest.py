"""A store with runs to draw."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlops_nb.core.records import Metric, Run
from mlops_nb.core.run_state import RunStatus
from mlops_nb.store.base import TrackingStore
from mlops_nb.store.open import open_store

START = 1_763_000_000_000
HOSTILE = '<b>hgb</b> "$x$" %{y} & \u202eevil\x07 <a href="javascript:alert(1)">'

MakeRun = Callable[..., Run]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TrackingStore]:
    opened = open_store(f"sqlite:///{tmp_path / 'store.db'}?durability=normal")
    assert opened is not None
    yield opened
    opened.close()


@pytest.fixture
def make_run(store: TrackingStore) -> MakeRun:
    """A function that stores a run with curves: a list is the values of its steps, a number one value."""
    made = 0

    def make(
        name: str = "run",
        params: dict[str, object] | None = None,
        *,
        tags: dict[str, str] | None = None,
        ended: bool = True,
        **metrics: object,
    ) -> Run:
        nonlocal made
        start = START + made * 60_000
        made += 1
        run = store.create_run("0", name=name, start_time=start)
        points = []
        for key, values in metrics.items():
            course = values if isinstance(values, list) else [values]
            points += [Metric(key=key, value=float(value), timestamp=start + step * 1000, step=step) for step, value in enumerate(course)]
        store.log_batch(run.run_id, metrics=points, params={key: str(value) for key, value in (params or {}).items()})
        if ended:
            store.update_run(run.run_id, status=RunStatus.FINISHED, end_time=start + 30_000)
        return store.get_run(run.run_id)

    return make


@pytest.fixture
def sweep(make_run: MakeRun) -> list[Run]:
    """24 runs over three learning rates and eight seeds; the middle rate is the best."""
    runs = []
    for number in range(24):
        lr, seed = (0.001, 0.01, 0.1)[number % 3], number // 3
        best = 0.9 - abs(math.log10(lr) + 2) * 0.1 + seed * 0.001
        course = [best * (1 - math.exp(-step / 10)) for step in range(50)]
        params = {"lr": lr, "seed": seed, "solver": "adam" if number % 2 else "sgd", "fixed": 1}
        runs.append(make_run(f"sweep {number}", params, val_auc=course, train_loss=[1 - v for v in course]))
    return runs
