"""From a body to stored deliveries, whichever way it came in: decode → route → outbox."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

from bridge.errors import TooLargeError, UndecodableError
from bridge.model import Event, Route, Target
from bridge.receiving import decoding, routing
from bridge.storage.outbox import Accepted, Outbox
from bridge.wording import N_

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Receipt:
    """The events of one body that are on disk, each with its targets; none: a ping."""

    stored: Sequence[tuple[Event, Sequence[Target], Accepted]] = ()

    @property
    def error(self) -> str:
        """Return why the body could not be decoded; its one event then keeps the raw bytes."""
        return self.stored[0][0].error if self.stored else ""

    def answer(self) -> dict[str, Any]:
        """Return the answer to the sender, as an object for JSON."""
        if not self.stored:
            return {"status": "ping"}
        results = [accepted for _, _, accepted in self.stored]
        if self.error:
            return {"error": f"cannot be decoded: {self.error}", "event": results[0].event}
        several = {"events": [result.event for result in results]} if len(results) > 1 else {}
        if all(result.duplicate for result in results):
            return {"status": "duplicate", "event": results[0].event, **several}
        bots = dict.fromkeys(target.bot for _, targets, _ in self.stored for target in targets)
        return {"status": "accepted", "event": results[0].event, "bots": [*bots], **several}


class Intake:
    """Takes bodies in, by the routes; `zone` is that of their quiet hours."""

    def __init__(self, outbox: Outbox, routes: Sequence[Route], zone: tzinfo) -> None:
        self._outbox = outbox
        self._routes = routes
        self._zone = zone

    def store(self, events: Sequence[Event], bots: Sequence[str] = ()) -> Receipt:
        """Store events for the routes' bots or the ones named; raises StorageError.

        When this returns, none of them can be lost.
        """
        if not events:
            return Receipt()
        routed = [routing.route(event, self._routes, self._zone, bots) for event in events]
        accepted = self._outbox.accept(routed)
        pairs = zip(routed, accepted, strict=True)
        return Receipt([(one.event, one.targets, result) for one, result in pairs])


def read(
    body: bytes, now: float, content_type: str = "", content_encoding: str = ""
) -> list[Event]:
    """Return the events in a body, none for a ping; one that keeps it where it is undecodable.

    `now` is in epoch seconds. Raises TooLargeError.
    """
    try:
        return decoding.decode(body, now, content_type, content_encoding)
    except TooLargeError:
        raise
    except UndecodableError as error:
        return [decoding.undecodable(body, now, str(error))]
    except Exception:  # a bug must not cost an event
        log.exception("a bug in decoding; the body is kept as it came")
        return [decoding.undecodable(body, now, N_("a bug in the bridge"))]
