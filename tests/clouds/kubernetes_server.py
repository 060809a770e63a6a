"""The API of the small cluster over HTTP, with faults before and behind its answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from tests.clouds.kubernetes_world import PATH, TOKEN, Cluster, Cut, Refused


@contextmanager
def served(cluster: Cluster) -> Iterator[str]:
    """Serve a cluster on the loopback and give the text of a kubeconfig for it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1
        disable_nagle_algorithm = True

        def log_message(self, format: str, *args: object) -> None:
            return

        def _handle(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            text = self.rfile.read(length)
            match = PATH.fullmatch(urlsplit(self.path).path)
            call = (self.command, match[3] if match else "access")
            with cluster.lock:
                cluster.calls.append(" ".join(call))
                fault = cluster.fault(*call)
            code, body = 200, b""
            if fault == "cut":
                self.connection.close()
                raise Cut
            if fault in ("before", "throttled"):
                code = 429 if fault == "throttled" else 500
                body = json.dumps(Refused(code, "InternalError", "injected").answer).encode()
            else:
                try:
                    token = self.headers.get("Authorization", "").removeprefix("Bearer ")
                    with cluster.lock:
                        answer = cluster.answer(self.command, self.path, json.loads(text) if text else None, token)
                        body = answer.encode() if isinstance(answer, str) else json.dumps(_public(answer)).encode()
                except Refused as refused:
                    code, body = refused.code, json.dumps(refused.answer).encode()
            if fault == "cut after":
                self.connection.close()
                raise Cut
            if fault == "after":
                code, body = 500, json.dumps(Refused(500, "InternalError", "injected").answer).encode()
            if fault == "malformed":
                body = b"<html>502 from a proxy"
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except (Cut, OSError, ValueError):
                self.close_connection = True

        do_GET = do_POST = do_DELETE = _handle

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "here",
                "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
                "users": [{"name": "u", "user": {"token": TOKEN}}],
                "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "team"}}],
            }
        )
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _public(answer: Any) -> Any:
    if isinstance(answer, dict):
        return {key: _public(value) for key, value in answer.items() if not key.startswith("x-")}
    return [_public(one) for one in answer] if isinstance(answer, list) else answer
