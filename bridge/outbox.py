"""Events and deliveries on disk, and who may tell which of them now.

Every change of state is one transaction and a compare-and-set. One sender per bot at any time:
the row in `bots` holds its lease, and settling checks it. The rate is counted from the attempts
themselves, so that it holds over restarts and processes.
"""

import json
import logging
import random
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from bridge import notices
from bridge.database import Connection, Database, Record
from bridge.model import Attempt, Bot, Delivery, Event, Outcome, Target, Verdict
from bridge.rows import (
    SHOWN,
    add_deliveries,
    delivery_of,
    event_row,
    new_bot,
    new_event_ids,
    set_bot,
    set_deliveries,
)

log = logging.getLogger(__name__)

LEASE = 12.0  # seconds; longer than one rendering and one call may take
WINDOW = 61.0  # seconds; WeCom's 60 and one for the clock's steps
REST = 65.0  # seconds after 45009: WeCom blocks for 60
STOPPED_RETRY = 3600.0  # seconds after which a stopped bot is tried by itself
BACKOFF_FIRST, BACKOFF_CAP = 2.0, 600.0  # seconds
MAX_BUNDLE = 3000  # deliveries in one digest
MAX_SINGLES = 500  # that are counted before it is decided whether to make a digest
MEDIA_FRESH = 3600.0  # seconds; WeCom keeps a file for 3 days
MEDIA_GONE = "invalid_media_id"


# A delivery that waits and is not held by quiet hours. The state is written out rather than bound:
# SQLite uses a partial index only where it sees the very words of its condition.
_WAITS = "state = 'pending' AND held_until <= :now"
_WAITING = f"""
    SELECT name, lease_until, rest_until,
        (SELECT min(id) FROM deliveries WHERE bot = bots.name AND {_WAITS}) AS head
    FROM bots"""
_EXPIRING = "SELECT min(expires_at) AS moment FROM deliveries WHERE state = 'pending'"
_HELD_UNTIL = """
    SELECT min(held_until) AS moment FROM deliveries
    WHERE state = 'pending' AND held_until > 0 AND held_until > :now"""
_FREE = f"""
    SELECT name, lease FROM bots
    WHERE lease_until <= :now AND rest_until <= :now AND name IN :names
        AND EXISTS (SELECT 1 FROM deliveries WHERE bot = bots.name AND {_WAITS})
    LIMIT :limit"""
_RECENT = "SELECT count(*) AS count FROM attempts WHERE bot = :name AND ended_at > :since"
_OLDEST_OF = """
    SELECT ended_at FROM attempts WHERE bot = :name AND ended_at > :since
    ORDER BY ended_at DESC LIMIT 1 OFFSET :before"""
_DUE = f"""
    SELECT id, step, held_until FROM deliveries WHERE bot = :name AND {_WAITS}
    ORDER BY id LIMIT :most"""
_WHOLE = """
    SELECT deliveries.*, type, payload, received_at, error
    FROM deliveries JOIN events ON events.id = event_id WHERE deliveries.id IN :numbers"""
_BUNDLE = f"""
    SELECT deliveries.*, type, received_at, error, brief, {", ".join(SHOWN)}
    FROM deliveries JOIN events ON events.id = event_id
    WHERE bot = :name AND {_WAITS} AND step = 0 AND held_until >= :held
    ORDER BY deliveries.id LIMIT {MAX_BUNDLE}"""
_LEASE = "UPDATE bots SET lease = :lease, lease_until = :until WHERE name = :name"
_INTERRUPT = f"""
    UPDATE attempts SET verdict = '{Verdict.RETRY}', reason = 'interrupted'
    WHERE bot = :name AND ended_at > :since AND verdict = ''"""
_ATTEMPT = """
    INSERT INTO attempts (bot, started_at, ended_at, verdict, reason, detail)
    VALUES (:name, :now, :until, '', '', '') RETURNING id"""
_HOLDER = "SELECT * FROM bots WHERE name = :name AND lease = :lease"
_END_LEASE = """
    UPDATE bots SET lease = '', lease_until = 0, rest_until = :rest_until, failures = :failures,
        stopped = :stopped, last_errcode = :errcode, last_reason = :reason, last_at = :now
    WHERE name = :name"""
_END_ATTEMPT = """
    UPDATE attempts SET ended_at = :now, verdict = :verdict, reason = :reason, detail = :detail,
        errcode = :errcode
    WHERE id = :attempt"""


@dataclass(frozen=True)
class Accepted:
    """What became of one event: its id, and whether it had been told before."""

    event: int
    duplicate: bool


