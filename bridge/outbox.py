"""Events and deliveries on disk, and who may tell which of them now.

Every change of state is one transaction and a compare-and-set. One sender per bot at any time:
the row in `bots` holds its lease, and settling checks it. The rate is counted from the attempts
themselves, so that it holds over restarts and processes.
"""

import hashlib
import json
import logging
import random
import secrets
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    delete,
    exists,
    func,
    insert,
    select,
    text,
    update,
)

from bridge.database import Database, attempt_deliveries, attempts, bots, deliveries, events
from bridge.model import Attempt, Bot, Delivery, Event, Outcome, Target, Verdict

log = logging.getLogger(__name__)
Record = Row[*tuple[Any, ...]]

LEASE = 12.0  # seconds; longer than one rendering and one call may take
WINDOW = 61.0  # seconds; WeCom's 60 and one for the clock's steps
REST = 65.0  # seconds after 45009: WeCom blocks for 60
STOPPED_RETRY = 3600.0  # seconds after which a stopped bot is tried by itself
HOURLY = 3600.0  # seconds between two notices of one kind about one bot
BACKOFF_FIRST, BACKOFF_CAP = 2.0, 600.0  # seconds
PRUNE_BATCH = 200  # events
MAX_BUNDLE = 3000  # deliveries in one digest
BRIEF = 300  # characters of the notes, for digests
MEDIA_FRESH = 3600.0  # seconds; WeCom keeps a file for 3 days
MEDIA_GONE = "invalid_media_id"
_SHOWN = ("title", "device_type", "os_version", "build_version", "link")

STOPPED, EXPIRED = "botStopped", "expired"  # types of the bridge's own events


@dataclass(frozen=True)
class Accepted:
    """What became of one event: its id, and whether it had been told before."""

    event: int
    duplicate: bool


@dataclass(frozen=True)
class Health:
    """How the outbox stands: what waits, since when (epoch seconds), which bots are stopped."""

    pending: int
    oldest: float | None
    stopped: Mapping[str, str]


def backoff(failures: int, jitter: float) -> float:
    """Return the seconds to wait after so many failures in a row; `jitter` is from 0 to 1."""
    wait = BACKOFF_FIRST * 2.0 ** min(failures - 1, 20)
    return float(min(wait * (0.8 + 0.4 * jitter), BACKOFF_CAP))


