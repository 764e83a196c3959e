"""The console by Flask's client: who gets in, what the pages show, what the buttons do."""

import re
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import requests
from console_client import KEYS, PASSWORD, Console, fill, flashed, path_of, serve
from support import ROOT, TOKEN, Clock, Deployment

from bridge.console import words
from bridge.console.chart import bars
from bridge.console.i18n import choose_language
from bridge.console.sign_in import inside, session_key
from bridge.console.throttle import FAILURES, Brake
from bridge.console.times import Moments
from bridge.delivery.wecom import _POLICY
from bridge.errors import StorageError
from bridge.model import Outcome, Secret, Verdict

PAGES = ("/", "/events", "/events/1", "/bots", "/templates", "/templates/crashlog.markdown.j2")


@pytest.fixture
def visitor(tmp_path: Path) -> Iterator[Console]:
    """A console and somebody who has not signed in."""
    console = serve(tmp_path)
    yield console
    console.bridge.close()


@pytest.fixture
def console(visitor: Console) -> Console:
    """A console and somebody who has signed in, and one event for `default`."""
    visitor.sign_in()
    visitor.event({"type": "updateVersion", "title": "OooPlay", "os_version": "2.4"})
    return visitor


def settle(console: Console, verdict: Verdict, reason: str, errcode: int | None = None) -> None:
    """Let the next delivery be told with this outcome."""
    [attempt] = console.bridge.outbox.claim(1)
    console.bridge.outbox.settle(attempt, Outcome(verdict, reason, "as it said", errcode))


def states(console: Console, event: int = 1) -> list[tuple[str, str]]:
    return [(d.target.bot, d.state) for d in console.bridge.queries.deliveries(event)]


# Who gets in


def test_without_a_password_nothing_of_it_exists(tmp_path: Path) -> None:
    console = serve(tmp_path, BRIDGE_ADMIN_PASSWORD="")
    for path in ("", "/", "/sign-in", "/events", "/static/console.css", "/nowhere"):
        answer = console.get(path)
        assert answer.status_code == 404
        assert answer.json == {"error": "not found"}
    assert console.client.post("/console/sign-in").status_code == 404
    console.bridge.close()


def test_every_page_leads_to_the_sign_in_and_back(visitor: Console) -> None:
    for path in (*PAGES, "/nowhere", "/events/1/raw"):
        answer = visitor.get(path)
        assert (answer.status_code, path_of(answer)) == (303, "/console/sign-in")
    for path in ("/events/1/send-again", "/bots/dev/test", "/templates/preview", "/nowhere"):
        answer = visitor.client.post(f"/console{path}")
        assert (answer.status_code, path_of(answer)) == (303, "/console/sign-in")
    assert "OooPlay" not in visitor.get("/events", follow_redirects=True).text
    answer = visitor.sign_in(next="/console/events?state=parked")
    assert answer.headers["Location"] == "/console/events?state=parked"
    assert visitor.get("/events").status_code == 200


@pytest.mark.parametrize(
    "elsewhere",
    ["https://evil.example/console/", "//evil.example/console/", "/pgyer", "/console/\\evil",
     "javascript:alert(1)", "http://[bad/console/", "console/", ""],
)  # fmt: skip
def test_signing_in_leads_nowhere_else(visitor: Console, elsewhere: str) -> None:
    assert visitor.sign_in(next=elsewhere).headers["Location"] == "/console/"
    with visitor.app.test_request_context():
        assert inside(elsewhere) == "/console/"


def test_a_wrong_password_is_told_so_and_does_not_sign_in(visitor: Console) -> None:
    for wrong in ("", "wrong", PASSWORD[:-1], PASSWORD + "x", "密码"):
        answer = visitor.sign_in(wrong)
        assert answer.status_code == 401
        assert "This is not the password" in answer.text
    assert visitor.get("/").status_code == 303


def test_after_five_failures_even_the_password_has_to_wait(visitor: Console) -> None:
    for _ in range(FAILURES):
        assert visitor.sign_in("wrong").status_code == 401
    answer = visitor.sign_in()
    assert answer.status_code == 429
    wait = int(answer.headers["Retry-After"])
    assert 0 < wait <= 60
    assert f"Try again in {wait} seconds" in answer.text
    other = visitor.client.post(
        "/console/sign-in",
        data={"csrf_token": visitor.token(), "password": PASSWORD},
        headers={"X-Forwarded-For": "203.0.113.9"},
    )
    assert other.status_code == 303