def backoff(failures: int, jitter: float) -> float:
    """Return the seconds to wait after so many failures in a row; `jitter` is from 0 to 1."""
    wait = BACKOFF_FIRST * 2.0 ** min(failures - 1, 20)
    return float(min(wait * (0.8 + 0.4 * jitter), BACKOFF_CAP))


# An attempt whose deliveries are not read yet, the first one's id, and where more go with it:
# 1 for what quiet hours held, 0 for all.
_Lease = tuple[Attempt, int, float | None]
_Told = tuple[dict[str, Any], Sequence[Target]]  # an event's row, and whom it is told to


class Outbox:
    """The events, deliveries and attempts; all times are epoch seconds.

    They are by `clock`, or without one by the database's own.
    """

    def __init__(
        self,
        url: str,
        known: Mapping[str, Bot],
        *,
        rate: int,
        max_age: float,
        dedupe: float,
        clock: Callable[[], float] | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._known = known
        self._names = list(known)
        self._rate = rate
        self._max_age = max_age
        self._notices = notices.Notices(known, max_age)
        self._dedupe = dedupe
        self._jitter = jitter
        self.database = Database(url, self._prepare)
        self._clock = clock or self.database.time
        self._accept_merged = self._accept  # one object, by which the writer knows what to merge
        self._moments_read: tuple[float, list[float]] = (float("-inf"), [])

    def open(self) -> None:
        """Make the schema and enter the bots now rather than with the first event."""
        self.database.write(lambda connection: None)

    def _prepare(self, connection: Connection) -> None:
        """Enter the known bots; one whose key has changed is worth another try."""
        known = connection.execute("SELECT name, fingerprint FROM bots")
        rows = {row["name"]: row["fingerprint"] for row in known}
        for name, bot in self._known.items():
            if name not in rows:
                connection.insert("bots", [new_bot(bot)])
            elif rows[name] != bot.fingerprint:
                self._resume(connection, name, fingerprint=bot.fingerprint)
                log.info("bot %s has a new key: what waits for it is tried now", name)

    def accept(
        self, told: Sequence[tuple[Event, Sequence[Target]]], named: Sequence[str] = ()
    ) -> list[Accepted]:
        """Store events with their deliveries in one transaction; raises StorageError.

        An event that came within the dedupe window, for the same bots `named` in the URL, is not
        stored again. Once this returns, nothing of it can be lost.
        """
        rows = [(event_row(event, named), targets) for event, targets in told]
        return self.database.write_together(self._accept_merged, rows)

    def _accept(
        self, connection: Connection, bodies: Sequence[Sequence[_Told]]
    ) -> list[list[Accepted]]:
        """Store the events of many bodies with as few statements as those of one."""
        now = self._clock()
        every = [told for body in bodies for told in body]
        known = self._told_before(connection, {row["digest"] for row, _ in every}, now)
        fresh: list[dict[str, Any]] = []
        duties: list[tuple[int, Sequence[Target]]] = []
        ids = new_event_ids(connection, len(every))
        accepted = []
        for row, targets in every:
            duplicate = row["digest"] in known
            number = known[row["digest"]] if duplicate else next(ids)
            accepted.append(Accepted(number, duplicate))
            if not duplicate:
                fresh.append({**row, "id": number})
                duties.append((number, targets))
                if self._dedupe:
                    known[row["digest"]] = number
        connection.insert("events", fresh)
        add_deliveries(connection, now, self._max_age, duties)
        results = iter(accepted)
        return [list(islice(results, len(body))) for body in bodies]

    def _told_before(
        self, connection: Connection, digests: Collection[str], now: float
    ) -> dict[str, int]:
        """Return the events of the dedupe window by digest."""
        if not self._dedupe:
            return {}
        if self.database.is_postgres:
            # READ COMMITTED does not see what another dyno is just storing. In order, so that
            # two transactions cannot wait for one another.
            for lock in sorted(int(digest[:15], 16) for digest in digests):
                connection.execute("SELECT pg_advisory_xact_lock(:lock)", {"lock": lock})
        same = connection.execute(
            "SELECT digest, id FROM events WHERE digest IN :digests AND received_at > :since",
            {"digests": list(digests), "since": now - self._dedupe},
        )
        return {row["digest"]: row["id"] for row in same}

    def claim(self, limit: int) -> list[Attempt]:
        """Return attempts that the caller must make now, one per bot and at most `limit`.

        Each is already on record and holds its bot's lease for LEASE seconds.
        """
        now = self._clock()
        if any(moment <= now for moment in self._moments(now)):
            self.database.write(lambda connection: self._notices.expire(connection, now))
            self._moments_read = (float("-inf"), [])
            return []
        # Lost with the machine, a claim is made again; settling it is what must last.
        leases = self.database.write(lambda c: self._claim(c, limit, now), durable=False)
        if not leases:
            return []
        # Read only now, while others may write: a digest's deliveries can be thousands.
        with self.database.read() as connection:
            return _with_deliveries(connection, leases, now)

    def outlook(self) -> tuple[float, dict[str, float]]:
        """Return when something may be due, and until when each bot that is not free has to wait.

        Both in epoch seconds; infinity where nothing waits.
        """
        now = self._clock()
        with self.database.read() as connection:
            waiting = connection.execute(_WAITING, {"now": now})
        due = {
            row["name"]: max(row["lease_until"], row["rest_until"], now)
            for row in waiting
            if row["head"] is not None and row["name"] in self._known
        }
        later = {name: moment for name, moment in due.items() if moment > now}
        return min([*due.values(), *self._moments(now)], default=float("inf")), later

    def _moments(self, now: float) -> list[float]:
        """Return when something is to be done that needs no event: looked up once a second.

        That is when the next delivery is too old, the next quiet hours end, a notice is due.
        """
        if now - self._moments_read[0] >= 1.0:
            found: list[float] = []
            with self.database.read() as connection:
                for query in (_EXPIRING, _HELD_UNTIL, notices.DUE):
                    [row] = connection.execute(query, {"now": now})
                    found += [row["moment"]] if row["moment"] is not None else []
            self._moments_read = (now, found)
        return self._moments_read[1]

    def _claim(self, connection: Connection, limit: int, now: float) -> list[_Lease]:
        # The lock comes first and the count in a statement of its own: at READ COMMITTED one
        # statement would count what stood there before the lock was granted.
        lock = " FOR UPDATE SKIP LOCKED" if connection.is_postgres else ""
        wanted = {"now": now, "names": self._names, "limit": limit}
        free = connection.execute(_FREE + lock, wanted)
        found = [self._claim_bot(connection, row["name"], row["lease"], now) for row in free]
        return [lease for lease in found if lease]

    def _claim_bot(
        self, connection: Connection, name: str, former: str, now: float
    ) -> _Lease | None:
        window = {"name": name, "since": now - WINDOW}
        recent: int = connection.execute(_RECENT, window)[0]["count"]
        if recent >= self._rate:
            [oldest] = connection.execute(_OLDEST_OF, {**window, "before": self._rate - 1})
            set_bot(connection, name, rest_until=oldest["ended_at"] + WINDOW)
            return None
        most = min(self._rate - recent, MAX_SINGLES) + 1
        due = connection.execute(_DUE, {"name": name, "now": now, "most": most})
        if not due:
            return None
        if former:
            # A lease that has ended and was not given back: whoever held it died on the way.
            connection.execute(_INTERRUPT, {"name": name, "since": now - WINDOW - LEASE})
        lease = secrets.token_hex(8)
        taken = {"name": name, "lease": lease, "now": now, "until": now + LEASE}
        connection.execute(_LEASE, taken)
        attempt: int = connection.execute(_ATTEMPT, taken)[0]["id"]
        first: int = due[0]["id"]
        _link(connection, attempt, [first])
        # A digest tells more than the rate lets through now, but never the first one of a quiet
        # bot; and what quiet hours have held, where that is several.
        held = sum(row["held_until"] > 0 for row in due) > 1
        together = held or (recent and len(due) > self._rate - recent)
        since = None if due[0]["step"] or not together else 1.0 if held else 0.0
        return Attempt(attempt, name, lease, now, ()), first, since

    def settle(
        self,
        attempt: Attempt,
        outcome: Outcome,
        told: Sequence[Delivery] | None = None,
        unfinished: Collection[int] = (),
    ) -> float | None:
        """Record how an attempt ended, for the deliveries that it told (by default all of its).

        The `unfinished` ones of these, by id, have a further message and stay pending. Returns
        the epoch time until which the bot rests, 0 where it need not; None where the lease was
        lost meanwhile and another has the deliveries: nothing is changed then.
        """
        now = self._clock()
        told = attempt.deliveries if told is None else told
        return self.database.write(
            lambda connection: self._settle(connection, attempt, outcome, told, unfinished, now)
        )

    def _settle(
        self,
        connection: Connection,
        attempt: Attempt,
        outcome: Outcome,
        told: Sequence[Delivery],
        unfinished: Collection[int],
        now: float,
    ) -> float | None:
        lock = " FOR UPDATE" if connection.is_postgres else ""
        holder = {"name": attempt.bot, "lease": attempt.lease}
        held = connection.execute(_HOLDER + lock, holder)
        if not held:
            return None
        [bot] = held
        answered = outcome.verdict in (Verdict.SENT, Verdict.PARK)
        failures = bot["failures"] + 1 if outcome.verdict is Verdict.RETRY else 0
        rest_until = 0.0 if answered else now + self._rest(outcome, failures)
        stopped = outcome.reason if outcome.verdict is Verdict.STOP else bot["stopped"]
        ended = {
            "now": now,
            "errcode": outcome.errcode,
            "reason": outcome.reason,
            "detail": outcome.detail,
            "verdict": outcome.verdict.value,
            "name": attempt.bot,
            "attempt": attempt.id,
            "rest_until": rest_until,
            "failures": failures,
            "stopped": "" if answered else stopped,
        }
        connection.execute(_END_LEASE, ended)
        connection.execute(_END_ATTEMPT, ended)
        # One that grew too old during its call was told all the same.
        states = ["pending", "expired"] if outcome.verdict is Verdict.SENT else ["pending"]
        for more in (False, True):
            these = [d.id for d in told if (d.id in unfinished) is more]
            if these:
                values = _progress(told[0], outcome, more, now)
                set_deliveries(connection, these, states, values, "tries = tries + 1")
        _link(connection, attempt.id, [d.id for d in told if d.id != attempt.deliveries[0].id])
        if outcome.verdict is Verdict.STOP:
            self._notices.stopped(connection, bot, outcome, now)
        return rest_until

    def _rest(self, outcome: Outcome, failures: int) -> float:
        match outcome.verdict:
            case Verdict.REST:
                return REST
            case Verdict.STOP:
                return STOPPED_RETRY
        asked = min(outcome.retry_after or 0.0, BACKOFF_CAP)
        return max(backoff(failures, self._jitter()), asked)

    def resume(self, name: str) -> bool:
        """Try a stopped or resting bot again now; False where there is no such bot."""
        return self.database.write(lambda connection: self._resume(connection, name))

    def _resume(self, connection: Connection, name: str, **more: Any) -> bool:
        return set_bot(
            connection, name, stopped="", rest_until=0.0, failures=0, alarmed_at=0.0, **more
        )


def _with_deliveries(connection: Connection, leases: Sequence[_Lease], now: float) -> list[Attempt]:
    """Return the attempts with what they are to tell: one delivery, or all that go with it."""
    told: dict[int, tuple[Delivery, ...]] = {}
    for attempt, _, held in leases:
        if held is not None:
            bundle = {"name": attempt.bot, "now": now, "held": held}
            rows = connection.execute(_BUNDLE, bundle)
            told[attempt.id] = tuple(delivery_of(row, _shown(row)) for row in rows)
    # One alone is told in full; so is what is left of a digest where others have settled the rest.
    numbers = [first for attempt, first, _ in leases if len(told.get(attempt.id, ())) < 2]
    alone = {
        row["id"]: (delivery_of(row, json.loads(row["payload"])),)
        for row in connection.execute(_WHOLE, {"numbers": numbers})
    }
    return [
        replace(attempt, deliveries=alone.get(first) or told[attempt.id])
        for attempt, first, _ in leases
    ]


def _link(connection: Connection, attempt: int, told: Sequence[int]) -> None:
    """Record which deliveries an attempt tells."""
    links = [{"attempt_id": attempt, "delivery_id": number} for number in told]
    connection.insert("attempt_deliveries", links)


def _shown(row: Record) -> dict[str, Any]:
    """Return the payload of an event in a digest: no more than a digest shows."""
    return {"notes": row["brief"], **{name: row[name] for name in SHOWN}}


def _progress(delivery: Delivery, outcome: Outcome, more: bool, now: float) -> dict[str, Any]:
    """Return what an outcome changes in the rows of the deliveries that were told together."""
    values: dict[str, Any] = {}
    if outcome.verdict is Verdict.PARK or not delivery.step:
        values["reason"] = "" if outcome.verdict is Verdict.SENT else outcome.reason
    if outcome.media_id:
        # Its file is uploaded, which tells nobody anything yet: sending it comes next.
        return {**values, "media_id": outcome.media_id, "media_at": now}
    if outcome.reason == MEDIA_GONE and now - delivery.media_at > MEDIA_FRESH:
        return {**values, "media_id": ""}  # uploaded long ago and expired: once more, then
    if outcome.verdict is Verdict.PARK and not delivery.step:
        return {**values, "state": "parked", "settled_at": now}
    if outcome.verdict in (Verdict.SENT, Verdict.PARK):
        # A further message that is refused for good does not undo the first; its reason is kept.
        values |= {"step": delivery.step + 1, "media_id": ""}
        if not more:
            values |= {"state": "sent", "settled_at": now}
    return values
