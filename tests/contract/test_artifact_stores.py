"""Every artifact store against the contract, and what is special to one: links of a folder, parts of S3, errors of a cloud."""

from __future__ import annotations

import io
import os
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest
import requests

from mlops_nb.errors import InvalidInput, MissingDependencyError, NotFound, StoreUnreachable
from mlops_nb.store.artifacts import ArtifactStore, LocalArtifacts, open_artifacts
from tests.contract.artifact_contract import ArtifactStoreContract, Pieces, put, text_of
from tests.object_stores import BUCKET, CONTAINER, S3Server, azure, free_port, s3  # noqa: F401 - fixtures


class TestLocal(ArtifactStoreContract):
    @pytest.fixture
    def artifacts(self, tmp_path: Path) -> ArtifactStore:
        return open_artifacts(str(tmp_path / "root"))

    def test_files_and_folders_are_the_owners_alone(self, artifacts: LocalArtifacts) -> None:
        put(artifacts, b"x", "1", "d", "a")
        assert {oct(path.stat().st_mode & 0o777) for path in artifacts.root.rglob("*")} == {"0o700", "0o600"}

    def test_a_file_and_a_folder_cannot_have_one_name(self, artifacts: ArtifactStore) -> None:
        put(artifacts, b"x", "1", "a", "b")
        for path in (("1", "a"), ("1", "a", "b", "c")):
            with pytest.raises(InvalidInput, match="same name"):
                put(artifacts, b"y", *path)

    def test_links_are_neither_listed_nor_read_nor_written_through(self, artifacts: LocalArtifacts, tmp_path: Path) -> None:
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "secret").write_text("secret")
        put(artifacts, b"x", "1", "a")
        folder = artifacts.root / "1"
        (folder / "file").symlink_to(outside / "secret")
        (folder / "folder").symlink_to(outside)
        (folder / "up").symlink_to("../..")
        assert [a.path for a in artifacts.list(("1",), recursive=True)] == [a.path for a in artifacts.list(("1",))] == ["a"]
        for path in (("1", "file"), ("1", "folder", "secret"), ("1", "up", "outside", "secret")):
            with pytest.raises(NotFound):
                artifacts.open(path)
        with pytest.raises(InvalidInput):
            put(artifacts, b"planted", "1", "folder", "planted")
        put(artifacts, b"mine", "1", "file")  # takes the place of the link
        artifacts.delete(("1", "folder"))
        artifacts.delete(("1",))
        assert (outside / "secret").read_text() == "secret"
        assert sorted(path.name for path in outside.iterdir()) == ["secret"]

    def test_names_that_no_client_could_ask_for_are_not_offered(self, artifacts: LocalArtifacts) -> None:
        put(artifacts, b"x", "1", "a")
        for name in (b"line\nbreak", b"back\\slash", b"not-utf-8-\xff"):
            Path(os.fsdecode(bytes(artifacts.root / "1") + b"/" + name)).touch()
        assert [a.path for a in artifacts.list(("1",))] == ["a"]

    def test_a_pipe_among_the_files_holds_nobody(self, artifacts: LocalArtifacts) -> None:
        put(artifacts, b"x", "1", "a")
        os.mkfifo(artifacts.root / "1" / "pipe")
        with pytest.raises(NotFound):
            artifacts.open(("1", "pipe"))
        assert [a.path for a in artifacts.list(("1",))] == ["a"]

    def test_a_folder_that_becomes_a_link_while_it_is_used_leads_nobody_out(self, artifacts: LocalArtifacts, tmp_path: Path) -> None:
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "f").write_bytes(b"secret")
        put(artifacts, b"inside", "1", "d", "f")
        folder, aside = artifacts.root / "1" / "d", artifacts.root / "1" / "aside"
        done = threading.Event()

        def swap() -> None:
            while not done.is_set():
                folder.rename(aside)
                folder.symlink_to(outside)
                folder.unlink()
                aside.rename(folder)

        swapping = threading.Thread(target=swap)
        swapping.start()
        try:
            read = 0
            deadline = time.monotonic() + 20
            while read < 200 and time.monotonic() < deadline:
                try:
                    assert text_of(artifacts, "1", "d", "f") == b"inside"
                    read += 1
                except NotFound:
                    continue
                assert [a.path for a in artifacts.list(("1", "d"), recursive=True)] in ([], ["f"])
        finally:
            done.set()
            swapping.join()
        assert read
        assert [path.name for path in outside.iterdir()] == ["f"]

    def test_a_file_that_is_replaced_while_it_is_read_is_read_to_its_end(self, artifacts: ArtifactStore) -> None:
        artifacts.write(("1", "a"), Pieces(3 << 20).as_file())
        pieces = artifacts.read(("1", "a"))
        first = next(pieces)
        put(artifacts, b"other", "1", "a")
        assert len(first) + sum(map(len, pieces)) == 3 << 20

    def test_what_a_dead_process_left_is_hidden_until_it_is_cleaned_up(self, artifacts: LocalArtifacts) -> None:
        put(artifacts, b"x", "1", "a")
        left = artifacts.root / "1" / ".mlops-partial-0123456789abcdef"
        left.write_bytes(b"half")
        assert [a.path for a in artifacts.list(("1",), recursive=True)] == ["a"]
        assert artifacts.cleanup(60) == 0
        os.utime(left, (time.time() - 120,) * 2)
        assert artifacts.cleanup(60) == 1
        assert not left.exists()

    def test_a_folder_that_cannot_be_written_is_an_error_of_the_store(self, tmp_path: Path) -> None:
        (tmp_path / "root").write_text("a file")
        with pytest.raises((InvalidInput, StoreUnreachable)):
            put(open_artifacts(str(tmp_path / "root")), b"x", "1", "a")


