"""The WSGI app: receiver, ops and console on the parts of one process."""

import logging
import os
from collections.abc import Mapping
from typing import Any

from flask import Flask
from flask.json.provider import DefaultJSONProvider
from werkzeug.exceptions import HTTPException

from bridge import configure
from bridge.console.ops import create_ops
from bridge.console.throttle import Throttle
from bridge.errors import SchemaError, StorageError
from bridge.receiving.decoding import MAX_BODY
from bridge.receiving.receiver import Receiver, as_json, encode
from bridge.wiring import Bridge, create_bridge

log = logging.getLogger(__name__)


def create_app(environ: Mapping[str, str] | None = None) -> Flask:
    """Return the WSGI app; whoever serves it starts `app.extensions["bridge"].dispatcher`.

    Raises SettingsError. A database that does not answer is no reason not to start: the receiver
    answers 503 meanwhile.
    """
    bridge = create_bridge(*configure(os.environ if environ is None else environ))
    throttle = Throttle()
    app = create_ops_app(bridge, throttle, dispatches=bridge.settings.dispatch)
    clock = bridge.outbox.database.time
    app.wsgi_app = Receiver(  # type: ignore[method-assign]
        bridge.settings, bridge.routes, bridge.dispatcher.accept, clock, app.wsgi_app
    )
    if password := bridge.settings.admin_password:
        from bridge.console.blueprint import (
            add_console,  # 4 MiB that a bridge without one need not hold
        )

        add_console(app, bridge, password, throttle, clock)
    for warning in bridge.settings.warnings:
        log.warning("%s", warning)
    for route in bridge.routes:
        if route.template and not bridge.renderer.knows(route.template):
            log.warning(
                "%s, rule %d: there is no template %r in %s; the event's own is used",
                bridge.settings.routes,
                route.rule,
                route.template,
                bridge.settings.templates,
            )
    try:
        bridge.outbox.open()
    except SchemaError as error:
        log.critical("the bridge cannot start with this database: %s", error)
        raise SystemExit(4) from None  # gunicorn's own code for an app that cannot be loaded
    except StorageError as error:
        log.error("the database cannot be used yet: %s; it is tried again with each event", error)
    return app


def create_ops_app(bridge: Bridge, throttle: Throttle | None = None, *, dispatches: bool) -> Flask:
    """Return an app of `/healthz`, `/readyz` and `/metrics` alone, which is all a worker serves."""
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.json = _Json(app)
    app.extensions["bridge"] = bridge
    app.register_error_handler(HTTPException, as_json)
    password, clock = bridge.settings.admin_password, bridge.outbox.database.time
    dispatcher = bridge.dispatcher if dispatches else None
    throttle = throttle or Throttle()
    app.register_blueprint(
        create_ops(password, throttle, bridge.queries, dispatcher, bridge.renderer, clock)
    )
    return app


class _Json(DefaultJSONProvider):
    """Writes Chinese as it is."""

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        return encode(obj)
