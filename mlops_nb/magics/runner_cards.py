"""How runners look in an output: text for terminals, HTML without a script for notebooks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from html import escape
from typing import Any

from mlops_nb.clouds.base import Finding
from mlops_nb.core.formatting import format_duration, one_line, padded, width
from mlops_nb.core.runners import Offer, Runner, RunnerEvent, RunnerState
from mlops_nb.magics.cards import table
from mlops_nb.runners.base import Plan, Reaped
from mlops_nb.runners.estimating import Estimate

Bundle = dict[str, str]

GLYPHS = {
    RunnerState.REQUESTED: "◌",
    RunnerState.CREATING: "◌",
    RunnerState.BOOTING: "◌",
    RunnerState.IDLE: "○",
    RunnerState.BUSY: "●",
    RunnerState.LOST: "⚠",
    RunnerState.DRAINING: "◌",
    RunnerState.DESTROYING: "◌",
    RunnerState.GONE: "■",
}
_COLOURS = {
    RunnerState.BUSY: "var(--jp-success-color0, #1b5e20)",
    RunnerState.LOST: "var(--jp-error-color1, #c62828)",
    RunnerState.IDLE: "inherit",
}
_QUIET = "var(--jp-ui-font-color2, #616161)"
_HEADER = ["", "runner", "machine", "work", "cost", "stops in"]
_NONE = "No runners. Launch one: mlops-nb runner launch, or in a notebook: %runner launch --on CLOUD"


class RunnerList(list[Runner]):
    """Runners, shown as a table."""

    def __repr__(self) -> str:
        return runners_text(self)

    def _repr_mimebundle_(self, **_: Any) -> Bundle:
        return runners_bundle(self)


def runners_text(runners: Sequence[Runner]) -> str:
    """Return runners as a table for a terminal."""
    return _aligned(_HEADER, [_row(one) for one in runners]) if runners else _NONE


def runners_bundle(runners: Sequence[Runner]) -> Bundle:
    """Return runners as a table for a notebook."""
    if not runners:
        return {"text/plain": _NONE, "text/html": f"<div>{escape(_NONE)}</div>"}
    rows = []
    for one in runners:
        state, *cells = [escape(cell) for cell in _row(one)]
        rows.append([f'<span style="color:{_COLOURS.get(one.state, _QUIET)}">{state}</span>', *cells])
    return {"text/plain": runners_text(runners), "text/html": table(_HEADER, rows)}


def runner_line(runner: Runner) -> str:
    """Return a runner on one line."""
    return " · ".join(cell for cell in _row(runner) if cell)


def history_text(runner: Runner, events: Sequence[RunnerEvent]) -> str:
    """Return a runner, its limits and what happened to it, in order."""
    guards = runner.request.guards
    limits = [f"idle {_span(guards.idle)}", f"at most {guards.max_hours:g} h"]
    if guards.max_cost is not None:
        limits.append(f"at most ${guards.max_cost:.2f}")
    lines = [runner_line(runner), f"  {runner.id} · {' · '.join(limits)}"]
    if runner.reason:
        lines.append(f"  {one_line(runner.reason)}")
    lines += [f"  {_clock(event.time)}  {one_line(event.kind)}  {one_line(event.text)}".rstrip() for event in events]
    return "\n".join(lines)


def plan_text(plan: Plan) -> str:
    """Return what would be rented: the offers in the order to try, and the limits."""
    header = ["", "machine", "where", "", "an hour", "at most"]
    rows = []
    for number, offer in enumerate(plan.offers, 1):
        most = plan.request.guards.seconds(offer.hourly)
        rows.append(
            [
                f"{number}.",
                _type(offer),
                _where(offer),
                "spot" if offer.spot else "",
                _dollars(offer.hourly),
                f"{_span(most)}, {_dollars(None if offer.hourly is None else offer.hourly * most / 3600)}",
            ]
        )
    guards = plan.request.guards
    ends = f"Ends after {_span(guards.idle)} without work. Nothing has been rented."
    return "\n".join([f"{plan.request.name} would be, in this order:", _aligned(header, rows), ends])


def estimate_text(estimate: Estimate, hours: float = 1.0) -> str:
    """Return a table of prices, the cheapest first, and which clouds could not be asked."""
    unseen = [f"⚠ {cloud}: {one_line(why)}" for cloud, why in estimate.unseen.items()]
    if not estimate.offers:
        return "\n".join([*unseen, "No machine fits. Try another type or region."])
    header = ["machine", "where", "", "CPUs", "memory", "an hour", f"{hours:g} h"]
    rows = [
        [
            _type(offer),
            _where(offer),
            "spot" if offer.spot else "",
            f"{offer.cpus:g}" if offer.cpus else "",
            f"{offer.memory_gb:g} GB" if offer.memory_gb else "",
            _dollars(offer.hourly),
            _dollars(None if offer.hourly is None else offer.hourly * hours),
        ]
        for offer in estimate.offers
    ]
    return "\n".join([_aligned(header, rows), *unseen])


def reaped_text(reaped: Reaped) -> str:
    """Return what a reaper did, and what it could not see."""
    verb = "would be removed" if reaped.dry_run else "is gone"
    lines = [f"■ {one.kind} {one.id} {one.region} {verb}" for one in reaped.destroyed]
    lines += [f"✗ {one.kind} {one.id} {one.region} is still there" for one in reaped.left]
    lines += [f"⚠ {place} could not be looked at: {one_line(why)}" for place, why in sorted(reaped.unseen.items())]
    closes = "would be closed" if reaped.dry_run else "is closed"
    lines += [f"■ runner {one_line(one.name)}: its machine is not there any more, its record {closes}" for one in reaped.ended]
    count = len(reaped.destroyed)
    seen = "" if reaped.unseen else " All places were seen."
    done = "Would remove" if reaped.dry_run else "Removed"
    lines.append(f"{done} {count} leftover{'' if count == 1 else 's'}; {len(reaped.kept)} in use were left alone.{seen}")
    return "\n".join(lines)


def findings_text(findings: Sequence[Finding]) -> str:
    """Return what the doctor found, with what to do."""
    lines = []
    for finding in findings:
        lines.append(f"{'✓' if finding.ok else '✗'} {one_line(finding.what)}: {one_line(finding.text)}")
        if not finding.ok and finding.hint:
            lines.append(f"    {one_line(finding.hint)}")
    return "\n".join(lines) or "Nothing to look at: no cloud is set up here. Runners on this machine and by ssh:HOST need none."


def _row(runner: Runner) -> list[str]:
    now = time.time()
    offer = runner.offer
    words = () if offer is None else (_type(offer), _where(offer), "spot" * offer.spot)
    machine = " ".join(filter(None, words))
    work = runner.job or ("" if runner.jobs == 0 else f"{runner.jobs} done")
    if runner.interrupted is not None and not runner.state.is_over:
        work = f"{work} (taken back by {runner.cloud})".strip()
    if runner.state.is_over:
        work = one_line(runner.reason)[:80]
    return [f"{GLYPHS[runner.state]} {runner.state}", runner.name, machine or runner.cloud, work, _cost(runner, now), _left(runner, now)]


def _type(offer: Offer) -> str:
    gpu = f" ({offer.gpus}x {offer.gpu})" if offer.gpus and offer.gpu else ""
    return f"{'this machine' if offer.cloud == 'local' else offer.type}{gpu}"


def _where(offer: Offer) -> str:
    """Return the cloud and the place in it; nothing of what the type says already."""
    place = offer.zone or offer.region
    return "" if offer.cloud == "local" else " ".join(word for word in dict.fromkeys((offer.cloud, place)) if word and word != offer.type)


def _cost(runner: Runner, now: float) -> str:
    cost = runner.cost(now)
    most = runner.request.guards.max_cost
    return _dollars(cost) + (f" of {_dollars(most)}" if most is not None else "")


def _left(runner: Runner, now: float) -> str:
    if runner.state.is_over:
        return ""
    return _span(max(0.0, runner.stops_at() - now))


def _span(seconds: float) -> str:
    return format_duration(seconds * 1000)


def _dollars(value: float | None) -> str:
    if value is None:
        return "$?"
    return f"${value:.4f}" if 0 < value < 0.01 else f"${value:.2f}"


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    plain = [[one_line(cell) for cell in row] for row in [header, *rows]]
    widths = [max(width(row[i]) for row in plain) for i in range(len(header))]
    return "\n".join("  ".join(padded(row[i], size) for i, size in enumerate(widths)).rstrip() for row in plain)
