"""A pull-request report on the disk: its data, its pictures, its Markdown and its page, each written whole or not at all."""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlops_nb.errors import InvalidInput
from mlops_nb.reports.pull_request.data import MAX_BYTES, PullRequestReport, check_image, read, to_json
from mlops_nb.reports.pull_request.flavors import GITHUB, Flavor
from mlops_nb.reports.pull_request.markdown import to_markdown
from mlops_nb.reports.pull_request.page import to_page
from mlops_nb.reports.pull_request.redacting import redacted
from mlops_nb.reports.writing import write_file


def write_pull_request_report(
    report: PullRequestReport,
    files: Mapping[str, bytes],
    *,
    markdown: Path | None = None,
    html: Path | None = None,
    json: Path | None = None,
    flavor: Flavor = GITHUB,
    hosts: Sequence[str] | None = None,
) -> list[Path]:
    """Write a report without secrets, over what is there.

    Pictures go into `report_files/` beside the Markdown and beside the data; a page holds its own.

    Args:
        report: The data.
        files: Content of its pictures by path; those that are not there are left out of the page.
        markdown, html, json: Where it goes; what is not named is not written.
        flavor: Of the forge that the Markdown is for.
        hosts: Hosts that links may lead to; None: any.

    Returns:
        The files written: the documents, then the pictures.

    Raises:
        InvalidInput: If nothing is asked for, or the report is beyond what `read` takes.
        PermissionDenied: If a file may not be written.
    """
    if markdown is None and html is None and json is None:
        raise InvalidInput("The report has no place to go.", hint="Name a .md, .html or .json file.")
    clean = redacted(report)
    folders = dict.fromkeys(path.parent for path in (markdown, json) if path is not None)
    pictures = [folder / image.path for folder in folders for image in clean.images if image.path in files]
    # Pictures first: nobody ever finds a report whose pictures are still to come.
    for folder in folders:
        for image in clean.images:
            if image.path in files:
                write_file(folder / image.path, files[image.path])
    documents = []
    if json is not None:
        content = to_json(clean)
        read(content)
        write_file(json, content)
        documents.append(json)
    if html is not None:
        write_file(html, to_page(clean, files, hosts=hosts).encode("utf-8"))
        documents.append(html)
    if markdown is not None:
        write_file(markdown, to_markdown(clean, flavor, hosts=hosts).encode("utf-8"))
        documents.append(markdown)
    return [*documents, *pictures]


def load(path: Path) -> tuple[PullRequestReport, dict[str, bytes]]:
    """Read a report with the pictures beside it, whoever wrote both. Pictures that are not there are left out.

    Raises:
        InvalidInput: If the data is refused, or a file is not the picture that it names.
        OSError: If the data cannot be read.
    """
    about = path.lstat()
    if not stat.S_ISREG(about.st_mode):
        raise InvalidInput(f"{path} is no file of its own.", hint="Name report.json; links are not followed.")
    if about.st_size > MAX_BYTES:
        raise InvalidInput(f"{path} has {about.st_size:,} bytes: that is no report.", hint="Name report.json.")
    report = read(path.read_bytes())
    folder = path.parent.resolve()
    files = {}
    for image in report.images:
        # A link could lead out of the folder.
        file = (folder / image.path).resolve()
        if file.is_file() and file.is_relative_to(folder) and file.stat().st_size == image.size:
            content = file.read_bytes()
            check_image(image, content)
            files[image.path] = content
    return report, files
