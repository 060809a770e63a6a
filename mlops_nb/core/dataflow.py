"""Which global names a cell reads and writes, told from its source alone.

The answer is about the notebook's own variables: a name is read where its value from before the cell is needed, and
written where the cell binds it, removes it or changes what it stands for. Python decides such things while it runs; what
cannot be seen in the source (`exec`, `globals()[...]`, changes behind a function call) is missing here, and the ledger
adds what it saw in the namespace.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence

import msgspec

from mlops_nb.core.cell_walk import CellWalk
from mlops_nb.core.name_walk import shown


class Names(msgspec.Struct, frozen=True, kw_only=True):
    """The global names of one cell.

    Attributes:
        reads: Whose value from before the cell it uses.
        binds: To which it gives a value, or which it removes.
        changes: What it changes in place: `df["x"] = 1`, `model.fit(X)`.
        touches: What it may change: a method is called on it whose value nobody takes.
        looks: On which a method is called that shows something, which changes it only if it is a plot.
        settings: Those of `changes` and `touches` that count for modules too: `np.random.seed(0)`, `pd.options.x = 1`.
        evolves: Of which running the cell again makes something else: `n += 1`, `df = df.iloc[1:]`, `rows.append(r)`.
        modules: Those of `binds` that are imported modules or names from modules.
        deferred: Of the functions and classes that it defines: the globals that their code uses when it is called.
        promised: What functions of it bind by `global` when they are called.
        spoils: Of the functions that it defines: the numbers of the parameters that they change in place.
        calls: Functions that it calls by name, each with the global names that it gives them, by position.
        before: For each name that it reads: what the cell has surely bound by then.
        words: What it may read, if there is such a name: in the words of a magic, in text that is code, what it need not have bound.
        state: What it sets beside the names, such as `%cd`, that every later cell works with.
        is_opaque: Whether it may bind names that cannot be seen: `from x import *`, `%run`.
        definite: Those of `binds` that get the same value whenever it runs: imports, definitions, constants.
        unsure: Those of `binds` that it need not come to: in a branch, in a loop.
        deep: Those of `changes` of which something is changed that they hold: `config["model"]["lr"] = 1`.
        reads_anything: Whether it may use any variable there is: `eval(text)`, `globals()`.
    """

    reads: frozenset[str]
    binds: frozenset[str]
    changes: frozenset[str] = frozenset()
    touches: frozenset[str] = frozenset()
    looks: frozenset[str] = frozenset()
    settings: frozenset[str] = frozenset()
    evolves: frozenset[str] = frozenset()
    modules: frozenset[str] = frozenset()
    deferred: dict[str, frozenset[str]] = {}
    promised: frozenset[str] = frozenset()
    spoils: dict[str, frozenset[int]] = {}
    calls: list[tuple[str, dict[int, str]]] = []
    before: dict[str, frozenset[str]] = {}
    words: frozenset[str] = frozenset()
    state: frozenset[str] = frozenset()
    is_opaque: bool = False
    definite: frozenset[str] = frozenset()
    unsure: frozenset[str] = frozenset()
    deep: frozenset[str] = frozenset()
    reads_anything: bool = False

    @property
    def writes(self) -> frozenset[str]:
        """What is another after the cell, or may be."""
        return self.binds | self.changes


NOTHING = Names(reads=frozenset(), binds=frozenset())


def code_of(source: str) -> str:
    """Return what is the same for sources that differ only in comments and layout.

    Raises:
        SyntaxError: If it is not plain Python.
    """
    return ast.dump(ast.parse(source))


def names_of(source: str, plain: Callable[[str], str] | None = None) -> Names:
    """Return the names of a cell.

    Args:
        source: Plain Python; IPython's own syntax must have been transformed.
        plain: Does so with Python that a magic holds; by default it is taken as it is.

    Raises:
        SyntaxError: If it is not.
    """
    walk = CellWalk(plain or (lambda text: text))
    tree = ast.parse(source)
    walk.block(tree.body, last=shown(tree.body))
    return Names(
        reads=frozenset(walk.reads),
        binds=frozenset(walk.binds),
        changes=frozenset(walk.changes),
        touches=frozenset(walk.touches),
        looks=frozenset(walk.looks),
        settings=frozenset(walk.settings),
        evolves=frozenset(walk.evolves),
        modules=frozenset(walk.modules),
        deferred={name: frozenset(used) for name, used in walk.deferred.items()},
        promised=frozenset(walk.promised),
        spoils={name: frozenset(numbers) for name, numbers in walk.spoils.items() if numbers},
        calls=walk.calls,
        before=walk.before,
        words=frozenset((walk.words - walk.binds) | walk.perhaps),
        state=frozenset(walk.state),
        is_opaque=walk.is_opaque,
        definite=_definite(tree.body, walk.times) - walk.changes,
        unsure=frozenset(walk.binds - walk.bound),
        deep=frozenset(walk.deep),
        reads_anything=walk.reads_anything,
    )


def _definite(body: Sequence[ast.stmt], times: Mapping[str, int]) -> frozenset[str]:
    """Return the names that get the same value whenever the cell runs: imports, definitions, constants."""
    sure: list[str] = []
    for statement in body:
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            sure += [alias.asname or alias.name.partition(".")[0] for alias in statement.names]
        elif isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            sure.append(statement.name)
        elif isinstance(statement, ast.Assign) and all(isinstance(node, _CONSTANT) for node in ast.walk(statement.value)):
            sure += [target.id for target in statement.targets if isinstance(target, ast.Name)]
    return frozenset(name for name in sure if sure.count(name) == times.get(name))


_CONSTANT = (ast.Constant, ast.List, ast.Tuple, ast.Dict, ast.Set, ast.UnaryOp, ast.USub, ast.expr_context)
