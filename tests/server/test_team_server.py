"""A team's server: who may come in, what it answers, how it starts and ends."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
import requests

from mlops_nb.api.gate import Access, Gate, default_hosts
from mlops_nb.api.operation import Permission
from mlops_nb.api.table import OPERATIONS
from mlops_nb.store.sql.sqlite import sqlite_driver
from tests.team import READ_TOKEN, TOKEN, TeamProcess, command, environment

StartTeam = Callable[..., TeamProcess]

ROUTES = [
    (operation, method, re.sub(r"\{\w+(\.\.\.)?\}", "x", path))
    for operation in OPERATIONS
    for method, path in operation.routes
    # Those of machines are opened by a ticket, and by an agent's token.
    if path not in ("/health", "/api/v1/runners/-/redeem", "/api/v1/runners/-/agent")
]
PATHS = [(method, path) for _, method, path in ROUTES]
ODD = [
    ("GET", "/"),
    ("GET", ""),
    ("POST", "/no/such/route"),
    ("DELETE", "/api/v1/status"),
    ("GET", "/metrics"),
    ("OPTIONS", "/api/v1/status"),
]


def code(response: requests.Response) -> str:
    return str(response.json()["error_code"]) if response.content else ""


# -- who may come in


@pytest.mark.parametrize(("method", "path"), [*PATHS, *ODD])
def test_nobody_gets_in_without_a_token_or_with_a_wrong_one(team: TeamProcess, method: str, path: str) -> None:
    for token, scheme in ((None, ""), ("wrong", "Bearer"), ("wrong", "token"), ("", "Bearer"), ("wrong", "Basic"), (TOKEN, "Digest")):
        answer = team.request(method, path, token=token, scheme=scheme)
        assert (answer.status_code, code(answer)) in ((401, "PERMISSION_DENIED"), (401, "")), (token, scheme)
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_the_token_opens_every_route(team: TeamProcess, method: str, path: str) -> None:
    assert team.request(method, path).status_code not in (401, 403, 405)


def test_the_token_for_reading_opens_what_reads_and_nothing_else(team: TeamProcess) -> None:
    for operation, method, path in ROUTES:
        answer = team.request(method, path, token=READ_TOKEN)
        if operation.permission is Permission.WRITE:
            assert (answer.status_code, code(answer)) == (403, "PERMISSION_DENIED"), operation.name
        else:
            assert answer.status_code not in (401, 403, 405), operation.name
    assert team.request("POST", "/no/such/route", token=READ_TOKEN).status_code == 403
    assert team.request("GET", "/metrics", token=READ_TOKEN).status_code == 200


def test_the_token_is_taken_as_a_password_too_whatever_the_user_name(team: TeamProcess) -> None:
    for name in ("ann", "", "ünï"):
        answer = requests.get(team.url + "/api/v1/status", auth=(name.encode(), TOKEN), timeout=10)
        assert answer.status_code == 200, name
    assert requests.get(team.url + "/api/v1/status", auth=("ann", "wrong"), timeout=10).status_code == 401
    assert team.request("GET", "/api/v1/status", scheme="Basic", token="%%%").status_code == 401


def test_health_is_told_to_everybody_and_says_nothing(team: TeamProcess) -> None:
    answer = team.request("GET", "/health", token=None)
    assert (answer.status_code, answer.text) == (200, "OK")
    assert team.request("GET", "/version", token=None).status_code == 401


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "10.1.2.3", "", "evil.example:80", "localhost@evil.example"])
def test_a_request_for_another_host_is_refused(team: TeamProcess, host: str) -> None:
    for path in ("/api/v1/status", "/health", "/metrics"):
        assert team.request("GET", path, headers={"Host": host}).status_code in (400, 403)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1234", "127.0.0.1", "[::1]:99"])
def test_the_names_of_this_machine_are_the_servers(team: TeamProcess, host: str) -> None:
    assert team.request("GET", "/health", headers={"Host": host}).status_code == 200


def test_hosts_that_are_listed_are_let_in_with_patterns_and_ports(start_team: StartTeam) -> None:
    server = start_team("--allowed-hosts", "127.0.0.1, *.example.org, mlflow.local:8080")
    for host in ("127.0.0.1", "a.example.org", "a.example.org:99", "mlflow.local:8080"):
        assert server.request("GET", "/health", headers={"Host": host}).status_code == 200, host
    for host in ("localhost", "example.org", "mlflow.local", "mlflow.local:80", "a.example.org.evil"):
        assert server.request("GET", "/health", headers={"Host": host}).status_code == 403, host


def test_a_server_on_all_addresses_has_those_for_names_and_no_other_domains(start_team: StartTeam) -> None:
    server = start_team("--host", "0.0.0.0", "--allowed-hosts", "127.0.0.1," + socket.gethostname())
    assert server.request("GET", "/health", headers={"Host": "10.1.2.3"}).status_code == 403
    gate = Gate(Access(tokens=("t",), hosts=default_hosts("0.0.0.0")[0], any_address=default_hosts("0.0.0.0")[1]))
    for host in ("10.1.2.3:5000", "[fe80::1]:5000", "localhost", socket.gethostname()):
        assert gate.refusal({b"host": host.encode()}) is None, host
    for host in ("evil.example", "10.1.2.3.evil.example", "1.2.3", ""):
        assert gate.refusal({b"host": host.encode()}) is not None, host


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:1", "file://"])
def test_a_foreign_page_is_refused_even_with_the_token(team: TeamProcess, origin: str) -> None:
    answer = team.request("GET", "/api/v1/status", headers={"Origin": origin})
    assert (answer.status_code, code(answer)) == (403, "PERMISSION_DENIED")
    assert "Access-Control-Allow-Origin" not in answer.headers
    preflight = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    assert team.request("OPTIONS", "/api/v1/experiments", token=None, headers=preflight).status_code == 403


def test_a_page_of_the_server_itself_may_ask(team: TeamProcess) -> None:
    assert team.request("GET", "/api/v1/status", headers={"Origin": team.url}).status_code == 200


def test_a_page_of_a_listed_origin_may_ask_with_the_token_only(start_team: StartTeam) -> None:
    server = start_team("--cors-allowed-origins", "https://app.example,https://other.example")
    page = {"Origin": "https://app.example"}
    asked = {**page, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    preflight = server.request("OPTIONS", "/api/v1/experiments", token=None, headers=asked)
    assert (preflight.status_code, preflight.headers["Access-Control-Allow-Origin"]) == (200, "https://app.example")
    assert "Access-Control-Allow-Credentials" not in preflight.headers
    answer = server.request("GET", "/api/v1/status", headers=page)
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (200, "https://app.example")
    assert server.request("GET", "/api/v1/status", headers=page, token=None).status_code == 401
    assert server.request("GET", "/api/v1/status", headers={"Origin": "https://evil.example"}).status_code == 403


def test_without_a_token_a_foreign_page_still_cannot_write(start_team: StartTeam) -> None:
    server = start_team("--no-token", MLOPS_NB_SERVER_TOKEN="", MLOPS_NB_SERVER_READ_TOKEN="")
    assert server.request("GET", "/api/v1/status", token=None).status_code == 200
    assert server.request("POST", "/api/v1/experiments", token=None, json={"name": "mine"}).status_code == 200
    foreign = {"Origin": "https://evil.example"}
    for method, path in PATHS:
        assert server.request(method, path, token=None, headers=foreign).status_code == 403, path


def test_every_answer_carries_the_headers_that_keep_browsers_safe_and_none_redirects(team: TeamProcess) -> None:
    run = run_on(team)
    team.request("PUT", f"/api/v1/runs/{run}/artifacts/files/page.html", data=b"<script>alert(1)</script>")
    asked = ["/health", "/api/v1/status", "/api/v1/status/", "//evil.example", "/\\evil.example", "/api/v1/runs/none", "/metrics", "/x%zz"]
    for path in [*asked, f"/api/v1/runs/{run}/artifacts/files/page.html"]:
        for token in (TOKEN, None):
            answer = team.request("GET", path, token=token)
            assert answer.headers["X-Content-Type-Options"] == "nosniff", path
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"], path
            assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
            assert not answer.is_redirect and "Location" not in answer.headers, path
            assert "Server" not in answer.headers
            assert not answer.cookies
    page = team.request("GET", f"/api/v1/runs/{run}/artifacts/files/page.html")
    assert page.headers["Content-Disposition"].startswith("attachment")
    assert page.headers["Content-Security-Policy"].startswith("sandbox")


def test_the_password_of_the_database_is_never_told() -> None:
    from mlops_nb.api.project import Served, ServedProject, without_password

    uri = "postgresql://ann:se%40cret@db.example:5432/team?password=again"
    assert without_password(uri) == "postgresql://ann:***@db.example:5432/team"
    assert without_password("postgresql://ann@db.example/team") == "postgresql://ann@db.example/team"
    assert without_password("sqlite:////data/store.db?durability=normal") == "sqlite:////data/store.db?durability=normal"
    served = ServedProject(Served(store_uri=uri))
    assert (served.name, served.root, served.store_uri) == ("team", "", "postgresql://ann:***@db.example:5432/team")


# -- what it answers


def run_on(server: TeamProcess) -> str:
    answer = server.request("POST", "/api/2.0/mlflow/runs/create", json={"experiment_id": "0", "start_time": 1})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["run"]["info"]["run_id"])


def test_all_is_served_below_a_base_path_and_nothing_beside_it(start_team: StartTeam) -> None:
    server = start_team("--static-prefix", "team/mlops/", "--expose-prometheus")
    assert server.url.endswith("/team/mlops")
    assert server.request("GET", "/health", token=None).status_code == 200
    assert server.request("GET", "/metrics").status_code == 200
    assert run_on(server)
    outside = server.url.removesuffix("/team/mlops")
    headers = {"Authorization": f"Bearer {TOKEN}"}
    for path in ("/api/v1/status", "/health", "/team/mlopsx/api/v1/status", "/team/mlops"):
        assert requests.get(outside + path, headers=headers, timeout=10).status_code == 404, path
        assert requests.get(outside + path, timeout=10).status_code == 401, path


def test_a_body_that_is_too_large_is_refused_whether_it_says_so_or_not(team: TeamProcess) -> None:
    large = b" " * (17 << 20)
    headers = {"Content-Type": "application/json"}
    for body in (large, iter([large])):
        answer = team.request("POST", "/api/v1/runs/search", data=body, headers=headers)
        assert (answer.status_code, code(answer)) == (413, "INVALID_PARAMETER_VALUE")
    assert team.request("GET", "/api/v1/status").status_code == 200


def test_files_of_any_size_pass_without_growing_the_server(team: TeamProcess) -> None:
    run, size = run_on(team), 200 << 20
    path = f"/api/v1/runs/{run}/artifacts/files/large.bin"
    block = bytes(range(256)) * 4096
    before, peak = psutil.Process(team.process.pid).memory_info().rss, 0
    process = psutil.Process(team.process.pid)

    def body() -> Iterator[bytes]:
        nonlocal peak
        for _ in range(size // len(block)):
            peak = max(peak, process.memory_info().rss)
            yield block

    assert team.request("PUT", path, data=body()).status_code == 200
    received = 0
    with requests.get(team.url + path, headers={"Authorization": f"Bearer {TOKEN}"}, stream=True, timeout=60) as answer:
        for piece in answer.iter_content(1 << 20):
            assert piece == block[: len(piece)]
            received += len(piece)
            peak = max(peak, process.memory_info().rss)
    assert received == size
    assert peak - before < 60 << 20, f"grew by {(peak - before) >> 20} MiB"


def test_a_part_of_a_file_and_its_head_are_answered(team: TeamProcess) -> None:
    path = f"/api/v1/runs/{run_on(team)}/artifacts/files/a.txt"
    assert team.request("PUT", path, data=b"0123456789").status_code == 200
    head = team.request("HEAD", path)
    assert (head.status_code, head.headers["Content-Length"], head.content) == (200, "10", b"")
    part = team.request("GET", path, headers={"Range": "bytes=2-4"})
    assert (part.status_code, part.content, part.headers["Content-Range"]) == (206, b"234", "bytes 2-4/10")
    assert team.request("GET", path, headers={"If-None-Match": head.headers["ETag"]}).status_code == 304
    assert team.request("GET", path, headers={"Range": "bytes=99-"}).status_code == 416


def connected(server: TeamProcess) -> socket.socket:
    return socket.create_connection(("127.0.0.1", urlsplit(server.url).port or 0), timeout=30)


def head_of(method: str, path: str, **headers: object) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {TOKEN}"]
    return "\r\n".join([*lines, *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()), "", ""]).encode()


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def figure(server: TeamProcess, name: str) -> float:
    text = server.request("GET", "/metrics").text
    return sum(
        float(line.rpartition(" ")[2]) for line in text.splitlines() if re.match(re.escape(name) + r"[ {]", line) or line.startswith(name)
    )


def test_a_client_that_leaves_in_the_middle_leaves_nothing_behind(team: TeamProcess) -> None:
    run = run_on(team)
    path = f"/api/v1/runs/{run}/artifacts/files"
    for sent in (0, 1000, 3 << 20):
        with connected(team) as client:
            client.sendall(head_of("PUT", f"{path}/half.bin", Content_Length=100 << 20) + b"x" * sent)
    team.request("PUT", f"{path}/large.bin", data=b"y" * (64 << 20))
    for _ in range(3):
        with connected(team) as client:
            client.sendall(head_of("GET", f"{path}/large.bin"))
            assert client.recv(10)
    wait_until(lambda: figure(team, "mlops_nb_requests_in_flight ") == 1)
    listed = team.request("GET", f"/api/v1/runs/{run}/artifacts").json()["artifacts"]
    assert [artifact["path"] for artifact in listed] == ["large.bin"]
    assert "Traceback" not in team.log


def test_figures_tell_what_was_asked_and_how_it_went(team: TeamProcess) -> None:
    def counts() -> tuple[float, ...]:
        names = (
            'mlops_nb_requests_total{operation="runs.get",status="4xx"}',
            'mlops_nb_requests_total{operation="mlflow.runs.create",status="2xx"}',
            'mlops_nb_request_seconds_count{operation="mlflow.runs.create"}',
            "mlops_nb_write_group_size_sum",
        )
        return tuple(figure(team, name) for name in names)

    before = counts()
    run_on(team)
    run_on(team)
    assert team.request("GET", "/api/v1/runs/none").status_code == 404
    assert tuple(now - then for now, then in zip(counts(), before, strict=True)) == (1, 2, 2, 2)
    assert figure(team, "mlops_nb_sent_bytes_total") > 0
    assert figure(team, "mlops_nb_received_bytes_total") > 0


def test_a_store_that_fails_is_counted_by_its_error(start_team: StartTeam, tmp_path: Path) -> None:
    server = start_team("--expose-prometheus", "--backend-store-uri", f"sqlite:///{tmp_path}/store.db")
    (tmp_path / "store.db").unlink()
    (tmp_path / "store.db").write_bytes(b"no database, but long enough to be looked at" * 100)
    assert server.request("GET", "/api/v1/experiments").status_code >= 500
    assert figure(server, 'mlops_nb_store_errors_total{code="DATA_LOSS"}') == 1


def test_without_being_asked_to_it_tells_no_figures(start_team: StartTeam) -> None:
    assert start_team().request("GET", "/metrics").status_code == 404


def test_a_run_whose_process_died_is_closed_by_the_server(team: TeamProcess) -> None:
    run = "cd" * 16
    body = {"source": "s1", "events": [{"t": "run", "seq": 1, "ts": 1, "experiment": "Default", "name": "gone"}]}
    assert team.request("POST", f"/api/v1/runs/{run}/events", json=body).status_code == 200
    database = sqlite_driver().connect(str(team.folder / ".mlops" / "store.db"), timeout=30)
    with database:  # its last sign of life was long ago
        assert database.execute("UPDATE runs SET lease_at = lease_at - 3600000 WHERE run_id = ?", (run,)).rowcount == 1
    database.close()
    wait_until(lambda: team.request("GET", f"/api/v1/runs/{run}").json()["run"]["status"] == "LOST")


# -- how it starts and ends


def refused(folder: Path, *options: str, **variables: str) -> str:
    """Run the command, which must end with one line on stderr, and return the line."""
    done = subprocess.run(
        command(*options), cwd=folder, env=environment(folder) | variables, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_what_keeps_it_from_starting_is_said_in_one_line(tmp_path: Path, team: TeamProcess) -> None:
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "empty").touch()
    (tmp_path / "spaced").write_text("a token\n")
    (tmp_path / "text.db").write_text("no database" * 1000)
    port = str(urlsplit(team.url).port)
    uri = "--backend-store-uri"
    assert "Address already in use" in refused(tmp_path, "--port", port)
    assert "cannot listen on 192.0.2.1" in refused(tmp_path, "--host", "192.0.2.1", "--port", "0", "--no-token")
    assert "no.such.host.invalid" in refused(tmp_path, "--host", "no.such.host.invalid", "--no-token")
    assert "is no database that mlops_nb knows" in refused(tmp_path, "--port", "0", uri, "mysql://somewhere/db")
    assert "is a server, not a database" in refused(tmp_path, "--port", "0", uri, "http://127.0.0.1:1/mlops")
    unreachable = refused(tmp_path, "--port", "0", uri, "postgresql://ann:secret@127.0.0.1:1/db")
    assert "does not answer" in unreachable and "secret" not in unreachable
    assert "is not a tracking store" in refused(tmp_path, "--port", "0", uri, f"sqlite:///{tmp_path}/text.db")
    assert "needs a token" in refused(tmp_path, "--host", "0.0.0.0")
    assert "is empty" in refused(tmp_path, "--token-file", "empty")
    assert "no HTTP header carries" in refused(tmp_path, "--token-file", "spaced")
    assert "none for writing" in refused(tmp_path, "--no-token", MLOPS_NB_SERVER_READ_TOKEN="x")
    assert "contradicts" in refused(tmp_path, "--no-token", MLOPS_NB_SERVER_TOKEN="x")
    assert "any web page" in refused(tmp_path, "--no-token", "--cors-allowed-origins", "*")


def test_a_server_for_this_machine_makes_a_token_and_says_it(start_team: StartTeam) -> None:
    server = start_team(MLOPS_NB_SERVER_TOKEN="", MLOPS_NB_SERVER_READ_TOKEN="")
    token = server.said("MLFLOW_TRACKING_TOKEN")
    assert len(token) >= 32
    assert server.request("GET", "/api/v1/status", token=token).status_code == 200
    assert server.request("GET", "/api/v1/status", token="x" + token).status_code == 401
    assert token not in server.log


def test_a_token_that_was_given_is_not_said(team: TeamProcess) -> None:
    assert TOKEN not in team.output + team.log
    assert READ_TOKEN not in team.output + team.log
    assert TOKEN not in " ".join(psutil.Process(team.process.pid).cmdline())


def test_tokens_come_from_a_file_one_a_line(start_team: StartTeam, tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("old-token\n\nnew-token\n")
    server = start_team("--token-file", str(tmp_path / "tokens"), MLOPS_NB_SERVER_READ_TOKEN="")
    for token, status in (("old-token", 200), ("new-token", 200), ("", 401), ("old-token\n\nnew-token", 401)):
        assert server.request("GET", "/api/v1/status", token=token.replace("\n", "")).status_code == status


def test_options_come_from_the_environment_by_our_names_and_by_mlflows(start_team: StartTeam, tmp_path: Path) -> None:
    server = start_team(
        MLFLOW_BACKEND_STORE_URI=f"sqlite:///{tmp_path}/team.db",
        MLFLOW_ARTIFACTS_DESTINATION=str(tmp_path / "files"),
        MLFLOW_STATIC_PREFIX="/other",
        MLOPS_NB_SERVER_BASE_PATH="/ours",
    )
    assert server.url.endswith("/ours")
    assert server.request("GET", "/api/v1/status").json()["project"] == {"name": "team", "root": ""}
    path = f"/api/v1/runs/{run_on(server)}/artifacts/files/a.txt"
    assert server.request("PUT", path, data=b"x").status_code == 200
    assert (tmp_path / "team.db").exists()
    assert [file.name for file in (tmp_path / "files").rglob("*.txt")] == ["a.txt"]


def test_told_to_stop_it_finishes_what_it_has_begun(start_team: StartTeam) -> None:
    server = start_team()
    path = f"/api/v1/runs/{run_on(server)}/artifacts/files/late.bin"
    with connected(server) as client:
        client.sendall(head_of("PUT", path, Content_Length=4 << 20) + b"a" * (2 << 20))
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "Shutting down" in server.log)
        client.sendall(b"b" * (2 << 20))
        assert client.recv(12) == b"HTTP/1.1 200"
    assert server.process.wait(30) == 0
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", urlsplit(server.url).port or 0)) != 0
    kept = next(server.folder.rglob("late.bin"))
    assert kept.read_bytes() == b"a" * (2 << 20) + b"b" * (2 << 20)
    assert not list((server.folder / ".mlops").glob("*-wal")), "the store was closed"
    assert "Traceback" not in server.log


def test_a_key_ends_it_too(start_team: StartTeam) -> None:
    server = start_team("--workers", "2")
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(30) == 0
    assert "Traceback" not in server.log
