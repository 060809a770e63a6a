"""What the live views and figures cost the kernel: a run table on 10,000 runs, the explorer on 50 runs of 10,000 points."""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlops_nb.core.records import Metric, Run
from mlops_nb.store.base import RunQuery, TrackingStore
from mlops_nb.store.open import open_store
from mlops_nb.widgets.explorer import MetricExplorer
from mlops_nb.widgets.figures import curves, importance, parallel
from mlops_nb.widgets.run_table import RunTable

_RUNS, _LONG, _POINTS = 10_000, 50, 10_000


def fill(store: TrackingStore) -> list[Run]:
    """Store many short runs and some long ones, which are returned."""
    keys = ("val_auc", "train_loss", "acc", "f1")
    with store.group():
        for number in range(_RUNS):
            run = store.create_run("0", name=f"run {number}", start_time=1_763_000_000_000 + number)
            metrics = [Metric(key=key, value=random.random(), timestamp=1) for key in keys]
            params = {"lr": str(random.random()), "depth": str(number % 7), "model": random.choice("abc")}
            store.log_batch(run.run_id, metrics=metrics, params=params, tags={"x": str(number)})
    experiment = store.create_experiment("long")
    for number in range(_LONG):
        run = store.create_run(experiment, name=f"long {number}", start_time=1_764_000_000_000 + number)
        for key in ("loss", "acc"):
            points = [Metric(key=key, value=random.random(), timestamp=1_764_000_000_000 + step, step=step) for step in range(_POINTS)]
            store.log_batch(run.run_id, metrics=points)
    return store.search_runs(RunQuery(experiment_ids=[experiment])).items


def timed(what: str, action: Callable[[], Any]) -> Any:
    """Do something and print how long it took."""
    start = time.perf_counter()
    result = action()
    print(f"{what:48} {1000 * (time.perf_counter() - start):8.1f} ms")
    return result


def main() -> None:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        store = open_store(f"sqlite:///{Path(folder) / 'store.db'}?durability=normal")
        assert store is not None
        long = fill(store)
        timed("run table, first page, cold", lambda: RunTable(store))
        table = timed("run table, first page", lambda: RunTable(store))
        timed("  next page", lambda: setattr(table, "page", 1))
        timed("  page 300", lambda: setattr(table, "page", 300))
        timed("  sorted by a metric", lambda: setattr(table, "sort", "-val_auc"))
        timed("  filtered", lambda: setattr(table, "query", "val_auc > .9 and params.model = 'a'"))
        for metrics in (["loss"], ["loss", "acc"]):
            view = timed(f"explorer, {_LONG} runs x {_POINTS:,} points x {len(metrics)}", lambda m=metrics: MetricExplorer(store, long, m))
            timed("  smoothed", lambda view=view: setattr(view, "smoothing", 0.6))
            timed("  zoomed", lambda view=view: setattr(view, "zoom", [2_000, 3_000]))
        many = store.search_runs(RunQuery(experiment_ids=["0"], max_results=1_000)).items
        for name, draw in (
            ("curves of 20", lambda: curves(store, long, "loss")),
            ("parallel", lambda: parallel(many, "val_auc")),
            ("importance of 1,000 runs", lambda: importance(many, "val_auc")),
        ):
            bundle = timed(name, lambda draw=draw: draw()._repr_mimebundle_())
            print(f"  {len(json.dumps(dict(bundle))) / 1000:.0f} kB")
        store.close()


if __name__ == "__main__":
    sys.exit(main())
