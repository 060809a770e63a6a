"""Exports as open files."""

from __future__ import annotations

import io
import json
import math
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from mlops_nb.core.events import CellRan, RunStarted
from mlops_nb.core.records import CellExecution, Metric
from mlops_nb.errors import InvalidInput, StoreUnreachable
from mlops_nb.store.sql.schema import SCHEMA_VERSION
from mlops_nb.store.sql.store import SqlStore
from mlops_nb.transfer.exporters.mlflow_database import export_mlflow_database
from mlops_nb.transfer.exporters.open_files import export_open_files
from tests.transfer.stores import content

parquet = pytest.importorskip("pyarrow.parquet", reason="The extra `import`.")
ODD = [math.nan, math.inf, -math.inf, -0.0, 5e-324, 0.1 + 0.2]


def filled(store: SqlStore) -> str:
    run_id = "ab" * 16
    cell = CellExecution(index=0, source="1 + 1", source_hash="x", started=1)
    store.ingest(run_id, "s", [RunStarted(seq=1, ts=5, experiment="odd", name="r"), CellRan(seq=2, ts=6, cell=cell)])
    points = [Metric(key="m", value=value, timestamp=i, step=i) for i, value in enumerate(ODD)]
    store.log_batch(run_id, metrics=points, params={"p": "ünï"}, tags={"t": "v"})
    store.log_batch(run_id, metrics=[Metric(key="many", value=float(i), timestamp=i, step=i) for i in range(3000)])
    store.write_artifact(run_id, "texts/a.txt", io.BytesIO(b"hello"))
    return run_id


def test_every_table_is_a_parquet_file_and_the_manifest_counts_its_rows(store: SqlStore, tmp_path: Path) -> None:
    run_id = filled(store)
    export_open_files(store, tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert (manifest["format"], manifest["schema_version"], manifest["files"]) == ("mlops-nb/open-files/1", SCHEMA_VERSION, 1)
    expected = content(store)
    assert manifest["tables"] == {name: len(rows) for name, rows in expected.items()}
    for name, rows in expected.items():
        table = parquet.read_table(tmp_path / "out" / f"{name}.parquet")
        found = sorted(tuple(map(repr, row.values())) for row in table.to_pylist())
        assert found == rows, name
    assert (tmp_path / "out" / "artifacts" / "1" / run_id / "artifacts" / "texts" / "a.txt").read_bytes() == b"hello"


def test_points_leave_bit_for_bit(store: SqlStore, tmp_path: Path) -> None:
    filled(store)
    export_open_files(store, tmp_path / "out", files=False)
    table = parquet.read_table(tmp_path / "out" / "metric_points.parquet").to_pylist()
    assert [struct.pack("<d", row["value"]) for row in table if row["key"] == "m"] == [struct.pack("<d", value) for value in ODD]
    assert not (tmp_path / "out" / "artifacts").exists()


def test_an_earlier_export_is_replaced_and_anything_else_is_left_alone(store: SqlStore, tmp_path: Path) -> None:
    export_open_files(store, tmp_path / "out")
    filled(store)
    export_open_files(store, tmp_path / "out")
    assert parquet.read_table(tmp_path / "out" / "runs.parquet").num_rows == 1
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    with pytest.raises(InvalidInput, match="no export"):
        export_open_files(store, tmp_path / "mine")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "out", "own"]


def elsewhere(store: SqlStore) -> str:
    """Make a run whose files only its clients can reach."""
    return store.create_run(store.create_experiment("cloud", artifact_location="s3://theirs/x")).run_id


def test_files_that_the_store_does_not_read_stay_behind_and_all_else_leaves(store: SqlStore, tmp_path: Path) -> None:
    filled(store)
    run_id = elsewhere(store)
    manifest = export_open_files(store, tmp_path / "out")
    done = export_mlflow_database(store, tmp_path / "out.db")
    assert manifest.files == done.files == 1
    for (problem,) in (manifest.problems, done.problems):
        assert run_id in problem and "s3://theirs/x" in problem


@pytest.mark.parametrize("export", [export_open_files, export_mlflow_database])
def test_an_export_that_fails_leaves_nothing(
    store: SqlStore, tmp_path: Path, export: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(store)

    def unreachable(*_: object, **__: object) -> object:
        raise StoreUnreachable("The files are out of reach.")

    monkeypatch.setattr(store.files, "list", unreachable)
    with pytest.raises(StoreUnreachable):
        export(store, tmp_path / "there" / "out")
    assert list((tmp_path / "there").iterdir()) == []
