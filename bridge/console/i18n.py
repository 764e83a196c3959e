"""The console's two languages: the code has English, a gettext catalog has Chinese.

`make translations` gathers the texts and compiles the catalog.
"""

import gettext as catalogs
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from flask import Flask, g, request, session

from bridge.wording import Text

LANGUAGES: Mapping[str, str] = {"zh": "中文", "en": "English"}
_FOLDER = Path(__file__).parent / "translations"


def N_(message: str) -> str:
    """Mark a text that is translated later, where it is shown."""
    return message


def gettext(message: str, /, **values: object) -> str:
    """Return a text in the request's language, with its `%(name)s` filled in."""
    return _looked_up(message) % values


def translated(text: Text) -> str:
    """Return a text of `bridge.wording` in the request's language."""
    return text.show(g.get("language", "zh"))


def choose_language() -> None:
    """Set the request's language: the one chosen before, else the browser's, else Chinese."""
    chosen = session.get("language")
    if chosen not in LANGUAGES:
        chosen = request.accept_languages.best_match(LANGUAGES, "zh")
    g.language = chosen


def translate_templates(app: Flask) -> None:
    """Let the app's templates use `{% trans %}`, `_()` and the filter `translated`."""
    app.add_template_filter(translated)
    app.jinja_env.add_extension("jinja2.ext.i18n")
    app.jinja_env.install_gettext_callables(  # type: ignore[attr-defined]  # by the extension
        _looked_up, _looked_up_plural, newstyle=True
    )


def _looked_up(message: str) -> str:
    return _catalog(g.get("language", "zh")).gettext(message)


def _looked_up_plural(one: str, several: str, count: int) -> str:
    return _catalog(g.get("language", "zh")).ngettext(one, several, count)


@cache
def _catalog(language: str) -> catalogs.NullTranslations:
    if language == "en":
        return catalogs.NullTranslations()
    return catalogs.translation("messages", _FOLDER, [language])
