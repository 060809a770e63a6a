"""Whatever a report holds, its Markdown is within the limit, well formed, and begins with the verdict."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlops_nb.core.comparison import Direction
from mlops_nb.core.comparison import Verdict as MetricVerdict
from mlops_nb.reports.pull_request.data import (
    Baseline,
    Cell,
    CellStatus,
    Change,
    Failure,
    Gate,
    GateOutcome,
    Link,
    Machine,
    Metric,
    Notebook,
    Output,
    PullRequestReport,
    Trust,
    Verdict,
    read,
    to_json,
)
from mlops_nb.reports.pull_request.flavors import FLAVORS, GITHUB, Flavor, units
from mlops_nb.reports.pull_request.markdown import to_markdown
from mlops_nb.reports.pull_request.page import to_page
from tests.reports.examples import EXAMPLES, large, notebook, report
from tests.reports.rendered import assert_well_formed, elements, tokens

HOSTILE = (
    "@team",
    "fixes #1",
    "o/r#12 and GH-3",
    "0123456789abcdef0123456789abcdef01234567",
    "<script>alert(1)</script>",
    "<img src=https://evil.example/x.png onerror=alert(1)>",
    "</details></code><!-- mlops-nb:report:other -->",
    "<!-- unclosed",
    "-->",
    "```\n@team\n/close\n```",
    "~~~",
    "``````",
    "::set-env name=X::y",
    "##[set-env name=X]y",
    "##vso[task.setvariable variable=x]y",
    "\x1b[31mred\x1b[0m\x1b]8;;https://evil.example\x07link\x1b]8;;\x07",
    "a\u202egnp.exe\u202c",
    "in\u200bvi\u2060si\ufeffble",
    "a | b | c\n| d |",
    "[click](javascript:alert(1))",
    "![x](https://evil.example/pixel.png)",
    "<https://evil.example> https://evil.example www.evil.example",
    "[ref]: https://evil.example",
    "**bold** _it_ ~~gone~~ # head",
    "\\` \\| \\\\",
    "$x$ $`x`$",
    "& &lt; &#64;team &commat;team",
    "\r\n\r\n# heading\r\n---\r\n===",
    "    code",
    "1. one",
    "- [x] done",
    ":tada: !1 %2 ~bug &3",
    "\x00\x07\x85\u2028\u2029",
    "ｘ\U0001f600" * 40,
    "`",
    "x" * 390,
    "",
)
words = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=60), st.lists(st.sampled_from(HOSTILE), max_size=4).map("\n".join)).map(
    lambda text: text[:400]
)
texts = st.one_of(words, st.lists(words, max_size=30).map("\n".join)).map(lambda text: text[:24_000])
numbers = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(["NaN", "Infinity", "-Infinity"]))
shares = st.floats(0, 1)
gates = st.lists(st.builds(Gate, limit=words, outcome=st.sampled_from(GateOutcome), is_failure=st.booleans(), reason=words), max_size=3)
metrics = st.builds(
    Metric,
    key=words,
    direction=st.sampled_from(Direction),
    base=numbers,
    this=numbers,
    difference=numbers,
    interval=st.one_of(st.none(), st.tuples(st.floats(-1e300, 1e300), st.floats(-1e300, 1e300))),
    verdict=st.sampled_from(MetricVerdict),
    note=words,
    gates=gates,
)
changes = st.lists(st.builds(Change, key=words, base=st.one_of(st.none(), words), this=st.one_of(st.none(), words)), max_size=6)
outputs = st.lists(
    st.one_of(
        st.builds(Output, kind=st.sampled_from(["text", "error"]), text=texts),
        st.builds(Output, kind=st.just("table"), rows=st.lists(st.lists(words, max_size=4), max_size=4)),
    ),
    max_size=3,
)
cells = st.builds(
    Cell,
    label=words,
    status=st.sampled_from(CellStatus),
    first_line=words,
    summary=words,
    diff=texts,
    before=outputs,
    after=outputs,
    effect=shares,
)
machines = st.builds(
    Machine,
    words=words,
    duration_ms=st.one_of(st.none(), st.floats(0, 1e15)),
    cost=st.one_of(st.none(), st.floats(0, 1e15)),
    currency=words.map(lambda text: text[:8]),
)
links = st.lists(
    st.builds(Link, title=words, url=st.sampled_from(["https://example.org/a", "https://evil.example/?x=1", "http://localhost:8080/x/"])),
    max_size=3,
)
notebooks = st.builds(
    Notebook,
    key=words.filter(bool),
    verdict=st.sampled_from(Verdict),
    headline=words,
    failure=st.one_of(
        st.none(),
        st.builds(
            Failure,
            cell=st.one_of(st.none(), st.integers(1, 99)),
            reason=texts.map(lambda text: text[:2000]),
            source=texts,
            traceback=texts,
            hint=words,
        ),
    ),
    baseline=st.one_of(st.none(), st.builds(Baseline, name=words, words=words, commit=words)),
    metrics=st.lists(metrics, max_size=12),
    params=changes,
    data=changes,
    packages=changes,
    environment=changes,
    cells=st.lists(cells, max_size=5),
    cell_count=st.integers(0, 99),
    machine=machines,
    links=links,
    trust=st.builds(Trust, significance=words, gates=words),
    next_step=words,
)
reports = st.builds(
    PullRequestReport,
    key=words,
    created=st.integers(0, 10**13),
    commit=words,
    branch=words,
    full_report=st.one_of(st.none(), st.just("https://ci.example.org/report.html")),
    notebooks=st.lists(notebooks, min_size=1, max_size=3, unique_by=lambda each: each.key),
)
flavors = st.sampled_from([*FLAVORS.values(), *(msgspec.structs.replace(each, characters=6_000, bytes=7_000) for each in FLAVORS.values())])


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
@given(data=reports, flavor=flavors)
def test_any_data_becomes_markdown_that_its_forge_takes(data: PullRequestReport, flavor: Flavor) -> None:
    text = to_markdown(data, flavor)
    assert units(text) <= flavor.characters and len(text.encode()) <= flavor.bytes
    assert_well_formed(text)
    lines = text.splitlines()
    assert lines[0] == flavor.marker(data.key or (data.notebooks[0].key if len(data.notebooks) == 1 else "notebooks"))
    assert re.match(r"### [✅❌⚠⚪]", lines[2]), lines[2]
    assert_only_ours(text, flavor)


def assert_only_ours(text: str, flavor: Flavor) -> None:
    """No mention, reference, command, link or sign of others is anywhere but in code."""
    found = elements(text)
    assert len(found.comments) == (1 if flavor.has_html else 0)
    shown = found.text_outside_code
    assert not re.search(r"(?<![\w])@\w|#\d|::\w|##\[|##vso|javascript:|www\.|evil", shown), shown
    for token in tokens(text):
        if token.type == "link_open":
            assert str(token.attrs["href"]).startswith(
                ("https://example.org/", "https://evil.example/?x=1", "http://localhost:8080/", "https://ci.example.org/")
            )
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]", text)
    for line in text.splitlines():
        # What GitLab takes as a command of the author, and what runners act on in a log.
        assert not re.match(r"/[a-z]|::[\w-]", line), line
        assert not re.search(r"##(\[|vso\[)", line), line


class _Elements(HTMLParser):
    """What a browser makes of a page: its elements, their attributes, and comments."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[tuple[str, str]] = set()
        self.comments: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes.update((name, value or "") for name, value in attrs)

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
)
@given(data=reports)
def test_any_data_becomes_a_page_of_text(data: PullRequestReport) -> None:
    page = to_page(data, {})
    body = _Elements()
    body.feed(page.split("</head>")[1])
    assert body.names.isdisjoint({"script", "iframe", "object", "embed", "form", "style", "meta", "base"}) and not body.comments
    assert all(not name.startswith("on") and not (name == "src" and not value.startswith("data:")) for name, value in body.attributes)
    assert not re.search(r"[\u200b-\u200f\u202a-\u202e\u2060-\u2069]", page)
    assert read(to_json(data)) == data


