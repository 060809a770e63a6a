"""Names that a cell uses without writing them as names: in text that is code, in commands of the shell, by `globals()`."""

from __future__ import annotations

import ast
import re

NAMESPACES = frozenset({"globals", "locals", "vars"})
"""Functions that give all variables."""
SHELL_CALLS = frozenset({"ev", "ex", "getoutput", "push", "run_cell", "system", "user_ns"})
"""What of `get_ipython()` uses or makes variables."""
SUPPRESSING = frozenset({"assertRaises", "raises", "suppress"})
"""Contexts whose block need not run to its end."""

_BRACES = re.compile(r"\{([^{}]+)\}")
_DOLLAR = re.compile(r"\$(?:\{)?([A-Za-z_]\w*)")
_AT = re.compile(r"@([A-Za-z_]\w*)")
_RESULT = re.compile(r"--(?:out|err|proc)[ =](\w+)")


def names_in_command(line: str) -> set[str]:
    """Return the names in a line that IPython fills in: `!ls {folder} $name`."""
    found = {match[1] for match in _DOLLAR.finditer(line)}
    for match in _BRACES.finditer(line):
        found |= names_in_expression(match[1])
    return found


def names_in_expression(text: str) -> set[str]:
    """Return the names in an expression; none if it is no Python."""
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError):
        return set()
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def names_in_query(text: str) -> set[str]:
    """Return the names in a query of pandas: `frame.query("age > @limit")`."""
    return {match[1] for match in _AT.finditer(text)}


def results_of_script(line: str) -> set[str]:
    """Return the names that get what a script writes: `%%bash --out text`."""
    return {match[1] for match in _RESULT.finditer(line)}


def constant(node: ast.expr | None) -> str | None:
    """Return the text that a node is, or None."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def is_namespace(node: ast.expr) -> bool:
    """Return whether it is `globals()` or the like."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in NAMESPACES and not node.args


def looked_up(node: ast.expr) -> str | None:
    """Return the one variable that `globals()["x"]`, `globals().get("x")` or `"x" in globals()` is about, or None."""
    if isinstance(node, ast.Subscript) and is_namespace(node.value):
        return constant(node.slice)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and is_namespace(node.func.value) and node.args:
        return constant(node.args[0])
    if isinstance(node, ast.Compare) and len(node.comparators) == 1 and is_namespace(node.comparators[0]):
        return constant(node.left)
    return None


def of_shell(node: ast.expr) -> str | None:
    """Return what of `get_ipython()` an attribute is, if it uses or makes variables."""
    if not isinstance(node, ast.Attribute) or node.attr not in SHELL_CALLS or not isinstance(node.value, ast.Call):
        return None
    source = node.value.func
    return node.attr if isinstance(source, ast.Name) and source.id == "get_ipython" else None
