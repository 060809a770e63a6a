"""Where a cell stands in the file of its notebook, for remarks beside its lines."""

from __future__ import annotations

import json
from pathlib import Path


def line_of_cell(notebook: Path, number: int) -> int:
    """Return the line of a notebook's file where a code cell begins, 1 where that cannot be told."""
    try:
        text = notebook.read_text(encoding="utf-8")
        cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
        source = cells[number - 1]["source"]
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return 1
    first = source[0] if isinstance(source, list) and source else source
    same = sum(1 for cell in cells[: number - 1] if (cell["source"][:1] or [""])[0] == first) if isinstance(source, list) else 0
    written = json.dumps(first, ensure_ascii=False) if first else '"source"'
    lines = [count for count, line in enumerate(text.splitlines(), 1) if line.strip().rstrip(",") == written]
    return lines[same] if same < len(lines) else 1
