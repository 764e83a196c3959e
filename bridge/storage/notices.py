"""What the bridge itself has to tell: a bot is stopped, deliveries have expired.

Such news are events like any other, in the outbox and by templates of their own names.
"""

import logging
from collections.abc import Mapping
from typing import Any

from bridge import metrics
from bridge.model import Bot, Event, Outcome, Target
from bridge.storage.database import Connection, Record
from bridge.storage.tables import event_row, set_bot, store

log = logging.getLogger(__name__)

HOURLY = 3600.0  # seconds between two notices of one kind about one bot
STOPPED, EXPIRED = "botStopped", "expired"  # the events' types


# When the next notice of expired deliveries is due.
DUE = f"SELECT min(noticed_at) + {HOURLY} AS moment FROM bots WHERE untold > 0"


class Notices:
    """Puts notices into the outbox, within the transaction of whatever they tell about."""

    def __init__(self, known: Mapping[str, Bot], max_age: float) -> None:
        self._known = known
        self._max_age = max_age

    def stopped(self, connection: Connection, bot: Record, outcome: Outcome, now: float) -> None:
        """Tell that a bot is stopped, at most once an hour; `bot` is its row from before."""
        if now - bot["alarmed_at"] >= HOURLY:
            set_bot(connection, bot["name"], alarmed_at=now)
            facts = {"reason": outcome.reason, "detail": outcome.detail}
            self._tell(connection, now, STOPPED, bot["name"], facts)

    def expire(self, connection: Connection, now: float) -> None:
        """Settle what is too old, and tell of it, at most once an hour for each bot."""
        expired = connection.execute(
            "UPDATE deliveries SET state = 'expired', reason = 'too_old', settled_at = :now "
            "WHERE state = 'pending' AND expires_at <= :now RETURNING bot, event_id",
            {"now": now},
        )
        for name in {row["bot"] for row in expired}:
            ids = [row["event_id"] for row in expired if row["bot"] == name]
            log.warning(
                "bot %s: %d deliveries are too old and expire (events %s)", name, len(ids), ids[:20]
            )
            # A notice that has expired itself is not worth another notice.
            [own] = connection.execute(
                f"SELECT count(*) AS count FROM events WHERE id IN :ids AND type = '{EXPIRED}'",
                {"ids": ids},
            )
            [bot] = connection.execute("SELECT untold FROM bots WHERE name = :name", {"name": name})
            set_bot(connection, name, untold=bot["untold"] + len(ids) - own["count"])
            metrics.DELIVERIES.labels(name, "expired").inc(len(ids))
        due = "SELECT name, untold FROM bots WHERE untold > 0 AND noticed_at <= :before"
        for row in connection.execute(due, {"before": now - HOURLY}):
            set_bot(connection, row["name"], untold=0, noticed_at=now)
            facts = {"count": row["untold"], "hours": round(self._max_age / 3600, 1)}
            self._tell(connection, now, EXPIRED, row["name"], facts)

    def _tell(
        self, connection: Connection, now: float, kind: str, about: str, facts: dict[str, Any]
    ) -> None:
        """Put an event of the bridge's own in the outbox, about one bot, for whoever can hear it.

        News of a bot that works go to itself; otherwise to `default`, or else to any other.
        """
        rows = connection.execute("SELECT name FROM bots WHERE stopped != ''")
        stopped = {row["name"] for row in rows}
        order = [about, "default", *sorted(self._known)]
        hearing = [name for name in order if name in self._known and name not in stopped]
        if not hearing:
            log.error("bot %s: %s %s, and there is no other bot to tell it to", about, kind, facts)
            return
        event = Event(kind, {"bot": about, **facts}, now)
        store(connection, now, self._max_age, event_row(event), [Target(hearing[0])])
