"""The tables, which are the same on SQLite and PostgreSQL, and how a database gets them.

A change of the tables comes with a migration in `migrations/versions/` and a new VERSION.
"""

from pathlib import Path

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    inspect,
    literal_column,
    text,
)

from bridge.errors import SchemaError

VERSION = "0001"  # the newest migration
_LOCK = 7_291_003  # PostgreSQL's advisory lock for whoever brings the schema up to date

metadata = MetaData()
_Id = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up INTEGER keys only


def _text(name: str, default: str = "") -> Column[str]:
    return Column(name, Text, nullable=False, default=default)


def _moment(name: str) -> Column[float]:
    """A moment in epoch seconds; 0 is never."""
    return Column(name, Float(53), nullable=False, default=0.0)


events = Table(
    "events",
    metadata,
    Column("id", _Id, primary_key=True),
    _moment("received_at"),
    _text("type"),
    # What lists and digests show, so that they need not read the payload, which may be large.
    _text("title"),
    _text("device_type"),
    _text("os_version"),
    _text("build_version"),
    _text("link"),
    _text("brief"),  # the beginning of the notes
    _text("payload"),  # JSON
    Column("raw", LargeBinary, nullable=False),
    _text("error"),
    _text("digest"),
    Index("events_digest", "digest", "received_at"),
    Index("events_received_at", "received_at"),
    sqlite_autoincrement=True,
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("event_id", ForeignKey("events.id"), nullable=False, index=True),
    _text("bot"),
    _text("state", "pending"),  # pending, sent, parked, expired
    _text("reason"),
    _text("template"),
    _text("mention"),  # JSON list
    _text("attach"),  # JSON list
    Column("step", Integer, nullable=False, default=0),  # messages already told
    _text("media_id"),  # of the file that is uploaded and not yet sent
    _moment("media_at"),
    Column("tries", Integer, nullable=False, default=0),
    _moment("created_at"),
    _moment("held_until"),  # the end of its quiet hours
    _moment("expires_at"),
    _moment("settled_at"),
    sqlite_autoincrement=True,
)
# Written out rather than bound: SQLite uses a partial index only where it sees the very words.
PENDING = deliveries.c.state == literal_column("'pending'")
HELD = PENDING & (deliveries.c.held_until > literal_column("0"))
Index(
    "deliveries_pending",
    deliveries.c.bot,
    deliveries.c.id,
    sqlite_where=PENDING,
    postgresql_where=PENDING,
)
Index(
    "deliveries_held",
    deliveries.c.held_until,
    sqlite_where=HELD,
    postgresql_where=HELD,
)
Index(
    "deliveries_expiring",
    deliveries.c.expires_at,
    sqlite_where=PENDING,
    postgresql_where=PENDING,
)

bots = Table(
    "bots",
    metadata,
    Column("name", Text, primary_key=True),
    _text("fingerprint"),  # of its key; a new one means that a stopped bot may work again
    _text("lease"),  # who may send now
    _moment("lease_until"),
    _moment("rest_until"),
    Column("failures", Integer, nullable=False, default=0),  # in a row
    _text("stopped"),  # why nothing can be told through it
    _moment("alarmed_at"),
    Column("untold", Integer, nullable=False, default=0),  # expired, and in no notice yet
    _moment("noticed_at"),
    Column("last_errcode", Integer),
    _text("last_reason"),
    _moment("last_at"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", _Id, primary_key=True),
    _text("bot"),
    _moment("started_at"),
    _moment("ended_at"),  # while it is under way: when its lease ends
    _text("verdict"),  # '' while it is under way
    _text("reason"),
    _text("detail"),
    Column("errcode", Integer),
    Index("attempts_bot", "bot", "ended_at"),
    Index("attempts_ended_at", "ended_at"),
    sqlite_autoincrement=True,
)

attempt_deliveries = Table(
    "attempt_deliveries",
    metadata,
    Column("delivery_id", ForeignKey("deliveries.id"), primary_key=True),
    Column("attempt_id", ForeignKey("attempts.id"), primary_key=True, index=True),
)


def upgrade(connection: Connection) -> None:
    """Bring a database's schema up to date, within the caller's transaction.

    Of many processes that start together one does it, and the others wait. Raises SchemaError
    where the schema is newer than this code.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
    found = _version(connection)
    if found == VERSION:
        return
    from alembic import command  # takes its time, and is needed only here
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError:
        raise SchemaError(
            f"its schema is {found!r}, and this version of the bridge knows up to {VERSION!r}: "
            "deploy the version that wrote it, or a newer one"
        ) from None


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    version: str | None = connection.execute(
        text("SELECT version_num FROM alembic_version")
    ).scalar()
    return version
