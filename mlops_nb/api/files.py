"""How bytes that users put there are answered: on this origin a script of theirs would be a shell."""

from __future__ import annotations

import posixpath
from urllib.parse import quote

from mlops_nb.store.artifacts import media_type_of

_POLICY = "sandbox; default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
_SHOWN = {
    "image/png": "image/png",
    "image/jpeg": "image/jpeg",
    "image/gif": "image/gif",
    "image/webp": "image/webp",
    "text/plain": "text/plain; charset=utf-8",
    "text/csv": "text/csv; charset=utf-8",
    "application/json": "application/json",
}
_OTHER = "application/octet-stream"


def file_headers(path: str) -> dict[str, str]:
    """Return the headers of a file's answer. Only a short list of types may be shown; all else is an attachment."""
    name = posixpath.basename(path) or "file"
    shown = _SHOWN.get(media_type_of(name) or "")
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\%;' else "_" for c in name)
    kind = "inline" if shown else "attachment"
    return {
        "Content-Type": shown or _OTHER,
        "Content-Disposition": f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}",
        "Content-Security-Policy": _POLICY,
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "private, no-cache",
    }
