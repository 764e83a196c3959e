"""Connections to PostgreSQL, or to a pooler before it, that wait no longer than they are to."""

import time
from collections.abc import Generator
from contextlib import suppress
from typing import Any

import psycopg
from psycopg import capabilities
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row

# What libpq gets beyond the URL: a server that is gone must not be waited for without end.
_GONE = {"connect_timeout": 4, "keepalives_idle": 10, "tcp_user_timeout": 8_000}
_CANCEL = 0.5  # seconds in which the server is asked to end what took too long


class PostgresConnection(psycopg.Connection[dict[str, Any]]):
    """Whatever is under way at the `deadline` (monotonic s) ends as an OperationalError.

    By the client's clock: a server's time-out is a setting of the session, which a pooler in
    transaction mode would give to others, and no help where the server does not answer.
    """

    deadline = float("inf")

    def wait(self, gen: Any, interval: float = 0.1, *args: Any, **more: Any) -> Any:
        """Run what psycopg does on the connection, as every one of its methods does."""
        return super().wait(self._until_deadline(gen), interval, *args, **more)

    def _until_deadline(self, gen: Any) -> Generator[Any, Any, Any]:
        """Pass on what psycopg's generator yields; it is sent None each `interval` in vain."""
        ready = None
        while True:
            try:
                wanted = gen.send(ready)
            except StopIteration as end:
                return end.value
            ready = yield wanted
            if not ready and time.monotonic() > self.deadline:
                gen.close()
                self.deadline = float("inf")
                with suppress(Exception):
                    # Else a server would keep what waits for a lock, one more with each new try.
                    if capabilities.has_cancel_safe():
                        self.cancel_safe(timeout=_CANCEL)
                raise psycopg.OperationalError("the server takes too long to answer")

    @property
    def is_pooled(self) -> bool:
        """Tell whether another process than the one that was connected to runs the statements."""
        [row] = self.execute("SELECT pg_backend_pid() AS pid").fetchall()
        return bool(row["pid"] != self.info.backend_pid)


def connect(url: str) -> PostgresConnection:
    """Connect; each statement is a transaction where none has begun."""
    options: dict[str, Any] = {**_GONE, **conninfo_to_dict(url)}
    # No prepared statements: a pooler in transaction mode gives each transaction another session.
    connection = PostgresConnection.connect(
        **options,
        autocommit=True,
        row_factory=dict_row,
        prepare_threshold=None,
    )
    assert isinstance(connection, PostgresConnection)
    return connection
