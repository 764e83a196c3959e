"""WeCom's JSON bodies, news and template_card: what must be in them, and at what length; pure.

The rules are those of WeCom document 91770. What is missing and optional is left out, since WeCom
refuses an empty text where it expects one; what is missing and required is an error.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from bridge.messages.findings import NoMessageError
from bridge.messages.markdown import shorten
from bridge.model import is_web_address

TITLE, DESCRIPTION = 128, 512  # bytes of a news article; WeCom itself cuts what is longer
MAX_ARTICLES, MAX_ROWS, MAX_JUMPS = 8, 6, 3

Body = dict[str, Any]


def parse_body(msgtype: str, text: str) -> Body:
    """Return a rendered body as WeCom takes it; raises NoMessageError that says what is missing."""
    try:
        body = json.loads(text, strict=False)
    except (ValueError, RecursionError) as error:
        raise NoMessageError("not_json", row=getattr(error, "lineno", 1)) from None
    if not isinstance(body, dict):
        raise NoMessageError("no_object")
    inner = body[msgtype] if isinstance(body.get(msgtype), dict) else body
    return _BODIES[msgtype](_without_empty(inner) or {})


def _without_empty(value: Any) -> Any:
    """Return a value without what is blank or empty in it; None where nothing is left."""
    if isinstance(value, dict):
        values = {key: _without_empty(item) for key, item in value.items()}
        return {key: item for key, item in values.items() if item is not None} or None
    if isinstance(value, list):
        return [item for item in map(_without_empty, value) if item is not None] or None
    return None if isinstance(value, str) and not value.strip() else value


def _news(body: Body) -> Body:
    articles = _objects(body, "articles")
    if not 1 <= len(articles) <= MAX_ARTICLES:
        raise NoMessageError("articles", most=MAX_ARTICLES)
    return {"articles": [_article(article) for article in articles]}


def _article(article: Body) -> Body:
    _require(article, "articles[]", "title", "url")
    limits = {"title": TITLE, "description": DESCRIPTION}
    return {
        key: shorten(str(value), limits[key]) if key in limits else value
        for key, value in article.items()
    }


def _card(body: Body) -> Body:
    kind = body.get("card_type")
    if kind not in ("text_notice", "news_notice"):
        raise NoMessageError("card_type")
    title = _object(body, "main_title").get("title")
    if not title and (kind == "news_notice" or not body.get("sub_title_text")):
        raise NoMessageError("card_title")
    action = _object(body, "card_action")
    if action.get("type") != 1:
        raise NoMessageError("card_action")
    _require(action, "card_action", "url")
    if kind == "news_notice":
        _require(_object(body, "card_image"), "card_image", "url")
    rows = [_row(row) for row in _objects(body, "horizontal_content_list") if row.get("value")]
    jumps = [jump for jump in _objects(body, "jump_list") if _is_usable(jump)]
    if len(rows) > MAX_ROWS or len(jumps) > MAX_JUMPS:
        raise NoMessageError("card_lists", rows=MAX_ROWS, jumps=MAX_JUMPS)
    result: Body = _without_empty(
        _texts({**body, "horizontal_content_list": rows, "jump_list": jumps})
    )
    return result


def _row(row: Body) -> Body:
    """Return a row; without a usable address it becomes plain text."""
    _require(row, "horizontal_content_list", "keyname")
    if row.get("type") != 1 or is_web_address(row.get("url")):
        return row
    return {key: value for key, value in row.items() if key not in ("type", "url")}


def _texts(value: Any) -> Any:
    """Return JSON with numbers as texts, which WeCom wants everywhere but in `type`."""
    if isinstance(value, dict):
        return {key: item if key in _NUMBERS else _texts(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_texts(item) for item in value]
    return str(value) if isinstance(value, int | float) else value


_NUMBERS = ("type", "desc_color", "aspect_ratio")
_BODIES: Mapping[str, Callable[[Body], Body]] = {"news": _news, "template_card": _card}


def _object(body: Body, key: str) -> Body:
    value = body.get(key, {})
    return value if isinstance(value, dict) else {}


def _objects(body: Body, key: str) -> list[Body]:
    value = body.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise NoMessageError("no_list", key=key)
    return value


def _is_usable(jump: Body) -> bool:
    return bool(jump.get("title")) and (jump.get("type") != 1 or is_web_address(jump.get("url")))


def _require(item: Body, where: str, *keys: str) -> None:
    for key in keys:
        if key == "url" and not is_web_address(item.get(key)):
            raise NoMessageError("needs_url", where=where)
        if not item.get(key):
            raise NoMessageError("needs_key", where=where, key=key)
