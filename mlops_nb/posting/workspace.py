"""Which local files a report may take along: real images inside the workspace, and nothing else.

The report may have been written by the code of a stranger. So a file counts by where it really is (links followed) and by
what it holds, not by its name.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

from mlops_nb.errors import InvalidInput, NotFound
from mlops_nb.forges.base import AssetFile

MAX_IMAGE = 10_000_000
_ROOTS = ("GITHUB_WORKSPACE", "CI_PROJECT_DIR", "BITBUCKET_CLONE_DIR")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:|//|#")
_DATA = re.compile(r"data:image/[\w.+-]+(?:;[\w=.+-]+)*;base64,(?P<content>[A-Za-z0-9+/=\s%]*)\Z", re.IGNORECASE)
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)
_SVG = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^<>]*\?>\s*)?(?:<!--.*?-->\s*)*(?:<!DOCTYPE svg PUBLIC [^<>\[\]]*>\s*)?<svg[\s>]", re.DOTALL
)
_ACTIVE_SVG = re.compile(rb"<script|<foreignObject|<!ENTITY|\son\w+\s*=|javascript:|href\s*=\s*[\"'](?!#|data:image/)", re.IGNORECASE)
_OPEN_FOLDERS = {".mlops"}


class Workspace:
    """A folder whose images may be published.

    Args:
        root: The folder; links to it are followed.
        base: The folder that relative addresses start from: the report's.
        max_bytes: Of one image.
    """

    def __init__(self, root: Path, base: Path, *, max_bytes: int = MAX_IMAGE) -> None:
        self.root = root.resolve()
        self._base = base.resolve()
        self._max = max_bytes

    def image(self, address: str) -> AssetFile | None:
        """Return the image that an address means; None: it is not a local one, and stays as it is.

        Raises:
            InvalidInput: If it may not be published; says why.
            NotFound: If there is no such file.
        """
        if address[:11].lower() == "data:image/":
            return self._embedded(address)
        if _SCHEME.match(address):
            return None
        path = self._path(re.split(r"[?#]", address, maxsplit=1)[0])
        return self._checked(path.name, self._content(path, address), address)

    def _path(self, address: str) -> Path:
        shown = _shown(address)
        name = unquote(address)
        if "\0" in name:
            raise InvalidInput(f"The image '{shown}' has no proper name.")
        path = Path(os.path.realpath(self._base / name))
        if not path.is_relative_to(self.root):
            raise InvalidInput(
                f"The image '{shown}' is outside of the workspace {self.root}.",
                hint="Only images inside of it are published; copy it there.",
            )
        hidden = [part for part in path.relative_to(self.root).parts if part.startswith(".") and part not in _OPEN_FOLDERS]
        if hidden:
            raise InvalidInput(f"The image '{shown}' is in or called '{hidden[0]}': what is hidden is not published.")
        return path

    def _content(self, path: Path, address: str) -> bytes:
        shown = _shown(address)
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            raise NotFound(f"There is no image '{shown}'.") from None
        except OSError as error:
            raise InvalidInput(f"The image '{shown}' cannot be read: {error.strerror}.") from None
        try:
            about = os.fstat(handle)
            if not stat.S_ISREG(about.st_mode):
                raise InvalidInput(f"'{shown}' is no file.")
            self._check_size(about.st_size, shown)
            with os.fdopen(os.dup(handle), "rb") as file:
                return file.read(self._max + 1)
        finally:
            os.close(handle)

    def _embedded(self, address: str) -> AssetFile:
        found = _DATA.match(address)
        if found is None:
            raise InvalidInput("An embedded image is not in base64.")
        self._check_size(len(found["content"]) * 3 // 4, "embedded")
        try:
            content = base64.b64decode(unquote(found["content"]), validate=False)
        except (binascii.Error, ValueError):
            raise InvalidInput("An embedded image is not in base64.") from None
        return self._checked(f"image-{hashlib.sha256(content).hexdigest()[:12]}", content, "embedded")

    def _check_size(self, size: int, shown: str) -> None:
        if size > self._max:
            raise InvalidInput(f"The image '{shown}' has {size / 1e6:.1f} MB; at most {self._max / 1e6:.0f} MB are published.")

    def _checked(self, name: str, content: bytes, address: str) -> AssetFile:
        self._check_size(len(content), _shown(address))
        mime = image_mime(content)
        if mime is None:
            raise InvalidInput(f"'{_shown(address)}' is no image: its content is not that of a PNG, JPEG, GIF, WebP or plain SVG.")
        return AssetFile(name=name, content=content, mime=mime)


def image_mime(content: bytes) -> str | None:
    """Return the media type of an image by its content, or None. An SVG that could act or load something is none."""
    for start, mime in _MAGIC:
        if content.startswith(start):
            return mime
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    if _SVG.match(content[:4096]) and not _ACTIVE_SVG.search(content):
        return "image/svg+xml"
    return None


def workspace_root(environment: Mapping[str, str], start: Path) -> Path:
    """Return the folder of the job: what the CI says, else the nearest parent with `.git`, else the folder itself."""
    for variable in _ROOTS:
        if (value := environment.get(variable)) and Path(value).is_dir():
            return Path(value)
    start = start.resolve()
    return next((folder for folder in (start, *start.parents) if (folder / ".git").exists()), start)


def _shown(address: str) -> str:
    return address if len(address) <= 200 else address[:199] + "…"
