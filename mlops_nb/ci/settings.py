"""What `mlops-nb ci run` is asked to do, checked before anything runs: arguments, then `[tool.mlops_nb.ci]` of the project file."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from mlops_nb import config
from mlops_nb.ci.baseline import Choice, choice_of
from mlops_nb.ci.gate_file import read_gates
from mlops_nb.core.formatting import one_line
from mlops_nb.core.gates import Gate
from mlops_nb.errors import InvalidInput, NotFound, did_you_mean

OUTPUT_FOLDER = "ci"
GATES_FROM = ("base", "here")
_MAX_PARAMETERS = 4_000_000
_KEYS = ("gates", "baseline", "pass_env", "timeout", "cell_timeout", "price_per_hour", "kernel")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What to do.

    Attributes:
        notebooks: Absolute paths.
        parameters: For all of them.
        choice: Which baseline.
        gates: What to keep to.
        gates_file: Where they stand, for readers; empty without any.
        gate_paths: The file, or where it would be looked for.
        gates_from: Whose gates judge: `base`, `here`, or None for what is usual.
        report: Where the report goes; data and pictures lie beside it.
        html: Write it as a page as well.
        output_dir: Where the executed notebooks go.
        kernel: Instead of the notebooks' own.
        timeout: How long all of it may take (s).
        cell_timeout: How long one cell may take (s).
        start_timeout: How long a kernel may take to start (s).
        cwd: Where the kernels work; by default where this process does.
        pass_env: Names of variables that the notebooks get besides those on the list.
        price_per_hour: What this machine costs; None: not known.
    """

    notebooks: tuple[Path, ...]
    parameters: dict[str, Any]
    choice: Choice
    gates: tuple[Gate, ...]
    gates_file: str
    gate_paths: tuple[Path, ...]
    gates_from: str | None
    report: Path
    html: bool
    output_dir: Path
    kernel: str | None = None
    timeout: float | None = None
    cell_timeout: int | None = None
    start_timeout: int = 60
    cwd: Path | None = None
    pass_env: tuple[str, ...] = ()
    price_per_hour: float | None = None


def settle(
    notebooks: Sequence[str | Path],
    *,
    parameters: Mapping[str, Any] | None,
    baseline: str | None,
    gates: str | Path | None,
    gates_from: str | None,
    report: str | Path,
    html: bool,
    output_dir: str | Path | None,
    kernel: str | None,
    timeout: float | None,
    cell_timeout: float | None,
    start_timeout: int,
    cwd: str | Path | None,
    pass_env: Sequence[str],
) -> Settings:
    """Check what is asked for; see `Settings`.

    Raises:
        InvalidInput: If a value cannot be right.
        NotFound: If a file or folder is not there.
    """
    project = config.find_project()
    table = config.ci_table()
    for key in table:
        if key not in _KEYS:
            hint = did_you_mean(key, _KEYS) or f"There are: {', '.join(_KEYS)}."
            raise InvalidInput(f"[tool.mlops_nb.ci] in pyproject.toml has no '{one_line(str(key))[:40]}'.", hint=hint)
    if gates_from not in (None, *GATES_FROM):
        raise InvalidInput(f"There are no gates from '{one_line(str(gates_from))[:40]}'.", hint=f"There are: {', '.join(GATES_FROM)}.")
    found_gates, gates_file, gate_paths = _gates(gates if gates is not None else table.get("gates"), project)
    report_path = Path(report).expanduser()
    if report_path.suffix.lower() != ".md":
        raise InvalidInput(f"The report cannot be written as '{report_path.name}'.", hint="Let its name end in .md; .json lies beside it.")
    folder = None if cwd is None else Path(cwd).expanduser().resolve()
    if folder is not None and not folder.is_dir():
        raise NotFound(f"There is no folder {cwd}.", hint="Name one for --cwd, or leave it out.")
    asked = table.get("pass_env", [])
    if not isinstance(asked, list) or not all(isinstance(name, str) for name in asked):
        raise InvalidInput("pass_env in [tool.mlops_nb.ci] is no list of names.", hint='Write pass_env = ["AWS_*"]')
    cell_seconds = _seconds("cell_timeout", cell_timeout, table)
    return Settings(
        notebooks=_notebooks(notebooks),
        parameters=_plain(parameters or {}),
        choice=choice_of(baseline if baseline is not None else _text("baseline", table), project.state_dir / config.BASELINE_FILE),
        gates=tuple(found_gates),
        gates_file=gates_file,
        gate_paths=gate_paths,
        gates_from=gates_from,
        report=report_path.resolve(),
        html=html,
        output_dir=(project.state_dir / OUTPUT_FOLDER if output_dir is None else Path(output_dir).expanduser()).resolve(),
        kernel=kernel or _text("kernel", table),
        timeout=_seconds("timeout", timeout, table),
        cell_timeout=None if cell_seconds is None else max(1, math.ceil(cell_seconds)),
        start_timeout=start_timeout,
        cwd=folder,
        pass_env=(*asked, *pass_env),
        price_per_hour=_number("price_per_hour", None, table),
    )


def check_places(settings: Settings) -> None:
    """Try to write where report and notebooks are to go, before anybody waits for what would be lost.

    Raises:
        InvalidInput: If that is not possible.
    """
    for folder, option in ((settings.report.parent, "--report"), (settings.output_dir, "--output-dir")):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                continue
        except OSError as error:
            raise InvalidInput(f"{folder} cannot be written to: {error.strerror}.", hint=f"Name another place: {option}") from None


