"""What travels with a job and what does not, found before anything costs money."""

from __future__ import annotations

import ast
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import nbformat

from mlops_nb.core.formatting import format_bytes, one_line
from mlops_nb.core.records import Record
from mlops_nb.core.redaction import Redactor, is_secret_name
from mlops_nb.errors import InvalidInput, NotFound
from mlops_nb.execution.checkpoints import is_code
from mlops_nb.runners.jobs.lock import Imports, Lock, imports_of, lock_of, plain
from mlops_nb.runners.jobs.shipping import Shipment, shipment_of

Level = Literal["ok", "note", "warning"]
_LOCALHOST = re.compile(r"(?:[a-z]+://|\b)(?:localhost|127\.0\.0\.1|host\.docker\.internal):\d+", re.IGNORECASE)
_MOST_NAMED = 5
_SIGNS = {"ok": "✓", "note": "·", "warning": "!"}


class Finding(Record, frozen=True, kw_only=True):
    """A line of the preflight. `what` is its subject: notebook, code, data, environment, secrets, network, input."""

    level: Level
    what: str
    text: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{_SIGNS[self.level]} {self.what}: {self.text}" + (f" {self.hint}" if self.hint else "")


class Preflight(Record, frozen=True, kw_only=True):
    """All that was found, and what follows from it for the bundle."""

    notebook: str
    shipment: Shipment
    lock: Lock
    imports: Imports
    findings: Sequence[Finding]
    cells: int

    @property
    def warnings(self) -> list[Finding]:
        """What will probably be missing there."""
        return [finding for finding in self.findings if finding.level == "warning"]

    def __str__(self) -> str:
        return "\n".join(map(str, self.findings))


def read_notebook(path: Path) -> Any:
    """Return a notebook with an id in each cell and without outputs, which are of no use elsewhere and may hold what is private.

    Raises:
        NotFound, InvalidInput: If there is no such file, or it is no notebook that can be executed.
    """
    if not path.is_file():
        raise NotFound(f"There is no notebook '{path}'.", hint="Save it first, or give its path.")
    try:
        document = nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)  # type: ignore[no-untyped-call]
    except Exception as error:  # noqa: BLE001  # nbformat raises what its parsers raise
        raise InvalidInput(f"'{path}' is no notebook: {one_line(str(error))[:200]}.", hint="Is it an .ipynb file?") from None
    return cleaned(document, str(path))


def cleaned(document: Any, name: str) -> Any:
    """Return a notebook as it travels; see `read_notebook`."""
    language = document.metadata.get("kernelspec", {}).get("language") or document.metadata.get("language_info", {}).get("name") or "python"
    if str(language).lower() != "python":
        raise InvalidInput(f"'{name}' is written in {language}; jobs execute Python.", hint="Run it by a CI agent: mlops-nb runner launch")
    if not any(is_code(cell) for cell in document.cells):
        raise InvalidInput(f"'{name}' has no cell with code.", hint="Is it saved?")
    document.nbformat, document.nbformat_minor = 4, max(5, document.get("nbformat_minor", 5))
    seen: set[str] = set()
    for number, cell in enumerate(document.cells):
        if not cell.get("id") or cell.id in seen:
            cell.id = f"cell-{number}"
        seen.add(cell.id)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    document.metadata.pop("widgets", None)
    return document


def check_parameters(parameters: Mapping[str, Any], document: Any | None = None) -> list[Finding]:
    """Find what is wrong with parameters.

    Raises:
        InvalidInput: If one cannot be sent: it is no JSON, no name, or looks like a secret.
    """
    import msgspec

    for key, value in parameters.items():
        if not key.isidentifier():
            raise InvalidInput(f"'{key[:60]}' is no name of a parameter.", hint="Write -p NAME=VALUE.")
        if is_secret_name(key) and isinstance(value, str):
            raise InvalidInput(
                f"The parameter '{key}' is a secret by its name, and parameters are kept with the run.",
                hint="Let the machine read it: from a permission set of its cloud, or a secret manager.",
            )
        try:
            if msgspec.json.decode(msgspec.json.encode(value)) != value:
                raise TypeError
        except (TypeError, ValueError, OverflowError, RecursionError):
            raise InvalidInput(
                f"The parameter '{key}' is a {type(value).__name__} that cannot be sent as JSON.",
                hint="Use numbers, texts, lists and dictionaries; NaN and infinities are none of JSON's.",
            ) from None
    if document is None or not parameters:
        return []
    tagged = [cell for cell in document.cells if "parameters" in cell.metadata.get("tags", [])]
    if not tagged:
        text = f"no cell is tagged `parameters`: {', '.join(parameters)} would be set in a new first cell."
        return [Finding(level="warning", what="parameters", text=text, hint="Tag the cell that gives their defaults.")]
    given = {target.id for cell in tagged for target in _targets(plain(cell.source))}
    unknown = sorted(set(parameters) - given)
    if unknown:
        return [Finding(level="warning", what="parameters", text=f"the parameters cell does not have {', '.join(unknown)}.")]
    return []


def _targets(code: str) -> list[ast.Name]:
    try:
        body = ast.parse(code).body
    except SyntaxError:
        return []
    targets = [target for line in body if isinstance(line, ast.Assign) for target in line.targets]
    targets += [line.target for line in body if isinstance(line, ast.AnnAssign)]
    return [target for target in targets if isinstance(target, ast.Name)]


