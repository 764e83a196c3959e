"""Calls of Pgyer's API: what is sent, and what an answer means."""

import json
import time
import traceback
from urllib.parse import parse_qs

import pytest
import responses
from far_side import drip, far_side
from pgyer_api import KEY, FakePgyer, serve
from support import Clock

from bridge.errors import PgyerError
from bridge.model import Secret
from bridge.pgyer.client import MAX_REPLY, Client, read
from bridge.setting_values import PGYER

DEFAULT = f"{PGYER}/apiv2/app/listMy"
FALLBACK = "https://api.xcxwo.com/apiv2/app/listMy"
GOOD = '{"code":0,"message":"","data":{"list":[]}}'


def outcome(status: int, body: bytes | str) -> str:
    data = body.encode() if isinstance(body, str) else body
    try:
        read(status, data)
    except PgyerError as error:
        return f"{error.outcome} {error.code}"
    return "ok"


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, '{"code":0,"data":[]}', "ok"),
        (200, '{"code":"0"}', "ok"),
        (200, '\ufeff{"code":0.0,"data":{"a":"\\u4e2d\\/\t"}}', "ok"),
        (200, b'{"code":0,"data":"\xff"}', "ok"),
        (200, '{"code":1002,"message":"_api_key not found"}', "wrong_key 1002"),
        (200, '{"code":"1055","message":""}', "wrong_key 1055"),
        (403, '{"code":1002,"message":""}', "wrong_key 1002"),
        (200, '{"code":1081,"message":"error request"}', "refused 1081"),
        (200, '{"code":-1}', "refused -1"),
        (200, "", "away 0"),
        (200, "<html>502 Tengine</html>", "away 0"),
        (502, "<html>502 Tengine</html>", "away 0"),
        (500, '{"code":0,"data":[]}', "away 0"),
        (302, '{"code":0,"data":[]}', "away 0"),
        (200, "[]", "away 0"),
        (200, "null", "away 0"),
        (200, '{"message":"x"}', "away 0"),
        (200, '{"code":null}', "away 0"),
        (200, '{"code":{}}', "away 0"),
        (200, '{"code":true}', "away 0"),
        (200, '{"code":"yes"}', "away 0"),
        (200, "[" * 100_000, "away 0"),
        (200, '{"code":' + "9" * 5000 + "}", "away 0"),
        (200, b" " * (MAX_REPLY + 1), "unreadable 0"),
    ],
)
def test_the_code_decides(status: int, body: bytes | str, expected: str) -> None:
    assert outcome(status, body) == expected


@responses.activate
def test_the_key_is_in_the_form_alone_and_no_redirect_is_followed() -> None:
    location = {"Location": "https://evil.example.com/"}
    responses.post("https://pgyer.example.com/apiv2/app/listMy", status=302, headers=location)
    with pytest.raises(PgyerError) as raised:
        Client(Secret(KEY), "https://pgyer.example.com").call("listMy", {"page": "2"})
    assert raised.value.outcome == "away"
    [call] = responses.calls
    assert KEY not in str(call.request.url) + str(call.request.headers)
    assert parse_qs(str(call.request.body)) == {"_api_key": [KEY], "page": ["2"]}
    text = "".join(traceback.TracebackException.from_exception(
        raised.value, capture_locals=True).format())  # fmt: skip
    assert KEY not in text


@responses.activate
def test_another_host_is_asked_only_for_the_default_and_only_where_one_is_away() -> None:
    down = responses.post(DEFAULT, body=ConnectionError(f"_api_key={KEY}"))
    good = responses.post(FALLBACK, body=GOOD, headers={"Date": "Fri, 20 Nov 2026 06:05:31 GMT"})
    client = Client(Secret(KEY))
    reply = client.call("listMy", {})
    assert reply.data == {"list": []} and reply.at == 1795154731.0
    client.call("listMy", {})
    assert (down.call_count, good.call_count) == (1, 2)  # the one that answered is asked first
    with pytest.raises(PgyerError, match="cannot be reached: ConnectionError") as raised:
        Client(Secret(KEY)).call("listMy", {}, hosts=1)
    assert KEY not in str(raised.value)
    assert raised.value.__cause__ is raised.value.__context__ is None

    responses.replace(responses.POST, DEFAULT, body='{"code":1002}')
    with pytest.raises(PgyerError, match="code 1002"):
        Client(Secret(KEY)).call("listMy", {})
    assert good.call_count == 2


@responses.activate
def test_a_date_that_is_none_is_replaced_by_the_bridges_own() -> None:
    responses.post(DEFAULT, body=GOOD, headers={"Date": "yesterday"})
    assert Client(Secret(KEY), clock=lambda: 5.0).call("listMy", {}).at == 5.0


def test_a_real_call_by_http_says_pgyers_time(clock: Clock) -> None:
    fake = FakePgyer(clock)
    fake.upload()
    with serve(fake) as url:
        reply = Client(Secret(KEY), url).call("listMy", {"page": "1"})
        assert reply.at == clock() and reply.data["list"][0]["appKey"] == "demo"
        big = json.dumps({"code": 0, "data": "x" * MAX_REPLY}).encode()
        fake.fault = lambda name: (200, big)
        with pytest.raises(PgyerError, match="more than"):
            Client(Secret(KEY), url).call("listMy", {})


def test_a_whole_call_has_a_deadline() -> None:
    """Also where a byte comes now and then."""
    with far_side(drip(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{", b" ")) as place:
        began = time.monotonic()
        with pytest.raises(PgyerError, match="cannot be reached"):
            Client(Secret(KEY), f"http://{place}").call("listMy", {}, seconds=0.3)
        assert time.monotonic() - began < 5.0
