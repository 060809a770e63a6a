"""What every artifact store must do. A test class of a store inherits this one and has a fixture `artifacts`."""

from __future__ import annotations

import hashlib
import io
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import pytest

from mlops_nb.errors import InvalidInput, NotFound
from mlops_nb.store.artifacts import ArtifactStore

ODD_NAMES = [
    "a b#c?d.txt",
    "100%.txt",
    "%2e%2e",
    "a%2Fb",
    "üñí ☃ 🚀.json",
    "x*",
    "[a]",
    "{b}",
    "a+b&c=d",
    " lead",
    "trail ",
    "dot.",
    "...",
    "．．",
    "~",
    "-rf",
    "a:b",
    "'\";<>|",
]


def text_of(store: ArtifactStore, *parts: str) -> bytes:
    return b"".join(store.read(parts))


def put(store: ArtifactStore, data: bytes, *parts: str) -> int:
    return store.write(parts, io.BytesIO(data), size=len(data))


class Pieces:
    """A file that makes its bytes as it is read, and may fail half-way."""

    def __init__(self, size: int, *, fails_at: int | None = None, on_read: Callable[[int], None] | None = None) -> None:
        self.sha256 = hashlib.sha256()
        self._left = size
        self._at = 0
        self._fails_at = fails_at
        self._on_read = on_read
        self._block = os.urandom(1 << 20)

    def read(self, size: int = -1) -> bytes:
        if self._fails_at is not None and self._at >= self._fails_at:
            raise InvalidInput("The client left.")
        if self._on_read is not None:
            self._on_read(self._at)
        piece = self._block[: min(self._left, len(self._block) if size < 0 else size)]
        self._left -= len(piece)
        self._at += len(piece)
        self.sha256.update(piece)
        return piece

    def as_file(self) -> io.BytesIO:
        return cast("io.BytesIO", self)