def _notebooks(named: Sequence[str | Path]) -> tuple[Path, ...]:
    if not named:
        raise InvalidInput("No notebook is named.", hint="For example: mlops-nb ci run train.ipynb")
    found: dict[Path, None] = {}
    for each in named:
        path = Path(each).expanduser()
        if not path.is_file():
            raise NotFound(f"There is no notebook '{path}'.", hint="Name an .ipynb file.")
        if path.suffix.lower() != ".ipynb":
            raise InvalidInput(f"'{path}' is no notebook.", hint="Name an .ipynb file.")
        try:
            is_notebook = isinstance(json.loads(path.read_bytes())["cells"], list)
        except (ValueError, KeyError, TypeError, RecursionError):
            is_notebook = False
        if not is_notebook:
            raise InvalidInput(f"'{path}' cannot be read as a notebook.", hint="Open and save it in Jupyter: format 4 is needed.")
        if path.resolve() in found:
            raise InvalidInput(f"'{path}' is named twice.", hint="Name each notebook once.")
        found[path.resolve()] = None
    return tuple(found)


def _gates(named: object, project: config.Project) -> tuple[list[Gate], str, tuple[Path, ...]]:
    if named is None:
        usual = tuple((project.state_dir / config.GATE_FILE).with_suffix(suffix) for suffix in (".yml", ".yaml"))
        for path in usual:
            if path.is_file():
                return read_gates(path), _shown(path, project.root), usual
        return [], _shown(usual[0], project.root), usual
    if not isinstance(named, (str, Path)):
        raise InvalidInput("gates in [tool.mlops_nb.ci] is no path.", hint='Write gates = "gates.yml"')
    path = Path(named).expanduser()
    if isinstance(named, str) and not path.is_file() and (project.root / path).is_file():
        path = project.root / path
    return read_gates(path), _shown(path.resolve(), project.root), (path.resolve(),)


def _shown(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def _plain(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters if another process can be told them."""
    try:
        found = msgspec.json.decode(msgspec.json.encode(parameters))
    except (TypeError, ValueError, msgspec.MsgspecError, RecursionError) as error:
        raise InvalidInput(
            f"A parameter cannot be passed on: {one_line(str(error))[:200]}.", hint="Use numbers, texts, lists and mappings."
        ) from None
    for name in parameters:
        if not isinstance(name, str) or not name.isidentifier():
            raise InvalidInput(f"'{one_line(str(name))[:60]}' is no name of a parameter.", hint="Use a name that Python takes.")
    return dict(found)


def _text(key: str, table: Mapping[str, Any]) -> str | None:
    value = table.get(key)
    if value is not None and not isinstance(value, str):
        raise InvalidInput(f"{key} in [tool.mlops_nb.ci] is no text.", hint=f'Write {key} = "…"')
    return value


def _seconds(key: str, given: float | None, table: Mapping[str, Any]) -> float | None:
    value = _number(key, given, table)
    if value is not None and value <= 0:
        raise InvalidInput(f"{key} is {value:g} s.", hint="Give more than 0 seconds, or leave it out.")
    return value


def _number(key: str, given: float | None, table: Mapping[str, Any]) -> float | None:
    value = given if given is not None else table.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        raise InvalidInput(f"{key} is '{one_line(str(value))[:40]}'.", hint="Give a number, 0 or more.")
    return float(value)


# -- parameters


def parameters_of(
    pairs: Sequence[tuple[str, str]], *, raw: Sequence[tuple[str, str]] = (), files: Sequence[str] = (), texts: Sequence[str] = ()
) -> dict[str, Any]:
    """Return parameters; files come before texts, texts before pairs, and what comes later counts, as in papermill.

    Args:
        pairs: Names and values; True, False, None and numbers are read as such.
        raw: Names and texts.
        files: YAML files.
        texts: YAML.

    Raises:
        NotFound: If a file is not there.
        InvalidInput: If something is no YAML mapping.
    """
    found: dict[str, Any] = {}
    for file in files:
        path = Path(file).expanduser()
        try:
            with path.open("rb") as opened:
                content = opened.read(_MAX_PARAMETERS)
        except FileNotFoundError:
            raise NotFound(f"There is no parameter file '{path}'.", hint="Name a YAML file for -f.") from None
        except OSError as error:
            raise InvalidInput(f"The parameter file '{path}' cannot be read: {error.strerror or error}.") from None
        found |= _mapping(content, path.name)
    for text in texts:
        found |= _mapping(text, "-y")
    found |= {name: _read_word(value) for name, value in pairs}
    return found | dict(raw)


def _mapping(content: bytes | str, where: str) -> dict[str, Any]:
    import yaml
    from papermill.cli import NoDatesSafeLoader

    try:
        value = yaml.load(content, Loader=NoDatesSafeLoader)  # a safe loader that leaves dates as texts
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"{where} is no YAML: {one_line(str(error))[:200]}.", hint="For example: {lr: 0.1, depth: 3}") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidInput(f"{where} holds no parameters.", hint="For example: {lr: 0.1, depth: 3}")
    return value


def _read_word(text: str) -> Any:
    words = {"True": True, "False": False, "None": None}
    if text in words:
        return words[text]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
