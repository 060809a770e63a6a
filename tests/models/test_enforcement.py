"""Signatures are enforced as MLflow does it: the same data are taken and refused, with the same types afterwards."""

from __future__ import annotations

import datetime
import decimal
import itertools
import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from mlops_nb.errors import InvalidInput
from mlops_nb.models.enforcement import enforce, enforce_params
from mlops_nb.models.signature import Signature

numpy = pytest.importorskip("numpy", reason="numpy is not installed")
pandas = pytest.importorskip("pandas", reason="pandas is not installed")
hypothesis = pytest.importorskip("hypothesis", reason="hypothesis is not installed")
mlflow = pytest.importorskip("mlflow", reason="MLflow is not installed: nothing to compare with")

from hypothesis import strategies as st  # noqa: E402
from mlflow.models import ModelSignature  # noqa: E402
from mlflow.models.utils import _enforce_params_schema, _enforce_schema  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")

WORDS = ("boolean", "integer", "long", "float", "double", "string", "binary", "datetime")


def columns() -> dict[str, Any]:
    """A column of every kind that pandas and numpy have."""
    series = pandas.Series
    found = {
        str(numpy.dtype(kind)): series(numpy.array([0, 1, 2], dtype=kind))
        for kind in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64")
    }
    found |= {
        "bool": series([True, False, True]),
        "zeros and ones": series([0, 1, 1]),
        "gaps": series([1.0, None, 3.0]),
        "gaps and parts": series([1.5, None, 3.0]),
        "huge": series([2**62, 2**63 - 1, 0]),
        "beyond": series([2**70, 1, 2], dtype=object),
        "infinite": series([float("inf"), 1.0, float("-inf")]),
        "str": series(["a", "b", "c"]),
        "str object": series(["a", "b", None], dtype=object),
        "str of numbers": series(["1", "2", "3"]),
        "string type": series(["a", None, "c"], dtype="string"),
        "bytes": series([b"a", b"b", b"c"]),
        "fixed bytes": series(numpy.array([b"a", b"bc", b"c"])),
        "times": series(pandas.to_datetime(["2024-01-01", "2024-06-01", None])),
        "times in seconds": series(numpy.array(["2024-01-01", "2024-06-01", "2025-01-01"], dtype="datetime64[s]")),
        "times with zone": series(pandas.to_datetime(["2024-01-01", "2024-06-01", "2025-01-01"], utc=True)),
        "dates": series([datetime.date(2024, 1, 1)] * 3),
        "datetimes": series([datetime.datetime(2024, 1, 1)] * 3, dtype=object),
        "times as text": series(["2024-01-01", "2024-06-01", "2025-01-01"], dtype=object),
        "spans": series(pandas.to_timedelta([1, 2, 3], unit="s")),
        "objects of ints": series([1, 2, 3], dtype=object),
        "objects of floats": series([1.0, 2.0, None], dtype=object),
        "objects of bools": series([True, None, False], dtype=object),
        "mixed": series([1, "a", None], dtype=object),
        "decimals": series([decimal.Decimal("1.5")] * 3),
        "nullable ints": series([1, 2, 3], dtype="Int64"),
        "nullable ints with gaps": series([1, None, 3], dtype="Int64"),
        "nullable bools": series([True, None, False], dtype="boolean"),
        "nullable floats": series([1.0, None, 2.0], dtype="Float64"),
        "complex": series([1j, 2j, 3j]),
        "nothing": series([None, None, None], dtype=object),
        "lists": series([[1], [2, 3], []], dtype=object),
        "dicts": series([{"a": 1}, {}, None], dtype=object),
        "empty": series([], dtype="float64"),
        "empty objects": series([], dtype=object),
    }
    return found


COLUMNS = columns()


def ours_of(data: Any, signature: Signature) -> Any:
    try:
        return enforce(data, signature)
    except InvalidInput:
        return None


def theirs_of(data: Any, signature: Signature) -> Any:
    given = {name: text for name, text in signature.to_dict().items() if text}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        schema = ModelSignature.from_dict(given).inputs
        try:
            return _enforce_schema(data, schema)
        except Exception:  # whatever it raises, its model answers with an error
            return None


