"""Packing a class or a function that a notebook defines: its source, and the definitions, imports and values that it needs.

From the class or function its names are followed to what defined them, in whatever cells: other classes and functions
are taken with their source, modules as imports, plain values as they are written, and the rest as a pickle. So what is
packed is code that one can read, that does not depend on the version of Python, and that does not train again.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import importlib.util
import inspect
import linecache
import re
import shutil
import site
import symtable
import sys
import sysconfig
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlops_nb.errors import InvalidInput

MAX_LITERAL = 20_000
"""Characters that a value may have to be written into the source."""


@dataclass(kw_only=True)
class Package:
    """What a class or function needs.

    Attributes:
        name: Of the class or function.
        source: Python that defines it.
        values: By name, what is no source: it has to be pickled.
        modules: Files and folders of the user's own that it imports.
        distributions: Top-level names of the installed packages that it imports.
        defined: The names of the classes and functions that are packed.
    """

    name: str
    source: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    modules: list[Path] = field(default_factory=list)
    distributions: set[str] = field(default_factory=set)
    defined: list[str] = field(default_factory=list)


def pack(kind: Any) -> Package:
    """Return what a class or function needs to be defined elsewhere.

    Args:
        kind: A class or function, of a notebook, a script or a module.

    Raises:
        InvalidInput: If its source is not known, or it is nested in a function.
    """
    package = Package(name=kind.__name__)
    if not _is_main(kind):
        lines: dict[str, str] = {}
        _import(kind.__name__, kind, package, lines)
        package.source = "\n".join(lines.values()) + "\n"
        return package
    packer = _Packer(package)
    packer.define(kind)
    package.source = packer.text()
    return package


class _Packer:
    def __init__(self, package: Package) -> None:
        self.package = package
        self.imports: dict[str, str] = {}
        self.literals: dict[str, str] = {}
        self.bodies: dict[str, str] = {}
        self._doing: set[str] = set()

    def text(self) -> str:
        futures = sorted({line for line in self.imports.values() if line.startswith("from __future__")})
        others = sorted(set(self.imports.values()) - set(futures))
        parts = ["\n".join([*futures, *others]), "\n".join(self.literals.values()), *self.bodies.values()]
        return "\n\n\n".join(part for part in parts if part) + "\n"

    def define(self, kind: Any) -> None:
        name = kind.__name__
        if name in self.bodies or name in self._doing:
            return
        self._doing.add(name)
        namespace, source = _source_of(kind)
        for used in _globals_of(source):
            self._name(used, namespace)
            if isinstance(namespace.get(used), types.ModuleType):
                self.imports.update({inner: f"import {inner}" for inner in _parts_of(used, namespace[used], source)})
        for imported in _imported_in(source):
            _note(imported, self.package)
        self.bodies[name] = source
        self.package.defined.append(name)

    def _name(self, name: str, namespace: dict[str, Any]) -> None:
        if name not in namespace:
            if not hasattr(builtins, name) and name not in ("__class__", "__name__", "__file__"):
                raise InvalidInput(f"The model uses '{name}', which is not defined.", hint="Run the cell that defines it, then log again.")
            return
        value = namespace[name]
        if isinstance(value, types.ModuleType) or not _is_main(value):
            if isinstance(value, types.ModuleType) or _is_importable(value):
                _import(name, value, self.package, self.imports)
                return
        elif isinstance(value, (type, types.FunctionType)) and value.__name__ == name:
            self.define(value)
            return
        written = _literal(value)
        if written is not None:
            self.literals[name] = f"{name} = {written}"
        else:
            self.package.values[name] = value


def _is_main(value: Any) -> bool:
    """Return whether something is defined by the notebook or script itself."""
    module = getattr(value, "__module__", None)
    return module == "__main__" or (isinstance(module, str) and module not in sys.modules)


def _is_importable(value: Any) -> bool:
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    if not isinstance(module, str) or not isinstance(name, str):
        return False
    return getattr(sys.modules.get(module), name, None) is value


def _import(name: str, value: Any, package: Package, lines: dict[str, str]) -> None:
    if isinstance(value, types.ModuleType):
        module = value.__name__
        lines[name] = f"import {module}" if name == module else f"import {module} as {name}"
    else:
        module = str(value.__module__)
        own = value.__name__
        lines[name] = f"from {module} import {own}" if own == name else f"from {module} import {own} as {name}"
    _note(module.partition(".")[0], package)


def _note(top: str, package: Package) -> None:
    """Keep in mind where a module comes from: installed, the user's own file, or Python itself."""
    if top in sys.stdlib_module_names:
        return
    found: Any = sys.modules.get(top)
    file = getattr(found, "__file__", None)
    if found is None:  # imported when it is needed, which was not yet
        with contextlib.suppress(ImportError, ValueError):
            file = getattr(importlib.util.find_spec(top), "origin", None)
        if file is None:
            return
    paths = [Path(file).parent] if file and Path(file).name == "__init__.py" else [Path(file)] if file else []
    if not paths:
        paths = [Path(str(one)) for one in getattr(found, "__path__", [])][:1]
    if any(_is_installed(path) for path in paths) or not paths:
        package.distributions.add(top)
    elif paths[0] not in package.modules:
        package.modules.append(paths[0])


