"""Events and deliveries on disk, and whatever changes them while they are told.

Every change of state is one transaction and a compare-and-set; who may tell what is in `leases`.
"""

import logging
import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from bridge.errors import StorageError
from bridge.model import Attempt, Bot, Delivery, Event, Outcome, Target
from bridge.storage import notices
from bridge.storage.claims import IS_DUE, LEASE, WAITING, Claim, Ending, Leases, with_deliveries
from bridge.storage.database import Connection, Database
from bridge.storage.tables import add_deliveries, event_row, new_bot, new_ids, set_bot

log = logging.getLogger(__name__)

_DUE = f"""{WAITING}
    SELECT name, lease_until, rest_until FROM waiting CROSS JOIN bots
    WHERE name = waiting.bot AND {IS_DUE}"""
_EXPIRING = "SELECT min(expires_at) AS moment FROM deliveries WHERE state = 'pending'"
_HELD_UNTIL = """
    SELECT min(held_until) AS moment FROM deliveries
    WHERE state = 'pending' AND held_until > 0 AND held_until > :now"""


@dataclass(frozen=True)
class Accepted:
    """What became of one event: its id, and whether it had been told before."""

    event: int
    duplicate: bool


@dataclass(frozen=True)
class Settled:
    """What follows from an attempt's end: until when (epoch s) its bot rests, and what is next.

    The bot need not rest where that is 0. Where it is None the lease was lost meanwhile and
    another has the deliveries: nothing was changed then.
    """

    rest_until: float | None
    following: Attempt | None = None


