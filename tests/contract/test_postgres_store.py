"""The store in PostgreSQL: the same contract, on a real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mlops_nb.store.base import TrackingStore
from mlops_nb.store.open import open_store
from tests.contract.store_contract import StoreContract
from tests.postgres import PostgresServer, needs_postgres


@needs_postgres
class TestPostgresStore(StoreContract):
    @pytest.fixture
    def store(self, postgres: PostgresServer, tmp_path: Path) -> Iterator[TrackingStore]:
        store = open_store(postgres.new_database(), artifact_root=str(tmp_path))
        assert store is not None
        yield store
        store.close()
