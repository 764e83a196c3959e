"""The endpoint that Pgyer calls: a 200 means that the event is on disk."""

import hmac
import logging
import time
from collections.abc import Callable, Sequence

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import NotFound, RequestEntityTooLarge

from bridge import metrics
from bridge.addresses import plain
from bridge.errors import StorageError, TooLargeError
from bridge.model import Event, to_json
from bridge.receiving.event_types import KNOWN_TYPES
from bridge.receiving.intake import Intake, Receipt, read
from bridge.receiving.wrong_requests import WrongRequests, WrongTokens
from bridge.settings import Settings
from bridge.wording import LANGUAGES, N_, gettext, speaking

log = logging.getLogger(__name__)

_GREETING = N_("This address works: paste it into Pgyer's Webhook settings, type 其他指定URL.")
_REFUSED = "a request with the right token is refused, and its event is lost"
_ADVICE = ": `bridge url` shows the addresses to paste into Pgyer"
SHOWN = 3  # events of a body, in a line of the log
_TURNED = (
    "a GET that should have been a POST: a redirect (http to https, or another host name) has "
    "turned it, and its event is lost. Paste the address into Pgyer that needs no redirect"
)


def create_receiver(
    settings: Settings, intake: Intake, wrong_tokens: WrongTokens, clock: Callable[[], float]
) -> Blueprint:
    """Return `/pgyer/<token>` and `/pgyer/<token>/<bot>[,<bot>]`; `clock` gives epoch seconds."""
    receiver = Blueprint("receiver", __name__, url_prefix="/pgyer")
    turned = WrongRequests("redirected", _TURNED)
    refused = WrongRequests("refused", _REFUSED)

    @receiver.get("/<token>", defaults={"bots": ""}, strict_slashes=False)
    @receiver.get("/<token>/<bots>", strict_slashes=False)
    def greet(token: str, bots: str) -> ResponseReturnValue:
        _check(token, bots, settings)
        is_webhook = request.is_json or "pgyer" in request.user_agent.string.lower()
        if request.method == "GET" and is_webhook:
            turned.note(_address())
        with speaking(request.accept_languages.best_match(LANGUAGES, "zh")):
            return Response(f"{gettext(_GREETING)}\n", mimetype="text/plain")

    @receiver.post("/<token>", defaults={"bots": ""}, strict_slashes=False)
    @receiver.post("/<token>/<bots>", strict_slashes=False)
    def receive(token: str, bots: str) -> ResponseReturnValue:
        began, now = time.perf_counter(), clock()
        named = _check(token, bots, settings)
        # From the environment: the headers would be put together for these two.
        names = ("CONTENT_TYPE", "HTTP_CONTENT_ENCODING")
        content = [request.environ.get(name, "") for name in names]
        try:
            events = read(request.get_data(cache=False), now, *content)
        except TooLargeError:
            raise RequestEntityTooLarge from None
        try:
            receipt = intake.store(events, named)
        except StorageError as error:
            _log_unstored(events, error)
            body = {"error": "nothing was stored, please send it again"}
            return body, 503, {"Retry-After": "5"}
        _report(receipt, time.perf_counter() - began)
        # A finished response: Flask would take as long to make one as decoding takes.
        text, status = f"{to_json(receipt.answer())}\n", 400 if receipt.error else 200
        return Response(text, status, mimetype="application/json")

    @receiver.after_app_request
    def report_refusal(response: Response) -> Response:
        """Log what is refused to Pgyer, or to whoever posts like it: it is lost."""
        if 400 <= response.status_code < 500 and request.path.startswith("/pgyer/"):
            answer = response.get_json(silent=True) or {}
            if not _is_right(request.path.split("/")[2], settings):
                wrong_tokens.note(_address())
            elif request.method not in ("GET", "HEAD", "OPTIONS") and "event" not in answer:
                advice = "" if response.status_code == 413 else _ADVICE
                why = f" ({response.status_code}: {answer.get('error')}){advice}"
                refused.note(_address(), why)
        return response

    return receiver


def _is_right(token: str, settings: Settings) -> bool:
    # Every token is compared, and in constant time: neither which nor how much was right shows.
    known = (one.reveal().encode() for one in settings.tokens)
    return bool(sum(hmac.compare_digest(token.encode(), one) for one in known))


def _check(token: str, bots: str, settings: Settings) -> list[str]:
    """Check a URL's token and return the bots it names; 404 for an unknown one of either."""
    if not _is_right(token, settings):
        raise NotFound
    names = (name.strip().lower() for name in bots.split(","))
    named = list(dict.fromkeys(filter(None, names)))
    if unknown := ", ".join(name for name in named if name not in settings.bots):
        there_are = ", ".join(sorted(settings.bots))
        raise NotFound(f"unknown bot {unknown}; there are: {there_are}")
    return named


def _address() -> str:
    """Return the address that the nearest proxy saw, or that of the connection."""
    return plain(request.access_route[-1]) if request.access_route else ""


def _log_unstored(events: Sequence[Event], error: StorageError) -> None:
    what = [f"{event.type or 'no type'} of {event.fields['title']!r}" for event in events[:SHOWN]]
    what += ["…"] * (len(events) > SHOWN)
    line = "not stored: %s (%s); answered 503: it is lost unless the sender sends it again"
    log.error(line, ", ".join(what), error)


def _report(receipt: Receipt, seconds: float) -> None:
    """Count and log what became of each event of a body."""
    metrics.ACKNOWLEDGE.observe(seconds)
    if not receipt.stored:
        metrics.events("other", "ping").inc()
    for event, targets, accepted in receipt.stored:
        level, outcome, what = logging.INFO, "accepted", "accepted for"
        if event.error:
            level, outcome = logging.WARNING, "undecodable"
            begins = f"{len(event.raw)} bytes beginning {event.payload['begins']!r}"
            what = f"cannot be decoded ({event.error}), {begins}; it is kept, with a notice to"
        elif accepted.duplicate:
            outcome, what = "duplicate", "is a duplicate, its bots:"
        # Types come from outside, and each new one would be another series for ever.
        metrics.events(event.type if event.type in KNOWN_TYPES else "other", outcome).inc()
        ms, kind = 1000 * seconds, event.type or "no type"
        facts = {"event": accepted.event, "type": event.type, "ms": round(ms, 1)}
        bots = ", ".join(target.bot for target in targets) or "nobody"
        line = "event %s (%s) %s %s in %.0f ms"
        log.log(level, line, accepted.event, kind, what, bots, ms, extra={"facts": facts})
