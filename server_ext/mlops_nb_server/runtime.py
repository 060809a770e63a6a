"""Making this server known to the kernels and programs of the machine; see `mlops_nb.tracking.servers`."""

from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path
from typing import Any

from jupyter_server.utils import url_path_join

from mlops_nb.config import Project
from mlops_nb.tracking import servers
from mlops_nb_server.service import LOCAL_TOKEN

_EVERYWHERE = ("", "*", "localhost", "0.0.0.0", "::")


class Publication:
    """This server's entry among the running ones. `token` opens its tracking API, and nothing else of the server.

    `url` is where its API is found on this machine; "" on a Unix socket.
    """

    def __init__(self, token: str, path: Path | None, url: str = "") -> None:
        self.token = token
        self.url = url
        self._path = path

    def close(self) -> None:
        """Take the entry back."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def publish(serverapp: Any, project: Project, mount: str = "mlops") -> Publication:
    """Write the entry of a server that listens.

    A server on a Unix socket has no URL that a client could use: it gets no entry, and kernels use the store directly.
    """
    token = serverapp.web_app.settings.setdefault(LOCAL_TOKEN, secrets.token_urlsafe(32))
    if serverapp.sock:
        return Publication(token, None)
    host = "127.0.0.1" if serverapp.ip in _EVERYWHERE else f"[{serverapp.ip}]" if ":" in serverapp.ip else serverapp.ip
    scheme = "https" if serverapp.certfile else "http"
    record = servers.ServerRecord(
        url=f"{scheme}://{host}:{serverapp.port}{url_path_join(serverapp.base_url, mount)}",
        token=token,
        pid=os.getpid(),
        host=socket.gethostname(),
        store_uri=project.store_uri,
        state_dir=str(project.state_dir),
    )
    try:
        return Publication(token, servers.publish(record), record.url)
    except OSError as error:
        serverapp.log.warning("mlops_nb: kernels cannot be told of this server (%s); they use the store's file directly.", error)
        return Publication(token, None, record.url)
