"""Comparing runs: verdicts, what to headline, and numbers that show the difference."""

from __future__ import annotations

import json
import math

import msgspec
import pytest

from mlops_nb.core.comparison import (
    SINGLE_VALUES,
    Direction,
    MetricRow,
    RunComparison,
    Verdict,
    compare,
    direction_of,
    primary_metric,
)
from mlops_nb.core.formatting import format_number
from mlops_nb.core.records import TAG_GIT_COMMIT, Metric, Run
from mlops_nb.core.run_state import RunStatus
from mlops_nb.errors import NotFound


def make_run(
    name: str = "run",
    metrics: dict[str, float] | None = None,
    *,
    params: dict[str, str] | None = None,
    tags: dict[str, str] | None = None,
    status: RunStatus = RunStatus.FINISHED,
    reason: str | None = None,
    run_id: str | None = None,
) -> Run:
    return Run(
        run_id=run_id or (name.encode().hex() * 32)[:32],
        experiment_id="1",
        name=name,
        status=status,
        start_time=1_000,
        end_time=3_500,
        reason=reason,
        params=params or {},
        tags=tags or {},
        metrics={key: Metric(key=key, value=value, timestamp=0) for key, value in (metrics or {}).items()},
    )


def row_of(comparison: RunComparison, key: str) -> MetricRow:
    return next(row for row in comparison.metrics if row.key == key)


@pytest.mark.parametrize(
    ("key", "before", "after", "verdict"),
    [
        ("val_auc", 0.9, 0.91, Verdict.BETTER),
        ("val_auc", 0.91, 0.9, Verdict.WORSE),
        ("val_loss", 0.9, 0.91, Verdict.WORSE),
        ("val_loss", 0.91, 0.9, Verdict.BETTER),
        ("val_loss", 0.5, math.inf, Verdict.WORSE),
        ("val_auc", -math.inf, 0.5, Verdict.BETTER),
        ("val_loss", math.inf, math.inf, Verdict.SAME),
        ("val_auc", 0.3, 0.1 + 0.2, Verdict.SAME),
        ("val_auc", 0.0, 0.0, Verdict.SAME),
        ("val_loss", 0.5, math.nan, Verdict.NOT_COMPARABLE),
        ("val_loss", math.nan, 0.5, Verdict.NOT_COMPARABLE),
        ("epoch", 3, 4, Verdict.DIFFERENT),
        ("learning_rate", 0.1, 0.2, Verdict.DIFFERENT),
        ("system/cpu_utilization_percentage", 10, 90, Verdict.DIFFERENT),
    ],
)
def test_a_metric_gets_the_verdict_that_its_direction_asks_for(key: str, before: float, after: float, verdict: Verdict) -> None:
    comparison = compare(make_run("a", {key: before}), [make_run("b", {key: after})])
    assert row_of(comparison, key).changes[0].verdict is verdict


def test_metrics_of_one_side_are_new_or_missing_and_have_no_difference() -> None:
    comparison = compare(make_run("a", {"old": 1.0}), [make_run("b", {"fresh": 2.0})])
    missing, new = row_of(comparison, "old").changes[0], row_of(comparison, "fresh").changes[0]
    assert (missing.verdict, missing.value, missing.difference) == (Verdict.MISSING, None, None)
    assert (new.verdict, new.value, new.difference) == (Verdict.NEW, 2.0, None)
    assert comparison.verdict == "b and a have no metric in common."


def test_marks_before_a_metric_set_its_direction_and_the_first_one_is_the_headline() -> None:
    a, b = make_run("a", {"val_auc": 0.9, "gain_loss": 1.0}), make_run("b", {"val_auc": 0.8, "gain_loss": 2.0})
    comparison = compare(a, [b], metrics=["+gain_loss", "-val_auc"], only=True)
    assert [(row.key, row.changes[0].verdict) for row in comparison.metrics] == [("gain_loss", Verdict.BETTER), ("val_auc", Verdict.BETTER)]
    assert comparison.primary == "gain_loss"


