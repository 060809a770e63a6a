"""From a request to a machine whose agent has reported, or to nothing at all."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from msgspec.structs import replace

from mlops_nb.clouds.base import CloudError, Machine, MachineOrder, NoCapacity, QuotaExceeded
from mlops_nb.core.runners import (
    REGISTER_SECONDS,
    TAG_EXPIRES,
    TAG_INSTALLATION,
    TAG_NAME,
    TAG_RUNNER,
    Offer,
    Resource,
    Runner,
    RunnerState,
)
from mlops_nb.errors import MlopsError
from mlops_nb.runners import ending
from mlops_nb.runners.base import Plan, Preparation
from mlops_nb.runners.cancelling import Interrupted, Suspended, guarded
from mlops_nb.runners.context import Context, foreseen, noted, with_resource
from mlops_nb.runners.shown import printable

CREATE_SECONDS = 600.0
"""How long offers are tried."""
LOOK_SECONDS = 3.0
"""How often the ledger is looked at while a machine boots; the cloud and the forge every fifth time."""
MACHINES = ("machine", "job", "spot", "container")


class LaunchFailed(MlopsError):
    """No machine could be had, or none that reports; nothing of it is left, or the message says what.

    Attributes:
        reasons: Why each offer that was tried was not to be had.
        console: The end of what the machine has printed.
    """

    code = "TEMPORARILY_UNAVAILABLE"

    def __init__(self, message: str, *, hint: str | None = None, reasons: Sequence[str] = (), console: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reasons = reasons
        self.console = console


class LaunchCancelled(MlopsError):
    """Somebody has ended the runner while it was being launched."""

    code = "INVALID_STATE"


class Launching:
    """One launch. `made` has all that it may have made, also what the ledger could not be told."""

    def __init__(self, ctx: Context, runner: Runner, *, ssh_public_key: str = "") -> None:
        self._ctx = ctx
        self._runner = runner
        self._ssh_public_key = ssh_public_key
        self._mine = False
        self._check: Callable[[], None] = lambda: None
        self.made: Sequence[Resource] = ()

    def run(self, plan: Plan, preparation: Preparation, *, wait: bool) -> Runner:
        """Launch; when that fails or the process is told to end, undo it."""

        def work(check: Callable[[], None]) -> Runner:
            self._check = check
            machine = self._create(plan, preparation)
            return self._wait(machine) if wait else self._ctx.ledger.get(self._runner.id)

        try:
            ready = guarded(work, self._undo, tell=self._ctx.tell)
        except Suspended:
            raise  # the machine still has to fetch what was left for it
        except BaseException:
            self._forget(preparation)
            raise
        # Without waiting for the agent it has not fetched it yet: then its time limit removes it.
        if wait:
            self._forget(preparation)
        return ready

    def resume(self, *, wait: bool) -> Runner:
        """Wait for the machine that an earlier process has made; without one, undo what it did."""

        def work(check: Callable[[], None]) -> Runner:
            self._check = check
            self._mine = True
            runner = self._runner
            if runner.offer is None or runner.state is RunnerState.REQUESTED:
                raise LaunchFailed(f"The launch of {runner.name} was cut off before it had a machine.", hint="Launch it again.")
            found = self._ctx.cloud(runner.cloud).find(self._ctx.installation, regions=[runner.offer.region])
            mine = [item for item in found.resources if item.runner_id == runner.id]
            for resource in mine:
                self.note(resource)
            if not any(item.kind in MACHINES for item in mine):
                raise LaunchFailed(f"The launch of {runner.name} was cut off before it had a machine.", hint="Launch it again.")
            self._booting()
            machine = next(item for item in mine if item.kind in MACHINES)
            return self._wait(Machine(resource=machine, phase="unknown")) if wait else self._ctx.ledger.get(runner.id)

        return guarded(work, self._undo, tell=self._ctx.tell)

    def note(self, resource: Resource) -> None:
        """Write down what is or may be there before it is asked for; raises where the runner has been ended meanwhile."""
        self.made = with_resource(self.made, resource)
        self._check()

        def decide(runner: Runner) -> Runner:
            _check_wanted(runner)
            return noted(runner, resource)

        self._ctx.change(self._runner.id, decide, "resource", f"{resource.kind} {resource.id}".strip(), region=resource.region)

    def _create(self, plan: Plan, preparation: Preparation) -> Machine:
        ctx = self._ctx
        self._claim()
        cloud = ctx.cloud(plan.request.cloud)
        deadline = ctx.clock.now() + CREATE_SECONDS
        secret: Mapping[str, str] | None = None
        reasons: list[str] = []
        hints: list[str] = []
        closed: set[tuple[str, str]] = set()
        for offer in plan.offers:
            self._check()
            if ctx.clock.now() >= deadline:
                reasons.append(f"after {CREATE_SECONDS / 60:g} minutes no other was tried")
                break
            if (offer.region, offer.type) in closed:
                continue
            if secret is None:
                secret = preparation.enrol(ctx.ledger.get(self._runner.id), self.note)
            runner = self._take(offer)
            order = make_order(ctx, runner, preparation.script(runner), secret, ssh_public_key=self._ssh_public_key)
            ctx.tell(f"Asking for {offer} …")
            try:
                machine = cloud.create(order, offer, self.note)
            except (NoCapacity, QuotaExceeded) as error:
                reasons.append(f"{offer.type} in {offer.zone or offer.region}: {error.message}")
                hints += [error.hint] if error.hint and error.hint not in hints else []
                ctx.tell(f"  not there: {error.message}")
                if isinstance(error, QuotaExceeded) and error.everywhere:
                    closed.add((offer.region, offer.type))
                continue
            except CloudError as error:
                if not reasons:
                    raise
                reasons.append(f"{offer.type} in {offer.zone or offer.region}: {error.message}")
                hints = [error.hint] if error.hint else []
                break
            self.note(machine.resource)
            self._booting()
            return machine
        raise LaunchFailed(
            f"No machine for {self._runner.name}: " + "; ".join(reasons) + ".",
            hint=" ".join(hints) or "Name other zones or types to try as well: --zones … --types …",
            reasons=reasons,
        )

    def _claim(self) -> None:
        """Take the launch: one caller gets it. From here on, and not before, what goes wrong ends the runner."""

        def decide(runner: Runner) -> Runner:
            self._mine = runner.state is RunnerState.REQUESTED
            if not self._mine:
                why = f": {runner.reason}" if runner.reason else ""
                raise LaunchCancelled(f"{runner.name} cannot be launched, it is {runner.state}{why}.")
            return replace(runner, state=RunnerState.CREATING)

        self._ctx.change(self._runner.id, decide, "creating")

    def _take(self, offer: Offer) -> Runner:
        """Note which offer is asked for now, and when its machine ends by hours and cost."""

        def decide(runner: Runner) -> Runner:
            _check_wanted(runner)
            hard_stop = runner.created + runner.request.guards.seconds(offer.hourly)
            return replace(runner, offer=offer, hard_stop=hard_stop)

        return self._ctx.change(self._runner.id, decide, "offer", str(offer))

    def _booting(self) -> None:
        def decide(runner: Runner) -> Runner:
            _check_wanted(runner)
            # The agent may have reported before the cloud's answer was here.
            return replace(runner, state=RunnerState.BOOTING, reason="") if runner.state is RunnerState.CREATING else runner

        self._ctx.change(self._runner.id, decide, "booting", "The machine is there.")

    def _wait(self, machine: Machine) -> Runner:
        """Return when the agent has reported, to the ledger or to its forge.

        Raises:
            LaunchFailed: If it does not within `REGISTER_SECONDS`, or the machine has ended by itself.
            LaunchCancelled: If the runner is being ended.
        """
        ctx = self._ctx
        began = ctx.clock.now()
        ctx.tell("The machine is there; waiting for its agent …")
        rounds = 0
        while True:
            self._check()
            runner = ctx.ledger.get(self._runner.id)
            if runner.state.takes_work or runner.ready is not None:
                ctx.tell(f"{runner.name} is ready after {ctx.clock.now() - runner.created:.0f} s.")
                return runner
            _check_wanted(runner)
            rounds += 1
            if rounds % 5 == 0:
                self._look(machine, runner)
            # A machine that reports that it is still booting (drivers, images) lives, and may take longer.
            if ctx.clock.now() >= max(began, runner.last_seen or 0.0) + REGISTER_SECONDS:
                raise LaunchFailed(
                    f"The agent of {runner.name} has not reported within {REGISTER_SECONDS / 60:g} minutes.",
                    hint="See what its console says; has its network a way out to the server and the forge?",
                    console=self._console(machine),
                )
            ctx.clock.wait(LOOK_SECONDS)

    def _look(self, machine: Machine, runner: Runner) -> None:
        """Ask the cloud whether the machine still is, and the forge whether its agent is there; who does not answer is asked later."""
        try:
            with foreseen(f"Asking {runner.cloud} for the machine"):
                seen = self._ctx.cloud(runner.cloud).describe(machine.resource)
            if seen.phase in ("gone", "stopping"):
                raise LaunchFailed(
                    f"The machine of {runner.name} has ended before its agent reported{': ' + seen.reason if seen.reason else ''}.",
                    hint="See what its console says.",
                    console=self._console(machine),
                )
            registration = next((item for item in runner.resources if item.kind == "registration"), None)
            if registration is not None:
                with foreseen("Asking the forge for the agent"):
                    self._look_at_forge(runner, registration)
        except LaunchFailed:
            raise
        except MlopsError as error:
            self._ctx.tell(f"  no news: {error.message}")

    def _look_at_forge(self, runner: Runner, registration: Resource) -> None:
        found = self._ctx.registrar(registration.region).find(self._ctx.installation)
        state = next((item.state for item in found.resources if item.runner_id == runner.id), "")
        if state not in ("online", "busy"):
            return

        def decide(now: Runner) -> Runner:
            if now.state not in (RunnerState.CREATING, RunnerState.BOOTING):
                return now
            at = self._ctx.clock.now()
            return replace(now, state=RunnerState.BUSY if state == "busy" else RunnerState.IDLE, ready=at)

        self._ctx.change(runner.id, decide, "ready", f"Its forge says that the agent is {state}.")

    def _console(self, machine: Machine) -> str:
        try:
            return printable(self._ctx.cloud(self._runner.cloud).console(machine.resource))
        except MlopsError as error:
            return f"(its console could not be read: {error.message})"

    def _undo(self, failure: BaseException) -> None:
        """Destroy what was made; that something is left is told, and kept in the ledger for the reaper."""
        ctx = self._ctx
        if not self._mine:
            return
        reason = failure.message if isinstance(failure, MlopsError) else str(failure) or type(failure).__name__
        if isinstance(failure, Interrupted):
            ctx.tell(f"{reason.capitalize()}: removing what was made …")
        try:
            with foreseen(f"Ending {self._runner.name}"):
                ending.end(ctx, self._runner.id, printable(reason)[:2000], also=self.made)
        except ending.NotRemoved as error:
            failure.add_note(str(error))
        except MlopsError as error:
            # The ledger does not answer. What is known here is removed all the same.
            left, why = ending.remove(ctx, self._runner.cloud, self.made)
            note = f"The ledger could not be told that {self._runner.name} has ended: {error.message}"
            failure.add_note(note if not left else f"{note} Left: {', '.join(f'{item.kind} {item.id}' for item in left)} ({why})")
            ctx.tell(note)

    def _forget(self, preparation: Preparation) -> None:
        try:
            preparation.forget()
        except MlopsError as error:
            self._ctx.tell(f"What was left for the machine to fetch could not be removed: {error.message}")


def make_order(ctx: Context, runner: Runner, script: str, secret: Mapping[str, str], *, ssh_public_key: str = "") -> MachineOrder:
    """Return what is to be created for a runner, with our tags over the user's."""
    request = runner.request
    ours = {
        TAG_RUNNER: runner.id,
        TAG_INSTALLATION: ctx.installation,
        TAG_EXPIRES: str(math.ceil(runner.hard_stop)),
        TAG_NAME: runner.name,
    }
    return MachineOrder(
        token=runner.id,
        name=runner.name,
        tags={**request.metadata, **ours},
        user_data=script,
        secret=secret,
        max_seconds=max(60.0, runner.hard_stop - ctx.clock.now()),
        image=request.machine.image,
        disk_gb=request.machine.disk_gb,
        permission_set=request.permission_set,
        ssh_public_key=ssh_public_key if request.ssh else "",
        security_group=request.security_group,
        subnet=request.subnet,
        namespace=request.namespace,
        node_selector=request.machine.node_selector,
        spot_price=request.machine.spot_price,
    )


def _check_wanted(runner: Runner) -> None:
    if runner.state in (RunnerState.DESTROYING, RunnerState.GONE):
        why = f": {runner.reason}" if runner.reason else ""
        raise LaunchCancelled(f"{runner.name} was ended while it was being launched{why}.")
    if runner.state is RunnerState.DRAINING and runner.ready is None:
        raise LaunchCancelled(f"{runner.name} was stopped before it was ready.")
