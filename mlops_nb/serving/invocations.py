"""From the body of a request to what the model takes, as MLflow's scoring server reads it.

Tables whose columns are numbers of one kind become an array at once, without pandas; everything else goes the way that
MLflow goes, and what cannot be read is refused in MLflow's words.
"""

from __future__ import annotations

import importlib
import io
import json
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from mlops_nb.serving.failures import PROTOCOL_CHANGE, ScoringFailure, invalid, too_large, unsupported
from mlops_nb.serving.schema import Field, InputSchema, numpy_type

if TYPE_CHECKING:
    import numpy

JSON, CSV, PARQUET = "application/json", "text/csv", "application/vnd.apache.parquet"
FORMATS = ("dataframe_split", "dataframe_records", "instances", "inputs")
_CHAT_KEYS = frozenset({"messages", "prompt", "input"})
_REQUIRED = f"The input must be a JSON dictionary with exactly one of the input fields {set(FORMATS)}"
_decode = msgspec.json.Decoder().decode


class Asked(NamedTuple):
    """What a request asks.

    Attributes:
        data: A table of pandas, an array, or a mapping of names to arrays; None where `array` says it all.
        array: Numbers, a row for each example and a column for each field of the signature; None where it is not so simple.
        rows: How many examples.
        is_chat: An unwrapped request of a chat model, answered unwrapped.
    """

    data: Any
    array: numpy.ndarray | None
    params: dict[str, Any] | None
    rows: int
    is_chat: bool = False


def read_invocation(body: bytes, content_type: str, schema: InputSchema, max_rows: int, param_names: frozenset[str] = frozenset()) -> Asked:
    """Read the body of `POST /invocations`.

    Args:
        body: As it came.
        content_type: With its parameters.
        schema: Of the model.
        max_rows: The most rows.
        param_names: Of the signature.

    Raises:
        ScoringFailure: If it cannot be read.
    """
    kind, *pairs = [part.strip() for part in content_type.split(";")]
    if pairs:
        _check_parameters(pairs)
    if kind == JSON:
        return _read_json(body, schema, max_rows, param_names)
    if kind == CSV:
        return _read_csv(body, schema, max_rows)
    if kind == PARQUET:
        return _read_parquet(body, max_rows)
    kinds = [CSV, JSON, PARQUET]
    raise unsupported(f"This predictor only supports the following content types: Types: {kinds}. Got '{content_type[:200]}'.")


def _check_parameters(pairs: list[str]) -> None:
    given = {key: value for key, _, value in (pair.partition("=") for pair in pairs)}
    if given.get("charset", "utf-8").lower() != "utf-8":
        raise unsupported("The scoring server only supports UTF-8")
    others = set(given) - {"charset"}
    if others:
        raise unsupported(f"Unrecognized content type parameters: {', '.join(sorted(others))}. {PROTOCOL_CHANGE}")


def loads(body: bytes) -> Any:
    """Return the value of a JSON text; bare NaN and Infinity are numbers, as Python's clients write them.

    Raises:
        ScoringFailure: If it is none, or nested too deeply.
    """
    try:
        return _decode(body)
    except RecursionError:
        raise invalid("The JSON is nested too deeply.") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    try:
        return json.loads(body)
    except RecursionError:
        raise invalid("The JSON is nested too deeply.") from None
    except ValueError as error:
        shown = body[:500] if len(body) <= 500 else body[:500] + b"..."
        raise invalid(f"Ensure that input is a valid JSON formatted string. Error: '{_told(error)}'\nInput: \n{shown!r}\n") from None


def _told(error: ValueError) -> str:
    return repr(error) if not isinstance(error, UnicodeDecodeError) else f"UnicodeDecodeError({error.encoding!r}, {error.reason!r})"


