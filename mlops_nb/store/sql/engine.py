"""Opening a database: the driver, the pragmas, the migrations, and one translation of its errors."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event, exc

from mlops_nb.errors import InvalidInput, StoreDamaged, StoreError, StoreUnreachable, StoreVersionError
from mlops_nb.store.sql.schema import SCHEMA_VERSION

BUSY_SECONDS = 60
_DURABILITY = {"full": "FULL", "normal": "NORMAL"}
# SQLite 3.7.0 to 3.51.2 can corrupt a WAL when two connections write or checkpoint at the same moment.
_FIRST_SAFE_WAL = (3, 51, 3)


def sqlite_driver() -> types.ModuleType:
    """Return the DBAPI module with the newer SQLite: pysqlite3 bundles one, Python's own is the system's."""
    try:
        from pysqlite3 import dbapi2
    except ImportError:  # no wheel for this platform
        return sqlite3
    return dbapi2 if dbapi2.sqlite_version_info >= sqlite3.sqlite_version_info else sqlite3


def open_sqlite(path: Path, *, durability: str = "full") -> sa.Engine:
    """Open (or make) the database file and bring its schema up to date.

    With a SQLite that is safe in that mode the journal is a WAL, so that readers and the writer do not wait for
    each other; with an older one it is a rollback journal.

    Args:
        path: The file; its folder is made where it is missing.
        durability: `full`: a commit survives a power cut. `normal`: it survives the death of the process.

    Raises:
        StoreDamaged: If the file is not a database.
        StoreVersionError: If a newer version of mlops_nb wrote it.
        StoreUnreachable: If it cannot be written.
    """
    if durability not in _DURABILITY:
        raise InvalidInput(f"durability={durability} is not known.", hint="Use full or normal.")
    driver = sqlite_driver()
    mode = "WAL" if driver.sqlite_version_info >= _FIRST_SAFE_WAL else "TRUNCATE"

    url = sa.URL.create("sqlite", database=str(path))
    engine = sa.create_engine(url, module=driver, connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions are begun by _begin, not by the driver
        cursor = connection.cursor()
        if mode != "WAL":  # WAL is a property of the file, set once when the schema is made
            cursor.execute(f"PRAGMA journal_mode={mode}")
        cursor.execute(f"PRAGMA synchronous={_DURABILITY[durability]}")
        cursor.execute("PRAGMA case_sensitive_like=ON")
        cursor.execute("PRAGMA cache_size=-32768")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        # A transaction that will write takes the lock at once: upgrading a read lock can fail without waiting.
        immediate = connection.get_execution_options().get("immediate")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    with translated_errors(str(path)):
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not path.exists():
                path.touch(mode=0o600)
        except OSError as error:
            raise StoreUnreachable(f"{path} cannot be made: {error.strerror}.", hint="Is the folder writable?") from error
        if _schema_of(engine) != SCHEMA_VERSION:
            _migrate(engine, path, mode)
    return engine


def _schema_of(engine: sa.Engine) -> str | None:
    with engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").first()
        if found is None:
            return None
        row = connection.exec_driver_sql("SELECT version_num FROM alembic_version").first()
        return None if row is None else str(row[0])


def _migrate(engine: sa.Engine, path: Path, journal_mode: str) -> None:
    """Bring the schema up to date; of many processes that come at once, one does it and the others wait."""
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        current = _schema_of(engine)
        if current == SCHEMA_VERSION:
            return
        config = Config()
        config.set_main_option("script_location", "mlops_nb:store/migrations")
        config.set_main_option("path_separator", "os")
        known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
        if current is not None and current not in known:
            raise StoreVersionError(
                f"{path} has schema {current}; this mlops_nb knows schemas up to {SCHEMA_VERSION}.",
                hint="A newer mlops_nb wrote it: pip install --upgrade mlops-nb",
            )
        if current is not None:
            _back_up(engine, path.with_name(f"{path.name}.{current}.bak"))
        _outside_transaction(engine, f"PRAGMA journal_mode={journal_mode}")
        with engine.connect().execution_options(immediate=True) as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.commit()
    finally:
        os.close(lock)


def _back_up(engine: sa.Engine, target: Path) -> None:
    target.unlink(missing_ok=True)
    _outside_transaction(engine, "VACUUM INTO ?", str(target))


def _outside_transaction(engine: sa.Engine, statement: str, *values: str) -> None:
    connection = engine.raw_connection()
    try:
        connection.cursor().execute(statement, values)
    finally:
        connection.close()


@contextlib.contextmanager
def translated_errors(name: str) -> Iterator[None]:
    """Turn the driver's errors into ours, with a remedy; `name` is what the user calls the store."""
    try:
        yield
    except (OverflowError, UnicodeEncodeError) as error:
        raise InvalidInput(f"{name} cannot keep a value: {error}.", hint="Whole numbers have 64 bits, text is Unicode.") from error
    except exc.DBAPIError as error:
        text = str(error.orig)
        low = text.lower()
        if "not a database" in low or "malformed" in low or "disk image" in low:
            raise StoreDamaged(
                f"{name} is not a tracking store, or is damaged ({text}).",
                hint=f"Move it away (mv '{name}' '{name}.broken') and a new one is made; journals that were not delivered are kept.",
            ) from error
        if "full" in low or "disk i/o" in low:
            raise StoreUnreachable(
                f"{name} cannot be written: {text}.", hint="Free some disk space; what was logged waits in the journal."
            ) from error
        if "readonly" in low or "read-only" in low or "unable to open" in low:
            raise StoreUnreachable(
                f"{name} cannot be opened for writing: {text}.", hint="Check the permissions of the file and its folder."
            ) from error
        if "locked" in low or "busy" in low:
            raise StoreUnreachable(
                f"{name} is locked by another process for over {BUSY_SECONDS} s.", hint=f"See who holds it: fuser '{name}'"
            ) from error
        if "no such table" in low or "already exists" in low or "no such column" in low:
            raise StoreDamaged(f"{name} is a database, but not a tracking store ({text}).", hint="Choose another path.") from error
        raise StoreError(f"{name}: {text}") from error
