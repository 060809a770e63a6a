"""What the expressions of a cell do to names: reading, binding, changing in place, calling, magics."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from mlops_nb.core.code_in_text import constant, is_namespace, looked_up, names_in_command, names_in_query, of_shell
from mlops_nb.core.magic_lines import OPAQUE, Magic, magic_of, names_in_words
from mlops_nb.core.methods import ADDING, LOOKING, MUTATORS, SETTING, SILENT_MUTATORS, SPOILING, TABLES_GIVE
from mlops_nb.core.repetition import SETTLING
from mlops_nb.core.scopes import is_in_place, root_of


def shown(body: Sequence[ast.stmt]) -> ast.stmt | None:
    """Return the expression whose value IPython shows; a method called there need not change anything."""
    return body[-1] if body and isinstance(body[-1], ast.Expr) else None


class NameWalk(ast.NodeVisitor):
    """Notes what the expressions of a cell do to names; `bound` are the names that surely have a value by now."""

    _methods: ClassVar[dict[type[ast.AST], Callable[[Any, ast.AST], None]]] = {}

    def __init__(self, plain: Callable[[str], str]) -> None:
        self.reads: set[str] = set()
        self.binds: set[str] = set()
        self.times: dict[str, int] = {}
        self.changes: set[str] = set()
        self.touches: set[str] = set()
        self.looks: set[str] = set()
        self.settings: set[str] = set()
        self.evolves: set[str] = set()
        self.modules: set[str] = set()
        self.deferred: dict[str, set[str]] = {}
        self.promised: set[str] = set()
        self.spoils: dict[str, set[int]] = {}
        self.calls: list[tuple[str, dict[int, str]]] = []
        self.before: dict[str, frozenset[str]] = {}
        self.words: set[str] = set()
        self.perhaps: set[str] = set()
        self.deep: set[str] = set()
        self.reads_anything = False
        self.state: set[str] = set()
        self.is_opaque = False
        self.bound: set[str] = set()
        self.removed: set[str] = set()
        self._plain = plain
        self._kept: set[int] = set()
        self._local: list[set[str]] = []
        self._last: ast.stmt | None = None

    def visit(self, node: ast.AST) -> None:
        """Visit a node: what `ast.NodeVisitor` does, without looking its method up by name each time."""
        kind = type(node)
        method = self._methods.get(kind)
        if method is None:
            method = self._methods[kind] = getattr(type(self), f"visit_{kind.__name__}", NameWalk.generic_visit)
        method(self, node)

    def generic_visit(self, node: ast.AST) -> None:
        """Visit what is in a node."""
        for field in node._fields:
            value = getattr(node, field, None)
            if isinstance(value, list):
                for part in value:
                    if isinstance(part, ast.AST):
                        self.visit(part)
            elif isinstance(value, ast.AST):
                self.visit(value)

    def visit_Constant(self, _: ast.Constant) -> None:
        """A constant has no names in it."""

    # -- names

    def _read(self, name: str) -> None:
        if self._is_local(name):
            return
        if name not in self.bound:
            (self.perhaps if name in self.binds and name not in self.removed else self.reads).add(name)
            self.before.setdefault(name, frozenset(self.bound))
        for used in sorted(self.deferred.get(name, ())):  # a function of this cell that is used may be called
            if used != name and used not in self.bound:
                self.reads.add(used)
                self.before.setdefault(used, frozenset(self.bound))

    def _bind(self, name: str) -> None:
        if self._local:
            self._local[-1].add(name)
            return
        self.binds.add(name)
        self.times[name] = self.times.get(name, 0) + 1
        self.bound.add(name)
        self.removed.discard(name)
        self.modules.discard(name)
        self.deferred.pop(name, None)
        self.spoils.pop(name, None)

    def _is_local(self, name: str) -> bool:
        return any(name in scope for scope in self._local)

    def _change(self, target: ast.expr, kind: set[str] | None = None, *, setting: bool = False) -> None:
        """Note that something in what a name stands for is set; the name itself stays."""
        root = root_of(target)
        if root is None or self._is_local(root.id):
            return
        self._read(root.id)
        if root.id not in self.bound:
            (self.changes if kind is None else kind).add(root.id)
            if isinstance(target, (ast.Attribute, ast.Subscript)) and not (setting and target.value is root):
                self.deep.add(root.id)
            if setting:
                self.settings.add(root.id)

    def _evolve(self, target: ast.expr) -> None:
        root = root_of(target)
        if root is not None and root.id not in self.bound and not self._is_local(root.id):
            self.evolves.add(root.id)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self._read(node.id)
        else:
            self._bind(node.id)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.visit(node.value)
        if of_shell(node) is not None:
            self._uses_any()
        if not isinstance(node.ctx, ast.Load):
            self._change(node, setting=True)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        name = looked_up(node)
        if name is not None:
            return self._look_up(name, is_set=not isinstance(node.ctx, ast.Load))
        self.visit(node.value)
        self.visit(node.slice)
        if not isinstance(node.ctx, ast.Load):
            self._change(node, setting=True)
        return None

    def visit_Compare(self, node: ast.Compare) -> None:
        name = looked_up(node)
        return self.generic_visit(node) if name is None else self._look_up(name)

    def _look_up(self, name: str, *, is_set: bool = False) -> None:
        """Note that the cell asks for a variable by its name as text."""
        if is_set:
            self.binds.add(name)
        elif name not in self.bound:
            self.perhaps.add(name)

    def _uses_any(self) -> None:
        self.is_opaque = self.reads_anything = True

    def block(self, body: Sequence[ast.stmt], *, last: ast.stmt | None = None) -> None:
        """Walk statements, in the order in which they run; of the last one IPython shows the value."""
        for statement in body:
            self._last = last
            self.visit(statement)

    # -- calls and magics

    def visit_Expr(self, node: ast.Expr) -> None:
        is_last = node is self._last
        call = node.value.value if isinstance(node.value, ast.Await) else node.value
        magic = magic_of(call) if isinstance(call, ast.Call) else None
        if magic is not None:
            return self._magic(magic)
        self.visit(node.value)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
            self._statement(call.func, is_last)
        return None

    def _statement(self, function: ast.Attribute, is_last: bool) -> None:
        """Note what a call does whose value nobody takes: it is made for what it does."""
        method = function.attr
        if method in TABLES_GIVE:
            self._change(function.value, self.touches)
        elif method in MUTATORS or method in SILENT_MUTATORS or SETTING.fullmatch(method):
            self._change(function.value, setting=SETTING.fullmatch(method) is not None)
        elif not is_last and not LOOKING.fullmatch(method):
            self._change(function.value, self.touches)
        elif (root := root_of(function.value)) is not None and root.id not in self.bound and not self._is_local(root.id):
            self.looks.add(root.id)
        if method in ADDING:
            self._evolve(function.value)

    def _magic(self, magic: Magic) -> None:
        self.words |= {name for name in names_in_words(magic) if name not in self.bound}
        self.reads_anything |= magic.uses_any
        self.is_opaque |= magic.name in OPAQUE
        if magic.state is not None:
            self.state.add(magic.state)
        python = magic.python
        for name in sorted(magic.captures):
            self._bind(name)
        if python is None:
            return
        try:
            body = ast.parse(self._plain(python)).body
        except SyntaxError:  # it is for the magic to say so
            return
        bound, binds = set(self.bound), set(self.binds)
        self.block(body, last=shown(body))
        if magic.name == "timeit":  # its names are its own
            self.binds, self.bound = binds, bound

    def visit_Call(self, node: ast.Call) -> None:
        magic = magic_of(node)
        if magic is not None:
            return self._magic(magic)
        called = of_shell(node.func)
        text = constant(node.args[0]) if node.args else None
        if called in ("getoutput", "system") and text is not None:
            self.words |= names_in_command(text) - self.bound
            return None
        asked = looked_up(node)
        if asked is not None:
            return self._look_up(asked)
        self.generic_visit(node)
        name = ""
        if isinstance(node.func, ast.Attribute):
            name = node.func.attr
            in_place = is_in_place(node)
            if name in MUTATORS or in_place:
                self._change(node.func.value)
            if name in ADDING & MUTATORS or (in_place and name not in SETTLING):
                self._evolve(node.func.value)
            if name in ("eval", "query") and text is not None:
                self.perhaps |= names_in_query(text) - self.bound
        elif isinstance(node.func, ast.Name):
            name = node.func.id
            self._called(name, node.args)
            if name in ("eval", "exec") or is_namespace(node):
                self._runs_text(name, text if len(node.args) == 1 else None)
        for given in (keyword.value for keyword in node.keywords if keyword.arg == "out"):
            self._change(given)
        if name in SPOILING and node.args:
            self._change(node.args[0])
            self._evolve(node.args[0])
        return None

    def _called(self, name: str, arguments: Sequence[ast.expr]) -> None:
        given = {number: part for number, part in enumerate(arguments) if isinstance(part, ast.Name) and not self._is_local(part.id)}
        if name in self.spoils:
            for number in self.spoils[name] & given.keys():
                self._change(given[number])
        elif given and not self._is_local(name) and name not in self.bound:
            self.calls.append((name, {number: part.id for number, part in given.items() if part.id not in self.bound}))

    def _runs_text(self, name: str, text: str | None) -> None:
        try:
            body = ast.parse((text or "").strip(), mode="exec").body
        except (SyntaxError, ValueError):
            body = []
        if body and not self._local:
            self.block(body)
        else:
            self._uses_any()
