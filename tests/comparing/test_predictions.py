"""Predictions of single rows: how a run keeps them, and how two sets are laid beside each other."""

from __future__ import annotations

import io
import logging
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score, log_loss, roc_auc_score

import mlops_nb
from mlops_nb.comparing import predictions as reading
from mlops_nb.comparing.predictions import Paired, Predictions, RunPredictions, agrees, paired
from mlops_nb.core import predictions as forms
from mlops_nb.errors import InvalidInput
from mlops_nb.store.base import RunQuery, ServedStore
from mlops_nb.tracking import predictions as writing
from mlops_nb.tracking import scores
from mlops_nb.tracking import session as sessions
from mlops_nb.tracking.session import Session
from tests.comparing.conftest import MakeRun


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """A session of its own in a project of its own."""
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "MLOPS_NB_TRACKING_URI", "MLOPS_NB_CAPTURE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sessions, "current", current := Session())
    scores.recent.clear()
    yield current
    current.close()


def kept(session: Session, run_id: str) -> RunPredictions:
    session.flush(10)
    store, deadline = session.store(), time.monotonic() + 60
    while not store.search_runs(RunQuery(filter=f"run_id = '{run_id}' and status = 'FINISHED'")).items:
        assert time.monotonic() < deadline, "the run was not delivered"
        time.sleep(0.05)
    return RunPredictions(store, run_id)


def data(seed: int = 0, rows: int = 300) -> tuple[pd.DataFrame, pd.Series, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"a": rng.normal(size=rows), "b": rng.integers(0, 5, rows).astype(str)}, index=rng.permutation(rows * 3)[:rows])
    target = pd.Series(rng.integers(0, 2, rows), index=frame.index, name="y")
    return frame, target, np.clip(0.3 * target.to_numpy() + 0.6 * rng.random(rows), 0.01, 0.99)


def test_what_was_logged_is_what_is_read(session: Session) -> None:
    frame, target, prediction = data()
    with mlops_nb.start_run("r") as run:
        mlops_nb.log_predictions(target, prediction, rows=frame, name="held out/1", task="classification")
    found = kept(session, run.run_id)
    assert found.files == ["predictions/held-out-1.npz"]
    read = found.of(found.files[0])
    assert read is not None
    assert read.info.name == "held out/1" and read.info.task == "classification" and read.info.total == 300
    assert np.array_equal(read.target, target) and np.array_equal(read.prediction, prediction)
    assert set(read.keys) == {"content", "index"}


def test_a_score_that_is_logged_tells_what_it_was_computed_of(session: Session) -> None:
    _, target, prediction = data()
    with mlops_nb.start_run("r") as run:
        for function, name, given, more in (
            (roc_auc_score, "val_auc", prediction, {}),
            (log_loss, "val_loss", prediction, {}),
            (accuracy_score, "acc", prediction > 0.5, {}),
            (f1_score, "f1", prediction > 0.5, {"average": "macro"}),
        ):
            value = function(target, given, **more)
            scores.saw(function, (target, given), more, value, name="y_val")
            mlops_nb.log(**{name: value})
    found = kept(session, run.run_id)
    # Two sets of predictions, each kept once: the probabilities and the labels.
    assert found.files == ["predictions/y_val-2.npz", "predictions/y_val.npz"]
    record = session.store().get_run(run.run_id)
    sources = {key: found.source_of(key, metric.value) for key, metric in record.metrics.items()}
    assert {key: source and (source.function, source.file, source.arguments) for key, source in sources.items()} == {
        "val_auc": ("roc_auc_score", "predictions/y_val.npz", {}),
        "val_loss": ("log_loss", "predictions/y_val.npz", {}),
        "acc": ("accuracy_score", "predictions/y_val-2.npz", {}),
        "f1": ("f1_score", "predictions/y_val-2.npz", {"average": "macro"}),
    }


@pytest.mark.parametrize("level", ["hash", "off"])
def test_nothing_is_kept_unasked_where_less_is_captured(session: Session, monkeypatch: pytest.MonkeyPatch, level: str) -> None:
    monkeypatch.setenv("MLOPS_NB_CAPTURE", level)
    _, target, prediction = data()
    with mlops_nb.start_run("r") as run:
        value = roc_auc_score(target, prediction)
        assert scores.saw(roc_auc_score, (target, prediction), {}, value) is None
        mlops_nb.log(auc=value)
    assert not kept(session, run.run_id)
    assert mlops_nb.privacy().captured["predictions"].startswith("nothing")


def test_privacy_says_that_predictions_are_kept(session: Session) -> None:
    assert "target and prediction of each row" in mlops_nb.privacy().captured["predictions"]