# The events of one body by their rows, each with whom it is told to; and the bots that are idle.
_Body = tuple[Sequence[tuple[dict[str, Any], Sequence[Target]]], Collection[str]]


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
        self._turn = ""  # the bot that was claimed for last
        self._max_age = max_age
        self._notices = notices.Notices(known, max_age)
        self._leases = Leases(rate, self._notices, jitter)
        self._dedupe = dedupe
        self.database = Database(url, self._prepare)
        self._clock = clock or self.database.time
        # One object each, by which the writer knows what to merge.
        self._accept_merged, self._settle_merged = self._accept, self._settle
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
        return self.database.write_together(self._accept_merged, (rows, ()))[0]

    def accept_and_claim(
        self,
        told: Sequence[tuple[Event, Sequence[Target]]],
        named: Sequence[str],
        idle: Collection[str],
    ) -> tuple[list[Accepted], list[Attempt]]:
        """As `accept`, and claim at once for the `idle` bots, in the same transaction.

        Returns what became of the events, and the attempts that the caller must make. Until it has
        called `database.sync`, the machine's end may undo it all, and nobody may be told of a 200.
        """
        idle = idle if idle and self._may_claim() else ()
        rows = [(event_row(event, named), targets) for event, targets in told]
        durable = self.database.is_postgres  # which knows no later moment to wait for
        return self.database.write_together(self._accept_merged, (rows, idle), durable=durable)

    def _accept(
        self, connection: Connection, bodies: Sequence[_Body]
    ) -> list[tuple[list[Accepted], list[Attempt]]]:
        """Store the events of many bodies with as few statements as those of one."""
        now = self._clock()
        every = [told for rows, _ in bodies for told in rows]
        known = self._told_before(connection, {row["digest"] for row, _ in every}, now)
        fresh: list[dict[str, Any]] = []
        duties: list[tuple[int, Sequence[Target]]] = []
        ids = new_ids(connection, "events", len(every))
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
        claimed = self._claim_idle(connection, bodies, now)
        return [
            (list(islice(results, len(rows))), attempts)
            for (rows, _), attempts in zip(bodies, claimed, strict=True)
        ]

    def _claim_idle(
        self, connection: Connection, bodies: Sequence[_Body], now: float
    ) -> list[list[Attempt]]:
        """Claim for the bots that are idle; an attempt is for the first body that named its bot."""
        asked: dict[str, int] = {}
        for place, (_, idle) in enumerate(bodies):
            for name in idle:
                asked.setdefault(name, place)
        claimed: list[list[Attempt]] = [[] for _ in bodies]
        if asked:
            free = self._leases.free(connection, list(asked), now)
            claims = self._leases.claim(connection, free, now)
            for attempt in with_deliveries(connection, claims, now):
                claimed[asked[attempt.bot]].append(attempt)
        return claimed

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

        Each holds its bot's lease, which is on record, for LEASE seconds.
        """
        now = self._clock()
        if self._is_overdue(now):
            self.database.write(lambda connection: self._notices.expire(connection, now))
            self._moments_read = (float("-inf"), [])
            return []
        # Lost with the machine, a claim is made again; settling it is what must last.
        claims = self.database.write(
            lambda connection: self._claim(connection, limit, now), durable=False
        )
        return self._read(claims, now)

    def _read(self, claims: Sequence[Claim], now: float) -> list[Attempt]:
        """Return the claimed attempts with what they tell.

        Read after the claim, while others may write: a digest's deliveries can be thousands.
        """
        if not claims:
            return []
        with self.database.read() as connection:
            return with_deliveries(connection, claims, now)

    def _claim(self, connection: Connection, limit: int, now: float) -> list[Claim]:
        """Claim for the bots whose turn it is, from the one after the last claimed, and around."""
        claims: list[Claim] = []
        after, most, around = self._turn, limit, False
        while len(claims) < limit:
            free = self._leases.free_after(connection, after, most, now)
            known = [bot for bot in free if bot["name"] in self._known]
            claims += self._leases.claim(connection, known[: limit - len(claims)], now)
            if len(free) == most:
                after, most = free[-1]["name"], 2 * most  # some are for others to tell
            elif around:
                break
            else:
                after, around = "", True
        if claims:
            # Where it is all undone and done again, others come first; that harms nobody.
            self._turn = claims[-1].attempt.bot
        return claims

    def outlook(self) -> tuple[float, dict[str, float]]:
        """Return when something may be due, and until when each bot that is not free has to wait.

        Both in epoch seconds; infinity where nothing waits.
        """
        now = self._clock()
        with self.database.read() as connection:
            waiting = connection.execute(_DUE, {"now": now, "after": ""})
        due = {
            row["name"]: max(row["lease_until"], row["rest_until"], now)
            for row in waiting
            if row["name"] in self._known
        }
        later = {name: moment for name, moment in due.items() if moment > now}
        return min([*due.values(), *self._moments(now)], default=float("inf")), later

    def _may_claim(self) -> bool:
        """Tell whether a claim may go with another write: what has expired is settled first."""
        try:
            return not self._is_overdue(self._clock())
        except StorageError:  # the write must not fail for it
            return False

    def _is_overdue(self, now: float) -> bool:
        return any(moment <= now for moment in self._moments(now))

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

    def settle(
        self,
        attempt: Attempt,
        outcome: Outcome,
        told: Sequence[Delivery] | None = None,
        unfinished: Collection[int] = (),
        *,
        go_on: bool = False,
    ) -> Settled:
        """Record how an attempt ended, for the deliveries that it told (by default all of its).

        The `unfinished` ones of these, by id, have a further message and stay pending. Who means
        to `go_on` is given another attempt with it, of whichever bot's turn it is, as by `claim`.
        """
        told = attempt.deliveries if told is None else told
        ending = Ending(attempt, outcome, told, unfinished)
        go_on = go_on and self._may_claim()
        rest_until, claim = self.database.write_together(self._settle_merged, (ending, go_on))
        if not isinstance(claim, Claim):
            return Settled(rest_until, claim)
        try:
            [following] = self._read([claim], self._clock())
        except StorageError as error:
            log.error(
                "bot %s: what it is told next could not be read (%s); tried again in %.0f s",
                claim.attempt.bot,
                error,
                LEASE,
            )
            return Settled(rest_until)
        return Settled(rest_until, following)

    def _settle(
        self, connection: Connection, endings: Sequence[tuple[Ending, bool]]
    ) -> list[tuple[float | None, Attempt | Claim | None]]:
        """Settle many attempts, and claim one for each that is to go on.

        That saves a transaction, and the loop its being woken. A digest is read later.
        """
        now = self._clock()
        rests = self._leases.settle(connection, [ending for ending, _ in endings], now)
        claims = self._claim(connection, sum(go_on for _, go_on in endings), now)
        alone = [claim for claim in claims if claim.held is None]
        digests = [claim for claim in claims if claim.held is not None]
        following: Iterator[Attempt | Claim] = iter(
            [*with_deliveries(connection, alone, now), *digests]
        )
        return [
            (rest_until, next(following, None) if go_on else None)
            for rest_until, (_, go_on) in zip(rests, endings, strict=True)
        ]

    def resume(self, name: str) -> bool:
        """Try a stopped or resting bot again now; False where there is no such bot."""
        return self.database.write(lambda connection: self._resume(connection, name))

    def _resume(self, connection: Connection, name: str, **more: Any) -> bool:
        return set_bot(
            connection, name, stopped="", rest_until=0.0, failures=0, alarmed_at=0.0, **more
        )
