"""What has been: how the outbox stands, and its settled history, deleted when it is old."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, delete, exists, func, select

from bridge.database import Database, attempt_deliveries, attempts, bots, deliveries, events
from bridge.model import Bot

PRUNE_BATCH = 200  # events


@dataclass(frozen=True)
class Health:
    """How the outbox stands: what waits, since when (epoch seconds), which bots are stopped."""

    pending: int
    oldest: float | None
    stopped: Mapping[str, str]


class History:
    """Reads and prunes what the outbox has written."""

    def __init__(self, database: Database, known: Mapping[str, Bot]) -> None:
        self._database = database
        self._known = known

    def health(self) -> Health:
        """Return how the outbox stands; raises StorageError where it cannot be read."""
        with self._database.read() as connection:
            pending = select(func.count(), func.min(deliveries.c.created_at))
            count, oldest = connection.execute(pending.where(deliveries.c.state == "pending")).one()
            stopped = connection.execute(
                select(bots.c.name, bots.c.stopped).where(bots.c.stopped != "")
            )
            names = {row.name: row.stopped for row in stopped if row.name in self._known}
        return Health(count, oldest, names)

    def prune(self, before: float) -> int:
        """Delete a batch of what was settled before a moment; returns how many events."""
        return self._database.write(lambda connection: self._prune(connection, before))

    @staticmethod
    def _prune(connection: Connection, before: float) -> int:
        kept = exists().where(
            deliveries.c.event_id == events.c.id,
            (deliveries.c.state == "pending") | (deliveries.c.settled_at > before),
        )
        old = select(events.c.id).where(events.c.received_at < before, ~kept).limit(PRUNE_BATCH)
        ids = connection.execute(old).scalars().all()
        told = select(deliveries.c.id).where(deliveries.c.event_id.in_(ids))
        connection.execute(
            delete(attempt_deliveries).where(attempt_deliveries.c.delivery_id.in_(told))
        )
        connection.execute(delete(deliveries).where(deliveries.c.event_id.in_(ids)))
        connection.execute(delete(events).where(events.c.id.in_(ids)))
        linked = exists().where(attempt_deliveries.c.attempt_id == attempts.c.id)
        stale = (
            select(attempts.c.id).where(attempts.c.ended_at < before, ~linked).limit(PRUNE_BATCH)
        )
        connection.execute(delete(attempts).where(attempts.c.id.in_(stale.scalar_subquery())))
        return len(ids)