def _read_json(body: bytes, schema: InputSchema, max_rows: int, param_names: frozenset[str]) -> Asked:
    document = loads(body)
    if not isinstance(document, dict):
        got = "a list" if isinstance(document, list) else f"unexpected input type '{type(document)}"
        raise invalid(f"{_REQUIRED}. Received {got}.")
    if not _CHAT_KEYS.isdisjoint(document):
        data = {key: value for key, value in document.items() if key not in param_names}
        return Asked(data, None, {key: value for key, value in document.items() if key in param_names}, 1, is_chat=True)
    params = document.get("params")
    if params is not None and not isinstance(params, dict):
        raise ScoringFailure(f"Parameters must be a dictionary. Got type '{type(params).__name__}'.", "INVALID_PARAMETER_VALUE")
    given = [key for key in document if key in FORMATS]
    if len(given) != 1:
        raise ScoringFailure(f"{_REQUIRED}. Received dictionary with input fields: {given}. {PROTOCOL_CHANGE}")
    form = given[0]
    value = document[form]
    _check_rows(_count(form, value), max_rows)
    if form == "dataframe_split":
        array = schema.array_of_split(value) if isinstance(value, dict) else None
        if array is not None:
            return Asked(None, array, params, len(array))
        return _table(_split(value), schema, params)
    if form == "dataframe_records":
        array = schema.array_of_records(value)
        if array is not None:
            return Asked(None, array, params, len(array))
        return _table(_records(value), schema, params)
    try:
        data = _instances(value, schema) if form == "instances" else _cast(value, schema)
    except ScoringFailure:
        raise
    except Exception as error:  # noqa: BLE001 - whatever numpy raises about the client's values is the client's mistake
        raise invalid(f"Ensure that the input is a valid JSON-formatted string.\nError: {error!r}") from None
    return Asked(data, None, params, _rows_of(data))


def _count(form: str, value: Any) -> int:
    if form == "dataframe_split":
        value = value.get("data") if isinstance(value, dict) else None
    if isinstance(value, dict):
        return max((len(one) for one in value.values() if isinstance(one, list)), default=1)
    return len(value) if isinstance(value, list) else 1


def _check_rows(rows: int, max_rows: int) -> None:
    if rows > max_rows:
        raise too_large(f"The request has {rows} rows; this server takes {max_rows} at a time. Send them in several requests.")


def _rows_of(data: Any) -> int:
    if isinstance(data, dict):
        data = next(iter(data.values()), ())
    try:
        return len(data)
    except TypeError:
        return 1


# -- tables


def _split(value: Any) -> Any:
    import pandas

    if not isinstance(value, dict):
        got = "list" if isinstance(value, list) else f"type {type(value)}"
        raise invalid(f"Dataframe split format must be a dictionary. Got {got}.")
    keys = set(value)
    if "data" not in keys or keys - {"columns", "data", "index"}:
        raise invalid(f"Dataframe split format must have 'data' field and optionally 'columns' and 'index' fields. Got {keys}.'")
    try:
        return pandas.DataFrame(index=value.get("index"), columns=value.get("columns"), data=value["data"])
    except Exception as error:  # noqa: BLE001 - as MLflow: pandas raises many kinds about the client's values
        raise invalid(
            f"Provided dataframe_split field is not a valid dataframe representation in 'split' format. Error: '{error}'"
        ) from None


def _records(value: Any) -> Any:
    import pandas

    if not isinstance(value, list):
        got = "dictionary" if isinstance(value, dict) else f"type {type(value)}"
        raise invalid(f"Dataframe records format must be a list of records. Got {got}.")
    try:
        return pandas.DataFrame(data=value)
    except Exception as error:  # noqa: BLE001 - as above
        message = f"Provided dataframe_records field is not a valid dataframe representation in 'records' format. Error: '{error}'"
        raise invalid(message) from None


def _table(frame: Any, schema: InputSchema, params: dict[str, Any] | None) -> Asked:
    if schema.fields:
        _cast_table(frame, schema)
    return Asked(frame, None, params, len(frame))


def _cast_table(frame: Any, schema: InputSchema) -> None:
    """Give columns the types of the signature, in place."""
    if schema.has_names:
        pairs: list[tuple[Any, Field]] = [(name, field) for name, field in schema.by_name.items() if name in frame.columns]
    elif schema.is_tensors and len(schema.fields) == 1:
        pairs = [(name, schema.fields[0]) for name in frame.columns]
    else:
        pairs = list(zip(frame.columns, schema.fields, strict=False))
    for name, field in pairs:
        kind = numpy_type(field)
        try:
            _cast_column(frame, name, field, kind)
        except Exception as error:  # noqa: BLE001 - as MLflow: whatever a conversion raises
            raise invalid(
                f"Data is not compatible with model signature. Failed to convert column {name} to type '{kind}'. Error: '{error!r}'"
            ) from None


