"""What becomes of a body, whichever way it came in: decode → route → the outbox."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from functools import cached_property
from typing import Any

from bridge.errors import TooLargeError, UndecodableError
from bridge.model import Event, Route, Target
from bridge.receiving import decoding as pgyer
from bridge.receiving import routing
from bridge.storage.outbox import Accepted

Accept = Callable[[Sequence[tuple[Event, Sequence[Target]]], Sequence[str]], list[Accepted]]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Receipt:
    """The events of one body that are on disk, each with whom it is told to; none: a ping.

    `error` says why the body could not be decoded; its one event then stands for the raw bytes.
    """

    stored: Sequence[tuple[Event, Sequence[Target], Accepted]] = ()
    error: str = ""

    @cached_property
    def bots(self) -> list[str]:
        """The names of the bots that any of it is told to."""
        return list(dict.fromkeys(t.bot for _, told, _ in self.stored for t in told))

    def answer(self) -> dict[str, Any]:
        """Return what the sender is told, as an object for JSON."""
        if not self.stored:
            return {"status": "ping"}
        results = [accepted for _, _, accepted in self.stored]
        if self.error:
            return {"error": f"cannot be decoded: {self.error}", "event": results[0].event}
        several = {"events": [result.event for result in results]} if len(results) > 1 else {}
        if all(result.duplicate for result in results):
            return {"status": "duplicate", "event": results[0].event, **several}
        return {"status": "accepted", "event": results[0].event, "bots": self.bots, **several}


class Intake:
    """Takes bodies in by the routes; `zone` is that of their quiet hours.

    `accept` stores them: `Outbox.accept`, or `Dispatcher.accept` where something dispatches.
    """

    def __init__(self, accept: Accept, routes: Sequence[Route], zone: tzinfo) -> None:
        self._accept = accept
        self._routes = routes
        self._zone = zone

    def take(
        self,
        body: bytes,
        now: float,
        bots: Sequence[str] = (),
        content_type: str = "",
        content_encoding: str = "",
    ) -> Receipt:
        """Store the events in a body, for the routes' bots or the ones named.

        A body that cannot be decoded is stored as it came. Once this returns, nothing of it can
        be lost. Raises TooLargeError, StorageError.
        """
        error = ""
        try:
            events = pgyer.decode(body, now, content_type, content_encoding)
        except UndecodableError as problem:
            error = str(problem)
            events = [pgyer.undecodable(body, now, error)]
        except TooLargeError:
            raise
        except Exception:  # a mistake of ours must not cost an event
            log.exception("decoding stumbled; the body is kept as it came")
            error = "the bridge's own mistake"
            events = [pgyer.undecodable(body, now, error)]
        if not events:
            return Receipt()
        told = [(e, routing.targets(e, self._routes, self._zone, bots)) for e in events]
        accepted = self._accept(told, bots)
        pairs = zip(told, accepted, strict=True)
        return Receipt([(event, targets, result) for (event, targets), result in pairs], error)
