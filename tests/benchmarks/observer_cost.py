"""What watching requests costs a model server: processor time per request, watched and not, in turn.

    python tests/benchmarks/observer_cost.py [--rounds 4] [--requests 3000]

The time is that of the worker process, which other load on the machine hardly changes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))


def cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def main(rounds: int, requests: int, columns: int) -> None:
    import numpy as np
    import pandas as pd
    from sklearn.linear_model import LogisticRegression

    from mlops_nb.models import save_model
    from mlops_nb.monitoring.bins import Reference, bins_of
    from mlops_nb.serving.records import StartRequest
    from mlops_nb.serving.supervisor import Supervisor

    rng = np.random.default_rng(0)
    names = [f"c{i}" for i in range(columns)]
    X = pd.DataFrame(rng.normal(size=(2000, columns)), columns=names)
    y = (X.c0 > 0).astype(int)
    with tempfile.TemporaryDirectory() as held:
        save_model(LogisticRegression().fit(X, y), f"{held}/model", input_example=X[:3])
        supervisor = Supervisor(Path(held) / "serving", lambda: None)  # type: ignore[arg-type,return-value]
        asked = StartRequest(name="m", model_uri="m", allow_unsafe=True)
        await supervisor.start(asked, wait=120, folder=Path(held) / "model")
        endpoint = supervisor.endpoint("m")
        reference = Reference(source="r", inputs=bins_of(X), outputs=bins_of(y.to_numpy(), alone="prediction"))
        body = json.dumps({"dataframe_split": X[:1].to_dict("split", index=False)}).encode()
        headers = [(b"content-type", b"application/json")]
        assert endpoint.live is not None
        pid = endpoint.live.workers[0].pid
        found: dict[str, list[tuple[float, float, float]]] = {"not watched": [], "watched": []}
        for number in range(2 * rounds + 2):
            name = ("not watched", "watched")[number % 2]
            endpoint.watch(reference if number % 2 else None)
            await asyncio.sleep(0.3)
            before, times = cpu(pid), []
            for _ in range(requests):
                began = time.perf_counter()
                answer = await endpoint.send("POST", "/invocations", headers, body)
                times.append(time.perf_counter() - began)
                assert answer.status == 200
            await asyncio.sleep(1.2)  # what is counted afterwards is counted too
            times.sort()
            if number >= 2:  # the first two warm up
                found[name].append(
                    ((cpu(pid) - before) / requests * 1e6, times[len(times) // 2] * 1e6, times[int(len(times) * 0.99)] * 1e6)
                )
        for name, values in found.items():
            cells = [f"{statistics.median(one[i] for one in values):8.0f}" for i in range(3)]
            spread = "–".join(f"{fold(one[0] for one in values):.0f}" for fold in (min, max))
            print(f"{name:12} cpu {cells[0]} µs ({spread})   p50 {cells[1]} µs   p99 {cells[2]} µs")
        await supervisor.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--requests", type=int, default=3000)
    parser.add_argument("--columns", type=int, default=20)
    given = parser.parse_args()
    asyncio.run(main(given.rounds, given.requests, given.columns))
