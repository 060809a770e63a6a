"""Acceleration: a conversion answers in a model's place only where it was found to answer the same, and says so everywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

numpy = pytest.importorskip("numpy", reason="numpy is not installed")
pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from mlops_nb.errors import InvalidInput  # noqa: E402
from mlops_nb.models import load_model, save_model  # noqa: E402
from mlops_nb.serving.proving import NUMBERS, difference, prove, trial_rows  # noqa: E402
from mlops_nb.serving.records import check_acceleration  # noqa: E402
from tests.serving.conftest import Host, until  # noqa: E402

COLUMNS = ["a", "b", "c"]


@pytest.fixture(scope="module")
def rows() -> Any:
    return numpy.random.default_rng(3).normal(size=(200, 3))


@pytest.fixture(scope="module")
def forest(tmp_path_factory: pytest.TempPathFactory, rows: Any) -> Path:
    """A model folder with a small forest."""
    import pandas
    from sklearn.ensemble import RandomForestClassifier

    folder = tmp_path_factory.mktemp("forest") / "model"
    table = pandas.DataFrame(rows, columns=COLUMNS)
    model = RandomForestClassifier(61, random_state=0).fit(table, numpy.array(["no", "yes"])[(rows[:, 0] > rows[:, 1]).astype(int)])
    save_model(model, folder, input_example=table[:3], name="forest")
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The user's cache, for the workers too."""
    patch = pytest.MonkeyPatch()
    folder = tmp_path_factory.mktemp("cache")
    patch.setenv("XDG_CACHE_HOME", str(folder))
    yield folder / "mlops_nb" / "accelerated"
    patch.undo()


def needs_converter() -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: nothing computes a conversion")
    pytest.importorskip("skl2onnx", reason="skl2onnx is not installed: nothing is converted")


def _metadata(host: Host, name: str) -> Any:
    return json.loads(host.ask(name, b"", "", f"/v2/models/{name}", "GET").body)["parameters"]


def test_a_proven_conversion_answers_and_everything_says_so(host: Host, forest: Path, cache: Path, rows: Any) -> None:
    needs_converter()
    host.start("forest", forest, accelerate="require")
    until(lambda: host.info("forest").state != "starting", 150)  # importing the converter takes longest
    info = host.info("forest")
    assert info.state == "ready" and info.live is not None, host.logs("forest") + str(info.attempt)
    assert info.live.engine == "onnxruntime"
    assert info.live.acceleration.startswith("ONNX, ") and "rows answered the same" in info.live.acceleration
    assert _metadata(host, "forest")["engine"] == "onnxruntime"
    assert 'engine="onnxruntime"' in host.ask("forest", b"", "", "/metrics", "GET").body.decode()
    assert "rows answered the same" in host.ask("forest", b"", "", "/", "GET").body.decode()
    asked = [*rows.tolist(), [1e12, -1e12, 0]]
    body = {"dataframe_split": {"columns": COLUMNS, "data": asked}}
    answer = json.loads(host.ask("forest", body).body)
    plain = load_model(forest, allow_unsafe=True)
    assert answer["predictions"][:200] == plain.predict_array(rows).tolist()
    # What the model itself refuses is refused as it does.
    refused = host.ask("forest", {"dataframe_split": {"columns": COLUMNS, "data": [[1e300, 0, 0]]}})
    assert refused.status == 400 and b"too large for dtype('float32')" in refused.body
    assert not list(forest.glob("*.onnx")) and len(list(cache.glob("*.onnx"))) == 1


def test_what_was_converted_is_kept_and_what_is_damaged_is_not_used(forest: Path, cache: Path, rows: Any) -> None:
    needs_converter()
    from mlops_nb.serving.acceleration import accelerate

    model = load_model(forest, allow_unsafe=True)
    first = accelerate(model, allow_unsafe=True, example=rows[:3], cache=cache)
    assert first.engine == "onnxruntime", first.told
    graph = next(cache.glob("*.onnx"))
    made = graph.stat().st_mtime_ns
    again = accelerate(model, allow_unsafe=True, example=rows[:3], cache=cache)
    assert again.told == first.told and graph.stat().st_mtime_ns == made
    for odd in ([[numpy.nan, 0, 0]], [[-0.0, 1e11, 5]]):
        assert again.model.predict_array(numpy.array(odd)).tolist() == model.predict_array(numpy.array(odd)).tolist()
    with pytest.raises(ValueError, match="infinity"):
        again.model.predict_array(numpy.array([[numpy.inf, 0, 0]]))
    graph.write_bytes(graph.read_bytes()[:-1] + b"x")
    damaged = accelerate(model, allow_unsafe=True, example=rows[:3], cache=cache)
    assert damaged.engine == "model" and "damaged" in damaged.told and damaged.model is model


