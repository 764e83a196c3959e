"""Claims: which bots have due deliveries, and who may send for them now.

One sender per bot at any time, over all processes: the row in `bots` has its lease, and
recording a result checks it. The rate is counted from the attempts, so it survives restarts.
"""

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from bridge.model import Attempt, Delivery, Outcome, Verdict
from bridge.storage.driver import SQL, Connection, Row
from bridge.storage.tables import SHOWN, add_attempts, delivery_of, update_bot

LEASE = 12.0  # seconds; longer than a call; a sender that begins one late renews it before
WINDOW = 61.0  # seconds in which attempts count for the rate: WeCom's 60, and one for clock steps
SPARE = 64  # bots looked at beyond those wanted: other processes look at the same ones
MAX_DIGEST = 3000  # deliveries in one digest
LONGEST_REST = 60.0  # seconds that a bot rests after a clock was set back, however long it had to
INTERRUPTED = "interrupted"  # the reason of an attempt whose process died


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
    first: int
    digest: Digest


def bots_ahead(connection: Connection, now: float, lock: str = "") -> list[Row]:
    """Return the bots with times that are only possible if a clock has been set back."""
    return connection.execute(SQL["bots_ahead"] + lock, {"now": now, "latest_lease": now + LEASE})


def correct_times(connection: Connection, now: float) -> list[str]:
    """Move bots' and attempts' times back after the clock was set back; return the bots' names.

    Else a bot would rest, and a dead process keep its lease, until the clock has caught up.
    """
    bots = bots_ahead(connection, now, " FOR UPDATE" if connection.is_postgres else "")
    for bot in bots:
        ahead = max(0.0, bot["last_attempt_at"] - now, (bot["latest_end"] or 0.0) - now)
        values = {"name": bot["name"], "now": now, "ahead": ahead}
        connection.execute(SQL["shift_attempts"], values)
        update_bot(
            connection,
            bot["name"],
            lease_until=min(bot["lease_until"], now + LEASE),
            rest_until=min(bot["rest_until"] - ahead, now + LONGEST_REST),
            **{
                name: min(bot[name], now)
                for name in ("last_attempt_at", "stop_notice_at", "expiry_notice_at")
            },
        )
    return [bot["name"] for bot in bots]


def take_leases(
    connection: Connection, names: Sequence[str], limit: int, now: float, rate: int
) -> list[Claim]:
    """Take the leases of at most `limit` of these bots, none that others took or at its rate."""
    lock = " FOR UPDATE SKIP LOCKED" if connection.is_postgres else ""
    values = {"names": list(names), "limit": limit, "now": now}
    bots = connection.execute(SQL["free_bots"] + lock, values)
    if not bots:
        return []
    # A lease that has ended and was not released: its process died during the call.
    if interrupted := [bot for bot in bots if bot["lease"]]:
        _record_interrupted(connection, interrupted)
    # In a statement after the lock: at READ COMMITTED one for both would count what was there
    # before the lock was granted.
    free = [bot["name"] for bot in bots]
    window = {"names": free, "now": now, "since": now - WINDOW, "rate": rate}
    queues = connection.execute(SQL["bot_queues"], window)
    for queue in queues:
        if queue["recent"] >= rate:
            update_bot(connection, queue["name"], rest_until=queue["opener"] + WINDOW)
    ready = [q for q in queues if q["recent"] < rate and q["first"] is not None]
    if not ready:
        return []
    # One token for all: together with the bot's name it identifies the claim.
    lease = secrets.token_hex(8)
    claims = [Claim(q["name"], lease, q["first"], _digest(q, rate)) for q in ready]
    rows = [{**vars(claim), "until": now + LEASE} for claim in claims]
    connection.execute_many(SQL["take_lease"], rows)
    return claims


def load_attempts(connection: Connection, claims: Sequence[Claim], now: float) -> list[Attempt]:
    """Return the attempts claimed at `now` with their deliveries: one, or all of a digest."""
    values = {"ids": [claim.first for claim in claims]}
    rows = connection.execute(SQL["whole_deliveries"], values)
    whole = {row["id"]: delivery_of(row, json.loads(row["payload"])) for row in rows}
    attempts = []
    for claim in claims:
        deliveries = _digest_deliveries(connection, claim, now)
        # A digest of one is sent as a whole event: others may have settled the rest meanwhile.
        if len(deliveries) < 2:
            deliveries = (whole[claim.first],)
        attempts.append(Attempt(claim.bot, claim.lease, now, deliveries))
    return attempts


def _record_interrupted(connection: Connection, bots: Sequence[Row]) -> None:
    """Release leases that have ended, and record their attempts: nobody knows how they ended.

    A lease from schema 1 names no delivery; its attempt is recorded already.
    """
    attempts = []
    for bot in bots:
        ended = bot["lease_until"]
        update_bot(connection, bot["name"], lease="", lease_delivery_id=0, last_attempt_at=ended)
        if bot["lease_delivery_id"]:
            attempt = {
                **vars(Outcome(Verdict.RETRY, INTERRUPTED)),
                "carried": "",
                "bot": bot["name"],
                "started_at": ended - LEASE,
                "ended_at": ended,
                "deliveries": [bot["lease_delivery_id"]],
            }
            attempts.append(attempt)
    add_attempts(connection, attempts)


def _digest(queue: Row, rate: int) -> Digest:
    """Decide what goes into a bot's next message.

    What quiet hours delayed goes together if it is several. So does all when more is due than the
    rate lets through, but never the first event of a quiet bot: it is sent at once.
    """
    if queue["messages_sent"] or queue["first"] == queue["test_delivery_id"]:
        return Digest.NO
    if queue["delayed"] > 1:
        return Digest.DELAYED
    crowded = queue["recent"] and queue["due"] > rate - queue["recent"]
    return Digest.ALL if crowded else Digest.NO


def _digest_deliveries(connection: Connection, claim: Claim, now: float) -> tuple[Delivery, ...]:
    if claim.digest is Digest.NO:
        return ()
    values = {
        "name": claim.bot,
        "now": now,
        "from_not_before": 1.0 if claim.digest is Digest.DELAYED else 0.0,
        "most": MAX_DIGEST,
    }
    rows = connection.execute(SQL["digest_deliveries"], values)
    return tuple(
        delivery_of(row, {"notes": row["brief"], **{name: row[name] for name in SHOWN}})
        for row in rows
    )
