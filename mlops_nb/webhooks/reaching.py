"""Webhooks as commands and Python use them: the same verbs on the embedded store and behind a server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from mlops_nb.core.webhooks import Delivery, TestResult, Webhook, WebhookStatus, check_events, check_status
from mlops_nb.errors import InvalidInput, NotSupported
from mlops_nb.store.base import ServedStore, TrackingStore
from mlops_nb.store.page import Page
from mlops_nb.webhooks import managing
from mlops_nb.webhooks.delivering import Courier, Delivered, prune

if TYPE_CHECKING:
    from mlops_nb.store.rest import RestStore


class Webhooks:
    """The webhooks of a store. Where it is embedded, messages are sent by a server of the project, or by `deliver`."""

    def __init__(self, store: TrackingStore) -> None:
        self._served = store.webhooks if isinstance(store, ServedStore) else None
        self._store = store

    def create(
        self, name: str, url: str, events: Sequence[str], *, description: str = "", secret: str | None = None, status: str = "ACTIVE"
    ) -> Webhook:
        """Create a webhook; see `managing.create`."""
        chosen, wanted = check_events(events), check_status(status)
        if self._served is not None:
            return managing.create(self._served, name, url, chosen, description=description, secret=secret, status=wanted)
        body = {"name": name, "url": url, "events": _forms(chosen), "description": description, "secret": secret, "status": wanted.value}
        made = self._rest.ask_mlflow("POST", "/webhooks", body={key: value for key, value in body.items() if value})
        return self.get(made["webhook"]["webhook_id"])

    def get(self, webhook_id: str) -> Webhook:
        """Return a webhook.

        Raises:
            NotFound: If there is none of this id.
        """
        if self._served is not None:
            return self._served.get(webhook_id)
        return msgspec.convert(self._rest.ask("GET", f"/webhooks/{_part(webhook_id)}"), Webhook)

    def page(self, *, max_results: int = 100, page_token: str | None = None) -> Page[Webhook]:
        """Return webhooks, the newest first."""
        if self._served is not None:
            return self._served.page(max_results=max_results, page_token=page_token)
        query = {"max_results": max_results, **({"page_token": page_token} if page_token else {})}
        answer = self._rest.ask("GET", "/webhooks", query=query)
        return Page(items=msgspec.convert(answer["webhooks"], list[Webhook]), token=answer.get("next_page_token"))

    def update(
        self,
        webhook_id: str,
        *,
        name: str | None = None,
        url: str | None = None,
        events: Sequence[str] | None = None,
        description: str | None = None,
        secret: str | None = None,
        status: str | None = None,
    ) -> Webhook:
        """Change what is given; an empty secret removes it."""
        chosen = None if events is None else check_events(events)
        wanted: WebhookStatus | None = None if status is None else check_status(status)
        given: dict[str, Any] = {"name": name, "url": url, "description": description, "secret": secret}
        if self._served is not None:
            return managing.update(self._served, webhook_id, events=chosen, status=wanted, **given)
        body = {**given, "events": None if chosen is None else _forms(chosen), "status": wanted}
        path = f"/webhooks/{_part(webhook_id)}"
        self._rest.ask_mlflow("PATCH", path, body={key: value for key, value in body.items() if value is not None})
        return self.get(webhook_id)

    def delete(self, webhook_id: str) -> None:
        """Delete a webhook, with the messages that wait for it."""
        if self._served is not None:
            self._served.delete(webhook_id)
        else:
            self._rest.ask_mlflow("DELETE", f"/webhooks/{_part(webhook_id)}")

    def test(self, webhook_id: str, event: str | None = None) -> TestResult:
        """Send an example now, from where the store is, and return what came of it."""
        chosen = None if event is None else check_events([event])
        if self._served is not None:
            return managing.send_example(self._served, webhook_id, event)
        body = {} if chosen is None else {"event": _forms(chosen)[0]}
        answer = self._rest.ask_mlflow("POST", f"/webhooks/{_part(webhook_id)}/test", body=body)
        return msgspec.convert({"success": False, **answer["result"]}, TestResult)

    def deliveries(self, webhook_id: str, *, max_results: int = 50) -> list[Delivery]:
        """Return the newest messages to a webhook, the newest first."""
        if self._served is not None:
            return self._served.deliveries(webhook_id, max_results=max_results)
        answer = self._rest.ask("GET", f"/webhooks/{_part(webhook_id)}/deliveries", query={"max_results": max_results})
        return msgspec.convert(answer["deliveries"], list[Delivery])

    def deliver(self) -> Delivered:
        """Send all messages that are due, from this process.

        Raises:
            NotSupported: If the store is behind a server: that delivers by itself.
        """
        if self._served is None:
            raise NotSupported("The server delivers by itself.", hint="mlops-nb webhooks list shows what came of it.")
        store = self._served
        done = Courier(lambda: store).deliver_due()
        prune(store)
        token: str | None = None
        while True:
            page = store.page(max_results=1000, page_token=token)
            done.waiting += sum(one.pending for one in page.items)
            token = page.token
            if token is None:
                return done

    @property
    def _rest(self) -> RestStore:
        from mlops_nb.store.rest import RestStore

        if not isinstance(self._store, RestStore):
            raise NotSupported("This store keeps no webhooks.", hint="Use the project's store or a server of mlops_nb.")
        return self._store


def _forms(events: Sequence[str]) -> list[dict[str, str]]:
    pairs = [event.upper().split(".") for event in events]
    return [{"entity": entity, "action": action} for entity, action in pairs]


def _part(webhook_id: str) -> str:
    from urllib.parse import quote

    if not webhook_id:
        raise InvalidInput("The id of a webhook is missing.", hint="mlops-nb webhooks list shows them.")
    return quote(webhook_id, safe="")
