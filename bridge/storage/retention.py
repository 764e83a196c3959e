"""Retention: what was settled long ago is deleted, a small batch at a time."""

from collections.abc import Mapping
from typing import Any

from bridge.storage.database import Database
from bridge.storage.driver import SQL, Connection

# Rows in one transaction. Writers wait for it: 20 events of a megabyte take some 20 ms.
BATCH = 20


def prune(database: Database, before: float) -> int:
    """Delete a batch of what was settled before a moment (epoch s).

    Returns how many rows at the most; 0 when nothing is left. It is looked for outside the
    transaction, while others may write. Raises StorageError.
    """
    values = {"before": before, "batch": BATCH}
    with database.read() as connection:
        events = [row["id"] for row in connection.execute(SQL["old_events"], values)]
        attempts = [row["id"] for row in connection.execute(SQL["unlinked_attempts"], values)]
    if not events and not attempts:
        return 0
    ids = {"before": before, "events": events, "attempts": attempts}
    database.write(lambda connection: _delete(connection, ids))
    return max(len(events), len(attempts))


def _delete(connection: Connection, ids: Mapping[str, Any]) -> None:
    settled = connection.execute(SQL["still_settled"], ids)
    events = {"events": [row["id"] for row in settled]}
    connection.execute(SQL["delete_links"], events)
    connection.execute("DELETE FROM deliveries WHERE event_id IN :events", events)
    connection.execute("DELETE FROM events WHERE id IN :events", events)
    connection.execute("DELETE FROM attempts WHERE id IN :attempts", ids)
