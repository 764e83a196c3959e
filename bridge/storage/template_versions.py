"""Templates that were saved in the console: the texts in use, and each file's versions."""

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from bridge.errors import StorageError
from bridge.storage.database import ANSWER, Database
from bridge.storage.driver import SQL, Connection

KEPT = 50  # versions of each file
WAIT = 1.0  # seconds that a message waits for the database; then the last known texts are used
PAUSE = 5.0  # seconds for which a database that did not answer is not asked again


@dataclass(frozen=True)
class Version:
    """A text that was saved at `saved_at`; None: the folder's own was put back."""

    id: int
    source: str | None
    saved_at: float


class TemplateVersions:
    """Saved templates by the names of their files; safe for many threads.

    `clock` gives epoch seconds.
    """

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock
        self._lock = threading.Lock()
        self._newest = 0
        self._texts: Mapping[str, str] = {}
        self._ask_after = 0.0  # monotonic seconds

    def texts(self) -> Mapping[str, str]:
        """Return the saved text of every file that has one; asked for each message, so cheap.

        Where the database does not answer these are the last known.
        """
        with self._lock:
            if time.monotonic() >= self._ask_after and self._database.exists:
                self._ask_after = time.monotonic() + PAUSE
                with suppress(StorageError):
                    self._refresh(WAIT)
            return self._texts

    def read(self) -> Mapping[str, str]:
        """Return the same. Raises StorageError where the database does not answer."""
        with self._lock:
            self._refresh(ANSWER)
            return self._texts

    def _refresh(self, wait: float) -> None:
        with self._database.read(wait) as connection:
            [row] = connection.execute(SQL["newest_template_version"])
            if row["id"] != self._newest:
                rows = connection.execute(SQL["saved_templates"])
                self._texts = {saved["file"]: saved["source"] for saved in rows}
                self._newest = row["id"]
        self._ask_after = 0.0

    def of(self, file: str) -> list[Version]:
        """Return a file's versions, the newest first. Raises StorageError."""
        rows = self._database.select(SQL["template_versions"], file=file)
        return [Version(row["id"], row["source"], row["saved_at"]) for row in rows]

    def save(self, texts: Mapping[str, str | None]) -> None:
        """Let these texts, by the names of their files, win over the folder's.

        None instead of a text: the folder's own is used again. Raises StorageError.
        """
        now = self._clock()
        rows = [{"file": f, "source": s, "now": now, "kept": KEPT} for f, s in texts.items()]

        def add(connection: Connection) -> None:
            if connection.is_postgres:
                # Others see ids in the order of commits, so that a new one is always the largest.
                connection.execute("LOCK TABLE template_versions IN EXCLUSIVE MODE")
            connection.execute_many(SQL["add_template_version"], rows)
            connection.execute_many(SQL["delete_old_template_versions"], rows)

        self._database.write(add)
        with self._lock:
            self._ask_after = 0.0
