"""Scoring files without an endpoint: read in pieces, asked in pieces, written in pieces, so that memory stays the same.

read_pieces     a table, or CSV, JSON, JSON lines, Parquet: a file, or a folder of such
Writer          CSV, JSON, JSON lines or Parquet, by the end of the name
score           the whole way, with a word on how far it is
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import msgspec

from mlops_nb.errors import InvalidInput, MissingDependencyError, MlopsError, NotFound
from mlops_nb.models.loading import LoadedModel

ROWS = 10_000
"""Rows that are in memory at a time."""

MAX_JSON = 500_000_000
"""Bytes of a JSON file, which has to be read as a whole; JSON lines have no limit."""

_ENDS = {".csv": "csv", ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".pq": "parquet"}
FORMATS = ("csv", "json", "jsonl", "parquet")


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """Some rows: the table, the number of its first row among all, and how much of the input has been read (0 to 1)."""

    rows: Any
    first: int
    share: float | None


class Scored(msgspec.Struct, frozen=True, kw_only=True):
    """What was done: rows that were scored, and where the answers are."""

    rows: int
    output: str


def format_of(path: Path, given: str | None = None) -> str:
    """Return the format of a file or folder, by the option or the end of the name.

    Raises:
        InvalidInput: If neither says.
    """
    if given:
        if given not in FORMATS:
            raise InvalidInput(f"There is no format '{given}'.", hint=f"There are: {', '.join(FORMATS)}.")
        return given
    inner = [one for one in path.rglob("*") if one.is_file() and not one.name.startswith((".", "_"))] if path.is_dir() else []
    ends = {one.suffix.lower() for one in inner}
    known = {_ENDS[end] for end in ends or {path.suffix.lower()} if end in _ENDS}
    if len(known) == 1:
        return known.pop()
    raise InvalidInput(f"The format of '{path}' is not known by its name.", hint=f"Say it: --content-type {'|'.join(FORMATS)}.")


def read_pieces(path: Path, kind: str, *, rows: int = ROWS, signature: Any = None) -> Iterator[Piece]:
    """Yield a file or a folder of files as tables of at most `rows` rows.

    Args:
        path: The file, or a folder whose files of this format are read in the order of their names.
        kind: One of `FORMATS`.
        rows: How many rows a piece has at most.
        signature: Of the model; columns of text are not taken for numbers then.

    Raises:
        NotFound: If there is nothing.
        InvalidInput: If a file cannot be read; names it and the row.
    """
    if not path.exists():
        raise NotFound(f"There is no '{path}'.")
    files = _files(path, kind)
    if not files:
        raise NotFound(f"There are no files of {kind} in '{path}'.")
    whole = sum(file.stat().st_size for file in files) or 1
    done, first = 0, 0
    for file in files:
        size = file.stat().st_size
        for table, at in _READERS[kind](file, rows, _texts(signature)):
            if len(table):
                share = None if at is None else min(1.0, (done + at * size) / whole)
                yield Piece(rows=table, first=first, share=share)
            first += len(table)
        done += size


def _files(path: Path, kind: str) -> list[Path]:
    if path.is_file():
        return [path]
    ends = {end for end, one in _ENDS.items() if one == kind}
    inner = (one for one in path.rglob("*") if one.is_file() and one.suffix.lower() in ends)
    return sorted(one for one in inner if not any(part.startswith((".", "_")) for part in one.relative_to(path).parts))


def _texts(signature: Any) -> dict[str, str]:
    """Return the columns that hold text, which readers would take for numbers where they look so."""
    fields = (signature.inputs if signature is not None else None) or []
    return {str(field["name"]): "str" for field in fields if field.get("type") == "string" and field.get("name") is not None}


def _times(table: Any, signature: Any) -> Any:
    """Bring columns to the types that a text format cannot hold: times, small numbers."""
    import pandas

    words = {"integer": "int32", "long": "int64", "float": "float32", "double": "float64"}
    fields = (signature.inputs if signature is not None else None) or []
    for field in fields:
        name, kind = field.get("name"), field.get("type")
        if name not in table:
            continue
        try:
            if kind == "datetime" and table[name].dtype.kind != "M":
                table[name] = pandas.to_datetime(table[name])
            elif kind in words and table[name].dtype.kind in "iuf" and str(table[name].dtype) != words[kind]:
                held = table[name].astype(words[kind])
                if bool((held == table[name]).all()) or kind in ("float", "double"):
                    table[name] = held
        except (ValueError, TypeError, OverflowError):
            continue  # the signature will say what is wrong with the column
    return table


def _csv(file: Path, rows: int, texts: Mapping[str, str]) -> Iterator[tuple[Any, float | None]]:
    import pandas

    size = file.stat().st_size or 1
    try:
        with file.open("rb") as raw, pandas.read_csv(raw, chunksize=rows, dtype=dict(texts) or None) as reader:
            for table in reader:
                yield table, raw.tell() / size
    except pandas.errors.EmptyDataError:
        return
    except (ValueError, UnicodeDecodeError) as error:  # pandas' errors of parsing among them
        raise InvalidInput(f"{file} cannot be read as CSV: {' '.join(str(error).split())}.") from None


def _jsonl(file: Path, rows: int, texts: Mapping[str, str]) -> Iterator[tuple[Any, float | None]]:
    import pandas

    size, held, number = file.stat().st_size or 1, [], 0
    with file.open("rb") as lines:
        for line in lines:
            number += 1
            if not line.strip():
                continue
            try:
                record = msgspec.json.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise InvalidInput(f"Line {number} of {file} is no JSON: {error}.") from None
            if not isinstance(record, dict):
                raise InvalidInput(f"Line {number} of {file} is no object.", hint='Each line is a row: {"column": value, …}.')
            held.append(record)
            if len(held) == rows:
                yield pandas.DataFrame(held), lines.tell() / size
                held = []
    if held:
        yield pandas.DataFrame(held), 1.0


def _json(file: Path, rows: int, texts: Mapping[str, str]) -> Iterator[tuple[Any, float | None]]:
    """Read rows, or one of the forms of MLflow's requests. A JSON file is one value: it is read as a whole."""
    import pandas

    if file.stat().st_size > MAX_JSON:
        hint = "Give JSON lines: one object a line, in a .jsonl file."
        raise InvalidInput(f"{file} is larger than {MAX_JSON // 1_000_000} MB.", hint=hint)
    try:
        content = msgspec.json.decode(file.read_bytes())
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{file} is no JSON: {error}.", hint="One object a line is JSON lines: name the file .jsonl.") from None
    if isinstance(content, dict):
        key = next((key for key in ("dataframe_split", "dataframe_records", "instances", "inputs") if key in content), None)
        content = content if key is None else content[key]
    try:
        if isinstance(content, dict) and "data" in content and set(content) <= {"data", "columns", "index"}:
            table = pandas.DataFrame(content["data"], columns=content.get("columns"), index=content.get("index"))
        else:
            table = pandas.DataFrame(content)
    except (ValueError, TypeError, KeyError) as error:
        raise InvalidInput(f"{file} holds no table: {error}.", hint="Give a list of objects, or dataframe_split.") from None
    for at in range(0, len(table), rows):
        yield table.iloc[at : at + rows], min(1.0, (at + rows) / len(table))


