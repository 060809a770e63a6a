"""From a report to files: each appears whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from urllib.parse import quote

from mlops_nb.errors import InvalidInput, MlopsError, PermissionDenied
from mlops_nb.reports.content import Report
from mlops_nb.reports.document import Document
from mlops_nb.reports.figures import draw_figures
from mlops_nb.reports.markdown import to_markdown
from mlops_nb.reports.outline import outline
from mlops_nb.reports.page import to_html


def write_report(report: Report, *, markdown: Path | None = None, html: Path | None = None, figures: bool = True) -> list[Path]:
    """Write a report as Markdown, as HTML or both, over what is there.

    The images of `DIR/NAME.md` lie in `DIR/NAME_files/`; an HTML file holds its own. Missing folders are made.

    Args:
        report: The data, from `build_report`.
        markdown: Where the Markdown goes.
        html: Where the HTML goes.
        figures: Draw curves and bars, which needs Matplotlib.

    Returns:
        The files written: the documents first, then the images.
    Raises:
        InvalidInput: If neither file is asked for.
        MissingDependencyError: If there is something to draw and Matplotlib is not installed.
        PermissionDenied: If a folder or file may not be written.
        MlopsError: If writing fails for another reason, such as a full disk.
    """
    if markdown is None and html is None:
        raise InvalidInput("The report has no place to go.", hint="Name a .md or .html file.")
    return write_document(outline(report, draw_figures(report, dark=html is not None) if figures else []), markdown=markdown, html=html)


def write_document(document: Document, *, markdown: Path | None = None, html: Path | None = None) -> list[Path]:
    """Write a document as Markdown, as HTML or both; see `write_report`."""
    documents: list[Path] = []
    images: list[Path] = []
    if markdown is not None:
        folder = markdown.with_name(f"{markdown.stem}_files")
        paths: dict[str, str] = {}
        for image in (image for block in document.blocks for image in block.images):
            write_file(folder / image.name, image.light)
            images.append(folder / image.name)
            paths[image.name] = quote(f"{folder.name}/{image.name}")
        # After its images: a reader never finds a page whose images are still to come.
        write_file(markdown, to_markdown(document, paths).encode("utf-8"))
        documents.append(markdown)
    if html is not None:
        write_file(html, to_html(document).encode("utf-8"))
        documents.append(html)
    return [*documents, *images]


def write_file(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; missing folders are made.

    Raises:
        PermissionDenied: If it may not be written.
        MlopsError: If writing fails for another reason, such as a full disk.
    """
    partial = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except PermissionError as error:
        raise PermissionDenied(f"The report may not be written to {path} ({error.strerror}).", hint="Name a folder of yours.") from error
    except OSError as error:
        raise MlopsError(f"The report could not be written to {path}: {error.strerror}.", hint="Name another file.") from error