def _is_installed(path: Path) -> bool:
    places = {*site.getsitepackages(), site.getusersitepackages(), *(sysconfig.get_path(key) for key in ("purelib", "platlib", "stdlib"))}
    whole = path.resolve()
    return "site-packages" in whole.parts or "dist-packages" in whole.parts or any(whole.is_relative_to(place) for place in places)


def _source_of(kind: Any) -> tuple[dict[str, Any], str]:
    """Return the namespace and the source of a class or function of a notebook's cell or a script."""
    code = next(_codes(kind), None)
    if code is None:
        raise InvalidInput(f"The source of '{kind.__name__}' is not known.", hint="A class needs at least one method of its own.")
    lines = linecache.getlines(code.co_filename)
    try:
        tree = ast.parse("".join(lines))
    except (SyntaxError, ValueError):
        tree = ast.Module(body=[], type_ignores=[])
    wanted = (ast.ClassDef,) if isinstance(kind, type) else (ast.FunctionDef, ast.AsyncFunctionDef)
    found = [node for node in tree.body if isinstance(node, wanted) and node.name == kind.__name__]
    if "." in kind.__qualname__ or not found:
        lambdas = " A lambda has no name to pack it under: use def." if kind.__name__ == "<lambda>" else ""
        raise InvalidInput(
            f"The source of '{kind.__qualname__}' cannot be packed.{lambdas}", hint="Define it at the top level of a cell or a file."
        )
    # Of several definitions in one cell the last one counts.
    node = found[-1]
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    namespace = sys.modules["__main__"].__dict__ if isinstance(kind, type) else kind.__globals__
    if isinstance(kind, type):
        namespace = next((one.__globals__ for one in _functions(kind)), namespace)
    return namespace, "".join(lines[first - 1 : node.end_lineno]).rstrip()


def _functions(kind: Any) -> Iterator[types.FunctionType]:
    for value in vars(kind).values() if isinstance(kind, type) else [kind]:
        inner = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        inner = inspect.unwrap(inner) if callable(inner) else inner
        if isinstance(inner, types.FunctionType) and (not isinstance(kind, type) or inner.__qualname__.startswith(kind.__name__ + ".")):
            yield inner


def _codes(kind: Any) -> Iterator[types.CodeType]:
    for function in _functions(kind):
        if linecache.getlines(function.__code__.co_filename):
            yield function.__code__


def _globals_of(source: str) -> list[str]:
    """Return the names that a definition takes from around it, in the order of the alphabet."""
    found: set[str] = set()
    todo = [symtable.symtable(source, "<cell>", "exec")]
    while todo:
        table = todo.pop()
        is_top = table.get_type() == "module"
        for symbol in table.get_symbols():
            if symbol.is_global() or (is_top and symbol.is_referenced() and not symbol.is_assigned()):
                found.add(symbol.get_name())
        todo += table.get_children()
    own = {node.name for node in ast.parse(source).body if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))}
    return sorted(found - own)


def _imported_in(source: str) -> set[str]:
    """Return the top-level modules that a definition imports itself, when it is used."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def _parts_of(name: str, module: types.ModuleType, source: str) -> Iterator[str]:
    """Yield the modules below a package that a source reaches through it: `import a.b` binds `a` alone."""
    for found in re.findall(rf"\b{re.escape(name)}((?:\.\w+)+)", source):
        parts = found.strip(".").split(".")
        whole = [".".join([module.__name__, *parts[: i + 1]]) for i in range(len(parts))]
        yield from (one for one in whole if one in sys.modules and name == module.__name__)


def _literal(value: Any) -> str | None:
    """Return a value as it is written in Python; None if it is no plain one, or a long one."""
    if not isinstance(value, (type(None), bool, int, float, complex, str, bytes, tuple, list, dict, set)):
        return None
    try:
        written = repr(value)
        if len(written) > MAX_LITERAL or ast.literal_eval(written) != value:
            return None
    except (ValueError, SyntaxError, RecursionError, TypeError, MemoryError):
        return None
    return written


def copy_code(paths: list[Path], folder: Path) -> None:
    """Copy the user's own modules into a folder that is put on Python's path.

    Raises:
        InvalidInput: If one is not there.
    """
    folder.mkdir(exist_ok=True)
    for path in paths:
        if path.is_dir():
            left_out = shutil.ignore_patterns("__pycache__", "*.pyc", ".git", ".mlops", ".ipynb_checkpoints")
            shutil.copytree(path, folder / path.name, ignore=left_out, dirs_exist_ok=True)
        elif path.is_file():
            shutil.copy2(path, folder / path.name)
        else:
            raise InvalidInput(f"There is no code at '{path}'.", hint="code_paths names files and folders of Python modules.")
