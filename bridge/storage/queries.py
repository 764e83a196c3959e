"""Read-only queries for console, command and health checks.

Pages stay quick with any number of events: lists go back in steps of SCAN events at the most, and
every other query has an index.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from bridge.model import Bot, StoredEvent, Target
from bridge.storage.claims import LEASE
from bridge.storage.database import Database
from bridge.storage.driver import SQL, Connection, Row
from bridge.storage.tables import SHOWN, target_of

T = TypeVar("T")

SCAN = 10_000  # events that one page of a filtered list looks at
SHOWN_TOGETHER = 100  # events of one digest
SILENT = 7 * 86400.0  # seconds without an event after which an app may count as silent
SILENT_DAYS = 3  # with events: fewer are no habit
REMOVED = "removed"  # why a bot counts as stopped that is not in the settings any more
MINUTE = 60.0  # seconds
HOUR = 3600.0


@dataclass(frozen=True)
class Health:
    """Pending deliveries, since when the oldest is due (epoch seconds), and the stopped bots.

    `oldest_bot` is the bot of the oldest.
    """

    pending: int
    oldest: float | None
    stopped: Mapping[str, str]
    oldest_bot: str = ""


@dataclass(frozen=True)
class Wanted:
    """Which events a list is to show; '' and 0 ask for nothing. `state` is a delivery's."""

    app: str = ""
    type: str = ""
    bot: str = ""
    state: str = ""
    text: str = ""
    since: float = 0.0  # epoch seconds


@dataclass(frozen=True)
class DeliveryLine:
    """A delivery with its attempts, oldest first; times are epoch seconds, 0 is never."""

    id: int
    event_id: int
    target: Target
    state: str
    reason: str
    created_at: float
    expires_at: float
    settled_at: float
    attempts: Sequence["AttemptLine"]


@dataclass(frozen=True)
class AttemptLine:
    """One HTTP call to WeCom; while it is under way `verdict` is '' and `id` 0."""

    id: int
    started_at: float
    ended_at: float
    verdict: str
    reason: str
    detail: str
    errcode: int | None
    carried: str  # e.g. `digest markdown`; '' where it is not known
    count: int  # of the deliveries that it carried


@dataclass(frozen=True)
class EventLine:
    """An event in a list: the fields that tell what it is, and its deliveries."""

    id: int
    received_at: float
    type: str
    error: str
    source: str
    fields: Mapping[str, str]  # those of tables.SHOWN
    brief: str
    deliveries: Sequence[DeliveryLine]


@dataclass(frozen=True)
class EventPage:
    """A page of a list, newest first; `older` is the `before` of the next page, None at the end."""

    events: Sequence[EventLine]
    older: int | None


@dataclass(frozen=True)
class BotLine:
    """A bot's condition: its pending deliveries, and its calls in the last minute."""

    name: str
    stopped: str  # why, '' if it is not
    rest_until: float
    failures: int
    pending: int
    last_minute: int
    last_errcode: int | None
    last_reason: str
    last_attempt_at: float


@dataclass(frozen=True)
class SilentApp:
    """An app that used to report: when it last did (epoch s), and how often on average (s)."""

    title: str
    last_at: float
    gap: float


@dataclass(frozen=True)
class FirstSteps:
    """What a new deployment has done: the bots that have sent anything, and whether Pgyer has."""

    bots: Sequence[str]
    has_event: bool


