"""Operator actions: resend an event, retry deliveries, mark them as done, send a test message."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bridge.model import Event, Target
from bridge.storage.database import Database
from bridge.storage.driver import SQL, Connection
from bridge.storage.tables import add_deliveries, add_event, target_of

TEST = "test"  # the type of the event of a test message
DONE = "done_by_hand"  # the reason of a delivery that somebody marked as done


class Operator:
    """Changes to deliveries that somebody asked for; each is one transaction."""

    def __init__(
        self, database: Database, max_age: float, clock: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self._max_age = max_age
        self._clock = clock

    def send_again(self, event_id: int, bots: Sequence[str] = ()) -> list[str]:
        """Send an event once more, to these bots or to those it was for; return their names.

        A bot that it was for gets it as before, with the same template and mentions.
        """
        now = self._clock()
        return self._database.write_and_wake(lambda c: self._send_again(c, event_id, bots, now))

    def _send_again(
        self, connection: Connection, event_id: int, bots: Sequence[str], now: float
    ) -> list[str]:
        values = {"id": event_id}
        rows = connection.execute(
            "SELECT * FROM deliveries WHERE event_id = :id ORDER BY id", values
        )
        before = {row["bot"]: target_of(row) for row in rows}
        exists = connection.execute("SELECT 1 FROM events WHERE id = :id", values)
        names = (bots or list(before)) if exists else []
        earlier = [before.get(name, Target(name)) for name in names]
        targets = [Target(t.bot, t.mention, t.template, t.attach) for t in earlier]
        add_deliveries(connection, now, self._max_age, [(event_id, t) for t in targets])
        return [target.bot for target in targets]

    def retry(self, ids: Sequence[int]) -> int:
        """Make parked and expired deliveries pending again, as if new; return how many."""
        now = self._clock()
        values = {
            "state": "pending",
            "reason": "",
            "tries": 0,
            "media_id": "",
            "not_before": 0.0,
            "settled_at": 0.0,
            "created_at": now,
            "expires_at": now + self._max_age,
        }
        return self._change(ids, "state IN ('parked', 'expired')", values)

    def mark_done(self, ids: Sequence[int]) -> int:
        """Settle deliveries that nobody needs any more; return how many."""
        values = {"state": "expired", "reason": DONE, "settled_at": self._clock()}
        return self._change(ids, "state IN ('pending', 'parked')", values)

    def _change(self, ids: Sequence[int], condition: str, values: Mapping[str, Any]) -> int:
        changes = ", ".join(f"{column} = :{column}" for column in values)
        statement = f"UPDATE deliveries SET {changes} WHERE id IN :ids AND {condition} RETURNING id"
        bound = {**values, "ids": list(ids)}
        return self._database.write_and_wake(lambda c: len(c.execute(statement, bound)))

    def send_test(self, bot: str) -> int:
        """Add a test message for a bot, to be sent at once; return its event's id.

        It does not wait until a stopped bot is tried by itself, nor for what is pending.
        """
        now = self._clock()
        event = Event(TEST, {"bot": bot, "sent_at": now}, now)
        return self._database.write_and_wake(lambda c: self._send_test(c, event, bot))

    def _send_test(self, connection: Connection, event: Event, bot: str) -> int:
        event_id = add_event(connection, event.received_at, self._max_age, event, [Target(bot)])
        connection.execute(SQL["send_test_first"], {"event": event_id, "bot": bot})
        return event_id
