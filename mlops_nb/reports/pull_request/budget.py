"""What of a report fits into a comment: the important first, and what is left out is counted.

A report is groups (notebooks) of sections (tables, pictures, cells) of items. Every item has a rank; those of a low rank
are taken first, by weight within a rank. The sum of what is taken is kept in both measures that a forge may count in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from mlops_nb.reports.pull_request.flavors import Flavor, units

VERDICT, GATES, FACTS, PLOTS, CELLS, LISTS = range(6)
"""Ranks, from what is never cut to what is cut first."""


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """A piece that is shown whole or not at all: a row of a table, a cell. `render` makes its text when it is its turn."""

    render: Callable[[], str]
    rank: int
    weight: float = 0.0


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """Items under a common head, such as that of a table. `more` is how many of them nobody will ask for: they are only counted."""

    items: list[Item]
    noun: str
    head: str = ""
    title: str = ""
    folded: bool = False
    more: int = 0

    @property
    def between(self) -> str:
        """What stands between two items: rows of a table must follow each other."""
        return "\n" if self.head else "\n\n"

    def text(self, flavor: Flavor, chosen: Sequence[str]) -> str:
        """Return the section with the items that were chosen; nothing without any."""
        left = len(self.items) - len(chosen) + self.more
        if not chosen:
            return ""
        body = self.between.join([*([self.head] if self.head else []), *chosen])
        if left:
            body += f"\n\n{left:,} more {self.noun} in the full report."
        if self.folded:
            return flavor.folded(self.title, body)
        return f"{flavor.strong(self.title)}\n\n{body}" if self.title else body


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """The sections of a notebook under its headline."""

    head: str
    sections: list[Section]


class _Room:
    """What is left of a comment's length."""

    def __init__(self, flavor: Flavor, *taken: str) -> None:
        self.characters, self.bytes = flavor.characters, flavor.bytes
        for text in taken:
            self.take(text)

    def take(self, *texts: str) -> bool:
        """Take room for texts and the blank lines around them; False leaves all as it is."""
        characters = sum(units(text) + 2 for text in texts)
        size = sum(len(text.encode("utf-8")) + 2 for text in texts)
        if characters > self.characters or size > self.bytes:
            return False
        self.characters -= characters
        self.bytes -= size
        return True


def fit(start: Sequence[str], groups: Sequence[Group], end: str, flavor: Flavor) -> str:
    """Return a comment that its forge takes.

    Args:
        start: What stands first and is never cut; it must be short.
        groups: What may be cut.
        end: What stands last and is never cut.
        flavor: Of the forge.
    """
    more_groups = f"{len(groups):,} more notebooks in the full report."
    room = _Room(flavor, *start, end, more_groups, "\n")
    chosen: dict[tuple[int, int], dict[int, str]] = {}
    opened: set[int] = set()
    places = [
        (g, s, i, item) for g, group in enumerate(groups) for s, part in enumerate(group.sections) for i, item in enumerate(part.items)
    ]
    for g, s, i, item in sorted(places, key=lambda place: (place[3].rank, -place[3].weight, place[0], place[1], place[2])):
        group, section = groups[g], groups[g].sections[s]
        text = item.render()
        needed = [text]
        if (g, s) not in chosen:
            # Its frame, and the line that counts what is left out.
            needed += [section.text(flavor, ["\n"]), f"{len(section.items) + section.more:,} more {section.noun} in the full report."]
        if g not in opened:
            needed.append(group.head)
        if text and room.take(*needed):
            chosen.setdefault((g, s), {})[i] = text
            opened.add(g)
    parts = list(start)
    for g, group in enumerate(groups):
        if g in opened:
            texts = [
                section.text(flavor, [text for _, text in sorted(chosen.get((g, s), {}).items())])
                for s, section in enumerate(group.sections)
            ]
            parts += [part for part in (group.head, *texts) if part]
    if left := len(groups) - len(opened):
        parts.append(f"{left:,} more {'notebook' if left == 1 else 'notebooks'} in the full report.")
    return "\n\n".join([*parts, end]) + "\n"
