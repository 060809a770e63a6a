"""A report before anybody posts it: shown as a reviewer would see it, and written where it is wanted."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from mlops_nb.errors import InvalidInput, did_you_mean
from mlops_nb.reports.pull_request.data import PullRequestReport
from mlops_nb.reports.pull_request.files import load, write_pull_request_report
from mlops_nb.reports.pull_request.flavors import FLAVORS, GITHUB, Flavor, units
from mlops_nb.reports.pull_request.markdown import to_markdown
from mlops_nb.reports.pull_request.page import to_page
from mlops_nb.reports.pull_request.redacting import redacted

_CARD_BYTES = 20_000
"""So much may a report leave in the notebook that shows it: a report of 40 plots would make it unreadable in a diff."""
_TEXT_CHARACTERS = 4_000


def flavor_of(forge: str) -> Flavor:
    """Return the Markdown of a forge.

    Raises:
        InvalidInput: If there is no such forge.
    """
    if forge not in FLAVORS:
        raise InvalidInput(f"There is no forge '{forge}'.", hint=did_you_mean(forge, FLAVORS) or f"Use {', '.join(FLAVORS)}.")
    return FLAVORS[forge]


class Preview:
    """A report for one forge.

    Attributes:
        data: What it holds, without secrets.
        files: Its pictures by path.
        flavor: Of the forge.
    """

    def __init__(
        self, data: PullRequestReport, files: Mapping[str, bytes], flavor: Flavor = GITHUB, *, hosts: Sequence[str] | None = None
    ) -> None:
        self.data = redacted(data)
        self.files = dict(files)
        self.flavor = flavor
        self._hosts = hosts

    @classmethod
    def open(cls, path: str | Path, *, forge: str = "github", hosts: Sequence[str] | None = None) -> Preview:
        """Read a report that was written as JSON, with the pictures beside it.

        Args:
            path: The file.
            forge: `github`, `gitlab` or `bitbucket`.
            hosts: Hosts that links may lead to, where a stranger may have written it; None: any.

        Raises:
            InvalidInput: If it is no report, or a picture is another file than it says.
        """
        flavor = flavor_of(forge)
        data, files = load(Path(path))
        return cls(data, files, flavor, hosts=hosts)

    def to_markdown(self) -> str:
        """Return what would be posted."""
        return to_markdown(self.data, self.flavor, hosts=self._hosts)

    def to_html(self) -> str:
        """Return the page with all that is known, pictures in it."""
        return to_page(self.data, self.files, hosts=self._hosts)

    def write(self, *, markdown: Path | None = None, html: Path | None = None, json: Path | None = None) -> list[Path]:
        """Write it; pictures lie in `report_files/` beside the Markdown and the JSON. See `write_pull_request_report`."""
        return write_pull_request_report(
            self.data, self.files, markdown=markdown, html=html, json=json, flavor=self.flavor, hosts=self._hosts
        )

    def export(self, path: str | Path) -> Path:
        """Write it as Markdown, page or data, as the name ends.

        Raises:
            InvalidInput: If the name ends otherwise.
        """
        path = Path(path).expanduser()
        kinds = {".md": "markdown", ".html": "html", ".htm": "html", ".json": "json"}
        if path.suffix.lower() not in kinds:
            raise InvalidInput(f"A report cannot be written as '{path.name}'.", hint="Let the name end in .md, .html or .json")
        self.write(**{kinds[path.suffix.lower()]: path})
        return path

    def length(self) -> str:
        """Return how much of what the forge takes is used."""
        return f"{units(self.to_markdown()):,} of {self.flavor.characters:,} characters on {self.flavor.name}"

    def for_terminal(self, characters: int | None = None) -> str:
        """Return Markdown for a terminal, which shows no HTML; of the most important at most so many characters."""
        plain = msgspec.structs.replace(self.flavor, has_html=False, characters=characters or self.flavor.characters)
        text = to_markdown(self.data, plain, hosts=self._hosts)
        return re.sub(r"^\[//\]: # .*\n+", "", text)

    def __str__(self) -> str:
        return self.for_terminal()

    def __repr__(self) -> str:
        return f"<report of {', '.join(each.key for each in self.data.notebooks[:3])}: {self.length()}>"

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        return {"text/plain": self.for_terminal(_TEXT_CHARACTERS), "text/html": self._card()}

    def _card(self) -> str:
        """Return the report as HTML that may be saved in a notebook: the most important of it, pictures by name only."""
        room = _CARD_BYTES - _TEXT_CHARACTERS
        characters = min(room, self.flavor.characters)
        while True:
            text = to_markdown(self.data, msgspec.structs.replace(self.flavor, characters=characters), hosts=self._hosts)
            card = self._as_card(text)
            # HTML is longer than its Markdown, by how much depends on the report.
            if len(card.encode("utf-8")) <= room or characters < _TEXT_CHARACTERS // 4:
                return card
            characters = int(characters * 0.8)

    def _as_card(self, markdown: str) -> str:
        from markdown_it import MarkdownIt

        rendered = MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown)
        shown = re.sub(r'<img src="[^"]*" alt="([^"]*)" ?/?>', r"<em>\1</em>", rendered)
        said = [self.length(), "nothing has been posted"]
        if self.data.images:
            said.append(f"with its {len(self.data.images):,} pictures by .export('report.html')")
        return f'<div class="mlops-nb-report" style="max-width:60rem">{shown}<p><small>{html.escape("; ".join(said))}.</small></p></div>'
