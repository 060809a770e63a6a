"""What reviewers read, in full, one file a situation and forge.

After a change that is meant: MLOPS_NB_WRITE_GOLDEN=1 pytest tests/reports/test_golden.py, and look at the difference.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from mlops_nb.reports.pull_request.data import Baseline, PullRequestReport, read, schema, to_json
from mlops_nb.reports.pull_request.flavors import FLAVORS
from mlops_nb.reports.pull_request.markdown import to_markdown
from tests.reports.examples import EXAMPLES
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
        failed, metrics=[], cells=[], params=[], data=[], packages=[], environment=[], baseline=Baseline(words="none: main was not run")
    )
    assert "Changed:" not in to_markdown(PullRequestReport(notebooks=[bare]))
