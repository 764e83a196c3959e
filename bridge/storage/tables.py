"""How events and deliveries stand in their tables."""

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from bridge.model import Bot, Delivery, Event, Target, as_text
from bridge.storage.database import CHANNEL, Connection, Record

SHOWN = ("title", "device_type", "os_version", "build_version", "link")  # fields with a column
_as_json = json.JSONEncoder(ensure_ascii=False).encode
_sorted = json.JSONEncoder(sort_keys=True).encode
BRIEF = 300  # characters of the notes, for lists and digests


def event_row(event: Event, named: Sequence[str] = ()) -> dict[str, Any]:
    """Return an event as its row; the digest tells one payload (and bots named) from another."""
    payload = event.payload
    rest = {key: value for key, value in payload.items() if key != "timestamp"}
    told = event.raw if event.error else _sorted(rest).encode()
    digest = hashlib.sha256(told + b"\n" + ",".join(sorted(named)).encode()).hexdigest()
    notes = as_text(payload.get("notes")) or as_text(payload.get("message"))
    return {
        "received_at": event.received_at,
        "type": event.type,
        **{name: as_text(payload.get(name)) for name in SHOWN},
        "brief": notes[:BRIEF],
        "payload": _as_json(payload),
        "raw": event.raw,
        "error": event.error,
        "digest": digest,
    }


def new_ids(connection: Connection, table: str, count: int) -> Iterator[int]:
    """Take ids for new rows beforehand, which lets many be inserted by one statement."""
    if connection.is_postgres:
        taken = connection.execute(
            # By name a sequence would be looked up for each id.
            "WITH own AS MATERIALIZED "
            "(SELECT pg_get_serial_sequence(:table, 'id')::regclass AS sequence) "
            "SELECT nextval(sequence) AS id FROM own, generate_series(1, :count)",
            {"table": table, "count": count},
        )
        return iter([row["id"] for row in taken])
    # The transaction holds SQLite's only write lock, so that nobody else counts on meanwhile.
    query = "SELECT seq FROM sqlite_sequence WHERE name = :table"
    last = connection.execute(query, {"table": table})
    return itertools.count((last[0]["seq"] if last else 0) + 1)


def store(
    connection: Connection,
    now: float,
    max_age: float,
    row: dict[str, Any],
    targets: Sequence[Target],
) -> int:
    """Insert an event with its deliveries, which expire after `max_age` s; return its id."""
    event_id = next(new_ids(connection, "events", 1))
    connection.insert("events", [{**row, "id": event_id}])
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
            "state": "pending",
            "reason": "",
            "template": target.template,
            "mention": _as_json(target.mention),
            "attach": _as_json(target.attach),
            "step": 0,
            "media_id": "",
            "media_at": 0.0,
            "tries": 0,
            "created_at": now,
            "held_until": target.not_before,
            "expires_at": max(now, target.not_before) + max_age,
            "settled_at": 0.0,
        }
        for event_id, targets in duties
        for target in targets
    ]
    connection.insert("deliveries", rows)
    if rows and connection.is_postgres:
        connection.execute(f"NOTIFY {CHANNEL}")


def delivery_of(row: Record, payload: Mapping[str, Any]) -> Delivery:
    """Return the delivery of a row that also has its event's columns, but for the payload."""
    event = Event(row["type"], payload, row["received_at"], error=row["error"], id=row["event_id"])
    return Delivery(row["id"], event, target_of(row), row["step"], row["media_id"], row["media_at"])


def target_of(row: Record) -> Target:
    """Return whom and how a delivery's row says that its event is to be told."""
    return Target(
        row["bot"],
        tuple(json.loads(row["mention"])),
        row["template"],
        tuple(json.loads(row["attach"])),
        row["held_until"],
    )


def new_bot(bot: Bot) -> dict[str, Any]:
    """Return the row of a bot that nothing was told through yet."""
    return {
        "name": bot.name,
        "fingerprint": bot.fingerprint,
        "lease": "",
        "lease_until": 0.0,
        "telling": 0,
        "rest_until": 0.0,
        "failures": 0,
        "stopped": "",
        "alarmed_at": 0.0,
        "untold": 0,
        "noticed_at": 0.0,
        "last_reason": "",
        "last_at": 0.0,
    }


def set_bot(connection: Connection, name: str, **values: Any) -> bool:
    """Change a bot's row; tells whether there is one."""
    done = connection.execute(
        f"UPDATE bots SET {', '.join(_changes(values))} WHERE name = :name RETURNING name",
        {**values, "name": name},
    )
    return bool(done)


def changing_deliveries(states: Sequence[str], values: Iterable[str], *more: str) -> str:
    """Return the statement that sets these values of `:these` deliveries in one of the states."""
    allowed = ", ".join(f"'{state}'" for state in states)
    return (
        f"UPDATE deliveries SET {', '.join([*more, *_changes(values)])} "
        f"WHERE id IN :these AND state IN ({allowed})"
    )


def _changes(values: Iterable[str]) -> list[str]:
    return [f"{column} = :{column}" for column in values]
