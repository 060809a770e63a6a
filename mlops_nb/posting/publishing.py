"""The images of a report get a home: the forge itself or an object store of one's own, never a public third party."""

from __future__ import annotations

import hashlib
import logging
import mimetypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qsl, quote, urlsplit

from mlops_nb.core.records import Record
from mlops_nb.errors import InvalidInput, MissingDependencyError, MlopsError, NotFound
from mlops_nb.forges.base import AssetFile, Forge, ForgeError
from mlops_nb.posting.images import images, replaced
from mlops_nb.posting.workspace import Workspace, image_mime

log = logging.getLogger("mlops_nb.posting")

MAX_IMAGES = 300
MAX_TOTAL = 100_000_000
_BUCKETS = {"s3": "s3", "gs": "gcs", "gcs": "gcs", "az": "azure", "abfs": "azure", "abfss": "azure"}
_SIGNED_FOR = 7 * 24 * 3600 - 60


class Home(Protocol):
    """A place for files. `words` names it to people."""

    words: str

    def publish(self, files: Sequence[AssetFile]) -> list[str]:
        """Put files there and return their addresses in order."""


class ForgeHome:
    """The forge's own place: seen by those who may read the repository."""

    def __init__(self, forge: Forge) -> None:
        self._forge = forge
        self.words = f"{forge.kind} ({forge.repository})"

    def publish(self, files: Sequence[AssetFile]) -> list[str]:
        limits = self._forge.limits
        for file in files:
            if len(file.content) > limits.asset_bytes:
                raise InvalidInput(
                    f"'{file.name}' has {len(file.content) / 1e6:.1f} MB; the forge takes {limits.asset_bytes / 1e6:.0f} MB."
                )
        return self._forge.publish(files)


