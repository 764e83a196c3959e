"""The console: its pages and actions behind one sign-in, and what its page templates use."""

from typing import Any

from flask import Blueprint, Flask, render_template
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFError
from markupsafe import Markup
from werkzeug.exceptions import HTTPException
from werkzeug.routing import IntegerConverter

from bridge import wording
from bridge.console import actions, pages, sign_in, template_pages
from bridge.console.throttle import Throttle
from bridge.console.times import Times
from bridge.errors import StorageError
from bridge.messages.html import to_html
from bridge.model import Message, Secret
from bridge.wiring import Bridge
from bridge.wording import gettext as _


class _Id(IntegerConverter):
    """A row's id in an address, none larger than a database can have."""

    regex = r"\d{1,18}"


def add_console(app: Flask, bridge: Bridge, password: Secret, throttle: Throttle) -> None:
    """Serve `/console/` to those who know the password."""
    csrf = sign_in.prepare(app, sign_in.session_key(password, bridge.settings.tokens))
    app.jinja_env.add_extension("jinja2.ext.i18n")
    app.jinja_env.install_gettext_callables(  # type: ignore[attr-defined]  # by the extension
        lambda text: wording.catalog().gettext(text),
        lambda one, several, count: wording.catalog().ngettext(one, several, count),
        newstyle=True,
    )
    app.url_map.converters["id"] = _Id
    console = Blueprint(
        "console",
        __name__,
        url_prefix="/console",
        template_folder="templates",
        static_folder="static",
    )
    sign_in.add_sign_in(console, password, csrf, throttle)
    pages.add_pages(console, bridge)
    template_pages.add_template_pages(console, bridge)
    actions.add_actions(console, bridge)
    times = Times(bridge.settings.timezone, bridge.clock)

    @console.app_template_filter()
    def as_html(message: Message) -> Markup:
        return Markup(to_html(message))

    @console.context_processor
    def variables() -> dict[str, Any]:
        return {"wording": wording, "times": times}

    @console.route("/<path:rest>", methods=["GET", "POST"])
    def no_page(rest: str) -> ResponseReturnValue:
        return _error(404, _("There is no such page."))

    @console.errorhandler(HTTPException)
    def refused(error: HTTPException) -> ResponseReturnValue:
        if isinstance(error, CSRFError):
            text = _("This page was open for too long. Go back, reload it and try again.")
            return _error(400, text)
        status, text = error.code or 500, error.description or ""
        if text == type(error).description:  # werkzeug's own English text
            generic = {
                404: _("There is no such page."),
                413: _("That is too much text."),
                500: _("This is an error in the bridge itself. Its log says more."),
            }
            text = generic.get(status, text)
        return _error(status, text)

    @console.errorhandler(StorageError)
    def unavailable(error: StorageError) -> ResponseReturnValue:
        return _error(503, _("The database does not answer: %(why)s", why=str(error)))

    app.register_blueprint(console)


def _error(status: int, text: str) -> ResponseReturnValue:
    return render_template("console/error.html", status=status, text=text), status
