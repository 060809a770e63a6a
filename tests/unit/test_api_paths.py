"""Artifact paths, before and after somebody decodes them once more."""

from __future__ import annotations

import pytest

from mlops_nb.api.files import file_headers
from mlops_nb.api.paths import artifact_file, artifact_folder, proxy_places
from mlops_nb.core.artifacts import OwnerKind
from mlops_nb.errors import InvalidInput


@pytest.mark.parametrize(
    "path",
    [
        "a",
        "a/b.txt",
        "100%.txt",
        "ü ☃#?.txt",
        "..a",
        "a..b",
        "a:b.txt",
        "%20",
        "50%25",
        "．．",
        "a／b",
        "..．",
        "a ",
        "a.",
        "...",
        "é" * 125,
    ],
)
def test_harmless_paths_stay_as_they_are(path: str) -> None:
    assert artifact_file(path) == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/a",
        "..",
        "a/../b",
        "a//b",
        "a/",
        "./a",
        "%2e%2e/x",
        "%252e%252e%252fx",
        "%25252e%25252e/x",
        "a%00",
        "a\\b",
        "a%5cb",
        "%2fetc",
        "C:/x",
        "%" + "25" * 9 + "41",
        "a\x85b",
        "a\x9fb",
        "\ud800",
        ".mlops-partial-1",
        "a/.mlops-partial-1/b",
        "x" * 251,
        "é" * 126,
        "/".join(["abc"] * 501),
    ],
)
def test_paths_that_lead_out_are_refused_however_they_are_written(path: str) -> None:
    with pytest.raises(InvalidInput, match="Invalid path"):
        artifact_file(path)


def test_a_folder_may_be_the_root_and_may_end_in_a_slash() -> None:
    assert artifact_folder("") == ""
    assert artifact_folder("a/b/") == "a/b"
    with pytest.raises(InvalidInput):
        artifact_folder("/")


def test_a_proxy_path_is_the_location_of_an_experiment_an_owner_and_a_path() -> None:
    assert proxy_places("1/abc/artifacts/d/e.txt") == [(OwnerKind.RUN, "abc", "mlflow-artifacts:/1/abc/artifacts", "d/e.txt")]
    assert proxy_places("1/abc/artifacts") == [(OwnerKind.RUN, "abc", "mlflow-artifacts:/1/abc/artifacts", "")]
    assert proxy_places("a/b/c/abc/artifacts/x")[0].uri == "mlflow-artifacts:/a/b/c/abc/artifacts"
    for wrong in ("1/abc/other/x", "1/abc", "artifacts/x", "/abc/artifacts/x", "1//artifacts", "1/abc/artifacts/../../x", ""):
        with pytest.raises(InvalidInput):
            proxy_places(wrong)


def test_a_proxy_path_may_lead_to_a_logged_model_or_a_trace_or_to_a_run_with_such_names_around_it() -> None:
    model, run = proxy_places("1/models/m-1/artifacts/MLmodel")
    assert model == (OwnerKind.MODEL, "m-1", "mlflow-artifacts:/1/models/m-1/artifacts", "MLmodel")
    assert run == (OwnerKind.RUN, "m-1", "mlflow-artifacts:/1/models/m-1/artifacts", "MLmodel")
    assert proxy_places("1/traces/tr-1/artifacts/traces.json")[0].kind is OwnerKind.TRACE
    assert [place.path for place in proxy_places("1/r/artifacts/deep/artifacts/x")] == ["deep/artifacts/x", "x"]


def test_the_name_of_a_file_cannot_break_out_of_its_header() -> None:
    header = file_headers('a"; filename="evil.html\r\nX: y.png')["Content-Disposition"]
    assert "\r" not in header
    assert "\n" not in header
    assert header.count('"') == 2
