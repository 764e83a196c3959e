"""Every reason, delivery state and event type in Chinese and English, and what to do about it.

The console, the command and the messages use these texts, so that one thing has one name. They
are in `wording.toml`.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple


class Text(NamedTuple):
    """One text in both languages."""

    zh: str
    en: str

    def show(self, language: str = "") -> str:
        """Return the text in `zh` or `en`; for any other language both, as `中文 · English`."""
        if language in self._fields:
            return str(getattr(self, language))
        return " · ".join(dict.fromkeys(self))


_TABLES = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
STATES: Mapping[str, Text] = {name: Text(*row) for name, row in _TABLES["states"].items()}
TYPES: Mapping[str, Text] = {name: Text(*row) for name, row in _TABLES["types"].items()}

CUT = "（已截断"  # how the mark of a text that was cut begins


def cut_mark(length: int) -> str:
    """Return what follows a text of so many characters that was cut."""
    return f"…{CUT}，共 {length} 字）"


def state(name: str) -> Text:
    """Return what a delivery's state is called."""
    return STATES.get(name, Text(name, name))


def type_name(name: str) -> Text:
    """Return what an event's type is called; the type itself if it is not known."""
    return TYPES.get(name, Text(name, name))


def meaning(reason: str) -> Text:
    """Return what the reason of an outcome or a delivery means; the reason if it is not known."""
    zh, en, _ = _row(reason)
    number = reason.rpartition("_")[2]
    return Text(zh.replace("{number}", number), en.replace("{number}", number))


def advice(reason: str, bot: str) -> Text:
    """Return what to do when a call for a bot ended for this reason."""
    zh, en = _TABLES["advice"][_row(reason)[2]]
    values = {
        "variable": "WECOM_BOT_KEY" if bot == "default" else f"WECOM_BOT_KEY_{bot.upper()}",
        "number": reason.rpartition("_")[2],
    }
    return Text(zh.format(**values), en.format(**values))


def notice(kind: str, bot: str, reason: str = "", **values: Any) -> str:
    """Return what a notice of the bridge's own says in the group: what happened, what to do."""
    values |= {"bot": bot, "meaning": meaning(reason).zh, "advice": advice(reason, bot).zh}
    text: str = _TABLES["notices"][kind]
    return text.format(**values)


def _row(reason: str) -> tuple[str, str, str]:
    """Return a reason's meaning in both languages, and the name of the advice for it."""
    kind, mark, _ = reason.partition("_")
    reasons: Mapping[str, tuple[str, str, str]] = _TABLES["reasons"]
    return reasons.get(reason) or reasons.get(kind + mark) or (reason, reason, "log")
