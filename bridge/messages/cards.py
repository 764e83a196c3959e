"""WeCom's JSON bodies, news and template_card: what must be in them, and at what length; pure.

The rules are those of WeCom document 91770. What is missing and optional is left out, since WeCom
refuses an empty text where it expects one; what is missing and required is a ValueError.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from bridge.messages.markdown import shorten
from bridge.model import is_web_address

TITLE, DESCRIPTION = 128, 512  # bytes of a news article; WeCom itself cuts what is longer
MAX_ARTICLES, MAX_ROWS, MAX_JUMPS = 8, 6, 3

Body = dict[str, Any]


def parse_body(msgtype: str, text: str) -> Body:
    """Return a rendered body as WeCom takes it; raises ValueError that says what is missing."""
    try:
        body = json.loads(text, strict=False)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"does not make JSON: {error}") from None
    if not isinstance(body, dict):
        raise ValueError("is no JSON object")
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
        raise ValueError(f"news needs 1 to {MAX_ARTICLES} articles")
    return {"articles": [_article(article) for article in articles]}


def _article(article: Body) -> Body:
    _require(article, "an article", "title", "url")
    limits = {"title": TITLE, "description": DESCRIPTION}
    return {
        key: shorten(str(value), limits[key]) if key in limits else value
        for key, value in article.items()
    }


def _card(body: Body) -> Body:
    kind = body.get("card_type")
    if kind not in ("text_notice", "news_notice"):
        raise ValueError("card_type must be text_notice or news_notice")
    title = _object(body, "main_title").get("title")
    if not title and (kind == "news_notice" or not body.get("sub_title_text")):
        raise ValueError("a card needs main_title.title (a text_notice may have sub_title_text)")
    action = _object(body, "card_action")
    if action.get("type") != 1:
        raise ValueError("a card needs card_action with type 1 and a url")
    _require(action, "card_action", "url")
    if kind == "news_notice":
        _require(_object(body, "card_image"), "card_image", "url")
    rows = [_row(row) for row in _objects(body, "horizontal_content_list") if row.get("value")]
    jumps = [jump for jump in _objects(body, "jump_list") if _is_usable(jump)]
    if len(rows) > MAX_ROWS or len(jumps) > MAX_JUMPS:
        raise ValueError(f"a card has at most {MAX_ROWS} rows and {MAX_JUMPS} jumps")
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
        raise ValueError(f"{key} must be a list of objects")
    return value


def _is_usable(jump: Body) -> bool:
    return bool(jump.get("title")) and (jump.get("type") != 1 or is_web_address(jump.get("url")))


def _require(item: Body, where: str, *keys: str) -> None:
    for key in keys:
        if not item.get(key) or (key == "url" and not is_web_address(item[key])):
            kind = " that begins with http:// or https://" if key == "url" else ""
            raise ValueError(f"{where} needs a {key}{kind}")