class Outbox:
    """The events, deliveries and attempts; all times are epoch seconds by `clock`."""

    def __init__(
        self,
        url: str,
        known: Mapping[str, Bot],
        *,
        rate: int,
        max_age: float,
        dedupe: float,
        clock: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._known = known
        self._rate = rate
        self._max_age = max_age
        self._dedupe = dedupe
        self._clock = clock
        self._jitter = jitter
        self.database = Database(url, self._prepare)

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

    # Taking in

    def accept(
        self, told: Sequence[tuple[Event, Sequence[Target]]], named: Sequence[str] = ()
    ) -> list[Accepted]:
        """Store events with their deliveries in one transaction; raises StorageError.

        An event that came within the dedupe window, for the same bots `named` in the URL, is not
        stored again. Once this returns, nothing of it can be lost.
        """
        now = self._clock()
        rows = [(event, _event_row(event, named), targets) for event, targets in told]
        return self.database.write(
            lambda connection: [self._accept(connection, now, *row) for row in rows]
        )

    def _accept(
        self,
        connection: Connection,
        now: float,
        event: Event,
        row: dict[str, Any],
        targets: Sequence[Target],
    ) -> Accepted:
        if self._dedupe:
            if connection.dialect.name == "postgresql":
                # READ COMMITTED does not see what another dyno is just storing.
                lock = int(row["digest"][:15], 16)
                connection.execute(text(f"SELECT pg_advisory_xact_lock({lock})"))
            same = select(events.c.id).where(
                events.c.digest == row["digest"], events.c.received_at > now - self._dedupe
            )
            if (known := connection.execute(same.limit(1)).scalar()) is not None:
                return Accepted(known, duplicate=True)
        return Accepted(self._store(connection, now, row, targets), duplicate=False)

    def _store(
        self, connection: Connection, now: float, row: dict[str, Any], targets: Sequence[Target]
    ) -> int:
        event_id: int = connection.execute(insert(events).returning(events.c.id), row).scalar_one()
        if targets:
            connection.execute(
                insert(deliveries),
                [
                    {
                        "event_id": event_id,
                        "bot": target.bot,
                        "template": target.template,
                        "mention": json.dumps(target.mention),
                        "attach": json.dumps(target.attach),
                        "created_at": now,
                        "held_until": target.held_until,
                        "expires_at": max(now, target.held_until) + self._max_age,
                    }
                    for target in targets
                ],
            )
        return event_id

    # Sending out

    def claim(self, limit: int) -> tuple[list[Attempt], float]:
        """Return attempts that the caller must make now, one per bot, and when to ask again.

        Each is already on record and holds its bot's lease for LEASE seconds. The second value
        is an epoch time, at which something may be due; infinity where nothing waits.
        """
        now = self._clock()
        with self.database.read() as connection:
            waiting = self._waiting(connection, now)
            moments = self._moments(connection, now)
        if any(moment <= now for moment in moments) or any(_notice_due(b, now) for b in waiting):
            self.database.write(lambda connection: self._expire(connection, now))
            return [], now
        due = {
            row.name: max(row.lease_until, row.rest_until)
            for row in waiting
            if row.head is not None and row.name in self._known
        }
        ready = [name for name, moment in due.items() if moment <= now]
        later = [moment for moment in due.values() if moment > now]
        claimed: list[Attempt] = []
        if ready:
            names = ready[:limit]
            claimed = self.database.write(lambda connection: self._claim(connection, names, now))
        if len(claimed) < len(ready):
            return claimed, now
        return claimed, min([*later, *moments], default=float("inf"))

    @staticmethod
    def _waiting(connection: Connection, now: float) -> Sequence[Record]:
        """Return every bot with the first delivery that is due for it."""
        head = (
            select(func.min(deliveries.c.id))
            .where(deliveries.c.bot == bots.c.name, _due(now))
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
            self._set(connection, name, rest_until=recent[-1].ended_at + WINDOW)
            return None
        told = self._next(connection, name, now, len(recent))
        if not told:
            return None
        lease = secrets.token_hex(8)
        self._set(connection, name, lease=lease, lease_until=now + LEASE)
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
        mine = [deliveries.c.bot == name, _due(now)]
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
        return tuple(_delivery(row, json.loads(row.payload)) for row in rows)

    @staticmethod
    def _bundle(
        connection: Connection, conditions: Sequence[ColumnElement[bool]]
    ) -> tuple[Delivery, ...]:
        shown = [events.c[name] for name in ("type", "received_at", "error", "brief", *_SHOWN)]
        rows = connection.execute(
            select(deliveries, *shown)
            .join(events, deliveries.c.event_id == events.c.id)
            .where(*conditions)
            .order_by(deliveries.c.id)
            .limit(MAX_BUNDLE)
        ).all()
        return tuple(
            _delivery(row, {"notes": row.brief, **{name: row._mapping[name] for name in _SHOWN}})
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
        self._set(
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
                self._progressed(connection, these, values)
        others = [d.id for d in told if d.id != attempt.deliveries[0].id]
        if others:
            links = [{"attempt_id": attempt.id, "delivery_id": number} for number in others]
            connection.execute(insert(attempt_deliveries), links)
        if outcome.verdict is Verdict.STOP and now - bot.alarmed_at >= HOURLY:
            self._set(connection, attempt.bot, alarmed_at=now)
            self._notify(
                connection,
                now,
                STOPPED,
                attempt.bot,
                {"reason": outcome.reason, "detail": outcome.detail},
            )
        return rest_until

    @staticmethod
    def _progressed(connection: Connection, ids: Sequence[int], values: dict[str, Any]) -> None:
        for start in range(0, len(ids), 500):
            chunk = ids[start : start + 500]
            connection.execute(
                update(deliveries)
                .where(deliveries.c.id.in_(chunk), deliveries.c.state == "pending")
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

    # Keeping order

    def _expire(self, connection: Connection, now: float) -> None:
        """Settle what is too old, and tell of it, at most once an hour for each bot."""
        expired = connection.execute(
            update(deliveries)
            .where(deliveries.c.state == "pending", deliveries.c.expires_at <= now)
            .values(state="expired", reason="too_old", settled_at=now)
            .returning(deliveries.c.bot, deliveries.c.event_id)
        ).all()
        for name in {row.bot for row in expired}:
            ids = [row.event_id for row in expired if row.bot == name]
            log.warning(
                "bot %s: %d deliveries are too old and expire (events %s)", name, len(ids), ids[:20]
            )
            # A notice that has expired itself is not worth another notice.
            own = select(func.count()).where(events.c.id.in_(ids), events.c.type == EXPIRED)
            told = len(ids) - connection.execute(own).scalar_one()
            self._set(connection, name, untold=bots.c.untold + told)
        for row in connection.execute(select(bots)).all():
            if _notice_due(row, now):
                self._set(connection, row.name, untold=0, noticed_at=now)
                hours = round(self._max_age / 3600, 1)
                self._notify(
                    connection, now, EXPIRED, row.name, {"count": row.untold, "hours": hours}
                )

    def _notify(
        self, connection: Connection, now: float, kind: str, about: str, facts: dict[str, Any]
    ) -> None:
        """Put an event of the bridge's own in the outbox, about one bot, for whoever can hear it.

        News of a bot that works go to itself; otherwise to `default`, or else to any other.
        """
        stopped = set(connection.execute(select(bots.c.name).where(bots.c.stopped != "")).scalars())
        order = [about, "default", *sorted(self._known)]
        hearing = [name for name in order if name in self._known and name not in stopped]
        if not hearing:
            log.error("bot %s: %s %s, and there is no other bot to tell it to", about, kind, facts)
            return
        event = Event(kind, {"bot": about, **facts}, now)
        self._store(connection, now, _event_row(event, ()), [Target(hearing[0])])

    def resume(self, name: str) -> bool:
        """Try a stopped or resting bot again now; False where there is no such bot."""
        return self.database.write(lambda connection: self._resume(connection, name))

    def _resume(self, connection: Connection, name: str, **more: Any) -> bool:
        return self._set(
            connection, name, stopped="", rest_until=0.0, failures=0, alarmed_at=0.0, **more
        )

    @staticmethod
    def _set(connection: Connection, name: str, **values: Any) -> bool:
        done = connection.execute(update(bots).where(bots.c.name == name).values(values))
        return done.rowcount == 1

    def prune(self, before: float) -> int:
        """Delete a batch of what was settled before a moment; returns how many events."""
        return self.database.write(lambda connection: self._prune(connection, before))

    @staticmethod
    def _prune(connection: Connection, before: float) -> int:
        kept = exists().where(
            deliveries.c.event_id == events.c.id,
            (deliveries.c.state == "pending") | (deliveries.c.settled_at > before),
        )
        old = select(events.c.id).where(events.c.received_at < before, ~kept).limit(PRUNE_BATCH)
        ids = connection.execute(old).scalars().all()
        told = select(deliveries.c.id).where(deliveries.c.event_id.in_(ids))
        connection.execute(
            delete(attempt_deliveries).where(attempt_deliveries.c.delivery_id.in_(told))
        )
        connection.execute(delete(deliveries).where(deliveries.c.event_id.in_(ids)))
        connection.execute(delete(events).where(events.c.id.in_(ids)))
        linked = exists().where(attempt_deliveries.c.attempt_id == attempts.c.id)
        stale = (
            select(attempts.c.id).where(attempts.c.ended_at < before, ~linked).limit(PRUNE_BATCH)
        )
        connection.execute(delete(attempts).where(attempts.c.id.in_(stale.scalar_subquery())))
        return len(ids)

    def health(self) -> Health:
        """Return how the outbox stands; raises StorageError where it cannot be read."""
        with self.database.read() as connection:
            pending = select(func.count(), func.min(deliveries.c.created_at))
            count, oldest = connection.execute(pending.where(deliveries.c.state == "pending")).one()
            stopped = connection.execute(
                select(bots.c.name, bots.c.stopped).where(bots.c.stopped != "")
            )
            names = {row.name: row.stopped for row in stopped if row.name in self._known}
        return Health(count, oldest, names)


def _notice_due(bot: Record, now: float) -> bool:
    return bool(bot.untold) and now - bot.noticed_at >= HOURLY


def _event_row(event: Event, named: Sequence[str]) -> dict[str, Any]:
    payload = json.dumps(event.payload, ensure_ascii=False)
    rest = {key: value for key, value in event.payload.items() if key != "timestamp"}
    told = event.raw if event.error else json.dumps(rest, sort_keys=True).encode()
    digest = hashlib.sha256(told + b"\n" + ",".join(sorted(named)).encode()).hexdigest()
    return {
        "received_at": event.received_at,
        "type": event.type,
        **{name: event.fields[name] for name in _SHOWN},
        "brief": (event.fields["notes"] or event.fields["message"])[:BRIEF],
        "payload": payload,
        "raw": event.raw,
        "error": event.error,
        "digest": digest,
    }


def _due(now: float) -> ColumnElement[bool]:
    return (deliveries.c.state == "pending") & (deliveries.c.held_until <= now)


def _delivery(row: Record, payload: Mapping[str, Any]) -> Delivery:
    event = Event(row.type, payload, row.received_at, error=row.error, id=row.event_id)
    target = Target(
        row.bot,
        tuple(json.loads(row.mention)),
        row.template,
        tuple(json.loads(row.attach)),
        row.held_until,
    )
    return Delivery(row.id, event, target, row.step, row.media_id, row.media_at)


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
