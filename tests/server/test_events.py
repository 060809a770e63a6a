"""Whoever listens hears of every change of the store, whichever process made it."""

from __future__ import annotations

import json
import time
from typing import Any

import websocket

from mlops_nb.store.open import open_store

SCHEMA_ID = "https://mlops-nb.readthedocs.io/events/store_changed/v1"
WITHIN = 1.0


def listen(jupyter: Any) -> websocket.WebSocket:
    url = jupyter.url.replace("http:", "ws:") + "api/events/subscribe"
    return websocket.create_connection(url, header=["Authorization: Bearer the-servers-token"], timeout=10)


def next_revision(socket: websocket.WebSocket) -> int:
    while True:
        event = json.loads(socket.recv())
        if event["schema_id"] == SCHEMA_ID:
            return int(event["revision"])


def test_a_write_is_heard_within_a_second(jupyter: Any) -> None:
    socket = listen(jupyter)
    try:
        assert next_revision(socket) == 0  # the first event tells where the store stands
        run = jupyter.request("POST", "/api/v1/runs", json={"experiment_id": "0"}).json()["run"]
        started = time.monotonic()
        while next_revision(socket) < run["revision"]:
            pass
        assert time.monotonic() - started < WITHIN

        store = open_store(f"sqlite:///{jupyter.project / '.mlops' / 'store.db'}")
        assert store is not None
        try:
            other = store.create_run("0", name="made by another process")
            started = time.monotonic()
            while next_revision(socket) < other.revision:
                pass
            assert time.monotonic() - started < WITHIN
        finally:
            store.close()
    finally:
        socket.close()


def test_a_server_that_is_asked_to_stop_stops_cleanly(start_jupyter: Any) -> None:
    server = start_jupyter()
    assert server.request("POST", "/api/v1/runs", json={"experiment_id": "0"}).status_code == 200
    server.stop()
    assert server.process.returncode == 0
    assert "Traceback" not in server.log
