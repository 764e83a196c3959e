"""Pgyer's event types, and the names under which each of them is known: a new one is a row here.

Four of the seven types are not published, so `action` decides where `type` does not.
"""

import fnmatch
import re
from collections.abc import Mapping
from typing import Any

from bridge.errors import WrongValueError
from bridge.model import as_text
from bridge.wording import N_, nearest

UNDECODABLE = "undecodable"  # the type of the event that stands for a body that cannot be decoded

# The bridge's name for a type → the actions and other spellings that mean it. Names are compared
# in simplified script and lower case, without spaces and punctuation.
_NAMES = {
    "updateVersion": "应用更新 版本更新 appupdate applicationupdate newversion",
    "feedback": "应用反馈 用户反馈 appfeedback applicationfeedback userfeedback",
    "crashlog": "crash 崩溃日志 应用崩溃 闪退日志 crash日志 appcrash",
    "versionChange": "版本变动 版本变更 版本管理 versionmanagement versionchanged",
    "appSettings": "app设置变动 应用设置变动 设置变动 app设置变更 appsetting appsettingschange "
    "appsettingschanged applicationsettings",
    "transferApp": "迁移应用 应用迁移 appmigration migrateapp migrationapp apptransfer "
    "applicationmigration",
    "deleteApp": "删除应用 应用删除 appdeletion appdelete appdeleted applicationdeletion",
}
# What else people call a type in a route; too general to decide by an event's action.
_MORE_NAMES = {
    "updateVersion": "新版本 新版 更新 update",
    "feedback": "反馈 意见反馈",
    "crashlog": "崩溃 闪退 crashes crashreport",
    "versionChange": "版本修改 版本编辑",
    "appSettings": "设置 应用设置 app设置 settings",
    "transferApp": "迁移 转移 应用转移 应用已迁移 transfer migration",
    "deleteApp": "删除 应用已删除 delete",
    UNDECODABLE: "无法解析 无法解码 无法识别 无法识别的通知",
}
KNOWN_TYPES = tuple(_NAMES)
_TYPE_OF = {word: name for name, words in _NAMES.items() for word in (name.lower(), *words.split())}
_IN_ROUTES = _TYPE_OF | {
    word: name for name, words in _MORE_NAMES.items() for word in (name, *words.split())
}
_NOTICES = ("botstopped", "expired", "digest", "default")  # names of templates only
_SIMPLIFIED = str.maketrans("應饋誌潰變動設遷刪閃戶更轉無識別", "应馈志溃变动设迁删闪户更转无识别")


def event_type(payload: Mapping[str, Any]) -> str:
    """Return an event's type: one of KNOWN_TYPES where `type` or `action` means one, else `type`.

    `type` decides before `action`.
    """
    given = as_text(payload.get("type"))
    if given in _NAMES:
        return given
    action = as_text(payload.get("action"))
    return _TYPE_OF.get(_normalized(given)) or _TYPE_OF.get(_normalized(action)) or given


def read_type(glob: str) -> list[str]:
    """Return the globs that a route's `type` stands for: `新版本` also for `updateVersion`.

    Raises WrongValueError where it can only be a mistake.
    """
    word = _normalized(glob)
    if re.search(r"[*?[]", glob):
        names = [] if glob.isascii() else fnmatch.filter(_IN_ROUTES, glob.translate(_SIMPLIFIED))
        return list(dict.fromkeys([glob, *(_IN_ROUTES[name] for name in names)]))
    if found := _IN_ROUTES.get(word):
        return [found] if word == found.lower() else [found, glob]
    if word in _NOTICES:
        raise WrongValueError("is no event's type: without `type` a rule matches all of them")
    close = _IN_ROUTES.get(nearest(word, _IN_ROUTES, 0.8), "")
    if word and glob.isascii() and not close:
        return [glob]  # a sender's own
    text = N_("is no type of Pgyer's, which are %(known)s (one of your own senders': %(glob)r)")
    if close:
        text = N_(
            "is no type of Pgyer's: did you mean %(close)r? (one of your own senders': %(glob)r)"
        )
    raise WrongValueError(text, glob=f"{glob}*", close=close, known=", ".join(KNOWN_TYPES))


def _normalized(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.translate(_SIMPLIFIED)).lower()
