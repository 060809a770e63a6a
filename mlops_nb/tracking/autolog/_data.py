"""The identity of the data that a training was given."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from mlops_nb.tracking.autolog._fit import Fit

_MODULE = "mlops_nb.tracking.data"


def log_fit_data(fit: Fit, features: Any, target: Any = None, context: str = "training") -> None:
    """Note what data a training was given, by a fingerprint of its content."""
    if not fit.options.log_datasets or features is None or importlib.util.find_spec(_MODULE) is None:
        return
    with fit.safely("the identity of the data is"):
        log = getattr(importlib.import_module(_MODULE), "log_fit_data", None)
        if log is not None:
            log(fit.run, features, target, context)
