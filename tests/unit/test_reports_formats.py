"""Markdown and HTML of a report stay what they are, whatever people put into names, params, tags and code."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token
from matplotlib.figure import Figure

from mlops_nb.core.comparison import compare
from mlops_nb.core.records import TAG_NOTE, TAG_NOTEBOOK, Artifact, CellExecution, Metric, Run, Series
from mlops_nb.core.run_state import RunStatus
from mlops_nb.reports.content import Picture, Report, RunPart
from mlops_nb.reports.document import Image, name
from mlops_nb.reports.figures import draw_figures
from mlops_nb.reports.markdown import to_markdown
from mlops_nb.reports.outline import outline
from mlops_nb.reports.page import to_html

HOSTILE = [
    "a|b",
    "`a`",
    "``a|b",
    "a`",
    "<script>alert(1)</script>",
    "</code></details><img src=x onerror=alert(1)>",
    "line one\n\n# heading\n- item",
    "--> <!--",
    "[click](javascript:alert(1))",
    "![x](http://evil.example/a.png)",
    "@octocat fixes #12",
    "http://evil.example www.evil.example",
    "**bold** _under_ ~~struck~~",
    "back\\slash\\|pipe",
    "&lt;b&gt; &#x3c;b&#x3e;",
    "🚀 naïve 日本",
    "\u202egnp.exe",
    "{{ 7 * 7 }}",
    "| --- |",
    "$x^2$",
    "x" * 5_000,
]


def png() -> bytes:
    stream = io.BytesIO()
    Figure(figsize=(1, 1)).savefig(stream, format="png")
    return stream.getvalue()


PNG = png()


def make_report(text: str, runs: int = 2) -> Report:
    """A report in which `text` stands wherever text of people or programs can stand."""
    made = [
        Run(
            run_id=f"{number}" * 32,
            experiment_id="1",
            name=text,
            status=RunStatus.FAILED,
            start_time=0,
            end_time=1,
            reason=text,
            user=text,
            params={"p": f"{text}{number}", text: "1"},
            tags={TAG_NOTEBOOK: text, TAG_NOTE: text, text: text},
            metrics={key: Metric(key=key, value=float(number), timestamp=0, cell=0) for key in ("val_auc", "val_loss", text)},
        )
        for number in range(1, runs + 1)
    ]
    comparison = compare(made[0], made[1:])
    cell = CellExecution(index=0, source=text, source_hash="0", started=0, error=text)
    parts = tuple(
        RunPart(
            run=run,
            label=label,
            series=[Series(key=text, total=2, points=[(0, 0, 1.0), (1, 1, 2.0)])],
            cells=[cell],
            artifacts=[Artifact(path=text, file_size=1, media_type=text)],
            pictures=[Picture(path=text, media_type="image/png", content=PNG)],
        )
        for run, label in zip(made, comparison.labels, strict=True)
    )
    return Report(title=text, created=0, comparison=comparison, parts=parts)


def figure_of(report: Report) -> Image:
    """Stands for a drawn figure, which would take its time."""
    return Image(name="01-x.png", caption=name(report.title), media_type="image/png", light=PNG, dark=PNG, titled=True)


def markdown_of(report: Report) -> str:
    document = outline(report, [figure_of(report)])
    return to_markdown(document, {image.name: f"files/{image.name}" for block in document.blocks for image in block.images})


def tokens_of(text: str) -> Iterator[Token]:
    for token in MarkdownIt("commonmark").enable("table").enable("strikethrough").parse(text):
        yield token
        yield from token.children or ()


OUR_HTML = re.compile(r"</?(details|summary|code|sub)>|<!-- mlops-nb:report:[\w./ -]* -->")
ENTITIES_ONLY = re.compile(r"[^<>]*")


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_text_leaves_its_place_in_the_markdown(text: str) -> None:
    markdown = markdown_of(make_report(text))
    for token in tokens_of(markdown):
        if token.type in ("html_block", "html_inline"):
            assert ENTITIES_ONLY.fullmatch(OUR_HTML.sub("", token.content)), token.content
        assert token.type not in ("link_open", "em_open", "s_open"), token
        if token.type == "image":
            assert str(token.attrGet("src")).startswith("files/")
        if token.type == "heading_open":
            assert token.tag in ("h3", "h4")
    assert "\u202e" not in markdown


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_every_row_of_every_table_has_as_many_cells_as_its_header(text: str) -> None:
    for runs in (1, 2, 3, 6):
        markdown = markdown_of(make_report(text, runs))
        tables = re.findall(r"(?:^\|.*\|$\n?)+", markdown, re.MULTILINE)
        assert len(tables) >= 5
        for table in tables:
            widths = {len(re.split(r"(?<!\\)\|", line)) for line in table.strip().splitlines()}
            assert len(widths) == 1, table
        parsed = [token.type for token in tokens_of(markdown)]
        assert parsed.count("table_open") == len(tables)


def test_what_people_wrote_is_shown_as_they_wrote_it() -> None:
    for text in ("a|b", "`a`", "<b> & \\", "**x**_y_", "{{ 7 }}"):
        shown = MarkdownIt("commonmark").enable("table").render(markdown_of(make_report(text)))
        parser = TextOnly()
        parser.feed(shown)
        assert f"{text} (111111)" in parser.text
    assert "49" not in to_html(outline(make_report("{{ 7 * 7 }}"), []))


class TextOnly(HTMLParser):
    """Collects the text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""

    def handle_data(self, data: str) -> None:
        self.text += data


class Inventory(HTMLParser):
    """Collects the elements and attributes of a page, and checks that it is well nested."""

    VOID = frozenset({"meta", "img", "source"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_the_page_has_no_script_and_loads_nothing(text: str) -> None:
    report = make_report(text)
    page = Inventory()
    page.feed(to_html(outline(report, [figure_of(report)])))
    assert page.open == []
    known = "html head meta title style body header h1 span code p main section h2 div table thead tr th tbody td b ul li figure picture"
    assert page.tags <= {*known.split(), "source", "img", "figcaption", "details", "summary", "footer"}
    for attribute, value in page.attributes:
        assert not attribute.startswith("on")
        assert attribute != "href"
        if attribute in ("src", "srcset"):
            assert (value or "").startswith("data:image/png;base64,")


def test_the_page_forbids_scripts_and_requests_even_if_one_slipped_in() -> None:
    page = to_html(outline(make_report("r"), []))
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in page
    assert "http://" not in page
    assert "https://" not in page


def test_the_page_follows_the_colours_of_the_system_with_a_dark_variant_of_each_figure() -> None:
    report = make_report("loss")
    figures = draw_figures(report)
    page = to_html(outline(report, figures))
    assert "prefers-color-scheme: dark" in page
    assert page.count("<source media") == len(figures) > 0


@settings(max_examples=60, deadline=None)
@given(st.text(min_size=1, max_size=40))
def test_any_text_gives_a_page_and_a_markdown_without_foreign_html(text: str) -> None:
    document = outline(make_report(text), [])
    for token in tokens_of(to_markdown(document, {})):
        if token.type in ("html_block", "html_inline"):
            assert ENTITIES_ONLY.fullmatch(OUR_HTML.sub("", token.content)), token.content
        assert token.type not in ("link_open", "image", "em_open")
    page = Inventory()
    page.feed(to_html(document))
    assert page.open == []


def test_the_template_is_part_of_the_package() -> None:
    import mlops_nb.reports

    assert (Path(mlops_nb.reports.__file__).parent / "templates" / "report.html.j2").exists()
