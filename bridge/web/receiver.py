"""The HTTP endpoint that Pgyer calls: a 200 means that the event is on disk."""

import hmac
import logging
from collections.abc import Callable, Iterable, Sequence

from flask import Blueprint, Response, abort, request
from flask.typing import ResponseReturnValue

from bridge import pgyer, routing
from bridge.errors import StorageError, TooLargeError, UndecodableError
from bridge.model import Event, Route
from bridge.outbox import Outbox
from bridge.settings import Settings

log = logging.getLogger(__name__)

_GREETING = (
    "蒲公英 → 企业微信：地址可用。请在蒲公英的 Webhook 设置里填入本页地址，类型选「其他指定URL」。"
    " Ready: paste this address into Pgyer.\n"
)


def create_receiver(
    settings: Settings,
    routes: Sequence[Route],
    outbox: Outbox,
    wake: Callable[[Iterable[str]], None],
    clock: Callable[[], float],
) -> Blueprint:
    """Return the receiver's addresses; `wake` is told for which bots something new waits."""
    receiver = Blueprint("receiver", __name__)
    tokens = [token.reveal().encode() for token in settings.tokens]

    def named_bots(token: str, bots: str) -> list[str]:
        """Check a URL's token and return the bots it names; 404 for an unknown one of either."""
        # Every token is compared, and in constant time: neither which nor how much was right shows.
        if not sum(hmac.compare_digest(token.encode(), known) for known in tokens):
            abort(404)
        names = list(
            dict.fromkeys(name.strip().lower() for name in bots.split(",") if name.strip())
        )
        if unknown := [name for name in names if name not in settings.bots]:
            known = ", ".join(sorted(settings.bots))
            abort(404, f"unknown bot {', '.join(unknown)}; there are: {known}")
        return names

    def greet(token: str, bots: str = "") -> ResponseReturnValue:
        named_bots(token, bots)
        return Response(_GREETING, mimetype="text/plain")

    def receive(token: str, bots: str = "") -> ResponseReturnValue:
        names = named_bots(token, bots)
        body, now = request.get_data(cache=False), clock()
        try:
            events = pgyer.decode(
                body,
                now,
                request.headers.get("Content-Type", ""),
                request.headers.get("Content-Encoding", ""),
            )
        except TooLargeError:
            abort(413)
        except UndecodableError as error:
            return refuse(pgyer.undecodable(body, now, str(error)), names)
        except Exception:  # a mistake of ours must not cost an event
            log.exception("decoding stumbled; the body is kept as it came")
            return refuse(pgyer.undecodable(body, now, "the bridge's own mistake"), names)
        return store(events, names) if events else {"status": "ping"}

    def refuse(event: Event, names: list[str]) -> ResponseReturnValue:
        told = routing.targets(event, routes, settings.timezone, names)
        [accepted] = outbox.accept([(event, told)], names)
        wake(target.bot for target in told)
        log.warning(
            "event %s: the body cannot be decoded (%s), %d bytes beginning %r; it is kept, and "
            "told to %s",
            accepted.event,
            event.error,
            len(event.raw),
            event.payload["begins"],
            ", ".join(target.bot for target in told) or "nobody",
        )
        return {"error": f"cannot be decoded: {event.error}", "event": accepted.event}, 400

    def store(events: list[Event], names: list[str]) -> ResponseReturnValue:
        zone = settings.timezone
        told = [(event, routing.targets(event, routes, zone, names)) for event in events]
        accepted = outbox.accept(told, names)
        wake(target.bot for _, targets in told for target in targets)
        for (event, targets), result in zip(told, accepted, strict=True):
            log.info(
                "event %s (%s) %s → %s",
                result.event,
                event.type or "no type",
                "is a duplicate" if result.duplicate else "accepted",
                ", ".join(target.bot for target in targets) or "nobody",
                extra={"facts": {"event": result.event, "type": event.type}},
            )
        several = {"events": [result.event for result in accepted]} if len(accepted) > 1 else {}
        if all(result.duplicate for result in accepted):
            return {"status": "duplicate", "event": accepted[0].event, **several}
        bots = {target.bot: None for _, targets in told for target in targets}
        return {"status": "accepted", "event": accepted[0].event, "bots": list(bots), **several}

    def unavailable(error: StorageError) -> ResponseReturnValue:
        log.error("nothing was stored: %s; answered 503, so that the sender tries again", error)
        return {"error": "nothing was stored, please send it again"}, 503, {"Retry-After": "5"}

    receiver.register_error_handler(StorageError, unavailable)
    for rule in ("/pgyer/<token>", "/pgyer/<token>/<bots>"):
        for view, method in ((receive, "POST"), (greet, "GET")):
            # Without OPTIONS of Flask's own, any other method is a 405.
            receiver.add_url_rule(
                rule,
                view_func=view,
                methods=[method],
                strict_slashes=False,
                provide_automatic_options=False,
            )
    return receiver
