"""Names as the code of a function or a class sees them."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def defaults(arguments: ast.arguments) -> Iterator[ast.expr]:
    yield from arguments.defaults
    yield from (default for default in arguments.kw_defaults if default is not None)


def annotated(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[ast.expr]:
    every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    yield from (one.annotation for one in (*every, node.args.vararg, node.args.kwarg) if one is not None and one.annotation is not None)
    if node.returns is not None:
        yield node.returns


def captured(pattern: ast.pattern) -> Iterator[str]:
    for node in ast.walk(pattern):
        if isinstance(node, (ast.MatchAs, ast.MatchStar)) and node.name:
            yield node.name
        elif isinstance(node, ast.MatchMapping) and node.rest:
            yield node.rest


def free(function: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> tuple[set[str], set[str]]:
    """Return the globals that the code of a function uses, and those that it binds by `global`."""
    arguments = function.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    local = {one.arg for one in every if one is not None}
    body: Iterable[ast.AST] = [function.body] if isinstance(function, ast.Lambda) else function.body
    used: set[str] = set()
    declared: set[str] = set()
    assigned: set[str] = set()
    inner: list[ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda] = []
    for node in _own_nodes(body):
        if isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else assigned).add(node.id)
        elif isinstance(node, ast.Global):
            declared.update(node.names)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            assigned.update(alias.asname or alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            assigned.add(node.name)
        elif isinstance(node, ast.pattern):
            assigned.update(captured(node))
        elif isinstance(node, FUNCTIONS):
            inner.append(node)
            if not isinstance(node, ast.Lambda):
                assigned.add(node.name)
        elif isinstance(node, ast.ClassDef):
            assigned.add(node.name)
    local |= assigned - declared
    bound = assigned & declared
    for one in inner:
        more, set_there = free(one)
        used |= more
        bound |= set_there
    return used - local, bound


def _own_nodes(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Yield the nodes of a scope, inner functions without what is in them (but with their defaults and decorators)."""
    todo = list(body)
    while todo:
        node = todo.pop()
        yield node
        if isinstance(node, ast.Lambda):
            todo += defaults(node.args)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            todo += [*node.decorator_list, *defaults(node.args)]
        else:
            todo += ast.iter_child_nodes(node)


def caught(handler: ast.ExceptHandler) -> Sequence[ast.expr]:
    """Return the classes of errors that a handler is for."""
    return handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type] if handler.type is not None else []


def root_of(target: ast.expr) -> ast.Name | None:
    """Return the name that an expression such as `a.b[c].d` begins with."""
    while isinstance(target, (ast.Attribute, ast.Subscript, ast.Starred)):
        target = target.value
    return target if isinstance(target, ast.Name) else None


def is_in_place(call: ast.Call) -> bool:
    """Return whether it is called with `inplace=True`."""
    return any(k.arg == "inplace" and isinstance(k.value, ast.Constant) and k.value.value is True for k in call.keywords)
