"""The Python that a model runs in, found or made while the event loop goes on."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from pathlib import Path

from mlops_nb.models.environments import Prepared, choose


async def python_of(
    folder: Path, manager: str, *, allow_unsafe: bool, said: Callable[[str], None], over: threading.Event | None = None
) -> Prepared:
    """Return the Python that a model runs in; its environment is made where it is not there yet.

    Args:
        folder: The model folder.
        manager: One of `environments.MANAGERS`.
        allow_unsafe: Somebody trusts the model.
        said: Called on the loop with each line of progress, and with what may go wrong.
        over: Set it when nobody waits any more; cancelling does the same.

    Raises:
        MlopsError: If the environment cannot be made, or is no longer wanted.
    """
    loop, over = asyncio.get_running_loop(), over or threading.Event()

    def later(line: str) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody reads it
            loop.call_soon_threadsafe(said, line)

    try:
        prepared = await asyncio.to_thread(choose, folder, manager, allow_unsafe=allow_unsafe, saying=later, over=over)
    finally:
        over.set()
    if prepared.warning:
        said(prepared.warning)
    return prepared
