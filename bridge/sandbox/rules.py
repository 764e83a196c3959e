"""What WeCom accepts and how it refuses: documents 91770 (rules) and 90313 (errcodes); pure."""

import base64
import hashlib
import json
from collections.abc import Callable, Container, Mapping
from functools import partial
from typing import Any

from bridge.messages.html import items, pick

SEND = "/cgi-bin/webhook/send"
UPLOAD = "/cgi-bin/webhook/upload_media"
MINUTE = 60.0  # seconds: the rate's window, and the block after it
MEDIA_LIFE = 3 * 86400.0  # seconds

Body = Mapping[str, Any]
Reply = tuple[int, str]  # errcode, and errmsg without its tail
Rules = list[tuple[bool, int, str]]  # whether it is broken, and the reply to that; first counts

OK: Reply = (0, "ok")
OVER_RATE: Reply = (45009, "api freq out of limit")
UNKNOWN_KEY = {SEND: (93000, "invalid webhook url"), UPLOAD: (40058, "invalid param 'key'")}
EMPTY, BAD = "empty content", "invalid Request Parameter"
JPG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"


def _content(msgtype: str, limit: int, body: Body) -> Rules:
    content = pick(body, "content")
    # Only a text calls people by its lists, and may then be without content.
    called = items(body, "mentioned_list") or items(body, "mentioned_mobile_list")
    is_empty = not content.strip() and not (msgtype == "text" and called)
    too_long = f"{msgtype}.content exceed max length {limit}. {BAD}"
    return [(is_empty, 44004, EMPTY), (len(content.encode()) > limit, 40058, too_long)]


def _image(body: Body) -> Rules:
    try:
        raw = base64.b64decode(pick(body, "base64"), validate=True)
    except ValueError:
        raw = b""
    is_other = not raw or hashlib.md5(raw).hexdigest() != pick(body, "md5")
    return [
        (not pick(body, "base64"), 44004, EMPTY),
        (is_other, 301019, "media md5 not match"),
        (len(raw) > 2 << 20, 40009, "invalid image size"),
        (not raw.startswith((JPG, PNG)), 40004, "invalid media type"),
    ]


def _news(body: Body) -> Rules:
    articles = items(body, "articles")
    return [
        (not articles, 44004, EMPTY),
        (len(articles) > 8, 45008, "article size out of limit"),
        (not all(pick(article, "title") for article in articles), 41016, "missing title"),
        (not all(pick(article, "url") for article in articles), 40058, BAD),
    ]


def _template_card(card: Body) -> Rules:
    title, sub_title = pick(card, "main_title", "title"), pick(card, "sub_title_text")
    picture = pick(card, "card_image", "url")
    heads = {"text_notice": title or sub_title, "news_notice": title and picture}
    action = card.get("card_action")
    rows, jumps = items(card, "horizontal_content_list"), items(card, "jump_list")
    names = [pick(row, "keyname") for row in rows] + [pick(jump, "title") for jump in jumps]
    return [
        (not heads.get(pick(card, "card_type")), 40058, BAD),
        (not isinstance(action, Mapping) or action.get("type") != 1, 40058, BAD),
        (len(rows) > 6 or len(jumps) > 3 or not all(names), 40058, BAD),
        (any(map(_lacks_url, [action, *rows, *jumps])), 40058, BAD),
    ]


def _lacks_url(link: Any) -> bool:
    return not isinstance(link, Mapping) or (link.get("type") == 1 and not pick(link, "url"))


RULES: Mapping[str, Callable[[Body], Rules]] = {
    "text": partial(_content, "text", 2048),
    "markdown": partial(_content, "markdown", 4096),
    "markdown_v2": partial(_content, "markdown_v2", 4096),
    "image": _image,
    "news": _news,
    "file": lambda body: [(not pick(body, "media_id"), 41006, "media_id missing")],
    "template_card": _template_card,
}


def parse(raw: bytes) -> Any:
    """Return what the JSON of a request says, None where WeCom could not read it."""
    try:
        payload = json.loads(raw.decode())
        json.dumps(payload, ensure_ascii=False).encode()  # refuses a lone surrogate
    except (ValueError, RecursionError):
        return None
    return payload


def judge(payload: object, media: Container[str]) -> Reply:
    """Return WeCom's reply to a message by its content alone; `media` are the ids it may name."""
    if not isinstance(payload, dict):
        return 40008, "Warning: wrong json format. invalid message type"
    msgtype = pick(payload, "msgtype")
    if msgtype not in RULES:
        return 40008, "invalid message type"
    body = payload.get(msgtype)
    body = body if isinstance(body, dict) else {}
    rules = RULES[msgtype](body)
    if msgtype == "file":
        rules.append((pick(body, "media_id") not in media, 40007, "invalid media_id"))
    return _first_broken(rules)


def judge_upload(disposition: str, size: int) -> Reply:
    """Return WeCom's reply to a `media` part by its Content-Disposition and its size in bytes."""
    return _first_broken([
        # WeCom does not read the filename*= form of RFC 2231.
        ('filename="' not in disposition, 44001, "empty media data"),
        (size <= 5, 40006, "invalid media size"),
        (size > 20 << 20, 45001, "media size out of limit"),
    ])  # fmt: skip


def _first_broken(rules: Rules) -> Reply:
    return next(((errcode, errmsg) for broken, errcode, errmsg in rules if broken), OK)


def tail(errcode: int, now: float) -> str:
    """Return what WeCom appends to the errmsg of a refusal at `now`, in epoch seconds."""
    hint = f"{int(now * 1_000_000):0<25}"  # the epoch and 15 digits
    more = f"https://open.work.weixin.qq.com/devtool/query?e={errcode}"
    return f", hint: [{hint}], from ip: 127.0.0.1, more info at {more}"
