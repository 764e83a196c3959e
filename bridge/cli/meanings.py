"""What the reasons in attempts and deliveries mean, in plain words; pure."""

# The reasons are those of wecom.py, outbox.py, notices.py and repairs.py.
_MEANINGS = {
    "ok": "企业微信已收下 · WeCom took it",
    "system_busy": "企业微信繁忙 · WeCom is busy",
    "rate_limited": "超过每分钟 20 条 · over 20 messages a minute",
    "too_concurrent": "同时发得太多 · too many calls at once",
    "invalid_webhook": "key 不对，或机器人已删除 · the key is wrong or the robot is gone",
    "robot_disabled": "机器人被停用 · the robot is disabled",
    "robot_not_in_group": "机器人不在群里 · the robot is not in the group",
    "invalid_msgtype": "不认识这种消息 · WeCom does not know this msgtype",
    "empty_content": "消息是空的 · the message is empty",
    "invalid_parameter": "消息的内容或格式不被接受 · something in the message is not accepted",
    "invalid_media_id": "附件已失效 · the attachment is no longer there",
    "media_id_missing": "附件没有传上去 · the attachment was not uploaded",
    "not_json": "回答的不是企业微信 · the answer was not WeCom's",
    "not_wecom": "回答不像企业微信的 · the answer does not look like WeCom's",
    "unreadable_answer": "回答读不懂 · the answer cannot be read",
    "wrong_address": "地址不对，那里不是群机器人 · the address is wrong: no robot answers there",
    "connect_timeout": "连不上，超时 · no connection in time",
    "read_timeout": "等不到回答，可能已送达 · no answer in time; it may have arrived",
    "tls": "TLS 握手失败 · the TLS handshake failed",
    "proxy": "代理拒绝 · the proxy refused",
    "connection": "连接失败或中断 · the connection failed or broke",
    "interrupted": "发送时进程中断，结果不明 · the process ended while sending",
    "internal_error": "桥自己的错误，见日志 · the bridge's own mistake, see its log",
    "too_old": "等得太久，已过期 · it waited too long",
    "done_by_hand": "有人标为已处理 · somebody marked it as done",
}
_MEND_KEY = (
    "在群里复制新的 Webhook 地址，改 WECOM_BOT_KEY… 并重启桥"
    " · set the robot's new address in WECOM_BOT_KEY… and restart the bridge"
)
_CHECK_NETWORK = "检查网络、代理和 WECOM_API_URL · look at the network, the proxy and WECOM_API_URL"
_ADVICE = {
    "invalid_webhook": _MEND_KEY,
    "robot_disabled": "在群里启用它 · enable it in the group",
    "robot_not_in_group": _MEND_KEY,
    "rate_limited": "一分钟后再试 · try again in a minute",
    "system_busy": "稍后再试 · try again later",
    "too_concurrent": "稍后再试 · try again later",
    **dict.fromkeys(
        ("not_json", "connect_timeout", "read_timeout", "tls", "proxy", "connection"),
        _CHECK_NETWORK,
    ),
    **dict.fromkeys(("not_wecom", "unreadable_answer", "wrong_address"), _CHECK_NETWORK),
}
_OTHER_ADVICE = "检查模板 test.<msgtype>.j2 和 key · look at the template test and at the key"


def meaning(reason: str) -> str:
    """Return what a reason means, '' for none."""
    known = _MEANINGS.get(reason)
    if known or not reason:
        return known or ""
    kind, _, number = reason.partition("_")
    if kind == "http":
        return f"企业微信回答 HTTP {number} · WeCom answered HTTP {number}"
    if kind == "errcode":
        return f"企业微信拒收，错误码 {number} · WeCom refused it, errcode {number}"
    return reason


def advice(reason: str) -> str:
    """Return what to do about a test message that ended so."""
    if reason.startswith("http_"):
        return _CHECK_NETWORK
    return _ADVICE.get(reason, _OTHER_ADVICE)
