"""Operator actions: resend an event, retry deliveries, mark them as done, send a test message."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

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

    def send_again(self, event_id: int, bots: Sequence[str]) -> None:
        """Send an event once more, to these bots.

        A bot that it was for gets it as before, with the same template and mentions.
        """
        query = "SELECT * FROM deliveries WHERE event_id = :id ORDER BY id"
        rows = self._database.select(query, id=event_id)
        before = {row["bot"]: replace(target_of(row), not_before=0.0) for row in rows}
        wanted = [(event_id, before.get(name, Target(name))) for name in bots]
        now = self._clock()

        def add(connection: Connection) -> None:
            # It may just have been deleted as too old.
            if connection.execute("SELECT 1 FROM events WHERE id = :id", {"id": event_id}):
                add_deliveries(connection, now, self._max_age, wanted)

        self._database.write_and_wake(add)

    def retry(self, ids: Sequence[int]) -> int:
        """Make parked and expired deliveries pending again, as if new; return how many."""
        now = self._clock()
        values = {"ids": list(ids), "now": now, "expires_at": now + self._max_age}
        return self._database.write_and_wake(lambda c: len(c.execute(SQL["retry"], values)))

    def mark_done(self, ids: Sequence[int]) -> int:
        """Settle deliveries that nobody needs any more; return how many."""
        values = {"ids": list(ids), "reason": DONE, "now": self._clock()}
        return self._database.write_and_wake(lambda c: len(c.execute(SQL["mark_done"], values)))

    def send_test(self, bot: str) -> int:
        """Add a test message for a bot, to be sent at once; return its event's id.

        It does not wait until a stopped bot is tried by itself, nor for what is pending.
        """
        now = self._clock()
        event = Event(TEST, {"bot": bot, "sent_at": now}, now)

        def add(connection: Connection) -> int:
            event_id = add_event(connection, now, self._max_age, event, [Target(bot)])
            connection.execute(SQL["send_test_first"], {"event": event_id, "bot": bot})
            return event_id

        return self._database.write_and_wake(add)
