"""Results: what an attempt's outcome changes in its bot, its deliveries and the record."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from bridge.model import Attempt, Delivery, Outcome, Verdict
from bridge.storage.driver import SQL, Connection, Row
from bridge.storage.tables import add_attempts

REST = 65.0  # seconds after 45009: WeCom blocks for 60
STOPPED_RETRY = 3600.0  # seconds after which a stopped bot is tried by itself
BACKOFF_FIRST, BACKOFF_CAP = 2.0, 600.0  # seconds
MEDIA_FRESH = 3600.0  # seconds; WeCom keeps an uploaded file for 3 days
MEDIA_GONE = "invalid_media_id"


@dataclass(frozen=True)
class Result:
    """How an attempt ended for its deliveries.

    The `unfinished` ones of these, by id, have a further message and stay pending; `carried` says
    what was sent, e.g. `message markdown`.
    """

    attempt: Attempt
    outcome: Outcome
    unfinished: Collection[int] = ()
    carried: str = ""


@dataclass(frozen=True)
class Recorded:
    """What follows from a result: until when (epoch s, 0: not at all) the bot rests.

    Where `lease_lost`, another process has taken the deliveries over, and nothing was changed.
    `stop` is how the bot was, where this result stops it.
    """

    rest_until: float = 0.0
    lease_lost: bool = False
    stop: Row | None = None


def backoff(failures: int, jitter: float) -> float:
    """Return the seconds to wait after so many failures in a row; `jitter` is from 0 to 1."""
    wait = BACKOFF_FIRST * 2.0 ** min(failures - 1, 20)
    return float(min(wait * (0.8 + 0.4 * jitter), BACKOFF_CAP))


def record(
    connection: Connection, results: Sequence[Result], now: float, jitter: Callable[[], float]
) -> list[Recorded]:
    """Record many results with as few statements as one."""
    lock = " FOR UPDATE" if connection.is_postgres else ""
    names = [result.attempt.bot for result in results]
    bots = {
        row["name"]: row
        for row in connection.execute(SQL["bots_of_results"] + lock, {"names": names})
    }
    recorded: list[Recorded] = []
    ended: list[dict[str, Any]] = []
    updates: list[dict[str, Any]] = []
    for result in results:
        attempt, outcome = result.attempt, result.outcome
        bot = bots.get(attempt.bot)
        if not bot or bot["lease"] != attempt.lease:
            recorded.append(Recorded(lease_lost=True))
            continue
        del bots[attempt.bot]  # a lease is released once
        condition = _bot_after(bot, outcome, now, jitter)
        stop = bot if outcome.verdict is Verdict.STOP else None
        recorded.append(Recorded(condition["rest_until"], stop=stop))
        ended.append(
            {
                **vars(outcome),
                **condition,
                "bot": attempt.bot,
                "lease": attempt.lease,
                "started_at": min(attempt.started_at, now),  # the clock may have been set back
                "ended_at": now,
                "carried": result.carried,
                "deliveries": [delivery.id for delivery in attempt.deliveries],
            }
        )
        updates += _delivery_updates(result, now)
    connection.execute_many(SQL["release_lease"], ended)
    connection.execute_many(SQL["update_deliveries"], updates)
    add_attempts(connection, ended)
    return recorded


def _bot_after(
    bot: Row, outcome: Outcome, now: float, jitter: Callable[[], float]
) -> dict[str, Any]:
    """Return a bot's rest, failures in a row and stop reason after an outcome."""
    stopped = bot["stopped"]
    match outcome.verdict:
        case Verdict.SENT | Verdict.PARK:
            return {"rest_until": 0.0, "failures": 0, "stopped": ""}
        case Verdict.REST:
            return {"rest_until": now + REST, "failures": 0, "stopped": stopped}
        case Verdict.STOP:
            return {"rest_until": now + STOPPED_RETRY, "failures": 0, "stopped": outcome.reason}
    failures = bot["failures"] + 1
    asked = min(outcome.retry_after or 0.0, BACKOFF_CAP)
    rest = max(backoff(failures, jitter()), asked)
    return {"rest_until": now + rest, "failures": failures, "stopped": stopped}


def _delivery_updates(result: Result, now: float) -> list[dict[str, Any]]:
    """Return the changes of a result's deliveries: of those that are finished, and the others."""
    deliveries = result.attempt.deliveries
    finished = [d.id for d in deliveries if d.id not in result.unfinished]
    others = [d.id for d in deliveries if d.id in result.unfinished]
    first, was_sent = deliveries[0], int(result.outcome.verdict is Verdict.SENT)
    return [
        {**_delivery_after(first, result.outcome, is_last, now), "was_sent": was_sent, "ids": ids}
        for is_last, ids in ((True, finished), (False, others))
        if ids
    ]


def _delivery_after(
    delivery: Delivery, outcome: Outcome, is_last: bool, now: float
) -> dict[str, Any]:
    """Return what an outcome makes of a delivery; `is_last` is true of its last message.

    A `reason` of None keeps the one that is there.
    """
    verdict = outcome.verdict
    values: dict[str, Any] = {
        "state": "pending",
        "reason": None,
        "messages": 0,
        "media_id": delivery.media_id,
        "media_at": delivery.media_at,
        "settled_at": 0.0,
    }
    if verdict is Verdict.PARK or not delivery.messages_sent:
        values["reason"] = "" if verdict is Verdict.SENT else outcome.reason
    if outcome.media_id:  # the file is uploaded; the message that names it comes next
        return {**values, "media_id": outcome.media_id, "media_at": now}
    if outcome.reason == MEDIA_GONE and now - delivery.media_at > MEDIA_FRESH:
        return {**values, "media_id": ""}  # uploaded long ago and expired: upload it again
    if verdict is Verdict.PARK and not delivery.messages_sent:
        return {**values, "state": "parked", "settled_at": now}
    if verdict in (Verdict.SENT, Verdict.PARK):
        # A further message that is refused for good does not undo the first; its reason is kept.
        values |= {"messages": 1, "media_id": ""}
        if is_last:
            values |= {"state": "sent", "settled_at": now}
    return values
