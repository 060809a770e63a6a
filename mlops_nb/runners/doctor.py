"""The doctor: may we do what launching needs, and do clouds, forges and ledger agree on what there is."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from mlops_nb.clouds.base import Finding
from mlops_nb.core.runners import CloudName
from mlops_nb.errors import MlopsError
from mlops_nb.runners.context import Context
from mlops_nb.runners.reaping import SKEW_SECONDS, reap


def examine(ctx: Context, clouds: Collection[CloudName] | None, repositories: Collection[str]) -> Sequence[Finding]:
    """Return what was looked at and how it is; nothing is changed anywhere."""
    live = ctx.live()
    findings: list[Finding] = []
    reachable: list[CloudName] = []
    for name in clouds if clouds is not None else sorted({runner.cloud for runner in live}):
        try:
            findings += ctx.cloud(name).check()
            reachable.append(name)
        except MlopsError as error:
            findings.append(Finding(what=name, ok=False, text=error.message, hint=error.hint or ""))
    seen = reap(ctx, reachable, repositories=repositories, dry_run=True)
    findings += [Finding(what="seen", ok=False, text=f"{place} could not be looked at: {why}") for place, why in seen.unseen.items()]
    if seen.skew is not None:
        text = f"the clock of this machine is {abs(seen.skew):.0f} s {'ahead' if seen.skew > 0 else 'behind'}"
        findings.append(Finding(what="clock", ok=abs(seen.skew) <= SKEW_SECONDS, text=text, hint="Set it by NTP."))
    hint = "End them: mlops-nb runner reap"
    for item in seen.destroyed:
        where = f" in {item.region}" if item.region else ""
        findings.append(Finding(what="left over", ok=False, text=f"{item.kind} {item.id}{where}", hint=hint))
    over = {item.runner_id for item in seen.destroyed}
    for runner in seen.ended:
        if runner.id not in over:
            text = f"{runner.name} is {runner.state} here, and its cloud has nothing of it"
            findings.append(Finding(what="record", ok=False, text=text, hint="Close it: mlops-nb runner reap"))
    if not seen.destroyed and not seen.ended and not seen.unseen:
        machines = len({item.runner_id for item in seen.kept})
        text = f"{machines} runner{'' if machines == 1 else 's'} alive, nothing left over"
        findings.append(Finding(what="leaks", ok=True, text=text))
    return findings
