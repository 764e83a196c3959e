"""The language of whoever reads, and every text in it: for the console and the command alike.

States, event types, reasons and findings are in `wording.toml` in Chinese and English, so that one
thing has one name. All other texts are English in code and pages, with their Chinese in a gettext
catalog: `make translations` gathers the texts and compiles the catalog. The log is always English.
"""

import difflib
import gettext as catalogs
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from bridge.errors import BridgeError, SettingsError

LANGUAGES: Mapping[str, str] = {"zh": "中文", "en": "English"}
# Of the request that is answered; '' where there is none: then it is that of the environment.
language = ContextVar("language", default="")

_HERE = Path(__file__).parent
_TABLES = tomllib.loads((_HERE / "wording.toml").read_text(encoding="utf-8"))
STATES = tuple(_TABLES["states"])
TYPES = tuple(_TABLES["types"])
LEVELS: Mapping[str, str] = {  # of findings, by their codes
    code: level for level, rows in _TABLES["findings"].items() for code in rows
}
TRANSLATIONS = _HERE / "translations"
_CATALOGS = {
    "zh": catalogs.translation("messages", TRANSLATIONS, ["zh"]),
    "en": catalogs.NullTranslations(),
}


def current() -> str:
    """Return the reader's language: of the request, else of LC_ALL, LC_MESSAGES or LANG.

    Without any of them, and in the locales C and POSIX, it is Chinese.
    """
    if chosen := language.get():
        return chosen
    names = (os.environ.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    return "zh" if re.match(r"zh|C\b|POSIX\b", next(filter(None, names), "C")) else "en"


@contextmanager
def speaking(name: str) -> Iterator[None]:
    """Make texts in this language."""
    token = language.set(name)
    try:
        yield
    finally:
        language.reset(token)


def N_(message: str) -> str:
    """Mark a text that is translated later, where it is shown."""
    return message


def gettext(message: str, /, **values: object) -> str:
    """Return a text in the language, with its `%(name)s` filled in."""
    text = catalog().gettext(message) if message else ""
    return text % values if values else text


# What an operating system says of a file or a port, to be translated like any other text.
_OS_ERRORS = (
    N_("No such file or directory"),
    N_("Permission denied"),
    N_("Is a directory"),
    N_("File name too long"),
    N_("File exists"),
    N_("Not a directory"),
    N_("Address already in use"),
)


CUT = "（已截断"  # how the mark of a text that was cut begins


def cut_mark(length: int) -> str:
    """Return what follows a text of so many characters that was cut."""
    return f"…{CUT}，共 {length} 字）"


def catalog() -> catalogs.NullTranslations:
    """Return the catalog of the language."""
    return _CATALOGS[current()]


def said(error: BridgeError) -> str:
    """Return what an error says in the language; what a database's driver says stays as it is."""
    return gettext(error.text, **error.values)


def refusal(error: SettingsError) -> str:
    """Return one message with all problems, for whoever starts the bridge."""
    count = len(error.problems)
    head = gettext("The bridge cannot start: %(count)s problem(s) to fix first.", count=count)
    return "\n".join([head, *(f"  - {problem}" for problem in error.problems)])


def state(name: str) -> str:
    """Return what a delivery's state is called."""
    return _either(*_TABLES["states"].get(name, (name, name)))


def type_name(name: str) -> str:
    """Return what an event's type is called; the type itself if it is not known."""
    return _either(*_TABLES["types"].get(name, (name, name)))


def carried(name: str) -> str:
    """Return what a call carried, e.g. `digest markdown`; the name itself if it is not known."""
    kind, _, msgtype = name.partition(" ")
    zh, en = _TABLES["carried"].get(kind, (name, name))
    return _either(zh, en).replace("{msgtype}", msgtype)


def meaning(reason: str) -> str:
    """Return what the reason of an outcome or a delivery means; the reason if it is not known."""
    zh, en, _ = _row(reason)
    return _either(zh, en).replace("{number}", reason.rpartition("_")[2])


def detail(reason: str, errcode: int | None, text: str) -> str:
    """Return what an outcome's detail adds to the meaning of its reason: WeCom's own words.

    Without an errcode the words are the bridge's, in English, and the meaning says the same: then
    it is no more than the HTTP status or the kind of error among them.
    """
    if errcode is None:
        text = next(iter(re.findall(r"HTTP [0-9]+|\w+Error\b", text)), "")
    return "" if text == "ok" or text in meaning(reason) else text


def advice(reason: str, bot: str) -> str:
    """Return what to do when a call for a bot ended for this reason."""
    zh, en = _TABLES["advice"][_row(reason)[2]]
    number = reason.rpartition("_")[2]
    return _either(zh, en).format(variable=key_variable(bot), number=number)


def asked_outcome(outcome: str, code: int) -> str:
    """Return how a call of Pgyer's API ended, with Pgyer's own code where there is one."""
    return _either(*_TABLES["asks"][outcome]) + (f" (code {code})" if code else "")


def build_verdict(name: str) -> str:
    """Return what was decided about a build that Pgyer's API shows."""
    return _either(*_TABLES["builds"][name])


def key_variable(bot: str) -> str:
    """Return the variable that sets a bot's key."""
    return "WECOM_BOT_KEY" if bot == "default" else f"WECOM_BOT_KEY_{bot.upper()}"


def nearest(word: str, known: Iterable[str], least: float = 0.6) -> str:
    """Return the known word that somebody may have meant, '' where none is like it."""
    return next(iter(difflib.get_close_matches(word, list(known), 1, least)), "")


def finding(code: str, values: Mapping[str, object]) -> str:
    """Return what a finding about a template says: what is wrong, and what to write."""
    texts = _TABLES["findings"][LEVELS[code]][code]
    zh, en = texts[2:] if len(texts) > 2 and values.get("close") else texts[:2]
    return _either(zh, en) % {**values, "why": gettext(str(values.get("why", "")))}


def _either(zh: str, en: str) -> str:
    return zh if current() == "zh" else en


def notice(kind: str, bot: str, reason: str = "", **values: Any) -> str:
    """Return what a notice of the bridge's own says in the group: what happened, what to do."""
    with speaking("zh"):
        values |= {"bot": bot, "meaning": meaning(reason), "advice": advice(reason, bot)}
    text: str = _TABLES["notices"][kind]
    return text.format(**values)


def _row(reason: str) -> tuple[str, str, str]:
    """Return a reason's meaning in both languages, and the name of the advice for it."""
    kind, mark, _ = reason.partition("_")
    reasons: Mapping[str, tuple[str, str, str]] = _TABLES["reasons"]
    return reasons.get(reason) or reasons.get(kind + mark) or (reason, reason, "log")
