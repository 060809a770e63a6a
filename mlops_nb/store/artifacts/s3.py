"""Artifacts in S3, or a store that speaks its protocol, with transfers that pass by the server."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

from mlops_nb.errors import InvalidInput, NotFound
from mlops_nb.store.artifacts.base import DirectTransfer, MultipartUpload, SignedUrl
from mlops_nb.store.artifacts.paths import Parts
from mlops_nb.store.artifacts.remote import RemoteArtifacts

_CHUNK = 1 << 20
_MOST_AT_ONCE = 1000
_MAX_PARTS = 10_000


class S3Artifacts(RemoteArtifacts):
    """The artifacts below `s3://bucket/prefix`; address and credentials as boto3 finds them (`AWS_ENDPOINT_URL`, ...)."""

    def __init__(self, uri: str) -> None:
        # The store's redirects and errors are retried by botocore; without this one reads a whole block in 15 s or fails.
        super().__init__(uri, package="s3fs", extra="s3", options={"config_kwargs": {"read_timeout": 60}})
        self._direct = _S3Direct(self)

    @property
    def direct(self) -> DirectTransfer:
        return self._direct

    def place(self, parts: Parts) -> dict[str, str]:
        """Return bucket and key of a path."""
        bucket, _, key = self.path(parts).partition("/")
        return {"Bucket": bucket, "Key": key}

    def stream(self, path: str, start: int, end: int, etag: str) -> Iterator[bytes]:
        import fsspec.asyn

        bucket, _, key = path.partition("/")
        with self.errors(path):
            # One answer for all: it is of one version, and nothing is asked for twice.
            body = self.fs.call_s3("get_object", Bucket=bucket, Key=key, Range=f"bytes={start}-{end - 1}", IfMatch=f'"{etag}"')["Body"]
        try:
            while True:
                with self.errors(path):
                    piece = bytes(fsspec.asyn.sync(self.fs.loop, body.read, _CHUNK))
                if not piece:
                    return
                yield piece
        finally:
            self.fs.loop.call_soon_threadsafe(body.close)

    def remove(self, paths: Sequence[str]) -> None:
        for first in range(0, len(paths), _MOST_AT_ONCE):
            some = paths[first : first + _MOST_AT_ONCE]
            keys = [{"Key": path.partition("/")[2]} for path in some]
            with self.errors(some[0]):
                answer = self.fs.call_s3("delete_objects", Bucket=some[0].partition("/")[0], Delete={"Objects": keys, "Quiet": True})
                if answer.get("Errors"):
                    raise OSError(f"{len(answer['Errors'])} files stay, the first because of {answer['Errors'][0].get('Code')}")

    def cleanup(self, older_than_seconds: float) -> int:
        limit = time.time() - older_than_seconds
        place = self.place(())
        prefix = f"{place['Key']}/" if place["Key"] else ""
        asked: dict[str, Any] = {"Bucket": place["Bucket"], "Prefix": prefix}
        count = 0
        with self.errors(self.uri):
            while True:
                answer = self.fs.call_s3("list_multipart_uploads", **asked)
                for upload in answer.get("Uploads", []):
                    # Stores that know no prefix list everything.
                    if upload["Key"].startswith(prefix) and upload["Initiated"].timestamp() <= limit:
                        self._abort({"Bucket": place["Bucket"], "Key": upload["Key"]}, upload["UploadId"])
                        count += 1
                if not answer.get("IsTruncated"):
                    return count
                asked |= {"KeyMarker": answer["NextKeyMarker"], "UploadIdMarker": answer["NextUploadIdMarker"]}

    def abort(self, parts: Parts, upload_id: str) -> None:
        """Drop a multipart upload."""
        with self.errors(self.path(parts)):
            self._abort(self.place(parts), upload_id)

    def _abort(self, place: dict[str, str], upload_id: str) -> None:
        try:
            self.fs.call_s3("abort_multipart_upload", **place, UploadId=upload_id)
        except FileNotFoundError:
            return


class _S3Direct(DirectTransfer):
    def __init__(self, store: S3Artifacts) -> None:
        self._store = store

    def download_url(self, parts: Parts, seconds: int) -> SignedUrl:
        disposition = f"attachment; filename*=UTF-8''{quote(parts[-1], safe='')}"
        return SignedUrl(url=self._sign("get_object", parts, seconds, ResponseContentDisposition=disposition))

    def upload_url(self, parts: Parts, seconds: int) -> SignedUrl:
        return SignedUrl(url=self._sign("put_object", parts, seconds))

    def begin(self, parts: Parts, count: int, seconds: int) -> MultipartUpload:
        if not 1 <= count <= _MAX_PARTS:
            raise InvalidInput(f"An upload has 1 to {_MAX_PARTS} parts, not {count}.", hint="Send larger parts.")
        with self._store.errors(self._store.path(parts)):
            upload_id = str(self._store.fs.call_s3("create_multipart_upload", **self._store.place(parts))["UploadId"])
        urls = [self._sign("upload_part", parts, seconds, PartNumber=n, UploadId=upload_id) for n in range(1, count + 1)]
        return MultipartUpload(upload_id=upload_id, urls=urls)

    def complete(self, parts: Parts, upload_id: str, etags: Sequence[tuple[int, str]]) -> None:
        from botocore.exceptions import ClientError

        path = self._store.path(parts)
        sent = [{"PartNumber": number, "ETag": etag} for number, etag in sorted(etags)]
        with self._store.errors(path):
            try:
                self._store.fs.call_s3(
                    "complete_multipart_upload", **self._store.place(parts), UploadId=upload_id, MultipartUpload={"Parts": sent}
                )
            except (OSError, ClientError) as error:
                cause = error if isinstance(error, ClientError) else error.__cause__
                code = cause.response["Error"]["Code"] if isinstance(cause, ClientError) else ""
                if code == "NoSuchUpload":
                    raise NotFound(f"There is no upload {upload_id[:80]!r} of '{'/'.join(parts)}'.") from error
                if code in ("InvalidPart", "InvalidPartOrder", "EntityTooSmall", "MalformedXML"):
                    raise InvalidInput(f"The parts of '{'/'.join(parts)}' do not fit ({code}).", hint="Send the file again.") from error
                raise

    def abort(self, parts: Parts, upload_id: str) -> None:
        self._store.abort(parts, upload_id)

    def _sign(self, method: str, parts: Parts, seconds: int, **arguments: Any) -> str:
        path = self._store.path(parts)
        with self._store.errors(path):
            return str(self._store.fs.url(path, expires=seconds, client_method=method, **arguments))
