"""What Markdown a forge would read: parsed by markdown-it, and walked for what only hostile text could have made."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from markdown_it import MarkdownIt
from markdown_it.token import Token

PARSER = MarkdownIt("commonmark", {"html": True}).enable("table")
VOID = frozenset({"img", "br", "hr"})


class Elements(HTMLParser):
    """Collects elements, and what does not close."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.comments: list[str] = []
        self.text_outside_code = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)

    def handle_data(self, data: str) -> None:
        if not {"code", "pre", "a"} & set(self.open):
            self.text_outside_code += data


def elements(markdown: str) -> Elements:
    found = Elements()
    found.feed(PARSER.render(markdown))
    found.close()
    return found


def tokens(markdown: str) -> list[Token]:
    return [inner for token in PARSER.parse(markdown) for inner in (token, *(token.children or []))]


def assert_well_formed(markdown: str) -> None:
    """All that was opened is closed, and nothing is there that we do not write."""
    found = elements(markdown)
    assert not found.open and not found.wrong, (found.open, found.wrong)
    known = {
        "h3",
        "h4",
        "p",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "strong",
        "em",
        "code",
        "pre",
        "a",
        "img",
        "details",
        "summary",
        "sub",
    }
    assert {tag for tag, _ in found.seen} <= known, {tag for tag, _ in found.seen} - known
    for tag, attributes in found.seen:
        if tag == "img":
            assert re.fullmatch(r"report_files/[\w.-]+", attributes["src"] or ""), attributes
        if tag == "a":
            assert (attributes["href"] or "").startswith(("http://", "https://")), attributes
        assert not any(
            name.startswith("on") or (name == "style" and "text-align" not in (value or "")) for name, value in attributes.items()
        )
