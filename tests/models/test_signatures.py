"""Signatures are those that MLflow infers, for whatever is given; and lists work as examples."""

from __future__ import annotations

import datetime
import decimal
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from mlops_nb.errors import InvalidInput
from mlops_nb.models import infer_signature, load_model, save_model

np = pytest.importorskip("numpy", reason="numpy is not installed")
pd = pytest.importorskip("pandas", reason="pandas is not installed")
sparse = pytest.importorskip("scipy.sparse", reason="scipy is not installed")

DAY = datetime.datetime(2026, 1, 2)


def column(*values: Any, kind: Any = None) -> Any:
    return pd.DataFrame({"c": pd.Series(list(values), dtype=kind)})


def given() -> dict[str, Any]:
    """Return inputs by what they are."""
    lists = [
        *([[0.0]], [[1.0, 2.0], [3.0, 4.0]], [[1], [1, 2]], [[[1]]], [["a"]], [1, 2], [1.0], ["a", None], [None], [], [[]], [1, 2.5]),
        *([True, 1], [1, None], [{"a": 1}], [{"a": 1}, {"b": 2}], [{"a": {"b": [1, 2]}}], [{"a": None}], [{}], [np.array([1.0])]),
        *([DAY], [np.int64(1)], [1.0, float("nan")], [pd.DataFrame({"a": [1]})], [(1, 2)]),
    ]
    mappings = [
        *({"a": 1}, {"a": [1, 2]}, {"a": "x"}, {"a": {"b": 1}}, {"a": np.array([1]), "b": np.zeros((2, 3))}, {"a": [[1]], "b": ["x"]}),
        *({}, {"a": None}, {"m": [{"role": "u", "content": "c"}]}, {1: [1]}, {"a": np.array([1]), "b": [1.0]}, {"a": np.array([])}),
        {"a": sparse.csr_matrix(np.eye(2))},
    ]
    values = [
        "text",
        1,
        1.5,
        True,
        b"x",
        np.int32(1),
        np.float32(1),
        np.bool_(True),
        np.str_("a"),
        np.datetime64("2026-01-01"),
        (1, 2),
        {1},
    ]
    kinds = "int8 int32 int64 uint8 uint32 uint64 float16 float32 float64 bool complex64 datetime64[ns] timedelta64[ns] U3 S3 O"
    arrays = [np.zeros((2, 2)).astype(kind) for kind in kinds.split()]
    arrays += [np.array(1.0), np.array([1.0]), np.zeros((2, 3, 4)), np.zeros((0, 3)), np.array(["a"]), np.array([["a", 1]], dtype=object)]
    columns = [
        *(column(1, 2), column(1.0, np.nan), column("a", None), column(True, None), column(None, None), column(1, "a"), column([1], [2])),
        *(column([1], ["a"]), column([], []), column([1], None), column({"a": 1}, {"a": 2}), column({"a": 1}, {"b": 2})),
        *(column({"a": 1}, None), column({"a": 1}, {"a": "x"}), column({}, {}), column([{"a": 1}], [{"a": 2, "b": 3}])),
        *(
            column(np.array([1]), np.array([2])),
            column(b"a"),
            column(datetime.date(2026, 1, 2)),
            column(DAY),
            column(pd.Timestamp(DAY), pd.NaT),
        ),
        *(
            column(pd.Timestamp(DAY, tz="UTC")),
            column(pd.Timedelta("1s")),
            column(decimal.Decimal(1)),
            column(1j),
            column((1, 2)),
            column({1}),
        ),
        *(column(1, 2, kind=object), column(1, 2.5, kind=object), column(True, 1, kind=object), column(np.int32(1), kind=object)),
    ]
    for kind in "Int8 Int32 Int64 UInt32 UInt64 Float32 Float64".split():
        columns += [column(1, 2, kind=kind), column(1, None, kind=kind)]
    columns += [
        column(True, kind="boolean"),
        column(True, None, kind="boolean"),
        column("a", kind="string"),
        column("a", pd.NA, kind="string"),
    ]
    columns += [column(*pd.Categorical(one), kind="category") for one in (["a", "b"], ["a", None], [1, 2], [1, None], [1.5], [True, False])]
    columns += [column(1, kind=kind) for kind in ("int16", "uint16", "uint32", "uint64", "float16", "float32")]
    tables = [pd.DataFrame(), pd.DataFrame({"a": pd.Series([], dtype="int64"), "b": pd.Series([], dtype=object)}), pd.DataFrame([[1, 2.0]])]
    tables += [pd.DataFrame([[1, 2]], columns=["a", "a"]), pd.DataFrame({"a": pd.arrays.SparseArray([0, 1])})]
    series = [
        pd.Series([1, 2], name="x"),
        pd.Series([1.0]),
        pd.Series(["a", None]),
        pd.Series([[1], [2]]),
        pd.Series(["a"], dtype="category"),
    ]
    others = [pd.Index([1, 2]), *(make(np.eye(2)) for make in (sparse.csr_matrix, sparse.csc_matrix, sparse.coo_matrix, sparse.csr_array))]
    every = [*lists, *mappings, *values, *arrays, *columns, *tables, *series, *others]
    return {f"{i} {type(one).__name__} {one!r}"[:60]: one for i, one in enumerate(every)}


