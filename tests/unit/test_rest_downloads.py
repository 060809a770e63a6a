"""Our own client against a server whose connections break: the rest is asked for, and damage is noticed."""

from __future__ import annotations

import hashlib
import io
import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from mlops_nb.errors import StoreUnreachable
from mlops_nb.store.rest import RestStore

DATA = os.urandom(3_000_000)


class Flaky(BaseHTTPRequestHandler):
    """Answers so many bytes of the file, then hangs up."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server: Any = self.server
        asked = self.headers.get("Range")
        server.asked.append(asked)
        start = int(asked[len("bytes=") : -1]) if asked and self.headers.get("If-Range") == server.tag else 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(DATA) - start))
        if server.tag:
            self.send_header("ETag", server.tag)
        self.end_headers()
        self.wfile.write(DATA[start : start + server.bytes_each])
        server.tag = server.next_tag
        self.close_connection = True

    def do_PUT(self) -> None:
        received = b""
        while size := int(self.rfile.readline(), 16):
            received += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        server: Any = self.server
        body = json.dumps({"artifact": {"path": "a"}, "sha256": hashlib.sha256(received + server.damage).hexdigest()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def server() -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Flaky)
    server.asked, server.tag, server.next_tag, server.bytes_each, server.damage = [], '"one"', '"one"', len(DATA), b""
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def store(server: Any) -> Iterator[RestStore]:
    store = RestStore(f"http://127.0.0.1:{server.server_port}")
    yield store
    store.close()


def test_a_download_that_breaks_many_times_goes_on_where_it_was(server: Any, store: RestStore) -> None:
    server.bytes_each = 196_608
    assert b"".join(store.read_artifact("r", "a")) == DATA
    assert len(server.asked) == 16
    assert server.asked[:3] == [None, "bytes=196608-", "bytes=393216-"]


def test_a_download_that_gets_nowhere_is_given_up(server: Any, store: RestStore) -> None:
    server.bytes_each = 0
    with pytest.raises(StoreUnreachable, match="does not answer"):
        b"".join(store.read_artifact("r", "a"))
    assert len(server.asked) == 4


def test_halves_of_two_files_are_never_joined(server: Any, store: RestStore) -> None:
    server.bytes_each, server.next_tag = 1_000_000, '"two"'
    with pytest.raises(StoreUnreachable, match="replaced"):
        b"".join(store.read_artifact("r", "a"))


def test_a_server_without_tags_is_not_asked_to_go_on(server: Any, store: RestStore) -> None:
    server.bytes_each, server.tag, server.next_tag = 1_000_000, "", ""
    with pytest.raises(StoreUnreachable, match="does not answer"):
        b"".join(store.read_artifact("r", "a"))
    assert len(server.asked) == 1


def test_damage_on_the_way_to_the_server_is_noticed(server: Any, store: RestStore) -> None:
    assert store.write_artifact("r", "a", io.BytesIO(b"whole")).path == "a"
    server.damage = b"!"
    with pytest.raises(StoreUnreachable, match="damaged"):
        store.write_artifact("r", "a", io.BytesIO(b"whole"))
