"""A client in a process of its own: sends batches until each is acknowledged, over real HTTP, and keeps a side log.

python -m tests.durability.writer '{"host": ..., "port": ..., "prefix": ..., "token": ..., "seed": ..., "client": ...,
    "run": ..., "shared": ..., "side": ..., "stop": ..., "batches": ..., "size": ...}'
"""

from __future__ import annotations

import http.client
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from tests.durability.oracle import Batch, batch, value_of

_AGAIN = {429, 503, 507}
_TIMEOUT = 130


def main(settings: dict[str, Any]) -> None:
    """Send batches until there are enough of them or the file `stop` is there."""
    side = os.open(settings["side"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    stop = Path(settings["stop"])
    sender = _Sender(settings, side)
    number = settings.get("first", 0)
    last = number + settings.get("batches", 10**9)
    while number < last and not stop.exists():
        one = batch(settings["seed"], settings["client"], number, settings["size"])
        body = _body(one, settings["shared"] if one.shared else settings["run"])
        os.write(side, f"S {number}\n".encode())
        seconds = sender.deliver(body, stop)
        if seconds is None:
            return
        os.write(side, f"A {number} {time.monotonic():.4f} {seconds:.5f}\n".encode())
        number += 1


def _body(one: Batch, run_id: str) -> bytes:
    metrics = [{"key": key, "step": step, "timestamp": timestamp, "value": value_of(bits)} for key, step, timestamp, bits in one.points]
    document = {
        "run_id": run_id,
        "metrics": metrics,
        "params": [{"key": key, "value": value} for key, value in one.params.items()],
        "tags": [{"key": key, "value": value} for key, value in one.tags.items()],
    }
    text = json.dumps(document)
    for name in ("NaN", "-Infinity", "Infinity"):
        text = text.replace(f'"value": {name}}}', f'"value": "{name}"}}')
    return text.encode()


class _Sender:
    def __init__(self, settings: dict[str, Any], side: int) -> None:
        self._address = (settings["host"], settings["port"])
        self._path = settings["prefix"] + "/api/2.0/mlflow/runs/log-batch"
        self._headers = {"Content-Type": "application/json", "Authorization": f"Bearer {settings['token']}"}
        self._side = side
        self._connection: http.client.HTTPConnection | None = None

    def deliver(self, body: bytes, stop: Path) -> float | None:
        """Return how long the call took that was acknowledged; None if it was given up."""
        while True:
            started = time.monotonic()
            is_sent = False
            try:
                if self._connection is None:
                    self._connection = http.client.HTTPConnection(*self._address, timeout=_TIMEOUT)
                self._connection.request("POST", self._path, body, self._headers)
                is_sent = True
                answer = self._connection.getresponse()
                content = answer.read()
            except (OSError, http.client.HTTPException) as error:
                if self._connection is not None:
                    self._connection.close()
                self._connection = None
                if is_sent:
                    self._note("L", type(error).__name__)
                if isinstance(error, TimeoutError):
                    self._note("E", f"no answer in {_TIMEOUT} s")
                if stop.exists():
                    return None
                time.sleep(0.02)
                continue
            if answer.status == 200:
                return time.monotonic() - started
            code = content[:2000].decode(errors="replace").replace("\n", " ")
            if answer.status not in _AGAIN:
                self._note("E", f"{answer.status} {code}")
                return None
            self._note("R", f"{answer.status} {code}")
            if stop.exists():
                return None
            time.sleep(0.05)

    def _note(self, kind: str, text: str) -> None:
        os.write(self._side, f"{kind} {text}\n".encode())


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
