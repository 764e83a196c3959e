"""The WSGI app: receiver, ops and console around the parts of one process."""

import logging
import os
from collections.abc import Mapping
from typing import Any

from flask import Flask, Response, request
from flask.json.provider import DefaultJSONProvider
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from bridge import configure
from bridge.addresses import path_of, set_path
from bridge.console.ops import ops
from bridge.console.throttle import Throttle
from bridge.delivery.wecom import proxy_problems
from bridge.errors import SchemaError, StorageError
from bridge.model import to_json
from bridge.platforms import ADVICE, database_loss
from bridge.receiving.decoding import MAX_BODY
from bridge.receiving.receiver import create_receiver
from bridge.wiring import Bridge
from bridge.wording import LANGUAGES, speaking
from bridge.wording import gettext as _

log = logging.getLogger(__name__)

_NOT_SENDING = (
    "events are stored here and none is sent: this server has not started the dispatcher. Start "
    "the bridge by `bridge serve`, or set BRIDGE_DISPATCH=off and run `bridge worker` beside it"
)


def create_app(environ: Mapping[str, str] | None = None) -> Flask:
    """Return the WSGI app; whoever serves it starts `app.extensions["bridge"]`.

    Raises SettingsError. A database that does not answer is no reason not to start: the receiver
    answers 503 meanwhile.
    """
    bridge = Bridge(*configure(os.environ if environ is None else environ))
    app = create_ops_app(bridge)
    app.must_send = bridge.settings.dispatch
    app.register_blueprint(
        create_receiver(bridge.settings, bridge.intake, bridge.wrong_tokens, bridge.clock)
    )
    app.add_url_rule("/", "home", lambda: _home(bridge))
    if bridge.settings.admin_password:
        # Here, because others need not load its 4 MiB; each module adds its views to the console.
        from bridge.console import (  # noqa: F401
            actions,
            blueprint,
            pages,
            route_pages,
            sign_in,
            template_edits,
            template_pages,
        )

        app.register_blueprint(blueprint.console)
    _log_warnings(bridge)
    try:
        bridge.open_database()
    except SchemaError as error:
        log.critical("the bridge cannot start with this database: %s", error)
        raise SystemExit(4) from None  # gunicorn's own code for an app that cannot be loaded
    except StorageError as error:
        log.error("the database cannot be used yet: %s; it is tried again with each event", error)
    return app


def create_ops_app(bridge: Bridge) -> "_App":
    """Return an app of `/healthz`, `/readyz` and `/metrics` alone, which is all a worker serves."""
    app = _App("bridge", static_folder=None)
    app.live_at = path_of(bridge.settings.public_url)
    # One byte more than is taken: a body without a length is cut there, without an error.
    app.config.update(MAX_CONTENT_LENGTH=MAX_BODY + 1, PROVIDE_AUTOMATIC_OPTIONS=False)
    app.extensions |= {"bridge": bridge, "throttle": Throttle()}
    app.register_error_handler(HTTPException, _as_json)
    app.register_blueprint(ops)
    return app


def _home(bridge: Bridge) -> Response:
    """Answer whoever opens the bare address, and health checks that can ask for nothing else."""
    with speaking(request.accept_languages.best_match(LANGUAGES, "zh")):
        console = f"{request.root_path}/console/"
        if not bridge.settings.admin_password:
            console = _("set BRIDGE_ADMIN_PASSWORD to use it")
        lines = [_("The Pgyer-to-WeCom bridge is running."), _("Console: %(where)s", where=console)]
    return Response("\n".join([*lines, ""]), mimetype="text/plain")


def _log_warnings(bridge: Bridge) -> None:
    settings = bridge.settings
    webhooks = [bot.webhook.reveal() for bot in settings.bots.values()]
    with speaking("en"):
        warnings = [*settings.warnings, *proxy_problems(os.environ, webhooks)]
        if loss := database_loss(settings.database_url.reveal(), os.environ):
            warnings.append(f"{loss}: {_(ADVICE)}")
    warnings += [
        f"{settings.routes}, rule {route.rule}: there is no template {route.template!r} in "
        f"{settings.templates}; the event's own is used"
        for route in bridge.routes
        if route.template and not bridge.renderer.knows(route.template)
    ]
    if not settings.admin_password:
        log.info("there is no console: set BRIDGE_ADMIN_PASSWORD to have one at /console/")
    for warning in warnings:
        log.warning("%s", warning)


def _as_json(error: HTTPException) -> ResponseReturnValue:
    """Answer an error with an object, as all else."""
    text = error.description
    if error.code == 404 and text == NotFound.description:
        text = "not found"
    if error.code == 413:
        text = f"the body is over {MAX_BODY} bytes"
    if isinstance(error, MethodNotAllowed):
        error.valid_methods = sorted(error.valid_methods or ())
    headers = {name: value for name, value in error.get_headers() if name != "Content-Type"}
    return {"error": text}, error.code or 500, headers


class _Json(DefaultJSONProvider):
    """Flask's JSON by the bridge's own encoder."""

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        return to_json(obj)


class _App(Flask):
    """Takes `//pgyer/…` as `/pgyer/…`: Werkzeug would redirect, and a POST does not follow.

    So it takes `/path/pgyer/…` where it lives at a path.
    """

    json_provider_class = _Json
    live_at = ""  # the path in BRIDGE_PUBLIC_URL
    must_send = False  # whether this process is to dispatch, and has not complained that it cannot

    def wsgi_app(self, environ: Any, start_response: Any) -> Any:
        set_path(environ, self.live_at)
        # At the first request: no server starts the dispatcher before it has made the app.
        if self.must_send:
            self.must_send = False
            if not self.extensions["bridge"].is_started:
                # Flask's logger writes it to the server's log where logging is not configured.
                self.logger.error(_NOT_SENDING)
        return super().wsgi_app(environ, start_response)