class ArtifactStoreContract:
    """The tests."""

    def test_files_are_written_listed_read_replaced_and_deleted(self, artifacts: ArtifactStore) -> None:
        for path, data in (("a.txt", b"one"), ("d/b.bin", bytes(range(256))), ("d/e/c", b"{}"), ("empty", b"")):
            assert put(artifacts, data, "1", *path.split("/")) == len(data)
        assert [(a.path, a.is_dir, a.file_size) for a in artifacts.list(("1",))] == [
            ("a.txt", False, 3),
            ("d", True, None),
            ("empty", False, 0),
        ]
        assert [a.path for a in artifacts.list(("1", "d"))] == ["b.bin", "e"]
        assert [a.path for a in artifacts.list(("1",), recursive=True)] == ["a.txt", "d/b.bin", "d/e/c", "empty"]
        assert text_of(artifacts, "1", "d", "b.bin") == bytes(range(256))
        assert text_of(artifacts, "1", "empty") == b""
        put(artifacts, b"two!", "1", "a.txt")
        assert text_of(artifacts, "1", "a.txt") == b"two!"
        artifacts.delete(("1", "d", "b.bin"))
        assert [a.path for a in artifacts.list(("1",), recursive=True)] == ["a.txt", "d/e/c", "empty"]
        artifacts.delete(("1",))
        assert artifacts.list(("1",), recursive=True) == []

    def test_what_is_not_there_lists_as_nothing_and_is_not_found(self, artifacts: ArtifactStore) -> None:
        put(artifacts, b"x", "1", "d", "a")
        assert artifacts.list(("2",)) == artifacts.list(("1", "d", "a")) == artifacts.list(("1", "d", "a"), recursive=True) == []
        for missing in (("2",), ("1", "x"), ("1", "d"), ("1", "d", "a", "b")):
            with pytest.raises(NotFound):
                artifacts.open(missing)
        artifacts.delete(("2", "x"))

    def test_a_part_of_a_file_can_be_read(self, artifacts: ArtifactStore) -> None:
        put(artifacts, bytes(range(100)), "1", "a")
        for start, end in ((0, None), (0, 1), (99, 100), (10, 20), (50, 1000)):
            assert b"".join(artifacts.read(("1", "a"), start, end)) == bytes(range(100))[start:end]

    def test_the_etag_is_the_same_as_long_as_the_file_is(self, artifacts: ArtifactStore) -> None:
        def stat() -> tuple[int, str]:
            file = artifacts.open(("1", "a"))
            file.close()
            return file.stat.size, file.stat.etag

        put(artifacts, b"one", "1", "a")
        first = stat()
        assert first == stat()
        assert first[1] and first[1].isprintable() and '"' not in first[1] and " " not in first[1]
        put(artifacts, b"two", "1", "a")
        assert stat()[1] != first[1]

    def test_odd_names_are_plain_names(self, artifacts: ArtifactStore) -> None:
        for name in ODD_NAMES:
            put(artifacts, name.encode(), "1", name)
        assert [a.path for a in artifacts.list(("1",))] == sorted(ODD_NAMES)
        for name in ODD_NAMES:
            assert text_of(artifacts, "1", name) == name.encode()
            artifacts.delete(("1", name))
            assert name not in [a.path for a in artifacts.list(("1",), recursive=True)]
        assert artifacts.list(("1",)) == []

    def test_a_name_that_begins_as_another_is_another(self, artifacts: ArtifactStore) -> None:
        for path in (("1", "a"), ("1", "ab"), ("1", "a.b"), ("12", "a"), ("1", "d", "x"), ("1", "dd", "x")):
            put(artifacts, b"x", *path)
        artifacts.delete(("1", "d"))
        artifacts.delete(("1", "a"))
        assert [a.path for a in artifacts.list(("1",), recursive=True)] == ["a.b", "ab", "dd/x"]
        artifacts.delete(("1",))
        assert [a.path for a in artifacts.list(("12",))] == ["a"]

    def test_a_file_of_many_blocks_comes_back_as_it_went(self, artifacts: ArtifactStore) -> None:
        content = Pieces((40 << 20) + 17)
        assert artifacts.write(("1", "large"), content.as_file()) == (40 << 20) + 17
        found = hashlib.sha256()
        longest = 0
        for piece in artifacts.read(("1", "large")):
            found.update(piece)
            longest = max(longest, len(piece))
        assert found.digest() == content.sha256.digest()
        assert longest <= 8 << 20

    def test_a_file_is_not_there_until_all_of_it_is(self, artifacts: ArtifactStore) -> None:
        seen: list[int] = []

        def look(at: int) -> None:
            if at >= 20 << 20:
                seen.append(len(artifacts.list(("1",), recursive=True)))

        artifacts.write(("1", "d", "large"), Pieces(24 << 20, on_read=look).as_file())
        assert seen and set(seen) == {0}
        assert [a.file_size for a in artifacts.list(("1",), recursive=True)] == [24 << 20]

    @pytest.mark.parametrize("size", [0, 1 << 20, 40 << 20])
    def test_an_upload_that_fails_leaves_what_was_there(self, artifacts: ArtifactStore, size: int) -> None:
        put(artifacts, b"old", "1", "a")
        for name in ("a", "b"):
            with pytest.raises(InvalidInput, match="The client left"):
                artifacts.write(("1", name), Pieces(48 << 20, fails_at=size).as_file())
        assert [a.path for a in artifacts.list(("1",), recursive=True)] == ["a"]
        assert text_of(artifacts, "1", "a") == b"old"

    def test_of_writers_at_once_one_wins_whole(self, artifacts: ArtifactStore) -> None:
        start = threading.Barrier(4)

        def write(number: int) -> None:
            start.wait(30)
            put(artifacts, bytes([number]) * 100_000, "1", "a")

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(write, range(4)))
        assert text_of(artifacts, "1", "a") in {bytes([number]) * 100_000 for number in range(4)}
        assert [a.path for a in artifacts.list(("1",), recursive=True)] == ["a"]

    def test_there_is_nothing_to_clean_up_where_all_went_well(self, artifacts: ArtifactStore) -> None:
        put(artifacts, b"x", "1", "a")
        assert artifacts.cleanup(0) == 0
        assert text_of(artifacts, "1", "a") == b"x"
