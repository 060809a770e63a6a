"""A markdown text of others cut to a length, at a place where nothing is left open."""

from __future__ import annotations

import re

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")
_DETAILS = re.compile(r"<(/?)details\b", re.IGNORECASE)
_QUOTED = re.compile(r"(`+)(?:(?!\1)[^\n])*\1")


def cut(markdown: str, characters: int, note: str) -> str:
    """Return a markdown text that is no longer than so many characters; one that was cut ends with the note.

    The cut comes after a whole line, outside of code fences, `<details>` and HTML comments where there is such a place;
    else what is open there is closed.

    Args:
        markdown: The text.
        characters: The most that may come out; characters as Python counts them.
        note: A paragraph that says what is missing and where all of it is.
    """
    if len(markdown) <= characters:
        return markdown
    ending = f"\n\n{note}\n"
    room = characters - len(ending)
    if room <= 0:
        return note[:characters]
    safe, rough, closing = _places(markdown, room)
    if safe >= room // 2:
        return markdown[:safe].rstrip() + ending
    return markdown[:rough].rstrip("\n") + closing + ending


def _places(markdown: str, room: int) -> tuple[int, int, str]:
    """Return the last place in `room` where nothing is open; and the last one with what closes there all that is open."""
    position = safe = rough = 0
    fence, depth, comment, closing = "", 0, False, ""
    for line in markdown.splitlines(keepends=True):
        fence, depth, comment = _after(line.rstrip("\r\n"), fence, depth, comment)
        position += len(line)
        ends = ("\n-->" if comment else "") + (f"\n{fence}" if fence else "") + "\n\n</details>" * depth
        if position + len(ends) > room:
            break
        rough, closing = position, ends
        if not ends:
            safe = position
    if rough == 0:  # one line longer than all there is room for
        rough, closing = room, ""
    return safe, rough, closing


def _after(line: str, fence: str, depth: int, comment: bool) -> tuple[str, int, bool]:
    """Return what is open after a line: the fence, the number of details, and whether a comment."""
    if fence:
        closed = line.strip() and set(line.strip()) == {fence[0]} and len(line.strip()) >= len(fence) and len(line) - len(line.lstrip()) < 4
        return ("" if closed else fence), depth, comment
    if not comment:
        found = _FENCE.match(line)
        if found and not (found[1][0] == "`" and "`" in found[2]):
            return found[1], depth, comment
        line = _QUOTED.sub("", line)
    while line:
        if comment:
            _, closed_by, line = line.partition("-->")
            comment = not closed_by
            continue
        before, opened, line = line.partition("<!--")
        for tag in _DETAILS.finditer(before):
            depth = max(0, depth - 1) if tag[1] else depth + 1
        comment = bool(opened)
    return fence, depth, comment
