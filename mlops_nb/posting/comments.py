"""One comment a report: found again by its mark and its author among all comments, and updated instead of repeated."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Literal

from mlops_nb.core.cutting import cut
from mlops_nb.core.records import Record
from mlops_nb.errors import PermissionDenied
from mlops_nb.forges.base import Comment, Forge, ForgeConflict, ForgeNotFound, ForgeNotSupported, OutcomeUnknown, Target
from mlops_nb.posting.marks import Mark, Writer, cml_label, mark_of, marked, unmarked
from mlops_nb.posting.quick_actions import as_text

log = logging.getLogger("mlops_nb.posting")

_TRIES = 4


class Wanted(Record, frozen=True, kw_only=True):
    """How a report wants to be posted.

    Attributes:
        key: What the comment is about; reports of different keys have different comments.
        title: What people called it (`--watermark-title`), or "".
        writer: Who writes.
        mode: `update` also takes the newest comment of ours without a title when nothing has this key and no title is
            given; `create` takes only one with this key; `new` never takes one; `plain` is `new` without a mark.
    """

    key: str
    title: str = ""
    writer: Writer = Writer()
    mode: Literal["create", "update", "new", "plain"] = "create"


class Posted(Record, frozen=True, kw_only=True):
    """What became of a report. `stale`: a later run had already posted, and its report stays."""

    comment: Comment
    created: bool
    stale: bool = False


def post(forge: Forge, target: Target, body: str, wanted: Wanted, *, full: str = "") -> Posted:
    """Post a report as the one comment of its key.

    It looks again after it has written: of two jobs that begin at once, both find one comment in the end, and neither's
    report is lost to the other's. A comment of a later run of another commit is left as it is.

    Args:
        forge: Where.
        target: On what.
        body: The report in markdown; cut where it is longer than the forge takes.
        wanted: Its key, and how.
        full: Where all of a report is that had to be cut; a sentence.

    Raises:
        ForgeError: If the forge does not take it; `PermissionMissing` where the token may not comment.
    """
    text = _fitted(forge, body, wanted, full)
    if wanted.mode in ("new", "plain"):
        return Posted(comment=forge.create_comment(target, text), created=True)
    me = forge.whoami()
    created = False
    tries = _TRIES
    while True:
        tries -= 1
        found = _mine(forge, target, me, wanted)
        old = found[0] if found else None
        if old is not None and _writer(old).is_newer_than(wanted.writer):
            log.warning("A later run has already posted at %s: its report stays.", old.url)
            return Posted(comment=old, created=False, stale=True)
        comment = None if old is None else _update(forge, old, text)
        if comment is None:
            comment, created = forge.create_comment(target, text), True
        if _settled(forge, target, me, wanted, comment) or tries == 0:
            return Posted(comment=comment, created=created)


def _settled(forge: Forge, target: Target, me: str, wanted: Wanted, written: Comment) -> bool:
    """Return whether what was written stands; else another job was quicker, and the next try updates its comment.

    Of several comments with this key the oldest stays, and whoever sees the others deletes them. Those of the other jobs
    of a matrix do not count. A list in which the new comment is not to be seen yet says nothing.
    """
    listed = list(forge.comments(target))
    if written.id not in {one.id for one in listed}:
        return True
    same = [one for one in listed if _has_key(one, me, wanted) and not _is_sibling(one, wanted)]
    for double in same[1:]:
        forge.delete_comment(double)
    return bool(same) and same[0].id == written.id


def _mine(forge: Forge, target: Target, me: str, wanted: Wanted) -> list[Comment]:
    """Return the comments to update, the one to take first."""
    ours = [one for one in forge.comments(target) if one.author == me]
    exact = [one for one in ours if _has_key(one, me, wanted) and not _is_sibling(one, wanted)]
    if exact:
        return exact
    if wanted.mode == "update" and not wanted.title:
        untitled = [one for one in ours if (mark := mark_of(one.body)) is not None and mark.untitled and not _is_sibling(one, wanted)]
        if untitled:
            return untitled[::-1]
    return [one for one in ours if mark_of(one.body) is None and cml_label(one.body) == wanted.title][::-1]


def _has_key(comment: Comment, me: str, wanted: Wanted) -> bool:
    mark = mark_of(comment.body)
    return comment.author == me and mark is not None and mark.key == wanted.key


def _writer(comment: Comment) -> Writer:
    mark = mark_of(comment.body)
    return mark.writer if mark is not None else Writer()


def _is_sibling(comment: Comment, wanted: Wanted) -> bool:
    """Return whether another job of this very run has posted there, whose report stays beside ours. A title means: one for all."""
    return not wanted.title and _writer(comment).is_sibling_of(wanted.writer)


def _update(forge: Forge, comment: Comment, text: str) -> Comment | None:
    """Replace the text of a comment; None: that cannot be done, and a new one is due."""
    try:
        return forge.update_comment(comment, text)
    except OutcomeUnknown:
        return forge.update_comment(comment, text)  # the same text again does no harm
    except (ForgeNotFound, ForgeConflict):
        return None
    except ForgeNotSupported:
        replacement = forge.create_comment(comment.target, text)
        forge.delete_comment(comment)
        return replacement
    except PermissionDenied:
        log.warning("The comment %s cannot be changed with this token: a new one is made.", comment.url)
        return None


def _fitted(forge: Forge, body: str, wanted: Wanted, full: str) -> str:
    """Return the text of the comment with its mark, cut to what the forge takes."""
    mark = Mark(key=wanted.key, writer=wanted.writer, untitled=not wanted.title)
    empty = "" if wanted.mode == "plain" else marked("", mark, forge.kind)
    limit = forge.limits.comment_characters - len(empty)
    text = as_text(unmarked(body)) if forge.kind == "gitlab" else unmarked(body)
    if len(text) > limit:
        log.warning("The report has %d characters; %s takes %d: its end is cut off.", len(text), forge.kind, limit)
        text = cut(text, limit, f"*The report is longer than a comment may be; its end is cut off here. {full}*".replace(" *", "*"))
    return empty + text


def key_of(markdown: str, *, title: str, path: str, place: Sequence[str] = ()) -> str:
    """Return what a report is about: its title, else the mark it begins with, else its file and the job that writes it.

    Args:
        markdown: The report.
        title: Given by the user, or "".
        path: Of the report's file, relative to the workspace.
        place: Workflow and job: two of them may write files of one name.
    """
    if title:
        return f"title:{title}"
    mark = mark_of(markdown)
    if mark is not None:
        return mark.key
    return ":".join(["file", *(part for part in place if part), path])
