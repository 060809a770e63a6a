"""Hosts behind SSH as a cloud, by a real sshd on the loopback."""

from __future__ import annotations

import http.server
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from mlops_nb.clouds.base import CloudUnreachable, NoCredentials, WishRefused
from mlops_nb.clouds.ssh import SshCloud, check_host, reachable, tunnel_port
from mlops_nb.core.runners import MachineWish, Resource
from tests.clouds.host_contract import OURS, HostContract, carriers, order, wait_for
from tests.clouds.ssh_world import ssh_host


@pytest.fixture(scope="module")
def state_over_there(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("over-there")


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory, state_over_there: Path) -> Iterator[tuple[str, list[str]]]:
    with ssh_host(tmp_path_factory.mktemp("sshd"), state_over_there) as host:
        yield host


@pytest.fixture
def make(there: tuple[str, list[str]], tmp_path: Path) -> Callable[..., SshCloud]:
    def make(host: str = "", more: tuple[str, ...] = (), **settings: Any) -> SshCloud:
        options = [*more, *there[1]]
        return SshCloud(host or there[0], options=options, state=tmp_path / "state", **{"turn": 0.2, "grace": 2, **settings})

    return make


@pytest.fixture
def folder(state_over_there: Path) -> Path:
    return state_over_there / "mlops_nb" / "machines"


@pytest.mark.slow
class TestSsh(HostContract):
    @pytest.fixture
    def folder(self, state_over_there: Path, nothing_there: None) -> Path:
        return state_over_there / "mlops_nb" / "machines"

    @pytest.fixture
    def nothing_there(self, there: tuple[str, list[str]], state_over_there: Path) -> None:
        import shutil

        type(self).host = there[0]
        shutil.rmtree(state_over_there / "mlops_nb", ignore_errors=True)

    @pytest.fixture
    def make(self, make: Callable[..., SshCloud]) -> Callable[..., SshCloud]:
        return make


def test_a_runner_on_a_host_lives_on_without_us_and_goes_when_it_is_destroyed(make: Callable[..., SshCloud], folder: Path) -> None:
    cloud = make()
    wanted = order("echo here $MLOPS_NB_MACHINE; sleep 600")
    made = cloud.create(wanted, cloud.offers(MachineWish())[0], lambda one: None)
    assert made.phase == "running"
    wait_for(lambda: cloud.console(made.resource) == f"here {wanted.token}\n")
    again = make()
    assert [(one.id, one.state) for one in again.find(OURS).resources] == [(wanted.token, "running")]
    assert again.destroy([made.resource], OURS) == []
    wait_for(lambda: not carriers(wanted.token), 3)
    assert not (folder / wanted.token).exists()


def test_what_it_starts_with_is_in_no_argument(make: Callable[..., SshCloud]) -> None:
    seen: set[str] = set()
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.005):
            for entry in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.add(entry.read_bytes().decode(errors="replace"))
                except OSError:
                    continue  # it has ended meanwhile

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        cloud = make()
        machine = cloud.create(order("ticket=one-time-ticket; sleep 600"), cloud.offers(MachineWish())[0], lambda one: None).resource
        cloud.destroy([machine], OURS)
    finally:
        over.set()
        watcher.join()
    assert any("BatchMode" in line for line in seen)
    assert not any("one-time-ticket" in line for line in seen)


def test_a_server_on_our_loopback_is_reached_through_a_tunnel_that_ends_with_the_machine(make: Callable[..., SshCloud]) -> None:
    class Hello(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"hello from the server\n")

        def log_message(self, format: str, *args: object) -> None:
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hello) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/mlops"
        cloud = make(server=address)
        wanted = order("")
        over_there = reachable(address, wanted.token)
        assert urlsplit(over_there).port == tunnel_port(wanted.token) != server.server_port
        wanted = order(
            f"python3 -c 'import urllib.request as u; print(u.urlopen(\"{over_there}\").read().decode())'; sleep 600", token=wanted.token
        )
        noted: list[str] = []
        machine = cloud.create(wanted, cloud.offers(MachineWish())[0], lambda one: noted.append(one.kind)).resource
        assert noted == ["interface", "machine"]
        wait_for(lambda: "hello from the server" in cloud.console(machine))
        assert cloud.destroy([machine], OURS) == []
        wait_for(lambda: not any(_is_tunnel(pid, wanted.token) for pid in _processes()))
        server.shutdown()


