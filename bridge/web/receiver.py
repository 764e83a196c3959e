"""The HTTP endpoint that Pgyer calls: a 200 means that the event is on disk."""

import hmac
import logging
import time
from collections.abc import Callable, Iterable, Sequence

from flask import Blueprint, Response, abort, request
from flask.typing import ResponseReturnValue

from bridge import metrics, pgyer
from bridge.errors import StorageError, TooLargeError
from bridge.intake import Intake, Receipt
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
        if not bots:
            return []
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
        began = time.perf_counter()
        body, now = request.get_data(cache=False), clock()
        content_type = request.environ.get("CONTENT_TYPE", "")
        content_encoding = request.environ.get("HTTP_CONTENT_ENCODING", "")
        try:
            receipt = intake.take(body, now, names, content_type, content_encoding)
        except TooLargeError:
            abort(413)
        wake(receipt.bots)
        took = time.perf_counter() - began
        _count(receipt, took)
        for event, targets, result in receipt.stored:
            _log(event, targets, result, 1000 * took)
        return receipt.answer(), 400 if receipt.error else 200

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


def _count(receipt: Receipt, took: float) -> None:
    metrics.ACKNOWLEDGE.observe(took)
    if not receipt.stored:
        metrics.events("other", "ping").inc()
    for event, _, accepted in receipt.stored:
        # Types come from outside, and each new one would be another series for ever.
        kind = event.type if event.type in pgyer.KNOWN_TYPES else "other"
        outcome = "duplicate" if accepted.duplicate else "accepted"
        metrics.events(kind, "undecodable" if event.error else outcome).inc()


def _log(event: Event, told: Sequence[Target], accepted: Accepted, ms: float) -> None:
    """Say what became of one event, and what of it a reader must know when it is not well."""
    if not event.error and not log.isEnabledFor(logging.INFO):
        return
    what = "is a duplicate, told to" if accepted.duplicate else "accepted for"
    if event.error:
        what = (
            f"cannot be decoded ({event.error}), {len(event.raw)} bytes beginning "
            f"{event.payload['begins']!r}; it is kept, and told to"
        )
    log.log(
        logging.WARNING if event.error else logging.INFO,
        "event %s (%s) %s %s in %.0f ms",
        accepted.event,
        event.type or "no type",
        what,
        ", ".join(target.bot for target in told) or "nobody",
        ms,
        extra={"facts": {"event": accepted.event, "type": event.type, "ms": round(ms, 1)}},
    )