def assert_same(data: Any, signature: Signature, called: str) -> None:
    keep = data.copy() if hasattr(data, "copy") else data
    theirs, ours = theirs_of(data, signature), ours_of(keep, signature)
    assert (theirs is None) == (ours is None), f"{called}: MLflow {'refuses' if theirs is None else 'takes'} it, we do not"
    if theirs is None:
        return
    if hasattr(theirs, "columns"):
        assert list(theirs.columns) == list(ours.columns), called
        pandas.testing.assert_frame_equal(theirs, ours, obj=called)
    elif isinstance(theirs, dict):
        assert theirs.keys() == ours.keys(), called
        for name in theirs:
            numpy.testing.assert_array_equal(theirs[name], ours[name])
            assert theirs[name].dtype == ours[name].dtype, called
    elif hasattr(theirs, "dtype"):
        assert theirs.dtype == ours.dtype, called
        if hasattr(theirs, "toarray"):
            assert (theirs.toarray() == ours.toarray()).all()
        elif theirs is not ours:
            numpy.testing.assert_array_equal(theirs, ours)


@pytest.mark.parametrize("word", WORDS)
def test_every_kind_of_column_against_every_type(word: str) -> None:
    signature = Signature(inputs=[{"type": word, "name": "x", "required": True}])
    unlike = []
    for name, column in COLUMNS.items():
        try:
            assert_same(pandas.DataFrame({"x": column}), signature, f"{name} as {word}")
        except AssertionError as error:
            unlike.append(str(error).splitlines()[0])
    assert not unlike, "\n".join(unlike)


@pytest.mark.parametrize("word", WORDS)
def test_single_values_lists_and_mappings(word: str) -> None:
    for named in (True, False):
        field = {"type": word, "required": True, **({"name": "x"} if named else {})}
        signature = Signature(inputs=[field])
        for data in (
            1,
            1.5,
            "a",
            True,
            None,
            [1, 2],
            ["a"],
            [1.5],
            {"x": 1},
            {"x": [1, 2]},
            {"x": ["a", "b"]},
            [{"x": 1}],
            {"y": 1},
            numpy.array([1, 2]),
            numpy.array([[1], [2]]),
            numpy.array("a"),
            {"x": numpy.array([[1, 2]])},
            pandas.Series([1, 2], name="x"),
            [],
            {},
            object(),
        ):
            assert_same(data, signature, f"{data!r} as {word}, {'named' if named else 'unnamed'}")


names = st.sampled_from(["a", "b", "c", "d", "ä ö", "1"])
kinds = st.sampled_from(sorted(set(COLUMNS) - {"empty", "empty objects", "decimals"}))


@hypothesis.given(
    fields=st.lists(st.tuples(names, st.sampled_from(WORDS), st.booleans()), min_size=1, max_size=5, unique_by=lambda field: field[0]),
    given=st.dictionaries(names, kinds, max_size=6),
    order=st.randoms(use_true_random=False),
)
@hypothesis.settings(max_examples=400, deadline=None, derandomize=True, suppress_health_check=list(hypothesis.HealthCheck))
def test_generated_tables(fields: Any, given: dict[str, str], order: Any) -> None:
    items = list(given.items())
    order.shuffle(items)
    table = pandas.DataFrame({name: COLUMNS[kind] for name, kind in items}, index=[5, 3, 1] if items else None)
    for name, kind in items:
        table[name] = COLUMNS[kind].to_numpy() if COLUMNS[kind].dtype.kind in "iufb" else COLUMNS[kind].array
    signature = Signature(inputs=[{"type": word, "name": name, "required": required} for name, word, required in fields])
    assert_same(table, signature, f"{given} as {fields}")


