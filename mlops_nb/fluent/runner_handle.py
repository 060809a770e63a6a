"""A runner in the hand: what `%runner launch` returns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

from mlops_nb.core.runners import AgentWish, Runner
from mlops_nb.fluent import runners
from mlops_nb.runners.requests import request_of


def launch_runner(on: str, name: str | None = None, *, tell: Callable[[str], None] = print, **options: Any) -> RunnerHandle:
    """Launch a runner for notebooks of this project, and return it when it is ready for work.

    Args:
        on: `aws`, `gcp`, `azure`, `kubernetes`, `ssh:HOST` or `local`.
        name: Lower case, digits and hyphens; a new one by default.
        tell: Is told what happens, a line at a time.
        **options: Of `runners.requests.request_of`: `gpu="t4"`, `spot=True`, `idle="10m"`, `max_hours=4`, `max_cost=2.0`, …

    Raises:
        InvalidInput: If something cannot be, or does not go together.
        MlopsError: If it came to nothing; then nothing of it is left.
    """
    request = request_of(name=name, on=on, agent=AgentWish(), **options)
    return RunnerHandle(runners.launch(request, tell=tell))


def get_runner(name: str) -> RunnerHandle:
    """Return a runner by its name, its id, or a beginning of it.

    Raises:
        NotFound: If there is none.
    """
    return RunnerHandle(runners.history(name)[0])


def list_runners(*, everything: bool = False) -> Sequence[Runner]:
    """Return the runners that are alive, and with `everything` those that are gone, the newest first."""
    return runners.runners(everything=everything)


class RunnerHandle:
    """A runner by its id: asks anew each time, so that what it says is true now. `await` it to wait until it is gone."""

    def __init__(self, runner: Runner) -> None:
        self.id = runner.id
        self.name = runner.name

    def info(self) -> Runner:
        """Return the runner as it is now."""
        return runners.history(self.id)[0]

    def logs(self, *, follow: bool = False) -> Iterator[str]:
        """Iterate over what its machine has said."""
        return runners.logs(self.id, follow=follow)

    def extend(self, seconds: float) -> Runner:
        """Let it live so many seconds longer."""
        return runners.extend(self.id, seconds)

    def stop(self) -> Runner:
        """Let it finish its job, and end."""
        return runners.stop(self.id)

    def down(self) -> Runner:
        """End it at once."""
        return runners.down(self.id)

    def __repr__(self) -> str:
        found = self.info()
        return " · ".join(str(part) for part in (found.name, found.state, found.offer, found.reason) if part)

    def __await__(self) -> Generator[Any, None, Runner]:
        return self._gone().__await__()

    async def _gone(self) -> Runner:
        while True:
            runner = await asyncio.to_thread(self.info)
            if runner.state.is_over:
                return runner
            await asyncio.sleep(1.0)
