"""Bring a database's schema up to date: `DATABASE_URL=… python bridge/migrations`.

It runs in a process of its own and imports nothing of the bridge: Alembic and SQLAlchemy cost
23 MiB and 0.3 s, which a process that serves would never get back.
"""

import os
import sqlite3
import sys
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, create_engine, event, text

LOCK = 7_291_003  # PostgreSQL's advisory lock for whoever brings the schema up to date
PATIENCE = 60.0  # seconds that SQLite waits for another process that does the same


def main() -> str:
    """Migrate in one transaction; of many processes one does it, and the others wait for it.

    Returns what is wrong, if anything is.
    """
    url = os.environ["DATABASE_URL"]

    def connect() -> Any:
        if url.startswith("sqlite"):
            path = url.removeprefix("sqlite:///")
            return sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)
        import psycopg

        return psycopg.connect(url)

    kind = "sqlite" if url.startswith("sqlite") else "postgresql+psycopg"
    engine = create_engine(f"{kind}://", creator=connect)

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        if kind == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK})"))

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except Exception as error:  # of whatever kind: the driver's, SQLAlchemy's, Alembic's
        # Without the statement and its values, which SQLAlchemy adds.
        return str(getattr(error, "orig", None) or error).strip().split("\n")[0]
    return ""


if __name__ == "__main__":
    sys.exit(main() or None)
