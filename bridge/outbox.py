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

from sqlalchemy import ColumnElement, Connection, func, insert, select, text, update

from bridge import notices
from bridge.database import Database
from bridge.model import Attempt, Bot, Delivery, Event, Outcome, Target, Verdict
from bridge.rows import (
    SHOWN,
    Record,
    add_deliveries,
    delivery_of,
    event_row,
    new_event_ids,
    set_bot,
    waits,
)
from bridge.schema import attempt_deliveries, attempts, bots, deliveries, events

log = logging.getLogger(__name__)

LEASE = 12.0  # seconds; longer than one rendering and one call may take
WINDOW = 61.0  # seconds; WeCom's 60 and one for the clock's steps
REST = 65.0  # seconds after 45009: WeCom blocks for 60
STOPPED_RETRY = 3600.0  # seconds after which a stopped bot is tried by itself
BACKOFF_FIRST, BACKOFF_CAP = 2.0, 600.0  # seconds
MAX_BUNDLE = 3000  # deliveries in one digest
MEDIA_FRESH = 3600.0  # seconds; WeCom keeps a file for 3 days
MEDIA_GONE = "invalid_media_id"


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
            waiting = self._waiting(connection, now)
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
    def _waiting(connection: Connection, now: float) -> Sequence[Record]:
        """Return every bot with the first delivery that is due for it."""
        head = (
            select(func.min(deliveries.c.id))
            .where(deliveries.c.bot == bots.c.name, waits(now))
            .scalar_subquery()
        )
        columns = bots.c
        query = select(
            columns.name,
            columns.lease_until,
            columns.rest_until,
            columns.untold,
            columns.noticed_at,
            head.label("head"),
        )
        return connection.execute(query).all()

    @staticmethod
    def _moments(connection: Connection, now: float) -> list[float]:
        """Return when the next delivery is too old, and when the next quiet hours end."""
        pending = deliveries.c.state == "pending"
        expiring = select(func.min(deliveries.c.expires_at)).where(pending)
        held = select(func.min(deliveries.c.held_until)).where(
            pending, deliveries.c.held_until > 0, deliveries.c.held_until > now
        )
        found = [connection.execute(query).scalar() for query in (expiring, held)]
        return [moment for moment in found if moment is not None]

    def _claim(self, connection: Connection, names: Sequence[str], now: float) -> list[Attempt]:
        # The lock comes first and the count in a statement of its own: at READ COMMITTED one
        # statement would count what stood there before the lock was granted.
        free = connection.execute(
            select(bots.c.name)
            .where(bots.c.name.in_(names), bots.c.lease_until <= now, bots.c.rest_until <= now)
            .with_for_update(skip_locked=True)
        ).scalars()
        claimed = []
        for name in sorted(free.all()):
            if attempt := self._claim_bot(connection, name, now):
                claimed.append(attempt)
        return claimed

    def _claim_bot(self, connection: Connection, name: str, now: float) -> Attempt | None:
        recent = connection.execute(
            select(attempts.c.ended_at)
            .where(attempts.c.bot == name, attempts.c.ended_at > now - WINDOW)
            .order_by(attempts.c.ended_at.desc())
            .limit(self._rate)
        ).all()
        if len(recent) == self._rate:
            set_bot(connection, name, rest_until=recent[-1].ended_at + WINDOW)
            return None
        told = self._next(connection, name, now, len(recent))
        if not told:
            return None
        lease = secrets.token_hex(8)
        set_bot(connection, name, lease=lease, lease_until=now + LEASE)
        connection.execute(
            # A lease is free and its attempt unfinished: whoever made it died on the way.
            update(attempts)
            .where(attempts.c.bot == name, attempts.c.ended_at > now - WINDOW - LEASE)
            .where(attempts.c.verdict == "")
            .values(verdict=Verdict.RETRY, reason="interrupted")
        )
        row = {"bot": name, "started_at": now, "ended_at": now + LEASE}
        attempt: int = connection.execute(
            insert(attempts).returning(attempts.c.id), row
        ).scalar_one()
        first = {"attempt_id": attempt, "delivery_id": told[0].id}
        connection.execute(insert(attempt_deliveries), first)
        return Attempt(attempt, name, lease, now, told)

    def _next(
        self, connection: Connection, name: str, now: float, recent: int
    ) -> tuple[Delivery, ...]:
        """Return what a bot is to be told next: one delivery, or several that go into a digest.

        They go into one when more waits than the rate lets through now, but never the first one
        of a quiet bot; and when quiet hours have held several of them.
        """
        mine = [deliveries.c.bot == name, waits(now)]
        due = connection.execute(
            select(deliveries.c.id, deliveries.c.step, deliveries.c.held_until)
            .where(*mine)
            .order_by(deliveries.c.id)
            .limit(self._rate - recent + 1)
        ).all()
        if due and not due[0].step:
            fresh = [*mine, deliveries.c.step == 0]
            if sum(row.held_until > 0 for row in due) > 1:
                return self._bundle(connection, [*fresh, deliveries.c.held_until > 0])
            if recent and len(due) > self._rate - recent:
                return self._bundle(connection, fresh)
        whole = select(
            deliveries, events.c.type, events.c.payload, events.c.received_at, events.c.error
        ).join(events, deliveries.c.event_id == events.c.id)
        rows = [connection.execute(whole.where(deliveries.c.id == row.id)).one() for row in due[:1]]
        return tuple(delivery_of(row, json.loads(row.payload)) for row in rows)

    @staticmethod
    def _bundle(
        connection: Connection, conditions: Sequence[ColumnElement[bool]]
    ) -> tuple[Delivery, ...]:
        shown = [events.c[name] for name in ("type", "received_at", "error", "brief", *SHOWN)]
        rows = connection.execute(
            select(deliveries, *shown)
            .join(events, deliveries.c.event_id == events.c.id)
            .where(*conditions)
            .order_by(deliveries.c.id)
            .limit(MAX_BUNDLE)
        ).all()
        return tuple(
            delivery_of(row, {"notes": row.brief, **{name: row._mapping[name] for name in SHOWN}})
            for row in rows
        )

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
        bot = connection.execute(
            select(bots)
            .where(bots.c.name == attempt.bot, bots.c.lease == attempt.lease)
            .with_for_update()
        ).first()
        if bot is None:
            return None
        answered = outcome.verdict in (Verdict.SENT, Verdict.PARK)
        failures = bot.failures + 1 if outcome.verdict is Verdict.RETRY else 0
        rest_until = 0.0 if answered else now + self._rest(outcome, failures)
        set_bot(
            connection,
            attempt.bot,
            lease="",
            lease_until=0.0,
            rest_until=rest_until,
            failures=failures,
            stopped=outcome.reason
            if outcome.verdict is Verdict.STOP
            else bot.stopped * (not answered),
            last_errcode=outcome.errcode,
            last_reason=outcome.reason,
            last_at=now,
        )
        connection.execute(
            update(attempts)
            .where(attempts.c.id == attempt.id)
            .values(
                ended_at=now,
                verdict=outcome.verdict,
                reason=outcome.reason,
                detail=outcome.detail,
                errcode=outcome.errcode,
            )
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
            connection.execute(insert(attempt_deliveries), links)
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
