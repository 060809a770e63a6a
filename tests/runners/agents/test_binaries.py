"""No agent's program is executed that is not the one that was meant."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mlops_nb.errors import InvalidInput, MlopsError, StoreUnreachable
from mlops_nb.outgoing import ENV_ALLOWED_HOSTS
from mlops_nb.runners.agents import binaries
from mlops_nb.runners.agents.enrolment import Binary

HOST = "127.0.0.1"


class Downloads:
    """A server of files."""

    def __init__(self) -> None:
        files: dict[str, bytes] = {}

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

            def do_GET(self) -> None:
                content = files.get(self.path)
                self.send_response(404 if content is None else 200)
                self.send_header("Content-Length", str(len(content or b"")))
                self.end_headers()
                self.wfile.write(content or b"")

        self.files = files
        self.server = ThreadingHTTPServer((HOST, 0), Handler)
        self.url = f"http://{HOST}:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def add(self, path: str, content: bytes) -> Binary:
        self.files[path] = content
        return Binary(version="1", url=self.url + path, sha256=hashlib.sha256(content).hexdigest())

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5)


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> Iterator[Downloads]:
    made = Downloads()
    monkeypatch.setenv(ENV_ALLOWED_HOSTS, made.url.partition("//")[2])
    yield made
    made.close()


def archive(**files: str) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name.replace("__", "/"))
            info.size, info.mode = len(text), 0o755
            tar.addfile(info, io.BytesIO(text.encode()))
    return target.getvalue()


def test_an_archive_with_the_right_checksum_is_unpacked_once(downloads: Downloads, tmp_path: Path) -> None:
    binary = downloads.add("/runner.tar.gz", archive(**{"run.sh": "#!/bin/sh", "bin__Runner": "x"}))
    told: list[str] = []
    folder = binaries.install(binary, tmp_path, told.append)
    assert (folder / "run.sh").stat().st_mode & 0o111 and (folder / "bin" / "Runner").read_text() == "x"
    downloads.files.clear()
    assert binaries.install(binary, tmp_path, told.append) == folder
    assert told == ["Fetching runner.tar.gz."]
    assert [one.name for one in tmp_path.iterdir()] == [folder.name]


def test_a_program_with_another_checksum_is_refused_and_nothing_of_it_stays(downloads: Downloads, tmp_path: Path) -> None:
    binary = downloads.add("/gitlab-runner", b"the program")
    downloads.files["/gitlab-runner"] = b"another program"
    with pytest.raises(InvalidInput, match="nothing of it is executed"):
        binaries.install(binary, tmp_path, lambda line: None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../escaped", "/tmp/escaped-from-archive"])
def test_an_archive_that_reaches_out_of_its_folder_is_refused(downloads: Downloads, tmp_path: Path, name: str) -> None:
    binary = downloads.add("/runner.tar.gz", archive(**{name: "x"}))
    cache = tmp_path / "cache"
    try:
        folder = binaries.install(binary, cache, lambda line: None)
    except InvalidInput:
        folder = None
    assert not (tmp_path / "escaped").exists() and not Path("/tmp/escaped-from-archive").exists()
    assert folder is None or name.startswith("/")  # an absolute name is made one below the folder


def test_a_download_that_is_not_there_says_what_to_do(downloads: Downloads, tmp_path: Path) -> None:
    binary = Binary(version="1", url=f"{downloads.url}/nothing", sha256="0" * 64)
    with pytest.raises(StoreUnreachable, match=r"HTTP 404.*MLOPS_NB_AGENT_PROGRAM"):
        binaries.install(binary, tmp_path, lambda line: None)
    downloads.close()
    with pytest.raises(MlopsError, match="cannot be fetched"):
        binaries.install(binary, tmp_path, lambda line: None)


def test_gitlabs_checksums_are_kept_when_first_seen_and_a_later_change_is_refused(downloads: Downloads, tmp_path: Path) -> None:
    seen = tmp_path / "seen.json"
    listed = f"{'a' * 64} *binaries/gitlab-runner-linux-amd64\n{'b' * 64} *binaries/gitlab-runner-linux-arm64\n{'c' * 64} *deb/x.deb\n"
    path = f"/v{binaries.GITLAB_VERSION}/release.sha256"
    downloads.files[path] = listed.encode()
    found = binaries.gitlab_binaries({}, seen, downloads=downloads.url)
    assert {key: one.sha256 for key, one in found.items()} == {"x64": "a" * 64, "arm64": "b" * 64}
    assert found["arm64"].url.endswith("/binaries/gitlab-runner-linux-arm64")
    downloads.files[path] = listed.replace("a" * 64, "d" * 64).encode()
    with pytest.raises(InvalidInput, match="other checksums"):
        binaries.gitlab_binaries({}, seen, downloads=downloads.url)
    del downloads.files[path]
    with pytest.raises(StoreUnreachable, match="MLOPS_NB_GITLAB_RUNNER"):
        binaries.gitlab_binaries({}, tmp_path / "new.json", downloads=downloads.url)


def test_given_checksums_are_taken_without_asking_anybody(tmp_path: Path) -> None:
    given = {binaries.ENV_GITLAB: f"v18.6.1 x64={'A' * 64}"}
    (found,) = binaries.gitlab_binaries(given, tmp_path / "seen", downloads="http://127.0.0.1:9").values()
    assert (found.version, found.sha256) == ("18.6.1", "a" * 64)
    for wrong in ("latest", "18.6.1 x64=abc", "18.6.1 mips=" + "a" * 64, "18.6.1; rm -rf /"):
        with pytest.raises(InvalidInput, match="cannot be read"):
            binaries.gitlab_binaries({binaries.ENV_GITLAB: wrong}, tmp_path / "seen")


def test_the_pinned_agents_are_of_one_version_for_both_architectures() -> None:
    assert set(binaries.GITHUB) == {"x64", "arm64"}
    for architecture, binary in binaries.GITHUB.items():
        assert re.fullmatch(r"[0-9a-f]{64}", binary.sha256)
        assert binary.url.endswith(f"/v{binary.version}/actions-runner-linux-{architecture}-{binary.version}.tar.gz")
        assert binary.version == binaries.GITHUB_VERSION
    assert binaries.architecture() in binaries.GITHUB
