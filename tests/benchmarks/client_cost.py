"""What tracking costs the training: `python tests/benchmarks/client_cost.py`. Prints one JSON line a measurement.

Everything runs in a temporary project with the embedded store; nothing fails on time.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time


def percentiles(nanoseconds: list[int]) -> dict[str, float]:
    ordered = sorted(nanoseconds)
    return {f"p{p}_us": round(ordered[min(len(ordered) - 1, int(len(ordered) * p / 100))] / 1000, 1) for p in (50, 99, 99.9)}


def import_time(statement: str) -> float:
    """Return the median of 7 fresh processes, less that of an empty one (ms)."""
    times: dict[str, list[float]] = {statement: [], "pass": []}
    for _ in range(7):
        for code in times:
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            times[code].append(time.perf_counter() - began)
    return round((sorted(times[statement])[3] - sorted(times["pass"])[3]) * 1000, 1)


def main() -> None:
    """Measure."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        print(json.dumps({"test": "import mlops_nb", "ms": import_time("import mlops_nb")}))
        import mlops_nb

        began = time.perf_counter()
        run = mlops_nb.start_run("cost")
        print(json.dumps({"test": "first start_run", "ms": round((time.perf_counter() - began) * 1000, 1)}))
        time.sleep(3)  # the shipper's imports are over
        for rate, calls in ((1000, 10_000), (0, 100_000)):
            costs = []
            began = time.perf_counter()
            for i in range(calls):
                before = time.perf_counter_ns()
                run.log_metric(f"m{rate}", 1.0 / (i + 1), i)
                costs.append(time.perf_counter_ns() - before)
                if rate:
                    time.sleep(max(0.0, began + (i + 1) / rate - time.perf_counter()))
            label = f"{rate} calls/s" if rate else "flat out"
            print(json.dumps({"test": f"log_metric, {label}", "n": calls, **percentiles(costs)}))
        began = time.perf_counter()
        for step in range(10_000):
            run.log({"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0, "e": 5.0}, step=step)
        logged = time.perf_counter() - began
        run.stop(timeout=60)
        print(
            json.dumps(
                {"test": "10,000 steps x 5 metrics", "logged_s": round(logged, 2), "in_store_s": round(time.perf_counter() - began, 2)}
            )
        )


if __name__ == "__main__":
    main()