@pytest.mark.parametrize("forge", FLAVORS)
@pytest.mark.parametrize("text", [text for text in HOSTILE if text], ids=range(len(HOSTILE) - 1))
def test_hostile_text_comes_out_as_text_wherever_it_stands(text: str, forge: str) -> None:
    """The same text as title, branch, metric, gate, param, cell, output, link, reason and fine print."""
    gate = Gate(limit=text, outcome=GateOutcome.FAIL, is_failure=True, reason=text)
    metric = Metric(key=text, base=1.0, this=2.0, difference=1.0, verdict=MetricVerdict.WORSE, note=text, gates=[gate])
    shown = [Output(kind="text", text=text), Output(kind="table", rows=[[text, text]]), Output(kind="error", text=text)]
    cell = Cell(label=text, status=CellStatus.CHANGED, first_line=text, summary=text, diff=text, after=shown)
    change = [Change(key=text, base=text, this=None)] * 6
    made = notebook(
        key=text,
        verdict=Verdict.FAILED,
        headline=text,
        failure=Failure(reason=text, source=text, traceback=text, hint=text),
        baseline=Baseline(name=text, words=text, commit=text),
        metrics=[metric],
        params=change,
        data=change,
        packages=change,
        cells=[cell],
        images=[],
        machine=Machine(words=text, cost=1, currency=text[:8]),
        links=[Link(title=text, url="https://example.org/a")],
        trust=Trust(significance=text, gates=text),
        next_step=text,
    )
    for data in (report(made), report(made, notebook(key="other", images=[], links=[]))):
        written = to_markdown(msgspec.structs.replace(data, key=text, commit=text, branch=text), FLAVORS[forge])
        assert_well_formed(written)
        assert_only_ours(written, FLAVORS[forge])