def test_only_the_nearest_hop_says_who_is_calling(visitor: Console) -> None:
    """What a caller writes into X-Forwarded-For himself stands before what the router appends."""
    for n in range(FAILURES + 1):
        answer = visitor.client.post(
            "/console/sign-in",
            data={"csrf_token": visitor.token(), "password": "wrong"},
            headers={"X-Forwarded-For": f"198.51.100.{n}, 203.0.113.9"},
        )
    assert answer.status_code == 429


def test_the_brake_counts_by_address_and_forgets_in_time() -> None:
    clock = Clock()
    brake = Brake(clock)
    for _ in range(FAILURES):
        assert brake.enter("192.0.2.1") == 0
    assert brake.enter("192.0.2.1") == 60
    clock.advance(59)
    assert brake.enter("192.0.2.1") == 1
    assert brake.enter("192.0.2.2") == 0
    clock.advance(1)
    assert brake.enter("192.0.2.1") == 0
    brake.forget("192.0.2.1")
    for _ in range(FAILURES):
        assert brake.enter("192.0.2.1") == 0


def test_the_metrics_are_no_way_round_the_brake(visitor: Console) -> None:
    for _ in range(FAILURES):
        assert visitor.client.get("/metrics").status_code == 401  # nobody has guessed anything
    for _ in range(FAILURES):
        assert visitor.client.get("/metrics", auth=("x", "wrong")).status_code == 401
    answer = visitor.client.get("/metrics", auth=("x", PASSWORD))
    assert answer.status_code == 429
    assert 0 < int(answer.headers["Retry-After"]) <= 60
    assert visitor.sign_in().status_code == 429


def test_a_scraper_that_knows_the_password_is_never_slowed(visitor: Console) -> None:
    for _ in range(2 * FAILURES):
        assert visitor.client.get("/metrics", auth=("x", PASSWORD)).status_code == 200


def test_a_whole_ipv6_network_is_one_address() -> None:
    brake = Brake(Clock())
    waits = [brake.enter(f"2001:db8:1:2::{n:x}") for n in range(FAILURES + 1)]
    assert waits[-1] == 60
    assert brake.enter("2001:db8:1:3::1") == 0
    assert brake.enter("no address at all") == 0


def test_the_brake_has_a_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.console.throttle.ADDRESSES", 3)
    brake = Brake(Clock())
    for n in range(5):
        brake.enter(f"192.0.2.{n}")
    assert list(brake._failures) == ["192.0.2.2", "192.0.2.3", "192.0.2.4"]


def test_signing_out_ends_the_session_and_keeps_the_language(console: Console) -> None:
    console.post("/language", language="en")
    assert "You are signed out" in flashed(console, console.post("/sign-out"))
    assert console.get("/").status_code == 303
    assert "Sign in" in console.page("/sign-in", language="zh")


def test_the_cookie_is_for_the_console_and_out_of_scripts_reach(visitor: Console) -> None:
    cookie = visitor.sign_in().headers["Set-Cookie"]
    for part in ("bridge_console=", "HttpOnly", "SameSite=Lax", "Path=/console", "Expires="):
        assert part in cookie
    assert "Secure" not in cookie
    assert PASSWORD not in cookie


def test_behind_https_the_cookie_is_secure_and_forms_work(visitor: Console) -> None:
    """Our Referrer-Policy withholds the Referer, on which Flask-WTF insists by default."""
    https = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "bridge.example"}
    visitor.client = visitor.app.test_client(use_cookies=False)
    page = visitor.get("/sign-in", headers=https)
    assert "Secure" in page.headers["Set-Cookie"]
    cookie = page.headers["Set-Cookie"].partition(";")[0]
    [token] = set(re.findall(r'name="csrf_token" value="([^"]+)"', page.text))
    answer = visitor.client.post(
        "/console/sign-in",
        data={"csrf_token": token, "password": PASSWORD},
        headers={**https, "Cookie": cookie},
    )
    assert answer.status_code == 303
    assert "Secure" in answer.headers["Set-Cookie"]
    signed_in = {**https, "Cookie": answer.headers["Set-Cookie"].partition(";")[0]}
    assert f"https://bridge.example/pgyer/{TOKEN}" in visitor.get("/", headers=signed_in).text


