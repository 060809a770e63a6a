"""statsmodels: results of a fit."""

from __future__ import annotations

from typing import Any

import pytest

import mlops_nb
from tests.autolog.conftest import Records

statsmodels = pytest.importorskip("statsmodels", reason="statsmodels is not installed")


def test_a_fit_has_its_statistics_its_summary_and_a_model(records: Records, table: Any) -> None:
    import statsmodels.api as sm

    X, _ = table
    target = X["f0"] * 2 + X["f1"] * X["f2"]
    mlops_nb.autolog()
    results = sm.OLS(target, sm.add_constant(X)).fit(cov_type="HC1")
    run = records.only_run()
    assert (run.params["cov_type"], run.tags["estimator_name"]) == ("HC1", "OLS")
    assert run.metrics["rsquared"].value == results.rsquared and run.metrics["aic"].value == results.aic
    assert "OLS Regression Results" in records.text(run, "model_summary.txt")
    given = sm.add_constant(X)[:20]
    answer = records.score(records.download(records.models(run)["model"]), given)
    assert answer["answer"] == pytest.approx(results.predict(given).tolist()) and answer["example"] == 5


def test_a_model_from_a_formula_predicts_from_the_table(records: Records, table: Any) -> None:
    import statsmodels.formula.api as smf

    X, y = table
    mlops_nb.autolog()
    results = smf.logit("y ~ f0 + f1", X.assign(y=y)).fit(disp=0)
    run = records.only_run()
    assert run.params["formula"] == "y ~ f0 + f1" and run.metrics["llf"].value == results.llf
    given = X.assign(y=y)[:10]
    answer = records.score(records.download(records.models(run)["model"]), given)
    assert answer["answer"] == pytest.approx(results.predict(given).tolist())


def test_a_fit_that_fits_other_models_inside_is_one_run(records: Records, table: Any) -> None:
    import statsmodels.api as sm

    X, _ = table
    mlops_nb.autolog(log_models=False)
    results = sm.GLM((X["f0"] > 0).astype(int), sm.add_constant(X[["f1", "f2"]]), family=sm.families.Binomial()).fit()
    run = records.only_run()
    assert run.tags["estimator_name"] == "GLM" and run.metrics["llf"].value == results.llf


def test_a_regularized_fit_is_tracked_too(records: Records, table: Any) -> None:
    import statsmodels.api as sm

    X, _ = table
    mlops_nb.autolog(log_models=False)
    sm.OLS(X["f0"], sm.add_constant(X[["f1", "f2"]])).fit_regularized(alpha=0.1)
    run = records.only_run()
    assert (run.params["alpha"], run.tags["estimator_name"], run.status.value) == ("0.1", "OLS", "FINISHED")
