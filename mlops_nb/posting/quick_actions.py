"""Lines of a report that GitLab would obey: `/close`, `/merge` and other quick actions, done with the rights of the token.

GitLab looks at the beginning of each line, except between "```" and a line that is "```" alone, and takes the line away.
With a backslash before it the line is shown as it was written.

Source: `Gitlab::QuickActions::Extractor`, and "GitLab quick actions" in docs.gitlab.com.
"""

from __future__ import annotations

import re
from typing import Final

_FENCE: Final = "```"
_ACTION: Final = re.compile(r"/[A-Za-z_]+(?=\s|\Z)")


def as_text(markdown: str) -> str:
    """Return the markdown in which every quick action is text; nothing else changes."""
    lines = markdown.splitlines(keepends=True)
    plain = [line.rstrip("\r\n") for line in lines]
    found, until = [], -1
    last_closing = max((place for place, line in enumerate(plain) if line == _FENCE), default=-1)
    for place, line in enumerate(lines):
        if place > until and plain[place].startswith(_FENCE) and place < last_closing:
            until = plain.index(_FENCE, place + 1)
        found.append(f"\\{line}" if place > until and _ACTION.match(line) else line)
    return "".join(found)
