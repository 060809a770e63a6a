"""Work and servers for the loop of a machine: real threads, files and sockets, told by the test what happens."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from mlops_nb.core.runners import Heartbeat, Orders
from mlops_nb.errors import StoreUnreachable
from mlops_nb.runners.machine.work import WorkStatus


def until(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    """Wait for a condition and return what it gave."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.01)


class Jobs:
    """Work that has the jobs which a test gives it, and writes down what the loop asks of it."""

    def __init__(self, *, ready: bool = True) -> None:
        self.status = WorkStatus(ready=ready)
        self.calls: list[str] = []
        self.saves = True
        self.hang: threading.Event | None = None
        self.error: Exception | None = None
        self.stop_error: Exception | None = None

    def begin(self, job: str) -> None:
        self.status = WorkStatus(busy=True, job=job, jobs=self.status.jobs + 1)

    def end(self) -> None:
        self.status = WorkStatus(jobs=self.status.jobs, finished="drain" in self.calls)

    def start(self) -> None:
        self.calls.append("start")

    def poll(self) -> WorkStatus:
        if self.hang is not None:
            self.hang.wait()
        if self.error is not None:
            raise self.error
        return self.status

    def drain(self) -> None:
        self.calls.append("drain")
        if not self.status.busy:
            self.end()

    def interrupt(self, notice: str, seconds: float) -> None:
        self.calls.append(f"interrupt {round(seconds)}")
        self.calls.append("drain")
        if self.saves:
            self.end()

    def stop(self, timeout: float) -> None:
        self.calls.append("stop")
        if self.stop_error is not None:
            raise self.stop_error


class Office:
    """A server that notes what machines say, and answers with orders that a test may change."""

    def __init__(self, **orders: Any) -> None:
        self.orders = {"lease": 180.0, "hard_stop": 3600.0, "idle": 300.0} | orders
        self.beats: list[Heartbeat] = []
        self.log = b""
        self.error: Exception | None = None
        self.lose_answers = 0

    def heartbeat(self, beat: Heartbeat) -> Orders:
        if self.error is not None:
            raise self.error
        self.beats.append(beat)
        return Orders(**self.orders)

    def append_log(self, offset: int, text: str) -> int:
        if self.error is not None:
            raise self.error
        assert offset <= len(self.log), "the log has a hole"
        self.log = self.log[: max(offset, 0)] + (text.encode()) if offset == len(self.log) else self.log
        if self.lose_answers:
            self.lose_answers -= 1
            raise StoreUnreachable("the answer is lost")
        return len(self.log)

    @property
    def states(self) -> list[str]:
        return [beat.state for beat in self.beats]


class Metadata:
    """A metadata service on the loopback: what a test puts under a path is answered, everything else is 404."""

    def __init__(self, address: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        self.answers: dict[str, str] = {}
        self.headers: dict[str, str] = {}
        self.status = 404
        self.needs_token = ""
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        world = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                world.asked.append(("PUT", self.path, dict(self.headers)))
                self._answer(200, world.needs_token or "a-token")

            def do_GET(self) -> None:
                world.asked.append(("GET", self.path, dict(self.headers)))
                if world.needs_token and self.headers.get("X-aws-ec2-metadata-token") != world.needs_token:
                    self._answer(401, "")
                elif any(self.headers.get(name) != value for name, value in world.headers.items()):
                    self._answer(400, "")
                elif self.path in world.answers:
                    self._answer(200, world.answers[self.path])
                else:
                    self._answer(world.status, "")

            def _answer(self, status: int, text: str) -> None:
                body = text.encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                return

        self._server = ThreadingHTTPServer(address, Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def put(self, path: str, value: Any) -> None:
        self.answers[path] = value if isinstance(value, str) else json.dumps(value)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
