"""How a run ends, and why, in words."""

from __future__ import annotations

import os

from mlops_nb.core.names import clean_text
from mlops_nb.core.run_state import RunStatus
from mlops_nb.tracking import shortage


def ending_of(error: BaseException | None) -> tuple[RunStatus, str | None]:
    """Return how a run ends when this exception ends it."""
    if error is None:
        return RunStatus.FINISHED, None
    if isinstance(error, KeyboardInterrupt):
        return RunStatus.KILLED, "interrupted"
    if isinstance(error, SystemExit) and error.code in (None, 0):
        return RunStatus.FINISHED, None
    first_line = str(error).strip().splitlines()[:1]
    if isinstance(error, MemoryError) and (figure := shortage.of_this_process()):
        first_line = ["; ".join([*first_line, figure])]
    return RunStatus.FAILED, f"{type(error).__name__}: {first_line[0]}"[:500] if first_line else type(error).__name__


def without_secrets(reason: object) -> str:
    """Return a reason as text without secrets: the message of an error may quote an address with a password."""
    from mlops_nb.core.redaction import Redactor

    return Redactor(os.environ)(clean_text(str(reason)))
