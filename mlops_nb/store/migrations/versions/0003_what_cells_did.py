"""What each cell read, wrote, held in memory and gave the run."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"


def _text() -> sa.Text:
    return sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("cells", sa.Column("reads", _text()))
    op.add_column("cells", sa.Column("writes", _text()))
    op.add_column("cells", sa.Column("peak_memory", sa.BigInteger))
    op.create_table(
        "cell_products",
        sa.Column("run", sa.BigInteger().with_variant(sa.Integer, "sqlite"), sa.ForeignKey("runs.id"), primary_key=True),
        sa.Column("kind", sa.String(10).with_variant(postgresql.VARCHAR(10, collation="C"), "postgresql"), primary_key=True),
        sa.Column("name", _text(), primary_key=True),
        sa.Column("cell", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
