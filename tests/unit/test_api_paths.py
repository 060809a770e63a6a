"""Artifact paths, before and after somebody decodes them once more."""

from __future__ import annotations

import pytest

from mlops_nb.api.files import file_headers
from mlops_nb.api.paths import artifact_file, artifact_folder, split_proxy_path
from mlops_nb.errors import InvalidInput


@pytest.mark.parametrize("path", ["a", "a/b.txt", "100%.txt", "ü ☃#?.txt", "..a", "a..b", "a:b.txt", "%20", "50%25"])
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


def test_a_proxy_path_is_experiment_run_and_path() -> None:
    assert split_proxy_path("1/abc/artifacts/d/e.txt") == ("1", "abc", "d/e.txt")
    assert split_proxy_path("1/abc/artifacts") == ("1", "abc", "")
    for wrong in ("1/abc/other/x", "1/abc", "artifacts/x", "/abc/artifacts/x", "1//artifacts"):
        with pytest.raises(InvalidInput):
            split_proxy_path(wrong)


def test_the_name_of_a_file_cannot_break_out_of_its_header() -> None:
    header = file_headers('a"; filename="evil.html\r\nX: y.png')["Content-Disposition"]
    assert "\r" not in header
    assert "\n" not in header
    assert header.count('"') == 2
