"""The bridge's own events: a bot is stopped, deliveries have expired.

They go through the outbox and templates like any other event. Everything here runs inside a
transaction; what is to be logged or counted is returned.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from bridge.model import Event, Outcome, Target
from bridge.storage.driver import Connection, Row
from bridge.storage.tables import add_event, event_row, update_bot

HOURLY = 3600.0  # seconds between two notices of one kind about one bot
STOPPED, EXPIRED = "botStopped", "expired"  # the events' types

# is_overdue: whether a pending delivery is too old, or a notice about expired ones is due.
_IS_OVERDUE = """
    SELECT 1 FROM deliveries WHERE state = 'pending' AND expires_at <= :now
    UNION ALL SELECT 1 FROM bots WHERE expired_count > 0 AND expiry_notice_at <= :before
    LIMIT 1"""
# expire: settle the pending deliveries that are too old, and return them.
_EXPIRE = """
    UPDATE deliveries SET state = 'expired', reason = 'too_old', settled_at = :now
    WHERE state = 'pending' AND expires_at <= :now RETURNING bot, event_id"""
# own_notices: how many of these events are themselves notices about expired deliveries.
_OWN_NOTICES = f"SELECT count(*) AS count FROM events WHERE id IN :ids AND type = '{EXPIRED}'"
# due_expiry_notices: bots with expired deliveries that no notice has counted in the last hour.
_DUE_EXPIRY_NOTICES = """
    SELECT name, expired_count FROM bots WHERE expired_count > 0 AND expiry_notice_at <= :before"""


@dataclass(frozen=True)
class Expired:
    """The events whose deliveries to one bot have just expired."""

    bot: str
    events: list[int]


def is_overdue(connection: Connection, now: float) -> bool:
    """Tell whether `expire` has anything to do."""
    return bool(connection.execute(_IS_OVERDUE, {"now": now, "before": now - HOURLY}))


def expire(
    connection: Connection, now: float, max_age: float, known: Collection[str]
) -> tuple[list[Expired], list[str]]:
    """Settle what is too old, and add notices about it, at most one an hour for each bot.

    Returns what has expired, and the bots about which there is no bot to send a notice to.
    """
    events: dict[str, list[int]] = {}
    for row in connection.execute(_EXPIRE, {"now": now}):
        events.setdefault(row["bot"], []).append(row["event_id"])
    for name, ids in events.items():
        [own] = connection.execute(_OWN_NOTICES, {"ids": ids})
        query = "SELECT expired_count FROM bots WHERE name = :name"
        for bot in connection.execute(query, {"name": name}):
            count = bot["expired_count"] + len(ids) - own["count"]
            update_bot(connection, name, expired_count=count)
    unheard = []
    for row in connection.execute(_DUE_EXPIRY_NOTICES, {"before": now - HOURLY}):
        update_bot(connection, row["name"], expired_count=0, expiry_notice_at=now)
        facts = {"count": row["expired_count"], "hours": round(max_age / 3600, 1)}
        if not _add_notice(connection, now, max_age, known, EXPIRED, row["name"], facts):
            unheard.append(row["name"])
    return [Expired(name, ids) for name, ids in events.items()], unheard


def add_stop_notice(
    connection: Connection,
    bot: Row,
    outcome: Outcome,
    now: float,
    max_age: float,
    known: Collection[str],
) -> bool:
    """Add a notice that a bot is stopped, at most once an hour; `bot` is its row from before.

    Returns False where there is no bot to send it to.
    """
    if now - bot["stop_notice_at"] < HOURLY:
        return True
    update_bot(connection, bot["name"], stop_notice_at=now)
    facts = {"reason": outcome.reason, "detail": outcome.detail}
    return _add_notice(connection, now, max_age, known, STOPPED, bot["name"], facts)


def _add_notice(
    connection: Connection,
    now: float,
    max_age: float,
    known: Collection[str],
    kind: str,
    about: str,
    facts: dict[str, Any],
) -> bool:
    """Add an event about one bot: for itself if it works, else for `default`, else any other."""
    rows = connection.execute("SELECT name FROM bots WHERE stopped != ''")
    stopped = {row["name"] for row in rows}
    order = [about, "default", *sorted(known)]
    working = [name for name in order if name in known and name not in stopped]
    if not working:
        return False
    event = Event(kind, {"bot": about, **facts}, now)
    add_event(connection, now, max_age, event_row(event), [Target(working[0])])
    return True
