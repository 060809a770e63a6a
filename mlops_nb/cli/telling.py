"""What a command tells while it works: lines on stderr without secrets, as much as --log asks for."""

from __future__ import annotations

import logging
import os
import sys

from mlops_nb.core.formatting import log_line
from mlops_nb.core.redaction import Redactor

_LEVELS = {"error": logging.ERROR, "warn": logging.WARNING, "info": logging.INFO, "debug": logging.DEBUG}
_LOGGERS = ("mlops_nb.posting", "mlops_nb.forges", "mlops_nb.outgoing")
_SIGNS = {logging.ERROR: "✗ ", logging.WARNING: "! ", logging.INFO: "· ", logging.DEBUG: "  "}


class _Lines(logging.Handler):
    """Writes records as lines, none of which a workflow could take for a command."""

    def __init__(self, redact: Redactor) -> None:
        super().__init__()
        self._redact = redact

    def emit(self, record: logging.LogRecord) -> None:
        text = self._redact(record.getMessage())
        sys.stderr.write(f"{_SIGNS.get(record.levelno, '')}{' '.join(log_line(text).split())}\n")
        sys.stderr.flush()


def tell_on_stderr(level: str, *, secret: str | None = None) -> None:
    """Send what this package tells to stderr from now on."""
    environment = {**os.environ, **({"DRIVER_TOKEN": secret} if secret else {})}
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers = [handler for handler in logger.handlers if not isinstance(handler, _Lines)]
        logger.addHandler(_Lines(Redactor(environment)))
        logger.setLevel(_LEVELS[level])
        logger.propagate = False
