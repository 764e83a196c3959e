"""What has been: events with their deliveries and attempts, how the bots stand, what is too old.

Pages stay quick with any number of events: lists go back in steps of SCAN events at the most, and
every other query has an index.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, case, delete, exists, func, or_, select

from bridge.database import Database
from bridge.model import Bot, Event, Target
from bridge.rows import SHOWN, target_of
from bridge.schema import PENDING, attempt_deliveries, attempts, bots, deliveries, events

PRUNE_BATCH = 200  # events
SCAN = 10_000  # events that one page of a filtered list looks at
MINUTE = 60.0  # seconds
HOUR = 3600.0


@dataclass(frozen=True)
class Health:
    """How the outbox stands: what waits, since when (epoch seconds), which bots are stopped."""

    pending: int
    oldest: float | None
    stopped: Mapping[str, str]


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
    event: int
    target: Target
    state: str
    reason: str
    tries: int
    created_at: float
    expires_at: float
    settled_at: float
    attempts: Sequence["AttemptLine"] = ()


@dataclass(frozen=True)
class AttemptLine:
    """One HTTP call to WeCom; `verdict` is '' while it is under way."""

    id: int
    started_at: float
    ended_at: float
    verdict: str
    reason: str
    detail: str
    errcode: int | None


@dataclass(frozen=True)
class EventLine:
    """An event in a list: the fields that tell what it is, and its deliveries."""

    id: int
    received_at: float
    type: str
    error: str
    fields: Mapping[str, str]  # title, device_type, os_version, build_version, link
    brief: str
    deliveries: Sequence[DeliveryLine]


@dataclass(frozen=True)
class EventPage:
    """A page of a list, newest first; `older` is the `before` of the next page, None at the end."""

    events: Sequence[EventLine]
    older: int | None


@dataclass(frozen=True)
class BotLine:
    """How a bot stands: what waits for it, and how many calls of the last minute count."""

    name: str
    stopped: str  # why, '' if it is not
    rest_until: float
    failures: int
    waiting: int
    last_minute: int
    last_errcode: int | None
    last_reason: str
    last_at: float


class History:
    """Reads and prunes what the outbox has written; raises StorageError where it cannot."""

    def __init__(self, database: Database, known: Mapping[str, Bot]) -> None:
        self._database = database
        self._known = known

    def events(self, wanted: Wanted, before: int | None = None, limit: int = 50) -> EventPage:
        """Return a page of events, newest first, of those with an id below `before`.

        A page may be short, or even empty, and still have older ones to offer: it looks at SCAN
        events at the most.
        """
        with self._database.read() as connection:
            newest = connection.execute(select(func.max(events.c.id))).scalar() or 0
            top = min(before or newest + 1, newest + 1)
            shown = [events.c[name] for name in ("id", "received_at", "type", "error", "brief")]
            query = (
                select(*shown, *(events.c[name] for name in SHOWN))
                .where(events.c.id < top, events.c.id >= top - SCAN, *_conditions(wanted))
                .order_by(events.c.id.desc())
                .limit(limit)
            )
            rows = connection.execute(query).all()
            lowest = rows[-1].id if len(rows) == limit else max(top - SCAN, 0)
            left = select(exists().where(events.c.id < lowest))
            older = lowest if connection.execute(left).scalar() else None
            told = _deliveries(connection, deliveries.c.event_id.in_([row.id for row in rows]))
        return EventPage([_event_line(row, told) for row in rows], older)

    def event(self, event_id: int) -> Event | None:
        """Return an event whole, with its raw body; None where there is none."""
        with self._database.read() as connection:
            row = connection.execute(select(events).where(events.c.id == event_id)).first()
        if row is None:
            return None
        payload = json.loads(row.payload)
        return Event(row.type, payload, row.received_at, row.raw, row.error, row.id)

    def deliveries(self, event_id: int) -> list[DeliveryLine]:
        """Return an event's deliveries with all their attempts."""
        with self._database.read() as connection:
            told = _deliveries(connection, deliveries.c.event_id == event_id)
            calls = connection.execute(
                select(attempt_deliveries.c.delivery_id, attempts)
                .join(attempts, attempts.c.id == attempt_deliveries.c.attempt_id)
                .where(attempt_deliveries.c.delivery_id.in_([line.id for line in told]))
                .order_by(attempts.c.id)
            ).all()
        return [_with_attempts(line, calls) for line in told]

    def delivery_ids(self, state: str, since: float, bot: str = "") -> list[int]:
        """Return the deliveries in a state that were made since a moment, oldest first."""
        query = (
            select(deliveries.c.id)
            .join(events, events.c.id == deliveries.c.event_id)
            .where(events.c.received_at >= since, deliveries.c.state == state)
            .order_by(deliveries.c.id)
        )
        if bot:
            query = query.where(deliveries.c.bot == bot)
        with self._database.read() as connection:
            return list(connection.execute(query).scalars())

    def untold(self, since: float) -> dict[str, int]:
        """Return how many deliveries of the events since a moment are parked, how many expired.

        What was marked as done by hand does not count.
        """
        query = (
            select(deliveries.c.state, func.count())
            .join(events, events.c.id == deliveries.c.event_id)
            .where(events.c.received_at >= since, deliveries.c.state.in_(("parked", "expired")))
            .where(deliveries.c.reason != "done_by_hand")
            .group_by(deliveries.c.state)
        )
        with self._database.read() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def bots(self, now: float) -> list[BotLine]:
        """Return how every configured bot stands."""
        waiting = (
            select(func.count()).where(deliveries.c.bot == bots.c.name, PENDING).scalar_subquery()
        )
        recent = (
            select(func.count())
            .where(attempts.c.bot == bots.c.name, attempts.c.ended_at > now - MINUTE)
            .scalar_subquery()
        )
        query = select(bots, waiting.label("waiting"), recent.label("recent")).order_by(bots.c.name)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [
            BotLine(
                row.name,
                row.stopped,
                row.rest_until,
                row.failures,
                row.waiting,
                row.recent,
                row.last_errcode,
                row.last_reason,
                row.last_at,
            )
            for row in rows
            if row.name in self._known
        ]

    def per_hour(self, now: float, hours: int = 24) -> list[tuple[float, int]]:
        """Return the beginning of each of the last hours (epoch s) with its number of events."""
        first = now - now % HOUR - (hours - 1) * HOUR
        begins = [first + n * HOUR for n in range(hours)]
        counts = [
            select(func.count())
            .where(events.c.received_at >= begin, events.c.received_at < begin + HOUR)
            .scalar_subquery()
            for begin in begins
        ]
        with self._database.read() as connection:
            row = connection.execute(select(*counts)).one()
        return list(zip(begins, row, strict=True))

    def types(self) -> list[str]:
        """Return the types of the latest SCAN events, for a filter to offer."""
        with self._database.read() as connection:
            newest = connection.execute(select(func.max(events.c.id))).scalar() or 0
            query = select(events.c.type).distinct().where(events.c.id > newest - SCAN)
            return sorted(kind for kind in connection.execute(query).scalars() if kind)

    def health(self) -> Health:
        """Return how the outbox stands; raises StorageError where it cannot be read."""
        with self._database.read() as connection:
            # What quiet hours hold does not wait: it is due at their end.
            due_since = case(
                (deliveries.c.held_until > 0, deliveries.c.held_until),
                else_=deliveries.c.created_at,
            )
            pending = select(func.count(), func.min(due_since))
            count, oldest = connection.execute(pending.where(PENDING)).one()
            stopped = connection.execute(
                select(bots.c.name, bots.c.stopped).where(bots.c.stopped != "")
            )
            names = {row.name: row.stopped for row in stopped if row.name in self._known}
        return Health(count, oldest, names)

    def prune(self, before: float) -> int:
        """Delete a batch of what was settled before a moment; returns how many events."""
        return self._database.write(lambda connection: self._prune(connection, before))

    @staticmethod
    def _prune(connection: Connection, before: float) -> int:
        kept = exists().where(
            deliveries.c.event_id == events.c.id,
            (deliveries.c.state == "pending") | (deliveries.c.settled_at > before),
        )
        old = select(events.c.id).where(events.c.received_at < before, ~kept).limit(PRUNE_BATCH)
        ids = connection.execute(old).scalars().all()
        told = select(deliveries.c.id).where(deliveries.c.event_id.in_(ids))
        connection.execute(
            delete(attempt_deliveries).where(attempt_deliveries.c.delivery_id.in_(told))
        )
        connection.execute(delete(deliveries).where(deliveries.c.event_id.in_(ids)))
        connection.execute(delete(events).where(events.c.id.in_(ids)))
        linked = exists().where(attempt_deliveries.c.attempt_id == attempts.c.id)
        stale = (
            select(attempts.c.id).where(attempts.c.ended_at < before, ~linked).limit(PRUNE_BATCH)
        )
        connection.execute(delete(attempts).where(attempts.c.id.in_(stale.scalar_subquery())))
        return len(ids)


