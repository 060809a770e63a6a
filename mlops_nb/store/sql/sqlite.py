"""A SQLite file: the driver, the pragmas, private files, and what its errors mean.

SQLite 3.7.0 to 3.51.2 can corrupt a WAL when two connections write or checkpoint at the same moment. pysqlite3 bundles
a newer one; where only an older one is to be had, the journal is a rollback journal instead.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import random
import shutil
import sqlite3
import threading
import time
import types
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from mlops_nb.errors import InvalidInput, MlopsError, StoreDamaged, StoreFull, StoreUnreachable
from mlops_nb.store.sql import upgrade
from mlops_nb.store.sql.database import Database, damaged, unknown
from mlops_nb.store.sql.schema import FIRST_EXPERIMENT, SCHEMA_VERSION, experiments, metadata, store_state

BUSY_SECONDS = 60
_DURABILITY = {"full": "FULL", "normal": "NORMAL"}
_FIRST_SAFE_WAL = (3, 51, 3)
_LOOK_AGAIN = (0.002, 0.01)
_LARGEST_JOURNAL = 1 << 26  # a long reader makes the WAL grow; it shrinks to this when the reader is gone
_ROOM = 1 << 20
_UNKNOWN = (-1, -1)
_FULL_HINT = "Free some space there; it is used again at once, and what was logged waits in the journal."


def sqlite_driver() -> types.ModuleType:
    """Return the DBAPI module with the newer SQLite: pysqlite3 bundles one, Python's own is the system's."""
    try:
        from pysqlite3 import dbapi2
    except ImportError:  # no wheel for this platform
        return sqlite3
    return dbapi2 if dbapi2.sqlite_version_info >= sqlite3.sqlite_version_info else sqlite3


class SqliteDatabase(Database):
    """A database file, made with its folder where it is missing, and brought up to date.

    With a SQLite that is safe in that mode the journal is a WAL, so that readers and the writer do not wait for
    each other.

    Args:
        path: The file.
        durability: `full`: a commit survives a power cut. `normal`: it survives the death of the process.

    Raises:
        StoreDamaged: If the file is not a database.
        StoreVersionError: If a newer version of mlops_nb wrote it.
        StoreFull: If its disk is full.
        StoreUnreachable: If it cannot be written.
    """

    def __init__(self, path: Path, *, durability: str = "full") -> None:
        super().__init__(str(path), sqlite_driver())
        if durability not in _DURABILITY:
            raise InvalidInput(f"durability={durability} is not known.", hint="Use full or normal.")
        self._path = path
        self._synchronous = _DURABILITY[durability]
        self._journal = "WAL" if self._driver.sqlite_version_info >= _FIRST_SAFE_WAL else "TRUNCATE"
        self._opening = threading.Lock()
        self._engine = self._open()
        self._file: tuple[int, int] | None = _identity(path)

    def engine(self) -> sa.Engine:
        """Return the engine of the file that has the path now.

        SQLite would go on writing to a file that someone has moved or removed, where nobody finds it again.
        """
        if _identity(self._path) != self._file:
            with self._opening:
                if _identity(self._path) != self._file:
                    self._engine.dispose()
                    self._engine = self._open()
                    self._file = _identity(self._path)
                    self.runs.clear()
        return self._engine

    def close(self) -> None:
        self._engine.dispose()

    def _open(self) -> sa.Engine:
        path = self._path
        engine = sa.create_engine(
            sa.URL.create("sqlite", database=str(path)),
            module=self._driver,
            connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False, "cached_statements": 512},
        )
        event.listen(engine, "connect", self._prepare)
        event.listen(engine, "begin", _begin)
        try:
            with self.translated_errors():
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                if not path.exists():
                    path.touch(mode=0o600)
                if _schema_of(engine) != SCHEMA_VERSION:
                    self._upgrade(engine)
        except OSError as error:
            engine.dispose()
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StoreFull(f"{path} cannot be made: {error.strerror}.", hint=_FULL_HINT) from error
            raise StoreUnreachable(f"{path} cannot be made or opened: {error.strerror}.", hint="Is the folder writable?") from error
        except BaseException:
            engine.dispose()
            raise
        return engine

    def _prepare(self, connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions are begun by _begin, not by the driver
        cursor = connection.cursor()
        if self._journal != "WAL":  # WAL is a property of the file, set once when the schema is made
            cursor.execute(f"PRAGMA journal_mode={self._journal}")
        cursor.execute(f"PRAGMA synchronous={self._synchronous}")
        cursor.execute("PRAGMA case_sensitive_like=ON")
        cursor.execute("PRAGMA cache_size=-32768")
        cursor.execute("PRAGMA wal_autocheckpoint=4000")
        cursor.execute(f"PRAGMA journal_size_limit={_LARGEST_JOURNAL}")
        cursor.close()

    def _upgrade(self, engine: sa.Engine) -> None:
        """Bring the schema up to date; of many processes that come at once, one does it and the others wait."""
        lock = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            current = _schema_of(engine)
            if current == SCHEMA_VERSION:
                return
            upgrade.check_known(self.name, current)
            if current is not None:
                backup = self._path.with_name(f"{self._path.name}.{current}.bak")
                unfinished = backup.with_name(f"{backup.name}.part")
                unfinished.unlink(missing_ok=True)
                _outside_transaction(engine, "VACUUM INTO ?", str(unfinished))
                unfinished.replace(backup)
            _outside_transaction(engine, f"PRAGMA journal_mode={self._journal}")
            with engine.connect().execution_options(immediate=True) as connection, connection.begin():
                upgrade.upgrade(connection)
        finally:
            os.close(lock)

    def failed(self, text: str) -> None:
        # After a failed sync no connection is to be trusted: the next use opens the file anew. Not where the disk is only
        # full: who reads then could not open it again.
        if "disk i/o" in text.lower() and not isinstance(self.explain(text), StoreFull):
            self._file = _UNKNOWN

    def after_synced(self) -> None:
        """Sync the journal, which is all that a commit at synchronous=NORMAL leaves to later.

        The database's file must not be opened here: closing it would drop SQLite's locks on it.
        """
        if self._synchronous == "FULL":
            return
        for journal in ("-wal", "-journal"):
            with contextlib.suppress(FileNotFoundError):  # all of it is in the database's file, which SQLite synced before
                sync_file(self._path.with_name(f"{self._path.name}{journal}"))

    def explain(self, text: str) -> MlopsError:
        name, low = self.name, text.lower()
        if "not a database" in low or "malformed" in low or "disk image" in low or "could not decode" in low:
            return StoreDamaged(
                f"{name} is not a tracking store, or is damaged ({text}).",
                hint=f"Move it away (mv '{name}' '{name}.broken') and a new one is made; journals that were not delivered are kept.",
            )
        free = _free_bytes(self._path.parent)
        # Where there is no room for the WAL's index SQLite speaks of the disk, not of its being full.
        if "is full" in low or ("disk i/o" in low and free is not None and free < _ROOM):
            return StoreFull(f"{name} cannot be written: {text}; {free} bytes are free.", hint=_FULL_HINT)
        if "disk i/o" in low:
            return StoreUnreachable(f"{name} cannot be read or written: {text}.", hint="Look at the disk: dmesg, and the mount's state.")
        if "readonly" in low or "read-only" in low or "unable to open" in low:
            return StoreUnreachable(
                f"{name} cannot be opened for writing: {text}.", hint="Check the permissions of the file and its folder."
            )
        if "locked" in low or "busy" in low:
            return StoreUnreachable(
                f"{name} is locked by another process for over {BUSY_SECONDS} s.", hint=f"See who holds it: fuser '{name}'"
            )
        if "no such table" in low or "already exists" in low or "no such column" in low:
            return damaged(name, text)
        return unknown(name, text)


class EmptyDatabase(Database):
    """A new database in memory, for answering what a project answers before anything was tracked in it."""

    def __init__(self) -> None:
        super().__init__("the empty store", sqlite_driver())
        self._engine = sa.create_engine(
            f"sqlite:///file:empty-{id(self)}?mode=memory&cache=shared&uri=true",
            module=sqlite_driver(),
            connect_args={"check_same_thread": False},
        )
        event.listen(self._engine, "connect", _case_sensitive)
        self._kept = self._engine.connect()  # the database lives as long as a connection does
        metadata.create_all(self._kept)
        now = time.time_ns() // 1_000_000
        self._kept.execute(experiments.insert().values({**FIRST_EXPERIMENT, "creation_time": now, "last_update_time": now}))
        self._kept.execute(store_state.insert().values(name="revision", value=0))
        self._kept.commit()

    def engine(self) -> sa.Engine:
        return self._engine

    def explain(self, text: str) -> MlopsError:
        return unknown(self.name, text)

    def close(self) -> None:
        self._kept.close()
        self._engine.dispose()


def sync_file(path: Path) -> None:
    """Bring a file's content to the disk.

    Raises:
        FileNotFoundError: If there is none.
        StoreUnreachable: If the disk does not take it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StoreUnreachable(
            f"{path} cannot be synced: {error.strerror}.", hint="Look at the disk: dmesg, and the mount's state."
        ) from error


