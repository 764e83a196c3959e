"""Who may tell what now: a bot's lease is taken for an attempt, and given back when it has ended.

One sender per bot at any time, over all processes: the row in `bots` holds its lease, with what is
told under it, and settling checks it. An attempt is recorded when it has ended, one whose process
died as interrupted by whoever finds its lease. The rate is counted from the attempts, so that it
holds over restarts.
"""

import json
import random
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bridge.model import Attempt, Delivery, Outcome, Verdict
from bridge.storage.database import Connection, Record
from bridge.storage.notices import Notices
from bridge.storage.tables import SHOWN, changing_deliveries, delivery_of, new_ids, set_bot

LEASE = 12.0  # seconds; longer than one rendering and one call may take
WINDOW = 61.0  # seconds; WeCom's 60 and one for the clock's steps
REST = 65.0  # seconds after 45009: WeCom blocks for 60
STOPPED_RETRY = 3600.0  # seconds after which a stopped bot is tried by itself
BACKOFF_FIRST, BACKOFF_CAP = 2.0, 600.0  # seconds
MAX_BUNDLE = 3000  # deliveries in one digest
MAX_SINGLES = 500  # a minute; where more may go, nobody counts what waits
MEDIA_FRESH = 3600.0  # seconds; WeCom keeps a file for 3 days
MEDIA_GONE = "invalid_media_id"
INTERRUPTED = "interrupted"

# A delivery that waits and is not held by quiet hours. The state is written out rather than bound:
# SQLite uses a partial index only where it sees the very words of its condition.
WAITS = "state = 'pending' AND held_until <= :now"
# The bots that something waits for, by name from the one after `:after`. Each costs one look into
# the index, however much waits for it, and the others cost none.
WAITING = """
    WITH RECURSIVE waiting (bot) AS (
        SELECT (SELECT bot FROM deliveries WHERE state = 'pending' AND bot > :after
            ORDER BY bot LIMIT 1)
        UNION ALL
        SELECT (SELECT bot FROM deliveries WHERE state = 'pending' AND bot > waiting.bot
            ORDER BY bot LIMIT 1)
        FROM waiting WHERE waiting.bot IS NOT NULL)"""
# Asked for each bot: PostgreSQL would turn EXISTS into a join, and read all that waits.
IS_DUE = f"(SELECT id FROM deliveries WHERE bot = name AND {WAITS} LIMIT 1) IS NOT NULL"
_FREE = f"lease_until <= :now AND rest_until <= :now AND {IS_DUE}"
_THESE = f"SELECT name, lease, lease_until, telling FROM bots WHERE name IN :names AND {_FREE}"
# CROSS: SQLite looks at them one by one then, and at no more than it is asked for.
_NEXT = f"""{WAITING}
    SELECT name, lease, lease_until, telling FROM waiting CROSS JOIN bots
    WHERE name = waiting.bot AND {_FREE} LIMIT :limit"""
# How bots stand: the calls that count, and of what waits for each no more than could matter.
_QUEUE = f"FROM deliveries WHERE bot = name AND {WAITS} ORDER BY id LIMIT"
_STANDING = f"""
    SELECT name,
        (SELECT count(*) FROM attempts WHERE bot = name AND ended_at > :since) AS recent,
        (SELECT id {_QUEUE} 1) AS head,
        (SELECT step {_QUEUE} 1) AS step,
        (SELECT count(*) FROM (SELECT 1 {_QUEUE} :most) AS queue) AS due,
        (SELECT count(*) FROM (SELECT held_until {_QUEUE} :most) AS queue
            WHERE held_until > 0) AS held
    FROM bots WHERE name IN :names ORDER BY name"""
_OLDEST_OF = """
    SELECT ended_at FROM attempts WHERE bot = :name AND ended_at > :since
    ORDER BY ended_at DESC LIMIT 1 OFFSET :before"""
_WHOLE = """
    SELECT deliveries.*, type, payload, received_at, error
    FROM deliveries JOIN events ON events.id = event_id WHERE deliveries.id IN :numbers"""
_BUNDLE = f"""
    SELECT deliveries.*, type, received_at, error, brief, {", ".join(SHOWN)}
    FROM deliveries JOIN events ON events.id = event_id
    WHERE bot = :name AND {WAITS} AND step = 0 AND held_until >= :held
    ORDER BY deliveries.id LIMIT {MAX_BUNDLE}"""
