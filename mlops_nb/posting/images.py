"""The images that a markdown text shows, each with the place of its address in the text.

A real parser says what is an image and what only looks like one (code, escapes, comments). Only the addresses are
replaced; every other character stays as its author wrote it.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from typing import Any

from mlops_nb.core.records import Record

_SOURCE = re.compile(r"""\bsrc\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'=<>`]+))""", re.IGNORECASE)
_LINE_END = re.compile(r"\r\n|\r|\n")
_MARKDOWN_ENDS = re.compile(r"[\s()<>\\]")


class Shown(Record, frozen=True, kw_only=True):
    """An image. `start` and `end` are the place of its address in the text; `address` is what that means, unescaped."""

    start: int
    end: int
    address: str
    is_html: bool = False


def images(markdown: str) -> list[Shown]:
    """Return the images that a text shows, in the order of their addresses in it; a definition used twice is there once."""
    from markdown_it import MarkdownIt

    found = _Found(markdown)
    parser = MarkdownIt("commonmark", {"maxNesting": 40}).enable("table")
    parser.inline.ruler.at("image", found.image_rule(parser))
    parser.inline.ruler.at("html_inline", found.html_rule(parser))
    tokens = _blocks(parser, markdown, found)
    for token in tokens:
        if token.type == "html_block" and token.map:
            found.html_block(token.content, token.map[0])
    unique = {shown.start: shown for shown in found.shown}
    return [unique[start] for start in sorted(unique)]


def replaced(markdown: str, shown: Sequence[Shown], addresses: Mapping[int, str]) -> str:
    """Return the text with the addresses of the images that start at these places replaced."""
    for one in sorted(shown, key=lambda image: -image.start):
        if (address := addresses.get(one.start)) is not None:
            written = html.escape(address, quote=True) if one.is_html else _MARKDOWN_ENDS.sub(lambda m: f"%{ord(m[0]):02X}", address)
            if one.is_html and one.start and markdown[one.start - 1] not in "\"'":
                written = f'"{written}"'
            markdown = markdown[: one.start] + written + markdown[one.end :]
    return markdown


def _blocks(parser: Any, markdown: str, found: _Found) -> list[Any]:
    """Parse block by block, so that each inline text knows the lines it stands on."""
    parser.core.ruler.enableOnly(["normalize", "block"])
    tokens: list[Any] = parser.parse(markdown, found.environment)
    row: tuple[int, int] | None = None
    for token in tokens:
        if token.type == "tr_open":
            row, found.cell_from = token.map, 0
        elif token.type == "tr_close":
            row = None
        if token.type == "inline":
            at = row or token.map
            if at:
                found.enter(token.content, at[0], in_row=row is not None)
                parser.inline.parse(token.content, parser, found.environment, [])
    return tokens