def test_named_metrics_come_first_and_the_others_follow_unless_only_they_are_wanted() -> None:
    a = make_run("a", {"val_auc": 0.9, "x": 1.0, "y": 2.0})
    assert [row.key for row in compare(a, [a], metrics=["y"]).metrics] == ["y", "val_auc", "x"]
    assert [row.key for row in compare(a, [a], metrics=["y"], only=True).metrics] == ["y"]


def test_a_metric_whose_own_name_begins_with_a_minus_is_not_taken_for_a_mark() -> None:
    comparison = compare(make_run("a", {"-x": 1.0}), [make_run("b", {"-x": 2.0})], metrics=["-x"])
    assert comparison.metrics[0].direction is Direction.HIGHER


def test_a_metric_that_no_run_has_is_an_error_with_what_there_is_and_a_guess() -> None:
    with pytest.raises(NotFound, match=r"No metric 'val_ac' in these runs\. Have: loss, val_auc\. Did you mean 'val_auc'\?"):
        compare(make_run("a", {"val_auc": 0.9, "loss": 1.0}), [], metrics=["val_ac"])


def test_held_out_scores_are_headlined_before_losses_training_and_time() -> None:
    keys = ["train_acc", "fit_seconds", "loss", "val_loss", "val_latency", "epoch", "val_accuracy", "val_auc", "zz"]
    comparison = compare(make_run("a", dict.fromkeys(keys, 1.0)), [make_run("b", dict.fromkeys(keys, 2.0))])
    expected = ["val_auc", "val_accuracy", "val_loss", "val_latency", "train_acc", "zz", "loss", "fit_seconds", "epoch"]
    assert [row.key for row in comparison.metrics] == expected
    assert comparison.primary == "val_auc"


def test_a_metric_that_became_nan_is_headlined_and_not_hidden_behind_one_that_improved() -> None:
    comparison = compare(make_run("a", {"val_loss": 0.3, "train_acc": 0.8}), [make_run("b", {"val_loss": math.nan, "train_acc": 0.9})])
    assert comparison.outcome is Verdict.NOT_COMPARABLE
    assert comparison.verdict == "b cannot be compared with a by val_loss: a value is NaN. Of the other metrics: 1 better."


def test_a_metric_without_a_good_end_is_never_the_headline() -> None:
    assert primary_metric(compare(make_run("a", {"epoch": 1.0}), [make_run("b", {"epoch": 2.0})]).metrics) is None


def test_the_verdict_of_two_runs_says_values_difference_and_the_count_of_the_rest() -> None:
    a = make_run("hgb #1", {"val_auc": 0.9127, "val_loss": 0.3, "fit_seconds": 2.0})
    b = make_run("hgb #2", {"val_auc": 0.9189, "val_loss": 0.2, "fit_seconds": 3.0})
    comparison = compare(a, [b])
    assert comparison.verdict == "hgb #2 improves on hgb #1: val_auc 0.9127 → 0.9189 (+0.0062). Of the other metrics: 1 better, 1 worse."
    assert [phrase.text for phrase in comparison.headline if phrase.is_name] == ["hgb #2", "hgb #1", "val_auc"]
    assert comparison.significance == SINGLE_VALUES == "single values, noise unknown"


def test_the_verdict_of_several_runs_names_the_best_or_says_that_none_is_better() -> None:
    low, mid, high = (make_run(name, {"val_auc": value}) for name, value in (("low", 0.7), ("mid", 0.8), ("high", 0.9)))
    assert compare(low, [mid, high]).verdict == "Best of 2: high improves on low: val_auc 0.7000 → 0.9000 (+0.2000)."
    assert compare(high, [low, mid]).verdict == "None of 2 improves on high; the best is mid: val_auc 0.9000 → 0.8000 (−0.1000)."


def test_a_run_that_failed_is_said_first_with_its_reason_on_one_line() -> None:
    failed = make_run("b", {"val_auc": 0.95}, status=RunStatus.FAILED, reason="KeyError: 'x'\n  in cell 3")
    assert compare(make_run("a", {"val_auc": 0.9}), [failed]).verdict.startswith("b failed (KeyError: 'x' in cell 3). b improves on a")
    assert compare(failed, []).verdict == "b failed (KeyError: 'x' in cell 3). Until then: val_auc 0.9500"


