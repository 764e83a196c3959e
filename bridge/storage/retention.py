"""Retention: what was settled long ago is deleted, a small batch at a time."""

from collections.abc import Mapping
from typing import Any

from bridge.storage.database import Database
from bridge.storage.driver import Connection

# Rows in one transaction. Writers wait for it: 20 events of a megabyte take some 20 ms.
BATCH = 20

# What may go is settled, and was before the moment; what is pending never goes.
_SETTLED = """NOT EXISTS (SELECT 1 FROM deliveries
    WHERE event_id = events.id AND (state = 'pending' OR settled_at > :before))"""
# old_events: events whose deliveries were all settled before the moment.
_OLD_EVENTS = f"SELECT id FROM events WHERE received_at < :before AND {_SETTLED} LIMIT {BATCH}"
# unlinked_attempts: old attempts whose deliveries are gone.
_UNLINKED_ATTEMPTS = f"""
    SELECT id FROM attempts WHERE ended_at < :before
        AND NOT EXISTS (SELECT 1 FROM attempt_deliveries WHERE attempt_id = attempts.id)
    LIMIT {BATCH}"""


def prune(database: Database, before: float) -> int:
    """Delete a batch of what was settled before a moment (epoch s).

    Returns how many rows at the most; 0 when nothing is left. It is looked for outside the
    transaction, while others may write. Raises StorageError.
    """
    values = {"before": before}
    with database.read() as connection:
        events = [row["id"] for row in connection.execute(_OLD_EVENTS, values)]
        attempts = [row["id"] for row in connection.execute(_UNLINKED_ATTEMPTS, values)]
    if not events and not attempts:
        return 0
    ids = {"before": before, "events": events, "attempts": attempts}
    database.write(lambda connection: _delete(connection, ids))
    return max(len(events), len(attempts))


def _delete(connection: Connection, ids: Mapping[str, Any]) -> None:
    # Somebody may have retried one of them meanwhile.
    still = connection.execute(f"SELECT id FROM events WHERE id IN :events AND {_SETTLED}", ids)
    events = {"events": [row["id"] for row in still]}
    deliveries = "SELECT id FROM deliveries WHERE event_id IN :events"
    connection.execute(
        f"DELETE FROM attempt_deliveries WHERE delivery_id IN ({deliveries})", events
    )
    connection.execute("DELETE FROM deliveries WHERE event_id IN :events", events)
    connection.execute("DELETE FROM events WHERE id IN :events", events)
    connection.execute("DELETE FROM attempts WHERE id IN :attempts", ids)