def inferred(infer: Any, *arguments: Any) -> Any:
    """Return a signature as plain values, or None where there is none."""
    try:
        told = infer(*arguments).to_dict()
    except Exception:
        return None
    return {name: None if text is None else json.loads(text) for name, text in told.items()}


@pytest.mark.filterwarnings("ignore")
def test_signatures_are_those_of_mlflow(caplog: pytest.LogCaptureFixture) -> None:
    theirs = pytest.importorskip("mlflow.models", reason="mlflow is not installed").infer_signature
    caplog.set_level(logging.ERROR)
    every = given()
    ours = {name: inferred(infer_signature, one) for name, one in every.items()}
    assert ours == {name: inferred(theirs, one) for name, one in every.items()} and len(every) > 100
    outputs = {name: inferred(infer_signature, None, one) for name, one in every.items()}
    assert outputs == {name: inferred(theirs, None, one) for name, one in every.items()}


PARAMS = [
    *(1, 1.5, "x", True, [1, 2], ["a"], None, DAY, [DAY], np.int64(1), np.float32(1), {"a": 1}, [], [1, "a"], [1, 2.5], [[1]], b"x"),
    *(np.array([1, 2]), object(), (1, 2)),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("value", PARAMS, ids=lambda value: "object" if type(value) is object else repr(value)[:30])
def test_params_are_those_of_mlflow_and_others_are_refused(value: Any) -> None:
    theirs = pytest.importorskip("mlflow.models", reason="mlflow is not installed").infer_signature
    expected = inferred(theirs, [1], None, {"p": value})
    if expected is None:
        with pytest.raises(InvalidInput, match="The param 'p' has a default that cannot stand in a signature"):
            infer_signature([1], None, {"p": value})
    else:
        assert inferred(infer_signature, [1], None, {"p": value}) == expected


def test_what_has_no_form_is_told(caplog: pytest.LogCaptureFixture) -> None:
    signature = infer_signature(column(1, "a"))
    assert signature.inputs == [{"type": "any", "required": True}]
    assert "is not checked" in caplog.text and "Column 'c': The values are of different types: long and string" in caplog.text
    with pytest.raises(InvalidInput, match="Nothing is given"):
        infer_signature()


@pytest.mark.parametrize("example", [[[1.0], [2.0]], ((1.0,), (2.0,)), [{"x": 1.0}, {"x": 2.0}]], ids=["rows", "tuples", "records"])
def test_a_framework_s_model_takes_lists_as_examples(example: Any, tmp_path: Path) -> None:
    linear = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    is_table = isinstance(example[0], dict)
    rows = pd.DataFrame(list(example)) if is_table else np.array(example)
    save_model(linear.LinearRegression().fit(rows, [2.0, 4.0]), tmp_path / "model", input_example=example)
    model = load_model(tmp_path / "model")
    assert model.signature is not None and model.signature.is_tensors is not is_table
    assert list(model.predict(model.input_example())) == [pytest.approx(2), pytest.approx(4)]
    with pytest.raises(InvalidInput, match="different lengths"):
        save_model(linear.LinearRegression(), tmp_path / "other", input_example=[[1.0], [1.0, 2.0]])


@pytest.mark.parametrize("example", [[{"a": 1}], {"a": 1}, {"a": [1, 2]}, ["x"], [[1.0]], {"a": {"b": [1]}}], ids=repr)
def test_a_python_function_takes_lists_and_mappings_as_examples(example: Any, tmp_path: Path) -> None:
    save_model(count, tmp_path / "model", input_example=example)
    model = load_model(tmp_path / "model")
    assert model.signature is not None and model.input_example() == example
    assert model.predict(model.input_example()) is not None


def count(rows: Any) -> list[int]:
    return [1] * len(rows)
