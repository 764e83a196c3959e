"""The HTTP endpoint that Pgyer calls: a 200 means that the event is on disk."""

import hmac
import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import (
    HTTPException,
    InternalServerError,
    MethodNotAllowed,
    NotFound,
    RequestEntityTooLarge,
)
from werkzeug.wrappers import Request, Response

from bridge import metrics
from bridge.errors import StorageError, TooLargeError
from bridge.model import Event, Route, Target
from bridge.receiving.decoding import MAX_BODY
from bridge.receiving.event_types import KNOWN_TYPES
from bridge.receiving.intake import Accept, Intake, Receipt
from bridge.settings import Settings
from bridge.storage.outbox import Accepted

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)

encode = json.JSONEncoder(ensure_ascii=False).encode  # for every answer, with Chinese as it is
_GREETING = (
    "蒲公英 → 企业微信：地址可用。请在蒲公英的 Webhook 设置里填入本页地址，类型选「其他指定URL」。"
    " Ready: paste this address into Pgyer.\n"
)


class _Request(Request):
    max_content_length = MAX_BODY


class Receiver:
    """A WSGI app for `/pgyer/…`, with another behind it for all else; `accept` stores events.

    It does without Flask, whose way to a view takes longer than to decode and store an event.
    """

    def __init__(
        self,
        settings: Settings,
        routes: Sequence[Route],
        accept: Accept,
        clock: Callable[[], float],
        behind: "WSGIApplication",
    ) -> None:
        self._bots = settings.bots
        self._tokens = [token.reveal().encode() for token in settings.tokens]
        self._intake = Intake(accept, routes, settings.timezone)
        self._clock = clock
        self._behind = behind

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        if not environ.get("PATH_INFO", "").startswith("/pgyer/"):
            return self._behind(environ, start_response)
        request = _Request(environ)
        try:
            answer = self._answer(request)
        except HTTPException as error:
            answer = _as_response(*as_json(error))
        except StorageError as problem:
            log.error("not accepted: %s; answered 503, so that the sender tries again", problem)
            body = {"error": "nothing was stored, please send it again"}
            answer = _as_response(body, 503, {"Retry-After": "5"})
        except Exception:
            log.exception("our own mistake: answered 500")
            answer = _as_response(*as_json(InternalServerError()))
        return answer(environ, start_response)

    def _answer(self, request: Request) -> Response:
        token, *bots = [part for part in request.path.split("/") if part][1:] or [""]
        if len(bots) > 1:
            raise NotFound
        if request.method not in ("GET", "HEAD", "POST"):
            raise MethodNotAllowed(["GET", "HEAD", "POST"])
        names = self._named_bots(token, *bots)
        if request.method == "POST":
            return self._receive(request, names)
        return Response(_GREETING, mimetype="text/plain")

    def _named_bots(self, token: str, bots: str = "") -> list[str]:
        """Check a URL's token and return the bots it names; 404 for an unknown one of either."""
        # Every token is compared, and in constant time: neither which nor how much was right shows.
        if not sum(hmac.compare_digest(token.encode(), known) for known in self._tokens):
            raise NotFound
        if not bots:
            return []
        names = list(
            dict.fromkeys(name.strip().lower() for name in bots.split(",") if name.strip())
        )
        if unknown := [name for name in names if name not in self._bots]:
            known = ", ".join(sorted(self._bots))
            raise NotFound(f"unknown bot {', '.join(unknown)}; there are: {known}")
        return names

    def _receive(self, request: Request, bots: Sequence[str]) -> Response:
        began = time.perf_counter()
        body, now = request.get_data(cache=False), self._clock()
        content_type = request.environ.get("CONTENT_TYPE", "")
        content_encoding = request.environ.get("HTTP_CONTENT_ENCODING", "")
        try:
            receipt = self._intake.take(body, now, bots, content_type, content_encoding)
        except TooLargeError:
            raise RequestEntityTooLarge from None
        took = time.perf_counter() - began
        _count(receipt, took)
        for event, targets, result in receipt.stored:
            _log(event, targets, result, 1000 * took)
        return _as_response(receipt.answer(), 400 if receipt.error else 200)


def as_json(error: HTTPException) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Return what an error is answered with, here and by Flask: an object, a status, headers."""
    if error.code == 404 and error.description == NotFound.description:
        return {"error": "not found"}, 404, {}
    if error.code == 413:
        return {"error": f"the body is over {MAX_BODY} bytes"}, 413, {}
    allowed = isinstance(error, MethodNotAllowed) and error.valid_methods
    headers = {"Allow": ", ".join(sorted(allowed))} if allowed else {}
    return {"error": error.description}, error.code or 500, headers


def _as_response(
    body: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    return Response(f"{encode(body)}\n", status, headers, mimetype="application/json")


def _count(receipt: Receipt, took: float) -> None:
    metrics.ACKNOWLEDGE.observe(took)
    if not receipt.stored:
        metrics.events("other", "ping").inc()
    for event, _, accepted in receipt.stored:
        # Types come from outside, and each new one would be another series for ever.
        kind = event.type if event.type in KNOWN_TYPES else "other"
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