@pytest.mark.parametrize("forge", FLAVORS)
def test_five_hundred_metrics_three_hundred_plots_and_five_thousand_cells_fit(forge: str) -> None:
    text = to_markdown(report(large()), FLAVORS[forge])
    assert FLAVORS[forge].fits(text)
    assert_well_formed(text)
    assert "metric_000" in text and "more cells in the full report" in text and "more rows of plots in the full report" in text


@pytest.mark.parametrize("forge", FLAVORS)
def test_of_five_hundred_gates_the_one_that_fails_comes_first_and_none_is_cut_for_plots(forge: str) -> None:
    text = to_markdown(report(large(gates=True)), FLAVORS[forge])
    assert FLAVORS[forge].fits(text)
    first_row = next(line for line in text.splitlines() if line.startswith("| `"))
    assert "val_auc" in first_row and "❌" in first_row
    assert text.count("(gate") > (495 if forge != "bitbucket" else 300)
    if forge != "gitlab":
        assert "more gates in the full report" in text or text.count("(gate") == 500


def test_two_hundred_notebooks_fit_and_the_failing_one_is_named() -> None:
    many = [notebook(key=f"folder/{'x' * 300}/{number}.ipynb") for number in range(199)]
    failing = msgspec.structs.replace(EXAMPLES["failed"]().notebooks[0], key="the-broken-one.ipynb")
    for flavor in FLAVORS.values():
        text = to_markdown(report(*many, failing), flavor)
        assert flavor.fits(text)
        assert text.splitlines()[2].startswith("### ❌ 1 of 200 notebooks failed")
        assert "the-broken-one.ipynb" in text.splitlines()[6]


def test_a_plot_is_worth_more_than_the_change_of_a_cell_and_that_more_than_a_list() -> None:
    small = msgspec.structs.replace(GITHUB, characters=3_500, bytes=4_000)
    text = to_markdown(report(large(metrics=40, plots=8, cells=40)), small)
    assert small.fits(text)
    assert text.count("![") > 1
    assert "more metrics</summary>" not in text


def test_links_lead_only_to_hosts_that_are_named() -> None:
    text = to_markdown(report(notebook()), hosts=["github.com"])
    assert "](https://github.com/o/r/blob/3f2c1ab/train.ipynb)" in text
    assert "ml.example.org" not in text and "ci.example.org" not in text


def test_nothing_of_a_secret_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    from mlops_nb.reports.pull_request.redacting import redacted

    monkeypatch.setenv("DEPLOY_TOKEN", secret := "correct-horse-battery-9")
    cell = Cell(label="[1]", status=CellStatus.CHANGED, diff=f"+ x = '{secret}'", after=[Output(kind="text", text=f"token {secret}")])
    made = report(
        notebook(
            cells=[cell],
            params=[Change(key="api_key", base="hunter2hunter2", this="other-secret-1")],
            links=[Link(title="run", url=f"https://example.org/?t={secret}"), Link(title="notebook", url="https://example.org/n")],
            next_step=f"ask {secret}",
        )
    )
    clean = redacted(made)
    assert read(to_json(clean)) == clean
    for text in (to_markdown(clean), to_page(clean, {}), to_json(clean).decode()):
        assert secret not in text and "hunter2" not in text and "other-secret-1" not in text
    assert [link.title for link in clean.notebooks[0].links] == ["notebook"]