def test_scores_that_cannot_be_computed_again_are_not_kept(session: Session) -> None:
    _, target, prediction = data()
    weights = np.ones(len(target))
    value = roc_auc_score(target, prediction, sample_weight=weights)
    assert scores.saw(roc_auc_score, (target, prediction), {"sample_weight": weights}, value) is None
    many = np.zeros(scores.MAX_ROWS + 1)
    assert scores.saw(accuracy_score, (many, many), {}, 1.0) is None
    assert scores.saw(np.dot, (target, prediction), {}, 1.0) is None


def test_an_ordinary_metric_is_logged_without_a_look_at_predictions(session: Session) -> None:
    with mlops_nb.start_run("r") as run:
        mlops_nb.log(auc=0.5)
    assert not kept(session, run.run_id)


@pytest.mark.parametrize(
    ("target", "prediction", "rows", "message"),
    [
        ([1, 0], [0.5], None, "2 targets and 1 predictions"),
        ([], [], None, "0 targets"),
        ([[1, 0], [0, 1]], [0.5, 0.5], None, "shape"),
        ([1, 0], np.zeros((2, 2, 2)), None, "shape"),
        (["a", "b"], [["a"], ["b", "c"]], None, "prediction"),
        ([1, 0], ["a", "b"], None, "texts"),
        ([1, 0], [0.1, 0.2], [1, 2, 3], "3 rows"),
        ([1, 0], [1 + 2j, 1], None, "type"),
    ],
)
def test_what_cannot_be_kept_is_refused_with_what_to_do(session: Session, target: Any, prediction: Any, rows: Any, message: str) -> None:
    with mlops_nb.start_run("r"), pytest.raises(InvalidInput, match=message) as caught:
        mlops_nb.log_predictions(target, prediction, rows=rows)
    assert caught.value.hint


def test_labels_that_are_texts_are_kept_as_classes(session: Session) -> None:
    with mlops_nb.start_run("r") as run:
        mlops_nb.log_predictions(["no", "yes", "no"], ["no", "no", "maybe"])
    read = kept(session, run.run_id).of("predictions/validation.npz")
    assert read is not None
    assert read.info.classes == ["maybe", "no", "yes"] and read.info.coded
    assert read.target.tolist() == [1, 2, 1] and read.prediction.tolist() == [1, 1, 0]


