"""Fingerprints of data in memory: what changes them, what does not, and where MLflow's digest stays the same."""

from __future__ import annotations

import datetime
import decimal
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse as sp

from mlops_nb.core.data_profile import BLOCK_ROWS, from_json, sketch_from_bytes, sketch_to_bytes
from mlops_nb.core.datasets import DatasetInput, check_input
from mlops_nb.errors import InvalidInput
from mlops_nb.tracking.data.frames import Part, fingerprint, study


def table(rows: int = 30_000) -> pd.DataFrame:
    random = np.random.default_rng(7)
    return pd.DataFrame(
        {
            "age": random.integers(17, 90, rows),
            "income": random.normal(50_000, 10_000, rows),
            "work": random.choice(["private", "state", "none"], rows),
            "seen": pd.Timestamp("2026-01-01") + pd.to_timedelta(random.integers(0, 10**6, rows), unit="s"),
        }
    )


def column(data: Any, name: str) -> Any:
    profile = from_json(fingerprint(data).profile)
    assert profile is not None
    return next(c for c in profile.columns if c.name == name)


def mlflows(frame: pd.DataFrame) -> str:
    from mlflow.data.digest_utils import compute_pandas_digest

    return str(compute_pandas_digest(frame))


def after_row_10_000(frame: pd.DataFrame) -> pd.DataFrame:
    frame.loc[10_001, "income"] += 1
    return frame


def another_time(frame: pd.DataFrame) -> pd.DataFrame:
    frame["seen"] += pd.Timedelta(days=1)
    return frame


def another_type(frame: pd.DataFrame) -> pd.DataFrame:
    frame["age"] = frame["age"].astype("int32")
    return frame


@pytest.mark.parametrize("change", [after_row_10_000, another_time, another_type])
def test_what_mlflows_digest_misses_changes_ours(change: Any) -> None:
    before, after = table(), change(table())
    assert mlflows(before) == mlflows(after)  # else the case proves nothing
    assert fingerprint(before).digest != fingerprint(after).digest


CHANGES = {
    "one cell": lambda d: d.assign(income=d.income.where(d.index != 29_999, 0.0)),
    "two rows swapped": lambda d: d.iloc[[1, 0, *range(2, len(d))]].reset_index(drop=True),
    "a row less": lambda d: d.iloc[:-1],
    "a column less": lambda d: d.drop(columns="work"),
    "columns in another order": lambda d: d[["income", "age", "work", "seen"]],
    "another name": lambda d: d.rename(columns={"age": "Age"}),
    "a number for a name": lambda d: d.rename(columns={"age": 0}),
    "a text for a number as name": lambda d: d.rename(columns={"age": "0"}),
    "a missing value": lambda d: d.assign(income=d.income.where(d.index != 5)),
    "another index": lambda d: d.set_index(d.index + 1),
    "a category for a text": lambda d: d.astype({"work": "category"}),
    "float32": lambda d: d.astype({"income": "float32"}),
    "a blank behind a text": lambda d: d.assign(work=d.work.where(d.index != 7, d.work + " ")),
}


def test_every_change_gives_another_digest() -> None:
    digests = {name: fingerprint(change(table())).digest for name, change in CHANGES.items()}
    digests["as it was"] = fingerprint(table()).digest
    assert len(set(digests.values())) == len(digests)
    assert fingerprint(table()).digest == digests["as it was"]


def test_the_way_the_values_lie_in_memory_does_not_matter() -> None:
    values = np.random.default_rng(1).random((50_000, 7))
    one = fingerprint(values).digest
    wide = np.zeros((100_000, 14))
    wide[::2, ::2] = values
    for same in (np.asfortranarray(values), wide[::2, ::2], values.astype(">f8"), values.tolist()):
        assert fingerprint(same).digest == one
    frame = pd.DataFrame(values)
    assert fingerprint(frame).digest == fingerprint(pd.DataFrame({i: values[:, i] for i in range(7)})).digest


