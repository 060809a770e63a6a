"""A store with receivers on loopback, which this machine allows here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mlops_nb.outgoing import ENV_ALLOWED_HOSTS
from mlops_nb.store.sql.store import SqlStore


@pytest.fixture(autouse=True)
def loopback_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv(ENV_ALLOWED_HOSTS, "127.0.0.1")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    store = SqlStore.in_file(tmp_path / "state" / "store.db", durability="normal")
    yield store
    store.close()
