"""Converting a model to ONNX and proving it, in a process of its own: `python -m mlops_nb.serving.converting`, its order on stdin.

The process ends when it is done, and its memory, which is more than the model's, with it.
"""

from __future__ import annotations

import hashlib
import os
import resource
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from mlops_nb.serving.proving import SCORES, Proof, prove, trial_rows

INPUT = "rows"
_MEMORY = 4 << 30
_GAIN, _GAIN_TOGETHER = 1.5, 0.8
_TOGETHER = 256
_TRY_SECONDS = 0.5
_METHODS = ("predict", "predict_proba")


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be converted. `ranges` are the smallest and largest value seen of each column; `out` is a path without an ending."""

    folder: str
    out: str
    allow_unsafe: bool = False
    example: list[list[float]] | None = None
    ranges: list[tuple[float, float] | None] = []


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it.

    Attributes:
        problem: Why there is no conversion that can be used, or "".
        digest: SHA-256 of the converted model.
        precision: The type of numpy that its rows have.
        is_rounded: Whether rows are rounded to single precision before, as scikit-learn's trees do.
        answers: The type that its answers have, and `tail`, their shape after the rows.
        takes_missing: Whether it may be asked rows with missing values.
        rows: How many rows were answered the same.
        gain: How many times faster it answers one row.
    """

    problem: str = ""
    digest: str = ""
    precision: str = ""
    is_rounded: bool = False
    answers: str = ""
    tail: list[int] = []
    takes_missing: bool = False
    rows: int = 0
    gain: float = 0.0


def session_of(graph: bytes | str) -> Any:
    """Return what computes a converted model: in the thread that asks it, for one row is not worth handing over."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def asked(session: Any, verdict: Verdict) -> Callable[[Any], Any]:
    """Return a function that answers an array with what the model itself would answer, of the same type and shape."""
    import numpy

    run, outputs = session.run, [session.get_outputs()[0].name]
    precision, tail = numpy.dtype(verdict.precision), tuple(verdict.tail)
    kind = numpy.dtype(verdict.answers)
    is_rounded = verdict.is_rounded

    def ask(rows: Any) -> Any:
        if is_rounded:
            rows = rows.astype(numpy.float32)
        answer = run(outputs, {INPUT: numpy.ascontiguousarray(rows, dtype=precision)})[0]
        return answer.reshape((len(rows), *tail)).astype(kind, copy=False)

    return ask


def convert(order: Order) -> Verdict:
    """Convert, prove and measure; the converted model is written where it is found to be the same and faster."""
    from mlops_nb.models.loading import load_model

    model = load_model(order.folder, allow_unsafe=order.allow_unsafe)
    method = str((model.metadata.pyfunc or {}).get("predict_fn", "predict"))
    if "sklearn" not in model.metadata.flavors:
        return Verdict(problem="only models of scikit-learn are converted")
    if method not in _METHODS:
        return Verdict(problem=f"what {method} answers is not converted")
    if not model.takes_arrays or model.signature is None:
        return Verdict(problem="the model is asked with tables: its columns are not all numbers, or it needs their names")
    import numpy

    fields = model.signature.inputs or []
    whole = [i for i, field in enumerate(fields) if field["type"] in ("integer", "long")]
    example = numpy.asarray(order.example, dtype="float64") if order.example else None
    tried = trial_rows(model.native, len(fields), whole=whole, example=example, ranges=order.ranges)
    rows = {kind: model.typed(given) for kind, given in tried.items()}
    expected = model.predict_array(rows["within"])
    if not isinstance(expected, numpy.ndarray):
        return Verdict(problem="the model answers several arrays")
    from sklearn.base import is_classifier

    is_classes = bool(is_classifier(model.native)) and method == "predict"
    problems = []
    made = None
    for precision, is_rounded in (("float64", False), ("float64", True), ("float32", False)):
        try:
            if not is_rounded or made is None:
                made = _converted(model.native, len(fields), precision)
            graph = _part(made, method)
            form = Verdict(precision=precision, is_rounded=is_rounded, answers=str(expected.dtype), tail=list(expected.shape[1:]))
            ask = asked(session_of(graph), form)
            proof = prove(model.predict_array, ask, rows, is_classes=is_classes)
            if is_classes and not proof.problem:
                proof = _scores(model.native, made, form, rows) or proof
        except Exception as error:  # noqa: BLE001 - converters and runtimes raise whatever they like about what they do not know
            problems.append(f"skl2onnx cannot convert it: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:200])
            continue
        if not proof.problem:
            return _measured(model.predict_array, ask, rows["within"], graph, order, form, proof)
        problems.append(proof.problem)
    return Verdict(problem=max(problems, key=lambda one: not one.startswith("skl2onnx")))


def _scores(native: Any, made: Any, form: Verdict, rows: dict[str, Any]) -> Proof | None:
    """Return what speaks against a conversion whose classes are equal: the probabilities behind them are not the same."""
    from mlops_nb.models.by_position import by_position

    plain = by_position(native, "predict_proba")
    if plain is None:
        return None
    expected = plain(rows["within"][:1])
    scores = msgspec.structs.replace(form, answers="float64", tail=list(expected.shape[1:]))
    proof = prove(plain, asked(session_of(_part(made, "predict_proba")), scores), rows, is_classes=False, within=SCORES)
    return msgspec.structs.replace(proof, problem=f"of the probabilities behind the classes: {proof.problem}") if proof.problem else None


def _converted(native: Any, columns: int, precision: str) -> Any:
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

    kind = DoubleTensorType if precision == "float64" else FloatTensorType
    options = {id(native): {"zipmap": False}} if hasattr(native, "predict_proba") else None
    return to_onnx(native, initial_types=[(INPUT, kind([None, columns]))], options=options)


def _part(made: Any, method: str) -> bytes:
    """Return the part of a graph that one method's answer needs."""
    from skl2onnx.helpers.onnx_helper import select_model_inputs_outputs

    wanted = made.graph.output[1 if method == "predict_proba" else 0].name
    return bytes(select_model_inputs_outputs(made, [wanted]).SerializeToString())


