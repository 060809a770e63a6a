"""How fast data is told apart: `python tests/benchmarks/data_identity.py [megabytes]`. Prints one JSON line a measurement.

Everything lies in a temporary folder and in the page cache; rates are per core, the hash library's own rate beside them.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from blake3 import blake3


def best(work: Callable[[], Any], times: int = 3) -> float:
    """Return the shortest of some times (s)."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return min(found)


def say(test: str, size: float, seconds: float, **more: object) -> None:
    """Print a measurement; `size` in bytes."""
    print(
        json.dumps(
            {"test": test, "MB": round(size / 1e6), "ms": round(seconds * 1000, 1), "GB_per_s": round(size / seconds / 1e9, 2), **more}
        )
    )


def files(megabytes: int) -> None:
    """Hash a file, again when it has not changed, and a folder of 10,000."""
    from mlops_nb.tracking.data.hashing import HashCache, hash_file

    size = megabytes * 1_000_000
    Path("large.bin").write_bytes(os.urandom(size))
    content = Path("large.bin").read_bytes()
    say("blake3 alone, in memory", size, best(lambda: blake3(content).digest()))
    say("hash_file, page cache", size, best(lambda: hash_file("large.bin")))
    os.utime("large.bin", (1, 1))
    time.sleep(0.1)  # beyond a tick of the file system's clock
    cache = HashCache(Path("hashes.db"))
    cache.hash("large.bin")
    say("unchanged file", size, best(lambda: HashCache(Path("hashes.db")).hash("large.bin")))

    from mlops_nb.core.redaction import Redactor
    from mlops_nb.tracking.data.sources import Places

    Path("images").mkdir()
    for i in range(10_000):
        file = Path("images", f"{i}.png")
        file.write_bytes(os.urandom(1000))
        os.utime(file, (1, 1))
    places = Places(Path.cwd(), cache, Redactor({}))
    say("folder of 10,000 files", 10_000_000, best(lambda: places.path(Path("images")), 1))
    say("the same folder, unchanged", 10_000_000, best(lambda: places.path(Path("images")), 1))


def tables(megabytes: int) -> None:
    """Take the fingerprints of tables and arrays."""
    from mlops_nb.tracking.data import fingerprint

    random = np.random.default_rng(0)
    rows = megabytes * 1_000_000 // 160
    values = random.random((rows, 20))
    frame = pd.DataFrame({f"c{i}": values[:, i].copy() for i in range(20)})
    say("pandas, 20 columns of float64", values.nbytes, best(lambda: fingerprint(frame)), rows=rows)
    frame.iloc[::100, :] = np.nan
    say("the same with missing values", values.nbytes, best(lambda: fingerprint(frame)))
    say("numpy, rows in a row", values.nbytes, best(lambda: fingerprint(values)))
    whole = random.integers(0, 100, values.shape)
    say("whole numbers with their levels", whole.nbytes, best(lambda: fingerprint(whole)))
    small = values[:100_000]
    say("with a hash of every row", small.nbytes, best(lambda: fingerprint(small)), rows=len(small))
    images = random.integers(0, 255, (60_000, 28, 28), dtype="u1")
    say("60,000 images of 28 x 28", images.nbytes, best(lambda: fingerprint(images)))
    texts = pd.DataFrame({"s": [f"user-{i % 50_000}@example.com" for i in range(1_000_000)]})
    say("a million texts", float(texts.s.str.len().sum()), best(lambda: fingerprint(texts)))


def opening() -> None:
    """Open a file in a script with an open run, and without."""
    import mlops_nb

    Path("a.csv").write_text("x")

    def opens() -> None:
        for _ in range(5000):
            open("a.csv").close()

    plain = best(opens, 5) / 5000
    with mlops_nb.start_run("opening"):
        time.sleep(3)  # the shipper's imports are over
        watched = best(opens, 5) / 5000
    after = best(opens, 5) / 5000
    micro = {"without_us": plain, "with_a_run_us": watched, "after_it_us": after}
    print(json.dumps({"test": "open()", **{key: round(value * 1e6, 1) for key, value in micro.items()}}))


def main() -> None:
    """Measure."""
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 320
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("pyproject.toml").touch()
        opening()
        files(megabytes)
        tables(megabytes)


if __name__ == "__main__":
    main()
