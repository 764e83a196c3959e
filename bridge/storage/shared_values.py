"""What all processes share: who does what they do once in all, and sessions that were ended."""

import hashlib

from bridge.storage.database import Database
from bridge.storage.driver import SQL, Connection


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

    def text(self, name: str) -> str:
        """Return the text of a name, '' where there is none."""
        query = "SELECT value FROM shared_values WHERE name = :name"
        return next((row["value"] for row in self._database.select(query, name=name)), "")

    def set_text(self, name: str, text: str, now: float) -> None:
        """Set the text of a name."""
        values = {"name": name, "value": text, "at": now}
        self._database.write(lambda connection: connection.execute(SQL["set_shared_value"], values))

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
