"""Gates: what they let pass, and what a gate file may hold."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from mlops_nb.ci.gate_file import gates_from_text, read_gates
from mlops_nb.core.comparison import Direction, Evidence, compare
from mlops_nb.core.gates import Gate, GateOutcome, GateResult, evaluate, gated_metrics, marked
from mlops_nb.core.records import Metric, Run
from mlops_nb.core.run_state import RunStatus
from mlops_nb.errors import InvalidInput, NotFound


def a_run(**metrics: float) -> Run:
    points = {key: Metric(key=key, value=value, timestamp=0) for key, value in metrics.items()}
    return Run(run_id="0" * 32, experiment_id="0", name="r", status=RunStatus.FINISHED, start_time=0, end_time=1, metrics=points)


def judged(gate: Gate, this: Run, base: Run | None = None, evidence: Evidence | None = None) -> GateResult:
    keys = [*this.metrics, *(base.metrics if base else ())]
    known = {(gate.metric, 0): evidence} if evidence else {}
    pairs = [(g, m) for g, m in gated_metrics([gate], keys) if m in keys]
    comparison = compare(base, [this], metrics=marked(pairs), evidence=known) if base else None
    (result,) = evaluate([gate], this, base, comparison)
    return result


@pytest.mark.parametrize(
    ("before", "now", "tolerance", "outcome"),
    [
        (0.9, 0.91, 0.0, GateOutcome.PASS),
        (0.9, 0.9, 0.0, GateOutcome.PASS),
        (0.9, 0.89, 0.0, GateOutcome.FAIL),
        (0.9, 0.898, 0.002, GateOutcome.PASS),  # exactly the tolerance, but for the rounding of floats
        (0.9, 0.8979, 0.002, GateOutcome.FAIL),
    ],
)
def test_a_gate_lets_a_metric_be_worse_by_its_tolerance(before: float, now: float, tolerance: float, outcome: GateOutcome) -> None:
    result = judged(Gate(metric="auc", tolerance=tolerance), a_run(auc=now), a_run(auc=before))
    assert (result.outcome, result.is_failure) == (outcome, outcome is GateOutcome.FAIL)


def test_for_a_loss_less_is_better_unless_the_gate_says_otherwise() -> None:
    assert judged(Gate(metric="loss"), a_run(loss=0.3), a_run(loss=0.2)).is_failure
    assert not judged(Gate(metric="loss", direction=Direction.HIGHER), a_run(loss=0.3), a_run(loss=0.2)).is_failure


def test_a_relative_tolerance_is_a_share_of_the_baseline() -> None:
    gate = Gate(metric="loss", relative=0.1)
    assert not judged(gate, a_run(loss=219.0), a_run(loss=200.0)).is_failure
    assert judged(gate, a_run(loss=221.0), a_run(loss=200.0)).is_failure


def test_what_chance_explains_is_noise_and_no_failure_unless_the_gate_asks_for_it() -> None:
    noise = Evidence(is_real=False, method="paired bootstrap", p_value=0.4)
    this, base = a_run(auc=0.8), a_run(auc=0.9)
    assert judged(Gate(metric="auc"), this, base, noise).outcome is GateOutcome.NOISE
    assert judged(Gate(metric="auc", significant=False), this, base, noise).is_failure
    real = judged(Gate(metric="auc"), this, base, Evidence(is_real=True, method="paired bootstrap", p_value=0.001))
    assert real.is_failure and "noise unknown" not in real.reason
    assert "noise unknown" in judged(Gate(metric="auc"), this, base).reason


def test_bounds_hold_without_a_baseline() -> None:
    assert judged(Gate(metric="auc", minimum=0.9), a_run(auc=0.8999999)).reason == "'auc' is 0.899999900, below 0.900000000."
    assert judged(Gate(metric="ms", maximum=10), a_run(ms=11.0)).is_failure
    assert judged(Gate(metric="auc", minimum=0.9), a_run(auc=0.9)).outcome is GateOutcome.PASS
    assert judged(Gate(metric="auc"), a_run(auc=0.1)).outcome is GateOutcome.NEW


def test_a_metric_that_is_missing_fails_unless_it_is_not_required() -> None:
    result = judged(Gate(metric="val_auc"), a_run(val_acc=0.9), a_run(val_acc=0.9))
    assert result.outcome is GateOutcome.MISSING and result.is_failure and "Did you mean 'val_acc'?" in result.reason
    assert not judged(Gate(metric="val_auc", required=False), a_run(), a_run(val_auc=0.9)).is_failure


def test_what_is_no_number_fails_and_a_baseline_that_is_none_cannot_be_compared_with() -> None:
    assert judged(Gate(metric="auc"), a_run(auc=math.nan), a_run(auc=0.9)).is_failure
    assert judged(Gate(metric="auc"), a_run(auc=0.9), a_run(auc=math.nan)).outcome is GateOutcome.NOT_COMPARABLE
    assert judged(Gate(metric="loss"), a_run(loss=math.inf), a_run(loss=1.0)).is_failure


def test_other_evaluation_data_is_said_and_fails_only_where_the_gate_asks_for_it() -> None:
    other = Evidence(is_comparable=False, note="other evaluation data: 1234… → abcd…")
    result = judged(Gate(metric="auc"), a_run(auc=0.1), a_run(auc=0.9), other)
    assert result.outcome is GateOutcome.NOT_COMPARABLE and not result.is_failure and "other evaluation data" in result.reason
    assert judged(Gate(metric="auc", comparable=True), a_run(auc=0.1), a_run(auc=0.9), other).is_failure


def test_a_pattern_gates_all_that_it_names_and_a_gate_can_be_for_some_notebooks() -> None:
    this, base = a_run(val_a=0.1, val_b=0.9, other=0.0), a_run(val_a=0.5, val_b=0.5, other=1.0)
    gate = Gate(metric="val_*")
    comparison = compare(base, [this])
    results = evaluate([gate], this, base, comparison)
    assert [(r.metric, r.is_failure) for r in results] == [("val_a", True), ("val_b", False)]
    assert Gate(metric="a", notebook="train*.ipynb").is_for("models/train_big.ipynb")
    assert not Gate(metric="a", notebook="train*.ipynb").is_for("models/eval.ipynb")


def test_a_gate_says_what_it_asks() -> None:
    assert Gate(metric="auc", tolerance=0.002, minimum=0.9).in_words(Direction.HIGHER) == "Δ ≥ −0.002, ≥ 0.9"
    assert Gate(metric="loss", relative=0.01).in_words(Direction.LOWER) == "Δ ≤ +1 %"
    assert Gate(metric="loss").in_words(Direction.LOWER) == "Δ ≤ 0"


def test_a_gate_file_is_read_with_yamls_odd_numbers() -> None:
    text = "version: 1\ngates:\n  - metric: auc\n    direction: maximize\n    tolerance: 1%\n    min: 1e-3\n"
    text += "  - {metric: loss, tolerance: 0.5}\n"
    first, second = gates_from_text(text, where="gates.yml")
    assert (first.direction, first.relative, first.minimum, first.line) == (Direction.HIGHER, 0.01, 0.001, 3)
    assert (second.metric, second.tolerance, second.line) == ("loss", 0.5, 7)
    assert gates_from_text("", where="gates.yml") == gates_from_text("gates:", where="gates.yml") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gates:\n- metrc: a", "line 2: A gate has no 'metrc'. Did you mean 'metric'?"),
        ("gates:\n- {metric: a}\n- metric: b\n  tolerance: -1", "line 4: tolerance is '-1'"),
        ("gates:\n- metric: a\n  min: .nan", "line 3: min is 'nan'. Give a finite number."),
        ("gates:\n- metric: a\n  direction: up", "line 3: direction is 'up'. Use maximize or minimize."),
        ("gates:\n- metric: a\n  required: ja", "line 3: required is 'ja'. Give true or false."),
        ("gates:\n- metric: a\n  min: 2\n  max: 1", "line 4: max (1) is below min (2)"),
        ("gates:\n- tolerance: 1", "line 2: A gate without a metric."),
        ("gates:\n- metric: a\n  metric: b", "line 3: 'metric' stands here twice"),
        ("gates: [{metric: [a]}]", "line 1: a field has one value"),
        ("- a", "line 1: A gate file is a mapping of fields"),
        ("gate: []", "Did you mean 'gates'?"),
        ("version: 2\ngates: []", "line 1: version is '2'"),
        ("gates:\n\t- a", "line 2: this is no YAML"),
        ("a: &x [*x]", "line 1: anchors and aliases are not read"),
        ("[" * 20_000, "nested too deeply"),
        (b"\xff\xfe\x00\x00\xd8", "this is no YAML"),
        (b"\x00\x01", "this is no YAML"),
        (f"gates: [{'{metric: a},' * 201}]", "201 gates; 200 are allowed"),
        ("gates:\n- metric: '\x1b[31m\n'\n  x\x07: 1", "this is no YAML"),
    ],
)
def test_a_gate_file_that_cannot_be_right_is_refused_with_its_line(text: str | bytes, expected: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        gates_from_text(text, where="gates.yml")
    assert expected in str(caught.value) and "gates.yml" in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_gate_file_makes_no_objects(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with pytest.raises(InvalidInput, match="a field has one value"):
        gates_from_text(f"gates: [{{metric: !!python/object/apply:os.mkdir ['{mark}']}}]", where="gates.yml")
    (gate,) = gates_from_text("gates: [{metric: !!python/name:os.system a}]", where="gates.yml")
    assert gate.metric == "a" and not mark.exists()


def test_a_gate_file_that_is_not_there_or_huge_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="There is no gate file"):
        read_gates(tmp_path / "gates.yml")
    (tmp_path / "gates.yml").write_text("#" * 70_000)
    with pytest.raises(InvalidInput, match="larger than 64 KiB"):
        read_gates(tmp_path / "gates.yml")
