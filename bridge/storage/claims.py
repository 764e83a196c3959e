"""Claims: which bots have due deliveries, and who may send for them now.

One sender per bot at any time, over all processes: the row in `bots` has its lease, and
recording a result checks it. The rate is counted from the attempts, so it survives restarts.
"""

import json
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from bridge.model import Attempt, Delivery, Outcome, Verdict
from bridge.storage.driver import Connection, Row
from bridge.storage.tables import SHOWN, delivery_of, new_ids, update_bot

LEASE = 12.0  # seconds; longer than one rendering and one call may take
WINDOW = 61.0  # seconds in which attempts count for the rate: WeCom's 60, and one for clock steps
MAX_DIGEST = 3000  # deliveries in one digest
INTERRUPTED = "interrupted"  # the reason of an attempt whose process died

# `state` is written out, not bound: SQLite uses a partial index only if it sees its condition.
_DUE = "state = 'pending' AND not_before <= :now"
_DUE_OF_BOT = f"FROM deliveries WHERE bot = name AND {_DUE} ORDER BY id LIMIT"
_FREE = "lease_until <= :now AND rest_until <= :now"

# due_bots: bots that are free and have a due delivery, the one that waited longest first.
# A subquery for each bot: PostgreSQL would turn EXISTS into a join that reads all due deliveries.
_DUE_BOTS = f"""
    SELECT name FROM bots
    WHERE name IN :names AND {_FREE} AND (SELECT id {_DUE_OF_BOT} 1) IS NOT NULL
    ORDER BY last_attempt_at, name LIMIT :limit"""
# locked_bots: those of these bots that are still free, locked until the transaction ends.
_LOCKED_BOTS = f"""
    SELECT name, lease, lease_until, lease_delivery_id FROM bots WHERE name IN :names AND {_FREE}"""
# bot_queues: for each bot its attempts in the rate window, its first due delivery, and how many
# are due and how many of these were delayed by quiet hours (both counted up to :most).
_BOT_QUEUES = f"""
    SELECT name,
        (SELECT count(*) FROM attempts WHERE bot = name AND ended_at > :since) AS recent,
        (SELECT id {_DUE_OF_BOT} 1) AS first,
        (SELECT messages_sent {_DUE_OF_BOT} 1) AS messages_sent,
        (SELECT count(*) FROM (SELECT 1 {_DUE_OF_BOT} :most) AS queue) AS due,
        (SELECT count(*) FROM (SELECT not_before {_DUE_OF_BOT} :most) AS queue
            WHERE not_before > 0) AS delayed
    FROM bots WHERE name IN :names ORDER BY name"""
# rate_opener: the attempt whose leaving the rate window makes room for the next one.
_RATE_OPENER = """
    SELECT ended_at FROM attempts WHERE bot = :name AND ended_at > :since
    ORDER BY ended_at DESC LIMIT 1 OFFSET :before"""
# take_leases: give these bots a lease for their first due delivery.
_TAKE_LEASES = f"""
    UPDATE bots SET lease = :lease, lease_until = :until,
        lease_delivery_id = coalesce((SELECT id {_DUE_OF_BOT} 1), 0)
    WHERE name IN :names"""
_RELEASE = "UPDATE bots SET lease = '', lease_delivery_id = 0 WHERE name IN :names"
# link_interrupted: connect an attempt to its delivery, which may have been deleted meanwhile.
_LINK_INTERRUPTED = """
    INSERT INTO attempt_deliveries (attempt_id, delivery_id)
    SELECT :attempt, id FROM deliveries WHERE id = :delivery"""
# whole_deliveries: deliveries with their events, payload included.
_WHOLE_DELIVERIES = """
    SELECT deliveries.*, type, payload, received_at, error
    FROM deliveries JOIN events ON events.id = event_id WHERE deliveries.id IN :ids"""
# digest_deliveries: a bot's due deliveries, with no more of their events than a digest shows.
_DIGEST_DELIVERIES = f"""
    SELECT deliveries.*, type, received_at, error, brief, {", ".join(SHOWN)}
    FROM deliveries JOIN events ON events.id = event_id
    WHERE bot = :name AND {_DUE} AND messages_sent = 0 AND not_before >= :from_not_before
    ORDER BY deliveries.id LIMIT {MAX_DIGEST}"""


class Digest(Enum):
    """What goes into the message of a claim."""

    NO = "only the first delivery"
    ALL = "all due deliveries"
    DELAYED = "the due deliveries that quiet hours delayed"


@dataclass(frozen=True)
class Claim:
    """A lease just taken: `first` is the id of the delivery to send."""

    bot: str
    lease: str
    started_at: float
    first: int
    digest: Digest


def due_bots(connection: Connection, known: Collection[str], now: float, limit: int) -> list[str]:
    """Return the free bots that have due deliveries, of those known here."""
    values = {"names": list(known), "now": now, "limit": limit}
    return [row["name"] for row in connection.execute(_DUE_BOTS, values)]


