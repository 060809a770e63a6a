"""Whether a statement that ran twice leaves something else than one that ran once."""

from __future__ import annotations

import ast

SETTLING = frozenset(
    "abs astype bfill capitalize casefold ceil clip convert_dtypes copy drop_duplicates dropna ffill fillna flatten floor "
    "infer_objects lower ravel reindex rename reset_option reshape resolve round set_axis sort_index sort_values squeeze strip "
    "title to_numpy unique upper".split()
)
"""Methods that give the same when they are called on their own result."""

CONVERTING = frozenset(
    "Categorical DataFrame Index Path Series abs array asarray bool dict float frozenset int list set sorted str to_datetime to_numeric "
    "to_timedelta tuple".split()
)
"""Functions that give the same when they are called on their own result."""

_ACCESSORS = frozenset({"cat", "dt", "loc", "str", "values"})


def settles(expression: ast.expr, old: ast.expr) -> bool:
    """Return whether `old = expression` gives the same a second time: `df = df.dropna()`, `df = df[df.x > 0]`, `x = int(x)`.

    What is not known to settle does not: `df = df.iloc[1:]`, `n = n + 1`.
    """
    if _same(expression, old):
        return True
    if isinstance(expression, ast.Attribute):
        return expression.attr in _ACCESSORS and settles(expression.value, old)
    if isinstance(expression, ast.Call):
        function = expression.func
        rest = [*expression.args, *(keyword.value for keyword in expression.keywords)]
        if isinstance(function, ast.Attribute) and settles(function.value, old):
            return function.attr in SETTLING and not any(contains(part, old) for part in rest)
        name = function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""
        return name in CONVERTING and bool(rest) and settles(rest[0], old) and not any(contains(part, old) for part in rest[1:])
    if isinstance(expression, ast.Subscript):
        return settles(expression.value, old) and _selects(expression.slice)
    if isinstance(expression, ast.ListComp) and len(expression.generators) == 1:
        generator = expression.generators[0]
        return settles(generator.iter, old) and settles(expression.elt, generator.target)
    if isinstance(expression, ast.BoolOp) and isinstance(expression.op, ast.Or):  # x = x or default
        return _same(expression.values[0], old)
    return not contains(expression, old)


def contains(tree: ast.AST, part: ast.expr) -> bool:
    """Return whether an expression occurs in a tree."""
    root: ast.expr = part
    while isinstance(root, (ast.Attribute, ast.Subscript, ast.Starred)):
        root = root.value
    if isinstance(root, ast.Name) and not any(isinstance(node, ast.Name) and node.id == root.id for node in ast.walk(tree)):
        return False
    return any(type(node) is type(part) and _same(node, part) for node in ast.walk(tree) if isinstance(node, ast.expr))


def _same(one: ast.expr, other: ast.expr) -> bool:
    return type(one) is type(other) and _dump(one) == _dump(other)


def _dump(expression: ast.expr) -> str:
    text = ast.dump(expression)
    return text.replace("ctx=Store()", "ctx=Load()").replace("ctx=Del()", "ctx=Load()")


def _selects(index: ast.expr) -> bool:
    """Return whether an index keeps what it kept before: a condition, columns by name, the first rows."""
    if isinstance(index, ast.Tuple):
        return all(_selects(part) for part in index.elts)
    if isinstance(index, ast.Slice):
        begins = index.lower is None or (isinstance(index.lower, ast.Constant) and index.lower.value == 0)
        return begins and index.step is None and not isinstance(index.upper, ast.UnaryOp)
    if isinstance(index, (ast.List, ast.ListComp)):
        return True
    condition = isinstance(index, (ast.Compare, ast.BoolOp, ast.BinOp, ast.UnaryOp))
    return condition and not any(isinstance(node, ast.Call) and _aggregates(node) for node in ast.walk(index))


def _aggregates(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Attribute) and call.func.attr in {"max", "mean", "median", "min", "quantile", "std", "sum"}
