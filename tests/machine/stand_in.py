"""`mlops-nb` on a machine of the tests: the real agent, whose work is what files in its folder say."""

from __future__ import annotations

import sys
from pathlib import Path

from mlops_nb.runners.machine import agent
from mlops_nb.runners.machine.site import Site
from mlops_nb.runners.machine.work import WorkStatus


class FileWork:
    """Has a job while the file `job` is there; what it is asked is written into `calls`, what it was given into `given`."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._folder = site.folder
        self._drained = False
        self._jobs = 0

    def start(self) -> None:
        if (self._folder / "hang").exists():
            while True:
                sys.stdin.read(1)
                Path("/dev/null").read_bytes()
        (self._folder / "given").write_text(f"{self._site.secret!r} {self._site.user} {sorted(self._site.environment)}")
        self._call("start")

    def poll(self) -> WorkStatus:
        job = self._folder / "job"
        busy = job.exists()
        self._jobs = max(self._jobs, int(busy))
        return WorkStatus(busy=busy, job=job.read_text() if busy else "", jobs=self._jobs, finished=self._drained and not busy)

    def drain(self) -> None:
        self._drained = True
        self._call("drain")

    def interrupt(self, notice: str, seconds: float) -> None:
        self._drained = True
        (self._folder / "job").unlink(missing_ok=True)
        self._call(f"interrupt {round(seconds)} {notice}")

    def stop(self, timeout: float) -> None:
        self._call("stop")

    def _call(self, word: str) -> None:
        with (self._folder / "calls").open("a") as file:
            file.write(f"{word}\n")


def main() -> None:
    from mlops_nb.cli import runner_agent

    real = agent.run_agent
    agent.run_agent = lambda path: real(path, make=FileWork)  # type: ignore[assignment]
    assert sys.argv[1:3] == ["runner", "agent"]
    runner_agent.agent(sys.argv[3:])


main()
