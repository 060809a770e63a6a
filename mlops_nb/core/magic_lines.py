"""What IPython's magics do to the names of a cell, as far as it can be told."""

from __future__ import annotations

import ast
import re
from typing import NamedTuple

from mlops_nb.core.code_in_text import names_in_command, results_of_script

PYTHON_CELLS = frozenset({"capture", "lprun", "memit", "mprun", "prun", "time", "timeit", "track"})
"""Cell magics whose body is Python of the notebook."""
PYTHON_LINES = frozenset({"lprun", "memit", "mprun", "prun", "time", "timeit"})
"""Line magics whose line is Python of the notebook, behind options."""
STATEFUL = frozenset({"cd", "env", "load_ext", "popd", "pushd", "reload_ext", "set_env", "store"})
"""Line magics that change what later cells work with."""
OPAQUE = frozenset({"load", "loadpy", "pylab", "run", "sql", "store"})
"""Magics that may bind names which their words do not show."""

_OWN = frozenset({"mlops", "track"})
_CALLS = frozenset({"run_cell_magic", "run_line_magic"})
_WORD = re.compile(r"""(?P<text>"[^"]*"|'[^']*')|(?<![\w.%-])(?P<name>[A-Za-z_]\w*)(?![\w]*=(?!=))""")
_OPTIONS = re.compile(r"\s*(-{1,2}\w+(\s+\d+)?\s+)*")


class Magic(NamedTuple):
    """A magic as IPython's transformer writes it; `body` is None for a line magic."""

    name: str
    line: str
    body: str | None

    @property
    def python(self) -> str | None:
        """The Python of the notebook that it runs."""
        if self.body is not None:
            return self.body if self.name in PYTHON_CELLS else None
        return _OPTIONS.sub("", self.line, count=1) if self.name in PYTHON_LINES else None

    @property
    def captures(self) -> set[str]:
        """The names that get what the cell shows."""
        if self.body is None:
            return set()
        name = self.line.strip().partition(" ")[0]
        return {name} if self.name == "capture" and name.isidentifier() else results_of_script(self.line)

    @property
    def uses_any(self) -> bool:
        """Whether it runs other code with the variables of the notebook."""
        return self.name == "run" and " -i " in f" {self.line} "

    @property
    def state(self) -> str | None:
        """What it sets for every later cell."""
        return f"%{self.name} {self.line}".strip() if self.name in STATEFUL and self.line.strip() != "mlops_nb" else None


def magic_of(call: ast.Call) -> Magic | None:
    """Return the magic that a call of `get_ipython()` runs, or None."""
    function = call.func
    if not (isinstance(function, ast.Attribute) and function.attr in _CALLS and isinstance(function.value, ast.Call)):
        return None
    source = function.value.func
    words = [part.value for part in call.args if isinstance(part, ast.Constant) and isinstance(part.value, str)]
    if not (isinstance(source, ast.Name) and source.id == "get_ipython") or len(words) != len(call.args) or len(words) < 2:
        return None
    return Magic(words[0], words[1], words[2] if len(words) > 2 else None)


def names_in_words(magic: Magic) -> set[str]:
    """Return what may be names of the notebook in the words of a magic: `%track log auc=score(y, p)`, `%run {script}`."""
    if magic.name not in _OWN:
        return names_in_command(magic.line)
    words = magic.line.strip().partition(" ")[2]  # the first is the verb
    return {match["name"] for match in _WORD.finditer(words) if match["name"]}