def test_of_too_many_rows_every_run_keeps_the_same(
    session: Session, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(writing, "MAX_ROWS", 100)
    frame, target, prediction = data()
    order = np.random.default_rng(1).permutation(300)
    found = []
    with caplog.at_level(logging.WARNING):
        for rows in (np.arange(300), order):
            with mlops_nb.start_run() as run:
                run.log_predictions(target.iloc[rows], prediction[rows], rows=frame.iloc[rows])
            read = kept(session, run.run_id).of("predictions/validation.npz")
            assert read is not None and len(read.target) == 100 and read.info.total == 300
            found.append(read)
    assert "300" in caplog.text and "100 are kept" in caplog.text
    rows = paired(*found)
    assert isinstance(rows, Paired) and len(rows.target) == 100 and np.array_equal(rows.base, rows.other)


# -- two sets beside each other


def packed(target: Any, prediction: Any, rows: Any = None) -> Predictions:
    truth, guess = writing._checked(target, prediction)
    read = reading._unpacked(writing._packed(truth, guess, writing._keys(truth, (rows, target, prediction), rows), "v", None))
    assert read is not None
    return read


def test_rows_are_found_again_in_another_order_by_their_ids_content_or_index() -> None:
    frame, target, prediction = data()
    order = np.random.default_rng(2).permutation(300)
    for rows, keep_index in ((frame, True), (frame.reset_index(drop=True), False), (frame.index.to_numpy(), False), (None, True)):
        one = target if keep_index else target.to_numpy()
        first = packed(one, prediction, rows)
        shuffled = rows.iloc[order] if isinstance(rows, pd.DataFrame) else None if rows is None else rows[order]
        second = packed(target.iloc[order] if keep_index else target.to_numpy()[order], prediction[order] + 1, shuffled)
        found = paired(first, second)
        assert isinstance(found, Paired) and found.note == ""
        assert np.allclose(found.other - found.base, 1)
        assert np.array_equal(found.target, target)


def test_a_new_column_does_not_make_other_rows_of_them() -> None:
    frame, target, prediction = data()
    found = paired(packed(target, prediction, frame), packed(target, prediction, frame.assign(c=1)))
    assert isinstance(found, Paired) and len(found.target) == 300


def test_rows_without_keys_are_the_same_where_the_whole_target_is() -> None:
    _, target, prediction = data()
    plain = target.to_numpy()
    found = paired(packed(plain, prediction), packed(plain.astype(float), prediction))
    assert isinstance(found, Paired) and len(found.target) == 300
    assert paired(packed(plain, prediction), packed(plain[::-1], prediction)) == "other evaluation rows"


def test_of_other_rows_those_in_both_are_taken_if_they_are_enough() -> None:
    frame, target, prediction = data()
    first, second = packed(target[:200], prediction[:200], frame[:200]), packed(target[100:], prediction[100:], frame[100:])
    found = paired(first, second)
    assert isinstance(found, Paired)
    assert found.note == "on the 100 rows that both have, of 200 and 200"
    assert np.array_equal(found.base, found.other)
    few = packed(target[180:], prediction[180:], frame[180:])
    assert paired(first, few) == "other evaluation rows: only 20 of 200 and 120 are in both"
    assert (
        paired(packed(target[:100], prediction[:100], frame[:100]), packed(target[200:], prediction[200:], frame[200:]))
        == "other evaluation rows"
    )


def test_equal_rows_are_paired_one_by_one() -> None:
    ids = [7, 7, 8, 7]
    found = paired(packed([0, 1, 0, 1], [1.0, 2.0, 3.0, 4.0], ids), packed([0, 1, 0, 1], [1.0, 2.0, 3.0, 4.0], ids))
    assert isinstance(found, Paired) and found.base.tolist() == [1.0, 2.0, 3.0, 4.0]


def test_rows_whose_targets_were_changed_are_not_compared() -> None:
    ids = list(range(100))
    assert paired(packed([0, 1] * 50, np.zeros(100), ids), packed([1, 0] * 50, np.zeros(100), ids)) == "the same rows have other targets"


# -- hostile files


def archive(**arrays: Any) -> bytes:
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


INFO = np.frombuffer(b'{"name": "v", "total": 2, "digest": ""}', dtype=np.uint8)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a zip",
        archive(target=np.zeros(2)),
        archive(info=np.frombuffer(b"{", dtype=np.uint8), target=np.zeros(2), prediction=np.zeros(2)),
        archive(info=INFO, target=np.zeros(2), prediction=np.zeros(3)),
        archive(info=INFO, target=np.zeros((2, 2)), prediction=np.zeros(2)),
        archive(info=INFO, target=np.zeros(2), prediction=np.zeros(2), ids=np.zeros(5, dtype=np.uint64)),
        archive(info=INFO, target=np.array([object(), 1], dtype=object), prediction=np.zeros(2)),
    ],
    ids=["empty", "text", "no info", "broken info", "lengths", "shape", "keys", "pickle"],
)
def test_a_file_that_holds_something_else_is_passed_over(store: ServedStore, make_run: MakeRun, content: bytes) -> None:
    run = make_run("r", {"val_auc": 0.5}, files={"predictions/v.npz": content, "predictions/metrics/x.json": b"[]"})
    found = RunPredictions(store, run.run_id)
    assert found.of("predictions/v.npz") is None
    assert found.source_of("val_auc", 0.5) is None


def test_a_small_file_that_grows_huge_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("target.npy", b"\0" * (reading._MAX_FILE + 1))
    assert len(content.getvalue()) < 1_000_000
    assert reading._unpacked(content.getvalue()) is None


def test_a_metric_whose_value_its_predictions_do_not_give_is_not_theirs(store: ServedStore, make_run: MakeRun) -> None:
    target, guess = np.array([0, 1, 1, 0]), np.array([0.1, 0.9, 0.3, 0.4])
    files = {"predictions/v.npz": writing._packed(target, guess, {}, "v", None)}
    run = make_run("r", {"val_auc": 0.75, "test_auc": 0.5}, files=files)
    found = RunPredictions(store, run.run_id)
    assert found.source_of("test_auc", 0.5) is None
    assert found.source_of("val_auc", 0.75) == reading.ScoredBy(file="predictions/v.npz", function="roc_auc_score")


def test_a_rounded_value_is_the_computed_one() -> None:
    assert agrees(0.913, 0.91272) and agrees(0.9127, 0.912699) and not agrees(0.91, 0.9127) and not agrees(0.9, float("nan"))


def test_names_of_files_stay_in_their_folder() -> None:
    for name in ("../../etc/passwd", "a/b", "..", "", "x" * 500, "ä ö\n"):
        path = forms.predictions_file(name)
        assert path.startswith("predictions/") and path.count("/") == 1 and ".." not in path.replace("..npz", ".npz") and len(path) < 120
