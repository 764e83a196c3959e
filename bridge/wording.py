"""The language of whoever reads, and every text in it: for the console and the command alike.

States, event types and reasons are in `wording.toml` in Chinese and English, so that one thing has
one name. All other texts are English in code and pages, with their Chinese in a gettext catalog:
`make translations` gathers the texts and compiles the catalog.
"""

import gettext as catalogs
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

LANGUAGES: Mapping[str, str] = {"zh": "中文", "en": "English"}
# Of the request or the command; '' shows the texts of wording.toml in both, as `中文 · English`.
language = ContextVar("language", default="")

_HERE = Path(__file__).parent
_TABLES = tomllib.loads((_HERE / "wording.toml").read_text(encoding="utf-8"))
STATES = tuple(_TABLES["states"])
TYPES = tuple(_TABLES["types"])
_CATALOGS = {
    "zh": catalogs.translation("messages", _HERE / "translations", ["zh"]),
    "en": catalogs.NullTranslations(),
}


@contextmanager
def speaking(chosen: str) -> Iterator[None]:
    """Use a language for what is done inside; the groups' is Chinese, whoever looks."""
    token = language.set(chosen)
    try:
        yield
    finally:
        language.reset(token)


def N_(message: str) -> str:
    """Mark a text that is translated later, where it is shown."""
    return message


def gettext(message: str, /, **values: object) -> str:
    """Return a text in the language, with its `%(name)s` filled in."""
    return catalog().gettext(message) % values


CUT = "（已截断"  # how the mark of a text that was cut begins


def cut_mark(length: int) -> str:
    """Return what follows a text of so many characters that was cut."""
    return f"…{CUT}，共 {length} 字）"


def catalog() -> catalogs.NullTranslations:
    """Return the catalog of the language."""
    return _CATALOGS[language.get() or "zh"]


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


def advice(reason: str, bot: str) -> str:
    """Return what to do when a call for a bot ended for this reason."""
    zh, en = _TABLES["advice"][_row(reason)[2]]
    variable = "WECOM_BOT_KEY" if bot == "default" else f"WECOM_BOT_KEY_{bot.upper()}"
    return _either(zh, en).format(variable=variable, number=reason.rpartition("_")[2])


def _either(zh: str, en: str) -> str:
    return {"zh": zh, "en": en}.get(language.get()) or " · ".join(dict.fromkeys((zh, en)))


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
