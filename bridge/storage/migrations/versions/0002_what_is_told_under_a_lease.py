"""What is told under a lease: an attempt is recorded only when it has ended"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.add_column("bots", sa.Column("telling", number, nullable=False, server_default="0"))
    # Those under way were recorded before; whoever makes them now, if anybody, says how they end.
    op.execute("UPDATE attempts SET verdict = 'retry', reason = 'interrupted' WHERE verdict = ''")
