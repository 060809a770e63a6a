"""Journals of processes that died: delivered, and their runs closed with the reason.

A journal is locked by its process, and the lock goes with the process, however that ends. So one look at the folder
tells who is dead; whoever looks next (the Jupyter server twice a second, any new process of ours, `mlops-nb sync`)
takes the journal over, sends what was not sent, and ends the run that nobody can end any more.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from mlops_nb.core.events import CellRan, RunEnded
from mlops_nb.core.records import CellExecution, CellOutcome
from mlops_nb.core.run_state import RunStatus
from mlops_nb.errors import NotFound, StoreError
from mlops_nb.store.base import TrackingStore
from mlops_nb.store.open import store_path
from mlops_nb.tracking import shortage
from mlops_nb.tracking.delivery import deliver
from mlops_nb.tracking.journal import Header, Leftover, take_over

logger = logging.getLogger("mlops_nb")

# A living process tells the store this often (s) that its runs live.
SIGN_OF_LIFE_SECONDS = 15.0
# It touches its journals this often (s), so a journal that is older tells when it died.
TOUCH_SECONDS = 2.0

Explain = Callable[[int], str | None]
_turn = threading.Lock()


def _after_fork_in_child() -> None:
    global _turn
    _turn = threading.Lock()  # the thread that may hold it stays with the parent


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def recover(journal_dir: Path, store: TrackingStore, store_uri: str, *, explain: Explain | None = None) -> list[str]:
    """Deliver the journals that no living process holds and end their runs as KILLED.

    Of several threads one does it after the other: whoever reads the store next must find what another one delivers just now.

    Args:
        journal_dir: The folder; may be missing.
        store: Where to deliver.
        store_uri: Only journals for this store are touched.
        explain: Says why the process with a pid ended, where the caller knows.

    Returns:
        The ids of the runs whose journals were delivered.
    Raises:
        StoreError: If the store cannot take them now; they stay.
    """
    with _turn:
        return _recover(journal_dir, store, store_uri, explain)


def _recover(journal_dir: Path, store: TrackingStore, store_uri: str, explain: Explain | None) -> list[str]:
    recovered = []
    children = []
    for path in sorted(journal_dir.glob("*.jsonl")):
        leftover = _take_over(path, store_uri)
        if leftover is None:
            continue
        if leftover.header.owner:
            recovered += _close(leftover, store, explain)
        else:  # adds to a run that its parent's journal begins
            leftover.close()
            children.append(path)
    for path in children:
        if (leftover := _take_over(path, store_uri)) is not None:
            recovered += _close(leftover, store, explain)
    return recovered


def _close(leftover: Leftover, store: TrackingStore, explain: Explain | None) -> list[str]:
    try:
        _finish(leftover, store, explain)
        return [leftover.header.run_id]
    except StoreError:
        raise
    except NotFound:  # a child's parent lives and has not delivered the beginning yet
        return []
    except Exception as error:  # noqa: BLE001  # one journal that cannot be delivered must not hold up the others
        logger.warning("The journal %s cannot be delivered: %s", leftover.path, error)
        return []
    finally:
        leftover.close()


def _take_over(path: Path, store_uri: str) -> Leftover | None:
    try:
        leftover = take_over(path)
    except msgspec.MsgspecError as error:
        logger.warning("The journal %s cannot be read (%s); it is set aside as %s.", path, error, path.with_suffix(".unreadable").name)
        path.rename(path.with_suffix(".unreadable"))
        return None
    except OSError as error:  # no descriptors, no memory, no permission: try again another time
        logger.warning("The journal %s cannot be opened now: %s", path, error)
        return None
    if leftover is not None and not _is_for(leftover, store_uri):
        leftover.close()
        return None
    return leftover


def _is_for(leftover: Leftover, store_uri: str) -> bool:
    """Return whether a journal is for this store, or was for it before the project's folder was moved."""
    if leftover.header.store == store_uri:
        return True
    if not (leftover.header.store.startswith("sqlite:") and store_uri.startswith("sqlite:")):
        return False
    then, now = store_path(leftover.header.store), store_path(store_uri)
    return leftover.path.parent.parent == now.parent and then.name == now.name and not then.exists()


def _is_recorded_elsewhere(leftover: Leftover) -> bool:
    """Return whether another process has the run open too: then it is not for this one's death to end it."""
    for path in leftover.path.parent.glob(f"{leftover.header.run_id}.*.jsonl"):
        if path != leftover.path:
            try:
                with path.open("rb") as file:
                    if msgspec.json.decode(file.readline(), type=Header).owner:
                        return True
            except (OSError, msgspec.MsgspecError):  # gone meanwhile, or no journal
                continue
    return False


def _finish(leftover: Leftover, store: TrackingStore, explain: Explain | None) -> None:
    header = leftover.header
    if header.owner and not any(isinstance(event, RunEnded) for event in leftover.events) and not _is_recorded_elsewhere(leftover):
        why = (explain(header.pid) if explain else None) or _why_gone(header)
        cell = _open_cell(leftover)
        ended = _last_sign_of_life(leftover)
        where = ""
        if cell is not None:
            took = float(max(0, ended - cell.started))  # the clock may have been set back meanwhile
            interrupted = msgspec.structs.replace(cell, outcome=CellOutcome.INTERRUPTED, duration_ms=took)
            leftover.append(CellRan(ts=cell.started, cell=interrupted))
            where = f" while {cell_label(cell)} was running"
        reason = f"process {header.pid} {why}{where}"
        leftover.append(RunEnded(ts=ended, status=RunStatus.KILLED, reason=reason))
    deliver(store, header, leftover.path, leftover.events)
    leftover.remove()


def _why_gone(header: Header) -> str:
    shortly = shortage.since(header.memory) if header.host == socket.gethostname() else None
    return "ended without closing the run" + (f" ({shortly})" if shortly else "")


def _open_cell(leftover: Leftover) -> CellExecution | None:
    """Return the cell that was running when the process died."""
    last = next((event for event in reversed(leftover.events) if isinstance(event, CellRan)), None)
    return last.cell if last is not None and last.cell.outcome is CellOutcome.RUNNING else None


def _last_sign_of_life(leftover: Leftover) -> int:
    now = time.time_ns() // 1_000_000
    return now if now - leftover.last_change < 1.5 * TOUCH_SECONDS * 1000 else leftover.last_change


def cell_label(cell: CellExecution) -> str:
    """Return how people call a cell execution: by the number that the notebook shows."""
    return f"cell [{cell.execution_count}]" if cell.execution_count is not None else f"cell {cell.index + 1}"