def _conditions(wanted: Wanted) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.app:
        found.append(events.c.title.icontains(wanted.app, autoescape=True))
    if wanted.type:
        found.append(events.c.type == wanted.type)
    if wanted.since:
        found.append(events.c.received_at >= wanted.since)
    if wanted.text:
        places = (events.c.title, events.c.brief, events.c.os_version, events.c.type)
        found.append(or_(*(place.icontains(wanted.text, autoescape=True) for place in places)))
    if wanted.bot or wanted.state:
        told = exists().where(deliveries.c.event_id == events.c.id)
        for column, value in ((deliveries.c.bot, wanted.bot), (deliveries.c.state, wanted.state)):
            told = told.where(column == value) if value else told
        found.append(told)
    return found


def _deliveries(connection: Connection, which: ColumnElement[bool]) -> list[DeliveryLine]:
    rows = connection.execute(select(deliveries).where(which).order_by(deliveries.c.id))
    return [
        DeliveryLine(
            row.id,
            row.event_id,
            target_of(row),
            row.state,
            row.reason,
            row.tries,
            row.created_at,
            row.expires_at,
            row.settled_at,
        )
        for row in rows
    ]


def _event_line(row: Row[*tuple[Any, ...]], told: Sequence[DeliveryLine]) -> EventLine:
    fields = {name: row._mapping[name] for name in SHOWN}
    own = [line for line in told if line.event == row.id]
    return EventLine(row.id, row.received_at, row.type, row.error, fields, row.brief, own)


def _with_attempts(line: DeliveryLine, calls: Sequence[Row[*tuple[Any, ...]]]) -> DeliveryLine:
    own = [
        AttemptLine(
            call.id,
            call.started_at,
            call.ended_at,
            call.verdict,
            call.reason,
            call.detail,
            call.errcode,
        )
        for call in calls
        if call.delivery_id == line.id
    ]
    return replace(line, attempts=own)