def test_runs_without_metrics_are_compared_without_claiming_anything() -> None:
    comparison = compare(make_run("a"), [make_run("b")])
    assert (comparison.outcome, comparison.primary, comparison.metrics) == (None, None, ())
    assert comparison.verdict == "No metric to compare: none was logged."


def test_params_list_the_changed_ones_first_and_know_absent_from_empty() -> None:
    a = make_run("a", params={"depth": "3", "lr": "0.1", "seed": ""})
    b = make_run("b", params={"depth": "3", "lr": "0.2"})
    rows = [(row.key, row.values, row.changed) for row in compare(a, [b]).params]
    assert rows == [("lr", ("0.1", "0.2"), True), ("seed", ("", None), True), ("depth", ("3", "3"), False)]


def test_tags_statuses_and_durations_go_along_with_the_runs() -> None:
    a = make_run("a", tags={TAG_GIT_COMMIT: "abc", "private": "x"})
    b = make_run("b", tags={TAG_GIT_COMMIT: "def"}, status=RunStatus.KILLED)
    comparison = compare(a, [b])
    assert [(row.key, row.values, row.changed) for row in comparison.tags] == [(TAG_GIT_COMMIT, ("abc", "def"), True)]
    assert comparison.statuses == (RunStatus.FINISHED, RunStatus.KILLED)
    assert comparison.durations_ms == (2_500, 2_500)


def test_runs_of_one_name_are_told_apart_by_their_ids() -> None:
    comparison = compare(make_run("a", run_id="1" * 32), [make_run("a", run_id="2" * 32), make_run("b")])
    assert comparison.labels == ("a (111111)", "a (222222)", "b")


def test_the_same_runs_give_the_same_comparison_whatever_the_order_of_their_dictionaries() -> None:
    metrics = {"b": 1.0, "a": 2.0, "val_c": 3.0}
    backwards = dict(reversed(metrics.items()))
    first = compare(make_run("a", metrics), [make_run("b", metrics)])
    second = compare(make_run("a", backwards), [make_run("b", backwards)])
    assert msgspec.json.encode(first) == msgspec.json.encode(second)
    assert json.loads(msgspec.json.encode(first))["metrics"][0]["key"] == "val_c"


@pytest.mark.parametrize(
    ("key", "direction"),
    [
        ("train_log_loss", Direction.LOWER),
        ("p95_latency_ms", Direction.LOWER),
        ("accuracy", Direction.HIGHER),
        ("samples_per_second", Direction.HIGHER),
        ("train/global_step", Direction.NONE),
        ("n_features", Direction.NONE),
    ],
)
def test_the_name_of_a_metric_tells_its_good_end(key: str, direction: Direction) -> None:
    assert direction_of(key) is direction


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0, "0"),
        (-0.0, "0"),
        (3, "3"),
        (12345.0, "12,345"),
        (12345.678, "12,346"),
        (0.91234567, "0.9123"),
        (-3.25, "−3.250"),
        (0.000012345, "1.234e-05"),
        (1.5e20, "1.500e+20"),
        (math.nan, "NaN"),
        (math.inf, "∞"),
        (-math.inf, "−∞"),
        (5e-324, "4.941e-324"),
    ],
)
def test_numbers_have_four_digits_and_thousands_and_name_what_is_not_finite(value: float | None, text: str) -> None:
    assert format_number(value) == text


@pytest.mark.parametrize(
    ("before", "after", "texts"),
    [
        (0.98, 1.0, ("0.9800", "1.0000", "+0.0200")),
        (0.91234561, 0.91234567, ("0.912345610", "0.912345670", "+6.0e-08")),
        (1234.5, 1240.25, ("1,234.5", "1,240.2", "+5.8")),
        (100, 90, ("100", "90", "−10")),
        (1.2e-5, 1.3e-5, ("1.20e-05", "1.30e-05", "+1.0e-06")),
    ],
)
def test_the_digits_of_a_row_show_its_difference(before: float, after: float, texts: tuple[str, str, str]) -> None:
    row = compare(make_run("a", {"m": before}), [make_run("b", {"m": after})]).metrics[0]
    change = row.changes[0]
    shown = [format_number(value, decimals=row.decimals) for value in (row.base, change.value)]
    assert (*shown, format_number(change.difference, decimals=row.decimals, signed=True)) == texts