def _case_sensitive(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA case_sensitive_like=ON").close()


def _begin(connection: sa.Connection) -> None:
    # A transaction that will write takes the lock at once: upgrading a read lock can fail without waiting.
    if connection.get_execution_options().get("immediate"):
        _take_turn(connection.connection.dbapi_connection, connection.dialect.dbapi)
    else:
        connection.exec_driver_sql("BEGIN")


def _take_turn(connection: Any, driver: Any) -> None:
    """Begin a transaction that writes when no other process has one.

    SQLite itself looks ten times a second; of many writers one can then wait for minutes, as those that have just written
    are there before it.
    """
    deadline = time.monotonic() + BUSY_SECONDS
    connection.execute("PRAGMA busy_timeout=0").close()
    try:
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE").close()
                return
            except driver.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
            time.sleep(random.uniform(*_LOOK_AGAIN))
    finally:
        connection.execute(f"PRAGMA busy_timeout={BUSY_SECONDS * 1000}").close()


def _schema_of(engine: sa.Engine) -> str | None:
    with engine.connect() as connection:
        return upgrade.current_schema(connection)


def _outside_transaction(engine: sa.Engine, statement: str, *values: str) -> None:
    connection = engine.raw_connection()
    try:
        connection.cursor().execute(statement, values)
    finally:
        connection.close()


def _free_bytes(folder: Path) -> int | None:
    try:
        return shutil.disk_usage(folder).free
    except OSError:  # gone; the error at hand says more
        return None


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        info = path.stat()
    except FileNotFoundError:
        return None
    return info.st_dev, info.st_ino
