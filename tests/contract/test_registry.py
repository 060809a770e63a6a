"""The model registry in SQLite and PostgreSQL: the contract, and several processes at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlops_nb.store.base import ServedStore
from mlops_nb.store.open import open_store
from tests.contract.registry_contract import RegistryContract
from tests.postgres import PostgresServer, needs_postgres

_REGISTER = """
import sys
from mlops_nb.store.open import open_store
store = open_store(sys.argv[1], artifact_root=sys.argv[2])
assert store is not None
print("ready", flush=True)
sys.stdin.readline()
for _ in range(25):
    print(store.registry.create_version("m", "s3://bucket/key").version)
store.close()
"""


class SharedRegistryContract(RegistryContract):
    """The contract, and what several processes do to one store."""

    @pytest.fixture
    def store(self, address: str, tmp_path: Path) -> Iterator[ServedStore]:
        store = open_store(address, artifact_root=str(tmp_path))
        assert isinstance(store, ServedStore)
        yield store
        store.close()

    def test_processes_at_once_get_different_numbers(self, store: ServedStore, address: str, tmp_path: Path) -> None:
        store.registry.create_model("m")
        command = [sys.executable, "-c", _REGISTER, address, str(tmp_path)]
        processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
        try:
            for process in processes:
                assert process.stdout is not None and process.stdout.readline() == "ready\n"
            for process in processes:
                assert process.stdin is not None
                process.stdin.write("go\n")
                process.stdin.flush()
            said = [process.communicate(timeout=60)[0].split() for process in processes]
        finally:
            for process in processes:
                process.kill()
                process.wait()
        assert sorted(int(number) for numbers in said for number in numbers) == list(range(1, 76))
        for numbers in said:
            assert numbers == sorted(numbers, key=int)


class TestSqliteRegistry(SharedRegistryContract):
    @pytest.fixture
    def address(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/store.db?durability=normal"


@needs_postgres
class TestPostgresRegistry(SharedRegistryContract):
    @pytest.fixture
    def address(self, postgres: PostgresServer) -> str:
        return postgres.new_database()
