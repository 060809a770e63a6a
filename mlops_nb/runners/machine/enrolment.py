"""How a new machine gets its secret: over a connection that it opens itself, once."""

from __future__ import annotations

import base64
import binascii
import threading
from collections.abc import Callable

from mlops_nb.core.records import Record
from mlops_nb.errors import InvalidInput, NotFound, StoreUnreachable
from mlops_nb.runners.machine.settings import AgentSettings
from mlops_nb.store.rest import RestStore

PATIENCE_SECONDS = 300.0
_PAUSE_SECONDS = 5.0
_MAX_SECRET = 1 << 20


class Enrolled(Record, frozen=True, kw_only=True):
    """What a machine has after it has introduced itself.

    Attributes:
        secret: What its work begins with: a registration or a JIT configuration, as `runners.agents` encodes it; b"" for notebooks.
        store: The server, with the agent's token; None where there is none.
    """

    secret: bytes = b""
    store: RestStore | None = None

    def __repr__(self) -> str:
        return "Enrolled(…)"


def enrol(
    settings: AgentSettings, tell: Callable[[str], None], *, patience: float = PATIENCE_SECONDS, pause: float = _PAUSE_SECONDS
) -> Enrolled:
    """Exchange what the settings hold for the secret, and wait for a network that is not there yet.

    Args:
        patience: How long a server that does not answer is asked again, every `pause` seconds.

    Raises:
        PermissionDenied: If the ticket or the mailbox was used before, or is too old.
        StoreUnreachable: If nobody answers.
    """
    if settings.server and settings.ticket:
        return _patiently(lambda: _redeemed(settings), tell, patience, pause)
    if settings.mailbox:
        return _patiently(lambda: Enrolled(secret=_fetched(settings.mailbox)), tell, patience, pause)
    try:
        return Enrolled(secret=base64.b64decode(settings.secret, validate=True))
    except (binascii.Error, ValueError):
        raise InvalidInput("The secret in the agent's settings is not base64.", hint="Launch the runner again.") from None


def _redeemed(settings: AgentSettings) -> Enrolled:
    runner, token, secret = RestStore(settings.server).runners.redeem(settings.ticket)
    if runner.id != settings.runner_id:
        raise InvalidInput(f"The ticket belongs to the runner {runner.id}, not to {settings.runner_id}.", hint="Launch the runner again.")
    return Enrolled(secret=secret, store=RestStore(settings.server, token))


def _fetched(url: str) -> bytes:
    from mlops_nb.outgoing import read_limited, session

    with session(allow_private=True) as http, http.get(url, stream=True) as response:
        if response.status_code != 200:
            hint = "It is removed when it was read once. Launch the runner again."
            raise NotFound(f"There is nothing in the mailbox (HTTP {response.status_code}).", hint=hint)
        return read_limited(response, _MAX_SECRET)


def _patiently(ask: Callable[[], Enrolled], tell: Callable[[str], None], patience: float, pause: float) -> Enrolled:
    from mlops_nb.outgoing import OutgoingError

    waited = 0.0
    while True:
        try:
            return ask()
        except (StoreUnreachable, OutgoingError) as error:
            if waited >= patience:
                raise
            if waited == 0:
                tell(f"{error.message} It is asked again for {patience:.0f} s.")
            threading.Event().wait(pause)
            waited += pause
