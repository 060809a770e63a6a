"""The walk through the source of a cell, in the order in which it runs, that finds the names it uses."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence

from mlops_nb.core.magic_lines import OPAQUE, Magic, magic_of, names_in_words
from mlops_nb.core.methods import ADDING, LOOKING, MUTATORS, SETTING, SILENT_MUTATORS, SPOILING, TABLES_GIVE
from mlops_nb.core.repetition import SETTLING, contains, settles
from mlops_nb.core.scopes import annotated, captured, defaults, free


def shown(body: Sequence[ast.stmt]) -> ast.stmt | None:
    """Return the expression whose value IPython shows; a method called there need not change anything."""
    return body[-1] if body and isinstance(body[-1], ast.Expr) else None


class CellWalk(ast.NodeVisitor):
    """Walks a cell in the order in which it runs; `bound` are the names that surely have a value by now."""

    def __init__(self, plain: Callable[[str], str]) -> None:
        self.reads: set[str] = set()
        self.binds: set[str] = set()
        self.times: dict[str, int] = {}
        self.changes: set[str] = set()
        self.touches: set[str] = set()
        self.settings: set[str] = set()
        self.evolves: set[str] = set()
        self.modules: set[str] = set()
        self.deferred: dict[str, set[str]] = {}
        self.promised: set[str] = set()
        self.spoils: dict[str, set[int]] = {}
        self.calls: list[tuple[str, dict[int, str]]] = []
        self.before: dict[str, frozenset[str]] = {}
        self.words: set[str] = set()
        self.state: set[str] = set()
        self.is_opaque = False
        self.bound: set[str] = set()
        self._plain = plain
        self._local: list[set[str]] = []
        self._last: ast.stmt | None = None

    def visit(self, node: ast.AST) -> None:
        """Visit a node: what `ast.NodeVisitor` does, without looking its method up by name each time."""
        kind = type(node)
        method = _METHODS.get(kind)
        if method is None:
            method = _METHODS[kind] = getattr(CellWalk, f"visit_{kind.__name__}", CellWalk.generic_visit)
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
            self.reads.add(name)
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
        self.modules.discard(name)
        self.deferred.pop(name, None)
        self.spoils.pop(name, None)

    def _is_local(self, name: str) -> bool:
        return any(name in scope for scope in self._local)

    def _change(self, target: ast.expr, kind: set[str] | None = None, *, setting: bool = False) -> None:
        """Note that something in what a name stands for is set; the name itself stays."""
        root = _root(target)
        if root is None or self._is_local(root.id):
            return
        self._read(root.id)
        if root.id not in self.bound:
            (self.changes if kind is None else kind).add(root.id)
            if setting:
                self.settings.add(root.id)

    def _evolve(self, target: ast.expr) -> None:
        root = _root(target)
        if root is not None and root.id not in self.bound and not self._is_local(root.id):
            self.evolves.add(root.id)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self._read(node.id)
        else:
            self._bind(node.id)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.visit(node.value)
        if not isinstance(node.ctx, ast.Load):
            self._change(node, setting=True)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        self.visit(node.value)
        self.visit(node.slice)
        if not isinstance(node.ctx, ast.Load):
            self._change(node, setting=True)

    # -- statements, in the order in which they run

    def block(self, body: Sequence[ast.stmt], *, last: ast.stmt | None = None) -> None:
        for statement in body:
            self._last = last
            self.visit(statement)

    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        for target in node.targets:
            for part in target.elts if isinstance(target, (ast.Tuple, ast.List)) else [target]:
                root = _root(part)
                is_read = root is not None and root.id in self.reads
                if is_read and contains(node.value, part) and not settles(node.value, part):
                    self._evolve(part)
        for target in node.targets:
            self.visit(target)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if not isinstance(node.op, (ast.BitAnd, ast.BitOr)):
            self._evolve(node.target)
        self.visit(node.value)
        if isinstance(node.target, ast.Name):
            self._read(node.target.id)
            self._bind(node.target.id)
        else:
            self.visit(node.target)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.visit(node.annotation)
        if node.value is not None:
            self.visit(node.value)
            self.visit(node.target)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.visit(node.value)
        scopes, self._local = self._local, []  # `:=` in a comprehension binds outside of it
        self._bind(node.target.id)
        self._local = scopes

    def visit_Delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            if isinstance(target, ast.Name):
                self._read(target.id)
                self._bind(target.id)
                self.bound.discard(target.id)
            else:
                self.visit(target)

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
        if method in ADDING:
            self._evolve(function.value)

    def _magic(self, magic: Magic) -> None:
        self.words |= {name for name in names_in_words(magic) if name not in self.bound}
        self.is_opaque |= magic.name in OPAQUE
        if magic.state is not None:
            self.state.add(magic.state)
        python = magic.python
        if magic.captures is not None:
            self._bind(magic.captures)
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
        self.generic_visit(node)
        name = ""
        if isinstance(node.func, ast.Attribute):
            name = node.func.attr
            in_place = _is_in_place(node)
            if name in MUTATORS or in_place:
                self._change(node.func.value)
            if name in ADDING & MUTATORS or (in_place and name not in SETTLING):
                self._evolve(node.func.value)
        elif isinstance(node.func, ast.Name):
            name = node.func.id
            self._called(name, node.args)
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
        if name in ("exec", "eval") or name == "globals":
            self.is_opaque = True

    def visit_If(self, node: ast.If) -> None:
        self.visit(node.test)
        self._either(node.body, node.orelse)

    def visit_While(self, node: ast.While) -> None:
        self.visit(node.test)
        self._either(node.body, ())
        self.block(node.orelse)

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self.visit(node.iter)
        before = set(self.bound)
        self.visit(node.target)
        self.block(node.body)
        self.bound = before
        self.block(node.orelse)

    visit_AsyncFor = visit_For

    def visit_Try(self, node: ast.Try | ast.TryStar) -> None:
        before = set(self.bound)
        reads = set(self.reads)
        self.block(node.body)
        if any(isinstance(part, ast.Name) and part.id == "NameError" for handler in node.handlers for part in _caught(handler)):
            self.words |= self.reads - reads  # it asks whether there is such a name
            self.reads = reads
        after = [set(self.bound)]
        for handler in node.handlers:
            self.bound = set(before)
            if handler.type is not None:
                self.visit(handler.type)
            caught = {handler.name} if handler.name else set()
            self.bound |= caught
            self.block(handler.body)
            self.bound -= caught  # Python removes it again
            after.append(set(self.bound))
        self.bound = after[0]
        self.block(node.orelse)
        self.bound = set.intersection(self.bound, *after[1:])
        self.block(node.finalbody)

    visit_TryStar = visit_Try

    def visit_Match(self, node: ast.Match) -> None:
        self.visit(node.subject)
        before = set(self.bound)
        for case in node.cases:
            self.bound = set(before)
            for name in captured(case.pattern):
                self._bind(name)
            self.visit(case.pattern)
            if case.guard is not None:
                self.visit(case.guard)
            self.block(case.body)
        self.bound = before

    def _either(self, *branches: Sequence[ast.stmt]) -> None:
        before, ends = set(self.bound), []
        for branch in branches:
            self.bound = set(before)
            self.block(branch)
            ends.append(self.bound)
        self.bound = set.intersection(*ends)

    # -- imports and definitions

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            name = alias.asname or alias.name.partition(".")[0]
            if name == "*":
                self.is_opaque = True
            else:
                self._bind(name)
                if not self._local:
                    self.modules.add(name)

    visit_ImportFrom = visit_Import

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for part in (*node.decorator_list, *defaults(node.args), *annotated(node)):
            self.visit(part)
        used, assigned = free(node)
        self._bind(node.name)
        self.promised |= assigned
        if not self._local:
            self.deferred[node.name] = used
            self.spoils[node.name] = _spoiled(node)
            if node.decorator_list:  # a decorator may call it at once
                for name in sorted(used - self.bound):
                    self._read(name)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> None:
        for part in defaults(node.args):
            self.visit(part)
        for name in sorted(free(node)[0]):  # it is passed on and called by somebody
            self._read(name)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for part in (*node.decorator_list, *node.bases, *(keyword.value for keyword in node.keywords)):
            self.visit(part)
        used: set[str] = set()
        self._local.append(set())
        for statement in node.body:
            if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
                names, assigned = free(statement)
                used |= names
                self.promised |= assigned
            self.visit(statement)
        self._local.pop()
        self._bind(node.name)
        if not self._local:
            self.deferred[node.name] = used - {node.name}

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp) -> None:
        self.visit(node.generators[0].iter)
        self._local.append(set())
        for at, part in enumerate(node.generators):
            if at:
                self.visit(part.iter)
            self.visit(part.target)
            for condition in part.ifs:
                self.visit(condition)
        for element in (node.key, node.value) if isinstance(node, ast.DictComp) else (node.elt,):
            self.visit(element)
        self._local.pop()

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension


_METHODS: dict[type[ast.AST], Callable[[CellWalk, ast.AST], None]] = {}


def _caught(handler: ast.ExceptHandler) -> Sequence[ast.expr]:
    return handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type] if handler.type is not None else []


def _root(target: ast.expr) -> ast.Name | None:
    """Return the name that an expression such as `a.b[c].d` begins with."""
    while isinstance(target, (ast.Attribute, ast.Subscript, ast.Starred)):
        target = target.value
    return target if isinstance(target, ast.Name) else None


def _is_in_place(call: ast.Call) -> bool:
    return any(k.arg == "inplace" and isinstance(k.value, ast.Constant) and k.value.value is True for k in call.keywords)


def _spoiled(function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[int]:
    """Return the numbers of the parameters that a function changes in place."""
    walk = CellWalk(lambda text: text)
    walk.block(function.body)
    arguments = [*function.args.posonlyargs, *function.args.args]
    return {number for number, argument in enumerate(arguments) if argument.arg in walk.changes}
