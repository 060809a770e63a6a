"""How to ask an endpoint from elsewhere: code in three languages, for each protocol that it speaks. No secret is in it."""

from __future__ import annotations

import json
from typing import Any

from mlops_nb.errors import InvalidInput
from mlops_nb.serving.client import Endpoint
from mlops_nb.serving.records import EndpointInfo

_EXAMPLE_CHARACTERS = 1500
_V2_TYPES = {"boolean": "BOOL", "integer": "INT32", "long": "INT64", "float": "FP32", "double": "FP64"}


def fields_of(info: EndpointInfo, part: str = "inputs") -> list[dict[str, Any]]:
    """Return the fields that a model takes, or gives."""
    text = (info.signature or {}).get(part)
    return json.loads(text) if isinstance(text, str) else []


def is_chat(info: EndpointInfo) -> bool:
    """Return whether a model takes messages, as chat models do."""
    return any(field.get("name") == "messages" for field in fields_of(info))


def request_for(info: EndpointInfo, route: str) -> tuple[str, dict[str, Any]]:
    """Return the path below the endpoint and the body of a request.

    Raises:
        InvalidInput: If the model does not speak the protocol.
    """
    if route == "openai":
        if not is_chat(info):
            raise InvalidInput(
                f"The model of '{info.name}' is no chat model: it takes no messages, so it cannot answer as OpenAI's API does.",
                hint="Leave out --route, or give json or v2.",
            )
        return "/invocations", {"messages": [{"role": "user", "content": "Hello"}]}
    if route == "v2":
        return f"/v2/models/{info.name}/infer", {"inputs": _tensors(info)}
    return "/invocations", info.example if isinstance(info.example, dict) else {"inputs": [[0.0]]}


def _tensors(info: EndpointInfo) -> list[dict[str, Any]]:
    """Return the rows of the example as tensors of the open inference protocol, one a column."""
    example = info.example if isinstance(info.example, dict) else {}
    split = example.get("dataframe_split")
    kinds = {str(field.get("name")): _V2_TYPES.get(str(field["type"]), "BYTES") for field in fields_of(info)}
    if isinstance(split, dict) and split.get("data"):
        columns = zip(split.get("columns", []), zip(*split["data"], strict=True), strict=False)
        return [
            {"name": str(name), "shape": [len(values)], "datatype": kinds.get(str(name), "BYTES"), "data": list(values)}
            for name, values in columns
        ]
    rows = example.get("inputs", example.get("instances"))
    if isinstance(rows, list) and rows and isinstance(rows[0], list) and not any(isinstance(one, list) for one in rows[0]):
        return [{"name": "input-0", "shape": [len(rows), len(rows[0])], "datatype": "FP64", "data": [one for row in rows for one in row]}]
    return [{"name": "input-0", "shape": [1, 1], "datatype": "FP64", "data": [0.0]}]


def row_tensors(info: EndpointInfo, row: dict[str, Any]) -> dict[str, Any]:
    """Return one row as a request of the open inference protocol."""
    kinds = {str(field.get("name")): _V2_TYPES.get(str(field["type"]), "BYTES") for field in fields_of(info)}
    return {"inputs": [{"name": name, "shape": [1], "datatype": kinds.get(name, "BYTES"), "data": [value]} for name, value in row.items()]}


def snippets(endpoint: Endpoint, info: EndpointInfo, route: str | None = None) -> dict[str, str]:
    """Return how to ask an endpoint from elsewhere, by language."""
    route = route or endpoint.route
    path, request = request_for(info, route)
    body = json.dumps(request, ensure_ascii=False)
    if len(body) > _EXAMPLE_CHARACTERS:
        short = {"dataframe_split": {"columns": ["…"], "data": [["…"]]}}
        body = json.dumps({"inputs": [{"name": "…", "shape": [1], "datatype": "…", "data": ["…"]}]} if route == "v2" else short)
        body = body.replace("\\u2026", "…")
    shell_body = body.replace("'", "'\\''")
    url = f"{endpoint.url}{path}"
    python_part, script_part = {
        "v2": ('["outputs"][0]["data"]', ".outputs[0].data"),
        "openai": ("", ""),
        "json": ('["predictions"]', ".predictions"),
    }[route]
    curl = f"curl {url} \\\n  -H \"Authorization: Bearer $JUPYTER_TOKEN\" -H 'Content-Type: application/json' \\\n  -d '{shell_body}'"
    python = (
        "import os, requests\n"
        f"answer = requests.post({url!r},\n"
        '    headers={"Authorization": f"Bearer {os.environ[\'JUPYTER_TOKEN\']}"},\n'
        f"    json={json.loads(body)!r})\n"
        f"print(answer.json(){python_part})"
    )
    script = (
        f"const answer = await fetch({json.dumps(url)}, {{\n"
        "  method: 'POST',\n"
        "  headers: {'Authorization': `Bearer ${token}`, 'Content-Type': 'application/json'},\n"
        f"  body: JSON.stringify({body}),\n"
        f"}});\nconsole.log((await answer.json()){script_part});"
    )
    return {"curl": curl, "python": python, "js": script}
