"""The errcode policy as a table, and the client against answers of every kind."""

import json

import pytest
import requests
import responses

from bridge.delivery.wecom import Client, classify, core_message
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
        (403, b"", Verdict.PARK, "http_403"),
        (404, b"<html>", Verdict.PARK, "http_404"),
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
    future = classify(503, b"", "Wed, 21 Oct 2099 07:28:00 GMT").retry_after
    assert future is not None and future > 10**9


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
def test_a_reply_that_trickles_ends_at_the_deadline() -> None:
    ticks = iter([0.0, 100.0])
    responses.post(URL, body=b'{"errcode": 0}')
    outcome = Client(clock=lambda: next(ticks)).send(BOT, MESSAGE)
    assert (outcome.verdict, outcome.reason) == (Verdict.RETRY, "read_timeout")


def test_the_session_retries_nothing_by_itself() -> None:
    adapter = Client()._session.get_adapter(URL)
    assert adapter.max_retries.total == 0  # type: ignore[attr-defined]
