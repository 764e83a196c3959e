"""What a platform asks: does the process serve, and is all well with the bridge."""

from collections.abc import Iterator, Mapping

from flask import Blueprint, Response, abort, request
from flask.typing import ResponseReturnValue
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Unauthorized

from bridge import metrics
from bridge.console.throttle import is_password
from bridge.errors import StorageError
from bridge.wiring import bridge

ops = Blueprint("ops", __name__)


@ops.get("/healthz", strict_slashes=False)
def healthz() -> ResponseReturnValue:
    return {"status": "ok"}


@ops.get("/readyz", strict_slashes=False)
def readyz() -> ResponseReturnValue:
    found = bridge.readiness()
    body = {
        "status": "not ready" if found.problems else "ready",
        "pending": found.pending,
        "oldest_pending_seconds": found.oldest_seconds,
        "problems": found.problems,
    }
    return body, 503 if found.problems else 200


@ops.get("/metrics")
def scrape() -> ResponseReturnValue:
    if not bridge.settings.admin_password:
        abort(404)
    given = request.authorization.password if request.authorization else None
    if given is None or not is_password(given):
        raise Unauthorized(www_authenticate=WWWAuthenticate("basic", {"realm": "bridge"}))
    text = metrics.exposition(_Current())
    return Response(text, content_type="text/plain; version=0.0.4; charset=utf-8")


class _Current(Collector):
    """The metrics that are read from the store, the same whichever worker is asked."""

    def collect(self) -> Iterator[Metric]:
        broken, now = len(bridge.renderer.problems), bridge.clock()
        yield GaugeMetricFamily("bridge_template_errors", "Broken templates.", broken)
        build = {metrics.build(): 1}
        yield _gauges("bridge_build_info", "The bridge's version.", "version", build)
        text = "Whether the database can be read and written."
        try:
            bridge.outbox.database.check()
            health, bots = bridge.queries.health(), bridge.queries.bots(now)
        except StorageError:
            yield GaugeMetricFamily("bridge_database_up", text, 0)
            return
        yield GaugeMetricFamily("bridge_database_up", text, 1)
        text = "Time since Pgyer was asked with success."
        good_at = bridge.pgyer.state().good_at if bridge.pgyer else 0.0
        ago = max(0.0, now - good_at) if good_at else None
        yield GaugeMetricFamily("bridge_pgyer_last_good_ask_seconds", text, ago)
        age = max(0.0, now - health.oldest) if health.oldest else 0.0
        text = "Age of the oldest that waits."
        yield GaugeMetricFamily("bridge_oldest_pending_seconds", text, age)
        pending = {bot.name: bot.pending for bot in bots}
        yield _gauges("bridge_pending_deliveries", "What waits.", "bot", pending)
        stopped = {bot.name: bool(bot.stopped) for bot in bots}
        yield _gauges("bridge_bot_stopped", "Whether a bot is stopped.", "bot", stopped)


def _gauges(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for of, value in values.items():
        family.add_metric([of], value)
    return family