def _parquet(file: Path, rows: int, texts: Mapping[str, str]) -> Iterator[tuple[Any, float | None]]:
    parquet = _pyarrow("Reading Parquet")
    import pyarrow  # type: ignore[import-untyped]

    try:
        with parquet.ParquetFile(file) as opened:
            done, whole = 0, opened.metadata.num_rows or 1
            for batch in opened.iter_batches(batch_size=rows):
                done += batch.num_rows
                yield batch.to_pandas(), done / whole
    except (pyarrow.ArrowException, OSError) as error:
        raise InvalidInput(f"{file} cannot be read as Parquet: {error}.") from None


def _pyarrow(purpose: str) -> Any:
    try:
        import pyarrow.parquet  # type: ignore[import-untyped]
    except ImportError:
        raise MissingDependencyError("pyarrow", extra="models", purpose=purpose) from None
    return pyarrow.parquet


_READERS: dict[str, Callable[[Path, int, Mapping[str, str]], Iterator[tuple[Any, float | None]]]] = {
    "csv": _csv,
    "json": _json,
    "jsonl": _jsonl,
    "parquet": _parquet,
}


class Writer:
    """Writes answers in pieces. What is under the name is whole: it appears when the last piece is written."""

    def __init__(self, path: Path, kind: str) -> None:
        self.path, self.kind = path, kind
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".mlops-", suffix=path.suffix, delete=False) as file:
            self._part = Path(file.name)
        self._file: IO[str] | None = None
        self._table: Any = None
        self._count = 0

    def __enter__(self) -> Writer:
        if self.kind != "parquet":
            self._file = self._part.open("w", encoding="utf-8", newline="")
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            if self._file is not None:
                if kind is None and self.kind == "json":
                    self._file.write("]\n" if self._count else "[]\n")
                self._file.close()
            if self._table is not None:
                self._table.close()
            if kind is None:
                self._part.replace(self.path)
        finally:
            self._part.unlink(missing_ok=True)

    def write(self, answer: Any) -> int:
        """Write the answers to some rows; return how many there are."""
        table = as_answers(answer)
        if self.kind == "csv":
            table.to_csv(self._file, index=False, header=self._count == 0)
        elif self.kind == "parquet":
            self._to_parquet(table)
        else:
            self._to_json(table)
        self._count += len(table)
        return len(table)

    def _to_json(self, table: Any) -> None:
        assert self._file is not None
        lines = table.to_json(orient="records", lines=True, date_format="iso", double_precision=15, force_ascii=False).splitlines()
        if self.kind == "jsonl":
            self._file.writelines(line + "\n" for line in lines)
        else:
            self._file.writelines(("[" if not (self._count or number) else ",\n") + line for number, line in enumerate(lines))

    def _to_parquet(self, table: Any) -> None:
        parquet = _pyarrow("Writing Parquet")
        import pyarrow

        piece = pyarrow.Table.from_pandas(table.rename(columns=str), preserve_index=False)
        if self._table is None:
            self._table = parquet.ParquetWriter(self._part, piece.schema)
        self._table.write_table(piece.cast(self._table.schema))


