"""The outbox: events and deliveries on disk, and every change of their state.

Each change is one transaction and a compare-and-set. All times are epoch seconds.
"""

import logging
import random
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from bridge import metrics
from bridge.model import API, NAMED, Attempt, Bot, Routed, to_json
from bridge.storage import claims, results
from bridge.storage.builds import BuildEvents, marks_of
from bridge.storage.database import Database
from bridge.storage.driver import SQL, Connection
from bridge.storage.notices import HOURLY, Notices
from bridge.storage.results import Recorded, Result
from bridge.storage.tables import add_deliveries, event_row, new_ids, resume_bot

log = logging.getLogger(__name__)

SHOWN_EVENTS = 20  # in one line of the log


@dataclass(frozen=True)
class Accepted:
    """An event's id, and whether it is a duplicate of one that was stored before."""

    event: int
    duplicate: bool


class _New(NamedTuple):
    """An event to store, as it is in memory and as a row."""

    routed: Routed
    row: dict[str, Any]


class Outbox:
    """Accepts events, gives out attempts and records their results; safe for many threads.

    `clock` gives epoch seconds; without one the database's own clock is used, since leases are
    between machines. Where it `finds_builds`, Pgyer is also asked for builds: each is one event,
    whether its webhook comes before that, later, or never. One that does not `send` leaves a new
    key to one that does: until that has started, another may still be calling with the old key.
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
        finds_builds: bool = False,
        sends: bool = True,
    ) -> None:
        self._finds_builds = finds_builds
        self._sends = sends
        self._known = known
        self._rate = rate
        self._max_age = max_age
        self._dedupe = dedupe
        self._jitter = jitter
        self._notices = Notices(max_age, known)
        self.database = Database(url, self._enter_bots)
        self._clock = clock or self.database.time
        self.accepted_at = float("-inf")  # monotonic s: when events last arrived

    def accept(self, events: Sequence[Routed]) -> list[Accepted]:
        """Store events with a delivery for each target; raises StorageError.

        When this returns, they are on disk, and the dispatcher has been woken. An event that came
        within the duplicate window, for the same bots named in the URL, is counted at the first.
        """
        self.accepted_at = time.monotonic()
        new = []
        for routed in events:
            named = [target.bot for target in routed.targets] if NAMED in routed.rules else ()
            row = event_row(routed.event, named, to_json(routed.rules))
            row["marks"] = marks_of(routed.event) if self._finds_builds else ()
            new.append(_New(routed, row))
        accepted = self.database.writer.write_batch(self._accept, new)
        self.database.wakeup.set()
        return list(accepted)

    def claim(self, limit: int) -> list[Attempt]:
        """Return attempts to make now, at most one for each bot and `limit` in all.

        Each has its bot's lease for LEASE seconds. Raises StorageError.
        """
        with self.database.read() as connection:
            now = self._clock()  # by the database's clock, which has just been read
            values = {"names": list(self._known), "now": now, "limit": limit + claims.SPARE}
            names = [row["name"] for row in connection.execute(SQL["due_bots"], values)]
        if not names:
            return []
        take = partial(claims.take_leases, names=names, limit=limit, now=now, rate=self._rate)
        taken = self.database.write(take)
        if not taken:
            return []
        with self.database.read() as connection:
            return claims.load_attempts(connection, taken, now)

    def renew(self, attempt: Attempt) -> bool:
        """Let an attempt's lease last for LEASE seconds from now; False where it is lost.

        Raises StorageError.
        """
        until = self._clock() + claims.LEASE
        values = {"bot": attempt.bot, "lease": attempt.lease, "until": until}
        return bool(self.database.write(lambda c: c.execute(SQL["renew_lease"], values)))

    def record(self, result: Result) -> Recorded:
        """Record how an attempt ended. Raises StorageError."""
        [(recorded, noticed)] = self.database.writer.write_batch(self._record, [result])
        if not noticed:
            log.error(
                "bot %s is stopped, and no other bot can send a notice of it", result.attempt.bot
            )
        return recorded

    def maintain(self) -> None:
        """Settle what is too old, with notices, and correct times after a clock was set back.

        To be called each second. Raises StorageError.
        """
        with self.database.read() as connection:
            now = self._clock()
            ahead = claims.bots_ahead(connection, now)
            overdue = connection.execute(SQL["overdue"], {"now": now, "before": now - HOURLY})
        if ahead:
            corrected = self.database.write(partial(claims.correct_times, now=now))
            log.warning("the clock has been set back: times of %s are corrected", corrected)
        if overdue:
            self._expire(now)

    def _expire(self, now: float) -> None:
        expired, unheard = self.database.write_and_wake(partial(self._notices.expire, now=now))
        for bot, events in expired.items():
            metrics.DELIVERIES.labels(bot, "expired").inc(len(events))
            log.error(
                "bot %s: %d deliveries are too old and expire (events %s); `bridge retry ID` sends "
                "what is still useful",
                bot,
                len(events),
                events[:SHOWN_EVENTS],
            )
        for name in unheard:
            log.error("bot %s: deliveries expired, and no bot can send a notice of it", name)

    def resume(self, name: str) -> bool:
        """Let a stopped or resting bot be tried again now; False where there is no such bot."""
        return self.database.write_and_wake(lambda connection: resume_bot(connection, name))

    def _enter_bots(self, connection: Connection) -> list[str]:
        """Enter the known bots; one whose key has changed is tried again at once."""
        rows = connection.execute("SELECT name, fingerprint FROM bots")
        fingerprints = {row["name"]: row["fingerprint"] for row in rows}
        lines = []
        for name, bot in self._known.items():
            if name not in fingerprints:
                values = {"name": name, "fingerprint": bot.fingerprint}
                connection.execute(SQL["enter_bot"], values)
            elif self._sends and fingerprints[name] != bot.fingerprint:
                resume_bot(connection, name, fingerprint=bot.fingerprint)
                lines.append(f"bot {name} has a new key: its pending deliveries are sent now")
        return lines

    def _accept(self, connection: Connection, new: Sequence[_New]) -> list[Accepted]:
        """Store the events of many callers at once."""
        now = self._clock()
        self._lock(connection, new)
        known = self._find_duplicates(connection, {each.row["payload_hash"] for each in new}, now)
        builds = BuildEvents(connection, [each.row for each in new], now, self._max_age)
        ids = new_ids(connection, "events", len(new))
        accepted, rows, deliveries, repeated = [], [], [], []
        for routed, row in new:
            duplicate = known.get(row["payload_hash"])
            if duplicate is None and row["marks"]:
                duplicate = builds.event_of_same(routed, row["marks"])
            if duplicate is not None:
                accepted.append(Accepted(duplicate, True))
                if routed.event.source != API:
                    repeated.append({"id": duplicate})
                continue
            number = next(ids)
            accepted.append(Accepted(number, False))
            rows.append({**row, "id": number})
            deliveries += [(number, target) for target in routed.targets]
            if self._dedupe:
                known[row["payload_hash"]] = number
            if row["marks"]:
                builds.add(routed, row["marks"], number)
        connection.execute_many(SQL["add_event"], rows)
        connection.execute_many(SQL["count_duplicate"], repeated)
        add_deliveries(connection, now, self._max_age, deliveries)
        builds.save()
        return accepted

    def _lock(self, connection: Connection, new: Sequence[_New]) -> None:
        """Let no other process store duplicates of these events until the transaction ends."""
        if not connection.is_postgres:
            return  # the transaction has SQLite's only write lock
        # READ COMMITTED does not see what another process is storing just now. In order, so that
        # two transactions cannot wait for each other.
        hashes = {mark for each in new for mark in each.row["marks"]}
        if self._dedupe:
            hashes |= {each.row["payload_hash"] for each in new}
        locks = [{"lock": lock} for lock in sorted(int(text[:15], 16) for text in hashes)]
        connection.execute_many("SELECT pg_advisory_xact_lock(:lock)", locks)

    def _find_duplicates(
        self, connection: Connection, hashes: Collection[str], now: float
    ) -> dict[str, int]:
        """Return the events of the duplicate window, by their payload's hash."""
        if not self._dedupe:
            return {}
        values = {"hashes": list(hashes), "since": now - self._dedupe, "now": now}
        rows = connection.execute(SQL["recent_events"], values)
        return {row["payload_hash"]: row["id"] for row in rows}

    def _record(
        self, connection: Connection, batch: Sequence[Result]
    ) -> list[tuple[Recorded, bool]]:
        """Record the results of many callers; False: no bot can send the notice of a stop."""
        now = self._clock()
        recorded = results.record(connection, batch, now, self._jitter)
        return [
            (one, not one.stop or self._notices.add_stop(connection, one.stop, result.outcome, now))
            for one, result in zip(recorded, batch, strict=True)
        ]