def test_workers_agree_on_sessions_and_a_new_password_ends_them(
    visitor: Console, tmp_path: Path
) -> None:
    cookie = visitor.sign_in().headers["Set-Cookie"].partition(";")[0]
    answers = {}
    for name, more in {
        "same": {},
        "other": {"BRIDGE_ADMIN_PASSWORD": "a-new-password"},
    }.items():
        worker = serve(tmp_path, **more)
        client = worker.app.test_client(use_cookies=False)
        answers[name] = client.get("/console/", headers={"Cookie": cookie}).status_code
        worker.bridge.close()
    assert answers == {"same": 200, "other": 303}
    tokens = [Secret(TOKEN)]
    keys = {session_key(Secret("a"), tokens), session_key(Secret("b"), tokens),
            session_key(Secret("a"), [Secret("other")])}  # fmt: skip
    assert len(keys) == 3


@pytest.mark.parametrize(
    "path",
    ["/events/1/send-again", "/events/1/send-to", "/deliveries/1/done", "/deliveries/1/retry",
     "/bots/default/test", "/bots/default/resume", "/templates/preview",
     "/templates/crashlog.markdown.j2/download", "/sign-out", "/sign-in", "/language"],
)  # fmt: skip
def test_no_post_without_its_page(console: Console, path: str) -> None:
    before = states(console)
    for token in ("", "made-up"):
        data = {"csrf_token": token, "bot": "dev", "event": "1", "password": PASSWORD}
        answer = console.client.post(
            f"/console{path}", data=data, headers={"Accept-Language": "en"}
        )
        assert answer.status_code == 400
        assert "open for too long" in answer.text
    assert states(console) == before
    assert console.get("/").status_code == 200


def test_the_receiver_needs_no_token_of_the_console(visitor: Console) -> None:
    assert visitor.client.post(f"/pgyer/{TOKEN}", data="{}").status_code == 200


