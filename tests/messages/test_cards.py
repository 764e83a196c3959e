"""The bodies that are JSON: what WeCom requires is there, what is empty is left out."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rendering import accepted

from bridge.messages.cards import DESCRIPTION, MAX_ARTICLES, MAX_JUMPS, MAX_ROWS, TITLE, parse_body
from bridge.messages.markdown import size
from bridge.model import Message

URL = "https://www.pgyer.com/oooplay"
ARTICLE = {"title": "OooPlay", "url": URL}
CARD = {
    "card_type": "text_notice",
    "main_title": {"title": "OooPlay"},
    "card_action": {"type": 1, "url": URL},
}
NEWS_CARD = {**CARD, "card_type": "news_notice", "card_image": {"url": URL}}
NOT_ADDRESSES = ["", None, "oooplay", "javascript:alert(1)", "ftp://a.b", "https://", "http://a b"]


def news(*articles: object) -> dict[str, Any]:
    return parse_body("news", json.dumps({"articles": articles}))


def card(**changes: object) -> dict[str, Any]:
    """A text_notice card, or with another `card_type` a news_notice one, with these changes."""
    whole = NEWS_CARD if changes.get("card_type") == "news_notice" else CARD
    return parse_body("template_card", json.dumps({**whole, **changes}))


def row(n: object = 1, value: object = "2.4") -> dict[str, object]:
    return {"keyname": f"row {n}", "value": value}


def jump(n: object = 1, url: object = URL) -> dict[str, object]:
    return {"type": 1, "title": f"jump {n}", "url": url}


# Both kinds


@pytest.mark.parametrize("msgtype", ["news", "template_card"])
@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "does not make JSON"),
        ("{", "does not make JSON"),
        ('{"articles": [1,]}', "does not make JSON"),
        ("[" * 100_000, "does not make JSON"),
        ("[]", "is no JSON object"),
        ('"text"', "is no JSON object"),
        ("null", "is no JSON object"),
        ("{}", "needs|must be"),
    ],
)
def test_what_is_no_body_says_why(msgtype: str, text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_body(msgtype, text)


@pytest.mark.parametrize(("msgtype", "body"), [
    ("news", {"articles": [ARTICLE]}),
    ("template_card", CARD),
    ("template_card", NEWS_CARD),
])  # fmt: skip
def test_the_body_may_stand_alone_or_in_the_whole_message(
    msgtype: str, body: dict[str, Any]
) -> None:
    assert parse_body(msgtype, json.dumps(body)) == body
    assert parse_body(msgtype, json.dumps({msgtype: body})) == body
    assert parse_body(msgtype, json.dumps({"msgtype": msgtype, msgtype: body})) == body
    assert accepted(Message(msgtype, body))


def test_a_line_end_inside_a_string_is_read_as_one() -> None:
    text = '{"articles": [{"title": "a\nb", "url": "https://a.b"}]}'
    assert parse_body("news", text)["articles"][0]["title"] == "a\nb"


@pytest.mark.parametrize("empty", ["", None, {}, [], {"a": ""}, [None, {}], {"a": [{"b": None}]}])
def test_what_is_empty_and_optional_is_left_out(empty: object) -> None:
    assert news({**ARTICLE, "description": empty, "picurl": empty}) == {"articles": [ARTICLE]}
    optional = ("source", "emphasis_content", "quote_area", "sub_title_text", "jump_list")
    assert card(**dict.fromkeys(optional, empty), horizontal_content_list=empty) == CARD


def test_what_is_zero_or_false_is_not_empty() -> None:
    assert card(source={"desc": "x", "desc_color": 0})["source"] == {"desc": "x", "desc_color": 0}


# news


def test_an_article_needs_a_title() -> None:
    for article in ({"url": URL}, {**ARTICLE, "title": ""}, {**ARTICLE, "title": None}):
        with pytest.raises(ValueError, match=r"articles\[\] needs a title"):
            news(ARTICLE, article)


@pytest.mark.parametrize("url", [*NOT_ADDRESSES, 5, ["https://a.b"]])
def test_an_article_needs_a_web_address(url: object) -> None:
    with pytest.raises(ValueError, match=r"articles\[\] needs a url"):
        news(ARTICLE, {**ARTICLE, "url": url})


@pytest.mark.parametrize("articles", [[], "text", {"title": "x"}, 5, None])
def test_news_needs_a_list_of_articles(articles: object) -> None:
    with pytest.raises(ValueError, match=r"news needs 1 to 8 articles|articles must be a list"):
        parse_body("news", json.dumps({"articles": articles}))


@pytest.mark.parametrize("article", ["text", 5, [ARTICLE]])
def test_an_article_that_is_no_object_is_said_to_be_wrong(article: object) -> None:
    with pytest.raises(ValueError, match="article"):
        news(article)


def test_news_takes_eight_articles_and_no_more() -> None:
    assert len(news(*[ARTICLE] * MAX_ARTICLES)["articles"]) == MAX_ARTICLES == 8
    assert accepted(Message("news", news(*[ARTICLE] * 8)))
    with pytest.raises(ValueError, match="1 to 8"):
        news(*[ARTICLE] * 9)


def test_empty_articles_do_not_count() -> None:
    assert news(*[{"title": "", "url": None}] * 5, *[ARTICLE] * 8) == {"articles": [ARTICLE] * 8}


def test_titles_and_descriptions_are_cut_at_their_bytes_and_nothing_else_is() -> None:
    long = "版" * 400
    picture = f"{URL}/{'x' * 2000}.png"
    article = {"title": long, "description": long, "url": URL, "picurl": picture}
    [made] = news(article)["articles"]
    assert size(made["title"]) <= TITLE == 128
    assert size(made["description"]) <= DESCRIPTION == 512
    assert made["title"].endswith("…（已截断，共 400 字）") and made["title"].startswith("版版")
    assert size(made["description"]) >= 0.95 * 512
    assert (made["url"], made["picurl"]) == (URL, picture)


def test_titles_and_descriptions_at_their_limit_are_whole() -> None:
    article = {**ARTICLE, "title": "t" * 128, "description": "版" * 170 + "dd"}
    assert news(article) == {"articles": [article]}


# template_card


@pytest.mark.parametrize(
    "kind", ["", None, "TEXT_NOTICE", "button_interaction", 5, ["text_notice"]]
)
def test_a_card_is_of_one_of_two_kinds(kind: object) -> None:
    with pytest.raises(ValueError, match="card_type must be text_notice or news_notice"):
        card(card_type=kind)


@pytest.mark.parametrize("empty", [{}, None, "OooPlay", {"desc": "x"}, {"title": ""}, []])
def test_a_card_needs_a_title(empty: object) -> None:
    with pytest.raises(ValueError, match=r"a card needs main_title\.title"):
        card(main_title=empty)
    with pytest.raises(ValueError, match=r"a card needs main_title\.title"):
        card(card_type="news_notice", main_title=empty, sub_title_text="notes")


def test_a_text_notice_may_have_a_sub_title_in_its_place() -> None:
    made = card(main_title={"title": ""}, sub_title_text="notes")
    assert "main_title" not in made and accepted(Message("template_card", made))


@pytest.mark.parametrize(
    "action", [None, {}, "x", {"url": URL}, {"type": 2, "url": URL}, {"type": "1", "url": URL}]
)
def test_a_card_needs_an_action_of_type_1(action: object) -> None:
    with pytest.raises(ValueError, match="a card needs card_action with type 1"):
        card(card_action=action)


@pytest.mark.parametrize("url", NOT_ADDRESSES)
def test_a_card_s_action_and_picture_need_a_web_address(url: object) -> None:
    with pytest.raises(ValueError, match="card_action needs a url"):
        card(card_action={"type": 1, "url": url})
    with pytest.raises(ValueError, match="card_image needs a url"):
        card(card_type="news_notice", card_image={"url": url})


def test_a_text_notice_needs_no_picture() -> None:
    assert accepted(Message("template_card", card(card_image=None)))


def test_a_card_takes_six_rows_and_three_jumps_and_no_more() -> None:
    assert (MAX_ROWS, MAX_JUMPS) == (6, 3)
    rows, jumps = [row(n) for n in range(6)], [jump(n) for n in range(3)]
    made = card(horizontal_content_list=rows, jump_list=jumps)
    assert (made["horizontal_content_list"], made["jump_list"]) == (rows, jumps)
    assert accepted(Message("template_card", made))
    for more in ({"horizontal_content_list": [*rows, row()]}, {"jump_list": [*jumps, jump()]}):
        with pytest.raises(ValueError, match="at most 6 rows and 3 jumps"):
            card(**more)


def test_rows_without_a_value_are_dropped_and_do_not_count() -> None:
    empty = [row(value=""), row(value=None), {"keyname": "x"}, {}, None]
    made = card(horizontal_content_list=[*empty, *(row(n) for n in range(6)), *empty])
    assert made["horizontal_content_list"] == [row(n) for n in range(6)]


def test_jumps_that_lead_nowhere_are_dropped_and_do_not_count() -> None:
    nowhere = [*(jump(url=url) for url in NOT_ADDRESSES), {"type": 1, "url": URL}, {}, None]
    made = card(jump_list=[*nowhere, *(jump(n) for n in range(3))])
    assert made["jump_list"] == [jump(n) for n in range(3)]
    assert "jump_list" not in card(jump_list=nowhere)


def test_a_jump_without_an_address_of_its_own_needs_none() -> None:
    kept = [{"type": 0, "title": "only text"}, {"type": 2, "title": "mini", "appid": "wx1"}]
    made = card(jump_list=kept)
    assert made["jump_list"] == kept and accepted(Message("template_card", made))


def test_a_row_with_a_value_needs_a_name() -> None:
    with pytest.raises(ValueError, match="horizontal_content_list needs a keyname"):
        card(horizontal_content_list=[{"keyname": "", "value": "2.4"}])


def test_a_row_that_is_a_link_is_kept_whole() -> None:
    link = {**row(), "type": 1, "url": URL}
    assert card(horizontal_content_list=[link])["horizontal_content_list"] == [link]


@pytest.mark.parametrize("url", NOT_ADDRESSES)
def test_a_row_whose_link_leads_nowhere_does_not_make_wecom_refuse_the_card(url: object) -> None:
    made = card(horizontal_content_list=[{**row(), "type": 1, "url": url}])
    assert accepted(Message("template_card", made))
    assert made["horizontal_content_list"][0]["value"] == "2.4"


@pytest.mark.parametrize("name", ["horizontal_content_list", "jump_list"])
@pytest.mark.parametrize("wrong", ["text", 5, {"keyname": "a"}, ["text"], [5]])
def test_rows_and_jumps_that_are_no_objects_are_said_to_be_wrong(name: str, wrong: object) -> None:
    with pytest.raises(ValueError, match=name):
        card(**{name: wrong})


@pytest.mark.parametrize("number", [5, 2.4, True])
def test_a_number_where_wecom_wants_text_is_text(number: object) -> None:
    made = card(main_title={"title": number}, horizontal_content_list=[row(value=number)])
    assert accepted(Message("template_card", made))
    assert isinstance(made["main_title"]["title"], str)
    assert isinstance(made["horizontal_content_list"][0]["value"], str)


# Whatever it is given

_TEXTS = st.one_of(st.just(""), st.none(), st.just(URL), st.text(max_size=200))
_ARTICLES = st.lists(
    st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("title", "description", "url", "picurl"), _TEXTS)
    ),
    max_size=10,
)
_LINKS = st.fixed_dictionaries({"type": st.sampled_from([0, 1])}, optional={
    "title": _TEXTS, "url": _TEXTS, "keyname": _TEXTS, "value": _TEXTS,
})  # fmt: skip
_BOXES = st.fixed_dictionaries({}, optional={
    "title": _TEXTS, "desc": _TEXTS, "url": _TEXTS, "type": st.sampled_from([0, 1, 2]),
})  # fmt: skip
_CARDS = st.fixed_dictionaries(
    {"card_type": st.sampled_from(["text_notice", "news_notice"])},
    optional={
        "main_title": st.one_of(_BOXES, st.just({"title": "T"})),
        "card_action": st.one_of(_BOXES, st.just({"type": 1, "url": URL})),
        "card_image": st.one_of(_BOXES, st.just({"url": URL})),
        "sub_title_text": _TEXTS,
        "horizontal_content_list": st.lists(_LINKS, max_size=8),
        "jump_list": st.lists(_LINKS, max_size=5),
    },
)


@given(articles=_ARTICLES)
def test_any_news_is_accepted_by_wecom_or_refused_here(articles: list[dict[str, Any]]) -> None:
    try:
        made = news(*articles)
    except ValueError:
        return
    assert accepted(Message("news", made))


@given(whole=_CARDS)
def test_any_card_is_accepted_by_wecom_or_refused_here(whole: dict[str, Any]) -> None:
    try:
        made = parse_body("template_card", json.dumps(whole))
    except ValueError:
        return
    assert accepted(Message("template_card", made))
