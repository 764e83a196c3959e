"""Every reason, delivery state and event type in Chinese and English, and what to do about it.

The console, the command and the messages use these texts, so that one thing has one name.
Reasons are those of outcomes and deliveries; errcodes are those of WeCom document 90313.
"""

from collections.abc import Mapping
from typing import NamedTuple


class Text(NamedTuple):
    """One text in both languages."""

    zh: str
    en: str

    def show(self, language: str = "") -> str:
        """Return the text in `zh` or `en`; for any other language both, as `中文 · English`."""
        if language in self._fields:
            return str(getattr(self, language))
        return " · ".join(dict.fromkeys(self))


STATES: Mapping[str, Text] = {
    "pending": Text("待发", "waiting"),
    "sent": Text("已发送", "sent"),
    "parked": Text("发送失败", "failed"),
    "expired": Text("已过期", "expired"),
}

TYPES: Mapping[str, Text] = {
    "updateVersion": Text("新版本", "new version"),
    "feedback": Text("用户反馈", "feedback"),
    "crashlog": Text("崩溃日志", "crash log"),
    "versionChange": Text("版本变动", "version changed"),
    "appSettings": Text("应用设置变动", "app settings changed"),
    "transferApp": Text("应用已迁移", "app moved"),
    "deleteApp": Text("应用已删除", "app deleted"),
    "undecodable": Text("无法识别", "not decodable"),
    "botStopped": Text("机器人已停用", "bot stopped"),
    "expired": Text("通知已过期", "deliveries expired"),
    "test": Text("测试消息", "test message"),
    "digest": Text("汇总", "digest"),
    "default": Text("其他类型", "any other type"),
}

# An errcode without a reason of its own has `errcode_N`.
_MEANINGS: Mapping[str, Text] = {
    "ok": Text("企业微信已接收", "WeCom accepted it"),
    "system_busy": Text("企业微信繁忙", "WeCom is busy"),
    "rate_limited": Text(
        "超过企业微信每分钟 20 条的限制", "over WeCom's limit of 20 messages a minute"
    ),
    "too_concurrent": Text("并发调用太多", "too many calls at once"),
    "invalid_webhook": Text(
        "Webhook 的 key 不对或已失效", "the webhook's key is wrong or was replaced"
    ),
    "robot_disabled": Text("机器人被停用", "the robot is disabled"),
    "robot_not_in_group": Text("机器人已不在群里", "the robot is no longer in the group"),
    "invalid_msgtype": Text("企业微信不支持这种消息类型", "WeCom does not know this msgtype"),
    "empty_content": Text("消息为空", "the message is empty"),
    "invalid_parameter": Text("消息太长或格式不对", "the message is too long or malformed"),
    "invalid_media_id": Text("上传的文件已失效", "the uploaded file is not valid any more"),
    "media_id_missing": Text("消息没有指明文件", "the message names no uploaded file"),
    "errcode_44001": Text("上传内容为空", "the upload was empty"),
    "errcode_40004": Text("企业微信不支持这种文件", "WeCom does not accept this kind of file"),
    "errcode_40005": Text("企业微信不支持这种文件", "WeCom does not accept this kind of file"),
    "errcode_40006": Text("文件大小不合要求", "the file's size is not allowed"),
    "errcode_40009": Text("图片太大", "the picture is too large"),
    "errcode_45001": Text("文件太大", "the file is too large"),
    "errcode_45008": Text("图文条数太多", "too many articles in one message"),
    "errcode_41016": Text("图文没有标题", "an article has no title"),
    "errcode_301019": Text("图片在传输中损坏", "the picture was damaged on the way"),
    "read_timeout": Text(
        "没有及时响应，但消息可能已送达", "no answer in time, but it may have arrived"
    ),
    "connect_timeout": Text("未能及时连上企业微信", "no connection to WeCom in time"),
    "connection": Text("连接失败或中断", "the connection failed or broke"),
    "tls": Text("无法建立加密连接", "the TLS handshake failed"),
    "proxy": Text("代理拒绝了连接", "the proxy refused the connection"),
    "not_json": Text(
        "响应并非来自企业微信（可能被代理拦截）", "the answer is not WeCom's (a proxy's?)"
    ),
    "not_wecom": Text(
        "响应不像企业微信的（可能被代理改写）", "the answer does not look like WeCom's (a proxy's?)"
    ),
    "unreadable_answer": Text("无法读取响应", "the answer cannot be read"),
    "wrong_address": Text(
        "地址不对，那里没有群机器人", "the address is wrong: no robot answers there"
    ),
    "interrupted": Text(
        "发送时服务中断，结果不明", "the bridge stopped while sending; result unknown"
    ),
    "internal_error": Text("本服务自身的错误", "an error in the bridge itself"),
    "too_old": Text("等待太久，已过期", "it waited for too long"),
    "done_by_hand": Text("已人工标记为已处理", "marked as done by hand"),
}

