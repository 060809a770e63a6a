"""What every step in the life of a runner needs at hand, and how the ledger is changed while others change it, too."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from msgspec.structs import replace

from mlops_nb.clouds.base import Cloud, CloudError, Note
from mlops_nb.core.runners import CloudName, Resource, Runner, RunnerEvent, RunnerState
from mlops_nb.errors import Conflict, MlopsError
from mlops_nb.runners.base import Clock, Registrar
from mlops_nb.runners.shown import printable
from mlops_nb.store.runners import RunnerLedger

log = logging.getLogger("mlops_nb.runners")

_MOST_RACES = 50


@contextmanager
def foreseen(what: str) -> Iterator[None]:
    """Make an error of ours of what a library or a driver did not foresee, so that it ends one step and not all that is to be ended.

    Raises:
        CloudError: For what is none of our errors; its traceback is in the log.
    """
    try:
        yield
    except MlopsError:
        raise
    except Exception as error:
        log.exception("%s failed in a way that nobody has foreseen", what)
        text = printable(f"{what} failed: {type(error).__name__}: {error}")[:500]
        raise CloudError(text, hint="This is a defect of mlops-nb or of a library; the log has all of it.") from error


class Context:
    """The ledger, the clouds, the forges and the clock of one installation."""

    def __init__(
        self,
        ledger: RunnerLedger,
        cloud: Callable[[CloudName], Cloud],
        registrar: Callable[[str], Registrar],
        installation: str,
        clock: Clock,
        tell: Callable[[str], None],
    ) -> None:
        self.ledger = ledger
        self.cloud = cloud
        self.registrar = registrar
        self.installation = installation
        self.clock = clock
        self.tell = tell

    def live(self) -> Sequence[Runner]:
        """Return the runners that are not gone, the newest thousand."""
        return self.ledger.list(states=[state for state in RunnerState if not state.is_over])

    def change(self, runner_id: str, decide: Callable[[Runner], Runner], kind: str, text: str = "", **data: object) -> Runner:
        """Change a runner by what `decide` makes of it as it is now, again where another was quicker.

        Nothing is written where `decide` returns what it was given. What it raises goes through.

        Raises:
            Conflict: If others were quicker 50 times in a row.
        """
        return change(self.ledger, self.clock.now, runner_id, decide, kind, text, **data)


def change(
    ledger: RunnerLedger,
    now: Callable[[], float],
    runner_id: str,
    decide: Callable[[Runner], Runner],
    kind: str,
    text: str = "",
    **data: object,
) -> Runner:
    """Change a runner of a ledger; see `Context.change`."""
    for _ in range(_MOST_RACES):
        runner = ledger.get(runner_id)
        changed = decide(runner)
        if changed is runner:
            return runner
        time = now()
        try:
            event = RunnerEvent(time=time, kind=kind, text=text or changed.reason, data=data)
            return ledger.save(replace(changed, updated=time), event)
        except Conflict:
            continue
    raise Conflict(f"The runner {runner_id[:8]} is being changed by others all the time.", hint="Try again.")


def note_in(ledger: RunnerLedger, now: Callable[[], float], runner_id: str) -> Note:
    """Return what writes down that a runner that lives already may have one more resource."""

    def note(resource: Resource) -> None:
        text = f"{resource.kind} {resource.id}".strip()
        change(ledger, now, runner_id, lambda runner: noted(runner, resource), "resource", text, region=resource.region)

    return note


def noted(runner: Runner, resource: Resource) -> Runner:
    """Return a runner that has, or may have, one more resource."""
    registration = resource.id if resource.kind == "registration" else ""
    return replace(runner, resources=with_resource(runner.resources, resource), registration=registration or runner.registration)


def with_resource(resources: Sequence[Resource], new: Resource) -> Sequence[Resource]:
    """Return resources with one more, which takes the place of what was noted of it before its id was known."""
    kept = [
        old for old in resources if (old.kind, old.region) != (new.kind, new.region) or (old.id != new.id and not (old.id == "" and new.id))
    ]
    if new.id == "" and any((old.kind, old.region) == (new.kind, new.region) and old.id == "" for old in resources):
        return resources
    return (*kept, new)
