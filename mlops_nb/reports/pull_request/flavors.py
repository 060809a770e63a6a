"""How each forge wants its Markdown: lengths, what of HTML it knows, and how texts of others come out as text.

Three kinds of text: ours, which may hold Markdown; `code`, names and values of people and programs, in which no forge
makes links, mentions or commands; `prose`, sentences of the data, which stay sentences where nothing in them could be more.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Sequence

import msgspec

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]{0,2000}(?:\x07|\x1b\\)?|[@-Z\\-_])")
# Runners act on `##[…]` and `##vso[…]` anywhere in a line of a log, on `::name::` at its beginning.
_COMMAND = re.compile(r"##(?=\[|vso\[)|^(\s*)::(?=[\w-])", re.IGNORECASE | re.MULTILINE)
_SAFE = re.compile(r"[\w .,;:()%→←–−±+=≥≤≈'’…·×·-]*")
# Addresses, commits, issues of GitHub and of trackers, milestones of GitLab, and what Markdown would format.
_ACTIVE = re.compile(
    r"www\.|://|\b(?:mailto|xmpp|javascript|data):|\b[0-9a-f]{7,}\b|\b[A-Z][A-Z0-9]+-\d|\bGH-|%\w|_|^\s*(?:[-+=]|\d+[.)])|::", re.IGNORECASE
)
_URL = re.compile(r"https?://[A-Za-z0-9._:-]{1,255}(?:/[A-Za-z0-9._~:/?#&=+,;%!$*-]{0,1500})?")


class Flavor(msgspec.Struct, frozen=True, kw_only=True):
    """A forge's Markdown. A comment may have `characters` (counted as UTF-16 units, the longest count in use) and `bytes`."""

    name: str
    characters: int
    bytes: int
    has_html: bool = True

    def fits(self, text: str) -> bool:
        """Return whether the forge takes a text."""
        return units(text) <= self.characters and len(text.encode("utf-8")) <= self.bytes

    # -- texts of others

    def code(self, text: str, limit: int = 80) -> str:
        """Return a name or value, shown as code; "–" for an empty one."""
        shown = one_line(text, limit)
        if not shown:
            return "–"
        if not self.has_html:
            return f"`{shown.replace('`', 'ˋ').replace('|', '¦')}`"
        if any(sign in shown for sign in "`|\\$"):
            return f"<code>{entities(shown)}</code>"
        return f"`{shown}`"

    def prose(self, text: str, limit: int = 300) -> str:
        """Return a sentence of the data: as it is if nothing in it can be more than text, else as code."""
        shown = one_line(text, limit)
        is_plain = _SAFE.fullmatch(shown) and not _ACTIVE.search(shown)
        return shown if is_plain or not shown else self.code(shown, limit)

    def link(self, title: str, url: str, hosts: Sequence[str] | None = None) -> str:
        """Return a link, or only its title where the address is none to be followed."""
        shown = one_line(title, 60)
        text = shown if re.fullmatch(r"[\w .,…-]+", shown) and not _ACTIVE.search(shown) else "link"
        return f"[{text}]({url})" if is_address(url, hosts) else self.prose(title, 60)

    def alt(self, text: str) -> str:
        """Return what stands for an image."""
        shown = one_line(text, 80)
        return entities(shown) if self.has_html else re.sub(r"[^\w .,-]+", " ", shown).replace("_", " ").strip()

    def image(self, text: str, path: str) -> str:
        """Return an image; `path` is one that the data's rules allow."""
        return f"![{self.alt(text)}]({path})"

    def fence(self, text: str, language: str = "diff") -> str:
        """Return lines as a block of code, between fences that are longer than any in it."""
        longest = max(map(len, re.findall(r"`{3,}", text)), default=2)
        return f"{'`' * (longest + 1)}{language}\n{text}\n{'`' * (longest + 1)}"

    def strong(self, text: str) -> str:
        """Return bold text."""
        return f"**{text}**"

    # -- forms

    def marker(self, key: str) -> str:
        """Return what identifies the report to whoever replaces it, and no reader sees."""
        shown = f"mlops-nb:report:{re.sub(r'[^A-Za-z0-9_./ -]+', '-', key).replace('--', '-')[:120].strip('- ') or 'report'}"
        return self.unseen(shown)

    def unseen(self, text: str) -> str:
        """Return a line that no reader sees: Bitbucket shows HTML comments, but hides the definition of a link."""
        return f"<!-- {text} -->" if self.has_html else f"[//]: # ({text})"

    def folded(self, title: str, body: str) -> str:
        """Return a part that opens on click; a heading where the forge knows none."""
        if not self.has_html:
            return f"#### {title}\n\n{body}"
        return f"<details><summary>{_as_html(title)}</summary>\n\n{body}\n\n</details>"

    def small(self, text: str) -> str:
        """Return a line of fine print."""
        return f"<sub>{text}</sub>" if self.has_html else f"_{text}_" if "_" not in text else text