def _measured(
    plain: Callable[[Any], Any], ask: Callable[[Any], Any], rows: Any, graph: bytes, order: Order, form: Verdict, proof: Proof
) -> Verdict:
    gain = _fastest(plain, rows[:1]) / _fastest(ask, rows[:1])
    if gain < _GAIN:
        return Verdict(problem=f"ONNX is not clearly faster: {gain:.1f} times")
    together = _fastest(plain, rows[:_TOGETHER]) / _fastest(ask, rows[:_TOGETHER])
    if together < _GAIN_TOGETHER:
        return Verdict(problem=f"ONNX is slower for many rows: {1 / together:.1f} times")
    path = Path(f"{order.out}.onnx")
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_bytes(graph)
    partial.replace(path)
    found = msgspec.structs.replace(form, digest=hashlib.sha256(graph).hexdigest(), rows=proof.rows, gain=round(gain, 1))
    return msgspec.structs.replace(found, takes_missing=proof.takes_missing)


def _fastest(ask: Callable[[Any], Any], rows: Any) -> float:
    """Return the shortest of many times (s): others on the machine only make it longer."""
    best, until = float("inf"), time.perf_counter() + _TRY_SECONDS
    for _ in range(200):
        began = time.perf_counter()
        ask(rows)
        ended = time.perf_counter()
        best = min(best, ended - began)
        if ended > until:
            break
    return best


def main() -> int:
    """Do the order on stdin, and write the verdict beside the converted model."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY if hard == resource.RLIM_INFINITY else min(_MEMORY, hard), hard))
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    warnings.filterwarnings("ignore")
    verdict = convert(order)
    path = Path(f"{order.out}.json")
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_bytes(msgspec.json.encode(verdict))
    partial.replace(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
