"""How events and deliveries stand in their tables."""

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, bindparam, insert, text, update

from bridge.database import CHANNEL
from bridge.model import Delivery, Event, Target
from bridge.schema import PENDING, bots, deliveries, events

Record = Row[*tuple[Any, ...]]

SHOWN = ("title", "device_type", "os_version", "build_version", "link")  # fields with a column
BRIEF = 300  # characters of the notes, for lists and digests


def event_row(event: Event, named: Sequence[str] = ()) -> dict[str, Any]:
    """Return an event as its row; the digest tells one payload (and bots named) from another."""
    payload = json.dumps(event.payload, ensure_ascii=False)
    rest = {key: value for key, value in event.payload.items() if key != "timestamp"}
    told = event.raw if event.error else json.dumps(rest, sort_keys=True).encode()
    digest = hashlib.sha256(told + b"\n" + ",".join(sorted(named)).encode()).hexdigest()
    return {
        "received_at": event.received_at,
        "type": event.type,
        **{name: event.fields[name] for name in SHOWN},
        "brief": (event.fields["notes"] or event.fields["message"])[:BRIEF],
        "payload": payload,
        "raw": event.raw,
        "error": event.error,
        "digest": digest,
    }


def new_event_ids(connection: Connection, count: int) -> Iterator[int]:
    """Take ids for new events beforehand, which lets many be inserted by one statement."""
    if connection.dialect.name == "postgresql":
        query = text(
            "SELECT nextval(pg_get_serial_sequence('events', 'id')) FROM generate_series(1, :n)"
        )
        return iter(connection.execute(query, {"n": count}).scalars().all())
    # The transaction holds SQLite's only write lock, so that nobody else counts on meanwhile.
    last = text("SELECT seq FROM sqlite_sequence WHERE name = 'events'")
    return itertools.count((connection.execute(last).scalar() or 0) + 1)


def store(
    connection: Connection,
    now: float,
    max_age: float,
    row: dict[str, Any],
    targets: Sequence[Target],
) -> int:
    """Insert an event with its deliveries, which expire after `max_age` s; return its id."""
    event_id = next(new_event_ids(connection, 1))
    connection.execute(insert(events), {**row, "id": event_id})
    add_deliveries(connection, now, max_age, [(event_id, targets)])
    return event_id


def add_deliveries(
    connection: Connection,
    now: float,
    max_age: float,
    duties: Sequence[tuple[int, Sequence[Target]]],
) -> None:
    """Insert the duties to tell stored events to targets, and wake whoever may do it."""
    rows = [
        {
            "event_id": event_id,
            "bot": target.bot,
            "template": target.template,
            "mention": json.dumps(target.mention),
            "attach": json.dumps(target.attach),
            "created_at": now,
            "held_until": target.held_until,
            "expires_at": max(now, target.held_until) + max_age,
        }
        for event_id, targets in duties
        for target in targets
    ]
    if rows:
        connection.execute(insert(deliveries), rows)
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"NOTIFY {CHANNEL}"))


# The condition that a delivery waits and is not held by quiet hours.
WAITS: ColumnElement[bool] = PENDING & (deliveries.c.held_until <= bindparam("now"))


def delivery_of(row: Record, payload: Mapping[str, Any]) -> Delivery:
    """Return the delivery of a row that also has its event's columns, but for the payload."""
    event = Event(row.type, payload, row.received_at, error=row.error, id=row.event_id)
    return Delivery(row.id, event, target_of(row), row.step, row.media_id, row.media_at)


def target_of(row: Record) -> Target:
    """Return whom and how a delivery's row says that its event is to be told."""
    return Target(
        row.bot,
        tuple(json.loads(row.mention)),
        row.template,
        tuple(json.loads(row.attach)),
        row.held_until,
    )


def set_bot(connection: Connection, name: str, **values: Any) -> bool:
    """Change a bot's row; tells whether there is one."""
    done = connection.execute(update(bots).where(bots.c.name == name).values(values))
    return done.rowcount == 1
