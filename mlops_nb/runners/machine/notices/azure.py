"""Azure: scheduled events, among them the eviction of a spot machine (30 s).

https://learn.microsoft.com/azure/virtual-machines/linux/scheduled-events
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from mlops_nb.runners.machine.notices.base import Notice
from mlops_nb.runners.machine.notices.metadata import ADDRESS, MetadataService, seconds_until

_HEADERS = {"Metadata": "true"}
_EVENTS = "/metadata/scheduledevents?api-version=2020-07-01"
_NAME = "/metadata/instance/compute/name?api-version=2021-02-01&format=text"
_WORDS = {
    "Preempt": "Azure takes this spot machine back",
    "Terminate": "this machine is being deleted",
    "Reboot": "Azure restarts this machine",
    "Redeploy": "Azure moves this machine, which ends what runs on it",
}
"""A freeze of some seconds is not among them: it ends nothing."""
_LEAST, _MOST = 25.0, 900.0
_FIRST_ANSWER = 30.0
"""Asking for the first time turns the service on, which takes up to two minutes: each try may take so long (s)."""


class AzureNotices:
    """Reads the scheduled events that name this machine."""

    def __init__(self, url: str = ADDRESS) -> None:
        self._service = MetadataService(url, seconds=_FIRST_ANSWER)
        self._name = ""

    def check(self) -> Notice | None:
        if not self._name:
            status, text = self._service.ask(_NAME, _HEADERS)
            self._name = text.strip() if status == 200 else ""
        status, text = self._service.ask(_EVENTS, _HEADERS)
        found = [self._notice(event) for event in _events(text) if self._names_us(event)] if status == 200 else []
        return min(found, key=lambda notice: notice.seconds, default=None)

    def _notice(self, event: dict[str, Any]) -> Notice:
        moment = str(event.get("NotBefore") or "")  # empty when it has begun
        kind = str(event["EventType"])
        return Notice(text=f"{_WORDS[kind]} ({kind}, {moment or 'now'})", seconds=seconds_until(moment, least=_LEAST, most=_MOST))

    def _names_us(self, event: dict[str, Any]) -> bool:
        resources = event.get("Resources")
        return not self._name or not isinstance(resources, list) or self._name in resources


def _events(text: str) -> Iterator[dict[str, Any]]:
    """Yield the events that end what runs on a machine."""
    try:
        document = json.loads(text)
    except ValueError:
        return
    events = document.get("Events") if isinstance(document, dict) else None
    for event in events if isinstance(events, list) else ():
        if isinstance(event, dict) and event.get("EventType") in _WORDS and event.get("EventStatus") != "Completed":
            yield event
