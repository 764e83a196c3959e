"""What a platform asks: does the process serve, and is all well with the bridge."""

from collections.abc import Callable

from flask import Blueprint
from flask.typing import ResponseReturnValue

from bridge.dispatcher import Dispatcher
from bridge.errors import StorageError
from bridge.history import History
from bridge.rendering import Renderer

LATE = 600.0  # seconds that a delivery may wait before it counts as trouble


def create_ops(
    history: History, dispatcher: Dispatcher | None, renderer: Renderer, clock: Callable[[], float]
) -> Blueprint:
    """Return `/healthz` and `/readyz`; `dispatcher` is None where other processes dispatch."""
    ops = Blueprint("ops", __name__)

    @ops.get("/healthz")
    def healthz() -> ResponseReturnValue:
        return {"status": "ok"}

    @ops.get("/readyz")
    def readyz() -> ResponseReturnValue:
        wrong, pending, age = [], None, None
        try:
            health = history.health()
            pending = health.pending
            age = round(clock() - health.oldest, 1) if health.oldest else 0.0
            if age > LATE:
                wrong.append(f"the oldest of {pending} pending deliveries waits for {age:.0f} s")
            wrong += [f"bot {name} is stopped: {why}" for name, why in health.stopped.items()]
        except StorageError as error:
            wrong.append(f"database: {error}")
        if dispatcher and not dispatcher.alive:
            wrong.append("the dispatcher does not run: start the bridge by gunicorn.conf.py")
        wrong += [f"template {problem}" for problem in renderer.problems]
        body = {"pending": pending, "oldest_pending_seconds": age, "problems": wrong}
        return {"status": "not ready" if wrong else "ready", **body}, 503 if wrong else 200

    return ops
