"""The HTTP endpoint that Pgyer calls: a 200 means that the event is on disk."""

import hmac
import logging
from collections.abc import Callable, Iterable, Sequence

from flask import Blueprint, Response, abort, request
from flask.typing import ResponseReturnValue

from bridge.errors import StorageError, TooLargeError
from bridge.intake import Intake
from bridge.model import Event, Route, Target
from bridge.outbox import Accepted, Outbox
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
    intake = Intake(outbox, routes, settings.timezone)
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
        content_type = request.headers.get("Content-Type", "")
        content_encoding = request.headers.get("Content-Encoding", "")
        try:
            receipt = intake.take(body, now, names, content_type, content_encoding)
        except TooLargeError:
            abort(413)
        if not receipt.stored:
            return receipt.answer()
        wake(target.bot for _, told, _ in receipt.stored for target in told)
        if receipt.error:
            _log_refused(*receipt.stored[0])
            return receipt.answer(), 400
        for event, targets, result in receipt.stored:
            _log_stored(event, targets, result)
        return receipt.answer()

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


def _log_refused(event: Event, told: Sequence[Target], accepted: Accepted) -> None:
    log.warning(
        "event %s: the body cannot be decoded (%s), %d bytes beginning %r; it is kept, and "
        "told to %s",
        accepted.event,
        event.error,
        len(event.raw),
        event.payload["begins"],
        _names(told),
    )


def _log_stored(event: Event, told: Sequence[Target], accepted: Accepted) -> None:
    log.info(
        "event %s (%s) %s → %s",
        accepted.event,
        event.type or "no type",
        "is a duplicate" if accepted.duplicate else "accepted",
        _names(told),
        extra={"facts": {"event": accepted.event, "type": event.type}},
    )


def _names(told: Sequence[Target]) -> str:
    return ", ".join(target.bot for target in told) or "nobody"
