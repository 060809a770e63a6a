"""The statistics of comparisons, held against scikit-learn, SciPy, statsmodels and against simulations with a known truth."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from scipy import stats

from mlops_nb.comparing import scores
from mlops_nb.comparing.evidence import draws_for
from mlops_nb.comparing.statistics import holm, mcnemar, paired_bootstrap, welch

Array = np.ndarray[Any, Any]


def labels(rng: np.random.Generator, count: int) -> Array:
    found = rng.integers(0, 2, count)
    found[:2] = 0, 1
    return found


def predictions_for(function: str, rng: np.random.Generator, target: Array) -> tuple[Array, Array]:
    """Return a target and a prediction that a metric takes; scores have many ties."""
    if function in ("roc_auc_score", "average_precision_score", "log_loss", "brier_score_loss"):
        return target, np.round(np.clip(0.3 * target + rng.random(len(target)) * 0.6, 0.05, 0.95), 1)
    if function in ("r2_score", "mean_squared_error", "root_mean_squared_error", "mean_absolute_error"):
        truth = rng.normal(1000, 1, len(target))
        return truth, truth + rng.normal(0, 0.7, len(target))
    return target, np.where(rng.random(len(target)) < 0.8, target, 1 - target)


@pytest.mark.parametrize("function", sorted(scores._QUICK))
def test_the_quick_form_of_a_metric_is_scikit_learns_on_rows_drawn_again(function: str) -> None:
    rng = np.random.default_rng(1)
    target, prediction = predictions_for(function, rng, labels(rng, 80))
    quick = scores.weighted(function, target, prediction, {})
    call = scores.sklearn_function(function)
    assert quick is not None and call is not None
    chosen = rng.integers(0, 80, (40, 80))
    counts = np.array([np.bincount(rows, minlength=80) for rows in chosen], dtype=float)
    expected = [call(target[rows], prediction[rows]) for rows in chosen]
    assert quick(counts) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("function", ["mean_squared_error", "root_mean_squared_error", "mean_absolute_error", "r2_score"])
def test_unsigned_numbers_do_not_wrap_around(function: str) -> None:
    target, prediction = np.array([3, 200, 7, 90], dtype=np.uint8), np.array([5, 100, 9, 80], dtype=np.uint8)
    quick = scores.weighted(function, target, prediction, {})
    call = scores.sklearn_function(function)
    assert quick is not None and call is not None
    assert quick(np.ones((1, 4))) == pytest.approx([call(target.astype(float), prediction.astype(float))])


@pytest.mark.parametrize(
    ("function", "arguments"),
    [("f1_score", {"average": "macro"}), ("roc_auc_score", {"multi_class": "ovr"}), ("accuracy_score", {"normalize": False})],
)
def test_other_arguments_than_the_usual_ones_have_no_quick_form(function: str, arguments: dict[str, Any]) -> None:
    target = np.array([0, 1, 1, 0])
    assert scores.weighted(function, target, target.astype(float), arguments) is None


def test_only_metrics_of_a_target_and_a_prediction_can_be_called_by_name() -> None:
    assert scores.sklearn_function("roc_auc_score") is not None
    for name in ("get_scorer", "make_scorer", "classification_report", "os.system", "__builtins__", "RocCurveDisplay"):
        assert scores.sklearn_function(name) is None


@pytest.mark.parametrize(
    ("metric", "function"),
    [
        ("val_auc", "roc_auc_score"),
        ("roc_auc_score_X_val", "roc_auc_score"),
        ("test/accuracy", "accuracy_score"),
        ("log_loss", "log_loss"),
        ("val_rmse", "root_mean_squared_error"),
        ("valid.mse", "mean_squared_error"),
        ("r2", "r2_score"),
        ("f1", "f1_score"),
        ("loss", None),
        ("pace", None),
        ("macro", None),
    ],
)
def test_the_name_of_a_metric_tells_its_function(metric: str, function: str | None) -> None:
    assert scores.function_for(metric) == function


def test_the_bootstrap_agrees_with_scipys() -> None:
    rng = np.random.default_rng(2)
    truth = rng.normal(size=400)
    base, other = truth + rng.normal(size=400), truth + rng.normal(0, 0.9, 400)
    found = paired_bootstrap("mean_absolute_error", truth, base, other)
    assert found is not None
    gaps = np.abs(truth - other) - np.abs(truth - base)
    expected = stats.bootstrap((gaps,), np.mean, n_resamples=5000, method="percentile", random_state=3).confidence_interval
    assert found.difference == pytest.approx(gaps.mean())
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.1 * (expected.high - expected.low))
    assert found.p_value == pytest.approx(stats.ttest_1samp(gaps, 0).pvalue, abs=0.02)


def test_many_tests_share_the_time_of_some() -> None:
    assert [draws_for(pairs) for pairs in (0, 1, 20, 40, 150, 10_000)] == [5000, 5000, 5000, 2500, 666, 500]
    rng = np.random.default_rng(3)
    target = labels(rng, 1000)
    base, other = (np.clip(0.4 * target + rng.random(1000), 0, 1) for _ in range(2))
    whole, short = (paired_bootstrap("roc_auc_score", target, base, other, draws=draws) for draws in (5000, draws_for(150)))
    assert whole is not None and short is not None
    assert (short.low, short.high) == pytest.approx((whole.low, whole.high), abs=0.004)
    assert short.draws == 666


def test_the_same_rows_give_the_same_answer() -> None:
    rng = np.random.default_rng(3)
    target = labels(rng, 200)
    base, other = rng.random(200), rng.random(200)
    assert paired_bootstrap("roc_auc_score", target, base, other) == paired_bootstrap("roc_auc_score", target, base, other)


def test_five_thousand_draws_of_a_thousand_rows_take_less_than_a_second() -> None:
    rng = np.random.default_rng(4)
    target = labels(rng, 1000)
    base, other = rng.random(1000), rng.random(1000)
    best = float("inf")
    for _ in range(3):
        began = time.perf_counter()
        found = paired_bootstrap("roc_auc_score", target, base, other)
        best = min(best, time.perf_counter() - began)
    assert found is not None and found.draws == 5000
    assert best < 1.0, best


def test_with_many_rows_fewer_draws_tell_the_same_by_their_spread() -> None:
    rng = np.random.default_rng(5)
    truth = rng.normal(size=60_000)
    base, other = truth + rng.normal(size=60_000), truth + rng.normal(0, 0.99, 60_000)
    found = paired_bootstrap("mean_absolute_error", truth, base, other)
    assert found is not None and found.draws < 1000
    gaps = np.abs(truth - other) - np.abs(truth - base)
    spread = gaps.std() / np.sqrt(len(gaps))
    assert found.high - found.low == pytest.approx(2 * 1.96 * spread, rel=0.15)


def test_a_metric_without_a_quick_form_is_drawn_by_scikit_learn() -> None:
    rng = np.random.default_rng(6)
    target = rng.integers(0, 3, 300)
    better, worse = (np.where(rng.random(300) < share, target, rng.integers(0, 3, 300)) for share in (0.9, 0.3))
    found = paired_bootstrap("cohen_kappa_score", target, worse, better)
    assert found is not None
    assert found.low > 0.3 and found.p_value < 0.01


def test_what_cannot_be_computed_is_not_tested() -> None:
    target = np.zeros(100, dtype=int)
    assert paired_bootstrap("roc_auc_score", target, np.arange(100.0), np.arange(100.0)) is None
    assert paired_bootstrap("no_such_metric_score", target, target, target) is None


def test_mcnemar_agrees_with_statsmodels() -> None:
    from statsmodels.stats.contingency_tables import mcnemar as theirs

    rng = np.random.default_rng(7)
    target = labels(rng, 300)
    base, other = (np.where(rng.random(300) < share, target, 1 - target) for share in (0.75, 0.85))
    right, also = base == target, other == target
    table = [[(right & also).sum(), (right & ~also).sum()], [(~right & also).sum(), (~right & ~also).sum()]]
    assert mcnemar(target, base, other) == pytest.approx(theirs(table, exact=True).pvalue)
    assert mcnemar(target, base, base) == 1.0


def test_holm_agrees_with_statsmodels() -> None:
    from statsmodels.stats.multitest import multipletests

    for p_values in ([0.01, 0.04, 0.03, 0.2], [0.5], [0.9, 0.9, 0.001], [0.01, 0.01, 0.01]):
        assert holm(p_values) == pytest.approx(list(multipletests(p_values, method="holm")[1]))
    assert holm([]) == []


def test_welch_agrees_with_statsmodels() -> None:
    from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

    base, other = [0.90, 0.91, 0.905, 0.907, 0.902], [0.915, 0.93, 0.92]
    found = welch(base, other)
    assert found is not None
    theirs = CompareMeans(DescrStatsW(other), DescrStatsW(base))
    assert found.p_value == pytest.approx(theirs.ttest_ind(usevar="unequal")[1])
    assert (found.low, found.high) == pytest.approx(theirs.tconfint_diff(usevar="unequal"))


def test_welch_says_nothing_of_one_run_or_of_runs_without_a_spread() -> None:
    assert welch([0.9], [0.91, 0.92]) is None
    assert welch([0.9, 0.9], [0.95, 0.95]) is None
    assert welch([0.9, float("nan")], [0.91, 0.92]) is None


def rates(function: str, rounds: int, rows: int, edge: float) -> tuple[float, float]:
    """Return how often the bootstrap finds a difference where there is none, and how often its interval holds a known one."""
    rng = np.random.default_rng(8)
    alarms = held = 0
    for seed in range(rounds):
        if function == "roc_auc_score":
            target = labels(rng, rows)
            shared = rng.normal(size=rows)
            # Of two normal scores `shift` apart with spread `s`, the area is the normal integral of shift / (s * sqrt 2).
            base, same, better = (shift * target + 0.6 * shared + 0.8 * rng.normal(size=rows) for shift in (1.0, 1.0, 1.0 + edge))
            truth = float(stats.norm.cdf((1 + edge) / np.sqrt(2)) - stats.norm.cdf(1 / np.sqrt(2)))
        else:
            target = rng.normal(size=rows)
            shared = rng.normal(size=rows)
            base, same, better = (target + 0.6 * shared + s * rng.normal(size=rows) for s in (0.8, 0.8, 0.8 - edge))
            truth = (0.8 - edge) ** 2 - 0.8**2
        none = paired_bootstrap(function, target, base, same, draws=2000, seed=seed)
        some = paired_bootstrap(function, target, base, better, draws=2000, seed=seed)
        assert none is not None and some is not None
        alarms += none.p_value < 0.05
        held += some.low <= truth <= some.high
    return alarms / rounds, held / rounds


def test_false_alarms_and_coverage_are_what_they_promise() -> None:
    alarms, held = rates("mean_squared_error", rounds=100, rows=120, edge=0.2)
    # Of 100 rounds at 5 %, hardly any experiment would leave these.
    assert alarms <= 0.12, alarms
    assert held >= 0.88, held


@pytest.mark.slow
def test_false_alarms_and_coverage_of_the_area_under_the_curve_are_what_they_promise() -> None:
    alarms, held = rates("roc_auc_score", rounds=600, rows=300, edge=0.3)
    print(f"false alarms {alarms:.3f}, coverage {held:.3f}")
    assert 0.025 <= alarms <= 0.08, alarms
    assert 0.92 <= held <= 0.975, held
