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
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select, text, update

from bridge import notices
from bridge.database import Database
from bridge.model import Attempt, Bot, Delivery, Event, Outcome, Target, Verdict
from bridge.rows import (
    SHOWN,
    WAITS,
    Record,
    add_deliveries,
    delivery_of,
    event_row,
    new_event_ids,
    set_bot,
)
from bridge.schema import HELD, PENDING, attempt_deliveries, attempts, bots, deliveries, events

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


# The statements of every delivery, built once: building one takes longer than running it.
_HEAD = (
    select(func.min(deliveries.c.id))
    .where(deliveries.c.bot == bots.c.name, WAITS)
    .scalar_subquery()
)
_WAITING = select(
    bots.c.name,
    bots.c.lease_until,
    bots.c.rest_until,
    bots.c.untold,
    bots.c.noticed_at,
    _HEAD.label("head"),
)
_EXPIRING = select(func.min(deliveries.c.expires_at)).where(PENDING)
_HELD_UNTIL = select(func.min(deliveries.c.held_until)).where(
    HELD, deliveries.c.held_until > bindparam("now")
)
_FREE = (
    select(bots.c.name, bots.c.lease)
    .where(
        bots.c.name.in_(bindparam("names", expanding=True)),
        bots.c.lease_until <= bindparam("now"),
        bots.c.rest_until <= bindparam("now"),
    )
    .order_by(bots.c.name)
    .with_for_update(skip_locked=True)
)
_IN_WINDOW = (attempts.c.bot == bindparam("name")) & (attempts.c.ended_at > bindparam("since"))
_RECENT = select(func.count()).where(_IN_WINDOW)
_OLDEST_OF = (
    select(attempts.c.ended_at)
    .where(_IN_WINDOW)
    .order_by(attempts.c.ended_at.desc())
    .limit(1)
    .offset(bindparam("before"))
)
_MINE = (deliveries.c.bot == bindparam("name")) & WAITS
_DUE = (
    select(deliveries.c.id, deliveries.c.step, deliveries.c.held_until)
    .where(_MINE)
    .order_by(deliveries.c.id)
    .limit(bindparam("most"))
)
_WHOLE = (
    select(deliveries, events.c.type, events.c.payload, events.c.received_at, events.c.error)
    .join(events, deliveries.c.event_id == events.c.id)
    .where(deliveries.c.id == bindparam("number"))
)
_BUNDLE = (
    select(
        deliveries,
        *(events.c[name] for name in ("type", "received_at", "error", "brief", *SHOWN)),
    )
    .join(events, deliveries.c.event_id == events.c.id)
    .where(_MINE, deliveries.c.step == 0, deliveries.c.held_until >= bindparam("held"))
    .order_by(deliveries.c.id)
    .limit(MAX_BUNDLE)
)
_LEASE = (
    update(bots)
    .where(bots.c.name == bindparam("this"))
    .values(lease=bindparam("token"), lease_until=bindparam("until"))
)
_INTERRUPT = (
    update(attempts)
    .where(_IN_WINDOW, attempts.c.verdict == "")
    .values(verdict=Verdict.RETRY, reason="interrupted")
)
_ATTEMPT = insert(attempts).returning(attempts.c.id)
_LINK = insert(attempt_deliveries)
_HOLDER = (
    select(bots)
    .where(bots.c.name == bindparam("this"), bots.c.lease == bindparam("token"))
    .with_for_update()
)
_END_LEASE = (
    update(bots)
    .where(bots.c.name == bindparam("this"))
    .values(
        lease="",
        lease_until=0.0,
        rest_until=bindparam("rest"),
        failures=bindparam("failed"),
        stopped=bindparam("why"),
        last_errcode=bindparam("code"),
        last_reason=bindparam("because"),
        last_at=bindparam("now"),
    )
)
_END_ATTEMPT = (
    update(attempts)
    .where(attempts.c.id == bindparam("number"))
    .values(
        ended_at=bindparam("now"),
        verdict=bindparam("judged"),
        reason=bindparam("because"),
        detail=bindparam("said"),
        errcode=bindparam("code"),
    )
)