def take_leases(connection: Connection, names: Sequence[str], now: float, rate: int) -> list[Claim]:
    """Take the leases of these bots, but for those that others took or that are at their rate."""
    lock = " FOR UPDATE SKIP LOCKED" if connection.is_postgres else ""
    bots = connection.execute(_LOCKED_BOTS + lock, {"names": list(names), "now": now})
    if not bots:
        return []
    # A lease that has ended and was not released: its process died during the call.
    if interrupted := [bot for bot in bots if bot["lease"]]:
        _record_interrupted(connection, interrupted)
    # In a statement after the lock: at READ COMMITTED one for both would count what was there
    # before the lock was granted.
    window = {"now": now, "since": now - WINDOW, "most": rate + 1}
    queues = connection.execute(_BOT_QUEUES, {**window, "names": [bot["name"] for bot in bots]})
    for queue in queues:
        if queue["recent"] >= rate:
            _rest_until_rate_opens(connection, queue["name"], now, rate)
    ready = [q for q in queues if q["recent"] < rate and q["first"] is not None]
    if not ready:
        return []
    # One token for all: together with the bot's name it identifies the claim.
    lease = secrets.token_hex(8)
    taken = {"names": [q["name"] for q in ready], "lease": lease, "until": now + LEASE}
    connection.execute(_TAKE_LEASES, {**taken, "now": now})
    return [Claim(q["name"], lease, now, q["first"], _digest(q, rate)) for q in ready]


def load_attempts(connection: Connection, claims: Sequence[Claim], now: float) -> list[Attempt]:
    """Return the claimed attempts with their deliveries: one, or all that go into a digest."""
    digests = {
        claim.bot: _digest_deliveries(connection, claim, now)
        for claim in claims
        if claim.digest is not Digest.NO
    }
    # A digest of one is sent as a whole event: others may have settled the rest meanwhile.
    ids = [claim.first for claim in claims if len(digests.get(claim.bot, ())) < 2]
    rows = connection.execute(_WHOLE_DELIVERIES, {"ids": ids}) if ids else []
    single = {row["id"]: (delivery_of(row, json.loads(row["payload"])),) for row in rows}
    return [
        Attempt(
            claim.bot,
            claim.lease,
            claim.started_at,
            single.get(claim.first) or digests.get(claim.bot, ()),
        )
        for claim in claims
    ]


def attempt_row(
    number: int, bot: str, started_at: float, ended_at: float, outcome: Outcome
) -> dict[str, Any]:
    """Return an ended attempt as its row."""
    return {
        "id": number,
        "bot": bot,
        "started_at": started_at,
        "ended_at": ended_at,
        "verdict": outcome.verdict.value,
        "reason": outcome.reason,
        "detail": outcome.detail,
        "errcode": outcome.errcode,
    }


def _record_interrupted(connection: Connection, bots: Sequence[Row]) -> None:
    """Record the attempts of leases that nobody released: nobody knows how they ended.

    A lease from schema 1 names no delivery; its attempt is recorded already.
    """
    for bot in (bot for bot in bots if bot["lease_delivery_id"]):
        number = next(new_ids(connection, "attempts", 1))
        outcome = Outcome(Verdict.RETRY, INTERRUPTED)
        began, ended = bot["lease_until"] - LEASE, bot["lease_until"]
        connection.insert("attempts", [attempt_row(number, bot["name"], began, ended, outcome)])
        values = {"attempt": number, "delivery": bot["lease_delivery_id"]}
        connection.execute(_LINK_INTERRUPTED, values)
    connection.execute(_RELEASE, {"names": [bot["name"] for bot in bots]})


def _rest_until_rate_opens(connection: Connection, name: str, now: float, rate: int) -> None:
    values = {"name": name, "since": now - WINDOW, "before": rate - 1}
    [opener] = connection.execute(_RATE_OPENER, values)
    update_bot(connection, name, rest_until=opener["ended_at"] + WINDOW)


def _digest(queue: Row, rate: int) -> Digest:
    """Decide what goes into a bot's next message.

    What quiet hours delayed goes together if it is several. So does all when more is due than the
    rate lets through, but never the first event of a quiet bot: it is sent at once.
    """
    if queue["messages_sent"]:
        return Digest.NO
    if queue["delayed"] > 1:
        return Digest.DELAYED
    crowded = queue["recent"] and queue["due"] > rate - queue["recent"]
    return Digest.ALL if crowded else Digest.NO


def _digest_deliveries(connection: Connection, claim: Claim, now: float) -> tuple[Delivery, ...]:
    delayed_only = claim.digest is Digest.DELAYED
    values = {"name": claim.bot, "now": now, "from_not_before": 1.0 if delayed_only else 0.0}
    rows = connection.execute(_DIGEST_DELIVERIES, values)
    return tuple(
        delivery_of(row, {"notes": row["brief"], **{name: row[name] for name in SHOWN}})
        for row in rows
    )