NESTED = [
    {"type": "array", "items": {"type": "long"}, "name": "x", "required": True},
    {"type": "array", "items": {"type": "double"}, "name": "x", "required": False},
    {"type": "array", "items": {"type": "array", "items": {"type": "string"}}, "name": "x", "required": True},
    {
        "type": "object",
        "properties": {"a": {"type": "long", "required": True}, "b": {"type": "string", "required": False}},
        "name": "x",
        "required": True,
    },
    {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "long"}, "required": True}}, "name": "x", "required": False},
    {"type": "map", "values": {"type": "long"}, "name": "x", "required": True},
    {"type": "any", "name": "x", "required": False},
]
VALUES = [
    None,
    1,
    "a",
    [],
    [1, 2],
    [1.5],
    ["a"],
    [1, "a"],
    [[1], [2]],
    [["a"], ["b", "c"]],
    {},
    {"a": 1},
    {"a": 1, "b": "x"},
    {"a": 1, "b": None},
    {"b": "x"},
    {"a": "x"},
    {"a": 1, "z": 1},
    {"a": [1, 2]},
    {"a": [1.5]},
    {"a": None},
    {1: 1},
    numpy.array([1, 2]),
    numpy.array([1.5]),
    [None, 1],
    [True],
]


@pytest.mark.parametrize("field", NESTED, ids=lambda field: json.dumps(field)[:60])
def test_nested_values(field: dict[str, Any]) -> None:
    unlike = []
    for value in VALUES:
        import copy

        data = pandas.DataFrame({"x": pandas.Series([copy.deepcopy(value)] * 2, dtype=object)})
        try:
            assert_same(data, Signature(inputs=[field]), f"{value!r}")
        except AssertionError as error:
            unlike.append(str(error).splitlines()[0])
    assert not unlike, "\n".join(unlike)


SHAPES = [(-1, 2), (-1,), (-1, 1), (2, 2), (-1, -1), (-1, -1, 3), (-1, 2, 2)]
ARRAYS = [
    numpy.zeros(shape, kind)
    for shape in ((2,), (2, 1), (2, 2), (3, 2), (1, 2, 2), (2, 2, 3), (0, 2))
    for kind in ("float64", "float32", "int64", "O")
]


@pytest.mark.parametrize(("shape", "kind"), itertools.product(SHAPES, ["float64", "int64", "object", "str"]))
def test_tensors(shape: tuple[int, ...], kind: str) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    spec = {"type": "tensor", "tensor-spec": {"dtype": kind, "shape": list(shape)}}
    tables = [
        pandas.DataFrame({"x": [1.0, 2.0]}),
        pandas.DataFrame({"x": [1, 2]}),
        pandas.DataFrame(numpy.zeros((3, 2))),
        pandas.DataFrame({"x": [[1.0, 2.0], [3.0, 4.0]]}),
        pandas.DataFrame({"x": [numpy.zeros(2), numpy.ones(2)]}),
        pandas.DataFrame({"x": [[1.0], [1.0, 2.0]]}),
        pandas.DataFrame(),
        pandas.DataFrame({"x": ["a", "b"]}),
        pandas.DataFrame({"x": [{"a": 1}]}),
        numpy.array(["a", "bcd"]),
        [[1.0, 2.0]],
        3,
        sparse.csr_matrix(numpy.eye(2)),
    ]
    for data in [*ARRAYS, *tables]:
        assert_same(data, Signature(inputs=[spec]), f"{data!r} as {shape} {kind}")
        named = Signature(inputs=[{**spec, "name": "x"}])
        assert_same(data, named, f"{data!r} as named {shape} {kind}")
        assert_same({"x": data, "other": 1}, named, f"mapping of {data!r} as named {shape} {kind}")


