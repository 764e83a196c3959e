"""The console's blueprint: what its page templates use, and its error pages.

The other modules add their views to it; whoever registers it imports them first.
"""

from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from flask import Blueprint, abort, render_template
from flask.blueprints import BlueprintSetupState
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFError
from werkzeug.exceptions import HTTPException

from bridge import wording
from bridge.errors import StorageError
from bridge.messages.html import to_html
from bridge.wiring import bridge
from bridge.wording import gettext as _

console = Blueprint(
    "console", __name__, url_prefix="/console", template_folder="templates", static_folder="static"
)


@dataclass(frozen=True)
class Times:
    """Epoch seconds as the pages write them, in the bridge's time zone; they are made `now`."""

    zone: tzinfo
    now: float

    def local(self, at: float) -> datetime:
        """Return date and time in the bridge's zone."""
        return datetime.fromtimestamp(at, self.zone)

    def full(self, at: float) -> str:
        """Return date and time to the second."""
        return self.local(at).strftime("%Y-%m-%d %H:%M:%S")

    def short(self, at: float) -> str:
        """Return the time alone for today, date and time for any other day."""
        then, today = self.local(at), self.local(self.now)
        if then.date() == today.date():
            return then.strftime("%H:%M:%S")
        return then.strftime("%m-%d %H:%M" if then.year == today.year else "%Y-%m-%d")


@console.record
def _prepare(state: BlueprintSetupState) -> None:
    environment = state.app.jinja_env
    environment.filters["as_html"] = to_html
    environment.add_extension("jinja2.ext.i18n")
    environment.add_extension("jinja2.ext.do")
    environment.install_gettext_callables(  # type: ignore[attr-defined]  # by the extension
        lambda text: wording.catalog().gettext(text),
        lambda one, several, count: wording.catalog().ngettext(one, several, count),
        newstyle=True,
    )


@console.context_processor
def _variables() -> dict[str, Any]:
    return {"wording": wording, "times": Times(bridge.settings.timezone, bridge.clock())}


@console.route("/<path:rest>", methods=["GET", "POST"])
def no_page(rest: str) -> ResponseReturnValue:
    abort(404)


@console.errorhandler(HTTPException)
def _refused(error: HTTPException) -> ResponseReturnValue:
    text = error.description or ""
    if isinstance(error, CSRFError):
        text = _(
            "Nothing was changed: this page is from before the last sign-in, or the browser keeps "
            "no cookies. Go back, reload it and try again."
        )
    elif text == type(error).description:
        text = ""  # Werkzeug's own, in English; the page has one for each status
    return _error(error.code or 500, text)


@console.errorhandler(StorageError)
def _unavailable(error: StorageError) -> ResponseReturnValue:
    return _error(503, _("The database does not answer: %(why)s", why=wording.said(error)))


def _error(status: int, text: str) -> ResponseReturnValue:
    return render_template("console/error.html", status=status, text=text), status