_LEASE = f"""
    UPDATE bots
    SET lease = :lease, lease_until = :until, telling = coalesce((SELECT id {_QUEUE} 1), 0)
    WHERE name IN :names"""
_GIVE_BACK = "UPDATE bots SET lease = '', telling = 0 WHERE name IN :names"
# What was told may have been deleted meanwhile.
_LINK_TELLING = """
    INSERT INTO attempt_deliveries (attempt_id, delivery_id)
    SELECT :attempt, id FROM deliveries WHERE id = :telling"""
# In order, so that two transactions cannot wait for one another. By the columns' names: a statement
# for all of them fails once where a newer schema has more of them.
_HOLDERS = """
    SELECT name, lease, failures, stopped, alarmed_at FROM bots
    WHERE name IN :names ORDER BY name"""
_END_LEASES = """
    UPDATE bots SET lease = '', lease_until = 0, telling = 0, rest_until = :rest_until,
        failures = :failures, stopped = :stopped, last_errcode = :errcode, last_reason = :reason,
        last_at = :now
    WHERE name IN :these"""


@dataclass(frozen=True)
class Claim:
    """An attempt whose deliveries are not read yet, and the id of the first of them.

    More go with it in a digest where `held` is not None: 1 for what quiet hours held, 0 for all.
    """

    attempt: Attempt
    first: int
    held: float | None


@dataclass(frozen=True)
class Ending:
    """How an attempt ended for the deliveries that it told; `unfinished` ones have more to tell."""

    attempt: Attempt
    outcome: Outcome
    told: Sequence[Delivery]
    unfinished: Collection[int]


def backoff(failures: int, jitter: float) -> float:
    """Return the seconds to wait after so many failures in a row; `jitter` is from 0 to 1."""
    wait = BACKOFF_FIRST * 2.0 ** min(failures - 1, 20)
    return float(min(wait * (0.8 + 0.4 * jitter), BACKOFF_CAP))


