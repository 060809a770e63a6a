"""Transactions on a database: reads, writes one at a time, and groups of writes that share one commit."""

from __future__ import annotations

import contextlib
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc

from mlops_nb.errors import InvalidInput, MlopsError, StoreDamaged, StoreError, StoreUnreachable
from mlops_nb.store.sql.run_records import RunCache

_TOO_MANY = ("too many SQL variables", "number of parameters must be between")
"""What SQLite and psycopg say of a statement with more values than one may have."""


class Database(ABC):
    """One database, however many connections it takes.

    Threads: every method may be called from any thread. Writers take turns, within the process by a lock, between
    processes by the database's own: whoever writes sees all that was written before.
    Ownership: whoever makes it closes it.

    Args:
        name: What the user calls it in messages; without secrets.
        driver: The DBAPI module, whose errors hot statements raise as they are.
    """

    def __init__(self, name: str, driver: ModuleType) -> None:
        self.name = name
        self._driver = driver
        self.runs = RunCache()
        self._writing = threading.Lock()
        self._group = threading.local()

    @abstractmethod
    def engine(self) -> sa.Engine:
        """Return the engine of the database as it is now."""

    def reader(self) -> sa.Engine:
        """Return the engine for transactions that only read."""
        return self.engine()

    @abstractmethod
    def explain(self, text: str) -> MlopsError:
        """Return the error that stands for a message of the driver, with a remedy."""

    def failed(self, text: str) -> None:  # noqa: B027 - by default there is nothing to note
        """Take note of what the driver said before it is told."""

    def before_synced(self, connection: sa.Connection) -> None:  # noqa: B027 - by default each commit is synced
        """Let the commit of a transaction reach the disk, whatever the database's quick settings are."""

    def after_synced(self) -> None:  # noqa: B027 - by default each commit is synced
        """Bring commits to the disk that were made with quick settings."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the connections."""

    @contextlib.contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Give a connection on which everything is seen as at one moment; within a group that of the group."""
        group: _Group | None = getattr(self._group, "current", None)
        with self.translated_errors():
            if group is not None:
                with group.part() as connection:
                    yield connection
                return
            with self.reader().connect() as connection:
                yield connection.execution_options(runs=self.runs)

    @contextlib.contextmanager
    def write(self, *, synced: bool = False) -> Iterator[sa.Connection]:
        """Give a connection whose changes take effect together when the block ends, or not at all if it raises.

        Args:
            synced: They are on the disk then, also where quick settings leave that to later; within a group when that ends.
        """
        group: _Group | None = getattr(self._group, "current", None)
        with self.translated_errors():
            if group is not None:
                with group.part() as connection:
                    if synced:
                        self.before_synced(connection)
                        group.synced = True
                    yield connection
                return
            with self._writing, self._begin() as connection:
                if synced:
                    self.before_synced(connection)
                yield connection
            if synced:
                self.after_synced()

    @contextlib.contextmanager
    def group(self) -> Iterator[None]:
        """Let the writes of this thread share one transaction: each may fail alone, all take effect when the block ends.

        One sync of the disk then serves them all.

        Raises:
            StoreError: If the transaction as a whole failed; then none of the writes has taken effect.
        """
        with self.translated_errors(), self._writing, self._begin() as connection:
            group = self._group.current = _Group(connection, self)
            try:
                yield
                group.check()
            finally:
                self._group.current = None
        if group.synced:
            self.after_synced()

    @contextlib.contextmanager
    def _begin(self) -> Iterator[sa.Connection]:
        with self.engine().connect().execution_options(immediate=True) as connection, connection.begin():
            yield connection

    def operational(self, error: BaseException) -> str | None:
        """Return what the driver said where an error is the database's own and not the caller's, else None."""
        cause = error.orig if isinstance(error, exc.DBAPIError) else error
        return str(cause) if isinstance(cause, self._driver.OperationalError) else None

    @contextlib.contextmanager
    def translated_errors(self) -> Iterator[None]:
        """Turn the driver's errors into ours."""
        try:
            yield
        except (OverflowError, UnicodeEncodeError) as error:
            raise InvalidInput(f"{self.name} cannot keep a value: {error}.", hint="Whole numbers have 64 bits, text is Unicode.") from error
        except (exc.DBAPIError, self._driver.Error) as error:
            cause = error.orig if isinstance(error, exc.DBAPIError) else error
            if isinstance(cause, self._driver.DataError):
                raise InvalidInput(f"{self.name} cannot keep a value: {cause}.", hint="Text holds no NUL.") from error
            if any(words in str(cause) for words in _TOO_MANY):
                raise InvalidInput("The request names too many things at once.", hint="Split it into several.") from error
            self.failed(str(cause))
            raise self.explain(str(cause)) from error
        except exc.PendingRollbackError as error:
            raise _undone() from error
        except exc.TimeoutError as error:
            raise StoreUnreachable(f"{self.name} is too busy: no connection became free.", hint="Try again in a moment.") from error


class _Group:
    """The transaction that reads and writes of one thread share."""

    def __init__(self, connection: sa.Connection, database: Database) -> None:
        self.connection = connection
        self._database = database
        self.synced = False
        self._lost: MlopsError | None = None

    @contextlib.contextmanager
    def part(self) -> Iterator[sa.Connection]:
        self.check()
        self.connection.exec_driver_sql("SAVEPOINT part")
        try:
            yield self.connection
        except BaseException as error:
            self._undo(error)
            raise
        self.connection.exec_driver_sql("RELEASE SAVEPOINT part")

    def _undo(self, cause: BaseException) -> None:
        """Undo what a part did. A full disk makes SQLite undo the whole transaction; then all that came before is lost."""
        try:
            self.connection.exec_driver_sql("ROLLBACK TO SAVEPOINT part")
            self.connection.exec_driver_sql("RELEASE SAVEPOINT part")
        except exc.SQLAlchemyError:
            text = self._database.operational(cause)
            self._lost = _undone() if text is None else self._database.explain(text)

    def check(self) -> None:
        """Raise if the transaction has ended before its time: a commit would then say nothing, and keep nothing."""
        if self._lost is None and not _is_open(self.connection):
            self._lost = _undone()
        if self._lost is not None:
            raise self._lost


def _is_open(connection: sa.Connection) -> bool:
    if connection.invalidated:
        return False
    driver: Any = connection.connection.dbapi_connection
    if connection.dialect.name == "postgresql":
        return bool(driver.info.transaction_status.name == "INTRANS")
    return bool(driver.in_transaction)


def _undone() -> StoreUnreachable:
    return StoreUnreachable("A write that shared the transaction failed, and all of it was undone.", hint="Send it again.")


def damaged(name: str, text: str) -> StoreDamaged:
    """Return the error for a database that is no store of ours."""
    return StoreDamaged(f"{name} is a database, but not a tracking store ({text}).", hint="Choose another path.")


def unknown(name: str, text: str) -> StoreError:
    """Return the error for what the driver says and we have no remedy for."""
    return StoreError(f"{name}: {text}")
