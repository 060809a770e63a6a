"""From errors to answers: one place, no traceback to the client, the log tells all."""

from __future__ import annotations

import errno
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mlops_nb.api import http
from mlops_nb.api.operation import Context, Nothing, Operation, Permission, Stream, operation
from mlops_nb.api.project import ServedProject
from mlops_nb.api.router import Route
from mlops_nb.config import find_project
from mlops_nb.errors import (
    AlreadyExists,
    FilterError,
    IllegalTransition,
    InvalidInput,
    MissingDependencyError,
    NotFound,
    PermissionDenied,
    StoreDamaged,
    StoreError,
    StoreUnreachable,
    StoreVersionError,
)
from mlops_nb.store.rest_errors import error_of


def project(folder: Path) -> ServedProject:
    return ServedProject(find_project(folder))


def raising(error: Exception) -> Operation:
    @operation("x", "GET", "/x", permission=Permission.READ)
    def function(context: Context, request: Nothing) -> str:
        """Fail."""
        raise error

    return function


def answer_to(error: Exception, folder: Path) -> tuple[int, dict[str, Any]]:
    answer = http.respond(project(folder), Route(raising(error), {}), http.HttpRequest(method="GET"))
    return answer.status, msgspec.json.decode(answer.body)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidInput("bad"), 400),
        (FilterError("bad filter", position=3, hint="so"), 400),
        (FilterError("bad filter"), 400),
        (IllegalTransition("not now"), 400),
        (AlreadyExists("taken"), 400),
        (PermissionDenied("no"), 403),
        (NotFound("gone", hint="look there"), 404),
        (StoreUnreachable("away"), 503),
        (StoreDamaged("broken"), 500),
        (StoreVersionError("too new"), 501),
        (StoreError("odd"), 500),
        (MissingDependencyError("x", extra="y", purpose="Z"), 501),
    ],
)
def test_errors_keep_their_kind_and_words_over_the_wire_and_back(error: Exception, status: int, tmp_path: Path) -> None:
    got, document = answer_to(error, tmp_path)
    assert got == status
    assert document["message"] == getattr(error, "message")  # noqa: B009
    back = error_of("http://server", got, msgspec.json.encode(document))
    assert str(back) == str(error)
    if not isinstance(error, MissingDependencyError):
        assert type(back) is type(error)
    assert getattr(back, "position", None) == getattr(error, "position", None)


def test_an_unexpected_error_is_a_number_to_the_client_and_a_traceback_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, logger="mlops_nb.api"):
        status, document = answer_to(ZeroDivisionError("secret inside"), tmp_path)
    assert (status, document["error_code"]) == (500, "INTERNAL_ERROR")
    assert "secret" not in document["message"]
    number = document["message"].split()[-1].rstrip(".")
    assert number in caplog.text
    assert "ZeroDivisionError: secret inside" in caplog.text


def test_a_full_disk_is_told_as_such(tmp_path: Path) -> None:
    status, document = answer_to(OSError(errno.ENOSPC, "No space left on device"), tmp_path)
    assert (status, document["error_code"]) == (507, "RESOURCE_EXHAUSTED")


def test_a_stream_that_fails_at_its_first_piece_is_an_error_answer(tmp_path: Path) -> None:
    def pieces() -> Iterator[bytes]:
        raise NotFound("There is no such file.")
        yield b""

    @operation("x", "GET", "/x", permission=Permission.READ)
    def function(context: Context, request: Nothing) -> Stream:
        """Fail late."""
        return Stream(chunks=pieces(), file_name="a.txt")

    answer = http.respond(project(tmp_path), Route(function, {}), http.HttpRequest(method="GET"))
    assert answer.status == 404
    assert answer.stream is None


def test_an_upload_without_a_body_is_refused_and_one_with_a_body_reaches_the_operation(tmp_path: Path) -> None:
    @operation("x", "PUT", "/x", permission=Permission.READ, upload=True)
    def function(context: Context, request: Nothing) -> str:
        """Echo."""
        return context.upload.read().decode()

    missing = http.respond(project(tmp_path), Route(function, {}), http.HttpRequest(method="PUT"))
    assert missing.status == 400
    given = http.respond(project(tmp_path), Route(function, {}), http.HttpRequest(method="PUT", upload=io.BytesIO(b"bytes")))
    assert given.body == b"bytes"


def test_an_answer_that_is_no_mlops_nb_servers_says_where_the_mistake_is() -> None:
    assert isinstance(error_of("http://x", 404, b"<html>"), StoreUnreachable)
    assert "/mlops" in str(error_of("http://x", 404, b"<html>"))
    assert isinstance(error_of("http://x", 403, b"Forbidden"), PermissionDenied)
    assert isinstance(error_of("http://x", 502, b""), StoreUnreachable)
