"""The life of runners from request to gone: the one door for command line, magics, server and CI."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Sequence

from msgspec.structs import replace

from mlops_nb.clouds.base import Cloud, Finding
from mlops_nb.core.runners import CloudName, MachineWish, Runner, RunnerEvent, RunnerRequest, RunnerState
from mlops_nb.errors import NotSupported
from mlops_nb.runners import ending, estimating, keeping
from mlops_nb.runners.base import Clock, Plan, Preparation, Reaped, Registrar, SystemClock
from mlops_nb.runners.cancelling import finished
from mlops_nb.runners.context import Context
from mlops_nb.runners.doctor import examine
from mlops_nb.runners.estimating import Estimate
from mlops_nb.runners.extending import extend
from mlops_nb.runners.launching import Launching
from mlops_nb.runners.reaping import reap
from mlops_nb.runners.shown import printable
from mlops_nb.store.runners import LogPage, RunnerLedger

_MAY_WORK = (RunnerState.BUSY, RunnerState.LOST, RunnerState.DRAINING)


class Runners:
    """What can be done with runners, over one ledger and one installation.

    Methods block; each may be called from its own thread (a cloud's object is asked for in the thread that uses it). Several
    processes may work on one ledger: who loses a race reads again. Whatever happens to this process at any instant, what it
    has made of a cloud is in the ledger or carries our tags, and `reap` ends it.

    Args:
        ledger: Where runners are kept.
        cloud: Gives the account of a provider, or raises `MissingDependencyError` or `CloudError`.
        registrar: Gives the registrations of the place at a forge that a URL names, or raises `MlopsError`.
        installation: Whose resources they are; None: the ledger's.
        tell: Is told what happens, a line at a time, for people.
    """

    def __init__(
        self,
        ledger: RunnerLedger,
        cloud: Callable[[CloudName], Cloud],
        registrar: Callable[[str], Registrar],
        *,
        installation: str | None = None,
        clock: Clock | None = None,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.ledger = ledger
        self.cloud = cloud
        self.registrar = registrar
        self.installation = installation or ledger.installation()
        self.clock: Clock = clock or SystemClock()
        self.tell = tell
        self._ctx = Context(ledger, cloud, registrar, self.installation, self.clock, tell)

    def plan(self, request: RunnerRequest) -> Plan:
        """Return what a launch would do and cost; nothing is created and nothing written.

        Raises:
            InvalidInput: If the request contradicts itself, or its cost cannot be limited.
            CloudError: If nothing fits, or the cloud does not answer.
        """
        return estimating.plan(self._ctx, request)

    def estimate(self, wish: MachineWish, clouds: Collection[CloudName]) -> Estimate:
        """Return what machines the clouds have for a wish, the cheapest first."""
        return estimating.estimate(self._ctx, wish, clouds)

    def request(self, plan: Plan, *, user: str = "", host: str = "") -> Runner:
        """Write a runner down as requested, without asking anything of a cloud. `launch` goes on with it, here or elsewhere.

        Raises:
            AlreadyExists: If a runner that is not gone has this name.
        """
        now = self.clock.now()
        runner = Runner(
            id=secrets.token_hex(16),
            installation=self.installation,
            request=plan.request,
            created=now,
            updated=now,
            hard_stop=now + plan.seconds,
            user=user,
            host=host,
        )
        return self.ledger.add(runner, RunnerEvent(time=now, kind="requested", text=str(plan.offer)))

    def launch(self, runner: Runner, plan: Plan, preparation: Preparation, *, wait: bool = True, ssh_public_key: str = "") -> Runner:
        """Create the machine of a requested runner and return when its agent has reported (`wait=False`: when it was created).

        Offers are tried in their order where capacity or a quota lacks. A machine whose agent does not report within
        `REGISTER_SECONDS` is destroyed, and the error carries the end of its console. After an error, Ctrl+C and SIGTERM
        (in the main thread), and after `down` by anybody, all that was made is destroyed again before this returns.

        Raises:
            LaunchFailed: If no machine could be had, or none that reports; it has the reasons of all offers.
            LaunchCancelled: If somebody has ended the runner meanwhile.
        """
        return Launching(self._ctx, runner, ssh_public_key=ssh_public_key).run(plan, preparation, wait=wait)

    def resume(self, runner: Runner, *, wait: bool = True) -> Runner:
        """Go on with a launch whose process has died: wait for the machine's agent if there is a machine, else end it."""
        return Launching(self._ctx, runner).resume(wait=wait)

    def list(self, *, all: bool = False, refresh: bool = False, max_results: int = 1000) -> Sequence[Runner]:
        """Return runners, the newest first: those that are not gone, and with `all` the others.

        With `refresh` the clouds are asked whether the machines still are, and what has ended by itself is closed.
        """
        if refresh:
            keeping.refresh(self._ctx)
        if all:
            return self.ledger.list(states=tuple(RunnerState), max_results=max_results)
        return self._ctx.live()[:max_results]

    def stop(self, runner: str) -> Runner:
        """Let a runner take no more work and end after its present job; one without a job is ended now.

        Raises:
            NotSupported: If it works without a server, so that nothing can be said to it.
        """
        found = self.ledger.get(runner)
        reason = "it was stopped"
        begun = ending.begin_if(self._ctx, found.id, lambda now: None if now.state in _MAY_WORK else reason)
        if begun.state in (RunnerState.DESTROYING, RunnerState.GONE):
            return ending.end(self._ctx, found.id, reason)
        if begun.lease_expires is None:
            raise NotSupported(
                f"{found.name} works without a server, so it cannot be told to end after its job.",
                hint=f"End it now: mlops-nb runner down {found.name}",
            )

        def drain(now: Runner) -> Runner:
            over = now.state in (RunnerState.DRAINING, RunnerState.DESTROYING, RunnerState.GONE)
            return now if over else replace(now, state=RunnerState.DRAINING, reason=reason)

        return self._ctx.change(found.id, drain, "draining")

    def begin_down(self, runner: str, *, reason: str = "") -> Runner:
        """Write down that a runner is to be destroyed, for `down` or the next `tick` to do; nothing is asked of a cloud."""
        return ending.begin(self._ctx, self.ledger.get(runner).id, reason or "it was ended by hand")

    def down(self, runner: str, *, reason: str = "") -> Runner:
        """Destroy all that there is of a runner, now, whatever it does, and return when nothing is left.

        In the main thread a signal to end is heeded when that is done; a second Ctrl+C breaks it off.

        Raises:
            CloudError: If something could not be removed; the runner stays DESTROYING, and `reap` goes on with it.
        """
        found = self.ledger.get(runner).id
        return finished(lambda: ending.end(self._ctx, found, reason or "it was ended by hand"), tell=self.tell)

    def extend(self, runner: str, seconds: float, *, max_cost: float | None = None) -> Runner:
        """Move a runner's hard stop by so many seconds; its cost limit stays unless a higher one is given.

        Raises:
            InvalidInput: If its cost limit does not allow it, or it would live longer than 35 days.
            NotSupported: If its cloud ends the machine at a time that cannot be changed.
        """
        return extend(self._ctx, self.ledger.get(runner).id, seconds, max_cost)

    def logs(self, runner: str, *, after: int = 0, max_bytes: int = 65_536) -> LogPage:
        """Return a piece of what a machine has said: what its agent sent, or where it sent nothing, the end of its console."""
        found = self.ledger.get(runner)
        page = self.ledger.log(found.id, after=after, max_bytes=max_bytes)
        machine = keeping.machine_of(found)
        if page.text or machine is None or self.ledger.log(found.id, after=-1).text:
            return page
        console = printable(self.cloud(found.cloud).console(machine)).encode()
        start = max(0, len(console) + after) if after < 0 else min(after, len(console))
        piece = console[start : start + max_bytes]
        return LogPage(text=piece.decode(errors="replace"), start=start, end=start + len(piece))

    def reap(
        self,
        clouds: Collection[CloudName] | None = None,
        *,
        regions: Collection[str] = (),
        repositories: Collection[str] = (),
        names: Collection[str] = (),
        dry_run: bool = False,
    ) -> Reaped:
        """Destroy what carries our installation's tag and ought to be gone, nothing else, and say what could not be seen.

        Args:
            clouds: None: those that the ledger's runners use. `repositories` (of registrations) are added to theirs likewise.
            regions: None given: all that the account uses.
            names: Runners of these names or ids go now, whether they are over or not, also where this ledger knows nothing of them:
                the job of a CI that ends what another job has launched has no ledger of that one.
        """
        return reap(self._ctx, clouds, regions=regions, repositories=repositories, names=names, dry_run=dry_run)

    def tick(self) -> Sequence[Runner]:
        """Do what is due by the ledger: note who is lost, end who is over, go on with what is being destroyed. Return who changed.

        Cheap where nothing is due: no cloud is asked. What fails is told, noted, and tried again by the next tick.
        """
        return keeping.tick(self._ctx)

    def doctor(self, clouds: Collection[CloudName] | None = None, *, repositories: Collection[str] = ()) -> Sequence[Finding]:
        """Check credentials, permissions and limits of clouds, and whether they and the ledger agree on what there is."""
        return examine(self._ctx, clouds, repositories)
