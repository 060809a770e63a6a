"""The reaper: what carries our installation's tag and ought to be gone goes, nothing else does, and what was not seen is said."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import msgspec

from mlops_nb.clouds.base import Found
from mlops_nb.core.runners import TAG_NAME, CloudName, Resource, Runner, RunnerState
from mlops_nb.errors import MlopsError, NotFound
from mlops_nb.runners import ending
from mlops_nb.runners.base import Reaped
from mlops_nb.runners.context import Context
from mlops_nb.runners.verdicts import why_destroy, why_over

NAMED = "it was ended by its name"
SKEW_SECONDS = 60.0
"""A difference of clocks that is not worth a word."""

_ID = re.compile(r"[0-9a-f]{32}")


class _Sight(msgspec.Struct, kw_only=True):
    """What was seen of one cloud, or of one place at a forge (then `cloud` is None)."""

    name: str
    cloud: CloudName | None
    found: Found
    now: float


class Reaper:
    """One pass."""

    def __init__(self, ctx: Context, *, regions: Collection[str], names: Collection[str], dry_run: bool) -> None:
        self._ctx = ctx
        # An empty name is what a CI hands on from a job that was cut off: it names nobody.
        self._named = {name for name in names if name}
        self._regions = regions
        self._dry_run = dry_run
        self._unseen: dict[str, str] = {}
        self._runners: dict[str, Runner | None] = {}
        self._skews: list[float] = []
        self._destroyed: list[Resource] = []
        self._left: list[Resource] = []
        self._kept: list[Resource] = []
        self._ended: list[Runner] = []

    def run(self, clouds: Collection[CloudName] | None, repositories: Collection[str]) -> Reaped:
        """Look at clouds and forges, and end what has to end."""
        live = self._ctx.live()
        self._runners.update({runner.id: runner for runner in live})
        names: Collection[CloudName] = clouds if clouds is not None else sorted({runner.cloud for runner in live})
        for name in names:
            sight = self._look(name, name)
            if sight is not None:
                self._reap_cloud(sight, [runner for runner in live if runner.cloud == name])
        places = {runner.request.agent.repository for runner in live if runner.request.agent.repository}
        for place in sorted(places | set(repositories)):
            sight = self._look(place, None)
            if sight is not None:
                self._reap_place(sight)
        return Reaped(
            destroyed=self._destroyed,
            left=self._left,
            unseen=self._unseen,
            kept=self._kept,
            ended=self._ended,
            skew=max(self._skews, key=abs, default=None),
            dry_run=self._dry_run,
        )

    def _look(self, name: str, cloud: CloudName | None) -> _Sight | None:
        ctx = self._ctx
        try:
            if cloud is None:
                found = ctx.registrar(name).find(ctx.installation)
            else:
                found = ctx.cloud(cloud).find(ctx.installation, regions=self._regions)
        except MlopsError as error:
            self._unseen[name] = str(error)
            return None
        for place, why in found.unseen.items():
            self._unseen[f"{name} {place}"] = why
        own = self._ctx.clock.now()
        if found.clock is not None and abs(own - found.clock) > SKEW_SECONDS:
            self._skews.append(own - found.clock)
            self._ctx.tell(f"The clock here is {own - found.clock:+.0f} s off that of {name}; the time of {name} is used.")
        return _Sight(name=name, cloud=cloud, found=found, now=own if found.clock is None else found.clock)

    def _runner(self, runner_id: str) -> Runner | None:
        """Return whose a resource is by the ledger, or None where the ledger does not know it. A ledger that fails ends the pass."""
        if runner_id not in self._runners:
            # A ledger also takes names and beginnings of ids, and a tag may hold anything.
            try:
                self._runners[runner_id] = self._ctx.ledger.get(runner_id) if _ID.fullmatch(runner_id) else None
            except NotFound:
                self._runners[runner_id] = None
        return self._runners[runner_id]

    def _judge(self, sight: _Sight) -> list[Resource]:
        """Return what has to go; the rest is kept."""
        doomed: list[Resource] = []
        for resource in sight.found.resources:
            if resource.installation != self._ctx.installation:
                continue
            runner = self._runner(resource.runner_id)
            why = why_destroy(resource, runner, sight.now)
            if self._is_named(resource):
                self._named.add(resource.runner_id)
                why = NAMED
            elif sight.cloud is None and runner is not None and runner.state not in (RunnerState.DESTROYING, RunnerState.GONE):
                why = None  # whether a runner is over is judged with its machine, by its cloud's clock
            (self._kept if why is None else doomed).append(resource)
        return doomed

    def _is_named(self, resource: Resource) -> bool:
        return bool(self._named) and (resource.tags.get(TAG_NAME) in self._named or resource.runner_id in self._named)

    def _reap_cloud(self, sight: _Sight, live: Sequence[Runner]) -> None:
        assert sight.cloud is not None
        ctx = self._ctx
        doomed = self._judge(sight)
        present = {resource.runner_id for resource in sight.found.resources}
        whole = not sight.found.unseen and not self._regions

        def why(runner: Runner) -> str | None:
            if runner.name in self._named or runner.id in self._named:
                return NAMED
            absent = whole and runner.id not in present and _had_machine(runner)
            return why_over(runner, sight.now) or ("its machine is no longer there" if absent else None)

        over = [runner for runner in live if why(runner) is not None]
        if self._dry_run:
            self._destroyed += doomed
            self._ended += over
            return
        # Each is looked at again when that is written: it may have come back, or been extended, since the pass began.
        begun = [ending.begin_if(ctx, runner.id, why) for runner in over]
        known = [runner for runner in begun if runner.state in (RunnerState.DESTROYING, RunnerState.GONE)]
        back = {runner.id for runner in begun} - {runner.id for runner in known}
        self._kept += [item for item in doomed if item.runner_id in back]
        doomed = [item for item in doomed if item.runner_id not in back]
        # What is only noted as possible, and registrations, are not among what the cloud has shown.
        noted = [item for runner in known for item in runner.resources]
        seen = {_key(item) for item in doomed}
        every = {_key(item): item for item in (*noted, *doomed)}
        left, why_left = ending.remove(ctx, sight.cloud, list(every.values()))
        if why_left is not None:
            self._unseen[f"{sight.name} (removing)"] = str(why_left)
        still = {_key(item) for item in left}
        self._left += left
        self._destroyed += [item for key, item in every.items() if key in seen and key not in still]
        for runner in known:
            mine = [item for item in left if item.runner_id == runner.id]
            if mine:
                ending.fail(ctx, runner, mine, why_left)
            elif runner.state is not RunnerState.GONE:
                self._ended.append(ending.close(ctx, runner.id))
        self._runners.update({runner.id: runner for runner in known})

    def _reap_place(self, sight: _Sight) -> None:
        doomed = self._judge(sight)
        if self._dry_run or not doomed:
            self._destroyed += doomed
            return
        try:
            left = self._ctx.registrar(sight.name).destroy(doomed, self._ctx.installation)
        except MlopsError as error:
            self._unseen[f"{sight.name} (removing)"] = str(error)
            left = doomed
        self._left += left
        self._destroyed += [item for item in doomed if item not in left]


def reap(
    ctx: Context,
    clouds: Collection[CloudName] | None,
    *,
    regions: Collection[str] = (),
    repositories: Collection[str] = (),
    names: Collection[str] = (),
    dry_run: bool = False,
) -> Reaped:
    """Make one pass; see `Runners.reap`."""
    return Reaper(ctx, regions=regions, names=names, dry_run=dry_run).run(clouds, repositories)


def _had_machine(runner: Runner) -> bool:
    """Whether a runner has had a machine for so long that a cloud that shows none has none."""
    booting = runner.state in (RunnerState.REQUESTED, RunnerState.CREATING, RunnerState.BOOTING)
    return not booting and not runner.state.is_over


def _key(resource: Resource) -> tuple[str, str, str]:
    return resource.kind, resource.region, resource.id
