"""The search language of runs: MLflow's filters, with OR, NOT and parentheses added.

    metrics.val_auc > 0.9 and params.lr = '0.1' and tags.stage like 'prod%'
    attributes.status in ('FAILED', 'KILLED') or run_name ilike '%churn%'
    val_auc > .9                    a bare name: an attribute, else a metric (number) or a param (text)

`parse` gives a tree that stores translate to SQL with bound parameters and `matches` evaluates in Python.
"""

from __future__ import annotations

import functools
import re
from enum import Enum, StrEnum
from typing import Any

import msgspec

from mlops_nb.core.records import Run
from mlops_nb.errors import FilterError, did_you_mean


class Field(StrEnum):
    METRIC = "metric"
    PARAM = "param"
    TAG = "tag"
    ATTRIBUTE = "attribute"


class Comparison(msgspec.Struct, frozen=True):
    """`key op value`. `op` is one of = != < <= > >= LIKE ILIKE IN NOT IN IS NULL IS NOT NULL."""

    field: Field
    key: str
    op: str
    value: float | str | tuple[str, ...] | None = None


class And(msgspec.Struct, frozen=True):
    parts: tuple[Node, ...]


class Or(msgspec.Struct, frozen=True):
    parts: tuple[Node, ...]


class Not(msgspec.Struct, frozen=True):
    part: Node


Node = Comparison | And | Or | Not


class OrderBy(msgspec.Struct, frozen=True):
    field: Field
    key: str
    descending: bool = False


_GRAMMAR = r"""
    start: disjunction
    ?disjunction: conjunction (_OR conjunction)*
    ?conjunction: negation (_AND negation)*
    ?negation: _NOT negation -> negated
        | "(" disjunction ")"
        | comparison
    comparison: key OP value -> compare
        | key LIKE STRING -> compare
        | key _IN "(" STRING ("," STRING)* ")" -> member
        | key _NOT _IN "(" STRING ("," STRING)* ")" -> not_member
        | key _IS NULL -> is_null
        | key _IS _NOT NULL -> not_null
    key: NAME | NAME "." QUOTED | QUOTED | DOTTED
    value: NUMBER | STRING | QUOTED
    order: key [DIRECTION]
    DIRECTION.3: /(asc|desc)\b/i
    OP: "!=" | "<>" | "<=" | ">=" | "==" | "=" | "<" | ">"
    LIKE.3: /(i?like)\b/i
    _IN.3: /in\b/i
    _IS.3: /is\b/i
    NULL.3: /null\b/i
    _NOT.3: /not\b/i
    _AND.3: /and\b/i
    _OR.3: /or\b/i
    DOTTED.2: /[A-Za-z_]\w*\.[\w][\w.\/:-]*/
    NAME.1: /[A-Za-z_]\w*/
    NUMBER: /[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?/
    STRING: /'(?:[^'\\]|\\.|'')*'/
    QUOTED: /"(?:[^"\\]|\\.)*"|`[^`]*`/
    %import common.WS
    %ignore WS
"""

_FIELDS = {
    "metric": Field.METRIC,
    "metrics": Field.METRIC,
    "param": Field.PARAM,
    "params": Field.PARAM,
    "parameter": Field.PARAM,
    "parameters": Field.PARAM,
    "tag": Field.TAG,
    "tags": Field.TAG,
    "attribute": Field.ATTRIBUTE,
    "attributes": Field.ATTRIBUTE,
    "attr": Field.ATTRIBUTE,
    "run": Field.ATTRIBUTE,
}

_ATTRIBUTES = {
    "run_id": "run_id",
    "id": "run_id",
    "run_name": "run_name",
    "run name": "run_name",
    "Run name": "run_name",
    "name": "run_name",
    "status": "status",
    "start_time": "start_time",
    "started": "start_time",
    "created": "start_time",
    "Created": "start_time",
    "end_time": "end_time",
    "user_id": "user_id",
    "user": "user_id",
    "artifact_uri": "artifact_uri",
    "experiment_id": "experiment_id",
    "reason": "reason",
}
TIME_ATTRIBUTES = frozenset({"start_time", "end_time"})

_OPERATOR = re.compile(r"[<>=]|\b(?:like|ilike|is\s+(?:not\s+)?null|in\s*\()", re.IGNORECASE)


