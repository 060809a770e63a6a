"""A model that is asked with an array, without its framework's detours, answers to the last bit what its own methods answer."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import pytest

numpy = pytest.importorskip("numpy", reason="numpy is not installed")
pandas = pytest.importorskip("pandas", reason="pandas is not installed")
pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from sklearn.compose import make_column_transformer  # noqa: E402 - needs scikit-learn
from sklearn.ensemble import (  # noqa: E402
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, RidgeClassifier, SGDClassifier  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, StandardScaler  # noqa: E402

from mlops_nb.models import load_model, save_model  # noqa: E402
from mlops_nb.models.by_position import by_position  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")

_random = numpy.random.default_rng(7)
ROWS = _random.normal(size=(120, 6)) * [1, 10, 1e3, 0.01, 5, 1]
TABLE = pandas.DataFrame(ROWS, columns=list("abcdef"))
CLASSES = (ROWS[:, 0] > 0).astype(int) + (ROWS[:, 1] > 3)
TEXTS = numpy.array(["no", "maybe", "yes"])[CLASSES]
NUMBERS = ROWS[:, 0] * 3 + ROWS[:, 4] ** 2
GAPS = numpy.where(_random.random(ROWS.shape) < 0.1, numpy.nan, ROWS)


def _forest(kind: Any, **settings: Any) -> Any:
    return kind(5, random_state=0, **settings)


MODELS: dict[str, tuple[Any, Any]] = {
    "classes": (LogisticRegression(), CLASSES),
    "two classes": (LogisticRegression(), CLASSES > 0),
    "texts": (make_pipeline(StandardScaler(), LogisticRegression()), TEXTS),
    "scaled to a range": (make_pipeline(MinMaxScaler(), "passthrough", SGDClassifier(random_state=0)), CLASSES),
    "scaled, clipped": (make_pipeline(MinMaxScaler(clip=True), StandardScaler(with_mean=False), Ridge()), NUMBERS),
    "a classifier with a way of its own": (RidgeClassifier(), CLASSES),
    "numbers": (LinearRegression(), NUMBERS),
    "several outputs": (make_pipeline(StandardScaler(), Ridge()), numpy.column_stack([NUMBERS, -NUMBERS])),
    "forest": (_forest(RandomForestClassifier), CLASSES),
    "forest of texts": (_forest(RandomForestClassifier, n_jobs=2), TEXTS),
    "forest of several outputs": (_forest(RandomForestClassifier), numpy.column_stack([CLASSES, CLASSES > 1])),
    "forest of numbers": (_forest(RandomForestRegressor), NUMBERS),
    "trees of several numbers": (_forest(ExtraTreesRegressor), numpy.column_stack([NUMBERS, -NUMBERS])),
    "scaled forest": (make_pipeline(StandardScaler(), _forest(RandomForestClassifier)), CLASSES),
    "boosted": (HistGradientBoostingClassifier(max_iter=5), CLASSES),
}
INPUTS = {
    "many rows": ROWS,
    "one row": ROWS[:1],
    "single precision": ROWS.astype("float32"),
    "whole numbers": numpy.round(ROWS).astype("int64"),
    "columns in memory one after the other": numpy.asfortranarray(ROWS),
    "every second row": ROWS[::2],
    "missing values": GAPS[:20],
    "infinite": numpy.where(ROWS[:3] > 0, numpy.inf, ROWS[:3]),
    "huge": ROWS[:5] * 1e30,
    "tiny": ROWS[:5] * 1e-300,
    "no rows": ROWS[:0],
    "too few columns": ROWS[:, :5],
}


def _outcome(ask: Any, rows: Any) -> Any:
    try:
        with warnings.catch_warnings(), numpy.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            answer = ask(rows.copy(order="K"))
    except Exception as error:
        return type(error), str(error)
    parts = answer if isinstance(answer, list) else [answer]
    return [(part.dtype, part.shape, part.tolist()) for part in parts]


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, tuple) or isinstance(other, tuple):
        return bool(one == other)
    return len(one) == len(other) and all(
        a[:2] == b[:2] and (numpy.array_equal(a[2], b[2], equal_nan=True) if a[0].kind == "f" else a[2] == b[2])
        for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("fitted_with", ["an array", "a table"])
def test_an_array_is_answered_as_by_the_models_own_methods(name: str, fitted_with: str) -> None:
    form, target = MODELS[name]
    model = copy.deepcopy(form).fit(ROWS if fitted_with == "an array" else TABLE, target)
    before = set(vars(model))
    for method in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
        if not hasattr(model, method):
            continue
        quick = by_position(model, method)
        assert quick is not None
        for kind, rows in INPUTS.items():
            expected, answered = _outcome(getattr(model, method), rows), _outcome(quick, rows)
            assert _equal(expected, answered), f"{method}, {kind}: {str(answered)[:200]} instead of {str(expected)[:200]}"
    assert type(model) is type(form) and set(vars(model)) == before  # the model itself is as it was


def test_neither_the_rows_nor_a_model_made_for_several_threads_is_changed() -> None:
    rows, kept = ROWS.copy(), ROWS.copy()
    model = make_pipeline(StandardScaler(copy=False), LogisticRegression()).fit(ROWS.copy(), CLASSES)
    quick = by_position(model, "predict")
    assert quick is not None
    quick(rows)
    assert numpy.array_equal(rows, kept)
    forest = _forest(RandomForestClassifier, n_jobs=2).fit(ROWS, CLASSES)
    many = numpy.resize(ROWS, (9_000, 6))
    ask = by_position(forest, "predict_proba")
    assert ask is not None and ask(many).shape == (9_000, 3) and forest.n_jobs == 2


def test_trees_are_asked_without_handing_each_to_joblib(monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.ensemble import _forest as module

    model = _forest(RandomForestClassifier).fit(ROWS, CLASSES)
    expected = model.predict(ROWS)
    monkeypatch.setattr(module, "Parallel", None)
    ask = by_position(model, "predict")
    assert ask is not None and ask(ROWS).tolist() == expected.tolist()


@pytest.mark.parametrize("method", ["predict", "predict_proba"])
def test_a_saved_pipeline_of_texts_and_numbers_answers_as_the_one_that_was_saved(method: str, tmp_path: Path) -> None:
    table = TABLE.assign(plan=numpy.array(["free", "pro", "größe ☃"])[CLASSES])
    coded = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["plan"]), (StandardScaler(), list("abc")))
    model = make_pipeline(coded, LogisticRegression()).fit(table, TEXTS)
    save_model(model, tmp_path / "m", input_example=table[:3], pyfunc_predict_fn=method)
    loaded = load_model(tmp_path / "m")
    odd = table.assign(plan=["what?", *table["plan"][1:]])
    for rows in (table, table[:1], odd):
        assert loaded.predict(rows).tolist() == getattr(model, method)(rows).tolist()
