"""Runs in a real store, told as our clients tell them."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mlops_nb.core.events import AnyEvent, CellRan, MetricLogged, ParamLogged, RunEnded, RunStarted
from mlops_nb.core.records import CellExecution, Run
from mlops_nb.core.run_state import RunStatus
from mlops_nb.store.base import ServedStore
from mlops_nb.store.open import open_store

MakeRun = Callable[..., Run]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ServedStore]:
    opened = open_store(f"sqlite:///{tmp_path / 'store.db'}", create=True)
    assert isinstance(opened, ServedStore)
    yield opened
    opened.close()


def a_cell(index: int, source: str, cell_id: str | None = None, **more: Any) -> CellExecution:
    digest = hashlib.sha256(source.encode()).hexdigest()
    return CellExecution(
        index=index, cell_id=cell_id, execution_count=index + 1, source=source, source_hash=digest, started=1_000 + index, **more
    )


@pytest.fixture
def make_run(store: ServedStore) -> MakeRun:
    """A function that records a finished run with metrics, params, cells and files."""
    count = 0

    def make(
        name: str,
        metrics: Mapping[str, float] | None = None,
        *,
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        cells: Sequence[CellExecution] = (),
        files: Mapping[str, bytes] | None = None,
        metric_cell: int | None = None,
    ) -> Run:
        nonlocal count
        count += 1
        run_id = f"{count:032x}"
        happened: list[AnyEvent] = [RunStarted(experiment="Default", name=name, tags=dict(tags or {}), ts=1_000 + count)]
        happened += [CellRan(cell=cell) for cell in cells]
        happened += [ParamLogged(key=key, value=value) for key, value in (params or {}).items()]
        happened += [MetricLogged(key=key, value=value, step=0, cell=metric_cell) for key, value in (metrics or {}).items()]
        happened.append(RunEnded(status=RunStatus.FINISHED, ts=5_000 + count))
        store.ingest(run_id, f"test-{count}", [msgspec.structs.replace(event, seq=seq) for seq, event in enumerate(happened, start=1)])
        for path, content in (files or {}).items():
            store.write_artifact(run_id, path, io.BytesIO(content))
        return store.get_run(run_id)

    return make
