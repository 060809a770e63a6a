"""Runs from event files that TensorBoard's own writer has written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlops_nb.core.records import Metric
from mlops_nb.errors import InvalidInput
from mlops_nb.store.base import RunQuery
from mlops_nb.store.sql.store import SqlStore
from mlops_nb.transfer.importers.tensorboard import TensorBoardLogs
from mlops_nb.transfer.imports import bring_in
from tests.transfer.stores import rows

pytest.importorskip("tensorboard", reason="The extra `import`.")

PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 20


def write(folder: Path, *, points: int = 20) -> None:
    """Write scalars in both forms, hyperparameters and an image."""
    from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, types_pb2
    from tensorboard.plugins.hparams import summary_v2
    from tensorboard.plugins.image import metadata as image_metadata
    from tensorboard.plugins.scalar import metadata as scalar_metadata
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(folder))

    def add(step: int, *values: Any) -> None:
        event = event_pb2.Event(wall_time=1000 + step / 8, step=step, summary=summary_pb2.Summary(value=values))
        writer.add_event(event)

    hparams = summary_v2.hparams_pb({"lr": 0.5, "name": "x"}, start_time_secs=1000.0)
    add(0, *hparams.value)
    for step in range(points):
        tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, float_val=[step / 4])
        metadata = scalar_metadata.create_summary_metadata(display_name="", description="")
        add(
            step,
            summary_pb2.Summary.Value(tag="loss (train)", simple_value=1 / (step + 1)),
            summary_pb2.Summary.Value(tag="acc", tensor=tensor, metadata=metadata),
        )
    image = tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, string_val=[b"1", b"1", PNG])
    image.tensor_shape.dim.add(size=3)
    metadata = image_metadata.create_summary_metadata(display_name="", description="")
    add(3, summary_pb2.Summary.Value(tag="view", tensor=image, metadata=metadata))
    writer.close()


def test_each_folder_is_a_run_and_each_scalar_a_metric(store: SqlStore, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    write(logs / "a")
    write(logs / "b" / "c", points=3)
    done = bring_in(TensorBoardLogs(str(logs), experiment="boards", images=True), store)
    runs = {run.name: run for run in store.search_runs(RunQuery()).items}
    assert (done.new_runs, done.new_points, done.new_files) == (2, 46, 2)
    assert runs.keys() == {"a", "b/c"}
    run = runs["a"]
    assert run.params == {"lr": "0.5", "name": "x"}
    assert (run.start_time, run.status) == (run.start_time, "FINISHED")
    acc = store.metric_history(run.run_id, "acc").items
    assert acc == [Metric(key="acc", value=step / 4, timestamp=round((1000 + step / 8) * 1000), step=step) for step in range(20)]
    loss = store.metric_history(run.run_id, "loss _train_").items
    assert [point.value for point in loss] == pytest.approx([1 / (step + 1) for step in range(20)], rel=1e-6)
    assert b"".join(store.read_artifact(run.run_id, "images/view/3-0.png")) == PNG


def test_importing_again_changes_nothing_and_brings_what_was_written_since(store: SqlStore, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    write(logs / "a")
    for _ in range(2):
        bring_in(TensorBoardLogs(str(logs)), store)
    before = rows(store)
    bring_in(TensorBoardLogs(str(logs)), store)
    assert rows(store) == before
    write(logs / "z", points=5)
    done = bring_in(TensorBoardLogs(str(logs)), store)
    assert (done.runs, done.new_runs, done.new_points) == (2, 1, 10)


def test_a_file_that_was_cut_off_gives_what_is_whole(store: SqlStore, tmp_path: Path) -> None:
    write(tmp_path / "logs" / "a")
    (path,) = (tmp_path / "logs" / "a").iterdir()
    path.write_bytes(path.read_bytes()[:1500])
    done = bring_in(TensorBoardLogs(str(tmp_path / "logs")), store)
    assert 0 < done.new_points < 40


def test_a_folder_without_event_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="tfevents"):
        TensorBoardLogs(str(tmp_path))