@functools.cache
def _parsers() -> dict[str, Any]:
    # Lark costs 30 ms to import and build; only a process that filters pays for it.
    from lark import Lark

    return {start: Lark(_GRAMMAR, parser="lalr", start=start, propagate_positions=True) for start in ("start", "order")}


def looks_like_filter(text: str) -> bool:
    """Return whether free text typed into a search box is meant as a filter: it has an operator outside quotes."""
    return _OPERATOR.search(re.sub(r"'[^']*'|\"[^\"]*\"|`[^`]*`", "''", text)) is not None


def parse(text: str) -> Node | None:
    """Parse a filter. Empty text is no filter: None.

    Raises:
        FilterError: With the position of what does not fit.
    """
    if not text.strip():
        return None
    tree = _parse_tree(text, "start")
    return _build(tree.children[0], text)


def parse_order_by(clause: str) -> OrderBy:
    """Parse one clause of an order, such as `metrics.val_auc DESC`.

    Raises:
        FilterError: If it is not a key with an optional ASC or DESC.
    """
    tree = _parse_tree(clause, "order")
    key_tree, direction = tree.children
    field, key, position = _key(key_tree)
    if field is None:
        attribute = _ATTRIBUTES.get(key)
        field, key = (Field.ATTRIBUTE, attribute) if attribute else (Field.METRIC, key)
    elif field is Field.ATTRIBUTE:
        key = _attribute(key, clause, position)
    return OrderBy(field, key, direction is not None and direction.lower() == "desc")


def order_clause(sort: str) -> str:
    """Return the order clause of a short form: `-val_auc` is the metric `val_auc`, the highest first."""
    key = sort.lstrip("-")
    shown = key if "." in key and key.split(".")[0] in _FIELDS else key if key in _ATTRIBUTES else f"metrics.`{key}`"
    return f"{shown} {'desc' if sort.startswith('-') else 'asc'}"


def _parse_tree(text: str, start: str) -> Any:
    from lark.exceptions import UnexpectedEOF, UnexpectedInput

    try:
        return _parsers()[start].parse(text)
    except UnexpectedInput as error:
        at_end = isinstance(error, UnexpectedEOF) or getattr(getattr(error, "token", None), "type", "") == "$END"
        position = len(text) if at_end else int(getattr(error, "pos_in_stream", None) or 0)
        near = "at its end" if at_end else f"at '{text[position : position + 20]}' (character {position + 1})"
        raise FilterError(
            f"The filter does not parse {near}.",
            position=position,
            hint="A filter reads like: metrics.acc > 0.9 and params.lr = '0.1' and status = 'FINISHED'",
        ) from None


def _build(tree: Any, text: str) -> Node:
    kind = tree.data
    if kind == "disjunction":
        return Or(tuple(_build(child, text) for child in tree.children))
    if kind == "conjunction":
        return And(tuple(_build(child, text) for child in tree.children))
    if kind == "negated":
        return Not(_build(tree.children[0], text))
    field, key, position = _key(tree.children[0])
    value: float | str | tuple[str, ...] | None
    if kind in ("is_null", "not_null"):
        op, value = ("IS NULL" if kind == "is_null" else "IS NOT NULL"), None
    elif kind in ("member", "not_member"):
        op = "IN" if kind == "member" else "NOT IN"
        value = tuple(_unquote(str(token)) for token in tree.children[1:])
    else:
        op = {"==": "=", "<>": "!="}.get(str(tree.children[1]), str(tree.children[1]).upper())
        literal = tree.children[2]
        token = literal if not hasattr(literal, "children") else literal.children[0]
        value = float(token) if token.type == "NUMBER" else _unquote(str(token))
    return _typed(field, key, op, value, text, position)