def as_answers(answer: Any) -> Any:
    """Return what a model answers as a table: its own columns, or `predictions`."""
    import numpy
    import pandas

    if hasattr(answer, "columns"):
        return answer
    if isinstance(answer, pandas.Series):
        return answer.to_frame(name="predictions")
    if isinstance(answer, Mapping):
        return pandas.DataFrame({name: list(numpy.asarray(value)) for name, value in answer.items()})
    values = numpy.asarray(answer) if not isinstance(answer, list) else answer
    if isinstance(values, numpy.ndarray) and values.ndim == 2 and values.shape[1] > 1:
        return pandas.DataFrame(values, columns=[f"predictions_{i}" for i in range(values.shape[1])])
    if isinstance(values, numpy.ndarray) and values.ndim == 2:
        values = values[:, 0]
    return pandas.DataFrame({"predictions": list(values)})


def score(
    model: LoadedModel,
    source: Path | str | Any,
    output: Path | str | None = None,
    *,
    kind: str | None = None,
    output_kind: str | None = None,
    params: Mapping[str, Any] | None = None,
    rows: int = ROWS,
    told: Callable[[int, float | None], None] | None = None,
) -> Any:
    """Ask a model for every row of a table, a file or a folder of files.

    Args:
        model: A loaded model.
        source: A table, or the path of a file or folder.
        output: The file to write; its name's end says in which format. Without one the answers come back.
        kind: The format of the source, where its name does not say.
        output_kind: The format of the output, where its name does not say.
        params: Of the requests.
        rows: How many rows are asked for at a time; what has to be in memory.
        told: Called with the rows that are done and their share (0 to 1; None: not known).

    Returns:
        `Scored` with an output, and a table of the answers without.

    Raises:
        InvalidInput: If rows do not have the form that the model takes; names them.
    """
    import pandas

    if isinstance(source, (str, Path)):
        path = Path(source)
        pieces = read_pieces(path, format_of(path, kind), rows=rows, signature=model.signature)
    else:
        whole = len(source)
        held = getattr(source, "iloc", source)
        parts = ((at, held[at : at + rows]) for at in range(0, whole, rows))
        pieces = (Piece(rows=part, first=at, share=min(1.0, (at + rows) / whole)) for at, part in parts)
    if output is None:
        answers = [as_answers(answer) for answer, _ in _answers(model, pieces, params, told)]
        return pandas.concat(answers, ignore_index=True) if answers else pandas.DataFrame({"predictions": []})
    target = Path(output)
    count = 0
    with Writer(target, format_of(target, output_kind)) as writer:
        for answer, _ in _answers(model, pieces, params, told):
            count += writer.write(answer)
    return Scored(rows=count, output=str(target))


def _answers(
    model: LoadedModel, pieces: Iterator[Piece], params: Mapping[str, Any] | None, told: Callable[[int, float | None], None] | None
) -> Iterator[tuple[Any, int]]:
    for piece in pieces:
        last = piece.first + len(piece.rows) - 1
        rows = _times(piece.rows.copy(), model.signature) if hasattr(piece.rows, "columns") else piece.rows
        try:
            answer = model.predict(rows, params)
        except MlopsError as error:
            error.message = f"Rows {piece.first} to {last}: {error.message}"
            raise
        except Exception as error:
            raise InvalidInput(f"Rows {piece.first} to {last}: the model failed with {type(error).__name__}: {error}.") from error
        yield answer, last
        if told is not None:
            told(last + 1, piece.share)


def to_json_text(table: Any) -> str:
    """Return answers in the form of MLflow's server: `{"predictions": [...]}`."""
    text = table.to_json(orient="records", date_format="iso", double_precision=15, force_ascii=False)
    if list(table.columns) == ["predictions"]:
        text = json.dumps([row["predictions"] for row in json.loads(text)])
    return f'{{"predictions": {text}}}'