def _cast_column(frame: Any, name: Any, field: Field, kind: str | None) -> None:
    import base64

    import numpy
    import pandas

    column = frame[name]
    if kind is None:
        return  # nested: the signature is enforced by the model's own reader
    if field["type"] == "binary":
        frame[name] = column.map(lambda text: base64.decodebytes(bytes(text, "utf8")))
    elif field["type"] == "datetime":
        parsed = pandas.to_datetime(column)
        frame[name] = parsed.dt.as_unit("ns") if getattr(parsed.dt, "unit", "ns") != "ns" else parsed
    elif field["type"] == "tensor" and len(column) and isinstance(column.iloc[0], list):
        return
    elif not (numpy.dtype(kind).kind in "OU" and isinstance(column.dtype, pandas.StringDtype)):
        frame[name] = column.astype(numpy.dtype(kind))


def _read_csv(body: bytes, schema: InputSchema, max_rows: int) -> Asked:
    import pandas

    _check_rows(body.count(b"\n") - 1, max_rows)
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise invalid(f"Ensure that input is a valid UTF-8 encoded string. Error: '{_told(error)}'") from None
    kinds = {name: numpy_type(field) for name, field in schema.by_name.items()}
    dates = [name for name, kind in kinds.items() if kind is None or kind.startswith("datetime")]
    try:
        frame = pandas.read_csv(io.StringIO(text), dtype={name: kind for name, kind in kinds.items() if name not in dates})
        for name in dates:
            if name in frame.columns and kinds[name] is not None:
                frame[name] = pandas.to_datetime(frame[name])
    except Exception as error:  # noqa: BLE001 - as MLflow
        raise ScoringFailure(
            "Failed to parse input as a Pandas DataFrame. Ensure that the input is a valid CSV-formatted Pandas DataFrame produced "
            f"using the `pandas.DataFrame.to_csv()` method. Error: '{error}'"
        ) from None
    return Asked(frame, None, None, len(frame))


def _read_parquet(body: bytes, max_rows: int) -> Asked:
    try:
        file = importlib.import_module("pyarrow.parquet").ParquetFile(io.BytesIO(body))
        _check_rows(file.metadata.num_rows, max_rows)  # before it is unpacked: a small file may hold many rows
        frame = file.read().to_pandas()
    except ScoringFailure:
        raise
    except Exception as error:  # noqa: BLE001 - as MLflow
        raise ScoringFailure(
            "Failed to parse input as a Pandas DataFrame. Ensure that the input is a valid Parquet Pandas DataFrame produced using "
            f"the `pandas.DataFrame.to_parquet()` method. Error: '{error}'"
        ) from None
    return Asked(frame, None, None, len(frame))


# -- tensors


def _instances(value: Any, schema: InputSchema) -> Any:
    import numpy

    if isinstance(value, list) and value and isinstance(value[0], dict):
        columns: dict[str, list[Any]] = {}
        for item in value:
            for name, one in item.items():
                columns.setdefault(name, []).append(_converted(one, schema.by_name.get(name)))
        data: Any = {name: numpy.array(values) for name, values in columns.items()}
    else:
        data = _cast(value, schema)
    if isinstance(data, dict):
        sized = {name: one for name, one in data.items() if isinstance(one, (list, numpy.ndarray))}
        checked = [sized[name] for name in (schema.required if schema.has_names else sized) if name in sized]
        if any(len(one) != len(checked[0]) for one in checked):
            raise invalid("The length of values for each input/column name are not the same")
    return data


def _cast(value: Any, schema: InputSchema) -> Any:
    """Return values by the signature's types: what is by column as a mapping, else an array."""
    by_name, fields = schema.by_name, schema.fields
    if fields:
        if len(by_name) == 1 and isinstance(value, list) and not any(isinstance(one, dict) for one in value):
            value = {next(iter(by_name)): value}
        elif not schema.has_names and not isinstance(value, (list, str, int, float, bool)):
            raise invalid(
                "Failed to parse input data. This model contains an un-named  model signature which expects a single n-dimensional "
                f"array or a single value as input, however, an input of type {type(value)} was found."
            )
    if isinstance(value, dict):
        return {name: _converted(one, by_name.get(name)) for name, one in value.items()}
    if isinstance(value, list) and all(isinstance(one, dict) for one in value):
        return [{name: _converted(one, by_name.get(name)) for name, one in item.items()} for item in value]
    return _converted(value, fields[0] if fields else None)


def _converted(value: Any, field: Field | None) -> Any:
    import numpy

    try:
        if field is None:
            return numpy.array(value)
        kind = numpy_type(field)
        if kind is None:
            return value
        if field["type"] == "tensor" or isinstance(value, list):
            return numpy.array(value, dtype=kind)
        return numpy.array([value], dtype=kind)[0]
    except Exception as error:  # noqa: BLE001 - as MLflow: whatever a conversion raises
        raise invalid(str(error)) from None