class Queries:
    """Reads what the outbox has written; raises StorageError where it cannot."""

    def __init__(self, database: Database, known: Mapping[str, Bot]) -> None:
        self._database = database
        self._known = known

    def events(self, wanted: Wanted, before: int | None = None, limit: int = 50) -> EventPage:
        """Return a page of events, newest first, of those with an id below `before`.

        A page may be short, or even empty, and still have older ones to offer: it looks at SCAN
        events at the most.
        """
        newest = self._newest()
        top = min(before or newest + 1, newest + 1)
        values = {
            **vars(wanted),
            "app": _contained(wanted.app),
            "text": _contained(wanted.text),
            "top": top,
            "bottom": top - SCAN,
            "limit": limit,
        }
        with self._database.read() as connection:
            rows = connection.execute(SQL["event_lines"], values)
            lowest = rows[-1]["id"] if len(rows) == limit else max(top - SCAN, 0)
            left = "SELECT 1 FROM events WHERE id < :lowest LIMIT 1"
            older = lowest if connection.execute(left, {"lowest": lowest}) else None
            deliveries = _deliveries(connection, [row["id"] for row in rows])
        lines = [
            _event_line(row, [line for line in deliveries if line.event_id == row["id"]])
            for row in rows
        ]
        return EventPage(lines, older)

    def event(self, event_id: int) -> StoredEvent | None:
        """Return an event whole, with its raw body; None where there is none."""
        rows = self._database.select("SELECT * FROM events WHERE id = :id", id=event_id)
        if not rows:
            return None
        [row] = rows
        rules = json.loads(row["rules"]) if row["rules"] else None
        payload = json.loads(row["payload"])
        return _filled(StoredEvent, row, payload=payload, rules=rules, build={})

    def events_of_attempt(self, attempt_id: int) -> list[EventLine]:
        """Return the first SHOWN_TOGETHER events that an attempt carried, oldest first."""
        statement = SQL["events_of_attempt"]
        rows = self._database.select(statement, attempt=attempt_id, limit=SHOWN_TOGETHER)
        return list(map(_event_line, rows))

    def missing_builds(self, since: float) -> list[EventLine]:
        """Return the events of builds whose webhook did not come, found since a moment."""
        rows = self._database.select(SQL["missing_builds"], since=since)
        return list(map(_event_line, rows))

    def deliveries(self, event_id: int) -> list[DeliveryLine]:
        """Return an event's deliveries with all their attempts."""
        with self._database.read() as connection:
            return _deliveries(connection, [event_id], attempts=True)

    def unsent_counts(self, since: float) -> dict[str, int]:
        """Return how many deliveries of the events since a moment are parked, how many expired.

        What was marked as done by hand does not count.
        """
        rows = self._database.select(SQL["unsent_counts"], since=since)
        return {row["state"]: row["count"] for row in rows}

    def bots(self, now: float, with_removed: bool = False) -> list[BotLine]:
        """Return the condition of every configured bot.

        `with_removed`: also of those that are not any more and have pending deliveries, as stopped.
        """
        rows = self._database.select(SQL["bot_lines"], since=now - MINUTE)
        found = [_filled(BotLine, row) for row in rows if row["name"] in self._known]
        if with_removed:
            removed = [row for row in rows if row["pending"] and row["name"] not in self._known]
            found += [_filled(BotLine, row, stopped=REMOVED, rest_until=0.0) for row in removed]
        return found

    def per_hour(self, now: float) -> list[tuple[float, int]]:
        """Return the beginning of each of the last 24 hours (epoch s) with its number of events."""
        last = now - now % HOUR
        rows = self._database.select(SQL["events_per_hour"], first=last - 23 * HOUR, last=last)
        return [(row["begins_at"], row["count"]) for row in rows]

    def latest_event(self) -> EventLine | None:
        """Return the newest event that came in, without its deliveries."""
        rows = self._database.select(SQL["latest_event"], bottom=self._newest() - SCAN)
        return _event_line(rows[0]) if rows else None

    def silent_apps(self, now: float) -> list[SilentApp]:
        """Return the apps of the latest SCAN events that used to report, the longest silent first.

        They had events on SILENT_DAYS days or more, and none since three times their usual gap.
        """
        values = {"bottom": self._newest() - SCAN, "days": SILENT_DAYS, "silent": SILENT}
        rows = self._database.select(SQL["silent_apps"], now=now, **values)
        return [_filled(SilentApp, row) for row in rows]

    def types(self) -> list[str]:
        """Return the types of the latest SCAN events; '' is that of those without one."""
        rows = self._database.select(SQL["event_types"], bottom=self._newest() - SCAN)
        return sorted(row["type"] for row in rows)

    def first_steps(self) -> FirstSteps:
        """Return how far a new deployment has come."""
        bots = [row["name"] for row in self._database.select(SQL["bots_that_sent"])]
        return FirstSteps(bots, bool(self._database.select(SQL["event_of_pgyer"])))

    def health(self) -> Health:
        """Return what is pending and stopped; raises StorageError where it cannot be read."""
        queues = self._database.select(SQL["pending"])
        stopped = self._database.select(SQL["stopped_bots"])
        names = {bot["name"]: bot["stopped"] for bot in stopped if bot["name"] in self._known}
        pending = sum(row["count"] for row in queues)
        oldest, bot = min(((row["oldest"], row["bot"]) for row in queues), default=(None, ""))
        return Health(pending, oldest, names, bot)

    def _newest(self) -> int:
        [row] = self._database.select("SELECT max(id) AS newest FROM events")
        return row["newest"] or 0


def _contained(text: str) -> str:
    """Return the pattern of a text that is contained somewhere."""
    return "%" + re.sub(r"([\\%_])", r"\\\1", text) + "%"


def _deliveries(
    connection: Connection, events: Sequence[int], attempts: bool = False
) -> list[DeliveryLine]:
    """Return the deliveries of events; with their `attempts` only if asked for."""
    query = "SELECT * FROM deliveries WHERE event_id IN :events ORDER BY id"
    rows = connection.execute(query, {"events": events})
    calls: dict[int, list[AttemptLine]] = {row["id"]: [] for row in rows}
    if attempts:
        ids = {"deliveries": list(calls)}
        found = connection.execute(SQL["attempts_of_deliveries"], ids)
        found += connection.execute(SQL["attempts_under_way"], {**ids, "lease": LEASE})
        for call in found:
            calls[call["delivery_id"]].append(_filled(AttemptLine, call))
    return [
        _filled(DeliveryLine, row, target=target_of(row), attempts=calls[row["id"]]) for row in rows
    ]


def _event_line(row: Row, deliveries: Sequence[DeliveryLine] = ()) -> EventLine:
    shown = {name: row[name] for name in SHOWN}
    return _filled(EventLine, row, fields=shown, deliveries=deliveries)


def _filled(line: type[T], row: Row, **others: Any) -> T:
    """Return a line made from a row: a field of the same name from each column."""
    columns = [field.name for field in fields(line) if field.name not in others]  # type: ignore[arg-type]
    return line(**{name: row[name] for name in columns}, **others)
