"""The apps and builds that Pgyer's API has shown, and what was decided about each build."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bridge.model import Event
from bridge.storage.build_marks import webhook_event
from bridge.storage.database import Database
from bridge.storage.driver import SQL, Connection

KEPT = 90 * 86400.0  # seconds


@dataclass(frozen=True)
class App:
    """An app: the highest of its build counters, and the last part of its page's address."""

    counter: int
    slug: str


class PgyerBuilds:
    """Reads and writes them; every method raises StorageError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def apps(self) -> dict[str, App]:
        """Return every app by its key."""
        rows = self._database.select("SELECT * FROM pgyer_apps")
        return {row["app_key"]: App(row["counter"], row["slug"]) for row in rows}

    def known(self, keys: Collection[str]) -> set[str]:
        """Return those of these builds, by their keys, about which something was decided."""
        query = "SELECT build_key FROM pgyer_builds WHERE build_key IN :keys"
        return {row["build_key"] for row in self._database.select(query, keys=list(keys))}

    def count(self) -> int:
        """Return about how many builds something was decided."""
        [row] = self._database.select("SELECT count(*) AS count FROM pgyer_builds")
        return int(row["count"])

    def app_with(self, slug: str, wait: float) -> str:
        """Return the key of the app with this page, '' for none, within `wait` s."""
        query = "SELECT app_key FROM pgyer_apps WHERE slug = :slug ORDER BY counter DESC LIMIT 1"
        with self._database.read(wait) as connection:
            rows = connection.execute(query, {"slug": slug})
        return next((row["app_key"] for row in rows), "")

    def webhook_event(self, event: Event, since: float = 0.0) -> int | None:
        """Return the event of a build's webhook that came since a moment (epoch s)."""
        with self._database.read() as connection:
            return webhook_event(connection, event, since)

    def record(
        self, apps: Sequence[Mapping[str, Any]], builds: Sequence[Mapping[str, Any]], now: float
    ) -> None:
        """Record apps and builds, as rows; a decision about a build stays."""
        decided = [{**row, "now": now} for row in builds]

        def write(connection: Connection) -> None:
            connection.execute_many(SQL["add_pgyer_app"], apps)
            connection.execute_many(SQL["add_pgyer_build"], decided)
            connection.execute(SQL["forget_pgyer_builds"], {"before": now - KEPT})

        self._database.write(write)
