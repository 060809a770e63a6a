"""How a comment of ours is known again: an invisible mark at its very beginning.

The first line names what the comment is about (its key), the second the run that wrote it. Both are at the beginning of
the text and nowhere else: what a report holds cannot pose as another report's comment. GitHub and GitLab hide HTML
comments; Bitbucket shows them, but hides the definition of a link, so there the mark is one.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from mlops_nb.core.records import Record
from mlops_nb.forges.base import ForgeKind
from mlops_nb.reports.pull_request.flavors import FLAVORS

_HTML = re.compile(
    r"\s*<!-- mlops-nb:report:(?P<key>[^>\r\n]{0,2000}?) -->(?:\r?\n<!-- mlops-nb:by:(?P<by>[^\s>]{0,500}) -->)?[ \t]*(?:\r?\n|\Z)"
)
_DEFINITION = re.compile(
    r"\s*\[//\]: # \(mlops-nb:report:(?P<key>[^()\r\n]{0,2000})\)"
    r"(?:\r?\n\[//\]: # \(mlops-nb:by:(?P<by>[^\s()]{0,500})\))?[ \t]*(?:\r?\n|\Z)"
)
_CML = re.compile(r'!\[\]\(https://cml\.dev/watermark\.png(?:#[0-9a-fA-F]*)? "CML watermark(?P<label>[^\n]{0,1000})"\)\s*\Z')
_ESCAPED = re.compile(r"\\([\\_*\[<&])")
_SAFE = "/.@+,=_~"


class Writer(Record, frozen=True, kw_only=True):
    """Who wrote a comment: run and attempt of a workflow, the job's own name in it, and the commit; "" where unknown.

    `run` grows from run to run of a repository where it is a number.
    """

    run: str = ""
    attempt: str = ""
    job: str = ""
    commit: str = ""

    def is_newer_than(self, other: Writer) -> bool:
        """Return whether this is a later run of another commit: what it says is fresher."""
        numbers = self.run.isdecimal() and other.run.isdecimal()
        return numbers and int(self.run) > int(other.run) and bool(self.commit and other.commit) and self.commit != other.commit

    def is_sibling_of(self, other: Writer) -> bool:
        """Return whether another job of the same run, such as another of its matrix, wrote it."""
        same_run = bool(self.run) and (self.run, self.attempt) == (other.run, other.attempt)
        return same_run and bool(self.job and other.job) and self.job != other.job


class Mark(Record, frozen=True, kw_only=True):
    """What the beginning of a comment says. `untitled`: nobody has named it, the key was made from the place."""

    key: str
    writer: Writer
    untitled: bool = False


def marked(body: str, mark: Mark, kind: ForgeKind) -> str:
    """Return a text with its mark, instead of the one that it may have."""
    lines = (f"mlops-nb:report:{_encoded(mark.key)}", f"mlops-nb:by:{_written(mark)}")
    flavor = FLAVORS[kind]
    gap = "" if flavor.has_html else "\n"
    return "".join(f"{flavor.unseen(line)}\n" for line in lines) + gap + unmarked(body)


def unmarked(body: str) -> str:
    """Return a text without the mark at its beginning."""
    found = _found(body)
    return body if found is None else body[found.end() :]


def mark_of(body: str) -> Mark | None:
    """Return the mark at the beginning of a text, or None."""
    found = _found(body)
    if found is None:
        return None
    parts = [unquote(part) for part in (found["by"] or "").split(":")]
    run, attempt, job, commit, untitled = (*parts, "", "", "", "", "")[:5]
    writer = Writer(run=run, attempt=attempt, job=job, commit=commit)
    return Mark(key=unquote(found["key"]), writer=writer, untitled=untitled == "untitled")


def cml_label(body: str) -> str | None:
    """Return the title of the watermark that CML has put at the end of a text, or None; "" is a watermark without one."""
    found = _CML.search(body)
    return None if found is None else _ESCAPED.sub(r"\1", found["label"]).strip()


def _found(body: str) -> re.Match[str] | None:
    return _HTML.match(body) or _DEFINITION.match(body)


def _encoded(text: str) -> str:
    return quote(text, safe=_SAFE).replace("-", "%2D") if "--" in text or text.endswith("-") else quote(text, safe=_SAFE)


def _written(mark: Mark) -> str:
    writer = mark.writer
    parts = (writer.run, writer.attempt, writer.job, writer.commit, "untitled" if mark.untitled else "")
    return ":".join(quote(part, safe="").replace("-", "%2D") for part in parts)