class TestMemory(ArtifactStoreContract):
    """The code that all object stores share, without a cloud."""

    @pytest.fixture
    def artifacts(self) -> ArtifactStore:
        return open_artifacts(f"memory://{uuid.uuid4().hex}/root")


class TestS3(ArtifactStoreContract):
    @pytest.fixture
    def artifacts(self, s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> ArtifactStore:  # noqa: F811
        for name, value in s3.environment.items():
            monkeypatch.setenv(name, value)
        return open_artifacts(f"s3://{BUCKET}/{uuid.uuid4().hex}/a root")

    def test_nothing_beside_the_prefix_is_seen_or_touched(self, artifacts: ArtifactStore, s3: S3Server) -> None:  # noqa: F811
        key = f"{artifacts.uri.removeprefix(f's3://{BUCKET}/')}-twin/1/a"
        s3.client.put_object(Bucket=BUCKET, Key=key, Body=b"theirs")
        put(artifacts, b"x", "1", "a")
        assert [a.path for a in artifacts.list((), recursive=True)] == ["1/a"]
        artifacts.delete(("1",))
        artifacts.delete(())
        assert key in s3.keys(key)

    def test_a_failed_upload_leaves_no_parts_that_cost_money(self, artifacts: ArtifactStore, s3: S3Server) -> None:  # noqa: F811
        with pytest.raises(InvalidInput):
            artifacts.write(("1", "a"), Pieces(48 << 20, fails_at=40 << 20).as_file())
        assert s3.uploads() == []

    def test_parts_of_an_upload_that_died_are_cleaned_up(self, artifacts: ArtifactStore, s3: S3Server) -> None:  # noqa: F811
        place = artifacts.uri.removeprefix(f"s3://{BUCKET}/")
        s3.client.create_multipart_upload(Bucket=BUCKET, Key=f"{place}/1/a")
        s3.client.create_multipart_upload(Bucket=BUCKET, Key=f"{place}-twin/1/a")
        assert artifacts.cleanup(1e10) == 0
        assert artifacts.cleanup(3600) == 1  # moto says of every upload that it began in 2010
        assert s3.uploads() == [f"{place}-twin/1/a"]
        s3.client.abort_multipart_upload(
            Bucket=BUCKET, Key=f"{place}-twin/1/a", UploadId=s3.client.list_multipart_uploads(Bucket=BUCKET)["Uploads"][0]["UploadId"]
        )

    def test_a_client_sends_parts_and_fetches_past_us(self, artifacts: ArtifactStore) -> None:
        direct = artifacts.direct
        assert direct is not None
        path = ("1", "a ü#?.bin")
        begun = direct.begin(path, 2, 600)
        sent = [requests.put(url, data=data, timeout=30) for url, data in zip(begun.urls, (b"x" * (5 << 20), b"end"), strict=True)]
        assert artifacts.list(("1",)) == []
        direct.complete(path, begun.upload_id, [(n, answer.headers["ETag"]) for n, answer in enumerate(sent, 1)])
        assert text_of(artifacts, *path) == b"x" * (5 << 20) + b"end"
        answer = requests.get(direct.download_url(path, 600).url, headers={"Range": f"bytes={5 << 20}-"}, timeout=30)
        assert (answer.status_code, answer.content) == (206, b"end")
        assert requests.put(direct.upload_url(("1", "b"), 600).url, data=b"put", timeout=30).ok
        assert text_of(artifacts, "1", "b") == b"put"

    def test_an_upload_of_other_parts_than_were_sent_is_refused_and_may_be_aborted(self, artifacts: ArtifactStore) -> None:
        direct = artifacts.direct
        assert direct is not None
        begun = direct.begin(("1", "a"), 2, 600)
        tags = [requests.put(url, data=b"too small", timeout=30).headers["ETag"] for url in begun.urls]
        for etags in ([(1, '"another"')], list(enumerate(tags, 1))):
            with pytest.raises(InvalidInput, match="do not fit"):
                direct.complete(("1", "a"), begun.upload_id, etags)
        for _ in range(2):
            direct.abort(("1", "a"), begun.upload_id)
        assert artifacts.list(("1",)) == []
        for count in (0, 10_001):
            with pytest.raises(InvalidInput, match="parts"):
                direct.begin(("1", "a"), count, 600)

    def test_a_file_that_is_replaced_while_it_is_read_is_no_mixture(self, artifacts: ArtifactStore) -> None:
        put(artifacts, b"a" * (24 << 20), "1", "a")
        pieces = artifacts.read(("1", "a"))
        whole = [next(pieces)]
        put(artifacts, b"b" * (24 << 20), "1", "a")
        with pytest.raises(StoreUnreachable, match="replaced"):
            whole.extend(pieces)
        assert set(b"".join(whole)) == set(b"a")

    def test_a_name_that_s3fs_would_take_for_a_version_is_refused(self, artifacts: ArtifactStore) -> None:
        with pytest.raises(InvalidInput, match="versionId"):
            put(artifacts, b"x", "1", "a?versionId=b")

    def test_names_that_no_client_could_ask_for_are_not_offered(self, artifacts: ArtifactStore, s3: S3Server) -> None:  # noqa: F811
        place = artifacts.uri.removeprefix(f"s3://{BUCKET}/")
        for key in ("1/a", "1/back\\slash", "1/x//y", "1/marker/", "1/.mlops-partial-1"):
            s3.client.put_object(Bucket=BUCKET, Key=f"{place}/{key}", Body=b"x")
        assert [a.path for a in artifacts.list(("1",), recursive=True)] == ["a"]
        assert "a" in [a.path for a in artifacts.list(("1",))]

    def test_more_files_are_deleted_than_one_request_takes(self, artifacts: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("mlops_nb.store.artifacts.s3._MOST_AT_ONCE", 3)
        for number in range(8):
            put(artifacts, b"x", "1", str(number))
        artifacts.delete(("1",))
        assert artifacts.list(("1",)) == []


@pytest.mark.slow
class TestAzure(ArtifactStoreContract):
    @pytest.fixture
    def artifacts(self, azure: str, monkeypatch: pytest.MonkeyPatch) -> ArtifactStore:  # noqa: F811
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azure)
        return open_artifacts(f"az://{CONTAINER}/{uuid.uuid4().hex}/root")


def test_a_store_that_does_not_answer_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}"),
        ("AWS_ACCESS_KEY_ID", "x"),
        ("AWS_SECRET_ACCESS_KEY", "x"),
    ):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    artifacts = open_artifacts("s3://bucket/root")
    monkeypatch.setattr("s3fs.S3FileSystem.retries", 1)
    with pytest.raises(StoreUnreachable, match="s3://bucket/root") as caught:
        artifacts.list(("1",))
    assert "credentials" in str(caught.value)


