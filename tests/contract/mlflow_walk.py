"""A client's program: makes the calls of `mlflow_calls.txt`, one a line, and writes what each said.

Ids, times and names that a server makes up are replaced, so that what two servers said can be compared.
Arguments: the file of calls, the file to write.
"""

from __future__ import annotations

import enum
import json
import logging
import os
import re
import sys
import warnings
from typing import Any

warnings.simplefilter("ignore")
logging.disable(logging.WARNING)

import mlflow  # noqa: E402 - after its warnings are off
import pandas  # noqa: E402
from mlflow.entities import Metric  # noqa: E402

SERVER = os.environ["MLFLOW_TRACKING_URI"]
_BEGIN = r"""
import io, json, math, os, pathlib, re, tempfile, time
import mlflow, numpy, pandas
from mlflow import MlflowClient
from mlflow.entities import *
client = MlflowClient()
"""
_HEX = re.compile(r"(?<![0-9a-f])(?:[0-9a-f]{32}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})(?![0-9a-f])")
_TIME = re.compile(r"\b1[6-9]\d{8,17}\b|20\d\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)?")
_MADE_UP = re.compile(r"[a-z]+-[a-z]+-\d+")
_LONGEST = 300
_ids: dict[str, str] = {}


def text(value: str) -> str:
    value = value.replace(SERVER, "SERVER")
    value = re.sub(r"/tmp/[^ ,')\]\"]*/", "TMP/", value)
    value = _HEX.sub(lambda match: _ids.setdefault(match[0], f"ID{len(_ids)}"), value)
    value = re.sub(r"\b[0-9a-f]{40}\b", "COMMIT", value)  # between two walks somebody may commit
    value = _TIME.sub("TIME", value)
    if _MADE_UP.fullmatch(value):
        return "NAME"
    return value if len(value) < _LONGEST else f"{value[:100]}...{len(value)}"


def plain(value: Any) -> Any:
    """Return a value of any class of MLflow's as JSON."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, enum.Enum):
        return str(value)
    if isinstance(value, str):
        return text(value)
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, (int, float)):
        return "TIME" if 1.6e9 < value < 4e18 else repr(value)
    if isinstance(value, pandas.DataFrame):
        return {str(column): plain(value[column].tolist()) for column in sorted(value.columns)}
    if isinstance(value, dict):
        return {text(str(key)): plain(one) for key, one in sorted(value.items(), key=lambda item: str(item[0]))}
    if isinstance(value, list) and value and type(value[0]) is Metric:
        value = sorted(value, key=lambda metric: metric.key)
    if isinstance(value, (list, tuple, set)):
        items = [plain(one) for one in (sorted(value, key=str) if isinstance(value, set) else value)]
        return {"page": items, "more": bool(value.token)} if hasattr(value, "token") else items
    if type(value).__module__.startswith("mlflow"):
        if type(value).__name__.startswith(("Trace", "Span")) and hasattr(value, "to_dict"):
            return [type(value).__name__, plain(value.to_dict())]
        return [type(value).__name__, {key.lstrip("_"): plain(one) for key, one in sorted(vars(value).items())}]
    return text(re.sub(r" at 0x[0-9a-f]+", "", repr(value)))


def say(call: str, scope: dict[str, Any]) -> dict[str, Any]:
    """Make one call, whose result may get a name, and say how it went."""
    named = re.match(r"(\w+) = (.*)", call)
    try:
        value = eval(named[2] if named else call, scope)
    except Exception as error:  # whatever is raised is what is asked
        code = getattr(error, "error_code", None) or type(error).__name__
        return {"outcome": code, "value": type(error).__name__, "message": text(str(error))}
    if named:
        scope[named[1]] = value
    return {"outcome": "ok", "value": plain(value)}


def main() -> None:
    scope: dict[str, Any] = {}
    exec(_BEGIN, scope)
    said: list[dict[str, Any]] = []
    preparing = ""
    with open(sys.argv[1], encoding="utf-8") as file:
        lines = [*file.read().splitlines(), ""]
    for line in lines:
        if line.startswith("| "):
            preparing += line[2:] + "\n"
            continue
        exec(preparing, scope)
        preparing = ""
        call = re.split(r"  #[!~] ", line)[0]
        if call and not call.startswith("#"):
            said.append({"call": call, **say(call, scope)})
    mlflow.end_run()
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        json.dump(said, file)


main()
