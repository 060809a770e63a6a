"""Vega-Lite specifications as PNG: without a browser, without a network, without a file that the specification names.

A specification is a program: a few words of transforms can ask for more work than any machine does. So each is drawn in a
process of its own, which sees nothing of the environment and is ended when its time is over.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from typing import Any

from mlops_nb.errors import InvalidInput, MissingDependencyError

MAX_SPEC_BYTES = 8_000_000
_MOST_PARTS = 400_000
_SIDE = 2_000
SECONDS = 30.0
"""So long may one plot take."""
_PASSED = ("PATH", "PYTHONPATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "LANG")
_DRAW = """import json, sys, vl_convert
spec, scale = json.load(sys.stdin)
try:
    sys.stdout.buffer.write(vl_convert.vegalite_to_png(spec, scale=scale, allowed_base_urls=[]))
except (ValueError, RuntimeError) as error:
    sys.exit(str(error)[:4000])
"""
_OF_DATA = frozenset({"values", "name", "format"})
"""What inline data is made of. Others (`url`, `sequence`, `sphere`, `graticule`) load or make data."""
_LOADING = frozenset({"url", "href", "usermeta", "datasets_url", "lookup_url"})


def to_png(spec: dict[str, Any], *, scale: float = 1.5) -> bytes:
    """Draw a specification with its own data.

    Args:
        spec: Vega-Lite, with all data inline.
        scale: Pixels of the picture by pixel of the specification.

    Raises:
        InvalidInput: If it would load anything, is too large, takes longer than `SECONDS`, or is no Vega-Lite.
        MissingDependencyError: If vl-convert is not installed.
    """
    _check(spec)
    if find_spec("vl_convert") is None:
        raise MissingDependencyError("vl_convert", extra="report", purpose="Drawing Vega-Lite plots")
    if "width" not in spec and ("mark" in spec or "layer" in spec):
        spec = {**spec, "width": 360, "height": 240}
    try:
        done = subprocess.run(
            [sys.executable, "-c", _DRAW],
            input=json.dumps([spec, scale]).encode(),
            capture_output=True,
            timeout=SECONDS,
            check=False,
            env={name: os.environ[name] for name in _PASSED if name in os.environ},
        )
    except subprocess.TimeoutExpired:
        raise InvalidInput(f"A plot takes longer than {SECONDS:g} s to draw.", hint="Plot fewer points, with fewer transforms.") from None
    if done.returncode < 0:  # V8 ends the process when its memory is used up
        raise InvalidInput("A plot takes more memory than it may.", hint="Plot fewer points, with fewer transforms.")
    if done.returncode != 0:
        said = " ".join(done.stderr.decode("utf-8", "replace").split())[-200:]
        raise InvalidInput(f"A plot is no Vega-Lite that can be drawn: {said}", hint="Look at it in https://vega.github.io/editor.")
    return done.stdout


def _check(spec: Any) -> None:
    """Refuse what loads, and what would take a machine down; the walk keeps its own stack, so depth is no danger."""
    waiting: list[tuple[Any, int]] = [(spec, 0)]
    parts = 0
    while waiting:
        value, depth = waiting.pop()
        parts += 1
        if parts > _MOST_PARTS or depth > 60:
            raise InvalidInput("A plot is too large to be drawn.", hint="Plot fewer points.")
        if isinstance(value, list):
            waiting += [(each, depth + 1) for each in value]
        elif isinstance(value, dict):
            for key, each in value.items():
                _check_field(key, each)
                if key not in ("values", "datasets"):  # rows are data: nothing in them is read as instructions
                    waiting.append((each, depth + 1))
                else:
                    parts += _size(each)


def _check_field(key: str, value: Any) -> None:
    if key in _LOADING:
        raise InvalidInput(f"A plot would load something ('{key}').", hint="Put its data into the specification, under data.values.")
    if key == "data" and isinstance(value, dict) and not value.keys() <= _OF_DATA:
        named = ", ".join(sorted(map(str, value.keys() - _OF_DATA)))[:80]
        raise InvalidInput(f"A plot has data that is not in it ({named}).", hint="Put it there, under data.values.")
    if key in ("mark", "type") and (value == "image" or (isinstance(value, dict) and value.get("type") == "image")):
        raise InvalidInput("A plot would load pictures.", hint="Log the picture itself.")
    if key in ("width", "height", "step", "size", "strokeWidth", "fontSize") and isinstance(value, (int, float)) and not value <= _SIDE:
        raise InvalidInput(f"A plot is {value:g} units large ({key}).", hint=f"Draw it with at most {_SIDE}.")


def _size(rows: Any) -> int:
    return sum(len(row) if isinstance(row, dict) else 1 for row in rows) if isinstance(rows, list) else 1
