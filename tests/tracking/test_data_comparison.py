"""What the comparison of two data sets says, from their profiles and sketches alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from mlops_nb.comparing.data import compare_run_data
from mlops_nb.core.data_comparison import ColumnVerdict, DataComparison
from mlops_nb.tracking import session as sessions
from mlops_nb.tracking.data import frames
from mlops_nb.tracking.data.comparing import compare_data
from mlops_nb.tracking.data.logging import log_data, log_fit_data
from mlops_nb.tracking.session import Session


def table(rows: int = 20_000) -> pd.DataFrame:
    random = np.random.default_rng(11)
    return pd.DataFrame(
        {
            "age": random.integers(17, 90, rows),
            "income": random.normal(50_000, 10_000, rows),
            "work": random.choice(["private", "state"], rows),
        }
    )


def named(comparison: DataComparison, name: str) -> Any:
    return next(column for column in comparison.columns if column.name == name)


def test_the_same_data_is_called_so() -> None:
    found = compare_data(table(), table())
    assert found.same and str(found).endswith(f"same data ({found.digests[0][:4]}…)") and found.changed == []


def test_changed_rows_are_counted_per_column() -> None:
    other = table()
    other.loc[other.index[7_000:12_000], "income"] += 1.0
    other.loc[3, "work"] = "self-emp"
    found = compare_data(table(), other)
    assert named(found, "income").rows == 5000 and named(found, "work").rows == 1
    assert named(found, "work").new_levels == ["self-emp"]
    assert named(found, "age").verdict is ColumnVerdict.SAME
    assert "`income` changed in 5,000 rows" in found.verdict and "new level in `work`: `self-emp`" in found.verdict
    assert (found.added, found.removed) == (5001 - (3 in range(7_000, 12_000)), 5001)


@pytest.mark.parametrize("at", ["end", "start"])
def test_rows_that_came_in_at_an_end_change_no_others(at: str) -> None:
    base, new = table(), table(2_113)
    parts = [base, new] if at == "end" else [new, base]
    found = compare_data(base, pd.concat(parts, ignore_index=True))
    assert found.verdict == "+2,113 rows" and (found.added, found.removed) == (2_113, 0) and found.changed == []
    back = compare_data(pd.concat(parts, ignore_index=True), base)
    assert back.verdict == "\u22122,113 rows"


def test_rows_in_another_order_are_told_from_changed_ones() -> None:
    found = compare_data(table(), table().sample(frac=1, random_state=1).reset_index(drop=True))
    assert found.reordered and found.verdict == "the same rows in another order" and (found.added, found.removed) == (0, 0)


def test_columns_and_types_that_differ_are_named() -> None:
    other = table().assign(x=1).astype({"age": "float64"}).drop(columns="work")
    found = compare_data(table(), other)
    assert {c.name: c.verdict.value for c in found.columns} == {"age": "retyped", "income": "same", "work": "removed", "x": "added"}
    assert (
        "`age` dtype int64 → float64" in found.verdict and "column `x` added" in found.verdict and "column `work` removed" in found.verdict
    )


def test_missing_values_are_counted() -> None:
    other = table()
    other.loc[:9, "income"] = np.nan
    assert "missing in `income` 0 → 10" in compare_data(table(), other).verdict


def test_columns_of_one_name_are_held_against_each_other_in_their_order() -> None:
    base = pd.DataFrame([[1, 2], [3, 4]], columns=["x", "x"])
    other = pd.DataFrame([[1, 2], [3, 5]], columns=["x", "x"])
    found = compare_data(base, other)
    assert [(c.name, c.rows) for c in found.columns] == [("x (2)", 1), ("x", 0)]


def test_an_array_too_large_for_row_hashes_gives_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "MAX_SKETCH", 1000)
    values = np.random.default_rng(0).random((100_000, 2))
    other = values.copy()
    other[20_000, 1] = 0
    found = compare_data(values, other)
    assert named(found, "1").rows == 16_384 and named(found, "1").at_most and "at most 16,384 rows" in found.verdict
    assert named(found, "0").verdict is ColumnVerdict.SAME


def test_files_are_compared_by_content_and_size(project: Path) -> None:
    Path("a.csv").write_text("x\n1\n")
    Path("b.csv").write_text("x\n1\n2\n")
    Path("c.csv").write_text("x\n1\n")
    assert compare_data("a.csv", "c.csv").same
    found = compare_data("a.csv", "b.csv")
    assert not found.same and "bytes 4 → 6" in found.verdict


def test_the_table_and_the_html_hold_what_people_wrote_escaped() -> None:
    other = table().rename(columns={"work": "<script>alert(1)</script>"})
    found = compare_data(table(), other)
    assert "<script>" not in found._repr_html_() and "&lt;script&gt;" in found._repr_html_()
    rows = pd.DataFrame(found.table())
    assert set(rows["verdict"]) == {"same", "added", "removed"} and len(rows) == 4


def test_the_data_of_two_runs_is_compared_from_the_store(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session()
    monkeypatch.setattr(sessions, "current", session)
    Path("rows.csv").write_text("a")
    with session.start("one") as one:
        log_fit_data(one, table()[["age", "income"]], table()["work"], name="train")
        log_data(one, "rows.csv")
    other = table()
    other.loc[:99, "income"] = 0.0
    Path("rows.csv").write_text("b")
    with session.start("two") as two:
        log_fit_data(two, other[["age", "income"]], other["work"], name="train")
        log_data(two, "rows.csv", name="rows.csv", context="testing")
        log_data(two, pd.DataFrame({"q": [1]}), name="more")
    found = compare_run_data(session.store(), one.record(), two.record())
    assert [pair.names for pair in found.pairs] == [("train", "train"), ("rows.csv", "rows.csv")] and found.only_other == ["more"]
    assert named(found.pairs[0], "income").rows == 100 and named(found.pairs[0], "target:work").verdict is ColumnVerdict.SAME
    assert not found.same and "the base did not read more" in str(found)

    from mlops_nb.cli import commands

    answer = CliRunner().invoke(commands, ["track", "compare", "one", "two", "--what", "data"])
    assert answer.exit_code == 0, answer.output
    assert "train: `income` changed in 100 rows" in answer.output
    assert '"only_other": [' in CliRunner().invoke(commands, ["track", "compare", "one", "two", "--what", "data", "--json"]).output


def test_a_run_whose_sketch_is_gone_is_compared_all_the_same(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session()
    monkeypatch.setattr(sessions, "current", session)
    other = table()
    other.loc[0, "income"] = 0.0
    records = []
    for data in (table(), other):
        with session.start() as run:
            log_fit_data(run, data, name="train")
        records.append(run.record())
    for file in Path(".mlops/artifacts").rglob("*.sketch"):
        file.unlink()
    found = compare_run_data(session.store(), *records)
    assert "`income` changed" in str(found) and named(found.pairs[0], "income").rows is None
