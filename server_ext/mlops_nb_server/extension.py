"""The extension as Jupyter loads, starts and stops it."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

from jupyter_server.extension.application import ExtensionApp
from jupyter_server.utils import url_path_join
from traitlets import Instance

from mlops_nb.api.router import pattern_of
from mlops_nb.config import find_project
from mlops_nb_server import runner_events, serving
from mlops_nb_server.handler import ApiHandler, UploadHandler
from mlops_nb_server.live import SCHEMA, StoreWatcher
from mlops_nb_server.liveness import start_liveness
from mlops_nb_server.runner_events import RunnerWatcher
from mlops_nb_server.runtime import publish
from mlops_nb_server.service import Service
from mlops_nb_server.serving import ServeHandler, Serving

MOUNT = "mlops"
_GROUP = re.compile(r"\(\?P<\w+>")


class MlopsServer(ExtensionApp):
    """Serves the project that the server's root folder belongs to. Nothing is opened or written before the first request."""

    name = "mlops_nb_server"
    service: Any = Instance(Service, allow_none=True)
    serving: Any = Instance(Serving, allow_none=True)

    def initialize_handlers(self) -> None:
        server: Any = self.serverapp
        self.service = Service(find_project(Path(server.root_dir)), server.web_app.settings, server.identity_provider)
        server.event_logger.register_event_schema(SCHEMA)
        server.event_logger.register_event_schema(runner_events.SCHEMA)
        mount = url_path_join(server.base_url, MOUNT)
        shared = {"service": self.service, "mount": mount}
        uploads = dict.fromkeys(path for operation in self.service.router.operations if operation.upload for path in operation.paths)
        self.handlers.extend((f"/{MOUNT}{_GROUP.sub('(?:', pattern_of(path))}", UploadHandler, shared) for path in uploads)
        self.serving = Serving(self.service, server.event_logger)
        server.event_logger.register_event_schema(serving.SCHEMA)
        self.handlers.append((f"/{MOUNT}{serving.PATH}", ServeHandler, {**shared, "serving": self.serving}))
        self.handlers.append((rf"/{MOUNT}(?:/.*)?", ApiHandler, shared))

    async def _start_jupyter_server_extension(self, serverapp: Any) -> None:
        self._publication = publish(serverapp, self.service.project.project)
        self._liveness = start_liveness(serverapp, self.service.project)
        self._watcher = StoreWatcher(self.service, serverapp.event_logger, self.log)
        self._watcher.start()
        self._runners = RunnerWatcher(self.service, serverapp.event_logger, self.log)
        self._runners.start()
        self.service.courier.start()
        self.service.host_runners(lambda: self._publication.url)
        await self.serving.start()

    async def stop_extension(self) -> None:
        self._publication.close()
        await self.serving.stop()
        await self._watcher.stop()
        await self._runners.stop()
        await self._liveness.stop()
        await asyncio.to_thread(self.service.close)
