"""Reads the file in a form that was sent to a loopback forge."""

from __future__ import annotations

import io

from werkzeug.formparser import parse_form_data

from tests.forges.server import Request


def uploaded(request: Request, field: str) -> tuple[str, bytes]:
    """Return the name and content of the file in this field of a multipart form; two empty values where there is none."""
    environ = {
        "REQUEST_METHOD": request.method,
        "CONTENT_TYPE": request.headers.get("Content-Type", ""),
        "CONTENT_LENGTH": str(len(request.body)),
        "wsgi.input": io.BytesIO(request.body),
    }
    _, _, files = parse_form_data(environ)
    file = files.get(field)
    return (file.filename or "", file.read()) if file else ("", b"")
