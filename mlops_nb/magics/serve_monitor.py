"""What `%serve monitor` shows: text for terminals and agents, HTML without a script, and a panel that goes on while it is seen."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from html import escape
from typing import Any

from mlops_nb.core.formatting import one_line, padded, width
from mlops_nb.errors import MlopsError, NotFound
from mlops_nb.magics.cards import sparkline, table
from mlops_nb.monitoring.drift import ColumnDrift, Verdict
from mlops_nb.serving.client import Endpoint
from mlops_nb.serving.monitor import NO_REFERENCE, Drift, Monitored
from mlops_nb.serving.records import EndpointInfo, Role

logger = logging.getLogger("mlops_nb")

Bundle = dict[str, str]

PERIOD = 2.0
LONGEST = 3600.0
_SHOWN_COLUMNS = 12
_ACCURACY = "estimated accuracy"
_GOOD, _WARN, _BAD = "var(--jp-success-color0, #1b5e20)", "var(--jp-warn-color0, #8a5300)", "var(--jp-error-color1, #c62828)"
_COLOURS = {Verdict.OK: _GOOD, Verdict.SHIFTED: _WARN, Verdict.DRIFTED: _BAD}
_MARKS = {Verdict.OK: "✓", Verdict.SHIFTED: "△", Verdict.DRIFTED: "▲", Verdict.FEW_ROWS: "·", Verdict.NOT_WATCHED: "·"}


def monitor_bundle(monitored: Monitored, info: EndpointInfo | None = None) -> Bundle:
    """Return the traffic of the last minute, the versions and the drift of an endpoint; with `info` its processes as well."""
    rows = [*_traffic_rows(monitored, info), *_drift_rows(monitored.drift)]
    size = max(width(name) for name, _ in rows)
    text = "\n".join(f"{padded(name, size)}  {one_line(told)}" for name, told in rows)
    return {"text/plain": text, "text/html": _html(monitored, info)}


def _traffic_rows(monitored: Monitored, info: EndpointInfo | None) -> list[tuple[str, str]]:
    traffic = monitored.traffic
    failed = f"{traffic.errors} failed, {traffic.refused} refused" if traffic.requests else "none"
    rows = [("requests in the last minute", f"{traffic.requests:,}"), ("of them", failed), ("p50, p95, p99", _times(monitored))]
    asked = sum(version.requests for version in monitored.versions)
    has_canary = any(version.role is Role.CANARY for version in monitored.versions)
    for share in monitored.versions:
        told = f"{share.share:.0%} of the requests"
        if share.role is Role.SHADOW:
            told = f"a copy of {told}; {traffic.shadow_same} answered the same, {traffic.shadow_different} otherwise, "
            told += f"{traffic.shadow_failed} not at all"
        elif has_canary and asked:
            told += f", of the last {asked:,} {share.requests / asked:.0%}"
        rows.append((f"{share.role.value} {share.label}", told))
        version = {Role.LIVE: info.live, Role.CANARY: info.canary, Role.SHADOW: info.shadow}[share.role] if info else None
        if version is not None:
            pids = ", ".join(str(pid) for pid in version.pids) or "none"
            restarts = f"{version.restarts} restart{'' if version.restarts == 1 else 's'}"
            rows.append(("", f"{version.state}, process {pids}, {version.memory >> 20} MiB, {restarts}"))
            if version.problem:
                rows.append(("", f"problem: {version.problem}"))
    if info is not None and info.live and info.live.batching:
        rows.append(("waiting requests", info.live.batching))
    if info is not None and info.history:
        rows.append(("live before", ", ".join(info.history)))
    return rows


def _times(monitored: Monitored) -> str:
    traffic = monitored.traffic
    if traffic.p50 is None or traffic.p95 is None or traffic.p99 is None:
        return "none yet"
    return f"{traffic.p50:.1f}, {traffic.p95:.1f}, {traffic.p99:.1f} ms"


def _drift_rows(drift: Drift) -> list[tuple[str, str]]:
    rows = [("drift", _verdict(drift))]
    for title, columns in (("inputs", drift.inputs), ("predictions", drift.outputs)):
        rows += [(f"  {title if i == 0 else ''}", str(column)) for i, column in enumerate(columns[:_SHOWN_COLUMNS])]
        if len(columns) > _SHOWN_COLUMNS:
            rows.append(("", f"and {len(columns) - _SHOWN_COLUMNS} columns more"))
    if drift.inputs and not drift.outputs and drift.verdict != NO_REFERENCE:
        rows.append(("  predictions", "not watched: what the model answers for the reference is not known (--ref VAR tells)"))
    if drift.accuracy is not None:
        rows.append((_ACCURACY, f"{drift.accuracy:.1%} · {drift.accuracy_note}"))
    elif drift.accuracy_note:
        rows.append((_ACCURACY, drift.accuracy_note))
    return rows


def _verdict(drift: Drift) -> str:
    if drift.verdict == NO_REFERENCE:
        return "no reference to hold requests against: %serve monitor NAME --ref VAR, such as X_train"
    since = "in the last hour" if drift.recent else f"since {time.strftime('%H:%M', time.localtime(drift.since))}"
    part = f", {drift.passed:,} more not looked at" if drift.passed else ""
    told = f"{drift.rows:,} rows {since}{part} against {drift.reference}"
    if drift.verdict == Verdict.FEW_ROWS.value:
        return f"too few rows: {told}; at least {drift.least} are needed"
    return f"{drift.verdict} · {told}"


def _html(monitored: Monitored, info: EndpointInfo | None) -> str:
    traffic, drift = monitored.traffic, monitored.drift
    failed = _BAD if traffic.errors else "inherit"
    tiles = [
        _tile("requests / min", f"{traffic.requests:,}", extra=sparkline("requests of the last 60 seconds", monitored.course, width=100)),
        _tile("p50 · p95 · p99", escape(_times(monitored))),
        _tile("failed", f"{traffic.errors:,}", colour=failed),
        _tile("refused", f"{traffic.refused:,}"),
    ]
    verdict = Verdict(drift.verdict) if drift.verdict in set(Verdict) else None
    colour = _COLOURS.get(verdict, "inherit") if verdict else "inherit"
    mark = _MARKS.get(verdict, "·") if verdict else "·"
    parts = [
        f'<div style="display:flex;flex-wrap:wrap;gap:2px 22px;align-items:center"><b>{escape(monitored.name)}</b>{"".join(tiles)}</div>',
        table(["", ""], [[escape(name), escape(told)] for name, told in _traffic_rows(monitored, info)[3:]]),
        f'<div><b>Drift</b> <span style="color:{colour}"><span aria-hidden="true">{mark}</span> {escape(_verdict(drift))}</span></div>',
    ]
    for title, columns in (("input", drift.inputs), ("prediction", drift.outputs)):
        parts.append(_columns_table(title, columns))
    for name, told in _drift_rows(drift):
        if name == _ACCURACY:
            parts.append(f'<div style="opacity:.85">{escape(name)}: {escape(told)}</div>')
    return f'<div style="border-left:3px solid {colour};padding:2px 10px;margin:2px 0;line-height:1.6">{"".join(parts)}</div>'


def _tile(name: str, value: str, *, extra: str = "", colour: str = "inherit") -> str:
    return (
        f'<span style="display:inline-flex;align-items:center;gap:6px;white-space:nowrap"><span style="opacity:.8">{name}</span>'
        f'<b style="font-variant-numeric:tabular-nums;color:{colour}">{value}</b>{extra}</span>'
    )


def _columns_table(title: str, columns: list[ColumnDrift]) -> str:
    rows = []
    for column in columns[:_SHOWN_COLUMNS]:
        colour = _COLOURS.get(column.verdict, "inherit")
        mark = (
            f'<span style="color:{colour}"><span aria-hidden="true">{_MARKS[column.verdict]}</span> {escape(column.verdict.value)}</span>'
        )
        if column.psi is None:
            rows.append([escape(column.name[:80]), mark, "", "", "", "", f"{column.rows:,}"])
            continue
        p = column.p or 0.0
        rows.append(
            [
                escape(column.name[:80]),
                mark,
                f"{column.psi:.2f}",
                f"{column.test} {column.statistic:.2f}, p {'&lt; 0.001' if p < 0.001 else f'{p:.3f}'}",
                f"{column.missing[0]:.0%} → {column.missing[1]:.0%}" if any(column.missing) else "",
                f"{column.unseen:.0%}" if column.unseen >= 0.005 else "",
                f"{column.rows:,}",
            ]
        )
    more = f"<div>and {len(columns) - _SHOWN_COLUMNS} columns more</div>" if len(columns) > _SHOWN_COLUMNS else ""
    return table([title, "drift", "PSI", "test", "missing", "as never before", "rows"], rows) + more


def live_panel(endpoint: Endpoint, first: Bundle) -> Any:
    """Return a widget that shows an endpoint as it is, every two seconds, for an hour or until it is paused or has ended."""
    import ipywidgets

    body = ipywidgets.HTML(value=first["text/html"])
    button = ipywidgets.ToggleButton(value=True, description="Live", tooltip="Follow the endpoint, or leave it as it is shown", icon="")
    button.layout.width = "auto"
    watcher = _Watcher(endpoint, lambda html: setattr(body, "value", html), lambda: setattr(button, "value", False))

    def toggled(change: Any) -> None:
        if change["new"]:
            watcher.start()
        else:
            watcher.stop()

    button.observe(toggled, "value")
    watcher.start()
    panel = ipywidgets.VBox([body, button], layout=ipywidgets.Layout(align_items="flex-start"))
    panel.watcher = watcher
    return panel


class _Watcher:
    """Asks an endpoint again and again, in a thread of its own."""

    def __init__(self, endpoint: Endpoint, show: Callable[[str], None], ended: Callable[[], None]) -> None:
        self._endpoint = endpoint
        self._show = show
        self._ended = ended
        self._over = threading.Event()
        self._over.set()

    def start(self) -> None:
        """Begin to follow."""
        if self._over.is_set():
            self._over = threading.Event()
            threading.Thread(target=self._work, args=(self._over,), name="mlops_nb-monitor", daemon=True).start()

    def stop(self) -> None:
        """Follow no longer."""
        self._over.set()

    def _work(self, over: threading.Event) -> None:
        until = time.monotonic() + LONGEST
        while not over.wait(PERIOD) and time.monotonic() < until:
            try:
                html = monitor_bundle(self._endpoint.monitor(), self._endpoint.info())["text/html"]
            except NotFound:
                self._show(f'<div style="opacity:.85">■ {escape(self._endpoint.name)} has ended.</div>')
                break
            except MlopsError as error:  # the server may come back
                html = f'<div style="color:{_BAD}">{escape(str(error))}</div>'
            try:
                self._show(html)
            except Exception:  # the page or the kernel is going away
                logger.debug("the panel of %s cannot be drawn", self._endpoint.name, exc_info=True)
                break
        if not over.is_set():
            over.set()
            self._ended()
