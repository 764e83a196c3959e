"""The list of events and the page of one."""

import re
from pathlib import Path

from console_client import Console, serve, settle
from support import ROOT

from bridge.model import Verdict


def test_the_list_filters_by_each_of_its_fields(console: Console) -> None:
    console.event({"type": "crashlog", "title": "Shop", "notes": "at line 7"}, "/dev")
    settle(console, Verdict.SENT, "ok", 0)
    for query, shown, hidden in (
        ("", {"OooPlay", "Shop"}, set()),
        ("app=oooplay", {"OooPlay"}, {"Shop"}),
        ("type=crashlog", {"Shop"}, {"OooPlay"}),
        ("bot=dev", {"Shop"}, {"OooPlay"}),
        ("state=sent", {"OooPlay"}, {"Shop"}),
        ("text=line+7", {"Shop"}, {"OooPlay"}),
        ("before=2", {"OooPlay"}, {"Shop"}),
        ("before=-99999999999999999999", {"OooPlay", "Shop"}, set()),
        ("before=99999999999999999999", {"OooPlay", "Shop"}, set()),
        ("before=nonsense", {"OooPlay", "Shop"}, set()),
        ("text=100%25", set(), {"OooPlay", "Shop"}),
    ):
        page = console.page(f"/events?{query}")
        titles = set(re.findall(r'<span class="what"><b>([^<]*)</b>', page))
        assert titles == shown and not titles & hidden, query
    assert "No event matches" in console.page("/events?text=nothing")
    assert 'value="line 7"' in console.page("/events?text=line+7")


def test_an_empty_list_says_what_to_do(visitor: Console) -> None:
    visitor.sign_in()
    assert "Paste the address into Pgyer" in visitor.page("/events")


def test_paging_goes_through_all_events_once(console: Console) -> None:
    for n in range(2, 121):
        console.event({"title": f"App {n}"})
    seen: list[int] = []
    path: str | None = "/events?text=App"
    while path:
        page = console.page(path)
        seen += map(int, re.findall(r'<a class="event" href="/console/events/(\d+)"', page))
        older = re.search(r'rel="next" href="/console(/events\?[^"]*)"', page)
        path = older[1].replace("&amp;", "&") if older else None
    assert seen == list(range(120, 1, -1))


def test_an_event_shows_fields_attempts_and_the_message(console: Console) -> None:
    settle(console, Verdict.RETRY, "system_busy", -1)
    page = console.page("/events/1")
    for shown in (
        "OooPlay",
        "<dt>os_version</dt><dd>2.4</dd>",
        "WeCom is busy",
        "as it said",
        'data-msgtype="markdown"',
        "新版本",
        "&#34;title&#34;: &#34;OooPlay&#34;",
        "data-pending",
    ):
        assert shown in page
    answer = console.get("/events/1/raw")
    assert answer.data.startswith(b'{"type"')
    assert answer.headers["Content-Disposition"] == "attachment; filename=event-1.bin"
    assert answer.mimetype == "application/octet-stream"


def test_bots_that_get_the_same_message_share_one_preview(console: Console) -> None:
    number = console.event({"title": "Both"}, "/dev,default")
    page = console.page(f"/events/{number}")
    assert page.count('class="bubble"') == 1
    assert "dev, default" in page


def test_a_body_that_is_no_text_is_escaped(console: Console) -> None:
    number = console.event(b"\x00\xff <b>no event</b> \xe4\xbd\xa0\n\x1b[31m")
    page = console.page(f"/events/{number}")
    assert r"\x00\xff &lt;b&gt;no event&lt;/b&gt; 你" in page
    assert r"\x1b[31m" in page
    assert "It could not be decoded" in page


def test_what_is_long_is_cut_on_the_page_and_whole_in_the_download(console: Console) -> None:
    number = console.event(
        {"title": "Long", "notes": "很长" * 60_000, **{f"k{n}": n for n in range(300)}}
    )
    page = console.page(f"/events/{number}")
    assert len(page) < 120_000
    assert len(console.get(f"/events/{number}/raw").data) > 240_000


def test_pictures_of_news_are_allowed_on_the_page_that_shows_one(tmp_path: Path) -> None:
    templates = tmp_path / "templates"
    templates.mkdir()
    for file in (ROOT / "templates/examples").glob("*.news.j2"):
        (templates / file.name).write_text(file.read_text())
    console = serve(tmp_path, BRIDGE_TEMPLATES=str(templates))
    console.sign_in()
    link = "https://www.pgyer.com/abcd"
    console.event({"type": "updateVersion", "title": "A", "link": link})
    answer = console.get("/events/1")
    assert 'src="https://www.pgyer.com/app/qrcode/abcd"' in answer.text
    assert "img-src 'self' data: https:;" in answer.headers["Content-Security-Policy"]
    assert "https:" not in console.get("/events").headers["Content-Security-Policy"]
    console.bridge.close()
