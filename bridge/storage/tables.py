"""How events, deliveries and bots are written as rows, and read back."""

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from bridge.model import Delivery, Event, Target, as_text, to_json
from bridge.storage.database import CHANNEL
from bridge.storage.driver import SQL, Connection, Row
from bridge.wording import cut_mark

# Fields with a column of their own: what lists, filters and digests show.
SHOWN = ("action", "title", "device_type", "os_version", "build_version", "link")
BRIEF = 300  # characters of the notes, for lists and digests; more are marked as cut
_sorted_json = json.JSONEncoder(sort_keys=True).encode
_names_json = cache(to_json)  # of a route's names, which are few


def event_row(event: Event, named: Sequence[str] = (), rules: str = "") -> dict[str, Any]:
    """Return an event as its row, with the `rules` that it was routed by.

    Two events with the same `payload_hash` are duplicates: the same payload, `timestamp` aside,
    for the same bots `named` in the URL.
    """
    payload = event.payload
    rest = {key: value for key, value in payload.items() if key != "timestamp"}
    content = event.raw if event.error else _sorted_json(rest).encode()
    payload_hash = hashlib.sha256(content + b"\n" + ",".join(sorted(named)).encode()).hexdigest()
    texts = (as_text(payload.get(name)) for name in ("notes", "message", "begins"))
    notes = next(filter(None, texts), "")
    return {
        "received_at": event.received_at,
        "type": event.type,
        **{name: as_text(payload.get(name)) for name in SHOWN},
        "brief": notes if len(notes) <= BRIEF else notes[:BRIEF] + cut_mark(len(notes)),
        "payload": to_json(payload),
        "raw": event.raw,
        "error": event.error,
        "payload_hash": payload_hash,
        "rules": rules,
        "source": event.source,
    }


def new_ids(connection: Connection, table: str, count: int) -> Iterator[int]:
    """Take ids for new rows beforehand, so that one statement can insert many."""
    if connection.is_postgres:
        rows = connection.execute(SQL["postgres_ids"], {"table": table, "count": count})
        return iter([row["id"] for row in rows])
    # The transaction has SQLite's only write lock, so nobody else takes ids meanwhile.
    query = "SELECT seq FROM sqlite_sequence WHERE name = :table"
    last = connection.execute(query, {"table": table})
    return itertools.count((last[0]["seq"] if last else 0) + 1)


def add_event(
    connection: Connection, now: float, max_age: float, event: Event, targets: Sequence[Target]
) -> int:
    """Insert an event with its deliveries, which expire after `max_age` s; return its id."""
    event_id = next(new_ids(connection, "events", 1))
    connection.execute(SQL["add_event"], {**event_row(event), "id": event_id})
    add_deliveries(connection, now, max_age, [(event_id, target) for target in targets])
    return event_id


def add_deliveries(
    connection: Connection, now: float, max_age: float, wanted: Iterable[tuple[int, Target]]
) -> None:
    """Insert a delivery for each event id and target, and notify other processes."""
    rows = [
        {
            **vars(target),
            "event_id": event_id,
            "mention": _names_json(target.mention),
            "attach": _names_json(target.attach),
            "now": now,
            "expires_at": max(now, target.not_before) + max_age,
        }
        for event_id, target in wanted
    ]
    connection.execute_many(SQL["add_delivery"], rows)
    if rows and connection.is_postgres:
        connection.execute(f"NOTIFY {CHANNEL}")


def add_attempts(connection: Connection, attempts: Sequence[Mapping[str, Any]]) -> None:
    """Insert ended attempts, each with the ids of its `deliveries`."""
    ids = new_ids(connection, "attempts", len(attempts))
    rows = [{**attempt, "id": number} for attempt, number in zip(attempts, ids, strict=False)]
    connection.execute_many(SQL["add_attempt"], rows)
    connection.execute_many(SQL["link_attempt"], rows)


def delivery_of(row: Row, payload: Mapping[str, Any]) -> Delivery:
    """Return the delivery of a row that also has its event's columns, but for the payload."""
    event = Event(row["type"], payload, row["received_at"], error=row["error"], id=row["event_id"])
    return Delivery(
        row["id"],
        event,
        target_of(row),
        row["messages_sent"],
        row["media_id"],
        row["media_at"],
    )


def target_of(row: Row) -> Target:
    """Return the target of a delivery's row."""
    return Target(
        row["bot"],
        tuple(json.loads(row["mention"])),
        row["template"],
        tuple(json.loads(row["attach"])),
        row["not_before"],
    )


def update_bot(connection: Connection, name: str, **values: Any) -> bool:
    """Change a bot's row; tell whether there is one."""
    changes = ", ".join(f"{column} = :{column}" for column in values)
    rows = connection.execute(
        f"UPDATE bots SET {changes} WHERE name = :name RETURNING name", {**values, "name": name}
    )
    return bool(rows)


def resume_bot(connection: Connection, name: str, **values: Any) -> bool:
    """Let a stopped or resting bot be tried again at once; tell whether there is one."""
    return update_bot(
        connection, name, stopped="", rest_until=0.0, failures=0, stop_notice_at=0.0, **values
    )