GITHUB = Flavor(name="github", characters=65_536, bytes=262_144)
GITLAB = Flavor(name="gitlab", characters=1_000_000, bytes=1_000_000)
BITBUCKET = Flavor(name="bitbucket", characters=32_768, bytes=32_768, has_html=False)
FLAVORS = {flavor.name: flavor for flavor in (GITHUB, GITLAB, BITBUCKET)}


class PageFlavor(Flavor, frozen=True, kw_only=True):
    """Texts as HTML, for the page: it knows all that a browser does."""

    def code(self, text: str, limit: int = 200) -> str:
        shown = one_line(text, max(limit, 200))
        return f"<code>{html.escape(shown)}</code>" if shown else "–"

    def prose(self, text: str, limit: int = 2000) -> str:
        return html.escape(one_line(text, 2000))

    def link(self, title: str, url: str, hosts: Sequence[str] | None = None) -> str:
        shown = html.escape(one_line(title, 60))
        return f'<a href="{html.escape(url)}" rel="noreferrer nofollow">{shown}</a>' if is_address(url, hosts) else shown

    def strong(self, text: str) -> str:
        return f"<b>{text}</b>"


class PlainFlavor(Flavor, frozen=True, kw_only=True):
    """Texts for places that show them as they are, such as the title of a check."""

    def code(self, text: str, limit: int = 80) -> str:
        return one_line(text, limit) or "–"

    def strong(self, text: str) -> str:
        return text


PLAIN = PlainFlavor(name="plain", characters=2**40, bytes=2**40)
PAGE = PageFlavor(name="page", characters=2**40, bytes=2**40)


def units(text: str) -> int:
    """Return the length of a text in UTF-16 units."""
    return len(text) + sum(character > "\uffff" for character in text)


def is_address(url: str, hosts: Sequence[str] | None = None) -> bool:
    """Return whether a link may lead there: an address of the web without sign-in, of these hosts if any are given."""
    if not _URL.fullmatch(url):
        return False
    host = url.split("/", 3)[2].rsplit(":", 1)[0].lower()
    return hosts is None or host in {name.lower() for name in hosts}


def one_line(text: str, limit: int) -> str:
    """Return text on one line, without what is not seen or turns the writing around, and without commands to runners."""
    shown = " ".join("".join(map(_visible, _ANSI.sub("", text[: limit * 8]))).split())
    shown = _COMMAND.sub(_spaced, shown)
    return shown if len(shown) <= limit else f"{shown[: limit - 1].rstrip()}…"


def lines(text: str, limit: int = 400) -> list[str]:
    """Return the lines of a text, each cleaned like `one_line` but with its blanks."""
    kept = []
    for line in _ANSI.sub("", text).split("\n"):
        # A progress bar draws over its line again and again; only the last drawing is seen.
        last = line.rstrip("\r").rsplit("\r", 1)[-1][: limit * 4]
        shown = _COMMAND.sub(_spaced, "".join(map(_visible, last.expandtabs(4)))).rstrip()
        kept.append(shown if len(shown) <= limit else f"{shown[: limit - 1]}…")
    return kept


def entities(text: str) -> str:
    """Return text in which no character means anything to Markdown or HTML."""
    return "".join(c if c.isalnum() or c in " -," or ord(c) > 127 else f"&#{ord(c)};" for c in text)


def _visible(character: str) -> str:
    if character == " " or "!" <= character <= "~":
        return character
    category = unicodedata.category(character)
    if category == "Cf":  # joiners, marks of direction, tags: drawn as nothing
        return ""
    return " " if category[0] in "CZ" else character


def _spaced(match: re.Match[str]) -> str:
    return f"{match[1] or ''}: :" if match[0].endswith("::") else "# #"


def _as_html(title: str) -> str:
    """Return a title for `<summary>`, in which Markdown is not read: code spans as elements."""
    return re.sub(r"`([^`]*)`", lambda found: f"<code>{entities(found[1])}</code>", title)
