"""WeCom's JSON bodies, news and template_card: what must be in them, and at what length; pure.

The rules are those of WeCom document 91770. What is missing and optional is left out, since WeCom
refuses an empty text where it expects one; what is missing and required is a ValueError.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from bridge.messages.markdown import shorten
from bridge.model import is_web_address

TITLE, DESCRIPTION = 128, 512  # bytes of a news article; WeCom itself cuts what is longer
MAX_ARTICLES, MAX_ROWS, MAX_JUMPS = 8, 6, 3

Body = dict[str, Any]


def parsed(msgtype: str, text: str) -> Body:
    """Return a rendered body as WeCom takes it; raises ValueError that says what is missing."""
    try:
        body = json.loads(text, strict=False)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"does not make JSON: {error}") from None
    if not isinstance(body, dict):
        raise ValueError("is no JSON object")
    inner = body[msgtype] if isinstance(body.get(msgtype), dict) else body
    return _BODIES[msgtype](_without_empty(inner))


def _without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        return dict(_kept(value.items()))
    if isinstance(value, list):
        return [item for _, item in _kept(enumerate(value))]
    return value


def _kept(pairs: Iterable[tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
    for key, value in pairs:
        item = _without_empty(value)
        blank = isinstance(item, str) and not item.strip()
        if not blank and item not in (None, {}, []):
            yield key, item


def _news(body: Body) -> Body:
    articles = _boxes(body, "articles")
    if not 1 <= len(articles) <= MAX_ARTICLES:
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
    rows = [_row(row) for row in _boxes(body, "horizontal_content_list") if row.get("value")]
    jumps = [jump for jump in _boxes(body, "jump_list") if _leads_somewhere(jump)]
    if len(rows) > MAX_ROWS or len(jumps) > MAX_JUMPS:
        raise ValueError(f"a card has at most {MAX_ROWS} rows and {MAX_JUMPS} jumps")
    lists = {"horizontal_content_list": rows, "jump_list": [_texts(jump) for jump in jumps]}
    boxes = {key: _texts(value) for key, value in body.items() if isinstance(value, dict)}
    made: Body = _without_empty({**_texts(body), **boxes, **lists})
    return made


def _row(row: Body) -> Body:
    """Return a row as it is shown; one that would lead nowhere is only text."""
    _need(row, "keyname", "horizontal_content_list")
    if row.get("type") == 1 and not is_web_address(row.get("url")):
        row = {key: value for key, value in row.items() if key not in ("type", "url")}
    return _texts(row)


def _texts(box: Body) -> Body:
    """Return a box with numbers as texts, which WeCom wants everywhere but in `type`."""
    return {
        key: str(value) if isinstance(value, int | float) and key not in _NUMBERS else value
        for key, value in box.items()
    }


_NUMBERS = ("type", "desc_color", "aspect_ratio")
_BODIES: Mapping[str, Callable[[Body], Body]] = {"news": _news, "template_card": _card}


def _box(body: Body, key: str) -> Body:
    value = body.get(key, {})
    return value if isinstance(value, dict) else {}


def _boxes(body: Body, key: str) -> list[Body]:
    value = body.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ValueError(f"{key} must be a list of objects")
    return value


def _leads_somewhere(jump: Body) -> bool:
    return bool(jump.get("title")) and (jump.get("type") != 1 or is_web_address(jump.get("url")))


def _need(box: Body, key: str, where: str) -> None:
    if not box.get(key):
        raise ValueError(f"{where} needs a {key}")


def _need_address(box: Body, where: str) -> None:
    if not is_web_address(box.get("url")):
        raise ValueError(f"{where} needs a url that begins with http:// or https://")