class Leases:
    """Takes and gives back the leases of bots that are told at most `rate` messages a minute."""

    def __init__(
        self, rate: int, notices: Notices, jitter: Callable[[], float] = random.random
    ) -> None:
        self._rate = rate
        self._notices = notices
        self._jitter = jitter
        # Of what waits for a bot: more than the rate are a digest, and so are two that were held.
        self._most = rate + 1 if rate <= MAX_SINGLES else 2

    def free(self, connection: Connection, names: Sequence[str], now: float) -> list[Record]:
        """Return those of these bots that something waits for and that nobody tells, locked."""
        return self._locked(connection, _THESE, {"now": now, "names": names})

    def free_after(
        self, connection: Connection, after: str, limit: int, now: float
    ) -> list[Record]:
        """Return the first `limit` of all such bots by name, from the one after `after`."""
        return self._locked(connection, _NEXT, {"now": now, "after": after, "limit": limit})

    def _locked(self, connection: Connection, sql: str, values: dict[str, Any]) -> list[Record]:
        lock = " FOR UPDATE OF bots SKIP LOCKED" if connection.is_postgres else ""
        return connection.execute(sql + lock, values)

    def claim(self, connection: Connection, free: Sequence[Record], now: float) -> list[Claim]:
        """Take the leases of bots that are free and locked, but for those at their rate."""
        # The lock came first and the count in a statement of its own: at READ COMMITTED one
        # statement would count what stood there before the lock was granted.
        if not free:
            return []
        # A lease that has ended and was not given back: whoever held it died on the way.
        if died := [bot for bot in free if bot["lease"]]:
            _interrupt(connection, died)
        window = {"now": now, "since": now - WINDOW, "most": self._most}
        ready = []
        for bot in connection.execute(_STANDING, {**window, "names": [b["name"] for b in free]}):
            if bot["recent"] >= self._rate:
                self._let_rest(connection, bot["name"], now)
            elif bot["head"] is not None:
                ready.append(bot)
        if not ready:
            return []
        # One token for all: with the bot's name it tells one claim from another.
        lease, until = secrets.token_hex(8), now + LEASE
        taken = {"names": [bot["name"] for bot in ready], "lease": lease, "until": until}
        connection.execute(_LEASE, {**taken, "now": now})
        return [
            Claim(Attempt(bot["name"], lease, now, ()), bot["head"], self._digest(bot))
            for bot in ready
        ]

    def _let_rest(self, connection: Connection, name: str, now: float) -> None:
        """Let a bot rest until the window has room for one more call."""
        place = {"name": name, "since": now - WINDOW, "before": self._rate - 1}
        [oldest] = connection.execute(_OLDEST_OF, place)
        set_bot(connection, name, rest_until=oldest["ended_at"] + WINDOW)

    def _digest(self, bot: Record) -> float | None:
        """Return what goes with a bot's first delivery in a digest, None where it is alone.

        A digest tells more than the rate lets through now, but never the first one of a quiet
        bot; and what quiet hours have held, where that is several.
        """
        held = bot["held"] > 1
        crowded = bot["recent"] and bot["due"] > self._rate - bot["recent"]
        if bot["step"] or not (held or crowded):
            return None
        return 1.0 if held else 0.0

    def settle(
        self, connection: Connection, endings: Sequence[Ending], now: float
    ) -> list[float | None]:
        """Record how many attempts ended, with as few statements as those of one.

        Returns for each until when (epoch s) its bot rests, None where the lease was lost.
        """
        lock = " FOR UPDATE" if connection.is_postgres else ""
        names = {"names": [ending.attempt.bot for ending in endings]}
        bots = {row["name"]: row for row in connection.execute(_HOLDERS + lock, names)}
        rests: list[float | None] = []
        leases, deliveries = _Changes(), _Changes()
        ended: list[Ending] = []
        stopped: list[tuple[Record, Outcome]] = []
        for ending in endings:
            attempt, outcome, bot = ending.attempt, ending.outcome, bots.get(ending.attempt.bot)
            if not bot or bot["lease"] != attempt.lease:
                rests.append(None)
                continue
            del bots[attempt.bot]  # a lease is given back once
            standing = self._standing(bot, outcome, now)
            rests.append(standing["rest_until"])
            leases.add([attempt.bot], errcode=outcome.errcode, reason=outcome.reason, **standing)
            ended.append(ending)
            for more in (False, True):
                these = [d.id for d in ending.told if (d.id in ending.unfinished) is more]
                if these:
                    values = _progress(ending.told[0], outcome, more, now)
                    deliveries.add(these, sent=outcome.verdict is Verdict.SENT, **values)
            if outcome.verdict is Verdict.STOP:
                stopped.append((bot, outcome))
        for values, these in leases:
            connection.execute(_END_LEASES, {**values, "now": now, "these": these})
        for values, these in deliveries:
            # One that grew too old during its call was told all the same.
            states = ["pending", "expired"] if values.pop("sent") else ["pending"]
            change = changing_deliveries(states, values, "tries = tries + 1")
            connection.execute(change, {**values, "these": these})
        _record(connection, ended, now)
        for bot, outcome in stopped:
            self._notices.stopped(connection, bot, outcome, now)
        return rests

    def _standing(self, bot: Record, outcome: Outcome, now: float) -> dict[str, Any]:
        """Return how a bot stands after an outcome: its rest, its failures in a row, its stop."""
        if outcome.verdict in (Verdict.SENT, Verdict.PARK):
            return {"rest_until": 0.0, "failures": 0, "stopped": ""}
        failures = bot["failures"] + 1 if outcome.verdict is Verdict.RETRY else 0
        stopped = outcome.reason if outcome.verdict is Verdict.STOP else bot["stopped"]
        rest_until = now + self._rest(outcome, failures)
        return {"rest_until": rest_until, "failures": failures, "stopped": stopped}

    def _rest(self, outcome: Outcome, failures: int) -> float:
        match outcome.verdict:
            case Verdict.REST:
                return REST
            case Verdict.STOP:
                return STOPPED_RETRY
        asked = min(outcome.retry_after or 0.0, BACKOFF_CAP)
        return max(backoff(failures, self._jitter()), asked)


