"""A runner in the hand: what `%runner launch` returns."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterator
from typing import Any

from mlops_nb.core.runners import Runner
from mlops_nb.fluent import runners


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
