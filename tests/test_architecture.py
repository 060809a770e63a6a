"""The tree is the architecture: who may import whom, and what importing costs."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "mlops_nb"
SERVER = ROOT / "server_ext" / "mlops_nb_server"

# Each part may import the parts named, besides itself, `errors` and `config` (which `core` may not).
ALLOWED: dict[str, set[str]] = {
    "core": set(),
    "outgoing": set(),
    "store": {"core"},
    "webhooks": {"core", "store", "outgoing"},
    "models": {"core", "store"},
    "monitoring": {"core"},
    "serving": {"core", "store", "models", "monitoring"},
    "tracking": {"core", "store", "models", "monitoring"},
    "execution": {"core", "store", "tracking"},
    "reports": {"core", "store"},
    "comparing": {"core", "store", "models", "reports"},
    "widgets": {"core", "store", "tracking", "comparing", "reports"},
    "api": {"core", "store", "comparing", "serving", "webhooks", "monitoring", "runners"},
    "transfer": {"core", "store"},
    "forges": {"core", "outgoing"},
    "posting": {"core", "store", "forges", "outgoing", "reports", "transfer"},
    "clouds": {"core", "outgoing"},
    # Jobs run as in CI: a notebook in a watched process, in an environment that is made as for models.
    "runners": {"core", "store", "clouds", "forges", "outgoing", "tracking", "execution", "models", "ci"},
    "ci": {"core", "store", "tracking", "execution", "comparing", "reports", "forges"},
    "fluent": {
        *("core", "store", "models", "tracking", "execution", "reports", "comparing", "serving", "monitoring"),
        *("webhooks", "ci", "runners", "clouds", "forges"),
    },
    "magics": {
        *("core", "store", "models", "tracking", "execution", "reports", "comparing", "widgets", "serving", "fluent"),
        *("monitoring", "runners", "clouds"),
    },
    "cli": {
        *("core", "store", "models", "tracking", "execution", "reports", "comparing", "widgets", "serving"),
        *("fluent", "magics", "api", "transfer", "monitoring", "webhooks", "ci", "forges", "posting"),
        *("runners", "clouds"),
    },
    "mlops_nb_server": {"core", "store", "tracking", "serving", "runners", "api"},
}
# `core` is pure; msgspec gives its records their form and lark reads its grammar, and neither does I/O.
CORE_LIBRARIES = {"msgspec", "lark", "nbformat"}
HEAVY = (
    "IPython",
    "tornado",
    "plotly",
    "papermill",
    "pandas",
    "numpy",
    "sqlalchemy",
    "alembic",
    "boto3",
    "lightkube",
    "azure",
    "google",
    "matplotlib",
    "requests",
    "jupyter_server",
    "uvicorn",
    "starlette",
    "prometheus_client",
)


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if part not in ("__init__", "errors", "config", "labextension"):
            yield part, path
    for path in sorted(SERVER.rglob("*.py")):
        yield "mlops_nb_server", path


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: imports are absolute"
            yield from ([f"{node.module}.{alias.name}" for alias in node.names] if node.module == "mlops_nb" else [node.module])


def test_every_part_of_the_tree_has_a_place_in_the_rules() -> None:
    assert {part for part, _ in modules()} == set(ALLOWED)


@pytest.mark.parametrize(("part", "path"), list(modules()), ids=lambda value: value.name if isinstance(value, Path) else value)
def test_imports_go_one_way(part: str, path: Path) -> None:
    for name in imports(path):
        first, _, rest = name.partition(".")
        target = rest.split(".")[0] if first == "mlops_nb" else first
        if first == "mlops_nb":
            common = {"errors"} if part == "core" else {"errors", "config"}
            shared = {"__version__", ""} if part in ("magics", "cli", "api", "runners") else set()
            assert target in ALLOWED[part] | {part} | common | shared, f"{path.relative_to(ROOT)} imports {name}"
        elif first == "mlops_nb_server":
            assert part == "mlops_nb_server", f"{path.relative_to(ROOT)} imports the server extension"
        elif part == "core":
            assert first in CORE_LIBRARIES or first in sys.stdlib_module_names, f"{path.relative_to(ROOT)} imports {name}"
        elif first in ("sqlalchemy", "alembic"):
            speaks_sql = part == "store" or path == PACKAGE / "transfer" / "importers" / "mlflow_database.py"
            assert speaks_sql, f"only the store speaks SQL, and who reads MLflow's database: {path.relative_to(ROOT)}"


def loaded_by(code: str) -> set[str]:
    program = f"import sys, json\n{code}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in json.loads(done.stdout)}


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert loaded_by("import mlops_nb") & {*HEAVY, "msgspec", "jinja2", "lark"} == set()


def test_logging_from_a_program_loads_no_notebook_and_no_table_library() -> None:
    code = "import mlops_nb, os, tempfile\nos.chdir(tempfile.mkdtemp())\nwith mlops_nb.start_run() as run: run.log(m=1.0)"
    assert loaded_by(code) & {"IPython", "tornado", "plotly", "papermill", "pandas", "numpy", "matplotlib", "jupyter_server"} == set()


def test_the_command_line_helps_without_loading_the_store() -> None:
    assert loaded_by("from mlops_nb import cli") & {*HEAVY, "jinja2"} == set()


def test_no_file_outgrows_its_budget() -> None:
    for path in [*PACKAGE.rglob("*.py"), *SERVER.rglob("*.py")]:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 420, f"{path.relative_to(ROOT)} wants to be a folder"


def test_the_version_stands_in_one_place() -> None:
    version = json.loads((ROOT / "labextension" / "package.json").read_text())["version"]
    done = subprocess.run(
        [sys.executable, "-c", "import mlops_nb; print(mlops_nb.__version__)"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == version


def test_no_lock_file_names_a_registry() -> None:
    assert "http" not in (ROOT / "labextension" / "yarn.lock").read_text()
