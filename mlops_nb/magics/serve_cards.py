"""How endpoints look in an output: text for terminals and agents, HTML without a script for notebooks; and the try-it form."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

from mlops_nb.core.formatting import format_duration, one_line, padded, width
from mlops_nb.errors import MlopsError
from mlops_nb.magics.cards import table
from mlops_nb.magics.serve_snippets import fields_of, row_tensors, snippets
from mlops_nb.serving.client import Endpoint
from mlops_nb.serving.records import EndpointInfo, VersionInfo

Bundle = dict[str, str]

GLYPHS = {"ready": "◉", "starting": "◌", "restarting": "◌", "parked": "✗", "failed": "✗", "stopped": "■"}
_COLOURS = {
    "ready": "var(--jp-success-color1, #2e7d32)",
    "starting": "var(--jp-brand-color1, #1976d2)",
    "restarting": "var(--jp-warn-color1, #b26a00)",
}
_BAD = "var(--jp-error-color1, #c62828)"
_SHOWN_FIELDS = 40
_FORM_FIELDS = 24


def endpoint_bundle(endpoint: Endpoint) -> Bundle:
    """Return the card of an endpoint as it is now."""
    try:
        info = endpoint.info()
    except MlopsError as error:
        text = f"■ {endpoint.name}: {error}"
        return {"text/plain": text, "text/html": f"<div>{escape(text)}</div>"}
    return card_bundle(endpoint, info)


def card_bundle(endpoint: Endpoint, info: EndpointInfo) -> Bundle:
    """Return the card: what is live and where, its parity, its form, and how to ask it from elsewhere."""
    colour = _COLOURS.get(info.state, _BAD)
    live = info.live
    label = f"{info.name} {_version(live)}" if live else info.name
    facts = [f"{_fields(info)}", str(endpoint.parity).partition("\n")[0].partition(";")[0] if endpoint.parity else "", _ending(info)]
    if info.port:
        facts.append(f"port {info.port}")
    told = " · ".join(fact for fact in facts if fact)
    text = one_line(f"{GLYPHS.get(info.state, '?')} {label} {info.state} at {endpoint.path} · {told}")
    parts = [
        f'<span style="color:{colour}" aria-hidden="true">{GLYPHS.get(info.state, "?")}</span> <b>{escape(label)}</b> '
        f'<span style="color:{colour}">{escape(info.state)}</span> at <code>{escape(endpoint.path)}</code> '
        f'<span style="opacity:.85">· {escape(told)}</span>'
    ]
    if info.problem:
        text += f"\n  {one_line(info.problem)}"
        parts.append(f'<div style="color:{_BAD}">{escape(info.problem[:500])}</div>')
    if live is not None and live.environment:
        text += f"\n  {one_line(live.environment)}"
        parts.append(f'<div style="opacity:.85">{escape(live.environment[:500])}</div>')
    if live is not None and live.acceleration:
        text += f"\n  accelerated: {one_line(live.acceleration)}"
        parts.append(f'<div style="opacity:.85">accelerated: {escape(live.acceleration[:500])}</div>')
    for role, version in (("canary", info.canary), ("shadow", info.shadow)):
        if version is not None:
            line = f"{role} {_version(version)} {version.state} · {version.share:.0%} of the requests"
            text += f"\n  {line}"
            parts.append(f'<div style="opacity:.85">{escape(line)}</div>')
    parts.append(_details("Takes and gives", _signature_tables(info)))
    for language, code in snippets(endpoint, info).items():
        parts.append(_details(language, f'<pre style="white-space:pre-wrap;overflow-wrap:anywhere;margin:2px 0">{escape(code)}</pre>'))
    html = f'<div style="border-left:3px solid {colour};padding:2px 10px;margin:2px 0;line-height:1.6">{"".join(parts)}</div>'
    return {"text/plain": text, "text/html": html}


def _details(title: str, inner: str) -> str:
    summary = f'<summary style="cursor:pointer">{escape(title)}</summary>'
    return f'<details style="display:inline-block;margin-right:14px;vertical-align:top">{summary}{inner}</details>'


def _version(version: VersionInfo | None) -> str:
    if version is None:
        return ""
    return f"v{version.label}" if version.registered else version.label


def _engine(version: VersionInfo | None) -> str:
    """Return what computes, where acceleration was asked for or something else than the model does."""
    if version is None or not version.acceleration:
        return ""
    return "ONNX" if version.engine == "onnxruntime" else "the model itself"


def _fields(info: EndpointInfo) -> str:
    fields = fields_of(info)
    if not fields:
        return "no schema"
    return f"schema {len(fields)} {'tensor' if fields[0]['type'] == 'tensor' else 'column'}{'s' if len(fields) > 1 else ''}"


def _ending(info: EndpointInfo) -> str:
    left = info.expires - time.time()
    return f"stops in {format_duration(max(0.0, left) * 1000)}" if info.expires else ""


def _signature_tables(info: EndpointInfo) -> str:
    parts = []
    for title, part in (("takes", "inputs"), ("gives", "outputs"), ("params", "params")):
        fields = fields_of(info, part)
        rows = [[escape(str(field.get("name", ""))[:80]), escape(_kind(field))] for field in fields[:_SHOWN_FIELDS]]
        if rows:
            more = f"<div>and {len(fields) - _SHOWN_FIELDS} more</div>" if len(fields) > _SHOWN_FIELDS else ""
            parts.append(table([title, ""], rows) + more)
    return "".join(parts) or "<div>The model has no signature.</div>"


def _kind(field: dict[str, Any]) -> str:
    if field["type"] == "tensor":
        return f"{field['tensor-spec']['dtype']} {field['tensor-spec']['shape']}"
    return str(field["type"]) + ("" if field.get("required", True) else ", optional")


class EndpointList(list[EndpointInfo]):
    """Endpoints, shown as a table."""

    def _repr_mimebundle_(self, **_: Any) -> Bundle:
        return infos_bundle(self)


def infos_bundle(infos: Sequence[EndpointInfo]) -> Bundle:
    """Return endpoints as a table."""
    if not infos:
        text = "No endpoints here. Serve a model: %serve VAR --example ROWS"
        return {"text/plain": text, "text/html": f"<div>{escape(text)}</div>"}
    header = ["", "endpoint", "live", "computed by", "trial", "last minute", "p95", "memory", "stops in"]
    rows = []
    for info in infos:
        trial = info.canary or info.shadow
        kind = "canary" if info.canary else "shadow"
        traffic = info.traffic
        asked = f"{traffic.requests} request{'' if traffic.requests == 1 else 's'}"
        rows.append(
            [
                f"{GLYPHS.get(info.state, '?')} {info.state}",
                info.name,
                _version(info.live),
                _engine(info.live),
                f"{kind} {_version(trial)} {trial.share:.0%}" if trial else "",
                asked + (f", {traffic.errors} failed" if traffic.errors else ""),
                f"{traffic.p95:.1f} ms" if traffic.p95 is not None else "",
                f"{info.live.memory >> 20} MiB" if info.live and info.live.memory else "",
                format_duration(max(0.0, info.expires - time.time()) * 1000) if info.expires else "",
            ]
        )
    plain = [[one_line(cell) for cell in row] for row in [header, *rows]]
    widths = [max(width(row[i]) for row in plain) for i in range(len(header))]
    lines = ["  ".join(padded(row[i], size) for i, size in enumerate(widths)).rstrip() for row in plain]
    return {"text/plain": "\n".join(lines), "text/html": table(header, [[escape(cell) for cell in row] for row in rows])}


def try_form(endpoint: Endpoint, info: EndpointInfo) -> Any:
    """Return a form of widgets for one request by the endpoint's route; None where the model takes no table, or a very wide one.

    A chat model has a field for a message, every other one a field for each column.
    """
    import ipywidgets

    if endpoint.route == "openai":
        message = ipywidgets.Textarea(placeholder="A message", layout=ipywidgets.Layout(width="min(480px, 100%)", height="56px"))
        return _form(ipywidgets, endpoint, [message], lambda: ("", {"messages": [{"role": "user", "content": message.value}]}))
    fields = fields_of(info)
    if not fields or len(fields) > _FORM_FIELDS or any("name" not in field or field["type"] == "tensor" for field in fields):
        return None
    first = _first_row(info.example)
    inputs = {str(field["name"]): _input(ipywidgets, field, first.get(str(field["name"]))) for field in fields}

    def request() -> tuple[str, Any]:
        row = {name: value for name, one in inputs.items() if (value := one.value) is not None}
        return ("v2", row_tensors(info, row)) if endpoint.route == "v2" else ("", {"dataframe_records": [row]})

    return _form(ipywidgets, endpoint, list(inputs.values()), request)


def _form(widgets: Any, endpoint: Endpoint, fields: list[Any], request: Callable[[], tuple[str, Any]]) -> Any:
    button = widgets.Button(description="Send", button_style="primary", tooltip="Ask the endpoint for this row")
    answer = widgets.HTML(value="")

    def send(_: Any) -> None:
        began = time.perf_counter()
        try:
            protocol, body = request()
            status, text = endpoint.send(json.dumps(body), protocol=protocol or "invocations")
        except MlopsError as error:
            status, text = 0, str(error)
        took = (time.perf_counter() - began) * 1000
        shown = _told(status, text)
        colour = "inherit" if status == 200 else _BAD
        answer.value = f'<span style="color:{colour}">→ <b>{escape(shown[:500])}</b> <span style="opacity:.7">{took:.0f} ms</span></span>'

    button.on_click(send)
    return widgets.Box([*fields, button, answer], layout=widgets.Layout(display="flex", flex_flow="row wrap", align_items="center"))


def _told(status: int, text: str) -> str:
    try:
        document = json.loads(text)
    except ValueError:
        return text
    if not isinstance(document, dict):
        return text
    if status != 200:
        return str(document.get("message", document.get("error", text)))
    if isinstance(document.get("predictions"), list) and document["predictions"]:
        return json.dumps(document["predictions"][0], ensure_ascii=False)
    if isinstance(document.get("outputs"), list) and document["outputs"]:
        return ", ".join(json.dumps(one.get("data"), ensure_ascii=False) for one in document["outputs"])
    choices = document.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        return str((choices[0].get("message") or {}).get("content", text))
    return text


def _first_row(example: Any) -> dict[str, Any]:
    if isinstance(example, dict) and isinstance(example.get("dataframe_split"), dict):
        split = example["dataframe_split"]
        if split.get("data"):
            return dict(zip([str(name) for name in split.get("columns", [])], split["data"][0], strict=False))
    return {}


def _input(widgets: Any, field: dict[str, Any], value: Any) -> Any:
    name, kind = str(field["name"])[:40], field["type"]
    style, layout = {"description_width": "initial"}, widgets.Layout(width="auto", margin="2px 12px 2px 0")
    shared = {"description": name, "style": style, "layout": layout}
    if kind == "boolean":
        return widgets.Checkbox(value=bool(value), indent=False, **shared)
    if kind in ("integer", "long"):
        return (
            widgets.IntText(value=int(value or 0), **shared) if abs(int(value or 0)) < 1 << 53 else widgets.Text(value=str(value), **shared)
        )
    if kind in ("float", "double"):
        return widgets.FloatText(value=float(value) if value is not None else 0.0, **shared)
    return widgets.Text(value="" if value is None else str(value), **shared)