def _typed(field: Field | None, key: str, op: str, value: Any, text: str, position: int) -> Comparison:
    """Settle what a bare name means and check that the value fits the field."""
    if field is None:
        attribute = _ATTRIBUTES.get(key)
        if attribute is not None:
            field, key = Field.ATTRIBUTE, attribute
        else:
            field = Field.METRIC if isinstance(value, float) or value is None else Field.PARAM
    elif field is Field.ATTRIBUTE:
        key = _attribute(key, text, position)
    numeric = field is Field.METRIC or (field is Field.ATTRIBUTE and key in TIME_ATTRIBUTES)
    if op in ("IS NULL", "IS NOT NULL"):
        return Comparison(field, key, op)
    if numeric and not isinstance(value, float):
        raise FilterError(
            f"{field.value} '{key}' is a number; it cannot be compared with text.",
            position=position,
            hint=f"Write the number without quotes: {key} {op if op[0] in '<>=!' else '>'} 0.9",
        )
    if not numeric and isinstance(value, float):
        # A param is text; `params.depth = 6` can only mean the text as it was written.
        value = f"{value:g}" if value != int(value) or abs(value) > 1e15 else str(int(value))
    if not numeric and field is not Field.PARAM and op in ("<", "<=", ">", ">="):
        raise FilterError(
            f"{field.value} '{key}' is text; '{op}' cannot compare it.", position=position, hint="Use =, !=, LIKE, ILIKE or IN."
        )
    return Comparison(field, key, op, value)


def _key(tree: Any) -> tuple[Field | None, str, int]:
    tokens = tree.children
    position = int(tokens[0].start_pos)
    if len(tokens) == 2:
        return _field(str(tokens[0]), position), _unquote(str(tokens[1])), position
    token = tokens[0]
    if token.type == "DOTTED":
        prefix, _, rest = str(token).partition(".")
        return _field(prefix, position), rest, position
    return None, _unquote(str(token)) if token.type == "QUOTED" else str(token), position


def _field(prefix: str, position: int) -> Field:
    field = _FIELDS.get(prefix.lower())
    if field is None:
        raise FilterError(
            f"'{prefix}.' names nothing that can be searched.",
            position=position,
            hint=did_you_mean(prefix, _FIELDS) or "Use metrics., params., tags. or attributes.",
        )
    return field


def _attribute(key: str, text: str, position: int) -> str:
    known = _ATTRIBUTES.get(key)
    if known is None:
        raise FilterError(
            f"A run has no attribute '{key}'.",
            position=position,
            hint=did_you_mean(key, _ATTRIBUTES) or f"It has {', '.join(sorted(set(_ATTRIBUTES.values())))}.",
        )
    return known


def _unquote(text: str) -> str:
    quote, body = text[:1], text[1:-1]
    if quote not in "'\"`":
        return text
    if quote == "`":
        return body
    return re.sub(r"\\(.)", r"\1", body.replace("''", "'") if quote == "'" else body)


def matches(node: Node | None, run: Run) -> bool:
    """Evaluate a filter on one run: the meaning that every store's SQL must agree with."""
    if node is None:
        return True
    if isinstance(node, And):
        return all(matches(part, run) for part in node.parts)
    if isinstance(node, Or):
        return any(matches(part, run) for part in node.parts)
    if isinstance(node, Not):
        return not matches(node.part, run)
    return _compare(node, _value_of(node, run))


def _value_of(node: Comparison, run: Run) -> float | str | None:
    if node.field is Field.METRIC:
        metric = run.metrics.get(node.key)
        return None if metric is None else metric.value
    if node.field is Field.PARAM:
        return run.params.get(node.key)
    if node.field is Field.TAG:
        return run.tags.get(node.key)
    attribute = {"run_name": "name", "user_id": "user"}.get(node.key, node.key)
    value: float | str | Enum | None = getattr(run, attribute)
    return str(value.value) if isinstance(value, Enum) else value


def _compare(node: Comparison, actual: float | str | None) -> bool:
    op, wanted = node.op, node.value
    if op == "IS NULL":
        return actual is None
    if op == "IS NOT NULL":
        return actual is not None
    if actual is None:
        return False
    if op in ("IN", "NOT IN"):
        assert isinstance(wanted, tuple)
        return (actual in wanted) == (op == "IN")
    if op in ("LIKE", "ILIKE"):
        flags = re.DOTALL | (re.IGNORECASE if op == "ILIKE" else 0)
        pattern = "".join(".*" if c == "%" else "." if c == "_" else re.escape(c) for c in str(wanted))
        return re.fullmatch(pattern, str(actual), flags) is not None
    left: Any = actual
    right: Any = wanted
    if op == "=":
        return bool(left == right)
    if op == "!=":
        return bool(left != right)
    if op == "<":
        return bool(left < right)
    if op == "<=":
        return bool(left <= right)
    return bool(left > right if op == ">" else left >= right)
