"""A document as one HTML file: no script, nothing loaded from elsewhere, light and dark, fit to print."""

from __future__ import annotations

import base64
import functools

import jinja2

from mlops_nb.reports.document import Document, Tone

# Signs that every text font has, unlike emoji.
_SIGNS: dict[Tone, str] = {"good": "✓", "bad": "✗", "warning": "!", "open": "…", "neutral": "="}


def to_html(document: Document) -> str:
    """Return the document as a page with its images in it."""
    return _template().render(document=document, sign=_SIGNS[document.tone])


@functools.cache
def _template() -> jinja2.Template:
    loader = jinja2.PackageLoader("mlops_nb.reports")
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    environment.filters["base64"] = lambda content: base64.b64encode(content).decode("ascii")
    return environment.get_template("report.html.j2")
