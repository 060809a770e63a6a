"""`mlops-nb webhooks ...`"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING

import click

from mlops_nb.cli.output import moment, output_option, say, table
from mlops_nb.cli.stores import tracking_store
from mlops_nb.core.formatting import one_line

if TYPE_CHECKING:
    from mlops_nb.core.webhooks import Webhook
    from mlops_nb.webhooks.reaching import Webhooks

_HINT = "mlops-nb webhooks list shows them."
_NAME = click.option("-n", "--name", help="A name for people.")
_URL = click.option("-u", "--url", help="Where messages are sent: https://…")
_EVENTS = click.option("-e", "--event", "events", multiple=True, help="What to tell of; may be given several times.")
_DESCRIPTION = click.option("-d", "--description", help="What it is for.")
_SECRET = click.option(
    "--secret-file", type=click.File("r", encoding="utf-8"), help="A file with the secret that signs messages; - is standard input."
)


@click.group()
def webhooks() -> None:
    """Tell others of changes in the model registry.

    Messages are sent by the server that is running, at least once each, and tried again for hours where nobody answers.
    Without a server they wait for the next one, or for `mlops-nb webhooks deliver`.
    """


@contextlib.contextmanager
def _webhooks(*, create: bool = False) -> Iterator[Webhooks]:
    from mlops_nb.webhooks.reaching import Webhooks

    with tracking_store(create=create, hint=_HINT) as store:
        yield Webhooks(store)


@webhooks.command()
@click.option("-n", "--name", required=True, help="A name for people: letters, digits, '.', '_' and '-'.")
@click.option("-u", "--url", required=True, help="Where messages are sent: https://…")
@_EVENTS
@_DESCRIPTION
@_SECRET
@click.option("--disabled", is_flag=True, help="Make it, but send nothing yet.")
@output_option
def create(
    name: str, url: str, events: tuple[str, ...], description: str | None, secret_file: IO[str] | None, disabled: bool, as_json: bool
) -> None:
    """Make a webhook.

    Without --event it is told of new models and versions, and of aliases that move. `mlops-nb webhooks events` lists all.
    """
    from mlops_nb.core.webhooks import WebhookStatus

    chosen = events or ("registered_model.created", "model_version.created", "model_version_alias.created", "model_version_alias.deleted")
    status = WebhookStatus.DISABLED if disabled else WebhookStatus.ACTIVE
    with _webhooks(create=True) as hooks:
        made = hooks.create(name, url, chosen, description=description or "", secret=_secret(secret_file), status=status)
    say(made, f"Created webhook '{name}' with id {made.webhook_id}.", as_json=as_json)


@webhooks.command("events")
@output_option
def list_events(as_json: bool) -> None:
    """List what can be told of."""
    from mlops_nb.core.webhooks import EVENTS

    say(list(EVENTS), "\n".join(EVENTS), as_json=as_json)


@webhooks.command("list")
@click.option("--max-results", type=click.IntRange(1, 1000), default=100, show_default=True, help="At most this many, the newest first.")
@output_option
def list_webhooks(max_results: int, as_json: bool) -> None:
    """List webhooks, with what came of their last messages."""
    with _webhooks() as hooks:
        found = hooks.page(max_results=max_results).items
    rows = [(one.webhook_id, one.name, one.url, one.status.value, one.pending, _last(one)) for one in found]
    say(found, table(("Webhook Id", "Name", "URL", "Status", "Waiting", "Last"), rows, flexible=2), as_json=as_json)


@webhooks.command()
@click.argument("webhook_id")
@click.option("--deliveries", default=10, show_default=True, type=click.IntRange(0, 500), help="How many of its messages to show.")
@output_option
def get(webhook_id: str, deliveries: int, as_json: bool) -> None:
    """Show a webhook and its newest messages."""
    with _webhooks() as hooks:
        one = hooks.get(webhook_id)
        log = hooks.deliveries(webhook_id, max_results=deliveries) if deliveries else []
    lines = {
        **{"Webhook Id": one.webhook_id, "Name": one.name, "URL": one.url, "Events": ", ".join(one.events), "Status": one.status.value},
        **{"Description": one_line(one.description), "Signed": "yes" if one.has_secret else "no", "Waiting": one.pending},
        "Last": _last(one),
    }
    text = "\n".join(f"{key + ':':<13} {value}".rstrip() for key, value in lines.items())
    if log:
        rows = [(moment(d.creation_time), d.event, d.state.value, d.attempts, d.response_status or "", d.error) for d in log]
        text += "\n\n" + table(("Time", "Event", "State", "Attempts", "Answer", "Error"), rows, flexible=5)
    say({"webhook": one, "deliveries": log}, text, as_json=as_json)


@webhooks.command()
@click.argument("webhook_id")
@_NAME
@_URL
@_EVENTS
@_DESCRIPTION
@_SECRET
@click.option("--no-secret", is_flag=True, help="Sign no longer.")
@click.option("--enable/--disable", "enabled", default=None, help="Send again, or nothing.")
@output_option
def update(
    webhook_id: str,
    name: str | None,
    url: str | None,
    events: tuple[str, ...],
    description: str | None,
    secret_file: IO[str] | None,
    no_secret: bool,
    enabled: bool | None,
    as_json: bool,
) -> None:
    """Change what is given of a webhook; events given replace those it had."""
    status = None if enabled is None else ("ACTIVE" if enabled else "DISABLED")
    secret = "" if no_secret else _secret(secret_file)
    with _webhooks() as hooks:
        changed = hooks.update(
            webhook_id, name=name, url=url, events=list(events) or None, description=description, secret=secret, status=status
        )
    say(changed, f"Changed webhook '{changed.name}'.", as_json=as_json)


@webhooks.command()
@click.argument("webhook_id")
@output_option
def delete(webhook_id: str, as_json: bool) -> None:
    """Delete a webhook, with the messages that wait for it."""
    with _webhooks() as hooks:
        hooks.delete(webhook_id)
    say({"webhook_id": webhook_id}, f"Deleted webhook {webhook_id}.", as_json=as_json)


@webhooks.command("test")
@click.argument("webhook_id")
@click.option("-e", "--event", help="Of which event; by default the webhook's first.")
@output_option
def send_test(webhook_id: str, event: str | None, as_json: bool) -> None:
    """Send an example now; the exit status is 1 if it was not taken."""
    with _webhooks() as hooks:
        result = hooks.test(webhook_id, event)
    if result.success:
        say(result, f"Taken: the receiver answered {result.response_status}.", as_json=as_json)
        return
    say(result, f"✗ Not taken: {one_line(result.error_message or '')}", as_json=as_json)
    raise SystemExit(1)


@webhooks.command()
@output_option
def deliver(as_json: bool) -> None:
    """Send the messages that are due, where no server does."""
    with _webhooks() as hooks:
        done = hooks.deliver()
    text = f"{done.delivered} delivered, {done.retried} to be tried again, {done.failed} given up; {done.waiting} waiting."
    say(done, text, as_json=as_json)


def _secret(file: IO[str] | None) -> str | None:
    if file is None:
        return None
    from mlops_nb.errors import InvalidInput

    secret = file.read().strip()
    if not secret:
        raise InvalidInput("The file with the secret is empty.", hint="Make one: openssl rand -base64 32")
    return secret


def _last(one: Webhook) -> str:
    if one.last_time is None:
        return ""
    return f"{moment(one.last_time)} {one_line(one.last_error) or f'answered {one.last_status}'}"