class _Found:
    """Collects images while a parser goes through a text."""

    def __init__(self, markdown: str) -> None:
        self.environment: dict[str, Any] = {}
        self.shown: list[Shown] = []
        self.cell_from = 0
        self._markdown = markdown
        self._lines = _LINE_END.split(markdown)
        self._starts = [0, *(match.end() for match in _LINE_END.finditer(markdown)), len(markdown) + 1]
        self._content = ""
        self._places: list[int | None] = []
        self._depth = 0

    def enter(self, content: str, first: int, *, in_row: bool) -> None:
        """Note where each line of an inline text begins in the whole; None where that is not sure."""
        self._content, self._places = content, []
        for number, line in enumerate(content.split("\n")):
            source = self._lines[first + number].rstrip() if first + number < len(self._lines) else ""
            part = line.rstrip()
            if in_row:
                at = source.find(part, self.cell_from)
                self.cell_from = at + len(part) if at >= 0 else self.cell_from
            elif source.endswith(part):
                at = len(source) - len(part)
            else:
                at = source.find(part) if source.count(part) == 1 else -1
            self._places.append(None if at < 0 or not part else self._starts[first + number] + at)

    def image_rule(self, parser: Any) -> Any:
        from markdown_it.rules_inline.image import image

        def rule(state: Any, silent: bool) -> bool:
            start = state.pos
            self._depth += 1  # an image within the description of another is not shown
            try:
                matched = image(state, silent)
            finally:
                self._depth -= 1
            if matched and not silent and self._depth == 0 and state.src == self._content:
                self._image(state, parser, start, state.pos)
            return matched

        return rule

    def _image(self, state: Any, parser: Any, start: int, end: int) -> None:
        after, state.pos = state.pos, start
        label_end = parser.helpers.parseLinkLabel(state, start + 1, False)
        state.pos = after
        if label_end < 0:
            return
        position = label_end + 1
        if position < end and state.src[position] == "(":
            position += 1
            while position < end and state.src[position] in " \t\r\n":
                position += 1
            destination = parser.helpers.parseLinkDestination(state.src, position, end)
            if destination.ok and destination.str:
                self._add_inline(position, destination.pos, destination.str)
            return
        self._definition(parser, state.src[start:end], label_end - start)

    def _definition(self, parser: Any, written: str, label_end: int) -> None:
        from markdown_it.common.utils import normalizeReference

        label = written[label_end + 2 : -1] if written[label_end + 1 : label_end + 2] == "[" else ""
        known = self.environment.get("references", {}).get(normalizeReference(label or written[2:label_end]))
        if not known or not known.get("map"):
            return
        first, last = known["map"]
        begin, stop = self._starts[first], self._starts[min(last, len(self._lines))] - 1
        colon = self._markdown.find("]:", begin, stop)
        if colon < 0:
            return
        position = colon + 2
        while position < stop and self._markdown[position] in " \t\r\n>":
            position += 1
        destination = parser.helpers.parseLinkDestination(self._markdown, position, stop)
        if destination.ok and destination.str:
            self._add(position, destination.pos, destination.str)

    def html_rule(self, parser: Any) -> Any:
        from markdown_it.rules_inline.html_inline import html_inline

        def rule(state: Any, silent: bool) -> bool:
            start = state.pos
            matched = html_inline(state, silent)
            if matched and not silent and self._depth == 0 and state.src == self._content:
                for begin, end, address in _html_images(state.src[start : state.pos]):
                    self._add_inline(start + begin, start + end, address, is_html=True)
            return matched

        return rule

    def html_block(self, content: str, first: int) -> None:
        """Note the images of a block of HTML that begins on a line."""
        self.enter(content.rstrip("\n"), first, in_row=False)
        for begin, end, address in _html_images(self._content):
            self._add_inline(begin, end, address, is_html=True)

    def _add_inline(self, start: int, end: int, address: str, *, is_html: bool = False) -> None:
        line = self._content.count("\n", 0, start)
        line_start = self._content.rfind("\n", 0, start) + 1
        place = self._places[line] if line < len(self._places) else None
        if place is not None:
            self._add(place + start - line_start, place + end - line_start, address, is_html=is_html)

    def _add(self, start: int, end: int, address: str, *, is_html: bool = False) -> None:
        if not is_html and self._markdown[start : start + 1] == "<" and self._markdown[end - 1 : end] == ">":
            start, end = start + 1, end - 1
        self.shown.append(Shown(start=start, end=end, address=address, is_html=is_html))


class _Images(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[int, int, str]] = []
        self._starts = [0]
        for line in text.split("\n"):
            self._starts.append(self._starts[-1] + len(line) + 1)
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        written = self.get_starttag_text() or ""
        address = dict(reversed(attrs)).get("src")
        match = _SOURCE.search(written, len(tag) + 1)
        if tag == "img" and address and match:
            group = next(number for number in (1, 2, 3) if match[number] is not None)
            line, column = self.getpos()
            offset = self._starts[line - 1] + column
            if html.unescape(match[group]) == address:
                self.found.append((offset + match.start(group), offset + match.end(group), address))

    handle_startendtag = handle_starttag


def _html_images(text: str) -> list[tuple[int, int, str]]:
    return _Images(text).found