def test_a_digest_is_the_same_in_another_process() -> None:
    code = (
        "import pandas as pd; from mlops_nb.tracking.data import fingerprint; "
        "print(fingerprint(pd.DataFrame({'a': [1, 2], 's': ['x', None], 'o': [{'k': {1, 2, 3}}, [1, 'x']]})).digest)"
    )
    first, second = (
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**dict(__import__("os").environ), "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    )
    assert first == second and len(first.strip()) == 32


@pytest.mark.parametrize("rows", [0, 1, BLOCK_ROWS - 1, BLOCK_ROWS, BLOCK_ROWS + 1, 3 * BLOCK_ROWS])
def test_tables_of_any_length_have_a_profile(rows: int) -> None:
    found = from_json(fingerprint(table(rows)).profile)
    assert found is not None and found.rows == rows and [c.name for c in found.columns] == ["age", "income", "work", "seen"]


def test_kinds_of_nan_are_one_and_minus_zero_is_not_zero() -> None:
    odd = np.array([1.0, np.nan])
    odd.view("u8")[1] ^= 1  # a NaN with other bits
    assert fingerprint(odd).digest == fingerprint(np.array([1.0, np.nan])).digest
    assert fingerprint(np.array([0.0])).digest != fingerprint(np.array([-0.0])).digest
    assert column(pd.DataFrame({"x": [1.0, np.nan]}), "x").nulls == 1
    odd_wide = np.zeros((3, 2, 2))
    odd_wide[0, 0, 0] = np.nan
    other = odd_wide.copy()
    other.view("u8").reshape(-1)[0] ^= 1
    assert fingerprint(odd_wide).digest == fingerprint(other).digest


def test_what_a_mask_hides_does_not_matter() -> None:
    first = pd.Series(pd.array([1, 2, None], dtype="Int64"), name="x").to_frame()
    hidden = first.copy()
    hidden["x"].array._data[2] = 99
    assert fingerprint(first).digest == fingerprint(hidden).digest
    assert column(first, "x").nulls == 1
    assert fingerprint(np.ma.array([1, 2], mask=[False, True])).digest == fingerprint(np.ma.array([1, 7], mask=[False, True])).digest
    assert fingerprint(np.ma.array([1, 2], mask=[False, True])).digest != fingerprint(np.array([1, 2])).digest


def test_gaps_inside_long_doubles_do_not_matter() -> None:
    value = np.array([1.5, 2.5], dtype=np.longdouble)
    other = value.copy()
    other.view("u1")[10:16] = 255
    assert fingerprint(value).digest == fingerprint(other).digest
    assert fingerprint(value).digest != fingerprint(value + np.longdouble("1e-18")).digest


def test_the_profile_says_what_is_in_a_column() -> None:
    frame = table(1000)
    frame.loc[3, "income"] = np.nan
    age, income, work, seen = (column(frame, name) for name in frame.columns)
    assert (age.low, age.high) == (frame.age.min(), frame.age.max())
    assert (income.nulls, income.low, income.high) == (1, frame.income.min(), frame.income.max())
    assert work.levels == frame.work.value_counts().to_dict() and work.distinct == 3
    assert income.levels is None and abs(income.distinct - 999) < 20
    assert seen.dtype.startswith("datetime64")
    assert column(pd.DataFrame({"b": [True, False, True]}), "b").levels == {"False": 1, "True": 2}
    assert age.levels is None and age.distinct == frame.age.nunique()  # more than 50 of them


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "uint64"])
def test_levels_of_numbers_are_counted_over_all_blocks(dtype: str) -> None:
    values = np.concatenate([np.full(BLOCK_ROWS, 40), np.full(BLOCK_ROWS, 3), np.full(5, 90)]).astype(dtype)
    assert column(pd.DataFrame({"x": values}), "x").levels == {"3": BLOCK_ROWS, "40": BLOCK_ROWS, "90": 5}
    extreme = np.array([np.iinfo(dtype).min, np.iinfo(dtype).max], dtype=dtype)
    found = column(pd.DataFrame({"x": extreme}), "x")
    assert (int(found.low), int(found.high)) == (np.iinfo(dtype).min, np.iinfo(dtype).max)


def test_a_category_is_what_its_values_are_however_it_is_numbered() -> None:
    one = pd.Series(pd.Categorical(["a", "b", "a", None], categories=["a", "b"]), name="c").to_frame()
    other = pd.Series(pd.Categorical(["a", "b", "a", None], categories=["b", "a", "unused"]), name="c").to_frame()
    ordered = pd.Series(pd.Categorical(["a", "b", "a", None], categories=["a", "b"], ordered=True), name="c").to_frame()
    assert fingerprint(one).digest == fingerprint(other).digest != fingerprint(ordered).digest
    found = column(one, "c")
    assert (found.levels, found.nulls) == ({"a": 2, "b": 1}, 1)


