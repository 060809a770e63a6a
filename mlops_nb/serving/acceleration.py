"""Proven acceleration: a model converted to ONNX answers in its place where it was found to answer the same, and faster.

Converting happens in a process that the worker starts, and is kept in the user's cache by the content of the model and the
versions of all that takes part. Rows outside what was tried, such as infinite ones, go to the model itself.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from mlops_nb.models.loading import LoadedModel
from mlops_nb.serving.converting import Order, Verdict, asked, session_of
from mlops_nb.serving.proving import ABSOLUTE, LARGEST, RELATIVE, difference, trial_rows

log = logging.getLogger("mlops_nb.serving")

ENGINE, PLAIN = "onnxruntime", "model"
_FORMAT = 1
_LARGEST_MODEL = 100 << 20
_SECONDS = 90.0
_KEPT = 50
_AGAIN = 32
_PACKAGES = ("skl2onnx", "onnx", "onnxruntime", "scikit-learn", "numpy")


class Acceleration(NamedTuple):
    """What serves: the model with or without something faster in its place, and what to know of it, in words."""

    model: LoadedModel
    told: str
    engine: str = PLAIN


def accelerate(
    model: LoadedModel,
    *,
    allow_unsafe: bool = False,
    example: Any = None,
    ranges: Sequence[tuple[float, float] | None] = (),
    cache: Path | None = None,
) -> Acceleration:
    """Return a model with its conversion in its place, where there is one that is proven; else the model, and why.

    The first time for a model this takes seconds; later it is read from the cache.

    Args:
        model: Loaded.
        allow_unsafe: Somebody trusts the model: the process that converts it loads it as well.
        example: Rows that were kept with it, an array.
        ranges: The smallest and largest value seen of each column of the signature, where known.
        cache: Where conversions are kept; by default the user's cache folder.
    """
    if "sklearn" not in model.metadata.flavors:
        return Acceleration(model, "plain: only models of scikit-learn are converted")
    missing = [name for name in ("skl2onnx", "onnxruntime") if find_spec(name) is None]
    if missing:
        return Acceleration(model, f"plain: {' and '.join(missing)} is not installed: pip install 'mlops-nb[accelerate]'")
    home = cache or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlops_nb" / "accelerated"
    try:
        key = _key(model.folder)
        if not key:
            return Acceleration(model, f"plain: models over {_LARGEST_MODEL >> 20} MiB are not converted")
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        place = home / key
        with _alone(place.with_suffix(".lock")):
            verdict = _known(place)
            if verdict is None:
                order = Order(
                    folder=str(model.folder.absolute()),
                    out=str(place),
                    allow_unsafe=allow_unsafe,
                    example=None if example is None else [[float(value) for value in row] for row in example[:100]],
                    ranges=list(ranges),
                )
                problem = _convert(order)
                verdict = Verdict(problem=problem) if problem else _known(place) or Verdict(problem="nothing came of the conversion")
                _sweep(home)
        return Acceleration(model, f"plain: {verdict.problem}") if verdict.problem else _used(model, verdict, place, example)
    except Exception as error:  # what accelerates must never be why a model is not served
        log.warning("The model is served as it is: accelerating it failed.", exc_info=True)
        return Acceleration(model, f"plain: accelerating failed: {type(error).__name__}: {str(error)[:120]}")


def _used(model: LoadedModel, verdict: Verdict, place: Path, example: Any) -> Acceleration:
    graph = place.with_suffix(".onnx").read_bytes()
    if hashlib.sha256(graph).hexdigest() != verdict.digest:
        place.with_suffix(".json").unlink(missing_ok=True)
        return Acceleration(model, "plain: what was kept of its conversion is damaged; it is made anew at the next start")
    import numpy

    ask = asked(session_of(graph), verdict)
    fields = (model.signature.inputs if model.signature else None) or []
    whole = [i for i, field in enumerate(fields) if field["type"] in ("integer", "long")]
    rows = trial_rows(model.native, len(fields), whole=whole, example=example)
    for kind in ("example", "within"):  # on this machine, in this process
        given = model.typed(rows[kind][:_AGAIN])
        if not len(given):
            continue
        wrong = difference(numpy.asarray(model.predict_array(given)), ask(given), is_classes=False, within=(RELATIVE, ABSOLUTE))
        if wrong:
            place.with_suffix(".json").unlink(missing_ok=True)
            return Acceleration(model, f"plain: its kept conversion answers otherwise now: {wrong}")
    told = f"ONNX, {verdict.gain:g} times as fast for a row: {verdict.rows:,} rows answered the same (classes equal, numbers within "
    told += f"{RELATIVE:g} relative or {ABSOLUTE:g})"
    return Acceleration(model.answered_by(lambda plain: _either(plain, ask, takes_missing=verdict.takes_missing)), told, ENGINE)


def _either(plain: Callable[[Any], Any], ask: Callable[[Any], Any], *, takes_missing: bool) -> Callable[[Any], Any]:
    """Return a function that asks the conversion about rows such as it was tried with, and the model about all others."""
    import numpy

    def answer(rows: Any) -> Any:
        if not len(rows):
            return plain(rows)
        size = numpy.abs(rows)
        if size.max() <= LARGEST:  # False also where a value is missing
            return ask(rows)
        if takes_missing and not (size > LARGEST).any():
            return ask(rows)
        return plain(rows)

    return answer


# -- converting


def _convert(order: Order) -> str:
    """Convert in a process of its own; return why that gave nothing, or ""."""
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "mlops_nb.serving.converting"], stdin=subprocess.PIPE, stdout=sys.stderr.fileno())
    try:
        process.communicate(msgspec.json.encode(order), timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        return f"converting took longer than {_SECONDS:g} s"
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    if process.returncode:
        how = f"signal {-process.returncode}" if process.returncode < 0 else f"status {process.returncode}; the log says why"
        return f"converting failed after {time.monotonic() - began:.0f} s: {how}"
    return ""


def _known(place: Path) -> Verdict | None:
    try:
        return msgspec.json.decode(place.with_suffix(".json").read_bytes(), type=Verdict)
    except (OSError, msgspec.MsgspecError):
        return None


def _key(folder: Path) -> str:
    """Return a hash of a model's files and of all that its conversion depends on; "" for a very large model."""
    digest = hashlib.sha256(f"{_FORMAT} {platform.machine()} {sys.version_info[:2]}".encode())
    for name in _PACKAGES:
        digest.update(f" {name} {metadata.version(name)}".encode())
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if sum(path.stat().st_size for path in files) > _LARGEST_MODEL:
        return ""
    for path in files:
        with path.open("rb") as file:
            digest.update(f"\n{path.relative_to(folder)} ".encode() + hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:32]


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Let one process of this user do it; others wait, and find what it has made."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _sweep(home: Path) -> None:
    """Keep the conversions that were made last."""
    verdicts = sorted(home.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in verdicts[_KEPT:]:
        for ending in (".json", ".onnx", ".lock"):
            path.with_suffix(ending).unlink(missing_ok=True)