class _Changes:
    """Rows by what is to change in them: what changes alike costs one statement."""

    def __init__(self) -> None:
        self._rows: dict[tuple[tuple[str, Any], ...], list[Any]] = {}

    def add(self, these: Iterable[Any], **values: Any) -> None:
        """Let these rows, by their keys, have these values."""
        self._rows.setdefault(tuple(values.items()), []).extend(these)

    def __iter__(self) -> Iterator[tuple[dict[str, Any], list[Any]]]:
        return ((dict(values), these) for values, these in self._rows.items())


def with_deliveries(connection: Connection, claims: Sequence[Claim], now: float) -> list[Attempt]:
    """Return the attempts with what they are to tell: one delivery, or all that go with it."""
    told: dict[int, tuple[Delivery, ...]] = {}
    for claim in claims:
        if claim.held is not None:
            bundle = {"name": claim.attempt.bot, "now": now, "held": claim.held}
            rows = connection.execute(_BUNDLE, bundle)
            told[claim.first] = tuple(delivery_of(row, _shown(row)) for row in rows)
    # One alone is told in full; so is what is left of a digest where others have settled the rest.
    numbers = [c.first for c in claims if len(told.get(c.first, ())) < 2]
    rows = connection.execute(_WHOLE, {"numbers": numbers}) if numbers else []
    alone = {row["id"]: (delivery_of(row, json.loads(row["payload"])),) for row in rows}
    return [replace(c.attempt, deliveries=alone.get(c.first) or told[c.first]) for c in claims]


def _interrupt(connection: Connection, died: Sequence[Record]) -> None:
    """Record the attempts of leases that nobody gave back: nobody knows how they ended.

    A lease from before the schema said what is told under it is on record already.
    """
    for bot in (bot for bot in died if bot["telling"]):
        number = next(new_ids(connection, "attempts", 1))
        span = bot["lease_until"] - LEASE, bot["lease_until"]
        row = _attempt_row(number, bot["name"], *span, Outcome(Verdict.RETRY, INTERRUPTED))
        connection.insert("attempts", [row])
        connection.execute(_LINK_TELLING, {"attempt": number, "telling": bot["telling"]})
    connection.execute(_GIVE_BACK, {"names": [bot["name"] for bot in died]})


def _record(connection: Connection, ended: Sequence[Ending], now: float) -> None:
    """Record attempts that have ended, and what they told."""
    ids = new_ids(connection, "attempts", len(ended)) if ended else iter(())
    attempts, links = [], []
    for ending, number in zip(ended, ids, strict=False):
        bot, began = ending.attempt.bot, ending.attempt.started_at
        attempts.append(_attempt_row(number, bot, began, now, ending.outcome))
        links += [{"attempt_id": number, "delivery_id": d.id} for d in ending.told]
    connection.insert("attempts", attempts)
    connection.insert("attempt_deliveries", links)


def _attempt_row(
    number: int, bot: str, started_at: float, ended_at: float, outcome: Outcome
) -> dict[str, Any]:
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


def _shown(row: Record) -> dict[str, Any]:
    """Return the payload of an event in a digest: no more than a digest shows."""
    return {"notes": row["brief"], **{name: row[name] for name in SHOWN}}


def _progress(delivery: Delivery, outcome: Outcome, more: bool, now: float) -> dict[str, Any]:
    """Return what an outcome changes in the rows of the deliveries that were told together."""
    values: dict[str, Any] = {}
    if outcome.verdict is Verdict.PARK or not delivery.messages_sent:
        values["reason"] = "" if outcome.verdict is Verdict.SENT else outcome.reason
    if outcome.media_id:
        # Its file is uploaded, which tells nobody anything yet: sending it comes next.
        return {**values, "media_id": outcome.media_id, "media_at": now}
    if outcome.reason == MEDIA_GONE and now - delivery.media_at > MEDIA_FRESH:
        return {**values, "media_id": ""}  # uploaded long ago and expired: once more, then
    if outcome.verdict is Verdict.PARK and not delivery.messages_sent:
        return {**values, "state": "parked", "settled_at": now}
    if outcome.verdict in (Verdict.SENT, Verdict.PARK):
        # A further message that is refused for good does not undo the first; its reason is kept.
        values |= {"step": delivery.messages_sent + 1, "media_id": ""}
        if not more:
            values |= {"state": "sent", "settled_at": now}
    return values
