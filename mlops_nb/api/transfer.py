"""The parts of HTTP that let transfers of files be checked and resumed: ranges, entity tags, digests (RFC 9110, 9530, 1864)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from typing import Any, BinaryIO, NamedTuple, cast

from mlops_nb.errors import InvalidInput
from mlops_nb.store.artifacts.base import FileStat

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_TAG = re.compile(r'(?:W/)?("[^"]*")')
_DIGEST_FIELDS = ("content-digest", "repr-digest", "digest")
# Name in a digest field, hashlib's name. Of others nothing is known: they are no reason to refuse a file.
_DIGESTS = {"sha-256": "sha256", "sha-512": "sha512", "md5": "md5", "sha": "sha1"}
_DIGEST = re.compile(r"\s*([\w-]+)\s*=\s*(:?)([A-Za-z0-9+/_-]*={0,2})(:?)\s*(?:;[^,]*)?")
_OWN_FIELDS = {"content-md5": "md5", "x-amz-checksum-sha256": "sha256", "x-amz-checksum-sha1": "sha1"}


class Selection(NamedTuple):
    """Which bytes of a file a request gets, and under which status. No bytes where `start` is None."""

    status: int
    headers: dict[str, str]
    start: int | None = None
    end: int = 0


def select(stat: FileStat, headers: Mapping[str, str]) -> Selection:
    """Return what a request with these headers gets of a file. Of several ranges at once it gets the whole file."""
    tag = f'"{stat.etag}"'
    common = {"ETag": tag, "Accept-Ranges": "bytes"}
    known = headers.get("if-none-match", "")
    if known.strip() == "*" or tag in _TAG.findall(known):
        return Selection(304, common)
    asked = _RANGE.fullmatch(headers.get("range", "").strip())
    if asked is None or asked[0] == "bytes=-" or headers.get("if-range", tag).strip() != tag:
        return Selection(200, {**common, "Content-Length": str(stat.size)}, 0, stat.size)
    first, last = asked.groups()
    start = int(first) if first else max(0, stat.size - int(last))
    end = min(int(last) + 1, stat.size) if first and last else stat.size
    if start >= stat.size:
        return Selection(416, {"Content-Range": f"bytes */{stat.size}"})
    if end <= start:  # backwards: no range at all
        return Selection(200, {**common, "Content-Length": str(stat.size)}, 0, stat.size)
    ranged = {"Content-Range": f"bytes {start}-{end - 1}/{stat.size}", "Content-Length": str(end - start)}
    return Selection(206, {**common, **ranged}, start, end)


def checked_upload(content: BinaryIO, headers: Mapping[str, str]) -> CheckedUpload:
    """Return an upload that is compared with the digests which came with it.

    Raises:
        InvalidInput: If a digest cannot be one.
    """
    expected: dict[str, bytes] = {}
    for field, algorithm in _OWN_FIELDS.items():
        if text := headers.get(field):
            expected[algorithm] = _decoded(text, algorithm, field)
    for field in _DIGEST_FIELDS:
        for item in filter(str.strip, headers.get(field, "").split(",")):
            match = _DIGEST.fullmatch(item)
            if match is None:
                raise InvalidInput(f"The header {field} does not parse: {item[:80]!r}.", hint="Write sha-256=:<base64>:.")
            named = _DIGESTS.get(match[1].lower())
            if named is not None:
                expected[named] = _decoded(match[3], named, field)
    length = headers.get("content-length", "")
    return CheckedUpload(content, expected, size=int(length) if length.isdecimal() and len(length) < 18 else None)


def _decoded(text: str, algorithm: str, field: str) -> bytes:
    try:
        digest = base64.b64decode(text.strip(), validate=True)
    except binascii.Error:
        digest = b""
    if len(digest) != hashlib.new(algorithm, usedforsecurity=False).digest_size:
        raise InvalidInput(f"The header {field} holds no {algorithm} in base64: {text[:80]!r}.")
    return digest


class CheckedUpload:
    """The bytes of an upload, hashed on their way. Whoever reads to the end has read what the client meant to send.

    Attributes:
        size: How long it will be, if the client has said that.
        sha256: In hex, of what has been read.
    """

    def __init__(self, content: BinaryIO, expected: Mapping[str, bytes], *, size: int | None = None) -> None:
        self.size = size
        self._content = content
        self._expected = expected
        self._hashes: dict[str, Any] = {name: hashlib.new(name, usedforsecurity=False) for name in expected}
        self._sha256 = self._hashes.setdefault("sha256", hashlib.sha256())

    @property
    def sha256(self) -> str:
        return str(self._sha256.hexdigest())

    def read(self, size: int = -1) -> bytes:
        """Return some bytes, none at the end.

        Raises:
            InvalidInput: At the end, if they are not those that the client announced.
        """
        data = self._content.read(size)
        for one in self._hashes.values():
            one.update(data)
        if not data or size < 0:
            for name, digest in self._expected.items():
                if self._hashes[name].digest() != digest:
                    raise InvalidInput(
                        f"The {name} of what arrived is {self._hashes[name].hexdigest()}, not {digest.hex()}; nothing was stored.",
                        hint="It was damaged on its way: send it again.",
                    )
        return data

    def as_file(self) -> BinaryIO:
        """Return it as a file for those who only read."""
        return cast("BinaryIO", self)
