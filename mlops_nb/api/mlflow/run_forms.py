"""Runs as bytes of JSON. Searches ask for the same runs again and again: what has not changed is not written again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable

import msgspec

from mlops_nb.api.mlflow.wire import run_form
from mlops_nb.core.records import Run

_LARGEST = 32 << 20
_encoder = msgspec.json.Encoder()


class _Forms:
    """The bytes of runs by what they were made of. A changed run is another record, so nothing here is ever stale.

    Threads: any. It holds at most `largest` bytes, those that were asked for last.
    """

    def __init__(self, largest: int = _LARGEST) -> None:
        self._largest = largest
        self._lock = threading.Lock()
        self._forms: OrderedDict[str, tuple[Run, bytes]] = OrderedDict()
        self._size = 0

    def of(self, runs: Iterable[Run]) -> list[bytes]:
        found: list[bytes] = []
        with self._lock:
            for run in runs:
                known = self._forms.get(run.run_id)
                if known is not None and known[0] is run:
                    found.append(known[1])
                    continue
                form = _encoder.encode(run_form(run))
                self._size += len(form) - (len(known[1]) if known else 0)
                self._forms[run.run_id] = (run, form)
                found.append(form)
            while self._size > self._largest:
                self._size -= len(self._forms.popitem(last=False)[1][1])
        return found


_forms = _Forms()


def runs_json(runs: Iterable[Run], token: str | None) -> bytes:
    """Return the JSON of a page of runs, as `RunsAnswer` has it."""
    forms = _forms.of(runs)
    parts = [b'"runs":[' + b",".join(forms) + b"]"] if forms else []
    if token is not None:
        parts.append(b'"next_page_token":' + _encoder.encode(token))
    return b"{" + b",".join(parts) + b"}"
