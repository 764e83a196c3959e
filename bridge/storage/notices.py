"""The bridge's own events: a bot is stopped, deliveries have expired.

They go through the outbox and templates like any other event. Everything here runs inside a
transaction; what is to be logged or counted is returned.
"""

from collections.abc import Collection
from typing import Any

from bridge.model import Event, Outcome, Target
from bridge.storage.driver import SQL, Connection, Row
from bridge.storage.tables import add_event, update_bot
from bridge.wording import notice

HOURLY = 3600.0  # seconds between two notices of one kind about one bot
STOPPED, EXPIRED = "botStopped", "expired"  # the events' types


class Notices:
    """Adds notices for the bots `known` here; like all deliveries they expire after `max_age` s."""

    def __init__(self, max_age: float, known: Collection[str]) -> None:
        self._max_age = max_age
        self._known = known

    def expire(self, connection: Connection, now: float) -> tuple[dict[str, list[int]], list[str]]:
        """Settle what is too old, and add notices about it, at most one an hour for each bot.

        Returns the events of what has expired by bot, and the bots about which there is no bot to
        send a notice to.
        """
        events: dict[str, list[int]] = {}
        for row in connection.execute(SQL["expire"], {"now": now}):
            events.setdefault(row["bot"], []).append(row["event_id"])
        for name, ids in events.items():
            values = {"name": name, "count": len(ids), "events": ids}
            connection.execute(SQL["count_expired"], values)
        unheard = []
        for row in connection.execute(SQL["due_expiry_notices"], {"before": now - HOURLY}):
            update_bot(connection, row["name"], expired_count=0, expiry_notice_at=now)
            facts = {"count": row["expired_count"], "hours": round(self._max_age / 3600, 1)}
            if not self._add(connection, now, EXPIRED, row["name"], facts):
                unheard.append(row["name"])
        return events, unheard

    def add_stop(self, connection: Connection, bot: Row, outcome: Outcome, now: float) -> bool:
        """Add a notice that a bot is stopped, at most once an hour; `bot` is its row from before.

        Returns False where there is no bot to send it to.
        """
        if now - bot["stop_notice_at"] < HOURLY:
            return True
        update_bot(connection, bot["name"], stop_notice_at=now)
        facts = {"reason": outcome.reason, "detail": outcome.detail}
        return self._add(connection, now, STOPPED, bot["name"], facts)

    def _add(
        self, connection: Connection, now: float, kind: str, about: str, facts: dict[str, Any]
    ) -> bool:
        """Add an event about a bot: for itself if it works, else for `default`, else for any."""
        stopped = {row["name"] for row in connection.execute(SQL["stopped_bots"])}
        order = [about, "default", *sorted(self._known)]
        working = [name for name in order if name in self._known and name not in stopped]
        if not working:
            return False
        payload = {"bot": about, **facts}
        event = Event(kind, {**payload, "message": notice(kind, **payload)}, now)
        add_event(connection, now, self._max_age, event, [Target(working[0])])
        return True