def test_a_bucket_that_is_not_there_cannot_be_written(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    artifacts = open_artifacts("s3://nobodys/root")
    with pytest.raises(StoreUnreachable, match="bucket"):
        put(artifacts, b"x", "1", "a")
    with pytest.raises(StoreUnreachable, match="bucket"):
        artifacts.write(("1", "a"), Pieces(20 << 20).as_file())


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "s3://",
        "s3:///x",
        "s3://bucket/a/../b",
        "s3://bucket/a?x=1",
        "s3://bucket/a#x",
        "s3://key:secret@bucket/a",
        "ftp://host/a",
        "http://host/a",
        "file://host/a",
        "file:relative",
    ],
)
def test_a_root_that_is_none_is_refused(uri: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        open_artifacts(uri)
    assert caught.value.hint
    assert "secret" not in str(caught.value)


def test_a_folder_may_be_given_as_a_uri(tmp_path: Path) -> None:
    for uri in (str(tmp_path / "a b"), (tmp_path / "a b").as_uri()):
        store = open_artifacts(uri)
        assert isinstance(store, LocalArtifacts)
        assert store.root == tmp_path / "a b"
        assert store.uri == (tmp_path / "a b").as_uri()


@pytest.mark.parametrize(("uri", "package", "extra"), [("s3://b", "s3fs", "s3"), ("gs://b", "gcsfs", "gcs"), ("az://b", "adlfs", "azure")])
def test_a_package_that_is_missing_is_named_with_its_extra(uri: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError, match=package) as caught:
        open_artifacts(uri)
    assert f"mlops-nb[{extra}]" in str(caught.value)


def test_a_partial_file_that_is_being_written_survives_a_cleanup(tmp_path: Path) -> None:
    store = LocalArtifacts(tmp_path)
    found: list[int] = []

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            found.append(store.cleanup(60))
            return super().read(size)

    store.write(("1", "a"), Slow(b"x"))
    assert set(found) == {0}
    assert text_of(store, "1", "a") == b"x"