@pytest.mark.parametrize("path", [*PAGES, "/sign-in", "/nowhere", "/events/1/raw"])
def test_every_page_has_the_headers(console: Console, path: str) -> None:
    headers = console.get(path).headers
    policy = headers["Content-Security-Policy"]
    assert policy == (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"


def test_the_style_sheet_may_be_kept_and_needs_no_sign_in(visitor: Console) -> None:
    for name in ("console.css", "console.js"):
        with visitor.get(f"/static/{name}") as answer:
            assert answer.status_code == 200
            assert "no-store" not in answer.headers["Cache-Control"]
            tag = answer.headers["ETag"]
        with visitor.get(f"/static/{name}", headers={"If-None-Match": tag}) as again:
            assert again.status_code == 304


@pytest.mark.parametrize("path", PAGES)
def test_no_page_has_anything_inline(console: Console, path: str) -> None:
    page = console.page(path)
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", page)
    assert re.findall(r"<script[^>]*>([^<]*)</script>", page) == [""]


def test_secrets_stand_where_they_are_copied_from_and_nowhere_else(console: Console) -> None:
    settle(console, Verdict.STOP, "invalid_webhook", 93000)
    for path in (*PAGES, "/events/1/raw", "/sign-in", "/nowhere"):
        page = console.get(path).text
        for secret in (*KEYS, PASSWORD):
            assert secret not in page.replace("key-of-default/", "")
        assert (TOKEN in page) is (path == "/")


# What the pages show


def test_the_overview_says_that_all_is_well(console: Console) -> None:
    settle(console, Verdict.SENT, "ok", 0)
    page = console.page("/")
    assert "All is well" in page
    assert "WeCom took it" in page
    assert "1 of 18 calls" in page
    assert f'value="http://localhost/pgyer/{TOKEN}"' in page
    assert f'value="http://localhost/pgyer/{TOKEN}/dev"' in page
    for label in (
        "应用 → 设置 → Webhook 设置 → 创建 Webhook",
        "其他指定URL",
        "选择订阅内容",
        "开启",
    ):
        assert label in page


@pytest.fixture(autouse=True)
def _dispatching(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing dispatches in these tests, which is no trouble that their pages should tell."""
    monkeypatch.setattr("bridge.delivery.dispatcher.Dispatcher.alive", property(lambda self: True))


def test_the_overview_says_what_is_wrong_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    templates = tmp_path / "templates"
    templates.mkdir()
    (templates / "bad.markdown.j2").write_text("fine\n{% if %}")
    console = serve(tmp_path, BRIDGE_TEMPLATES=str(templates))
    console.sign_in()
    for title in ("A", "B", "C"):
        console.event({"title": title})
    settle(console, Verdict.PARK, "invalid_parameter", 40058)
    settle(console, Verdict.STOP, "robot_not_in_group", 93008)
    monkeypatch.setattr("bridge.delivery.dispatcher.Dispatcher.alive", False)
    page = console.page("/")
    assert "things need you" in page and "All is well" not in page
    for shown in (
        "the dispatcher does not run",
        "The bot default is stopped: the robot is no longer in the group",
        "into WECOM_BOT_KEY and restart",
        "WeCom refused deliveries in the last 24 hours: 1.",
        "bad.markdown.j2:2:",
        'href="/console/events?state=parked"',
        'href="/console/templates/bad.markdown.j2"',
    ):
        assert shown in page
    console.bridge.close()


def test_the_overview_tells_of_what_waits_for_too_long_or_expired(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = time.time() + 3600
    monkeypatch.setattr("bridge.storage.database.Database.time", lambda self: later, raising=True)
    app = serve(Path(console.bridge.settings.database_url.reveal()[10:]).parent)
    app.sign_in()
    assert "waits for 60 minutes" in app.page("/")
    app.bridge.outbox._clock = lambda: later + 90000
    app.bridge.outbox.claim(1)
    app.bridge.outbox._clock = lambda: later
    assert "expired unsent in the last 24 hours: 1." in app.page("/")
    assert "it waited for too long" in app.page("/events/1")
    app.bridge.close()


def test_the_address_is_the_public_one_where_that_is_known(tmp_path: Path) -> None:
    console = serve(
        tmp_path, BRIDGE_PUBLIC_URL="https://hooks.example/b/", BRIDGE_TOKEN=f"{TOKEN},x"
    )
    console.sign_in()
    page = console.page("/")
    assert f'value="https://hooks.example/b/pgyer/{TOKEN}"' in page
    assert "pgyer/x" not in page
    console.bridge.close()


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
    assert "No event among these matches" in console.page("/events?text=nothing")
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
    settle(console, Verdict.RETRY, "read_timeout")
    page = console.page("/events/1")
    for shown in (
        "OooPlay",
        "<dt>os_version</dt><dd>2.4</dd>",
        "no answer in time: it may have arrived all the same",
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


def test_bots_that_are_told_the_same_share_one_picture_of_it(console: Console) -> None:
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


def test_hostile_events_are_text_on_every_page(console: Console) -> None:
    evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)> {{ 7*7 }} %(x)s %s"
    number = console.event(
        {"type": evil, "title": evil, "notes": evil, "link": "javascript:alert(1)",
         "os_version": evil, "device_type": evil, "action": evil, evil: evil}
    )  # fmt: skip
    for path in (
        "/", "/events", f"/events/{number}", "/templates",
        f"/templates/default.markdown.j2?id={number}", f"/events?text={evil}&type={evil}",
    ):  # fmt: skip
        page = console.page(path)
        assert "<script>" not in page and "<img" not in page
        assert 'href="javascript' not in page
        assert "{{ 7*7 }}" in page or path in ("/", "/templates")


def test_what_is_long_is_cut_on_the_page_and_whole_in_the_download(console: Console) -> None:
    number = console.event(
        {"title": "Long", "notes": "很长" * 60_000, **{f"k{n}": n for n in range(300)}}
    )
    page = console.page(f"/events/{number}")
    assert len(page) < 120_000
    assert len(console.get(f"/events/{number}/raw").data) > 240_000


def test_a_picture_of_news_is_allowed_where_one_is_shown(tmp_path: Path) -> None:
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


@pytest.mark.parametrize(
    "path", ["/events/99", "/nowhere", "/bots/none", "/templates/none.j2", "/events/99/raw",
             "/templates/..%2f..%2fpyproject.toml", "/events/1/send-again",
             "/templates/crashlog.markdown.j2?event=nonsense", "/events/99999999999999999999"]
)  # fmt: skip
def test_what_is_not_there_has_a_friendly_page(console: Console, path: str) -> None:
    answer = console.get(path, headers={"Accept-Language": "en"})
    assert answer.status_code == 404
    assert "There is no" in answer.text and "To the overview" in answer.text


def test_a_database_that_does_not_answer_is_said(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise StorageError("disk I/O error")

    monkeypatch.setattr(console.bridge.queries, "bots", fail)
    answer = console.get("/bots", headers={"Accept-Language": "en"})
    assert answer.status_code == 503
    assert "The database does not answer: disk I/O error" in answer.text


def test_a_mistake_of_our_own_has_a_page_too(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console.bridge.queries, "bots", lambda now: 1 / 0)
    answer = console.get("/bots", headers={"Accept-Language": "en"})
    assert answer.status_code == 500
    assert "a mistake of the bridge itself" in answer.text
    assert "frame-ancestors" in answer.headers["Content-Security-Policy"]


# What the buttons do


def test_send_again_tells_the_same_bots_once_more(console: Console) -> None:
    number = console.event({"title": "Both"}, "/dev,default")
    answer = console.post(f"/events/{number}/send-again")
    assert answer.status_code == 303
    assert path_of(answer) == f"/console/events/{number}"
    assert "sent again to dev, default" in flashed(console, answer)
    assert [bot for bot, _ in states(console, number)] == ["dev", "default"] * 2


def test_send_again_leaves_out_bots_that_are_gone(console: Console, tmp_path: Path) -> None:
    number = console.event({"title": "Dev only"}, "/dev")
    console.bridge.close()
    later = serve(tmp_path, WECOM_BOT_KEY_DEV="")
    later.sign_in()
    answer = later.post(f"/events/{number}/send-again")
    assert "Choose one to send it to" in flashed(later, answer)
    assert states(later, number) == [("dev", "pending")]
    later.bridge.close()


def test_send_to_another_bot(console: Console) -> None:
    assert "sent to dev" in flashed(console, console.post("/events/1/send-to", bot="dev"))
    assert states(console) == [("default", "pending"), ("dev", "pending")]
    assert console.post("/events/1/send-to", bot="nobody").status_code == 404
    assert console.post("/events/99/send-to", bot="dev").status_code == 404
    assert console.post("/events/99/send-again").status_code == 404


def test_a_parked_delivery_is_tried_again_or_done(console: Console) -> None:
    settle(console, Verdict.PARK, "empty_content", 44004)
    assert "Mark as done" in console.page("/events/1")
    assert "tried again" in flashed(console, console.post("/deliveries/1/retry", event="1"))
    assert states(console) == [("default", "pending")]
    answer = console.post("/deliveries/1/retry", event="1")
    assert "Nothing was changed" in flashed(console, answer)
    assert "marked as done" in flashed(console, console.post("/deliveries/1/done", event="1"))
    assert states(console) == [("default", "expired")]
    assert "marked as done by hand" in console.page("/events/1")
    assert "Nothing was changed" in flashed(console, console.post("/deliveries/1/done", event="1"))
    assert "All is well" in console.page("/")
    for wrong in ({"event": "2"}, {"event": "x"}, {"event": "9" * 30}, {}):
        assert console.post("/deliveries/1/done", **wrong).status_code == 404
    assert console.post("/deliveries/9/done", event="1").status_code == 404


def test_a_test_message_and_trying_a_stopped_bot_again(console: Console) -> None:
    settle(console, Verdict.STOP, "invalid_webhook", 93000)
    page = console.page("/bots")
    assert "stopped" in page and "webhook&#39;s key is wrong" in page and "Next try" in page
    answer = console.post("/bots/default/resume")
    assert (answer.status_code, path_of(answer)) == (303, "/console/bots")
    assert "default is tried again now" in flashed(console, answer)
    assert console.bridge.queries.bots(time.time())[0].stopped == ""
    answer = console.post("/bots/dev/test")
    assert "A test message is on its way to dev" in flashed(console, answer)
    number = int(path_of(answer).rpartition("/")[2])
    assert ("dev", "pending") in states(console, number)
    assert "测试消息" in console.page(f"/events/{number}")
    for action in ("test", "resume"):
        assert console.post(f"/bots/nobody/{action}").status_code == 404


def test_an_action_wakes_the_dispatcher(console: Console) -> None:
    woken = console.bridge.dispatcher._wake
    settle(console, Verdict.PARK, "empty_content", 44004)
    for path, form in (
        ("/events/1/send-again", {}),
        ("/events/1/send-to", {"bot": "dev"}),
        ("/bots/dev/test", {}),
        ("/bots/dev/resume", {}),
        ("/deliveries/1/retry", {"event": "1"}),
    ):
        woken.clear()
        console.post(path, **form)
        assert woken.is_set(), path


# Speed


def test_every_page_is_quick_with_a_hundred_thousand_events(tmp_path: Path) -> None:
    """50 ms is the promise on a quiet machine; the bound here leaves room for a busy one."""
    many = serve(tmp_path)
    many.sign_in()
    fill(many.bridge, 100_000, time.time())
    for path in (
        *PAGES, "/events?text=nothing-like-it", "/events?bot=dev&state=parked",
        "/events?before=50000", "/events?state=pending&app=x&type=feedback&text=y",
    ):  # fmt: skip
        took = []
        for _ in range(5):
            began = time.perf_counter()
            assert many.get(path).status_code == 200
            took.append(time.perf_counter() - began)
        assert statistics.median(took) < 0.25, path
    many.bridge.close()


def test_every_page_works_on_postgresql(tmp_path: Path, postgres_url: str) -> None:
    console = serve(tmp_path, DATABASE_URL=postgres_url)
    console.sign_in()
    fill(console.bridge, 1200, time.time())
    for path in (*PAGES, "/events?text=1199&app=应用&type=crashlog&bot=dev&state=sent"):
        assert console.get(path).status_code == 200
    assert "The oldest waiting delivery waits for" in console.page("/")
    console.bridge.close()


def test_it_is_served_by_gunicorn_with_the_forwarded_scheme(
    sandbox: tuple[object, str], deploy: object
) -> None:
    bridge: Deployment = deploy(sandbox[1], BRIDGE_ADMIN_PASSWORD=PASSWORD).start()  # type: ignore[operator]
    https = {"X-Forwarded-Proto": "https"}
    answer = requests.get(f"{bridge.url}/console/sign-in", headers=https, timeout=20)
    assert answer.status_code == 200
    assert "Secure" in answer.headers["Set-Cookie"]
    assert PASSWORD not in bridge.log.read_text()


# Words


def test_every_reason_has_plain_words_in_both_languages(visitor: Console) -> None:
    for language in ("zh", "en"):
        with visitor.app.test_request_context(headers={"Accept-Language": language}):
            choose_language()
            known = [*_POLICY.values(), *((None, reason) for reason in
                     ("read_timeout", "connect_timeout", "tls", "proxy", "connection", "not_json",
                      "interrupted", "internal_error", "too_old", "done_by_hand"))]  # fmt: skip
            for _, reason in known:
                assert "_" not in words.meaning(None, reason)
            assert all("errcode" not in words.meaning(code, "x") for code in _POLICY)
            assert "502" in words.meaning(None, "http_502")
            assert words.meaning(987654, "errcode_987654") != "errcode_987654"
            assert words.meaning(None, "new_reason") == "new_reason"
            for reason in ("robot_disabled", "invalid_webhook"):
                assert "WECOM_BOT_KEY_DEV" in words.stopped_advice("dev", reason)
                assert "WECOM_BOT_KEY" in words.stopped_advice("default", reason)


def test_moments_are_told_in_the_bridges_zone(visitor: Console) -> None:
    clock = Clock()  # 2027-01-15 16:00 in Shanghai
    moments = Moments(ZoneInfo("Asia/Shanghai"), clock)
    at = clock.now
    assert moments.full(at) == "2027-01-15 16:00:00"
    assert moments.iso(at) == "2027-01-15T16:00:00+08:00"
    assert [moments.short(at - ago) for ago in (0, 86400, 400 * 86400)] == [
        "16:00:00", "01-14 16:00", "2025-12-11"
    ]  # fmt: skip
    with visitor.app.test_request_context(headers={"Accept-Language": "en"}):
        choose_language()
        assert [moments.ago(at - ago) for ago in (0, 61, 7300, 200_000)] == [
            "just now", "1 min ago", "2 h ago", "2 d ago"
        ]  # fmt: skip
    assert moments.is_past(at) and not moments.is_past(at + 1)


def test_the_chart_shows_every_hour_that_had_an_event() -> None:
    chart = bars([(0.0, 0), (3600.0, 1), (7200.0, 1000)])
    assert (chart.most, chart.total) == (1000, 1001)
    assert [bar.height for bar in chart.bars] == [1.0, 3.0, 96.0]
    assert [bar.y for bar in chart.bars] == [95.0, 93.0, 0.0]
    assert bars([]).bars == []
