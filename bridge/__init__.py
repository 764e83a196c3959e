"""The Pgyer-to-WeCom bridge. `create_app` is the one place that knows every part."""

import logging
import os
from collections.abc import Mapping

from flask import Flask
from flask.json.provider import DefaultJSONProvider
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from bridge import routing, settings
from bridge.dispatcher import Dispatcher
from bridge.errors import SchemaError, SettingsError, StorageError
from bridge.history import History
from bridge.model import Route
from bridge.outbox import Outbox
from bridge.parts import Bridge
from bridge.pgyer import MAX_BODY
from bridge.rendering import Renderer
from bridge.repairs import Repairs
from bridge.settings import Settings
from bridge.web.brake import Brake
from bridge.web.console import add_console
from bridge.web.ops import create_ops
from bridge.web.receiver import create_receiver
from bridge.wecom import Client

log = logging.getLogger(__name__)


def configure(environ: Mapping[str, str]) -> tuple[Settings, list[Route]]:
    """Read the environment and the routes file; raise SettingsError with every problem of both."""
    config, problems = settings.load(environ)
    routes: list[Route] = []
    if config.routes:
        try:
            text = config.routes.read_text(encoding="utf-8-sig")
            routes, wrong = routing.parse(text, str(config.routes), config.bots)
            problems += wrong
        except (OSError, UnicodeDecodeError) as error:
            problems.append(f"{config.routes}: cannot be read as UTF-8 text: {error}")
    if problems:
        raise SettingsError(problems)
    return config, routes


def create_bridge(config: Settings, routes: list[Route]) -> Bridge:
    """Put the parts together; nothing runs yet and no connection is open."""
    outbox = Outbox(
        config.database_url.reveal(),
        config.bots,
        rate=config.rate,
        max_age=config.max_age,
        dedupe=config.dedupe,
    )
    clock = outbox.database.time
    # Without a password there is no console for a message to link to.
    public_url = config.public_url if config.admin_password else ""
    renderer = Renderer(config.templates, config.timezone, public_url)
    history = History(outbox.database, config.bots)
    dispatcher = Dispatcher(
        outbox, renderer, Client(), config.bots, history, config.retention, clock
    )
    repairs = Repairs(outbox.database, config.max_age, clock)
    return Bridge(config, routes, outbox, history, repairs, renderer, dispatcher)


def create_app(environ: Mapping[str, str] | None = None) -> Flask:
    """Return the WSGI app; whoever serves it starts `app.extensions["bridge"].dispatcher`.

    Raises SettingsError. A database that does not answer is no reason not to start: the receiver
    answers 503 meanwhile.
    """
    bridge = create_bridge(*configure(os.environ if environ is None else environ))
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    if isinstance(app.json, DefaultJSONProvider):
        app.json.ensure_ascii = app.json.sort_keys = False
    app.extensions["bridge"] = bridge
    app.register_error_handler(HTTPException, _as_json)
    wake, clock = bridge.dispatcher.wake, bridge.outbox.database.time
    app.register_blueprint(
        create_receiver(bridge.settings, bridge.routes, bridge.outbox, wake, clock)
    )
    dispatcher = bridge.dispatcher if bridge.settings.dispatch else None
    password, brake = bridge.settings.admin_password, Brake()
    app.register_blueprint(
        create_ops(password, brake, bridge.history, dispatcher, bridge.renderer, clock)
    )
    if password:
        add_console(app, bridge, password, brake, clock)
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


def _as_json(error: HTTPException) -> ResponseReturnValue:
    if error.code == 404 and error.description == NotFound.description:
        return {"error": "not found"}, 404
    if error.code == 413:
        return {"error": f"the body is over {MAX_BODY} bytes"}, 413
    return {"error": error.description}, error.code or 500, _headers(error)


def _headers(error: HTTPException) -> dict[str, str]:
    return (
        {"Allow": ", ".join(sorted(error.valid_methods or ()))}
        if isinstance(error, MethodNotAllowed)
        else {}
    )
