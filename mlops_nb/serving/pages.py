"""What a model server tells of itself: an OpenAPI document made from the signature, and the same as a page without scripts."""

from __future__ import annotations

import json
from html import escape
from typing import Any

import msgspec

from mlops_nb.models.signature import Signature

_JSON_TYPES: dict[str, dict[str, Any]] = {
    "boolean": {"type": "boolean"},
    "integer": {"type": "integer", "format": "int32"},
    "long": {"type": "integer", "format": "int64"},
    "float": {"type": "number", "format": "float"},
    "double": {"type": "number", "format": "double"},
    "string": {"type": "string"},
    "binary": {"type": "string", "contentEncoding": "base64"},
    "datetime": {"type": "string", "format": "date-time"},
}
_SHOWN = 200


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What is served.

    Attributes:
        name: Of the endpoint.
        version: Of the model, as the protocols tell it.
        signature: Where known.
        example: A request that the model answers, as a JSON document; None where no example was kept.
        platform: The framework, as `sklearn`.
        model: Where the model is from, as `models:/m-...`.
        mlflow_version: Whose protocol is spoken.
        server_version: Of this package.
        engine: What computes, and `acceleration`: what came of accelerating it, in words.
    """

    name: str
    version: str
    signature: Signature | None = None
    example: Any = None
    platform: str = "python_function"
    model: str = ""
    mlflow_version: str
    server_version: str
    engine: str = "model"
    acceleration: str = ""


def openapi(about: About) -> bytes:
    """Return the OpenAPI document of the server."""
    record = _record_schema(about.signature)
    request = {
        "type": "object",
        "description": "Exactly one of the four forms, and params where the model has some.",
        "properties": {
            "dataframe_split": {
                "type": "object",
                "required": ["data"],
                "properties": {
                    "columns": {"type": "array", "items": {"type": "string"}},
                    "index": {"type": "array", "items": {}},
                    "data": {"type": "array", "items": {"type": "array", "items": {}}},
                },
            },
            "dataframe_records": {"type": "array", "items": record},
            "instances": {"type": "array", "items": {}},
            "inputs": {},
            **_params_schema(about.signature),
        },
    }
    if about.example is not None:
        request["example"] = about.example
    prediction = {"type": "object", "properties": {"predictions": {}}, "required": ["predictions"]}
    failure = {
        "type": "object",
        "properties": {"error_code": {"type": "string"}, "message": {"type": "string"}},
        "required": ["error_code", "message"],
    }
    model = f"/v2/models/{about.name}"
    tensor = {"$ref": "#/components/schemas/Tensor"}
    document = {
        "openapi": "3.1.0",
        "info": {"title": about.name, "version": about.version, "description": f"The model {about.model or about.name}."},
        "paths": {
            "/invocations": {
                "post": {
                    "operationId": "invocations",
                    "summary": "Predict, by MLflow's scoring protocol",
                    "requestBody": {
                        "required": True,
                        "content": {
                            "application/json": {"schema": request},
                            "text/csv": {"schema": {"type": "string", "description": "A header line and a line for each row."}},
                        },
                    },
                    "responses": {
                        "200": _content("A prediction for each row.", prediction),
                        **{code: _content(why, failure) for code, why in _FAILURES.items()},
                    },
                }
            },
            "/ping": {"get": {"summary": "Is it there?", "responses": {"200": {"description": "It is."}}}},
            "/version": {"get": {"summary": "The version of MLflow's protocol", "responses": {"200": {"description": "The version."}}}},
            "/metrics": {"get": {"summary": "Figures for Prometheus", "responses": {"200": {"description": "Text."}}}},
            "/v2/health/ready": {"get": {"summary": "Does it answer?", "responses": {"200": {"description": "It does."}}}},
            model: {"get": {"summary": "What the model takes and gives", "responses": {"200": {"description": "Metadata."}}}},
            f"{model}/infer": {
                "post": {
                    "operationId": "infer",
                    "summary": "Predict, by the open inference protocol",
                    "requestBody": {
                        "required": True,
                        "content": {
                            "application/json": {
                                "schema": {
                                    "type": "object",
                                    "required": ["inputs"],
                                    "properties": {"id": {"type": "string"}, "inputs": {"type": "array", "items": tensor}},
                                }
                            }
                        },
                    },
                    "responses": {
                        "200": _content(
                            "The outputs.",
                            {"type": "object", "properties": {"outputs": {"type": "array", "items": tensor}}, "required": ["outputs"]},
                        ),
                        "400": _content("The request is wrong.", {"type": "object", "properties": {"error": {"type": "string"}}}),
                    },
                }
            },
        },
        "components": {
            "schemas": {
                "Tensor": {
                    "type": "object",
                    "required": ["name", "shape", "datatype", "data"],
                    "properties": {
                        "name": {"type": "string"},
                        "shape": {"type": "array", "items": {"type": "integer"}},
                        "datatype": {"type": "string"},
                        "data": {"type": "array", "items": {}},
                    },
                }
            }
        },
    }
    return json.dumps(document).encode()


_FAILURES = {
    "400": "The request is wrong; the message says what.",
    "413": "The body or the number of rows is over the limit.",
    "415": "The content type is not taken.",
    "429": "Too many requests wait; Retry-After says when to come again.",
    "503": "The model is being started; Retry-After says when to come again.",
    "504": "The model took too long.",
}


def _content(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _record_schema(signature: Signature | None) -> dict[str, Any]:
    fields = [field for field in (signature.inputs or () if signature else ()) if field.get("name") is not None]
    if not fields:
        return {"type": "object"}
    return {
        "type": "object",
        "properties": {str(field["name"]): _JSON_TYPES.get(str(field["type"]), {}) for field in fields},
        "required": [str(field["name"]) for field in fields if field.get("required", True)],
    }


def _params_schema(signature: Signature | None) -> dict[str, Any]:
    fields = (signature.params or ()) if signature else ()
    if not fields:
        return {}
    properties = {}
    for field in fields:
        kind = _JSON_TYPES.get(str(field["type"]), {})
        properties[str(field["name"])] = {
            **({"type": "array", "items": kind} if field.get("shape") else kind),
            "default": field.get("default"),
        }
    return {"params": {"type": "object", "properties": properties}}


def page(about: About) -> bytes:
    """Return the page of the server."""
    signature = about.signature
    example = json.dumps(about.example, ensure_ascii=False) if about.example is not None else _made_up(signature)
    shown = (example if len(example) <= 2000 else example[:2000] + " …").replace("'", "'\\''")
    parts = [
        f"<h1>{escape(about.name)} <small>version {escape(about.version)}</small></h1>",
        f"<p>{escape(about.model)} · {escape(about.platform)} · <a href='openapi.json'>OpenAPI</a> · <a href='metrics'>figures</a></p>",
        f"<p>acceleration: {escape(about.acceleration)}</p>" if about.acceleration else "",
        "<h2>Takes</h2>",
        _fields_table(signature.inputs if signature else None),
        "<h2>Gives</h2>",
        _fields_table(signature.outputs if signature else None),
    ]
    if signature and signature.params:
        parts += ["<h2>Params</h2>", _fields_table(signature.params)]
    parts += [
        "<h2>Ask it</h2>",
        f"<pre>curl -H 'Content-Type: application/json' \\\n  -d '{escape(shown)}' \\\n  &lt;address of this page&gt;/invocations</pre>",
        f"<p>Also <code>dataframe_split</code>, <code>dataframe_records</code>, <code>instances</code>, <code>inputs</code>, "
        f"<code>text/csv</code>, and the open inference protocol at <code>v2/models/{escape(about.name)}/infer</code>.</p>",
    ]
    title = f"<title>{escape(about.name)}</title>"
    head = f"<!doctype html><html lang='en'><head><meta charset='utf-8'>{title}<style>{_STYLE}</style></head>"
    return f"{head}<body><main>{''.join(parts)}</main></body></html>".encode()


_STYLE = (
    ":root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;margin:0}main{max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "h1 small{font-weight:normal;opacity:.7;font-size:1rem}table{border-collapse:collapse}"
    "td,th{text-align:left;padding:.2rem 1.2rem .2rem 0}"
    "th{opacity:.7;font-weight:600}pre{overflow:auto;padding:.8rem;border:1px solid #8886;border-radius:4px;white-space:pre-wrap;"
    "overflow-wrap:anywhere}td:first-child{overflow-wrap:anywhere}"
)


def _fields_table(fields: list[dict[str, Any]] | None) -> str:
    if not fields:
        return "<p>Unknown: the model has no signature for this.</p>"
    rows = []
    for field in fields[:_SHOWN]:
        kind = field["type"]
        if kind == "tensor":
            kind = f"tensor of {field['tensor-spec']['dtype']}, shape {field['tensor-spec']['shape']}"
        need = "" if field.get("required", True) else "optional"
        if "default" in field:
            need = f"default {json.dumps(field['default'], default=str)}"
        rows.append(f"<tr><td>{escape(str(field.get('name', '')))}</td><td>{escape(str(kind))}</td><td>{escape(need)}</td></tr>")
    more = f"<p>and {len(fields) - _SHOWN} more</p>" if len(fields) > _SHOWN else ""
    return f"<table><tr><th>name</th><th>type</th><th></th></tr>{''.join(rows)}</table>{more}"


def _made_up(signature: Signature | None) -> str:
    values = {"boolean": True, "string": "text", "datetime": "2026-01-31T12:00:00", "integer": 1, "long": 1}
    fields = [field for field in (signature.inputs or () if signature else ()) if field.get("name") is not None]
    if not fields:
        return '{"inputs": [[0.0]]}'
    return json.dumps(
        {"dataframe_records": [{str(field["name"]): values.get(str(field["type"]), 0.5) for field in fields}]}, ensure_ascii=False
    )
