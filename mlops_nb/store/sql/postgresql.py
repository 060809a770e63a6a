"""A PostgreSQL database: for teams, and for servers of several processes."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import event

from mlops_nb.errors import MissingDependencyError, MlopsError, StoreFull, StoreUnreachable
from mlops_nb.store.sql import upgrade
from mlops_nb.store.sql.database import Database, damaged, unknown
from mlops_nb.store.sql.schema import SCHEMA_VERSION

# One lock per database and schema: writers take turns, so that revisions are seen in the order in which they are given.
_WRITE_LOCK = 0x6D6C6F70735F6E62
# A server may be set to answer before a commit is on its disk. Stronger settings, of standby servers, stay.
_SYNCED = "SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'"
_POOL = 5
_OVERFLOW = 5
_WAIT_SECONDS = 10


class PostgresDatabase(Database):
    """A database on a PostgreSQL server, brought up to date when it is opened.

    Args:
        url: `postgresql://user:password@host:port/database`.

    Raises:
        MissingDependencyError: If psycopg is not installed.
        StoreUnreachable: If the server does not answer or lets us not in.
        StoreVersionError: If a newer version of mlops_nb wrote it.
    """

    def __init__(self, url: str) -> None:
        try:
            import psycopg
        except ImportError:
            raise MissingDependencyError("psycopg", extra="postgresql", purpose="A PostgreSQL store") from None
        parsed = sa.make_url(url).set(drivername="postgresql+psycopg")
        super().__init__(parsed.set(drivername="postgresql").render_as_string(hide_password=True), psycopg)
        self._engine = sa.create_engine(
            parsed,
            pool_size=_POOL,
            max_overflow=_OVERFLOW,
            pool_timeout=_WAIT_SECONDS,
            pool_pre_ping=True,
            isolation_level="READ COMMITTED",
            connect_args={"connect_timeout": _WAIT_SECONDS, "prepare_threshold": 5},
        )
        event.listen(self._engine, "begin", _begin)
        self._reader = self._engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        with self.translated_errors():
            self._upgrade()

    def engine(self) -> sa.Engine:
        return self._engine

    def reader(self) -> sa.Engine:
        return self._reader

    def before_synced(self, connection: sa.Connection) -> None:
        connection.exec_driver_sql(_SYNCED)

    def close(self) -> None:
        self._engine.dispose()

    def _upgrade(self) -> None:
        """Bring the schema up to date; of many processes that come at once, one does it and the others wait."""
        with self._engine.connect() as connection:
            if upgrade.current_schema(connection) == SCHEMA_VERSION:
                return
        with self._engine.connect().execution_options(immediate=True) as connection, connection.begin():
            current = upgrade.current_schema(connection)
            if current != SCHEMA_VERSION:
                upgrade.check_known(self.name, current)
                upgrade.upgrade(connection)

    def explain(self, text: str) -> MlopsError:
        name, low, short = self.name, text.lower(), text.strip().partition("\n")[0]
        if "does not exist" in low and "relation" in low:
            return damaged(name, short)
        if "no space left" in low or "disk full" in low:
            return StoreFull(f"{name} cannot be written: {short}.", hint="Free some space on the database server.")
        lost = (
            "connection",
            "server closed",
            "terminat",
            "shutting down",
            "starting up",
            "recovery mode",
            "deadlock",
            "serializ",
            "timeout",
        )
        if any(word in low for word in lost) or "too many clients" in low:
            return StoreUnreachable(f"{name} does not answer: {short}.", hint="Try again in a moment.")
        return unknown(name, short)


def _begin(connection: sa.Connection) -> None:
    if connection.get_execution_options().get("immediate"):
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITE_LOCK})")
