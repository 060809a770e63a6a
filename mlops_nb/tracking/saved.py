"""Notebooks on this machine's disk."""

from __future__ import annotations

from pathlib import Path

from mlops_nb.core.provenance import Notebook
from mlops_nb.core.saved_notebook import hash_of, parse_notebook

__all__ = ["hash_of", "read_notebook"]


def read_notebook(path: Path | None) -> Notebook | None:
    """Return the code cells of a notebook; None if there is no such file, or it is being written, or is no notebook."""
    if path is None:
        return None
    try:
        return parse_notebook(path.read_bytes(), saved_at=path.stat().st_mtime_ns // 1_000_000)
    except OSError:
        return None
