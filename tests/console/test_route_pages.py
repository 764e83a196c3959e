"""The page of routes: the rules in words, and events tried against them."""

import json
import re
from html import unescape
from pathlib import Path

import pytest
from console_client import Console, serve, states

RULES = """
[[route]]
type = "crashlog"
app = "商城*"
bots = ["dev"]
mention = ["wangqing"]
template = "crashlog"
quiet = "00:00-23:59"
[[route]]
version = "*preview*"
bots = []
"""


@pytest.fixture
def routed(tmp_path: Path) -> Console:
    (tmp_path / "routes.toml").write_text(RULES)
    console = serve(tmp_path, BRIDGE_ROUTES=str(tmp_path / "routes.toml"))
    console.sign_in()
    return console


def lines(page: str, part: str = "") -> list[str]:
    """Return the text of each line of a list of rules, and of each target, behind a mark."""
    found = re.findall(r"<(?:li|p)(?: (?:class|id)=\"[^\"]*\")?>(.*?)</(?:li|p)>", page, re.DOTALL)
    texts = (" ".join(unescape(re.sub(r"<[^>]*>", " ", text)).split()) for text in found)
    return [text for text in texts if part in text]


def tried(page: str) -> str:
    return page.partition('id="tried"')[2]


def test_the_rules_are_told_in_words_with_what_happens_when_none_matches(routed: Console) -> None:
    page = routed.page("/routes", "zh")
    assert lines(page)[:3] == [
        "第 1 条：类型为 崩溃日志、应用名匹配 商城* → dev，"
        "提醒 @wangqing，模板 crashlog，00:00-23:59 暂缓",
        "第 2 条：版本匹配 *preview* → 不发送",
        "都不匹配 → default",
    ]
    assert "修改后重启生效" in page
    routed.bridge.close()


def test_without_rules_the_page_says_that_all_goes_to_default(console: Console) -> None:
    page = console.page("/routes", "zh")
    assert lines(page)[0] == "没有路由规则：所有通知 → default"
    assert "没有 routes.toml" in page


def test_a_stored_event_is_tried_by_its_id_or_from_the_list(routed: Console) -> None:
    number = routed.event({"type": "crashlog", "title": "商城 iOS"})
    for query in (f"event={number}", f"id={number}", f"event=7&id={number}", f"id=%23{number}+"):
        page = routed.page(f"/routes?{query}", "zh")
        rule, other, target = lines(tried(page))
        assert rule == "✓ 第 1 条：匹配"
        assert other == "– 第 2 条：前面已有规则生效，不再看"
        assert re.fullmatch(
            r"→ dev，提醒 @wangqing，模板 crashlog，截断时附完整文件，暂缓到 \d\d-\d\d 23:59 "
            r"模板 crashlog\.markdown\.j2",
            target,
        )
        assert f'<option value="{number}"' in page
    assert routed.get("/routes?id=99").status_code == 404
    routed.bridge.close()


def test_pasted_json_is_decoded_as_a_request_would_be_and_nothing_is_stored(
    routed: Console,
) -> None:
    body = "{'type': 'updateVersion', 'title': 'A', 'os_version': '2.preview',}"
    page = routed.post("/routes", "/routes", body=body).text
    assert lines(tried(page)) == [
        "✗ Rule 1: type is “new version”, not crash log; app name is “A” and does not match 商城*",
        "✓ Rule 2 matches",
        "→ not sent",
    ]
    assert unescape(page).count(body) == 1
    array = json.dumps([{"type": "feedback", "title": "A"}, {"type": "x"}])
    page = routed.post("/routes", "/routes", body=array).text
    assert lines(tried(page)).count("None of them matches → default") == 2
    assert lines(tried(page), "→ default Template feedback.markdown.j2")
    assert "There is no event 1" in routed.get("/events/1", headers={"Accept-Language": "en"}).text
    routed.bridge.close()


def test_what_cannot_be_decoded_is_tried_as_what_it_would_be(routed: Console) -> None:
    page = routed.post("/routes", "/routes", body="no event at all").text
    assert "It could not be decoded" in page
    assert "type is “not decodable”, not crash log" in unescape(page)
    assert lines(tried(page), "→ default Template undecodable.markdown.j2")
    assert re.search(r'/console/routes"\s*aria-current="page"', page)
    with_form = {"csrf_token": routed.token("/routes"), "body": "no event at all"}
    page = routed.client.post(
        "/console/routes", data=with_form, headers={"Accept-Language": "zh"}
    ).text
    assert "既不是 JSON 也不是表单" in page and "neither JSON" not in page
    assert "there is no event in it" in routed.post("/routes", "/routes", body=" \n").text
    assert routed.post("/routes", "/routes", body="x" * 2_000_000).status_code == 413
    routed.bridge.close()


def test_an_event_whose_address_named_its_bots_says_so(routed: Console) -> None:
    number = routed.event({"type": "feedback", "title": "A"}, "/dev")
    assert "its address named them" in routed.page(f"/routes?id={number}")
    other = routed.event({"type": "feedback", "title": "B"})
    assert "its address named them" not in routed.page(f"/routes?id={other}")
    assert states(routed, number) == [("dev", "pending")]
    routed.bridge.close()


def test_hostile_values_are_text(routed: Console) -> None:
    evil = "<script>alert(1)</script>%(x)s %s {{ 7*7 }}"
    body = json.dumps({"type": evil, "title": evil, "os_version": evil})
    page = routed.post("/routes", "/routes", body=body).text
    assert "<script>alert" not in page
    assert "{{ 7*7 }}" in page and "%(x)s %s" in page
    routed.bridge.close()