PARAMS: list[Any] = [
    None,
    1,
    1.5,
    "a",
    True,
    b"a",
    2**40,
    "2024-01-01",
    datetime.date(2024, 1, 1),
    datetime.datetime(2024, 1, 1),
    [1],
    [1.5],
    ["a"],
    [],
    (1, 2),
    [[1]],
    numpy.int32(1),
    numpy.int64(1),
    numpy.float32(1.5),
    numpy.float64(1.5),
    numpy.array([1, 2]),
    {"a": 1},
    [1, "a"],
    [True],
    float("nan"),
    3,
]


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("shape", [None, [-1]], ids=["one", "list"])
def test_params(word: str, shape: Any) -> None:
    default = {
        "boolean": True,
        "integer": 1,
        "long": 1,
        "float": 1.5,
        "double": 1.5,
        "string": "a",
        "binary": b"a",
        "datetime": "2024-01-01T00:00:00",
    }[word]
    if word == "binary":
        pytest.skip("MLflow cannot write its default")
    fields = [{"name": "p", "type": word, "default": default if shape is None else [default], "shape": shape}]
    schema = ModelSignature.from_dict({"params": json.dumps(fields)}).params
    unlike = []
    for value in [*PARAMS, "absent"]:
        given = {} if isinstance(value, str) and value == "absent" else {"p": value, "unknown": 1}
        try:
            theirs = _enforce_params_schema(dict(given), schema)
        except Exception:
            theirs = None
        try:
            ours = enforce_params(given, Signature(params=fields))
        except InvalidInput:
            ours = None
        if (ours is None) != (theirs is None) or (ours is not None and repr(ours) != repr(theirs)):
            unlike.append(f"{value!r}: MLflow {theirs}, we {ours}")
    assert not unlike, "\n".join(unlike)


def test_errors_name_the_column_what_came_what_was_expected_and_what_to_do() -> None:
    signature = Signature(
        inputs=[{"type": "long", "name": "age", "required": True}, {"type": "double", "name": "income", "required": False}]
    )
    cases = [
        (pandas.DataFrame({"ages": [1]}), r"lack the column 'age'.*Not in the signature: 'ages'.*Did you mean 'ages'"),
        (
            pandas.DataFrame({"age": [1.5]}),
            r"Column 'age' is float64, such as 1\.5, and the model takes long \(int64\)\. Convert it: data\['age'\]",
        ),
        (pandas.DataFrame({"age": [1.0, None]}), r"Whole numbers with gaps are floats in pandas\. Fill the gaps"),
        (pandas.DataFrame({"age": ["old"]}), r"Column 'age' is str, such as 'old', and the model takes long"),
        ("text" * 3, r"lack the column 'age'"),
        (object(), r"takes a table, and a object came"),
        (pandas.DataFrame([[1, 2]], columns=["age", "age"]), r"more than one column 'age'"),
    ]
    for data, told in cases:
        with pytest.raises(InvalidInput, match=told):
            enforce(data, signature)
    when = Signature(inputs=[{"type": "datetime", "name": "at", "required": True}])
    with pytest.raises(InvalidInput, match=r"tz_convert\('UTC'\)"):
        enforce(pandas.DataFrame({"at": pandas.to_datetime(["2024-01-01"], utc=True)}), when)
    with pytest.raises(InvalidInput, match=r"The param 'p' is 'x' \(str\), and the model takes long"):
        enforce_params({"p": "x"}, Signature(params=[{"name": "p", "type": "long", "default": 1, "shape": None}]))


def test_categories_count_as_what_they_are() -> None:
    """A deviation: MLflow refuses a column of categories, though its own inference calls it `string`."""
    table = pandas.DataFrame({"x": pandas.Categorical(["a", "b", "a"]), "n": pandas.Categorical([1, 2, 1])})
    held = enforce(
        table, Signature(inputs=[{"type": "string", "name": "x", "required": True}, {"type": "long", "name": "n", "required": True}])
    )
    assert isinstance(held["x"].dtype, pandas.CategoricalDtype) and held["n"].dtype == "int64"
    with pytest.raises(InvalidInput, match="'x'"):
        enforce(table, Signature(inputs=[{"type": "double", "name": "x", "required": True}]))


def test_the_data_that_were_given_are_not_changed(tmp_path: Path) -> None:
    table = pandas.DataFrame({"x": [{"a": 1}], "y": [1]})
    before = table.copy(deep=True)
    fields = [
        {"type": "object", "properties": {"a": {"type": "double", "required": True}}, "name": "x", "required": True},
        {"type": "double", "name": "y", "required": True},
    ]
    enforce(table, Signature(inputs=fields))
    pandas.testing.assert_frame_equal(table, before)
