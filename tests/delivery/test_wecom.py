"""The errcode policy as a table, and the client against answers of every kind."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import requests
import responses
import urllib3
from far_side import check_storable
from hypothesis import given
from hypothesis import strategies as st

from bridge.delivery.deadline import surroundings
from bridge.delivery.wecom import Client, classify, core_message, proxy_problems, upload_url
from bridge.model import Bot, Message, Secret, Verdict

KEY = "0f9d-secret-key"
URL = f"https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key={KEY}"
BOT = Bot("default", Secret(URL))
MESSAGE = Message("markdown", {"content": '"quoted" \\ 版本'})

POLICY = [
    (0, Verdict.SENT),
    (-1, Verdict.RETRY),
    (45033, Verdict.RETRY),
    (45009, Verdict.REST),
    (93000, Verdict.STOP),
    (93004, Verdict.STOP),
    (93008, Verdict.STOP),
    (40008, Verdict.PARK),
    (44004, Verdict.PARK),
    (40058, Verdict.PARK),
    (40007, Verdict.PARK),
    (41006, Verdict.PARK),
    (44001, Verdict.PARK),
    (40004, Verdict.PARK),
    (40005, Verdict.PARK),
    (40006, Verdict.PARK),
    (40009, Verdict.PARK),
    (45001, Verdict.PARK),
    (301019, Verdict.PARK),
    (123456, Verdict.PARK),
]


@pytest.mark.parametrize("status", [200, 400, 404, 429, 500, 502])
@pytest.mark.parametrize(("errcode", "verdict"), POLICY)
def test_the_errcode_decides_whatever_the_status(
    errcode: int, verdict: Verdict, status: int
) -> None:
    outcome = classify(status, json.dumps({"errcode": errcode, "errmsg": "x"}).encode())
    assert (outcome.verdict, outcome.errcode) == (verdict, errcode)


@pytest.mark.parametrize(
    ("status", "reply", "verdict", "reason"),
    [
        (200, b"<html>", Verdict.RETRY, "not_json"),
        (200, b"", Verdict.RETRY, "not_json"),
        (200, b"[]", Verdict.RETRY, "not_json"),
        (200, b'{"errcode": null}', Verdict.RETRY, "not_json"),
        (200, b'{"ok": true}', Verdict.RETRY, "not_json"),
        (302, b"", Verdict.RETRY, "http_302"),
        (429, b"<html>", Verdict.RETRY, "http_429"),
        (500, b"{}", Verdict.RETRY, "http_500"),
        (502, b"<html>", Verdict.RETRY, "http_502"),
        (400, b"<html>", Verdict.PARK, "http_400"),
        (413, b"<html>", Verdict.PARK, "http_413"),
        (401, b"", Verdict.STOP, "wrong_address"),
        (403, b"", Verdict.STOP, "wrong_address"),
        (404, b"<html>", Verdict.STOP, "wrong_address"),
        (405, b"", Verdict.STOP, "wrong_address"),
        (410, b"", Verdict.STOP, "wrong_address"),
        (407, b"<html>", Verdict.RETRY, "proxy"),
        (408, b"", Verdict.RETRY, "http_408"),
        (421, b"", Verdict.RETRY, "http_421"),
        (425, b"", Verdict.RETRY, "http_425"),
    ],
)
def test_without_an_errcode_the_status_decides(
    status: int, reply: bytes, verdict: Verdict, reason: str
) -> None:
    outcome = classify(status, reply)
    assert (outcome.verdict, outcome.reason, outcome.errcode) == (verdict, reason, None)


def test_an_errcode_written_as_text_counts_as_well() -> None:
    assert classify(200, b'{"errcode":"0","errmsg":"ok"}').verdict is Verdict.SENT


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), (" 120 ", 120.0), ("soon", None), (None, None), ("-5", None)],
)
def test_retry_after_is_read_in_seconds(header: str | None, seconds: float | None) -> None:
    assert classify(429, b"", header).retry_after == seconds


def test_retry_after_may_be_a_date_and_one_in_the_past_means_now() -> None:
    assert classify(503, b"", "Wed, 21 Oct 2015 07:28:00 GMT").retry_after == 0.0
    soon = format_datetime(datetime.now(UTC) + timedelta(hours=2))
    found = classify(503, b"", soon).retry_after
    assert found is not None and 3600 < found <= 7200


@pytest.mark.parametrize(
    "header",
    [
        "Wed, 21 Oct 2099 07:28:00 GMT",
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "Wed, 21 Oct 99999999999 07:28:00 GMT",
        "Wed, 21 Oct 2026 07:28:00 -0000",
        "Wed, 21 Oct 2026 07:28:00 +99999999999999",
        "86401",
        "999999999",
        "9" * 5000,
        "٣",
        "",
    ],
)
def test_an_absurd_retry_after_is_ignored(header: str) -> None:
    outcome = classify(503, b"", header)
    assert (outcome.verdict, outcome.retry_after) == (Verdict.RETRY, None)


@pytest.mark.parametrize(
    "errcode",
    ["99999999999999999999", "-99999999999999999999", "2147483648", "1e999", "-1e999", "0.9", "0.0",
     "NaN", "false", "true", '"ok"', '""', '"0x0"', '"1.0"', '"٠"', '"99999999999"', "[]", "[0]",
     "{}"],
)  # fmt: skip
def test_an_errcode_that_is_no_whole_number_of_sane_size_is_not_wecoms(errcode: str) -> None:
    outcome = classify(200, f'{{"errcode": {errcode}, "errmsg": "ok"}}'.encode())
    assert (outcome.verdict, outcome.reason) == (Verdict.RETRY, "not_wecom")
    assert outcome.errcode is None


@pytest.mark.parametrize("errcode", [0, -1, 40058])
@pytest.mark.parametrize(
    ("errmsg", "shown"),
    [
        ("ok\0", "ok "),
        ("\ud800busy", " busy"),
        ("a\r\nb\x1b[31m", "a  b [31m"),
        ("x" * 5000, "x" * 200),
        (" " * 50_000, " " * 200),
        (["ok"], ""),
        (7, ""),
    ],
)
def test_an_errmsg_is_short_and_without_control_characters(
    errcode: int, errmsg: object, shown: str
) -> None:
    reply = json.dumps({"errcode": errcode, "errmsg": errmsg}).encode()
    outcome = classify(200, reply)
    assert (outcome.errcode, outcome.detail) == (errcode, shown)


TEXT = st.text(st.characters(), max_size=30)  # lone surrogates too
VALUE = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
JSON = VALUE | st.lists(VALUE, max_size=2) | st.dictionaries(TEXT, VALUE, max_size=2)
ANSWERS = st.fixed_dictionaries(
    {"errcode": JSON | st.sampled_from([0, -1, 45009, 93000, 40058]), "errmsg": JSON},
    optional={"media_id": JSON},
)


@given(
    status=st.integers(100, 999),
    reply=st.binary() | ANSWERS.map(lambda answer: json.dumps(answer).encode()),
    retry_after=st.none() | st.text(st.characters(max_codepoint=255)) | st.integers().map(str),
)
def test_whatever_is_answered_the_outcome_can_be_stored(
    status: int, reply: bytes, retry_after: str | None
) -> None:
    check_storable(classify(status, reply, retry_after))


def test_the_tail_of_an_errmsg_is_not_shown() -> None:
    errmsg = (
        "invalid webhook url, hint: [1444361118123456789012345], from ip: 10.1.2.3, "
        "more info at https://open.work.weixin.qq.com/devtool/query?e=93000"
    )
    assert core_message(errmsg) == "invalid webhook url"
    assert core_message("ok") == "ok"
    assert core_message(None) == ""


@responses.activate
def test_it_posts_utf8_json_that_says_just_what_the_message_says() -> None:
    responses.post(URL, json={"errcode": 0, "errmsg": "ok"})
    outcome = Client().send(BOT, MESSAGE)
    sent = responses.calls[0].request
    assert outcome.verdict is Verdict.SENT
    assert sent.headers["Content-Type"] == "application/json"
    assert json.loads(sent.body.decode()) == {
        "msgtype": "markdown",
        "markdown": {"content": '"quoted" \\ 版本'},
    }
    assert "版本" in sent.body.decode()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (requests.ConnectTimeout(URL), "connect_timeout"),
        (requests.ReadTimeout(URL), "read_timeout"),
        (requests.exceptions.SSLError(URL), "tls"),
        (requests.exceptions.ProxyError(URL), "proxy"),
        (requests.exceptions.InvalidProxyURL(URL), "proxy"),
        (requests.exceptions.InvalidSchema(URL), "proxy"),
        (urllib3.exceptions.InvalidHeader(URL), "connection"),
        (OSError(URL), "connection"),
        (ZeroDivisionError(URL), "unreadable_answer"),
        (RecursionError(URL), "unreadable_answer"),
        (requests.ConnectionError(URL), "connection"),
        (requests.exceptions.ChunkedEncodingError(URL), "connection"),
        (requests.exceptions.ContentDecodingError(URL), "connection"),
    ],
)
@responses.activate
def test_a_broken_transport_is_retried_and_tells_no_key(error: Exception, reason: str) -> None:
    responses.post(URL, body=error)
    outcome = Client().send(BOT, MESSAGE)
    assert (outcome.verdict, outcome.reason) == (Verdict.RETRY, reason)
    assert KEY not in repr(outcome)


@responses.activate
def test_a_redirect_is_not_followed() -> None:
    responses.post(URL, status=302, headers={"Location": "https://elsewhere.invalid/"})
    assert Client().send(BOT, MESSAGE).reason == "http_302"
    assert len(responses.calls) == 1


@responses.activate
def test_an_endless_reply_is_cut() -> None:
    responses.post(URL, body=b"x" * 10_000_000)
    assert Client().send(BOT, MESSAGE).reason == "not_json"


@responses.activate
@pytest.mark.parametrize("media_id", ["", None, 7, "a\0", "\ud800", "x" * 257, ["m"]])
def test_an_upload_that_is_taken_without_a_media_id_is_tried_again(media_id: object) -> None:
    reply = json.dumps({"errcode": 0, "errmsg": "ok", "media_id": media_id})
    responses.post(upload_url(URL), body=reply)
    file = Message("file", {"filename": "a.txt", "data": b"123456"})
    outcome = Client().send(BOT, file)
    assert (outcome.verdict, outcome.reason) == (Verdict.RETRY, "not_wecom")


@responses.activate
def test_a_message_that_is_answered_like_an_upload_is_sent() -> None:
    responses.post(URL, json={"errcode": 0, "errmsg": "ok", "media_id": "m"})
    outcome = Client().send(BOT, MESSAGE)
    assert (outcome.verdict, outcome.media_id) == (Verdict.SENT, "")


def test_the_adapter_retries_nothing_by_itself() -> None:
    assert Client()._caller._adapter.max_retries.total == 0


SOCKS = "socks5h://me:sesame@127.0.0.1:1080"


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({}, []),
        ({"HTTPS_PROXY": "http://proxy:3128"}, []),
        ({"HTTPS_PROXY": "proxy:3128"}, []),
        ({"HTTPS_PROXY": SOCKS}, ["HTTPS_PROXY"]),
        ({"https_proxy": SOCKS.upper()}, ["https_proxy"]),
        ({"ALL_PROXY": "socks4://127.0.0.1:1080"}, ["ALL_PROXY"]),
        ({"HTTPS_PROXY": "quic://127.0.0.1:1080"}, ["HTTPS_PROXY"]),
        ({"HTTP_PROXY": SOCKS}, []),  # not for an https address
        ({"HTTPS_PROXY": SOCKS, "NO_PROXY": ".weixin.qq.com"}, []),
        ({"HTTPS_PROXY": SOCKS, "no_proxy": "*"}, []),
        ({"HTTPS_PROXY": "http://proxy:3128", "ALL_PROXY": SOCKS}, []),
        ({"https_proxy": "http://proxy:3128", "HTTPS_PROXY": SOCKS}, []),
    ],
)
def test_a_proxy_that_cannot_be_used_is_named_without_its_password(
    environ: dict[str, str], named: list[str]
) -> None:
    problems = proxy_problems(environ, [URL, URL])
    assert [problem.split()[0] for problem in problems] == named
    assert "sesame" not in "".join(problems)


@pytest.mark.parametrize(
    "host", ["127.0.0.1:9000", "localhost", "127.8.9.1", "[::1]:9", "a.localhost", "0.0.0.0"]
)
def test_no_proxy_is_used_for_a_loopback_address(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"http://{host}/cgi-bin/webhook/send?key=k"
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, SOCKS)
    assert proxy_problems({"HTTP_PROXY": SOCKS}, [url]) == []
    assert surroundings(url)["proxies"] == {}


def test_a_call_through_a_proxy_that_cannot_be_used_is_retried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for proxy in (SOCKS, "quic://127.0.0.1:1", "http://"):
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        outcome = Client().send(BOT, MESSAGE)
        assert (outcome.verdict, outcome.reason) == (Verdict.RETRY, "proxy")
