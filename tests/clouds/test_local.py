"""This machine as a cloud."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlops_nb.clouds.base import CloudError
from mlops_nb.clouds.hosts import keeper
from mlops_nb.clouds.local import LocalCloud
from tests.clouds.debian import program
from tests.clouds.host_contract import OURS, HostContract, order, wait_for

ROOT = Path(__file__).parent.parent.parent


def _arguments() -> Iterator[str]:
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield entry.read_text(errors="replace")
        except OSError:
            continue  # it has ended meanwhile


def test_the_keeper_is_shell_that_every_host_understands() -> None:
    shellcheck = Path(sys.executable).with_name("shellcheck")
    checked = subprocess.run([shellcheck, "--severity=style", "-"], input=keeper(), capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


class TestLocal(HostContract):
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        return tmp_path / "it's my state" / "machines"

    @pytest.fixture
    def make(self, folder: Path) -> Callable[..., LocalCloud]:
        def make(**settings: Any) -> LocalCloud:
            return LocalCloud(folder=folder, **{"turn": 0.2, "grace": 2, **settings})

        return make

    def test_a_runner_outlives_the_process_group_that_made_it(self, make: Callable[..., LocalCloud], folder: Path) -> None:
        program = f"""
import time
from pathlib import Path
from mlops_nb.clouds.local import LocalCloud
from mlops_nb.core.runners import MachineWish
from tests.clouds.debian import program
from tests.clouds.host_contract import order
cloud = LocalCloud(folder=Path({str(folder)!r}), turn=0.2)
made = cloud.create(order("sleep 600"), cloud.offers(MachineWish())[0], lambda resource: None)
print(made.resource.id, flush=True)
time.sleep(600)
"""
        with subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True
        ) as maker:
            assert maker.stdout is not None
            token = maker.stdout.readline().strip()
            os.killpg(maker.pid, signal.SIGKILL)
        found = make().find(OURS).resources
        assert [(one.id, one.state) for one in found] == [(token, "running")]

    def test_its_jobs_get_no_key_and_no_token(self, make: Callable[..., LocalCloud], monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "REPO_TOKEN", "MLOPS_NB_TRACKING_TOKEN", "KUBERNETES_CONFIGURATION"):
            monkeypatch.setenv(name, "very-secret-value")
        monkeypatch.setenv("LC_ALL", "C.UTF-8")
        cloud = make()
        machine = self.start(cloud, order("env; echo end; sleep 600"))
        printed = wait_for(lambda: (text := cloud.console(machine)) if "end\n" in (text := cloud.console(machine)) else "")
        assert "very-secret-value" not in printed
        assert f"MLOPS_NB_MACHINE={machine.id}\n" in printed
        assert "LC_ALL=C.UTF-8\n" in printed

    @pytest.mark.parametrize("shell", ["bash", "busybox"])
    def test_it_is_kept_by_other_shells_as_well(self, make: Callable[..., LocalCloud], tmp_path: Path, shell: str) -> None:
        found = program(shell, "bash" if shell == "bash" else "busybox-static", inside=f"bin/{shell}")
        (tmp_path / "bin").mkdir()
        path = f"{tmp_path}/bin"
        names = ["sh"]
        if shell == "busybox":  # nothing but its own grep, awk, sed …, as on Alpine
            names = subprocess.run([found, "--list"], capture_output=True, text=True, check=True).stdout.split()
        else:
            path += f":{os.environ['PATH']}"
        for name in names:
            (tmp_path / "bin" / name).symlink_to(found)
        cloud = make(environment={"PATH": path, "HOME": str(tmp_path)}, grace=1)
        machine = self.start(cloud, order("readlink /proc/$$/exe; setsid sleep 600 & env -i sleep 4713 & sleep 600", max_seconds=2))
        assert cloud.describe(machine).phase == "running"
        assert "hard stop" in self.ended(cloud, machine)
        # Some shells add that what they had in the background was terminated.
        assert Path(cloud.console(machine).split()[0]).name == found.name
        assert "sleep\0" + "4713" not in "".join(_arguments())

    def test_a_folder_that_cannot_be_made_is_named_with_what_to_do(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        cloud = LocalCloud(folder=tmp_path / "file" / "machines")
        with pytest.raises(CloudError, match=r"file/machines cannot be written: .*Set XDG_STATE_HOME"):
            self.start(cloud, order("true"))
        assert [finding.ok for finding in cloud.check()] == [True, False]

    def test_the_doctor_finds_it_well_and_says_what_it_has(self, cloud: LocalCloud) -> None:
        able, place = cloud.check()
        assert able.ok and place.ok
        assert "processors" in able.text

    def test_one_that_was_written_but_never_started_is_started_when_it_is_asked_for_again(self, cloud: LocalCloud, folder: Path) -> None:
        wanted = order("sleep 600")
        machine = self.start(cloud, wanted)
        cloud.destroy([machine], OURS)
        (folder / wanted.token / "work").mkdir(parents=True)
        for name, text in (("record.json", "{}"), ("limits", "600 600 2 1"), ("start", "sleep 600\n"), ("console", "")):
            (folder / wanted.token / name).write_text(text)
        (folder / wanted.token / "keeper.sh").write_text(keeper())
        assert cloud.describe(machine).phase == "starting"
        self.start(cloud, wanted)
        assert cloud.describe(machine).phase == "running"