def preflight(
    path: Path,
    document: Any,
    *,
    parameters: Mapping[str, Any] = {},
    include: Sequence[str | Path] = (),
    modules: Sequence[str] = (),
) -> Preflight:
    """Find what travels with a notebook and what does not.

    Args:
        path: Where it is, or where a cell of it belongs to.
        document: As `read_notebook` gives it.
        parameters: That will be set.
        include: See `shipment_of`.
        modules: More that are needed besides those that the code imports.
    """
    path = path.resolve()
    shipment = shipment_of(path, include)
    codes = [plain(cell.source) for cell in document.cells if is_code(cell)]
    imports = imports_of([*codes, *(f"import {name}" for name in modules)], Path(shipment.root), path.parent, shipment.files)
    lock = lock_of(imports.installed)
    findings = [
        *_about_code(shipment),
        *check_parameters(parameters, document),
        *_about_environment(imports, lock),
        *_about_files(codes, shipment, path.parent),
        *_about_surroundings(codes),
        *_about_secrets(document),
    ]
    return Preflight(
        notebook=path.relative_to(shipment.root).as_posix() if path.is_relative_to(shipment.root) else path.name,
        shipment=shipment,
        lock=lock,
        imports=imports,
        findings=findings,
        cells=len(codes),
    )


def _about_code(shipment: Shipment) -> list[Finding]:
    text = f"{len(shipment.files):,} files, {format_bytes(shipment.size)}"
    if shipment.commit:
        changed = f", {len(shipment.changed)} changed since" if shipment.changed else ""
        text += f", of commit {shipment.commit[:8]}{changed}: all of it as it is now"
    found = [Finding(level="ok", what="code", text=text + ".")]
    if shipment.left:
        staying = [f"{name} ({why})" for name, why in shipment.left.items()]
        found.append(Finding(level="note", what="code", text=f"what stays here: {_some(staying)}."))
    return found


def _about_environment(imports: Imports, lock: Lock) -> list[Finding]:
    found = [Finding(level="ok", what="environment", text=f"Python {lock.python}, {len(lock.lines)} packages locked.")]
    for name, place in lock.staying.items():
        text = f"the package {name} is from {place}, and no index has it."
        found.append(Finding(level="warning", what="environment", text=text, hint="Publish it, or put its source into the repository."))
    for name, why in imports.staying.items():
        found.append(Finding(level="warning", what="code", text=f"the module {name} stays here: {why}.", hint="--include takes it along."))
    if imports.missing:
        found.append(Finding(level="warning", what="environment", text=f"{_some(imports.missing)} cannot be imported here either."))
    return found


def _about_files(codes: Sequence[str], shipment: Shipment, folder: Path) -> list[Finding]:
    """Find files that the code names and that do not travel."""
    shipped, root = set(shipment.files), Path(shipment.root)
    folders = {str(parent) for name in shipped for parent in Path(name).parents}
    staying: dict[str, str] = {}
    for code in codes:
        for text in _texts(code):
            path = Path(text).expanduser()
            target = path if path.is_absolute() else folder / path
            try:
                if not target.exists() or target.resolve() == root or str(target.resolve()) in ("/", str(Path.home())):
                    continue
            except OSError:  # too long, or no path at all
                continue
            target = target.resolve()
            if not target.is_relative_to(root):
                staying[text] = f"it is outside of {root.name or root}"
                continue
            name = target.relative_to(root).as_posix()
            if path.is_absolute():
                staying[text] = "its path is absolute, and the machine has another one"
            elif name not in shipped and name not in folders:
                staying[text] = shipment.left.get(name, "git ignores it" if shipment.commit else "it is no source")
    named = [f"{name} ({why})" for name, why in list(staying.items())[:_MOST_NAMED]]
    if not named:
        return []
    more = f" and {len(staying) - _MOST_NAMED} more" if len(staying) > _MOST_NAMED else ""
    hint = "--include PATH brings it along; or read it from a bucket."
    return [Finding(level="warning", what="data", text=f"the code names what does not travel: {', '.join(named)}{more}.", hint=hint)]


def _texts(code: str) -> list[str]:
    try:
        nodes = list(ast.walk(ast.parse(code)))
    except (SyntaxError, ValueError, RecursionError):
        return []
    texts = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return [text for text in texts if 1 < len(text) < 500 and "\n" not in text and ("/" in text or "." in text) and "://" not in text]


def _about_surroundings(codes: Sequence[str]) -> list[Finding]:
    code = "\n".join(codes)
    found = []
    variables = sorted({match[1] for match in re.finditer(r"(?:environ(?:\.get)?|getenv)\s*[\[(]\s*['\"](\w+)['\"]", code)})
    if variables:
        text = f"the code reads the variables {_some(variables)}, and no variable travels."
        found.append(Finding(level="warning", what="environment", text=text, hint="Give values as parameters, secrets by a role."))
    hosts = sorted({match[0] for match in _LOCALHOST.finditer(code)})
    if hosts:
        found.append(Finding(level="warning", what="network", text=f"{_some(hosts)} is another machine there."))
    if re.search(r"(?<![\w.])(input|getpass(?:\.getpass)?|raw_input)\s*\(", code):
        found.append(Finding(level="warning", what="input", text="the code asks somebody, and nobody is there to answer."))
    return found


def _about_secrets(document: Any) -> list[Finding]:
    redact = Redactor({})
    held = [number for number, cell in enumerate((c for c in document.cells if is_code(c)), start=1) if redact(cell.source) != cell.source]
    if not held:
        return []
    cells = ", ".join(map(str, held[:_MOST_NAMED]))
    text = f"what looks like a secret stands in cell {cells}; it travels as it stands and is kept with the run."
    return [Finding(level="warning", what="secrets", text=text, hint="Take it out: a permission set, or a secret manager.")]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more


def content_of(document: Any) -> bytes:
    """Return a notebook as bytes."""
    buffer = io.StringIO()
    nbformat.write(document, buffer)  # type: ignore[no-untyped-call]
    return buffer.getvalue().encode()
