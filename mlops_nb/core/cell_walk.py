"""The walk through the source of a cell, in the order in which it runs, that finds the names it uses."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from mlops_nb.core.code_in_text import SUPPRESSING
from mlops_nb.core.name_walk import NameWalk
from mlops_nb.core.repetition import contains, settles
from mlops_nb.core.scopes import annotated, captured, caught, defaults, free, root_of


class CellWalk(NameWalk):
    """Walks a cell, statement by statement."""

    def visit_Assign(self, node: ast.Assign) -> None:
        kept = list(_kept_lambdas(node.value)) if isinstance(node.targets[0], ast.Name) and not self._local else []
        self._kept |= set(map(id, kept))
        self.visit(node.value)
        for target in node.targets:
            for part in target.elts if isinstance(target, (ast.Tuple, ast.List)) else [target]:
                root = root_of(part)
                is_read = root is not None and root.id in self.reads
                if is_read and contains(node.value, part) and not settles(node.value, part):
                    self._evolve(part)
        for target in node.targets:
            self.visit(target)
            if kept and isinstance(target, ast.Name):
                self.deferred[target.id] = set().union(*(free(one)[0] for one in kept))

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
                self.removed.add(target.id)
            else:
                self.visit(target)

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

    def visit_With(self, node: ast.With | ast.AsyncWith) -> None:
        calls = [item.context_expr.func for item in node.items if isinstance(item.context_expr, ast.Call)]
        names = {func.attr if isinstance(func, ast.Attribute) else func.id for func in calls if isinstance(func, (ast.Attribute, ast.Name))}
        for item in node.items:
            self.visit(item)
        before = set(self.bound)
        self.block(node.body)
        if not names.isdisjoint(SUPPRESSING):
            self.bound = before

    visit_AsyncWith = visit_With

    def visit_Try(self, node: ast.Try | ast.TryStar) -> None:
        before = set(self.bound)
        reads = set(self.reads)
        self.block(node.body)
        if any(isinstance(part, ast.Name) and part.id == "NameError" for handler in node.handlers for part in caught(handler)):
            self.words |= self.reads - reads  # it asks whether there is such a name
            self.reads = reads
        after = [set(self.bound)]
        for handler in node.handlers:
            self.bound = set(before)
            if handler.type is not None:
                self.visit(handler.type)
            its_name = {handler.name} if handler.name else set()
            self.bound |= its_name
            self.block(handler.body)
            self.bound -= its_name  # Python removes it again
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
        if id(node) not in self._kept:
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


def _spoiled(function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[int]:
    """Return the numbers of the parameters that a function changes in place."""
    walk = CellWalk(lambda text: text)
    walk.block(function.body)
    arguments = [*function.args.posonlyargs, *function.args.args]
    return {number for number, argument in enumerate(arguments) if argument.arg in walk.changes}


def _kept_lambdas(value: ast.expr) -> Iterator[ast.Lambda]:
    """Yield the functions that are only kept in a value, to be called later."""
    if isinstance(value, ast.Lambda):
        yield value
    elif isinstance(value, (ast.List, ast.Tuple, ast.Set)):
        for element in value.elts:
            yield from _kept_lambdas(element)
    elif isinstance(value, ast.Dict):
        for element in value.values:
            yield from _kept_lambdas(element)
