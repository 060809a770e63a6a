"""What the tables share: the version of the schema, and text that compares by code point on both databases."""

from __future__ import annotations

from sqlalchemy import BigInteger, Index, Integer, MetaData, text
from sqlalchemy import String as _String
from sqlalchemy import Text as _Text
from sqlalchemy.dialects import postgresql

SCHEMA_VERSION = "0005"

INDEXED_LENGTH = 64
"""How long a param's or a tag's value can be to be found by an index."""

metadata = MetaData()

BIG_ID = BigInteger().with_variant(Integer, "sqlite")
Text = _Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def String(length: int) -> _String:
    """Return the type of a text of limited length that compares by code point."""
    return _String(length).with_variant(postgresql.VARCHAR(length, collation="C"), "postgresql")


def by_value(name: str, owner: str) -> Index:
    """Return an index for finding the owners of a value. Long values are left out: nobody looks for them."""
    short = text(f"length(value) <= {INDEXED_LENGTH}")
    return Index(name, "key", "value", owner, sqlite_where=short, postgresql_where=short)
