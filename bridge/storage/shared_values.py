"""What all processes share: who does what they do once in all, and sessions that were ended."""

import hashlib
from collections.abc import Callable

from bridge.storage.database import Database
from bridge.storage.driver import SQL, Connection
from bridge.storage.writer import WAIT

Value = tuple[str, float]  # a text, and a time that belongs to it (epoch s)


class SharedValues:
    """Small values in the database; every method raises StorageError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take_turn(self, name: str, latest: float, now: float) -> bool:
        """Take the turn of a task that was last done at `latest` or before (epoch s).

        Of many processes one gets True, and the task counts as done at `now`. A turn in the
        future, by a clock that was set back, is taken as well.
        """
        values = {"name": name, "latest": latest, "now": now}
        if self.was_done(name, now, latest):
            return False
        return bool(self._database.write(lambda c: c.execute(SQL["take_turn"], values)))

    def was_done(self, name: str, now: float, since: float = 0.0) -> bool:
        """Tell whether any process has taken the turn of a task after a moment."""
        return bool(self._database.select(SQL["turn_is_taken"], name=name, latest=since, now=now))

    def end_turn(self, name: str, now: float) -> None:
        """Give back a turn that was taken at `now`."""
        values = {"name": name, "now": now}
        self._database.write(lambda connection: connection.execute(SQL["end_turn"], values))

    def read(self, name: str) -> Value:
        """Return the text of a name and its time, '' and 0 where there is none."""
        query = "SELECT value, at FROM shared_values WHERE name = :name"
        rows = self._database.select(query, name=name)
        return next(((row["value"], row["at"]) for row in rows), ("", 0.0))

    def change(self, name: str, change: Callable[[str, float], Value], wait: float = WAIT) -> None:
        """Let `change` make a new value of the old one, within `wait` s, while nobody else does.

        It may be called twice.
        """

        def write(connection: Connection) -> None:
            [row] = connection.execute(SQL["lock_shared_value"], {"name": name})
            text, at = change(row["value"], row["at"])
            values = {"name": name, "value": text, "at": at}
            connection.execute(SQL["set_shared_value"], values)

        self._database.write(write, wait)

    def end_session(self, session: str, now: float, lifetime: float) -> None:
        """Remember that a session has ended, for as long as it could still be used (s)."""
        values = {"id": _hashed(session), "now": now, "before": now - lifetime}

        def end(connection: Connection) -> None:
            connection.execute(SQL["forget_sessions"], values)
            connection.execute(SQL["end_session"], values)

        self._database.write(end)

    def has_ended(self, session: str) -> bool:
        """Tell whether a session was ended."""
        return bool(self._database.select(SQL["ended_session"], id=_hashed(session)))


def _hashed(session: str) -> str:
    return hashlib.sha256(session.encode()).hexdigest()
