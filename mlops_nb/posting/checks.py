"""Checks on a commit, on any forge; a second one of the same name on the same commit is an update."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import msgspec

from mlops_nb.config import Project
from mlops_nb.core.notebook_lines import line_of_cell
from mlops_nb.errors import InvalidInput
from mlops_nb.forges.base import Annotation, AnnotationLevel, Check, CheckStatus, Conclusion, Forge, ForgeNotFound, PostedCheck
from mlops_nb.posting.cutting import cut

log = logging.getLogger("mlops_nb.posting")

MAX_ANNOTATIONS_FILE = 32_000_000
_SHOWN = 1_000


def set_check(
    forge: Forge,
    *,
    commit: str,
    name: str,
    summary: str,
    status: CheckStatus,
    conclusion: Conclusion | None,
    annotations: Sequence[Annotation] = (),
    details_url: str | None = None,
    id: str | None = None,
    project: Project | None = None,
) -> PostedCheck:
    """Create a check, or update the one with this id, else the one of this name that this project set on the commit.

    Args:
        forge: Where.
        commit: On what.
        name: Which check it is, and its title.
        summary: Markdown; cut to what the forge takes.
        status: What it says; only a completed check gets a conclusion.
        conclusion: How it ended; `success` by default when it is completed, and left out otherwise.
        annotations: Remarks at lines of files; the forge's limit of them is kept.
        details_url: Where the forge links to.
        id: What an earlier call returned.
        project: Remembers the ids of checks, so that a later step of the job updates.
    """
    limit = forge.limits.check_summary_characters
    text = cut(summary, limit, "*The end of the summary is cut off here.*")
    if len(summary) > limit:
        log.warning("The summary has %d characters; %s takes %d: its end is cut off.", len(summary), forge.kind, limit)
    shown = tuple(annotations)[: forge.limits.check_annotations]
    if len(shown) < len(annotations):
        log.warning("%d of %d annotations are shown: %s takes no more.", len(shown), len(annotations), forge.kind)
    check = Check(
        name=name,
        commit=commit,
        status=status,
        conclusion=(conclusion or "success") if status == "completed" else None,
        title=name,
        summary=text,
        details_url=details_url,
        annotations=shown,
    )
    memory = None if project is None else _memory(project, forge, check)
    known = id or (memory.read_text(encoding="utf-8").strip() if memory is not None and memory.exists() else None)
    try:
        posted = forge.set_check(check, known)
    except ForgeNotFound:
        if id is not None or known is None:
            raise
        posted = forge.set_check(check)  # the remembered one is gone
    if memory is not None and project is not None:
        _remember(project, memory, posted.id)
    return posted


def _memory(project: Project, forge: Forge, check: Check) -> Path:
    about = "\n".join((forge.web_url, forge.repository, check.commit, check.name))
    return project.state_dir / "checks" / hashlib.sha256(about.encode()).hexdigest()[:32]


def _remember(project: Project, memory: Path, id: str) -> None:
    try:
        project.create()
        memory.parent.mkdir(mode=0o700, exist_ok=True)
        memory.write_text(id, encoding="utf-8")
    except OSError as error:
        log.debug("The id of the check is not remembered: %s", error)


def read_annotations(path: Path) -> list[Annotation]:
    """Return the annotations of a file: a report.json of `mlops-nb ci run`, or a list of our own.

    A list has objects with `path`, `line` and `message`, and as they like `level` (notice, warning, failure), `end_line`
    and `title`. Of a report the cells that failed are annotated.

    Raises:
        InvalidInput: If it is neither.
    """
    if path.stat().st_size > MAX_ANNOTATIONS_FILE:
        raise InvalidInput(f"{path} is larger than {MAX_ANNOTATIONS_FILE // 1_000_000} MB.")
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise InvalidInput(f"{path} is no JSON: {error}.") from None
    if isinstance(content, list):
        return _listed(content, path)
    if isinstance(content, dict):
        return _of_report(content, path)
    raise InvalidInput(f"{path} holds neither a report nor a list of annotations.")


def _listed(content: list[Any], path: Path) -> list[Annotation]:
    try:
        found = msgspec.convert(content[:_SHOWN], list[Annotation])
    except msgspec.ValidationError as error:
        raise InvalidInput(f"{path} holds no annotations: {error}.", hint="Each has path, line and message.") from None
    return [one for one in found if one.line >= 1 and _is_inside(one.path)]


def _of_report(content: dict[str, Any], path: Path) -> list[Annotation]:
    """Return an annotation for each notebook of a report that failed."""
    reports = content.get("notebooks") if isinstance(content.get("notebooks"), list) else [content]
    found = []
    for one in reports if isinstance(reports, list) else []:
        if not isinstance(one, dict) or not isinstance(one.get("failure"), dict):
            continue
        failure, notebook = one["failure"], str(one.get("key") or "")
        if not _is_inside(notebook):
            continue
        cell = failure.get("cell")
        line = line_of_cell(path.parent / notebook, cell) if isinstance(cell, int) else 1
        message = "\n".join(str(failure[key]) for key in ("reason", "hint") if failure.get(key)) or "It failed."
        title = f"Cell {cell} failed" if isinstance(cell, int) else "The notebook failed"
        found.append(Annotation(path=notebook, line=line, message=message[:60_000], level="failure", title=title))
    return found


def _is_inside(path: str) -> bool:
    parts = Path(path).parts
    return bool(path) and not path.startswith("/") and ".." not in parts


def checked_conclusion(text: str | None) -> Conclusion | None:
    """Return a conclusion as its type; the command line has checked it."""
    return next((one for one in get_args(Conclusion) if one == text), None)


def checked_status(text: str) -> CheckStatus:
    """Return a status as its type."""
    return next(one for one in get_args(CheckStatus) if one == text)


LEVELS: tuple[AnnotationLevel, ...] = get_args(AnnotationLevel)