_LATER = Text("会自动重试。", "It is sent again automatically.")
_NETWORK = Text("检查网络、代理和 WECOM_API_URL。", "Check network, proxy and WECOM_API_URL.")
_LOG = Text("查看日志，然后重试。", "Read the log, then try again.")
_UPLOAD = Text("重试，文件会重新上传。", "Try again: the file is uploaded anew.")
_TEMPLATE = Text("改正消息的模板，然后重试。", "Correct the message's template, then try again.")
_UNKNOWN = Text(
    "在 https://open.work.weixin.qq.com/devtool/query?e={number} 查询它的含义。",
    "Look it up at https://open.work.weixin.qq.com/devtool/query?e={number}",
)
_ADVICE: Mapping[str, Text] = {
    "invalid_webhook": Text(
        "从群里复制机器人的 Webhook 地址，填入 {variable} 并重启本服务，待发的通知都会保留。",
        "Copy the robot's webhook address from its group into {variable} and restart the bridge. "
        "Pending deliveries are kept.",
    ),
    "robot_disabled": Text(
        "在群里重新启用它，然后重试。", "Enable it in its group, then try again."
    ),
    "robot_not_in_group": Text(
        "把它重新加入群后重试；或把新机器人的 Webhook 地址填入 {variable} 并重启本服务。",
        "Add it to its group, then try again; or copy a new robot's webhook address into "
        "{variable} and restart the bridge.",
    ),
    "internal_error": _LOG,
    "too_old": Text("仍有用的可以重试。", "Try again what is still useful."),
    **dict.fromkeys(("system_busy", "rate_limited", "too_concurrent", "interrupted"), _LATER),
    **dict.fromkeys(("invalid_media_id", "media_id_missing", "errcode_301019"), _UPLOAD),
    **dict.fromkeys(
        ("read_timeout", "connect_timeout", "connection", "tls", "proxy", "not_json"), _NETWORK
    ),
    **dict.fromkeys(("not_wecom", "unreadable_answer", "wrong_address"), _NETWORK),
}


def state(name: str) -> Text:
    """Return what a delivery's state is called."""
    return STATES.get(name, Text(name, name))


def type_name(name: str) -> Text:
    """Return what an event's type is called; the type itself if it is not known."""
    return TYPES.get(name, Text(name, name))


def meaning(reason: str) -> Text:
    """Return what the reason of an outcome or a delivery means; the reason if it is not known."""
    kind, _, number = reason.partition("_")
    if kind == "http":
        return Text(f"企业微信服务器返回 HTTP {number}", f"WeCom's server answered HTTP {number}")
    unknown = Text(reason, reason)
    if kind == "errcode":
        unknown = Text(
            f"企业微信拒收：未知错误码 {number}", f"WeCom refused it: unknown errcode {number}"
        )
    return _MEANINGS.get(reason, unknown)


def advice(reason: str, bot: str) -> Text:
    """Return what to do when a call for a bot ended for this reason."""
    kind, _, number = reason.partition("_")
    other = (
        _TEMPLATE
        if reason in _MEANINGS
        else {"http": _NETWORK, "errcode": _UNKNOWN}.get(kind, _LOG)
    )
    variable = "WECOM_BOT_KEY" if bot == "default" else f"WECOM_BOT_KEY_{bot.upper()}"
    zh, en = _ADVICE.get(reason, other)
    return Text(*(text.format(variable=variable, number=number) for text in (zh, en)))
