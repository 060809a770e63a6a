"""Files, folders and addresses as data sets: their content's hash, where they are, and what other tools call the version."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec
from blake3 import blake3

from mlops_nb.core.data_profile import DataProfile, to_json
from mlops_nb.core.datasets import Dataset
from mlops_nb.core.redaction import Redactor, is_secret_name
from mlops_nb.tracking.data.hashing import FileHash, HashCache, Stamp
from mlops_nb.tracking.data.versions import Version, delta_root, delta_version, lakefs_version, version_of

MAX_FILES = 100_000
"""Of a folder with more files only names, sizes and times count."""

_MAX_NAME = 250
_MAX_ADDRESS = 8000
_DIGEST = 16
_SIGNED = ("x-amz-", "x-goog-", "sig", "se", "sp", "sv", "sr", "st", "spr", "skoid", "sktid", "ske", "skt", "sks", "skv", "awsaccesskeyid")
_VERSION_KEYS = ("ETag", "etag", "versionId", "VersionId", "version_id", "generation", "md5Hash", "content_md5", "checksum", "hash")


class Places:
    """How files become data sets within one project.

    Args:
        root: The project; paths in it are named from there.
        cache: The hashes that are known.
        redact: Takes secrets out of names and addresses.
    """

    def __init__(self, root: Path, cache: HashCache, redact: Redactor) -> None:
        self.root, self.cache, self.redact = root, cache, redact

    def file(
        self,
        path: Path,
        *,
        name: str | None = None,
        expected: Stamp | None = None,
        is_hashed: bool = True,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Dataset:
        """Return a file as a data set.

        Args:
            path: The file.
            name: What to call it; its path within the project by default.
            expected: What it was when it was read: the content of a file that has changed since is not known.
            is_hashed: Whether to read the content; otherwise size and time of change stand for it.
            stopped: Says when to give up hashing.

        Raises:
            OSError: If it cannot be read, or is no regular file.
            Stopped: If `stopped` said so.
        """
        stamp = Stamp.of(status := path.stat())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        version = version_of(path)
        content: FileHash | None = None
        if is_hashed and expected in (None, stamp):
            content = self.cache.hash(path, other=None if version is None else version.algorithm, stopped=stopped)
        if version is not None and version.algorithm is not None and content is not None:
            version = msgspec.structs.replace(version, matches=content.other == version.name)
        profile = DataProfile(
            kind="file",
            size=(expected or stamp).size,
            content=None if content is None else f"blake3:{content.blake3}",
            versions=_shown(version),
        )
        unread = json.dumps([str(path), *msgspec.structs.astuple(expected or stamp)]).encode()
        digest = content.blake3[: 2 * _DIGEST] if content is not None else _unread(unread)
        return self._dataset(name or self._name_of(path), digest, path, profile, version)

    def folder(
        self,
        folder: Path,
        files: Mapping[Path, Stamp] | Iterable[Path],
        *,
        name: str | None = None,
        is_hashed: bool = True,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Dataset:
        """Return files of a folder as one data set, whose digest is a hash over their paths and hashes; see `file`."""
        expected = files if isinstance(files, Mapping) else {}
        hasher, size, count, is_whole = blake3(), 0, 0, is_hashed
        for path in sorted(files):
            try:
                stamp = Stamp.of(path.stat())
                has_changed = path in expected and expected[path] != stamp
                is_whole = is_whole and count < MAX_FILES and not has_changed
                proof = self.cache.hash(path, stopped=stopped).blake3 if is_whole else repr(expected.get(path, stamp))
            except OSError:
                is_whole, proof = False, "unreadable"
            size, count = size + expected.get(path, stamp).size, count + 1
            hasher.update(json.dumps([path.relative_to(folder).as_posix(), proof]).encode())
        version = version_of(folder)
        profile = DataProfile(
            kind="folder",
            size=size,
            files=count,
            content=f"blake3-tree:{hasher.hexdigest()}" if is_whole else None,
            versions=_shown(version),
        )
        digest = hasher.hexdigest(_DIGEST) if is_whole else _unread(hasher.digest())
        return self._dataset(name or self._name_of(folder) + "/", digest, folder, profile, version)

    def delta(self, table: Path, *, name: str | None = None) -> Dataset | None:
        """Return a Delta table as a data set in its newest version; None if it is none."""
        found = delta_version(table)
        if found is None:
            return None
        number, commit = found
        version = Version(tool="delta", name=str(number), pointer="_delta_log")
        profile = DataProfile(kind="folder", versions=_shown(version))
        digest = blake3(str(number).encode() + b"\n" + commit).hexdigest(_DIGEST)
        source = json.dumps({"path": self.redact(str(table)), "delta_table_version": number})
        title = name or self._name_of(table)
        return Dataset(name=title[:_MAX_NAME], digest=digest, source_type="delta_table", source=source, profile=to_json(profile))

    def remote(self, uri: str, details: Mapping[str, Any] | None = None, *, name: str | None = None) -> Dataset:
        """Return what lies at an address as a data set, told apart by what the place itself says of its version."""
        shown = self.clean(uri)
        said = {key: str(details[key]) for key in _VERSION_KEYS if details and details.get(key)}
        size = next((int(details[key]) for key in ("size", "Size", "ContentLength") if details and details.get(key) is not None), None)
        version = lakefs_version(shown)
        source: dict[str, Any] = {"url" if shown.startswith("http") else "uri": shown, **said}
        if version is not None:
            repository, _, ref = version.name.partition("@")
            source["lakefs"] = {"repository": repository, "ref": ref, "path": urlsplit(shown).path.strip("/").partition("/")[2]}
        if said or version is not None:
            digest = blake3(json.dumps([said, version.name if version and not said else "", size]).encode()).hexdigest(_DIGEST)
        else:
            digest = _unread(f"{shown} {size}".encode())
        profile = DataProfile(kind="remote", size=size, versions=_shown(version))
        scheme = urlsplit(shown).scheme
        return Dataset(
            name=(name or urlsplit(shown).path.strip("/").rpartition("/")[2] or shown)[:_MAX_NAME],
            digest=digest,
            source_type="http" if scheme in ("http", "https") else scheme[:36] or "remote",
            source=json.dumps(source),
            profile=to_json(profile),
        )

    def path(self, path: Path, *, name: str | None = None, stopped: Callable[[], bool] = lambda: False) -> Dataset:
        """Return a file, folder or Delta table as a data set."""
        path = Path(os.path.abspath(path))  # noqa: PTH100  # links stay: the path is what the user knows
        if path.is_dir():
            if delta_root(path) == path and (table := self.delta(path, name=name)):
                return table
            return self.folder(path, [p for p in path.rglob("*") if p.is_file()], name=name, stopped=stopped)
        return self.file(path, name=name, stopped=stopped)

    def clean(self, uri: str) -> str:
        """Return an address without user, password and signature."""
        parts = urlsplit(uri)
        host = parts.netloc.rpartition("@")[2]
        kept = [
            (key, value)
            for key, value in parse_qsl(parts.query, keep_blank_values=True)
            if not is_secret_name(key) and not key.lower().startswith(_SIGNED[:2]) and key.lower() not in _SIGNED
        ]
        return self.redact(urlunsplit(parts._replace(netloc=host, query=urlencode(kept), fragment="")))[:_MAX_ADDRESS]

    def _name_of(self, path: Path) -> str:
        shown = path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else path.name
        return self.redact(shown)[-_MAX_NAME:]

    def _dataset(self, name: str, digest: str, path: Path, profile: DataProfile, version: Version | None) -> Dataset:
        source: dict[str, Any] = {"uri": self.redact(str(path))}
        if version is not None:
            source[version.tool] = {key: value for key, value in msgspec.to_builtins(version).items() if key not in ("tool", "algorithm")}
        text = json.dumps(source)
        return Dataset(name=name[:_MAX_NAME], digest=digest, source_type="local", source=text, profile=to_json(profile))


def _shown(version: Version | None) -> dict[str, str]:
    if version is None:
        return {}
    note = " (not fetched)" if version.is_absent else " (changed since)" if version.matches is False else ""
    return {version.tool: version.name + note}


def _unread(content: bytes) -> str:
    """Return a digest that shows that it stands for no content."""
    return f"unread-{blake3(content).hexdigest(12)}"
