"""The console: pages that show how the bridge is, and what people do by hand."""

from collections.abc import Callable
from typing import Any

from flask import Blueprint, Flask, g, render_template
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFError
from werkzeug.exceptions import HTTPException
from werkzeug.routing import IntegerConverter

from bridge.console import forms as actions
from bridge.console import i18n, pages, words
from bridge.console import preview as playground
from bridge.console import sign_in as guard
from bridge.console.i18n import gettext as _
from bridge.console.throttle import Brake
from bridge.console.times import Moments
from bridge.errors import StorageError
from bridge.model import Secret
from bridge.wiring import Bridge


class _Id(IntegerConverter):
    """A row's number in an address, none larger than a database takes."""

    regex = r"\d{1,18}"


def add_console(
    app: Flask, bridge: Bridge, password: Secret, brake: Brake, clock: Callable[[], float]
) -> None:
    """Serve `/console/` to whoever knows the password; without one nothing of it exists."""
    csrf = guard.prepare(app, guard.session_key(password, bridge.settings.tokens))
    i18n.translate_templates(app)
    app.url_map.converters["id"] = _Id
    console = Blueprint(
        "console",
        __name__,
        url_prefix="/console",
        template_folder="templates",
        static_folder="static",
    )
    guard.add_guard(console, password, csrf, brake)
    pages.add_pages(console, bridge, clock)
    playground.add_playground(console, bridge)
    actions.add_actions(console, bridge)
    moments = Moments(bridge.settings.timezone, clock)

    @console.context_processor
    def shown() -> dict[str, Any]:
        return {
            "languages": i18n.LANGUAGES,
            "language": g.get("language", "zh"),
            "words": words,
            "moments": moments,
        }

    @console.route("/<path:rest>", methods=["GET", "POST"])
    def nowhere(rest: str) -> ResponseReturnValue:
        return _error(404, _("There is no such page."))

    @console.errorhandler(HTTPException)
    def refused(error: HTTPException) -> ResponseReturnValue:
        if isinstance(error, CSRFError):
            text = _("This page was open for too long. Go back, reload it and try again.")
            return _error(400, text)
        generic = {
            404: _("There is no such page."),
            413: _("That is too much text."),
            500: _("This is a mistake of the bridge itself. Its log says more."),
        }
        status, text = error.code or 500, error.description or ""
        return _error(
            status, generic.get(status, text) if text == type(error).description else text
        )

    @console.errorhandler(StorageError)
    def unavailable(error: StorageError) -> ResponseReturnValue:
        return _error(503, _("The database does not answer: %(why)s", why=str(error)))

    app.register_blueprint(console)


def _error(status: int, text: str) -> ResponseReturnValue:
    return render_template("console/error.html", status=status, text=text), status