class BucketHome:
    """A folder of an object store, through fsspec.

    Files are named by their content. Their addresses are signed for seven days, the most that stores allow, unless the
    URL says `?base=https://…`, the address under which people see the folder.

    Args:
        url: `s3://bucket/folder`, `gs://…`, `az://container/folder` or `abfss://container@account.dfs.core.windows.net/…`;
            credentials come from the environment, as those of the clouds' own tools.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.words = f"{parts.scheme}://{parts.netloc}{parts.path}"
        self._scheme = parts.scheme
        self._place = self.words.rstrip("/")
        self._base = dict(parse_qsl(parts.query)).get("base", "").rstrip("/")

    def publish(self, files: Sequence[AssetFile]) -> list[str]:
        import fsspec.core

        try:
            system, folder = fsspec.core.url_to_fs(self._place)
        except ImportError as error:
            raise MissingDependencyError(
                str(error.name or "fsspec"), extra=_BUCKETS[self._scheme], purpose=f"Publishing to {self.words}"
            ) from error
        except Exception as error:  # each store has errors of its own, also for credentials that are missing
            raise MlopsError(f"{self.words} cannot be opened: {error}.", hint="Check the bucket and the credentials.") from error
        return [self._put(system, str(folder), file) for file in files]

    def _put(self, system: Any, folder: str, file: AssetFile) -> str:
        name = hashlib.sha256(file.content).hexdigest()[:32] + _suffix(file)
        path = f"{folder}/{name}"
        try:
            if not system.exists(path):
                system.pipe_file(path, file.content, **_typed(self._scheme, file.mime))
            return f"{self._base}/{quote(name)}" if self._base else str(system.sign(path, expiration=_SIGNED_FOR))
        except Exception as error:  # each store has errors of its own
            raise MlopsError(
                f"'{file.name}' cannot be put into {self.words}: {error}.", hint="Check the bucket and the credentials."
            ) from error


def _typed(scheme: str, mime: str) -> dict[str, Any]:
    """Return what tells a store's file system the media type, without which the forge's proxy shows no image."""
    kind = _BUCKETS[scheme]
    if kind == "s3":
        return {"ContentType": mime}
    if kind == "gcs":
        return {"content_type": mime}
    from azure.storage.blob import ContentSettings

    return {"content_settings": ContentSettings(content_type=mime)}


def open_home(forge: Forge, url: str | None = None) -> Home:
    """Return where files go: the forge, unless the URL is one of an object store or `mlflow-artifacts:`, the tracking server.

    An HTTP server, such as CML's public one, gets nothing: whoever knows an address there sees the file.

    Raises:
        InvalidInput: If there is no such kind of place.
    """
    scheme = urlsplit(url).scheme if url else ""
    if not url or scheme in ("http", "https"):
        if url:
            log.warning("Nothing is published at %s: images stay with the forge. An own place is s3://, gs:// or az://bucket/folder.", url)
        return ForgeHome(forge)
    if scheme == "mlflow-artifacts":
        from mlops_nb.posting.tracking_home import TrackingHome

        return TrackingHome(url, forge.web_url)
    if scheme not in _BUCKETS:
        raise InvalidInput(
            f"Nothing can be published at '{url}'.",
            hint="Give s3://, gs:// or az://bucket/folder, mlflow-artifacts: for the tracking server, or leave it out for the forge.",
        )
    return BucketHome(url)


class Published(Record, frozen=True, kw_only=True):
    """A report whose images have homes. `paths` are the local files it shows; `problems` say what stayed as it was."""

    markdown: str
    count: int = 0
    problems: tuple[str, ...] = ()


def publish_images(markdown: str, workspace: Workspace, home: Home) -> Published:
    """Publish the local images that a report shows and put their new addresses into it; all else stays as it is.

    What may not be published stays as it is too, and so do all images if the home fails: a report without pictures is
    better than none.
    """
    shown = images(markdown)
    files: dict[int, AssetFile] = {}
    problems: list[str] = []
    total = 0
    for one in shown:
        try:
            file = workspace.image(one.address)
        except (InvalidInput, NotFound) as error:
            problems.append(str(error))
            continue
        if file is None:
            continue
        total += len(file.content)
        if len(files) >= MAX_IMAGES or total > MAX_TOTAL:
            problems.append(f"The report shows more than {MAX_IMAGES} images or {MAX_TOTAL // 1_000_000} MB: the others are left out.")
            break
        files[one.start] = file
    if not files:
        return Published(markdown=markdown, problems=tuple(problems))
    unique = list({file.content: file for file in files.values()}.values())
    try:
        addresses = dict(zip((file.content for file in unique), home.publish(unique), strict=True))
    except (ForgeError, MlopsError) as error:
        return Published(markdown=markdown, problems=(*problems, f"The images are not published: {error}"))
    places = {start: addresses[file.content] for start, file in files.items()}
    return Published(markdown=replaced(markdown, shown, places), count=len(places), problems=tuple(problems))


def asset_file(path: Path, *, mime: str | None = None) -> AssetFile:
    """Return a file that the caller has named to be published, with its media type by content, then by name."""
    content = path.read_bytes()
    known = mime or image_mime(content[:65536]) or mimetypes.guess_type(path.name)[0]
    return AssetFile(name=path.name, content=content, mime=known or ("text/plain" if _is_text(content) else "application/octet-stream"))


def link(url: str, file: AssetFile, *, title: str | None, markdown: bool) -> str:
    """Return an address as CML prints it: bare, or as an image or link in markdown."""
    if not markdown:
        return url
    if file.mime.startswith(("image/", "video/")):
        return f'![]({url} "{_plain(title)}")' if title else f"![]({url})"
    return f"[{_plain(title or file.name)}]({url})"


def _plain(title: str) -> str:
    return " ".join(title.replace("\\", "\\\\").replace('"', '\\"').replace("[", "\\[").replace("]", "\\]").split())


def _is_text(content: bytes) -> bool:
    try:
        content[:65536].decode()
    except UnicodeDecodeError as error:
        return error.start >= 65530
    return b"\0" not in content[:65536]


def _suffix(file: AssetFile) -> str:
    return mimetypes.guess_extension(file.mime) or Path(file.name).suffix[:10]
