"""What machines on a host keep to, whether it is this one or one behind SSH: inherited by the tests of both."""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from mlops_nb.clouds.base import MachineOrder, WishRefused
from mlops_nb.clouds.hosts import HostCloud
from mlops_nb.core.runners import TAG_INSTALLATION, TAG_RUNNER, MachineWish, Offer, Resource

T = TypeVar("T")
OURS = "a" * 32


def carriers(mark: str) -> set[int]:
    """Return the processes that have this text in their environment."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark.encode() in entry.read_bytes():
                found.add(int(entry.parent.name))
        except OSError:
            continue  # it has ended meanwhile
    return found


def wait_for(look: Callable[[], T], seconds: float = 20.0) -> T:
    end = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < end, f"not so within {seconds:g} s"
        time.sleep(0.05)
    return seen


def uptime() -> float:
    return float(Path("/proc/uptime").read_text().split()[0])


def order(script: str, *, token: str = "", installation: str = OURS, max_seconds: float = 600.0, **more: str) -> MachineOrder:
    token = token or uuid.uuid4().hex
    tags = {TAG_INSTALLATION: installation, TAG_RUNNER: token, **more}
    return MachineOrder(token=token, name="gpu-1", tags=tags, user_data=script, max_seconds=max_seconds)


class HostContract:
    """Subclasses give the fixture `make`: a cloud by its settings, and `folder`, where its machines are."""

    host = ""

    @pytest.fixture
    def folder(self) -> Path:
        raise NotImplementedError

    @pytest.fixture
    def make(self, folder: Path) -> Callable[..., HostCloud]:
        raise NotImplementedError

    @pytest.fixture
    def cloud(self, make: Callable[..., HostCloud]) -> HostCloud:
        return make()

    @pytest.fixture(autouse=True)
    def nothing_left(self, folder: Path) -> Iterator[None]:
        yield
        tokens = [path.name for path in folder.glob("*") if len(path.name) == 32]
        for pid in {pid for token in tokens for mark in ("MACHINE", "KEEPER") for pid in carriers(f"MLOPS_NB_{mark}={token}")}:
            os.kill(pid, signal.SIGKILL)

    def offer(self, cloud: HostCloud) -> Offer:
        return cloud.offers(MachineWish(region=self.host))[0]

    def start(self, cloud: HostCloud, wanted: MachineOrder) -> Resource:
        return cloud.create(wanted, self.offer(cloud), lambda resource: None).resource

    def ended(self, cloud: HostCloud, machine: Resource) -> str:
        wait_for(lambda: cloud.describe(machine).phase == "gone")
        wait_for(lambda: not carriers(machine.id))
        return cloud.describe(machine).reason

    def test_it_is_written_down_before_it_is_made_and_runs_afterwards(self, cloud: HostCloud, folder: Path) -> None:
        wanted = order("echo here; sleep 600")
        noted: list[tuple[Resource, bool]] = []
        made = cloud.create(wanted, self.offer(cloud), lambda one: noted.append((one, (folder / wanted.token).exists())))
        assert [(one.id, one.region, there) for one, there in noted] == [(wanted.token, self.host, False)]
        assert made.phase == "running"
        wait_for(lambda: cloud.console(made.resource) == "here\n")
        assert [(one.id, one.state) for one in cloud.find(OURS, regions=[self.host]).resources] == [(wanted.token, "running")]

    def test_nothing_is_made_where_the_note_fails(self, cloud: HostCloud, folder: Path) -> None:
        def full(resource: Resource) -> None:
            raise OSError("disk full")

        with pytest.raises(OSError, match="disk full"):
            cloud.create(order("sleep 600"), self.offer(cloud), full)
        assert list(folder.glob("*")) == []

    def test_asked_for_twice_it_is_one_even_after_its_end(self, cloud: HostCloud, folder: Path) -> None:
        wanted = order("echo once")
        first = self.start(cloud, wanted)
        assert "exit status 0" in self.ended(cloud, first)
        again = cloud.create(wanted, self.offer(cloud), lambda resource: None)
        assert (again.phase, again.resource.id) == ("gone", first.id)
        assert (folder / wanted.token / "console").read_text() == "once\n"

    def test_its_hard_stop_ends_all_that_it_has_started(self, make: Callable[..., HostCloud], folder: Path) -> None:
        script = "(trap '' TERM; setsid sh -c 'trap \"\" TERM; while :; do sleep 1; done') &\nenv -i sleep 4711 &\necho $! >away; sleep 600"
        machine = self.start(make(grace=1), order(script, max_seconds=2))
        away = int(wait_for(lambda: (folder / machine.id / "work" / "away").read_text()))
        assert "hard stop" in self.ended(make(), machine)
        assert not Path(f"/proc/{away}").exists()

    def test_it_lives_by_its_lease(self, cloud: HostCloud, folder: Path) -> None:
        machine = self.start(cloud, order("sleep 600"))
        lease = folder / machine.id / "lease"
        lease.write_text(f"{uptime() + 600:.2f}\n")
        assert cloud.describe(machine).phase == "running"
        lease.write_text(f"{uptime() - 1:.2f}\n")
        assert "lease ran out" in self.ended(cloud, machine)

    def test_its_script_goes_when_its_agent_is_there(self, cloud: HostCloud, folder: Path) -> None:
        machine = self.start(cloud, order("sleep 2; echo still read to its end; sleep 600"))
        assert (folder / machine.id / "start").exists()
        (folder / machine.id / "lease").write_text(f"{uptime() + 600:.0f}\n")
        wait_for(lambda: not (folder / machine.id / "start").exists())
        wait_for(lambda: "still read to its end" in cloud.console(machine))

    def test_what_it_leaves_in_its_temporary_folder_goes_with_it(self, cloud: HostCloud) -> None:
        machine = self.start(cloud, order('echo "$TMPDIR"; echo ticket >"$TMPDIR/agent.json"; sleep 600'))
        temporary = Path(wait_for(lambda: cloud.console(machine)).strip())
        wait_for(lambda: (temporary / "agent.json").exists())
        assert temporary.name == f"mlops-nb-{machine.id[:12]}"
        assert temporary.stat().st_mode & 0o077 == 0
        cloud.destroy([machine], OURS)
        assert not temporary.exists()

    def test_without_a_first_lease_it_ends(self, make: Callable[..., HostCloud]) -> None:
        machine = self.start(make(first_lease=1), order("sleep 600"))
        assert "agent was not there" in self.ended(make(), machine)

    def test_a_hard_stop_that_is_moved_counts(self, cloud: HostCloud, folder: Path) -> None:
        machine = self.start(cloud, order("sleep 600"))
        (folder / machine.id / "hard_stop").write_text(f"{uptime() - 1:.2f}\n")
        assert "hard stop" in self.ended(cloud, machine)

    @pytest.mark.parametrize("victim", ["keeper", "watcher"])
    def test_its_limits_hold_when_one_of_its_keepers_is_killed(self, cloud: HostCloud, folder: Path, victim: str) -> None:
        machine = self.start(cloud, order("sleep 600", max_seconds=3))
        os.kill(int(wait_for(lambda: (folder / machine.id / victim).read_text())), signal.SIGKILL)
        assert "hard stop" in self.ended(cloud, machine)

    def test_what_is_left_without_any_keeper_is_seen_and_can_be_destroyed(self, cloud: HostCloud, folder: Path) -> None:
        machine = self.start(cloud, order("sleep 600"))
        wait_for(lambda: (folder / machine.id / "watcher").read_text())
        for pid in carriers(f"MLOPS_NB_KEEPER={machine.id}"):
            os.kill(pid, signal.SIGKILL)
        assert cloud.describe(machine).phase == "running"
        assert cloud.destroy([machine], OURS) == []
        assert carriers(machine.id) == set()
        assert cloud.describe(machine).phase == "gone"

    def test_destroying_ends_its_processes_and_keepers_and_removes_its_folder_twice_as_well(self, cloud: HostCloud, folder: Path) -> None:
        machine = self.start(cloud, order("setsid sleep 600 & sleep 600"))
        assert cloud.destroy([machine, machine], OURS) == []
        assert carriers(machine.id) == set()
        assert list(folder.glob("*")) == []
        assert cloud.destroy([machine], OURS) == []

    def test_machines_of_another_installation_are_neither_found_nor_touched(self, cloud: HostCloud) -> None:
        theirs = self.start(cloud, order("sleep 600", installation="b" * 32))
        ours = self.start(cloud, order("sleep 600"))
        assert [one.id for one in cloud.find(OURS, regions=[self.host]).resources] == [ours.id]
        lying = Resource(kind="machine", id=theirs.id, region=self.host, tags={TAG_INSTALLATION: OURS})
        assert cloud.destroy([lying, ours], OURS) == []
        assert cloud.describe(theirs).phase == "running"
        assert cloud.describe(ours).phase == "gone"

    def test_whatever_is_in_its_script_and_tags_arrives_as_it_is(self, cloud: HostCloud, folder: Path) -> None:
        odd = "quote ' \" `id` $(id) \\ EOF ä€\tüber"
        script = f"cat <<'EOF'\n{odd}\nEOF\nsleep 600"
        machine = self.start(cloud, order(script, purpose=f"{odd}\nsecond line"))
        wait_for(lambda: cloud.console(machine) == f"{odd}\n")
        assert cloud.find(OURS, regions=[self.host]).resources[0].tags["purpose"] == f"{odd}\nsecond line"

    def test_its_folder_is_private_and_its_script_goes_when_it_ends(self, cloud: HostCloud, folder: Path) -> None:
        machine = self.start(cloud, order("# ticket: one-time\ntrue"))
        mode = (folder / machine.id).stat().st_mode
        assert mode & 0o077 == 0
        self.ended(cloud, machine)
        wait_for(lambda: not (folder / machine.id / "start").exists())

    def test_what_it_prints_is_shown_from_its_end(self, cloud: HostCloud) -> None:
        machine = self.start(
            cloud, order("i=0; while [ $i -lt 9000 ]; do echo line $i of much; i=$((i+1)); done; printf '\\377\\n'; sleep 600")
        )
        wait_for(lambda: "line 8999 of much" in cloud.console(machine))
        wait_for(lambda: cloud.console(machine).endswith("\N{REPLACEMENT CHARACTER}\n"))
        assert len(cloud.console(machine).encode(errors="replace")) <= 65_536 + 8

    def test_an_id_that_is_none_is_nothing_of_ours(self, cloud: HostCloud, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for odd in ("..", "../..", "$(touch x)", "", "*", OURS + "/.."):
            odd_one = Resource(kind="machine", id=odd, region=self.host, tags={TAG_INSTALLATION: OURS})
            assert cloud.describe(odd_one).phase == "gone"
            assert cloud.console(odd_one) == ""
            assert cloud.destroy([odd_one], OURS) == []
        assert folder.exists()

    @pytest.mark.parametrize(
        ("wish", "says"),
        [
            (MachineWish(spot=True), "no spot price"),
            (MachineWish(cpus=1e6), "1e\\+06 were asked for"),
            (MachineWish(memory_gb=1e9), "GiB of memory"),
            (MachineWish(gpu="h100", gpus=9), "0 GPUs h100"),
        ],
    )
    def test_a_wish_that_it_cannot_fulfil_is_refused(self, cloud: HostCloud, wish: MachineWish, says: str) -> None:
        import msgspec

        with pytest.raises(WishRefused, match=says):
            cloud.offers(msgspec.structs.replace(wish, region=self.host))
