"""What people do by hand when something was not told as it should have been."""

import time
from collections.abc import Callable, Sequence

from bridge.model import Event, Target
from bridge.storage.database import Connection, Database
from bridge.storage.tables import add_deliveries, changing_deliveries, event_row, store, target_of

TEST = "test"  # the type of the event that a test message tells
DONE = "done_by_hand"


class Operator:
    """Changes to deliveries that somebody asked for; each is one transaction."""

    def __init__(
        self, database: Database, max_age: float, clock: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self._max_age = max_age
        self._clock = clock

    def send_again(self, event_id: int, bots: Sequence[str] = ()) -> list[str]:
        """Tell an event once more, to these bots or those that it was for; return their names.

        A bot that it was for is told in the same way, with the same template and mentions.
        """
        now = self._clock()
        return self._database.write(lambda c: self._send_again(c, event_id, bots, now))

    def _send_again(
        self, connection: Connection, event_id: int, bots: Sequence[str], now: float
    ) -> list[str]:
        number = {"number": event_id}
        rows = connection.execute(
            "SELECT * FROM deliveries WHERE event_id = :number ORDER BY id", number
        )
        before = {row["bot"]: target_of(row) for row in rows}
        known = connection.execute("SELECT 1 FROM events WHERE id = :number", number)
        names = (bots or list(before)) if known else []
        earlier = [before.get(name, Target(name)) for name in names]
        targets = [Target(t.bot, t.mention, t.template, t.attach) for t in earlier]
        add_deliveries(connection, now, self._max_age, [(event_id, targets)])
        return [target.bot for target in targets]

    def retry(self, ids: Sequence[int]) -> int:
        """Let parked and expired deliveries wait again, as if they were new; return how many."""
        now = self._clock()
        values = {
            "state": "pending",
            "reason": "",
            "tries": 0,
            "media_id": "",
            "held_until": 0.0,
            "settled_at": 0.0,
            "expires_at": now + self._max_age,
        }
        return self._change(ids, ("parked", "expired"), values)

    def mark_done(self, ids: Sequence[int]) -> int:
        """Settle deliveries that nobody needs any more; return how many."""
        values = {"state": "expired", "reason": DONE, "settled_at": self._clock()}
        return self._change(ids, ("pending", "parked"), values)

    def _change(self, ids: Sequence[int], states: Sequence[str], values: dict[str, object]) -> int:
        statement = f"{changing_deliveries(states, values)} RETURNING id"
        changed = {**values, "these": list(ids)}
        return len(self._database.write(lambda c: c.execute(statement, changed)))

    def send_test(self, bot: str) -> int:
        """Put a test message to a bot in the outbox; return its event's id."""
        now = self._clock()
        row = event_row(Event(TEST, {"bot": bot, "sent_at": now}, now))
        return self._database.write(lambda c: store(c, now, self._max_age, row, [Target(bot)]))
