"""What autolog costs a training: the time of a fit with it against the time without.

python tests/benchmarks/autolog_cost.py
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy
import xgboost
from sklearn.linear_model import LogisticRegression

ROUNDS = 9


def cost(work: Callable[[], Any], rounds: int = ROUNDS) -> tuple[float, float]:
    """Return the median time of a call and its median work of the processor, all threads (ms)."""
    times, works = [], []
    for _ in range(rounds):
        began, spent = time.perf_counter(), time.process_time()
        work()
        times.append((time.perf_counter() - began) * 1000)
        works.append((time.process_time() - spent) * 1000)
    return statistics.median(times), statistics.median(works)


def main() -> None:
    os.chdir(tempfile.mkdtemp())
    import mlops_nb

    random = numpy.random.default_rng(0)
    X = random.normal(size=(10_000, 20))
    y = (X[:, 0] + random.normal(size=10_000) > 0).astype(int)
    data = xgboost.DMatrix(X, y)

    def boost() -> None:
        xgboost.train({"objective": "binary:logistic", "nthread": 1}, data, 100, evals=[(data, "train")], verbose_eval=False)

    def fit() -> None:
        LogisticRegression().fit(X, y)

    def in_a_run(work: Callable[[], Any]) -> tuple[float, float]:
        with mlops_nb.start_run():
            return cost(work)

    choices: list[tuple[str, dict[str, Any]]] = [
        ("all of it", {}),
        ("without plots", {"log_plots": False}),
        ("without plots and models", {"log_models": False, "log_plots": False}),
        ("without plots, models and data", {"log_models": False, "log_plots": False, "log_datasets": False}),
    ]
    for name, work in (("LogisticRegression, 10,000 x 20", fit), ("XGBoost, 100 rounds", boost)):
        mlops_nb.autolog(disable=True)
        plain = cost(work)
        print(f"{name}: {plain[0]:.0f} ms without autolog, {plain[1]:.0f} ms of the processor")
        for words, options in choices:
            mlops_nb.autolog(**options)
            first = cost(work, 1)
            for where, tracked in (("a run of its own", cost(work)), ("an open run", in_a_run(work))):
                print(f"  {words}, {where}: {tracked[0] - plain[0]:+.0f} ms, {tracked[1] - plain[1]:+.0f} ms of the processor")
            print(f"  {words}, the first time: {first[0] - plain[0]:+.0f} ms")
    small = X[:20], y[:20]
    wrapped, mlops_fit = LogisticRegression(), LogisticRegression.fit.__wrapped__
    mlops_nb.autolog(disable=True)
    tracked = cost(lambda: [wrapped.fit(*small) for _ in range(100)])
    bare = cost(lambda: [mlops_fit(wrapped, *small) for _ in range(100)])
    print(f"a fit with autolog off again: {(tracked[1] - bare[1]) * 10:+.1f} us of {bare[1] * 10:.0f} us")


if __name__ == "__main__":
    main()
