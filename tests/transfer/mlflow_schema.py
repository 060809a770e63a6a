"""What MLflow's own database looks like: `python -m tests.transfer.mlflow_schema` writes the resource that exports use."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

from mlops_nb.transfer.exporters import mlflow_database

_MAKE = "import sys; from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore; SqlAlchemyStore(sys.argv[1], sys.argv[2])"
RESOURCE = Path(mlflow_database.__file__).with_name(mlflow_database.SCHEMA)


def statements() -> str:
    """Return the statements that make an empty database of the MLflow that is installed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mlflow.db"
        subprocess.run([sys.executable, "-c", _MAKE, f"sqlite:///{path}", folder], check=True, capture_output=True)
        database = sqlite3.connect(path)
        ordered = "ORDER BY instr('table index trigger', type), name"
        made = [row[0] for row in database.execute(f"SELECT sql FROM sqlite_master WHERE sql IS NOT NULL {ordered}")]  # noqa: S608
        version = database.execute("SELECT version_num FROM alembic_version").fetchone()[0]
        spaces = database.execute("SELECT name, description FROM workspaces").fetchall()
        database.close()
    values = ", ".join(f"('{name}', '{description}')" for name, description in spaces)
    made += [f"INSERT INTO alembic_version VALUES ('{version}')"]  # noqa: S608 - what MLflow says of itself
    made += [f"INSERT INTO workspaces (name, description) VALUES {values}"]  # noqa: S608
    return ";\n".join("\n".join(line.rstrip() for line in one.replace("\t", "  ").splitlines()) for one in made) + ";\n"


if __name__ == "__main__":
    RESOURCE.write_text(statements(), encoding="utf-8")
