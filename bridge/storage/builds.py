"""Which events are of one build, and the apps and builds that Pgyer's API has shown.

An event may come by a webhook, or be found by asking the API. A webhook names neither build nor
app, so that an event is recognised by several marks: whatever has one in common is of one build.
"""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from bridge.model import API, NAMED, Event, Routed, as_text
from bridge.storage.database import Database
from bridge.storage.driver import SQL, Connection

MARKS_KEPT = 7 * 86400.0  # seconds for which a late webhook is expected: numbers come again later
BUILDS_KEPT = 90 * 86400.0  # seconds for which it is kept what was decided about a build
EARLY = 86400.0  # seconds by which a webhook may seem older than its build: clocks differ
SCAN = 10_000  # of the latest events that may be a build's webhook


@dataclass(frozen=True)
class App:
    """An app: the highest of its build counters, and the last part of its page's address."""

    counter: int
    slug: str


@dataclass(frozen=True)
class Found:
    """An event that was found by asking, and the bots that it went to."""

    event: int
    bots: frozenset[str]


def slug_of(link: str) -> str:
    """Return the last part of a page's address; '' where there is none."""
    try:
        return urlsplit(link).path.rstrip("/").rpartition("/")[2]
    except ValueError:
        return ""


def marks_of(event: Event) -> list[str]:
    """Return the marks of an event of a new version, as hex; none for any other event.

    Each mark is a hash of values that two events of one build share: page and Pgyer's counter;
    page, version and the app's own number (with upload time or size, where the event has them);
    upload time and size; the build's key.
    """
    if event.type != "updateVersion":
        return []
    fields, is_asked = event.fields, event.source == API
    build = event.payload.get("build" if is_asked else "data")
    build = build if isinstance(build, Mapping) else {}
    slug, number = slug_of(fields["link"]), fields["build_version"]
    own = as_text(build.get("buildVersionNo")) if is_asked else number
    counter = str(int(number)) if number.isdecimal() and len(number) < 19 else ""
    created, appsize = fields["created"], fields["appsize"]
    number_of = ("number", slug, fields["os_version"], own)
    candidates: list[tuple[str, ...]] = [
        ("counter", slug, counter),
        (*number_of, created),
        (*number_of, appsize),
        ("upload", created, appsize),
        ("key", as_text(build.get("buildKey"))),
    ]
    if is_asked or not (created or appsize):
        candidates.append(number_of)
    return [_mark(*parts) for parts in candidates if all(parts)]


def _mark(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _bots(routed: Routed) -> frozenset[str]:
    return frozenset(target.bot for target in routed.targets)


def webhook_event(connection: Connection, event: Event, since: float) -> int | None:
    """Return the stored event of a build's webhook that came after a moment (epoch s).

    `event` is the one that was made of the build.
    """
    [newest] = connection.execute("SELECT max(id) AS id FROM events")
    fields, marks = event.fields, set(marks_of(event))
    numbers = [fields["build_version"], as_text(event.payload["build"].get("buildVersionNo"))]
    values = {
        "bottom": (newest["id"] or 0) - SCAN,
        "since": since,
        "os_version": fields["os_version"],
        "numbers": numbers,
        "created": f'%"{fields["created"]}"%' if fields["created"] else "",
    }
    for row in connection.execute(SQL["webhook_events"], values):
        stored = Event("updateVersion", json.loads(row["payload"]), 0.0)
        if not marks.isdisjoint(marks_of(stored)):
            return int(row["id"])
    return None


class BuildEvents:
    """Which events are of builds that are stored already, for one transaction.

    `rows` are the events to store, with their `marks`; a build is sent until it is `max_age` s old.
    """

    def __init__(
        self, connection: Connection, rows: Sequence[Mapping[str, Any]], now: float, max_age: float
    ) -> None:
        self._connection, self._now, self._since = connection, now, now - max_age - EARLY
        self._asked: dict[str, Found] = {}  # by mark, events that were found by asking
        self._posted: dict[str, int] = {}  # the same for the webhooks of this transaction
        self._new: list[dict[str, Any]] = []
        if marks := list({mark for row in rows for mark in row["marks"]}):
            values = {"marks": marks, "since": now - MARKS_KEPT}
            for row in connection.execute(SQL["events_of_marks"], values):
                found = self._asked.get(row["mark"], Found(row["event_id"], frozenset()))
                self._asked[row["mark"]] = Found(row["event_id"], found.bots | {row["bot"]})

    def event_of_same(self, routed: Routed, marks: Sequence[str]) -> int | None:
        """Return the event that makes this one superfluous, None for none.

        For a late webhook that is the one that was found by asking, unless its address named the
        bots and the other did not go to all of them. For what was found by asking, its webhook's,
        or one by the same key: two builds may have the app's own number in common.
        """
        event = routed.event
        if event.source != API:
            asked = next((self._asked[mark] for mark in marks if mark in self._asked), None)
            is_covered = asked and (NAMED not in routed.rules or asked.bots >= _bots(routed))
            return asked.event if asked and is_covered else None
        if asked := self._asked.get(_mark("key", event.payload["build"]["buildKey"])):
            return asked.event
        posted = next((self._posted[mark] for mark in marks if mark in self._posted), None)
        return posted or webhook_event(self._connection, event, self._since)

    def add(self, routed: Routed, marks: Sequence[str], number: int) -> None:
        """Note that an event is stored by this number."""
        if routed.event.source != API:
            self._posted |= dict.fromkeys(marks, number)
            return
        self._asked |= dict.fromkeys(marks, Found(number, _bots(routed)))
        self._new += [{"mark": mark, "event_id": number, "now": self._now} for mark in marks]

    def save(self) -> None:
        """Remember the marks of what was found by asking, and forget old ones."""
        if self._new:
            self._connection.execute_many(SQL["add_build_mark"], self._new)
            self._connection.execute(SQL["forget_build_marks"], {"before": self._now - MARKS_KEPT})


class PgyerBuilds:
    """The apps and builds that Pgyer's API has shown, and what was decided about each build.

    Every method raises StorageError.
    """

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

    def app_with(self, slug: str) -> str:
        """Return the key of the app with this page, '' for none."""
        query = "SELECT app_key FROM pgyer_apps WHERE slug = :slug ORDER BY counter DESC LIMIT 1"
        return next((row["app_key"] for row in self._database.select(query, slug=slug)), "")

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
            connection.execute(SQL["forget_pgyer_builds"], {"before": now - BUILDS_KEPT})

        self._database.write(write)