def test_a_model_that_has_no_conversion_is_served_as_it_is_or_refused(host: Host, models: Path, cache: Path) -> None:
    info = host.start("mixed", models / "mixed", accelerate="auto")
    assert info.state == "ready" and info.live is not None, info.attempt
    assert info.live.engine == "model" and info.live.acceleration.startswith("plain: ")
    assert _metadata(host, "mixed") == {"engine": "model", "acceleration": info.live.acceleration}
    info = host.start("refused", models / "mixed", accelerate="require")
    assert info.attempt is not None and info.attempt.state == "failed"
    assert "cannot be accelerated" in info.attempt.problem and "--accelerate" in info.attempt.problem


def test_acceleration_is_off_unless_somebody_asks_for_it(host: Host, models: Path) -> None:
    info = host.start("plain", models / "numbers")
    assert info.live is not None and (info.live.acceleration, info.live.engine) == ("", "model")
    with pytest.raises(InvalidInput, match="no acceleration 'fast'"):
        check_acceleration("fast")


def test_a_conversion_that_goes_another_way_in_trees_is_not_used(tmp_path: Path, rows: Any) -> None:
    """Scaled rows are rounded to single precision before trees see them; the converter does that elsewhere."""
    needs_converter()
    import pandas
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from mlops_nb.serving.converting import Order, convert

    table = pandas.DataFrame(rows, columns=COLUMNS)
    model = make_pipeline(StandardScaler(), RandomForestClassifier(20, random_state=0)).fit(table, rows[:, 0] * rows[:, 1] > 0)
    save_model(model, tmp_path / "m", input_example=table[:3])
    verdict = convert(Order(folder=str(tmp_path / "m"), out=str(tmp_path / "out"), allow_unsafe=True, example=rows[:3].tolist()))
    assert "it answers otherwise" in verdict.problem
    assert not (tmp_path / "out.onnx").exists()


def test_the_rows_that_are_tried_are_like_those_seen_and_beyond(rows: Any) -> None:
    from sklearn.tree import DecisionTreeClassifier

    model = DecisionTreeClassifier(random_state=0).fit(rows, rows[:, 0] > 0.5)
    tried = trial_rows(model, 3, whole=[2], example=rows[:4], ranges=[(10.0, 20.0), None, None])
    at = model.tree_.threshold[0]
    assert (tried["threshold"][:, 0] == at).any() and (tried["threshold"][:, 0] > at).any() and (tried["threshold"][:, 0] < at).any()
    assert tried["within"][:, 0].max() > 15 and tried["outside"][:, 0].max() > 25
    assert all((given[:, 2] % 1 == 0).all() for given in tried.values())
    assert numpy.isnan(tried["missing"]).any() and not numpy.isnan(tried["missing"][:, 2]).any()
    assert abs(tried["extreme"]).max() == 1e12


@pytest.mark.parametrize(
    ("other", "problem"),
    [
        (lambda given: given[:, 0] * (1 + 1e-5), "rows like those seen"),
        (lambda given: numpy.where(given[:, 0] > 1e11, 0, given[:, 0]), "very large"),
        (lambda given: given[:, :1], "shape"),
        (lambda given: 1 / 0, "ZeroDivisionError"),
        (lambda given: given[:, 0] if len(given) > 1 else given[:, 0] + 1, "rows alone"),
        (lambda given: given[:, 0] * (1 + 1e-8), ""),
        (lambda given: numpy.nan_to_num(given[:, 0]), ""),
    ],
)
def test_two_that_answer_otherwise_are_told_apart(other: Any, problem: str) -> None:
    tried = trial_rows(None, 1, whole=[])
    proof = prove(lambda given: given[:, 0], other, tried, is_classes=False)
    assert problem in proof.problem and bool(proof.problem) == bool(problem)


def test_missing_values_go_to_the_conversion_only_where_it_answers_them_the_same() -> None:
    tried = trial_rows(None, 1, whole=[])
    assert prove(lambda given: given[:, 0], lambda given: given[:, 0], tried, is_classes=False).takes_missing
    assert not prove(lambda given: given[:, 0], lambda given: numpy.nan_to_num(given[:, 0]), tried, is_classes=False).takes_missing


def test_classes_must_be_equal_and_numbers_nearly() -> None:
    near = numpy.array([1.0 + 1e-7]), numpy.array([1.0])
    assert not difference(*near, is_classes=False) and difference(*near, is_classes=True)
    assert difference(*near, is_classes=False, within=(NUMBERS[0] / 10, 0.0))
    assert "1 of 2 rows, such as b instead of c" in difference(numpy.array(["a", "c"]), numpy.array(["a", "b"]), is_classes=True)


def test_a_conversion_that_takes_too_long_is_given_up(forest: Path, cache: Path, rows: Any, tmp_path: Path, monkeypatch: Any) -> None:
    needs_converter()
    from mlops_nb.serving import acceleration

    monkeypatch.setattr(acceleration, "_SECONDS", 0.05)
    done = acceleration.accelerate(load_model(forest, allow_unsafe=True), allow_unsafe=True, cache=tmp_path)
    assert done.engine == "model" and "took longer than" in done.told
    assert not list(tmp_path.glob("*.json"))  # it is tried again
