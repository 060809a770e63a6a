"""The client of the kernel that a notebook is executed in: papermill's, which also tells the kernel and the run about each cell."""

from __future__ import annotations

import queue
import time
from typing import Any, Protocol

from nbclient.exceptions import DeadKernelError
from nbclient.util import ensure_async, run_sync
from papermill.clientwrap import PapermillNotebookClient

from mlops_nb.execution.checkpoints import Progress, Silently


class Execution(Protocol):
    """What the client tells, and asks, about one execution of a notebook."""

    cell: Any
    is_failed: bool
    progress: Progress

    def kernel_started(self, pid: int | None) -> None:
        """Note that the kernel runs."""

    def cell_begins(self, cell: Any) -> None:
        """Note that a cell begins."""

    def cell_ended(self, cell: Any, is_failed: bool) -> None:
        """Note that a cell ended."""

    def passes_over(self, cell: Any) -> bool:
        """Return whether a cell is not executed."""

    def keep_checkpoint(self, cell: Any, silently: Silently) -> None:
        """Make a checkpoint behind a cell, if one is due."""

    def printed(self, text: str) -> None:
        """Note what a cell has printed."""


class NotebookClient(PapermillNotebookClient):  # type: ignore[misc]  # papermill has no types
    """papermill's client, which also tells the kernel and the run about each cell."""

    execution: Execution

    async def async_start_new_kernel_client(self) -> Any:
        """Make requests carry what the front ends of people send: the cell's id and metadata."""
        client = await super().async_start_new_kernel_client()
        self.execution.kernel_started(getattr(self.km.provisioner, "pid", None))
        make_message = client.session.msg

        def with_cell(msg_type: str, *args: Any, metadata: dict[str, Any] | None = None, **kwargs: Any) -> Any:
            cell = self.execution.cell
            if msg_type == "execute_request" and cell is not None:
                metadata = {**(metadata or {}), "cellId": cell.get("id"), "tags": list(cell.metadata.get("tags", []))}
            return make_message(msg_type, *args, metadata=metadata, **kwargs)

        client.session.msg = with_cell
        return client

    start_new_kernel_client = run_sync(async_start_new_kernel_client)

    def papermill_execute_cells(self) -> None:
        """Execute all cells; a kernel that is in the middle of one when this ends is not asked to end, but ended."""
        progress = self.execution.progress
        try:
            progress.begin(self.silently)
            super().papermill_execute_cells()
            if not self.execution.is_failed:
                progress.finish(self.silently)
        except BaseException:
            self.shutdown_kernel = "immediate"
            raise

    async def async_silently(self, expression: str, timeout: float) -> dict[str, Any]:
        """Evaluate an expression that nobody sees in the kernel; the answer is that of an `execute_request`, its value is `answer`.

        Raises:
            TimeoutError: If there is no answer in `timeout` seconds.
            DeadKernelError: If the kernel has ended.
        """
        asked = self.kc.execute("", silent=True, store_history=False, allow_stdin=False, user_expressions={"answer": expression})
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            try:
                reply = await ensure_async(self.kc.get_shell_msg(timeout=1))
            except queue.Empty:
                if not await ensure_async(self.km.is_alive()):
                    raise DeadKernelError("Kernel died") from None
                continue
            if reply["parent_header"].get("msg_id") == asked:
                return dict(reply["content"])
        raise TimeoutError(f"no answer after {timeout:.0f} s")

    silently = run_sync(async_silently)

    def process_message(self, *args: Any, **kwargs: Any) -> Any:
        """Take what a cell gives; nbclient calls this for each piece."""
        output = super().process_message(*args, **kwargs)
        if output and output.output_type == "stream":
            self.execution.printed(output.text)
        return output

    def execute_cell(self, cell: Any, cell_index: int, *args: Any, **kwargs: Any) -> Any:
        """Execute one cell; papermill calls this for each."""
        if self.execution.passes_over(cell):
            return cell
        self.execution.cell_begins(cell)
        is_failed = True
        try:
            executed = super().execute_cell(cell, cell_index, *args, **kwargs)
            is_failed = False
            return executed
        finally:
            self.execution.cell_ended(cell, is_failed)
            if not is_failed:
                self.execution.keep_checkpoint(cell, self.silently)
