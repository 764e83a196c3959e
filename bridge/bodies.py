"""WeCom's JSON bodies, news and template_card: what must be in them, and at what length; pure.

The rules are those of WeCom document 91770. What is missing and optional is left out, since WeCom
refuses an empty text where it expects one; what is missing and required is a ValueError.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from bridge.markdown import shorten
from bridge.model import is_web_address

TITLE, DESCRIPTION = 128, 512  # bytes of a news article; WeCom itself cuts what is longer
MAX_ARTICLES, MAX_ROWS, MAX_JUMPS = 8, 6, 3

Body = dict[str, Any]


def parsed(msgtype: str, text: str) -> Body:
    """Return a rendered body as WeCom takes it; raises ValueError that says what is missing."""
    try:
        body = json.loads(text, strict=False)
    except ValueError as error:
        raise ValueError(f"does not make JSON: {error}") from None
    if not isinstance(body, dict):
        raise ValueError("is no JSON object")
    inner = body[msgtype] if isinstance(body.get(msgtype), dict) else body
    return _BODIES[msgtype](_without_empty(inner))


def _without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        pairs = ((key, _without_empty(item)) for key, item in value.items())
        return {key: item for key, item in pairs if item not in ("", None, {}, [])}
    if isinstance(value, list):
        return [item for item in map(_without_empty, value) if item not in ("", None, {}, [])]
    return value


def _news(body: Body) -> Body:
    articles = body.get("articles")
    if not isinstance(articles, list) or not 1 <= len(articles) <= MAX_ARTICLES:
        raise ValueError(f"news needs 1 to {MAX_ARTICLES} articles")
    return {"articles": [_article(article) for article in articles]}


def _article(article: Body) -> Body:
    _need(article, "title", "an article")
    _need_address(article, "an article")
    limits = {"title": TITLE, "description": DESCRIPTION}
    return {
        key: shorten(str(value), limits[key]) if key in limits else value
        for key, value in article.items()
    }


def _card(body: Body) -> Body:
    kind = body.get("card_type")
    if kind not in ("text_notice", "news_notice"):
        raise ValueError("card_type must be text_notice or news_notice")
    title = _box(body, "main_title").get("title")
    if not title and (kind == "news_notice" or not body.get("sub_title_text")):
        raise ValueError("a card needs main_title.title (a text_notice may have sub_title_text)")
    action = _box(body, "card_action")
    if action.get("type") != 1:
        raise ValueError("a card needs card_action with type 1 and a url")
    _need_address(action, "card_action")
    if kind == "news_notice":
        _need_address(_box(body, "card_image"), "card_image")
    rows = [row for row in body.get("horizontal_content_list", []) if row.get("value")]
    jumps = [jump for jump in body.get("jump_list", []) if _leads_somewhere(jump)]
    for row in rows:
        _need(row, "keyname", "horizontal_content_list")
    if len(rows) > MAX_ROWS or len(jumps) > MAX_JUMPS:
        raise ValueError(f"a card has at most {MAX_ROWS} rows and {MAX_JUMPS} jumps")
    return _without_empty({**body, "horizontal_content_list": rows, "jump_list": jumps})  # type: ignore[no-any-return]


_BODIES: Mapping[str, Callable[[Body], Body]] = {"news": _news, "template_card": _card}


def _box(body: Body, key: str) -> Body:
    value = body.get(key, {})
    return value if isinstance(value, dict) else {}


def _leads_somewhere(jump: Body) -> bool:
    return bool(jump.get("title")) and (jump.get("type") != 1 or is_web_address(jump.get("url")))


def _need(box: Body, key: str, where: str) -> None:
    if not box.get(key):
        raise ValueError(f"{where} needs a {key}")


def _need_address(box: Body, where: str) -> None:
    if not is_web_address(box.get("url")):
        raise ValueError(f"{where} needs a url that begins with http:// or https://")