def _processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _is_tunnel(pid: int, token: str) -> bool:
    try:
        return f"127.0.0.1:{tunnel_port(token)}:" in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False


def test_a_server_elsewhere_needs_no_tunnel() -> None:
    assert reachable("https://team.example/mlops", OURS) == "https://team.example/mlops"


def test_a_host_whose_key_is_not_known_is_not_trusted(make: Callable[..., SshCloud], tmp_path: Path) -> None:
    cloud = make(more=("-o", f"UserKnownHostsFile={tmp_path}/none"))
    with pytest.raises(NoCredentials, match=r"not known here\. Log in once and check it: ssh "):
        cloud.offers(MachineWish())


def test_a_host_with_another_key_than_before_is_not_trusted(
    make: Callable[..., SshCloud], there: tuple[str, list[str]], tmp_path: Path
) -> None:
    known = Path(there[1][-1].partition("=")[2])
    other = (known.parent / "user.pub").read_text().split()[:2]
    (tmp_path / "known").write_text(f"{known.read_text().split()[0]} {' '.join(other)}\n")
    with pytest.raises(NoCredentials, match="somebody may be listening"):
        make(more=("-o", f"UserKnownHostsFile={tmp_path}/known")).offers(MachineWish())


def test_a_host_that_wants_a_password_is_told_with_what_to_do(make: Callable[..., SshCloud], there: tuple[str, list[str]]) -> None:
    with pytest.raises(NoCredentials, match="ssh-copy-id"):
        make(more=("-i", "/nonexistent", "-o", "PubkeyAuthentication=no")).offers(MachineWish())


def test_a_host_that_is_not_there_is_unseen_and_hides_no_other(make: Callable[..., SshCloud], there: tuple[str, list[str]]) -> None:
    cloud = make()
    gone = there[0].rpartition(":")[0] + ":1"
    found = cloud.find(OURS, regions=[gone, there[0]])
    assert set(found.unseen) == {gone}
    with pytest.raises(CloudUnreachable, match=f"{gone} does not answer"):
        cloud.describe(Resource(kind="machine", id=OURS, region=gone))


def test_hosts_that_were_used_are_looked_at_by_whoever_cleans_up(
    make: Callable[..., SshCloud], there: tuple[str, list[str]], tmp_path: Path
) -> None:
    cloud = make()
    made = cloud.create(order("sleep 600"), cloud.offers(MachineWish())[0], lambda one: None).resource
    reaper = SshCloud(options=there[1], state=tmp_path / "state")
    assert [one.region for one in reaper.find(OURS).resources] == [there[0]]
    assert [finding.what for finding in reaper.check()] == [there[0]]
    assert reaper.destroy([made], OURS) == []


@pytest.mark.parametrize(
    "host", ["-oProxyCommand=x", "a b", "", "host;id", "user@", "@host", "host:99999", "host:0", "$(id)", "a@-x", "h\n"]
)
def test_what_is_no_host_never_reaches_ssh(host: str) -> None:
    with pytest.raises(WishRefused, match="is no host"):
        check_host(host)


@pytest.mark.parametrize("host", ["gpu-1", "me@gpu.lab.example", "me@10.0.0.7:2222", "[fe80::1]:22", "dom\\me@host"])
def test_hosts_are_taken_as_ssh_users_write_them(host: str) -> None:
    assert check_host(host) == host
