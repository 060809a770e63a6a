"""What reviewers read, in full, one file a situation and forge.

After a change that is meant: MLOPS_NB_WRITE_GOLDEN=1 pytest tests/reports/test_golden.py, and look at the difference.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from mlops_nb.core.comparison import Verdict as MetricVerdict
from mlops_nb.reports.pull_request.data import (
    Baseline,
    Change,
    Gate,
    GateOutcome,
    Metric,
    PullRequestReport,
    Trust,
    Verdict,
    read,
    schema,
    to_json,
)
from mlops_nb.reports.pull_request.flavors import FLAVORS
from mlops_nb.reports.pull_request.judging import judge
from mlops_nb.reports.pull_request.markdown import to_markdown
from mlops_nb.reports.pull_request.page import to_page
from tests.reports.examples import EXAMPLES, METRICS, large, notebook, report
from tests.reports.rendered import assert_well_formed

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("forge", FLAVORS)
@pytest.mark.parametrize("name", EXAMPLES)
def test_a_report_reads_as_before(name: str, forge: str) -> None:
    text = to_markdown(EXAMPLES[name](), FLAVORS[forge])
    assert FLAVORS[forge].fits(text)
    assert_well_formed(text)
    path = GOLDEN / f"{name}.{forge}.md"
    if os.environ.get("MLOPS_NB_WRITE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_report_survives_its_way_through_a_file(name: str) -> None:
    report = EXAMPLES[name]()
    assert read(to_json(report)) == report


def test_the_published_schema_is_that_of_the_data_and_takes_every_example() -> None:
    import json

    import jsonschema

    import mlops_nb.reports.pull_request.data as data

    published = Path(data.__file__).with_name("schema.json")
    if os.environ.get("MLOPS_NB_WRITE_GOLDEN"):
        published.write_bytes(schema())
    assert published.read_bytes() == schema()
    validator = jsonschema.Draft202012Validator(json.loads(schema()))
    for make in EXAMPLES.values():
        validator.validate(json.loads(to_json(make())))


def test_notebooks_that_differ_in_their_good_news_are_counted_in_the_first_line() -> None:
    better = EXAMPLES["improves"]().notebooks[0]
    same = msgspec.structs.replace(EXAMPLES["noise"]().notebooks[0], key="same.ipynb")
    text = to_markdown(PullRequestReport(notebooks=[same, better]))
    first, table = text.split("\n\n")[1:3]
    assert first == "### ✅ 1 of 2 notebooks: Improves on main; 1: no difference from main beyond noise — no gate fails"
    assert "improves" in better.verdict and table.splitlines()[2].startswith(f"| `{better.key}` | ✅ Improves on main")


def test_a_notebook_that_failed_before_anything_was_compared_claims_nothing_to_be_the_same() -> None:
    (failed,) = EXAMPLES["failed"]().notebooks
    bare = msgspec.structs.replace(
        failed,
        metrics=[],
        cells=[],
        params=[],
        data=[],
        packages=[],
        environment=[],
        unchanged=[],
        baseline=Baseline(words="none: main was not run"),
    )
    assert "Changed:" not in to_markdown(PullRequestReport(notebooks=[bare]))


def test_a_gate_whose_metric_is_missing_is_not_called_worse_and_names_the_reason() -> None:
    missing = Gate(limit="Δ ≥ −0.002", outcome=GateOutcome.MISSING, is_failure=True, reason="'auc' was not logged.")
    metric = Metric(key="auc", verdict=MetricVerdict.MISSING, gates=[missing])
    part = notebook(metrics=[metric], verdict=judge([metric], has_baseline=False))
    text = to_markdown(report(part))
    assert part.verdict is Verdict.GATE_FAILED and "❌ Not as the gates ask — a gate fails: `auc`" in text
    assert "missing – was not logged." in text and "Worse" not in text


def test_gates_that_the_commit_changes_stand_above_the_table_and_fit_everywhere() -> None:
    trust = Trust(
        gates=".mlops/gates.yml",
        changed_gates=[Change(key="val_auc", base="Δ ≥ −0.002", this="Δ ≥ −0.5")],
        warning="this pull request changes them; judged by those of main",
    )
    said = "⚠️ **Gates:** `val_auc` `Δ ≥ −0.002` → `Δ ≥ −0.5` · this pull request changes them; judged by those of main"
    text = to_markdown(report(notebook(trust=trust)))
    assert text.splitlines()[4] == said
    assert said in to_markdown(report(msgspec.structs.replace(large(), trust=trust))), "it is never cut"
    assert "judged by those of main" in to_page(report(notebook(trust=trust)), {})


def test_what_was_not_compared_is_not_called_the_same() -> None:
    text = to_markdown(report(notebook(params=[], packages=[], cells=[], unchanged=[], baseline=Baseline(name="main", words="none: new"))))
    assert "same" not in text and "Changed" not in text and "base: none: new" in text


def test_of_several_notebooks_each_says_what_it_was_judged_against_where_they_differ() -> None:
    one = notebook(key="a.ipynb", trust=Trust(significance="noise: 95 % bootstrap", gates="g.yml"))
    two = notebook(key="b.ipynb", trust=Trust(significance="single values, noise unknown", gates="g.yml"))
    text = to_markdown(report(one, two))
    assert "**Judged:** noise: 95 % bootstrap\n" in text and "**Judged:** noise: single values, noise unknown\n" in text
    assert text.count("gates: `g.yml`") == 1 and "noise: noise" not in text


def test_small_differences_have_as_many_places_as_their_row() -> None:
    metric = Metric(key="auc", base=0.842543, this=0.84246, difference=-8.3e-05, interval=(-0.000499, 1e-9), verdict=MetricVerdict.NOISE)
    assert "−0.000083 [−0.000499,\u00a0+0.000000]" in to_markdown(report(notebook(metrics=[metric])))


def test_one_value_each_is_said_beside_metrics_that_were_tested() -> None:
    loss = Metric(key="loss", base=0.05, this=0.06, difference=0.01, verdict=MetricVerdict.WORSE)
    assert "▼ **worse** – one value each |" in to_markdown(report(notebook(metrics=[METRICS[0], loss])))