ODD = {
    "nested lists": [[1, [2, 3]], [4]],
    "mixed": [1, "a", None, 2.5, b"x", (1, 2), {1: 2}, decimal.Decimal("1.5"), datetime.date(2026, 1, 1)],
    "empty list": [],
    "empty table": pd.DataFrame(),
    "no columns": pd.DataFrame(index=range(5)),
    "names twice": pd.DataFrame([[1, 2], [3, 4]], columns=["x", "x"]),
    "many levels of names": pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", 1), ("a", 2)])),
    "many levels of index": pd.DataFrame({"x": [1, 2]}, index=pd.MultiIndex.from_tuples([("a", 1), ("b", 2)])),
    "object column": pd.DataFrame({"x": [1, "a", None, [1], {"k": 1}, np.array([1, 2])]}),
    "half a character": pd.DataFrame({"x": ["\ud800", "ok"]}, dtype=object),
    "a huge text": pd.DataFrame({"x": ["a" * 5_000_000, "b"]}),
    "times with zones": pd.DataFrame({"x": pd.to_datetime(["2026-01-01", None]).tz_localize("Europe/Berlin")}),
    "spans": pd.DataFrame({"x": pd.to_timedelta([1, 2], unit="s")}),
    "periods": pd.DataFrame({"x": pd.period_range("2026-01", periods=3, freq="M")}),
    "intervals": pd.DataFrame({"x": pd.interval_range(0, 3)}),
    "sparse column": pd.DataFrame({"x": pd.arrays.SparseArray([0, 0, 1])}),
    "complex": np.array([1 + 2j, complex(np.nan, 1)]),
    "scalar array": np.array(3.0),
    "texts of numpy": np.array(["a", "bc"]),
    "bytes of numpy": np.array([b"a", b"bc"]),
    "records": np.array([(1, 2.0), (3, 4.0)], dtype=[("a", "i4"), ("b", "f8")]),
    "images": np.zeros((3, 4, 4, 3), dtype="u1"),
    "odd images": np.zeros((3, 5), dtype="u1").reshape(3, 5, 1),
    "many columns": np.zeros((2, 5000)),
    "a series": pd.Series([1, 2], name=None),
    "an index": pd.Index(["a", "b"]),
    "dict of arrays": {"a": np.zeros(3), "b": ["x", "y", "z"]},
    "dict of anything": {"a": 1},
    "object": object(),
    "none": None,
    "generator": (i for i in range(3)),
    "a function": len,
    "huge whole numbers": [2**100, -(2**100)],
    "masked": pd.DataFrame({"x": pd.array([True, None], dtype="boolean")}),
    "arrow in pandas": pd.DataFrame(
        {"x": pd.array([1, None], dtype="int64[pyarrow]"), "s": pd.array(["a", None], dtype="string[pyarrow]")}
    ),
    "arrow": pa.table(
        {
            "i": [1, None],
            "s": ["a", None],
            "l": [[1], None],
            "d": pa.array(["x", None]).dictionary_encode(),
            "u": pa.DictionaryArray.from_arrays(pa.array([0, None], pa.uint32()), ["x"]),
        }
    ),
    "arrow times": pa.table(
        {
            "t": pa.array([0, None], pa.timestamp("us", "UTC")),
            "d": pa.array([1, None], pa.date32()),
            "h": pa.array([1], pa.time64("us")).take(pa.array([0, None])),
        }
    ),
    "arrow decimals": pa.table({"x": pa.array([decimal.Decimal("1.1"), None])}),
    "no arrow rows": pa.table({"i": pa.array([], pa.int64()), "s": pa.array([], pa.string()), "c": pa.chunked_array([], pa.string())}),
    "arrow intervals": pa.table({"x": pa.array([None, None], pa.month_day_nano_interval())}),
    "a sparse row": sp.coo_array(np.array([1, 0, 2])),
    "levels of two types": pd.DataFrame({"x": pd.Categorical([1, "1"], categories=[1, "1"])}),
    "sparse": sp.random(20, 30, 0.1, random_state=0, format="coo"),
    "sparse array": sp.csr_array(np.eye(3)),
    "no rows": np.zeros((0, 3)),
}


@pytest.mark.parametrize("name", ODD)
def test_anything_has_a_digest_and_nothing_raises(name: str) -> None:
    dataset = fingerprint(ODD[name], "odd")
    check_input(DatasetInput(dataset=dataset))
    assert dataset.name == "odd" and len(dataset.digest) <= 36 and from_json(dataset.profile) is not None


@pytest.mark.parametrize("name", sorted(set(ODD) - {"object", "none", "generator", "a function", "dict of anything"}))
def test_whatever_has_rows_is_looked_into(name: str) -> None:
    found = from_json(fingerprint(ODD[name]).profile)
    assert found is not None and found.kind != "object" and found.rows is not None


