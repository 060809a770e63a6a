"""A report on its way to its comment: images first, then the comment; and where neither can be, to where it is kept."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from mlops_nb.core.records import Record
from mlops_nb.core.redaction import Redactor
from mlops_nb.errors import InvalidInput, NotFound
from mlops_nb.forges.base import Forge, ForgeError, ForgeUnreachable, NotAuthenticated, PermissionMissing, RateLimited, Target
from mlops_nb.forges.context import Context
from mlops_nb.posting.comments import Wanted, key_of, post
from mlops_nb.posting.fallback import Kept, keep
from mlops_nb.posting.images import images
from mlops_nb.posting.marks import Writer
from mlops_nb.posting.publishing import open_home, publish_images
from mlops_nb.posting.targets import resolve_target
from mlops_nb.posting.watching import Watcher, job_process
from mlops_nb.posting.workspace import Workspace, workspace_root

log = logging.getLogger("mlops_nb.posting")

MAX_REPORT = 8_000_000
Mode = Literal["create", "update", "new", "plain"]
_KEPT_ON = (ForgeUnreachable, PermissionMissing, NotAuthenticated, RateLimited)


class Outcome(Record, frozen=True, kw_only=True):
    """What became of a report: the URL of its comment, or where it was kept. `markdown` has the images' new addresses."""

    url: str = ""
    markdown: str = ""
    kept: Kept | None = None

    @property
    def kept_in_file(self) -> bool:
        """Whether nobody sees it yet."""
        return self.kept is not None and self.kept.kind == "file"


class Report:
    """A markdown file that is posted once, or again and again.

    Args:
        path: The file.
        target: As `--target`.
        title: As `--watermark-title`; `{workflow}` and `{run}` are filled in.
        mode: As `comments.Wanted.mode`; from the second time on a report updates its comment.
        publish: Whether images are uploaded.
        publish_url: Where to, if not to the forge.
        root: The folder in which images may lie; None: that of the job.
        kept: The text without pictures, for where they, or the comment, cannot be posted, if not that of the file; and the
            folder that it is kept in then, if not the file's own.
    """

    def __init__(
        self,
        *,
        path: Path,
        target: str,
        title: str,
        mode: str,
        publish: bool,
        publish_url: str | None,
        root: Path | None = None,
        kept: tuple[str, Path] | None = None,
    ) -> None:
        self._root, self._kept = root, kept
        self._path, self._target_words, self._title = path, target, title
        self._mode: Mode = mode if mode in ("update", "new", "plain") else "create"  # type: ignore[assignment]
        self._publish, self._publish_url = publish, publish_url
        self._target: Target | None = None
        self._last = ""
        self._read_at: tuple[int, int, int] | None = None
        self._shown: list[Path] = []

    def place(
        self, forge: Callable[[], tuple[Forge, Context]], writer: Callable[[Context], Writer], job: Callable[[Context], tuple[str, ...]]
    ) -> None:
        """Say how to find the forge, and what is known about this run."""
        self._forge, self._context = forge()
        self._writer, self._job = writer(self._context), job(self._context)

    def post(self) -> Outcome:
        """Post the report; keep it where the forge cannot or may not take it.

        Raises:
            InvalidInput: If the file is no text, or too long.
            NotFound: If it is not there, or there is nothing to post to.
            ForgeError: If the forge refuses it for another reason; the report is saved beforehand.
        """
        markdown = self._text()
        try:
            return self._posted(markdown)
        except _KEPT_ON as error:
            kept = self._keep(markdown, os.environ)
            log.warning("The report is not posted: %s %s", error, kept.words)
            return Outcome(kept=kept)
        except ForgeError:
            kept = self._keep(markdown, {})
            log.warning(kept.words)
            raise

    def _keep(self, markdown: str, environment: Mapping[str, str]) -> Kept:
        return keep(markdown, environment, self._folder()) if self._kept is None else keep(self._kept[0], environment, self._kept[1])

    def _posted(self, markdown: str) -> Outcome:
        forge = self._forge
        if self._target is None:
            self._target = resolve_target(forge, self._context, self._target_words)
        title = self._title.replace("{workflow}", self._context.workflow or "").replace("{run}", self._context.run_id or "")
        root = self._root or workspace_root(os.environ, self._path.parent)
        key = key_of(markdown, title=title, path=_relative(self._path, root), place=self._job)
        body = markdown
        if self._publish:
            published = publish_images(markdown, Workspace(root, self._path.parent), open_home(forge, self._publish_url))
            body = published.markdown
            for problem in published.problems:
                log.warning("%s", problem)
            if published.count:
                log.info("%d images are published.", published.count)
            if published.problems and self._kept is not None:
                body = self._kept[0]  # without the pictures that have no place
        wanted = Wanted(key=key, title=title, writer=self._writer, mode=self._mode)
        done = post(
            forge,
            self._target,
            body,
            wanted,
            full=f"All of it is in {self._path.name}, on the page of the run." if self._context.run_url else "",
        )
        log.info("%s %s.", "Commented on" if done.created else "Left as it was:" if done.stale else "Updated the comment on", self._target)
        if self._mode == "new":
            self._mode = "create"
        return Outcome(url=done.comment.url, markdown=body)

    def watch(self, trigger: Path | None, said: Callable[[str], None]) -> bool:
        """Post now and whenever the file has changed, until the job ends; return whether the last state was posted."""
        kept_last = False

        def publish() -> None:
            nonlocal kept_last
            outcome = self.post()
            kept_last = outcome.kept_in_file
            if outcome.url and outcome.url != self._last:
                self._last = outcome.url
                said(outcome.url)

        done = Watcher(publish, self._files, trigger=trigger, job=job_process()).run()
        return done and not kept_last

    def _text(self) -> str:
        try:
            if self._path.stat().st_size > MAX_REPORT:
                raise InvalidInput(f"{self._path} is larger than {MAX_REPORT // 1_000_000} MB: that is no report for a comment.")
            text = self._path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            raise NotFound(f"There is no report {self._path}.", hint="Is it written before this step?") from None
        except IsADirectoryError:
            raise InvalidInput(f"{self._path} is a folder.", hint="Name the markdown file in it.") from None
        return Redactor(os.environ)(text)

    def _folder(self) -> Path:
        return self._path.parent if os.access(self._path.parent, os.W_OK) else Path.cwd()

    def _files(self) -> list[Path]:
        """Return the report's file and the local images that it shows. It is read anew only when it has changed."""
        try:
            about = self._path.stat()
            stamp = (about.st_mtime_ns, about.st_size, about.st_ino)
            if stamp == self._read_at:
                return self._shown
            text = self._path.read_text(encoding="utf-8", errors="replace") if self._publish and about.st_size <= MAX_REPORT else ""
        except OSError:
            return [self._path]
        shown = [one.address for one in images(text) if "://" not in one.address and not one.address.startswith("data:")]
        self._shown = [self._path, *(self._path.parent / address for address in dict.fromkeys(shown) if "\0" not in address)]
        self._read_at = stamp
        return self._shown


def _relative(path: Path, root: Path) -> str:
    resolved, root = path.resolve(), root.resolve()
    return resolved.relative_to(root).as_posix() if resolved.is_relative_to(root) else path.name
