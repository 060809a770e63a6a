"""Files are scored in pieces, with the same answers as in one go and the same memory for a small file and a large one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mlops_nb.errors import InvalidInput, NotFound
from mlops_nb.models import load_model, save_model
from mlops_nb.models.batch import Scored, score

numpy = pytest.importorskip("numpy", reason="numpy is not installed")
pandas = pytest.importorskip("pandas", reason="pandas is not installed")
linear = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")


@pytest.fixture
def table() -> Any:
    numbers = numpy.random.default_rng(3).random((1005, 3))
    return pandas.DataFrame(numbers, columns=["a", "b", "c"])


@pytest.fixture
def folder(table: Any, tmp_path: Path) -> Path:
    save_model(linear.LinearRegression().fit(table, table.sum(axis=1)), tmp_path / "model", input_example=table)
    return tmp_path / "model"


def read(path: Path) -> Any:
    readers = {
        ".csv": pandas.read_csv,
        ".jsonl": lambda p: pandas.read_json(p, lines=True),
        ".json": pandas.read_json,
        ".parquet": pandas.read_parquet,
    }
    return readers[path.suffix](path)


@pytest.mark.parametrize("given", ["csv", "json", "jsonl", "parquet"])
@pytest.mark.parametrize("wanted", ["csv", "json", "jsonl", "parquet"])
def test_every_format_to_every_other(given: str, wanted: str, table: Any, folder: Path, tmp_path: Path) -> None:
    if "parquet" in (given, wanted):
        pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    source = tmp_path / f"in.{given}"
    writers = {
        "csv": lambda: table.to_csv(source, index=False),
        "json": lambda: table.to_json(source, orient="records", double_precision=15),
        "jsonl": lambda: table.to_json(source, orient="records", lines=True, double_precision=15),
        "parquet": lambda: table.to_parquet(source),
    }
    writers[given]()
    shares: list[Any] = []
    done = score(load_model(folder), source, tmp_path / f"out.{wanted}", rows=100, told=lambda count, share: shares.append((count, share)))
    assert done == Scored(rows=1005, output=str(tmp_path / f"out.{wanted}"))
    answers = read(tmp_path / f"out.{wanted}")
    assert list(answers.columns) == ["predictions"] and numpy.allclose(answers.predictions, table.sum(axis=1))
    assert shares[-1] == (1005, 1.0) and [count for count, _ in shares] == [*range(100, 1001, 100), 1005]
    assert sorted(shares) == shares
    assert {path.name for path in tmp_path.iterdir() if path.name.startswith(".")} == set()


def test_a_folder_of_files_is_read_in_order(table: Any, folder: Path, tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    for number in range(3):
        inner = parts / f"day={number}"
        inner.mkdir(parents=True)
        table[number * 300 : (number + 1) * 300].to_csv(inner / "part.csv", index=False)
    (parts / "_SUCCESS").write_text("")
    (parts / ".hidden.csv").write_text("nonsense")
    answers = score(load_model(folder), parts)
    assert numpy.allclose(answers.predictions, table[:900].sum(axis=1))


def test_a_table_and_forms_of_requests(table: Any, folder: Path, tmp_path: Path) -> None:
    model = load_model(folder)
    assert numpy.allclose(score(model, table, rows=64).predictions, table.sum(axis=1))
    split = {"dataframe_split": {"columns": ["c", "a", "b"], "data": table[["c", "a", "b"]][:3].to_numpy().tolist()}}
    (tmp_path / "split.json").write_text(json.dumps(split))
    assert numpy.allclose(score(model, tmp_path / "split.json").predictions, table[:3].sum(axis=1))


def test_errors_name_the_rows_and_leave_nothing_behind(table: Any, folder: Path, tmp_path: Path) -> None:
    model = load_model(folder)
    bad = table.astype(object)
    bad.loc[250, "b"] = "many"
    bad.to_csv(tmp_path / "bad.csv", index=False)
    with pytest.raises(InvalidInput, match=r"Rows 200 to 299: Column 'b' is .*'many'|Rows 200 to 299: Column 'b' is"):
        score(model, tmp_path / "bad.csv", tmp_path / "out.csv", rows=100)
    assert not (tmp_path / "out.csv").exists() and not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    (tmp_path / "bad.jsonl").write_text('{"a": 1, "b": 1, "c": 1}\n{"a": \n')
    with pytest.raises(InvalidInput, match=r"Line 2 of .*bad\.jsonl is no JSON"):
        score(model, tmp_path / "bad.jsonl")
    (tmp_path / "list.jsonl").write_text("[1, 2]\n")
    with pytest.raises(InvalidInput, match="no object"):
        score(model, tmp_path / "list.jsonl")
    (tmp_path / "fake.parquet").write_bytes(b"PAR1nonsense")
    if pytest.importorskip("pyarrow", reason="pyarrow is not installed"):
        with pytest.raises(InvalidInput, match="cannot be read as Parquet"):
            score(model, tmp_path / "fake.parquet")
    with pytest.raises(InvalidInput, match="--content-type csv"):
        score(model, tmp_path / "table.xyz")
    with pytest.raises(NotFound, match="There is no"):
        score(model, tmp_path / "nowhere.csv")
    (tmp_path / "empty.csv").write_text("a,b,c\n")
    assert score(model, tmp_path / "empty.csv", tmp_path / "none.csv") == Scored(rows=0, output=str(tmp_path / "none.csv"))


MEASURED = """
import resource, sys
from pathlib import Path
from mlops_nb.models import load_model
from mlops_nb.models.batch import score
model = load_model(sys.argv[1])
score(model, Path(sys.argv[2]), sys.argv[4])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
done = score(model, Path(sys.argv[3]), sys.argv[4])
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(done.rows, before // 1024, after // 1024)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(table: Any, folder: Path, tmp_path: Path) -> None:
    """A file of 20,000 rows first, then one of 1,200,000 rows (68 MB): the second takes no more room than the first."""
    small = pandas.concat([table] * 20, ignore_index=True)
    small.to_csv(tmp_path / "small.csv", index=False)
    block = small.to_csv(index=False).partition("\n")[2]
    with (tmp_path / "large.csv").open("w") as file:
        file.write("a,b,c\n")
        for _ in range(60):
            file.write(block)
    command = [
        sys.executable,
        "-c",
        MEASURED,
        str(folder),
        str(tmp_path / "small.csv"),
        str(tmp_path / "large.csv"),
        str(tmp_path / "out.csv"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows, before, after = map(int, done.stdout.split())
    size = (tmp_path / "large.csv").stat().st_size // 1_000_000
    print(f"FIGURES rows={rows} file={size} MB peak after the small file {before} MB, after the large one {after} MB")
    assert rows == 20100 * 60 and after - before < 30