def test_chunks_and_libraries_give_texts_the_same_fingerprint() -> None:
    texts = ["a", "", "äöü", "🚀" * 10, None] * 5000
    chunked = pa.chunked_array([texts[:7], [], texts[7:20_000], texts[20_000:]])
    prints = {
        column(pa.table({"x": chunked}), "x").fingerprint,
        column(pa.table({"x": pa.array(texts, pa.large_string())}), "x").fingerprint,
        column(pd.DataFrame({"x": pd.Series(texts, dtype=object)}), "x").fingerprint,
        column(pd.DataFrame({"x": pd.Series(texts, dtype="str")}), "x").fingerprint,
    }
    assert len(prints) == 1


def test_levels_that_look_alike_are_told_apart() -> None:
    one, other = (pd.DataFrame({"x": pd.Categorical([value], categories=[1, "1"])}) for value in (1, "1"))
    assert fingerprint(one).digest != fingerprint(other).digest


def test_a_table_of_ten_thousand_columns_takes_little_memory() -> None:
    frame = pd.DataFrame(np.arange(400_000.0).reshape(40, 10_000) % 7)
    tracemalloc.start()
    found = from_json(fingerprint(frame).profile)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found is not None and len(found.columns) == 10_000 and found.columns[5].distinct == 7
    assert peak < 100_000_000


def test_sparse_matrices_count_by_their_values() -> None:
    matrix = sp.random(500, 40, 0.2, random_state=3, format="csr")
    assert fingerprint(matrix).digest == fingerprint(matrix.tocsc()).digest == fingerprint(matrix.tocoo()).digest
    changed = matrix.copy()
    changed.data[-1] += 1e-12
    moved = matrix.copy()
    moved.indices[-1] = next(i for i in range(40) if i not in moved.indices[moved.indptr[-2] :])
    assert len({fingerprint(m).digest for m in (matrix, changed, moved)}) == 3


def test_tensors_are_what_their_arrays_are() -> None:
    torch = pytest.importorskip("torch")
    values = torch.arange(12.0).reshape(4, 3)
    assert fingerprint(values).digest == fingerprint(values.clone().requires_grad_()).digest
    assert fingerprint(values).digest != fingerprint(values + 1).digest
    assert fingerprint(values.to(torch.bfloat16)).digest != fingerprint(values.to(torch.float16)).digest


def test_polars_frames_are_looked_into() -> None:
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame(
        {"i": [1, 2, None], "s": ["a", None, "b"], "t": [datetime.date(2026, 1, 1)] * 3, "c": ["u", None, "v"]},
        schema_overrides={"c": polars.Categorical},
    )
    found = from_json(fingerprint(frame).profile)
    assert found is not None and [c.nulls for c in found.columns] == [1, 1, 0, 1]
    assert fingerprint(frame).digest != fingerprint(frame.with_columns(polars.col("i") + 1)).digest


def test_data_is_left_as_it_was() -> None:
    frame = table(100)
    frame.loc[3, "income"] = np.nan
    kept = frame.copy(deep=True)
    fingerprint(frame)
    values = np.array([1.0, np.nan])
    bits = values.tobytes()
    fingerprint(values)
    pd.testing.assert_frame_equal(frame, kept)
    assert values.tobytes() == bits


def test_a_sketch_is_read_back_as_it_was_written_and_a_cut_one_is_refused() -> None:
    found = study([Part(data=table(100))])
    assert found.sketch is not None
    sketch = sketch_from_bytes(found.sketch)
    assert (sketch.rows, sketch.block, len(sketch.of_column), len(sketch.of_rows)) == (100, 1, 4, 100)
    assert sketch_to_bytes(sketch) == found.sketch
    for damaged in (found.sketch[:-1], b"", b"something else", found.sketch[:40]):
        with pytest.raises(InvalidInput):
            sketch_from_bytes(damaged)


def test_values_stay_out_of_the_profile_where_they_are_not_to_be_shown() -> None:
    found = study([Part(data=table(100))], shows_values=False)
    text = found.dataset.profile or ""
    assert "private" not in text and "low" not in text and found.dataset.digest == fingerprint(table(100)).digest


def test_mlflow_reads_the_schema(tmp_path: Path) -> None:
    from mlflow.types import Schema

    dataset = fingerprint(table(10))
    import json

    columns = json.loads(dataset.schema or "")["mlflow_colspec"]
    schema = Schema.from_json(json.dumps(columns))
    assert schema.input_names() == ["age", "income", "work", "seen"]
    assert [str(t) for t in schema.input_types()] == ["DataType.long", "DataType.double", "DataType.string", "DataType.datetime"]
