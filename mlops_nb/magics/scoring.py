"""`%track log val_auc=roc_auc_score(y, p)`: the value, and what it was computed from, for comparisons."""

from __future__ import annotations

import ast
from typing import Any

from mlops_nb.tracking import scores

_METRICS = "sklearn.metrics"


def evaluate(shell: Any, expression: str) -> Any:
    """Return the value of a Python expression; where it is one call of a metric of scikit-learn, note what it is of.

    Each part is evaluated once and in order, as Python itself would.
    """
    call = _call_of(expression)
    function = None if call is None else shell.user_ns.get(_root(call.func))
    if call is None or function is None:
        return shell.ev(expression)
    function = shell.ev(ast.unparse(call.func))
    args = [shell.ev(ast.unparse(argument)) for argument in call.args]
    kwargs = {str(keyword.arg): shell.ev(ast.unparse(keyword.value)) for keyword in call.keywords}
    value = function(*args, **kwargs)
    if str(getattr(function, "__module__", "")).startswith(_METRICS):
        target = call.args[0] if call.args else None
        name = target.id if isinstance(target, ast.Name) else None
        known = scores.recent.get(float(value)) if isinstance(value, float) else None
        if known is None:  # else autolog saw it, and knows more
            scores.saw(function, args, kwargs, value, name=name)
    return value


def _call_of(expression: str) -> ast.Call | None:
    """Return an expression that is one call of a name, with plain arguments."""
    try:
        body = ast.parse(expression.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError):
        return None
    if not isinstance(body, ast.Call) or _root(body.func) == "":
        return None
    is_plain = not any(isinstance(argument, ast.Starred) for argument in body.args) and all(k.arg is not None for k in body.keywords)
    has_own_scope = any(isinstance(node, (ast.NamedExpr, ast.Await, ast.Yield, ast.YieldFrom)) for node in ast.walk(body))
    return body if is_plain and not has_own_scope else None


def _root(node: ast.expr) -> str:
    """Return the first name of `a.b.c`; empty for anything else."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""
