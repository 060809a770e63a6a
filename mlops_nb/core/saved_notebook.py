"""A notebook as it is saved: only its code cells, without their outputs, which may be large."""

from __future__ import annotations

import hashlib

import msgspec

from mlops_nb.core.provenance import Notebook, Place


class _Cell(msgspec.Struct):
    cell_type: str = ""
    id: str | None = None
    source: str | list[str] = ""


class _Document(msgspec.Struct):
    cells: list[_Cell] = []


_DECODER = msgspec.json.Decoder(_Document)


def hash_of(source: str) -> str:
    """Return the SHA-256 of a source in hex, as the ledger has it."""
    return hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()


def parse_notebook(content: bytes, *, saved_at: int) -> Notebook | None:
    """Return the code cells of a file; None if it is no notebook.

    Args:
        content: The file.
        saved_at: When it was saved (ms since 1970 UTC).
    """
    try:
        document = _DECODER.decode(content)
    except msgspec.MsgspecError:
        return None
    places = []
    for position, cell in enumerate(document.cells):
        if cell.cell_type == "code":
            source = cell.source if isinstance(cell.source, str) else "".join(cell.source)
            if source.strip():
                places.append(Place(cell_id=cell.id, position=position, source=source, source_hash=hash_of(source)))
    return Notebook(places=places, saved_at=saved_at)
