"""Google Cloud: preemption (30 s), and the end of a machine for the maintenance of its host.

https://cloud.google.com/compute/docs/instances/spot#detect-preemption
https://cloud.google.com/compute/docs/metadata/getting-live-migration-notice
"""

from __future__ import annotations

from mlops_nb.runners.machine.notices.base import Notice
from mlops_nb.runners.machine.notices.metadata import ADDRESS, MetadataService

_HEADERS = {"Metadata-Flavor": "Google"}
_INSTANCE = "/computeMetadata/v1/instance"
_PREEMPTED = 30.0
_MAINTENANCE = 60.0


class GcpNotices:
    """Reads `preempted` and `maintenance-event`."""

    def __init__(self, url: str = ADDRESS) -> None:
        self._service = MetadataService(url)

    def check(self) -> Notice | None:
        if self._read("/preempted") == "TRUE":
            return Notice(text="Google takes this spot machine back (preempted)", seconds=_PREEMPTED)
        if self._read("/maintenance-event") == "TERMINATE_ON_HOST_MAINTENANCE":
            return Notice(text="Google ends this machine for the maintenance of its host", seconds=_MAINTENANCE)
        return None

    def _read(self, path: str) -> str:
        status, text = self._service.ask(f"{_INSTANCE}{path}", _HEADERS)
        return text.strip() if status == 200 else ""
