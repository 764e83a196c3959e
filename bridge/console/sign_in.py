"""Who may see the console: its sign-in and sessions, and the headers of every page."""

import hashlib
import hmac
import secrets
import string
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from flask import Flask, Response, flash, g, redirect, render_template, request, session, url_for
from flask.blueprints import BlueprintSetupState
from flask.sessions import SecureCookieSessionInterface
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFProtect
from werkzeug.exceptions import TooManyRequests
from werkzeug.middleware.proxy_fix import ProxyFix

from bridge import wording
from bridge.console.blueprint import console
from bridge.console.throttle import is_password
from bridge.model import Secret
from bridge.wiring import bridge
from bridge.wording import gettext as _

SIGNED_IN = 7 * 86400  # seconds since the last page
_OPEN = {"console.sign_in", "console.choose_language"}

_QUERY = string.punctuation  # what a query may contain beside letters and digits
_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:{pictures}; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_csrf = CSRFProtect()


class _Sessions(SecureCookieSessionInterface):
    """Flask's signed cookie, `Secure` whenever the request came by https."""

    def get_cookie_secure(self, app: Flask) -> bool:
        return request.is_secure

    def get_cookie_path(self, app: Flask) -> str:
        return f"{request.root_path}/console"


class _Proxied(ProxyFix):
    """Takes client address, scheme and host from one proxy hop, as a PaaS has.

    Werkzeug fails on an odd scheme, and on a query that is not ASCII or has a line break.
    """

    def __call__(self, environ: Any, start_response: Any) -> Any:
        scheme = environ.get("HTTP_X_FORWARDED_PROTO", "").rpartition(",")[2].strip().lower()
        environ["HTTP_X_FORWARDED_PROTO"] = scheme if scheme in ("http", "https") else ""
        query = environ.get("QUERY_STRING", "").encode("latin-1", "replace")
        environ["QUERY_STRING"] = quote(query, safe=_QUERY)
        return super().__call__(environ, start_response)


def session_key(password: Secret, tokens: Sequence[Secret]) -> bytes:
    """Return the key that signs sessions: the same in all workers and after a restart.

    A changed password signs everybody out. The tokens are part of it, so that a cookie alone is
    not enough to guess the password offline.
    """
    known = "\n".join(["console session", *(token.reveal() for token in tokens)])
    return hmac.new(password.reveal().encode(), known.encode(), hashlib.sha256).digest()


@console.record
def _add_sessions(state: BlueprintSetupState) -> None:
    """Add sessions to the app, and let it see the client behind a proxy."""
    app = state.app
    assert isinstance(app, Flask)
    settings = app.extensions["bridge"].settings
    app.wsgi_app = _Proxied(app.wsgi_app, x_host=1)  # type: ignore[method-assign]
    app.secret_key = session_key(settings.admin_password, settings.tokens)
    app.session_interface = _Sessions()
    app.config.update(
        SESSION_COOKIE_NAME="bridge_console",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        PERMANENT_SESSION_LIFETIME=SIGNED_IN,
        SESSION_REFRESH_EACH_REQUEST=False,  # `_require_sign_in` says when
        WTF_CSRF_CHECK_DEFAULT=False,  # the receiver's callers have no session
        WTF_CSRF_TIME_LIMIT=None,  # as long as the session: a page may be open overnight
        WTF_CSRF_SSL_STRICT=False,  # it requires the Referer that our Referrer-Policy omits
    )
    _csrf.init_app(app)


@console.before_request
def _require_sign_in() -> ResponseReturnValue | None:
    """Refuse every page without the password, and every POST without its page's token."""
    accepted = request.accept_languages.best_match(wording.LANGUAGES, "zh")
    wording.language.set(session.get("language", accepted))
    if request.endpoint == "console.static":
        return None
    if request.endpoint not in _OPEN and not _is_signed_in():
        if request.method == "POST":
            return redirect(url_for("console.sign_in", next=_form_page(), refused=1), 303)
        return redirect(url_for("console.sign_in", next=request.full_path.rstrip("?")), 303)
    # Prolonged by the pages that somebody opens, not by what these load (scripts ask for */*): the
    # answer to a preview may come after that to a button, and would put back the cookie from
    # before it, without what the page has to say.
    if session.permanent and "text/html" in request.headers.get("Accept", ""):
        session.modified = True
    _csrf.protect()
    return None


def _form_page() -> str | None:
    """Return the page of the event or template that a form is about, None for any other form."""
    is_about_one = not {"event_id", "file"}.isdisjoint(request.view_args or ())
    return request.path.rpartition("/")[0] if is_about_one else None


def _is_signed_in() -> bool:
    """Tell whether the cookie is of a session that nobody has ended, in whichever browser."""
    session_id = session.get("signed_in")
    return isinstance(session_id, str) and not bridge.shared.has_ended(session_id)


@console.after_request
def _add_headers(response: Response) -> Response:
    pictures = " https:" if g.get("shows_pictures") else ""
    response.headers["Content-Security-Policy"] = _POLICY.format(pictures=pictures)
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    if request.endpoint != "console.static":
        response.headers["Cache-Control"] = "no-store"
    return response


@console.teardown_request
def _forget_language(_error: BaseException | None) -> None:
    wording.language.set("")  # the thread serves others next


@console.route("/sign-in", methods=["GET", "POST"])
def sign_in() -> ResponseReturnValue:
    if request.method == "GET":
        return render_template("console/sign_in.html")
    if not is_password(request.form.get("password", "").strip()):
        return render_template("console/sign_in.html", is_wrong=True), 401
    _restart_session()
    session.permanent, session["signed_in"] = True, secrets.token_urlsafe(16)
    return redirect(console_page(request.form.get("next", "")), 303)


@console.errorhandler(TooManyRequests)
def _too_many_tries(error: TooManyRequests) -> ResponseReturnValue:
    page = render_template("console/sign_in.html", wait=error.retry_after)
    return page, 429, {"Retry-After": str(error.retry_after)}


@console.post("/sign-out")
def sign_out() -> ResponseReturnValue:
    # By every copy of the cookie, of which this browser has but one.
    bridge.shared.end_session(session["signed_in"], bridge.clock(), SIGNED_IN)
    _restart_session()
    flash(_("You are signed out."))
    return redirect(url_for("console.sign_in"), 303)


@console.post("/language")
def choose_language() -> ResponseReturnValue:
    if request.form.get("language") in wording.LANGUAGES:
        session["language"] = request.form["language"]
    return redirect(console_page(request.form.get("next", "")), 303)


def _restart_session() -> None:
    """Forget everything in the session but the language."""
    kept = {"language": session["language"]} if "language" in session else {}
    session.clear()
    session.update(kept)


def console_page(address: str) -> str:
    """Return an address if it is one of the console's pages, else the console's first page."""
    # Browsers read a backslash as a slash; a line break cannot be in a header.
    inside = address.startswith("/console/") and address.isprintable() and "\\" not in address
    return f"{request.root_path}{address}" if inside else url_for("console.overview")
