"""Pgyer's event types, and the names under which each of them is known: a new one is a row here.

Four of the seven types are not published, so `action` decides where `type` does not.
"""

import re
from collections.abc import Mapping
from typing import Any

from bridge.model import as_text

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
KNOWN_TYPES = tuple(_NAMES)
_TYPE_OF = {word: name for name, words in _NAMES.items() for word in (name.lower(), *words.split())}
_SIMPLIFIED = str.maketrans("應饋誌潰變動設遷刪閃戶更", "应馈志溃变动设迁删闪户更")


def event_type(payload: Mapping[str, Any]) -> str:
    """Return an event's type: one of KNOWN_TYPES where `type` or `action` means one, else `type`.

    `type` decides before `action`.
    """
    given = as_text(payload.get("type"))
    if given in _NAMES:
        return given
    action = as_text(payload.get("action"))
    return _TYPE_OF.get(_normalized(given)) or _TYPE_OF.get(_normalized(action)) or given


def _normalized(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.translate(_SIMPLIFIED)).lower()