@dataclass(frozen=True)
class Accepted:
    """What became of one event: its id, and whether it had been told before."""

    event: int
    duplicate: bool


def backoff(failures: int, jitter: float) -> float:
    """Return the seconds to wait after so many failures in a row; `jitter` is from 0 to 1."""
    wait = BACKOFF_FIRST * 2.0 ** min(failures - 1, 20)
    return float(min(wait * (0.8 + 0.4 * jitter), BACKOFF_CAP))


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
        rows = {row.name: row.fingerprint for row in connection.execute(select(bots))}
        for name, bot in self._known.items():
            if name not in rows:
                connection.execute(insert(bots).values(name=name, fingerprint=bot.fingerprint))
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
        if fresh:
            connection.execute(insert(events), fresh)
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
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": lock})
        same = select(events.c.digest, events.c.id).where(
            events.c.digest.in_(digests), events.c.received_at > now - self._dedupe
        )
        return {row.digest: row.id for row in connection.execute(same)}

    def claim(self, limit: int) -> tuple[list[Attempt], float, dict[str, float]]:
        """Return attempts that the caller must make now, one per bot, and when to ask again.

        Each is already on record and holds its bot's lease for LEASE seconds. The second value
        is an epoch time, at which something may be due; infinity where nothing waits. The third
        tells until when (epoch s) each bot that is not free yet has to wait.
        """
        now = self._clock()
        with self.database.read() as connection:
            waiting = connection.execute(_WAITING, {"now": now}).all()
            if now - self._moments_read[0] >= 1.0:
                self._moments_read = (now, self._moments(connection, now))
        moments = self._moments_read[1]
        if any(moment <= now for moment in moments) or any(notices.is_due(b, now) for b in waiting):
            self.database.write(lambda connection: self._notices.expire(connection, now))
            self._moments_read = (float("-inf"), [])
            return [], now, {}
        due = {
            row.name: max(row.lease_until, row.rest_until)
            for row in waiting
            if row.head is not None and row.name in self._known
        }
        ready = [name for name, moment in due.items() if moment <= now]
        later = {name: moment for name, moment in due.items() if moment > now}
        claimed: list[Attempt] = []
        if ready:
            names = ready[:limit]
            claimed = self.database.write(lambda connection: self._claim(connection, names, now))
        if len(claimed) < len(ready):
            return claimed, now, later
        return claimed, min([*later.values(), *moments], default=float("inf")), later

    @staticmethod
    def _moments(connection: Connection, now: float) -> list[float]:
        """Return when the next delivery is too old, and when the next quiet hours end."""
        found = [connection.execute(query, {"now": now}) for query in (_EXPIRING, _HELD_UNTIL)]
        return [moment for moment in (rows.scalar() for rows in found) if moment is not None]

    def _claim(self, connection: Connection, names: Sequence[str], now: float) -> list[Attempt]:
        # The lock comes first and the count in a statement of its own: at READ COMMITTED one
        # statement would count what stood there before the lock was granted.
        free = connection.execute(_FREE, {"names": list(names), "now": now}).all()
        found = [self._claim_bot(connection, row.name, row.lease, now) for row in free]
        return [attempt for attempt in found if attempt]

    def _claim_bot(
        self, connection: Connection, name: str, former: str, now: float
    ) -> Attempt | None:
        window = {"name": name, "since": now - WINDOW}
        recent: int = connection.execute(_RECENT, window).scalar_one()
        if recent >= self._rate:
            oldest = connection.execute(_OLDEST_OF, {**window, "before": self._rate - 1})
            set_bot(connection, name, rest_until=oldest.scalar_one() + WINDOW)
            return None
        told = self._next(connection, name, now, recent)
        if not told:
            return None
        if former:
            # A lease that has ended and was not given back: whoever held it died on the way.
            connection.execute(_INTERRUPT, {"name": name, "since": now - WINDOW - LEASE})
        lease = secrets.token_hex(8)
        connection.execute(_LEASE, {"this": name, "token": lease, "until": now + LEASE})
        row = {"bot": name, "started_at": now, "ended_at": now + LEASE}
        attempt: int = connection.execute(_ATTEMPT, row).scalar_one()
        connection.execute(_LINK, {"attempt_id": attempt, "delivery_id": told[0].id})
        return Attempt(attempt, name, lease, now, told)

    def _next(
        self, connection: Connection, name: str, now: float, recent: int
    ) -> tuple[Delivery, ...]:
        """Return what a bot is to be told next: one delivery, or several that go into a digest.

        They go into one when more waits than the rate lets through now, but never the first one
        of a quiet bot; and when quiet hours have held several of them.
        """
        mine = {"name": name, "now": now}
        most = min(self._rate - recent, MAX_SINGLES) + 1
        due = connection.execute(_DUE, {**mine, "most": most}).all()
        if due and not due[0].step:
            held = sum(row.held_until > 0 for row in due) > 1
            if held or (recent and len(due) > self._rate - recent):
                rows = connection.execute(_BUNDLE, {**mine, "held": 1.0 if held else 0.0}).all()
                return tuple(delivery_of(row, _shown(row)) for row in rows)
        rows = [connection.execute(_WHOLE, {"number": row.id}).one() for row in due[:1]]
        return tuple(delivery_of(row, json.loads(row.payload)) for row in rows)

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
        holder = {"this": attempt.bot, "token": attempt.lease}
        bot = connection.execute(_HOLDER, holder).first()
        if bot is None:
            return None
        answered = outcome.verdict in (Verdict.SENT, Verdict.PARK)
        failures = bot.failures + 1 if outcome.verdict is Verdict.RETRY else 0
        rest_until = 0.0 if answered else now + self._rest(outcome, failures)
        stopped = outcome.reason if outcome.verdict is Verdict.STOP else bot.stopped
        ended = {"now": now, "code": outcome.errcode, "because": outcome.reason}
        connection.execute(
            _END_LEASE,
            {
                **ended,
                "this": attempt.bot,
                "rest": rest_until,
                "failed": failures,
                "why": "" if answered else stopped,
            },
        )
        connection.execute(
            _END_ATTEMPT,
            {**ended, "number": attempt.id, "judged": outcome.verdict, "said": outcome.detail},
        )
        for more in (False, True):
            these = [d.id for d in told if (d.id in unfinished) is more]
            if these:
                values = _progress(told[0], outcome, more, now)
                # One that grew too old during its call was told all the same.
                states = ("pending", "expired") if outcome.verdict is Verdict.SENT else ("pending",)
                self._progressed(connection, these, states, values)
        others = [d.id for d in told if d.id != attempt.deliveries[0].id]
        if others:
            links = [{"attempt_id": attempt.id, "delivery_id": number} for number in others]
            connection.execute(_LINK, links)
        if outcome.verdict is Verdict.STOP:
            self._notices.stopped(connection, bot, outcome, now)
        return rest_until

    @staticmethod
    def _progressed(
        connection: Connection, ids: Sequence[int], states: Sequence[str], values: dict[str, Any]
    ) -> None:
        for start in range(0, len(ids), 500):
            chunk = ids[start : start + 500]
            connection.execute(
                update(deliveries)
                .where(deliveries.c.id.in_(chunk), deliveries.c.state.in_(states))
                .values(values)
            )

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


def _shown(row: Record) -> dict[str, Any]:
    """Return the payload of an event in a digest: no more than a digest shows."""
    return {"notes": row.brief, **{name: row._mapping[name] for name in SHOWN}}


def _progress(delivery: Delivery, outcome: Outcome, more: bool, now: float) -> dict[str, Any]:
    """Return what an outcome changes in the rows of the deliveries that were told together."""
    values: dict[str, Any] = {"tries": deliveries.c.tries + 1}
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
        values |= {"step": deliveries.c.step + 1, "media_id": ""}
        if not more:
            values |= {"state": "sent", "settled_at": now}
    return values
