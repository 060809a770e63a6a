"""The Jupyter server extension: the operations of `mlops_nb.api` below `{base_url}mlops`, and events when the store changes."""

from __future__ import annotations

from typing import Any


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    from mlops_nb_server.extension import MlopsServer

    return [{"module": "mlops_nb_server", "app": MlopsServer}]
