"""Homes of images beside the forge: Azure's and Google's stores, and the tracking server."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from mlops_nb.forges.base import AssetFile
from mlops_nb.posting.publishing import BucketHome
from mlops_nb.posting.tracking_home import TrackingHome
from tests.forges.github import LoopbackGitHub
from tests.forges.server import LoopbackForge, Reply, Request, route
from tests.object_stores import BUCKET, CONTAINER, S3Server, azure, s3  # noqa: F401 - fixtures
from tests.posting.conftest import PNG, StepAt
from tests.team import READ_TOKEN, TOKEN, TeamProcess, start_team, team  # noqa: F401 - fixtures

FILE = AssetFile(name="roc.png", content=PNG, mime="image/png")


class Google(LoopbackForge):
    """As much of Google's storage as an upload needs, after "JSON API" in cloud.google.com/storage/docs."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[str, bytes]] = {}
        super().__init__()

    @route("GET", "/storage/v1/b/{bucket}/o/{name}")
    def about(self, request: Request) -> Reply:
        name = request.params["name"]
        if name not in self.objects:
            return Reply({"error": {"code": 404, "message": f"No such object: {name}"}}, 404)
        return Reply({"name": name, "bucket": request.params["bucket"], "size": str(len(self.objects[name][1])), "generation": "1"})

    @route("GET", "/storage/v1/b/{bucket}/o")
    def listed(self, request: Request) -> Reply:
        return Reply({"kind": "storage#objects", "items": []})

    @route("POST", "/upload/storage/v1/b/{bucket}/o")
    def upload(self, request: Request) -> Reply:
        kind = request.headers["Content-Type"]
        boundary = re.search(r"boundary=\"?([^\";]+)", kind)
        name, content = request.one("name", ""), request.body
        if boundary:
            about, media = (part.partition(b"\n\n") for part in content.replace(b"\r\n", b"\n").split(f"--{boundary[1]}".encode())[1:3])
            name, kind = json.loads(about[2])["name"], media[0].decode().partition("Content-Type:")[2].split("\n")[0].strip()
            content = media[2].removesuffix(b"\n")
        self.objects[name] = (kind, content)
        return Reply({"name": name, "bucket": request.params["bucket"], "size": str(len(content)), "generation": "1"})


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch) -> Iterator[Google]:
    server = Google()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # or it looks for credentials all over the machine
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    yield server
    server.close()


def test_google_knows_that_it_is_an_image(google: Google) -> None:
    home = BucketHome("gs://plots/ci?base=https://plots.example.org/ci")
    (url,) = home.publish([FILE])
    assert re.fullmatch(r"https://plots\.example\.org/ci/[0-9a-f]{32}\.png", url)
    assert {name: kind for name, (kind, _) in google.objects.items()} == {f"ci/{url.rpartition('/')[2]}": "image/png"}


@pytest.mark.slow
def test_azure_gives_signed_addresses_of_images(
    azure: str,  # noqa: F811
    hub: LoopbackGitHub,
    work: Path,
    step_at: StepAt,
) -> None:
    (work / "roc.png").write_bytes(PNG)
    step = step_at(AZURE_STORAGE_CONNECTION_STRING=azure)
    signed = step.url("asset", "publish", "--url", f"az://{CONTAINER}/ci", "roc.png")
    answer = requests.get(signed, timeout=10)
    assert (answer.status_code, answer.content, answer.headers["Content-Type"]) == (200, PNG, "image/png")
    assert step.url("asset", "publish", "--url", f"az://{CONTAINER}/ci", "roc.png").partition("?")[0] == signed.partition("?")[0]
    assert requests.get(signed.partition("?")[0], timeout=10).status_code in (403, 404, 409)
    assert hub.git.resolve("mlops-reports") is None


def test_images_may_go_to_the_tracking_server(
    team: TeamProcess,  # noqa: F811
    hub: LoopbackGitHub,
    work: Path,
    step_at: StepAt,
) -> None:
    number = hub.open_pull("topic").number
    (work / "roc.png").write_bytes(PNG)
    (work / "report.md").write_text("![](roc.png) and ![](roc.png)")
    step = step_at("pull_request", number, MLOPS_NB_TRACKING_URI=team.url, MLOPS_NB_TRACKING_TOKEN=TOKEN)
    for _ in range(2):
        step.url("comment", "create", "--publish-url", "mlflow-artifacts:", "report.md")
    (body,) = [one["body"] for one in hub.comments_of(number)]
    address, again = re.findall(r"!\[\]\(([^)]+)\)", body)
    assert address == again and address.startswith(f"{team.url}/get-artifact?") and TOKEN not in body
    shown = requests.get(address, headers={"Authorization": f"Bearer {READ_TOKEN}"}, timeout=30)
    assert (shown.content, shown.headers["Content-Type"]) == (PNG, "image/png")
    assert requests.get(address, timeout=30).status_code == 401 and hub.git.resolve("mlops-reports") is None
    other = step.url("asset", "publish", "--url", "mlflow-artifacts:/Other reports", "roc.png")
    assert parse_qs(urlsplit(other).query)["run_id"] != parse_qs(urlsplit(address).query)["run_id"]


def test_a_tracking_server_with_its_files_in_a_bucket_gives_signed_addresses(
    s3: S3Server,  # noqa: F811
    start_team: Callable[..., TeamProcess],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = start_team("--artifacts-destination", f"s3://{BUCKET}/team", **s3.environment)
    monkeypatch.setenv("MLOPS_NB_TRACKING_URI", server.url)
    monkeypatch.setenv("MLOPS_NB_TRACKING_TOKEN", TOKEN)
    (signed,) = TrackingHome("mlflow-artifacts:", "https://github.com/acme/churn").publish([FILE])
    assert signed.startswith(s3.url) and requests.get(signed, timeout=30).content == PNG


@pytest.mark.parametrize(
    ("url", "server", "said"),
    [
        ("mlflow-artifacts:", "", "MLOPS_NB_TRACKING_URI"),
        ("mlflow-artifacts:", "sqlite:////tmp/store.db", "MLOPS_NB_TRACKING_URI"),
        ("mlflow-artifacts://user:secret@host/x", "https://host", "names a server"),
        ("ftp://host/x", "", "mlflow-artifacts:"),
    ],
)
def test_places_that_are_none_are_said(url: str, server: str, said: str, hub: LoopbackGitHub, work: Path, step_at: StepAt) -> None:
    (work / "roc.png").write_bytes(PNG)
    result = step_at(MLOPS_NB_TRACKING_URI=server)("asset", "publish", "--url", url, "roc.png")
    assert said in str(result.exception) and "secret" not in str(result.exception)
