"""What the console calls things: states, types, and what an errcode or a reason means.

Errcodes as in WeCom document 90313; reasons are the bridge's own short words for outcomes.
"""

import re
from collections.abc import Mapping

from bridge.console.i18n import N_
from bridge.console.i18n import gettext as _

STATES: Mapping[str, str] = {
    "pending": N_("waiting"),
    "sent": N_("sent"),
    "parked": N_("parked"),
    "expired": N_("expired"),
}

TYPES: Mapping[str, str] = {
    "updateVersion": N_("new version"),
    "feedback": N_("feedback"),
    "crashlog": N_("crash log"),
    "versionChange": N_("version changed"),
    "appSettings": N_("app settings changed"),
    "transferApp": N_("app moved"),
    "deleteApp": N_("app deleted"),
    "undecodable": N_("not decodable"),
    "botStopped": N_("bot stopped"),
    "expired": N_("deliveries expired"),
    "test": N_("test message"),
    "digest": N_("digest"),
    "default": N_("any other type"),
}

_ERRCODES: Mapping[int, str] = {
    0: N_("WeCom took it"),
    -1: N_("WeCom was busy; it is tried again"),
    45009: N_("over WeCom's rate of 20 a minute; the bot rests and goes on by itself"),
    45033: N_("too many calls at once; it is tried again"),
    93000: N_("the webhook's key is wrong, deleted or replaced"),
    93004: N_("the robot is disabled"),
    93008: N_("the robot is no longer in the group"),
    40008: N_("WeCom does not know this message type"),
    44004: N_("the message was empty; look at its template"),
    40058: N_("WeCom refuses a part of the message: too long, or something is missing in it"),
    40007: N_("the uploaded file is not known to WeCom"),
    41006: N_("the message names no uploaded file"),
    44001: N_("the upload was empty"),
    40004: N_("WeCom does not take this kind of file"),
    40005: N_("WeCom does not take this kind of file"),
    40006: N_("the file's size is not allowed"),
    40009: N_("the picture is too large"),
    45001: N_("the file is too large"),
    45008: N_("too many articles in one message"),
    41016: N_("an article has no title"),
    301019: N_("the picture was damaged on the way"),
}

_REASONS: Mapping[str, str] = {
    "ok": _ERRCODES[0],
    "system_busy": _ERRCODES[-1],
    "rate_limited": _ERRCODES[45009],
    "too_concurrent": _ERRCODES[45033],
    "invalid_webhook": _ERRCODES[93000],
    "robot_disabled": _ERRCODES[93004],
    "robot_not_in_group": _ERRCODES[93008],
    "invalid_msgtype": _ERRCODES[40008],
    "empty_content": _ERRCODES[44004],
    "invalid_parameter": _ERRCODES[40058],
    "invalid_media_id": _ERRCODES[40007],
    "media_id_missing": _ERRCODES[41006],
    "read_timeout": N_("no answer in time: it may have arrived all the same"),
    "connect_timeout": N_("no connection to WeCom in time"),
    "connection": N_("the connection failed or broke"),
    "tls": N_("the encrypted connection could not be made"),
    "proxy": N_("the proxy on the way refused"),
    "not_json": N_("the answer was not WeCom's"),
    "interrupted": N_("the bridge was stopped meanwhile; it is tried again"),
    "internal_error": N_("a mistake of the bridge itself; its log says which"),
    "too_old": N_("it waited for too long"),
    "done_by_hand": N_("marked as done by hand"),
}


def state(name: str) -> str:
    """Return a delivery's state in plain words."""
    return _(STATES[name]) if name in STATES else name


def type_name(name: str) -> str:
    """Return an event's type in plain words, the type itself where it is not known."""
    return _(TYPES[name]) if name in TYPES else name


def meaning(errcode: int | None, reason: str) -> str:
    """Return in plain words how an attempt ended, or why a delivery stands as it does."""
    if found := re.fullmatch(r"errcode_(-?\d+)", reason):
        errcode = int(found[1])
    if errcode is not None and errcode in _ERRCODES:
        return _(_ERRCODES[errcode])
    if reason in _REASONS:
        return _(_REASONS[reason])
    if found := re.fullmatch(r"http_(\d+)", reason):
        return _("WeCom's server answered with HTTP status %(status)s", status=found[1])
    if errcode is not None:
        return _("WeCom refused it for a reason that the bridge does not know")
    return reason


def stopped_advice(bot: str, reason: str) -> str:
    """Return what to do about a stopped bot."""
    variable = "WECOM_BOT_KEY" if bot == "default" else f"WECOM_BOT_KEY_{bot.upper()}"
    if reason in ("robot_disabled", "robot_not_in_group"):
        return _(
            "Bring the robot back in its group and press “Try again now”, or put a new one's key "
            "into %(variable)s and restart the bridge.",
            variable=variable,
        )
    return _(
        "Copy the robot's webhook address from its group into %(variable)s and restart the bridge. "
        "What waits is kept.",
        variable=variable,
    )
