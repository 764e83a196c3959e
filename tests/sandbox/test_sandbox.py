"""The sandbox refuses what WeCom refuses, over real HTTP: documents 91770 and 90313."""

import base64
import hashlib
import re
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Literal
from urllib.parse import urlsplit

import pytest
import requests
from click.testing import CliRunner
from support import PATIENCE, Clock, free_port, until

from bridge.cli import commands
from bridge.sandbox import MINUTE, SEND, UPLOAD, Sandbox, serve

PNG = b"\x89PNG\r\n\x1a\n" + bytes(32)
JPG = b"\xff\xd8\xff" + bytes(32)
KEY = "key-of-a"
HI = {"msgtype": "text", "text": {"content": "hi"}}


class Client:
    """One keep-alive connection to a sandbox."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = requests.Session()

    def post(self, path: str, key: str = KEY, **args: Any) -> requests.Response:
        return self.http.post(f"{self.url}{path}?key={key}&type=file", timeout=PATIENCE, **args)

    def send(self, msgtype: str = "text", key: str = KEY, **body: Any) -> dict[str, Any]:
        body = body or {"content": "hi"}
        return self.reply(self.post(SEND, key, json={"msgtype": msgtype, msgtype: body}))

    def upload(self, raw: bytes = b"123456", name: str = "日志.txt", key: str = KEY) -> Any:
        return self.reply(self.post(UPLOAD, key, files={"media": (name, raw)}))

    def reply(self, response: requests.Response) -> dict[str, Any]:
        assert response.status_code == 200
        reply: dict[str, Any] = response.json()
        return reply


@pytest.fixture
def sandbox(clock: Clock) -> Sandbox:
    return Sandbox({KEY: "甲组", "key-of-b": "乙组"}, rate=None, clock=clock)


@contextmanager
def served(sandbox: Sandbox) -> Iterator[Client]:
    with serve(sandbox) as url, (client := Client(url)).http:
        yield client


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[Client]:
    with served(sandbox) as client:
        yield client


def core(reply: dict[str, Any]) -> tuple[int, str]:
    """Return errcode and errmsg without the tail, having checked the tail."""
    tail = (
        r", hint: \[1800000\d{3}\d{15}\], from ip: 127\.0\.0\.1, more info at "
        rf"https://open\.work\.weixin\.qq\.com/devtool/query\?e={reply['errcode']}"
    )
    found = re.fullmatch(f"(.*){tail}", reply["errmsg"])
    assert found, reply["errmsg"]
    return reply["errcode"], found[1]


def image(raw: bytes) -> dict[str, str]:
    return {"base64": base64.b64encode(raw).decode(), "md5": hashlib.md5(raw).hexdigest()}


def articles(count: int = 1, **changes: Any) -> dict[str, Any]:
    article = {"title": "t", "url": "https://a.b", **changes}
    return {"articles": [article] * count}


def card(**changes: Any) -> dict[str, Any]:
    action = {"type": 1, "url": "https://a.b"}
    return {
        "card_type": "text_notice",
        "main_title": {"title": "t"},
        "card_action": action,
        **changes,
    }


ROW, JUMP = {"keyname": "k", "value": "v"}, {"type": 1, "title": "t", "url": "https://a.b"}
NEWS_CARD = {"card_type": "news_notice", "card_image": {"url": "https://a.b/i.png"}}
TOO_LONG = "content exceed max length {}. invalid Request Parameter"


@pytest.mark.parametrize(
    ("msgtype", "body"),
    [
        ("text", {"content": "x" * 2048}),
        ("text", {"content": "", "mentioned_list": ["@all"]}),
        ("text", {"mentioned_mobile_list": ["13800001111"]}),
        ("markdown", {"content": "字" * 1365 + "x"}),
        ("markdown_v2", {"content": "字" * 1365 + "x"}),
        ("image", image(PNG)),
        ("image", image(JPG + bytes((2 << 20) - len(JPG)))),
        ("news", articles(8)),
        ("template_card", card(horizontal_content_list=[ROW] * 6, jump_list=[JUMP] * 3)),
        ("template_card", card(main_title={}, sub_title_text="s")),
        ("template_card", card(**NEWS_CARD)),
    ],
)
def test_a_message_within_the_limits_is_accepted(
    client: Client, sandbox: Sandbox, msgtype: str, body: dict[str, Any]
) -> None:
    assert client.send(msgtype, **body) == {"errcode": 0, "errmsg": "ok"}
    assert [call.payload[msgtype] for call in sandbox.messages(KEY)] == [body]


@pytest.mark.parametrize(
    ("msgtype", "body", "refused"),
    [
        ("text", {"content": ""}, (44004, "empty content")),
        ("text", {"content": " \n", "mentioned_list": []}, (44004, "empty content")),
        ("text", {"content": "字" * 683}, (40058, "text." + TOO_LONG.format(2048))),
        ("markdown", {"content": ""}, (44004, "empty content")),
        ("markdown", {"content": 7, "mentioned_list": ["@all"]}, (44004, "empty content")),
        ("markdown", {"content": "字" * 1366}, (40058, "markdown." + TOO_LONG.format(4096))),
        ("markdown_v2", {"content": "\n"}, (44004, "empty content")),
        ("markdown_v2", {"content": "字" * 1366}, (40058, "markdown_v2." + TOO_LONG.format(4096))),
        ("image", {"md5": "x"}, (44004, "empty content")),
        ("image", image(PNG) | {"md5": "0" * 32}, (301019, "media md5 not match")),
        ("image", image(PNG) | {"base64": "§"}, (301019, "media md5 not match")),
        ("image", image(PNG + bytes(2 << 20)), (40009, "invalid image size")),
        ("image", image(b"GIF89a"), (40004, "invalid media type")),
        ("news", {"articles": []}, (44004, "empty content")),
        ("news", articles(9), (45008, "article size out of limit")),
        ("news", articles(title=""), (41016, "missing title")),
        ("news", articles(url=""), (40058, "invalid Request Parameter")),
        ("file", {"media_id": ""}, (41006, "media_id missing")),
        ("file", {"media_id": "3unknown"}, (40007, "invalid media_id")),
    ],
)
def test_a_message_that_breaks_a_rule_is_refused(
    client: Client, sandbox: Sandbox, msgtype: str, body: dict[str, Any], refused: Any
) -> None:
    assert core(client.send(msgtype, **body)) == refused
    assert sandbox.messages() == []


@pytest.mark.parametrize(
    "changes",
    [
        {"card_type": "button_interaction"},
        {"main_title": {}},
        {"main_title": "t"},
        {"card_action": None},
        {"card_action": {"type": 1}},
        {"card_action": {"type": 2, "url": "https://a.b"}},
        {"horizontal_content_list": [ROW] * 7},
        {"horizontal_content_list": [{"value": "v"}]},
        {"horizontal_content_list": [{**ROW, "type": 1}]},
        {"horizontal_content_list": ["row"]},
        {"jump_list": [JUMP] * 4},
        {"jump_list": [{"type": 1, "url": "https://a.b"}]},
        {"jump_list": [{"type": 1, "title": "t"}]},
        {"card_type": "news_notice"},
        {**NEWS_CARD, "main_title": {}, "sub_title_text": "s"},
    ],
)
def test_a_template_card_that_breaks_a_rule_is_refused(
    client: Client, changes: dict[str, Any]
) -> None:
    reply = client.send("template_card", **card(**changes))
    assert core(reply) == (40058, "invalid Request Parameter")


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b'"text"', b"\xff", "{}".encode("utf-16"), b"[" * 100_000,
     rb'{"msgtype": "text", "text": {"content": "\ud800"}}'],
)  # fmt: skip
def test_a_body_that_is_no_json_object_is_refused(client: Client, raw: bytes) -> None:
    reply = client.reply(client.post(SEND, data=raw))
    assert core(reply) == (40008, "Warning: wrong json format. invalid message type")


@pytest.mark.parametrize("msgtype", [None, 7, [], "", "voice", "Text", "MARKDOWN"])
def test_an_unknown_msgtype_is_refused(client: Client, msgtype: Any) -> None:
    payload = {"msgtype": msgtype, "text": {"content": "hi"}}
    assert core(client.reply(client.post(SEND, json=payload))) == (40008, "invalid message type")
    del payload["msgtype"]
    assert core(client.reply(client.post(SEND, json=payload))) == (40008, "invalid message type")


@pytest.mark.parametrize("key", ["", "other", KEY.upper()])
def test_an_unknown_key_is_refused_before_anything_else(client: Client, key: str) -> None:
    assert core(client.reply(client.post(SEND, key, data=b"{"))) == (93000, "invalid webhook url")
    assert core(client.upload(b"", key=key)) == (40058, "invalid param 'key'")


def test_a_call_without_any_key_is_refused(client: Client) -> None:
    response = client.http.post(client.url + SEND, json={}, timeout=PATIENCE)
    assert core(client.reply(response)) == (93000, "invalid webhook url")


@pytest.mark.parametrize(
    ("query", "errcode"),
    [
        (f"key={KEY}", 0),
        (f"debug=1&key={KEY}", 0),
        (f"key={KEY}&key=other", 0),
        (f"key=other&key={KEY}", 93000),
        (f"key=%{ord(KEY[0]):x}{KEY[1:]}", 0),
        ("key=%ff", 93000),
        (f"KEY={KEY}", 93000),
    ],
)
def test_the_first_key_of_a_query_counts(client: Client, query: str, errcode: int) -> None:
    response = client.http.post(f"{client.url}{SEND}?{query}", json=HI, timeout=PATIENCE)
    assert client.reply(response)["errcode"] == errcode
    assert client.send()["errcode"] == 0  # the connection is still in step


def test_a_query_of_other_bytes_than_ascii_is_an_unknown_key(client: Client) -> None:
    place = urlsplit(client.url)
    with socket.create_connection((place.hostname, place.port), timeout=30) as connection:
        head = b"POST %s?key=\xff HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
        connection.sendall(head % SEND.encode())
        assert b'"errcode":93000' in connection.recv(4096)


def test_without_keys_every_key_is_a_robot_unless_it_begins_with_unknown() -> None:
    sandbox = Sandbox()
    with served(sandbox) as client:
        assert client.send(key="new")["errcode"] == 0
        assert client.send(key="unknown-1")["errcode"] == 93000
        assert client.send(key="")["errcode"] == 93000
    assert list(sandbox.robots) == ["new"]


def test_an_uploaded_file_can_be_sent_by_the_same_robot_for_three_days(
    client: Client, clock: Clock
) -> None:
    uploaded = client.upload()
    media_id = uploaded.pop("media_id")
    assert uploaded == {"errcode": 0, "errmsg": "ok", "type": "file", "created_at": "1800000000"}
    assert client.send("file", media_id=media_id)["errcode"] == 0
    assert core(client.send("file", key="key-of-b", media_id=media_id))[0] == 40007
    clock.now += 3 * 86400 - 1
    assert client.send("file", media_id=media_id)["errcode"] == 0
    clock.now += 1
    assert client.send("file", media_id=media_id)["errcode"] == 40007


@pytest.mark.parametrize(
    ("raw", "refused"),
    [
        (b"12345", (40006, "invalid media size")),
        (bytes((20 << 20) + 1), (45001, "media size out of limit")),
    ],
)
def test_an_upload_of_a_wrong_size_is_refused(client: Client, raw: bytes, refused: Any) -> None:
    assert core(client.upload(raw)) == refused


def test_an_upload_of_just_the_right_size_is_accepted(client: Client) -> None:
    assert client.upload(bytes(6))["errcode"] == 0
    assert client.upload(bytes(20 << 20))["errcode"] == 0


@pytest.mark.parametrize(
    "disposition",
    [
        'form-data; name="other"; filename="a.txt"',
        'form-data; name="media"',
        "form-data; name=\"media\"; filename*=utf-8''a.txt",
    ],
)
def test_an_upload_without_a_plain_media_part_is_refused(client: Client, disposition: str) -> None:
    body = f"--b\r\nContent-Disposition: {disposition}\r\n\r\n1234567\r\n--b--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    reply = client.reply(client.post(UPLOAD, data=body.encode(), headers=headers))
    assert core(reply) == (44001, "empty media data")


@pytest.mark.parametrize(
    "path", ["/cgi-bin/webhook/sendx", SEND.upper(), "/cgi-bin/gettoken", "/other"]
)
def test_any_other_path_is_an_html_404(client: Client, path: str) -> None:
    response = client.post(path, json={"msgtype": "text"})
    assert response.status_code == 404
    assert response.headers["Content-Type"].startswith("text/html")
    assert client.send()["errcode"] == 0  # the connection is still in step


Window = Literal["sliding", "minute"]
OVER = (45009, "api freq out of limit")


def codes(client: Client, count: int, **body: Any) -> list[int]:
    return [client.send(**body)["errcode"] for _ in range(count)]


@pytest.mark.parametrize("window", ["sliding", "minute"])
@pytest.mark.parametrize("count_refused", [False, True])
def test_the_21st_message_of_a_window_blocks_the_robot_for_60_s(
    clock: Clock, window: Window, count_refused: bool
) -> None:
    box = Sandbox({KEY: "", "b": ""}, window=window, count_refused=count_refused, clock=clock)
    with served(box) as client:
        assert codes(client, 20) == [0] * 20
        clock.now += 1
        assert core(client.send()) == OVER
        clock.now += MINUTE - 0.5
        reply = client.reply(client.post(SEND, data=b"{"))
        assert core(reply) == OVER  # the rate is checked before the JSON
        assert client.send(key="b")["errcode"] == 0
        assert client.upload()["errcode"] == 0
        clock.now += 0.5
        assert client.send()["errcode"] == 0
    assert len(box.messages(KEY)) == 21


@pytest.mark.parametrize(("window", "errcode"), [("sliding", 45009), ("minute", 0)])
def test_only_a_sliding_window_reaches_over_the_turn_of_the_minute(
    clock: Clock, window: Window, errcode: int
) -> None:
    with served(Sandbox({KEY: ""}, window=window, clock=clock)) as client:
        clock.now += MINUTE - 1
        assert codes(client, 20) == [0] * 20
        clock.now += 1
        assert client.send()["errcode"] == errcode


@pytest.mark.parametrize("window", ["sliding", "minute"])
@pytest.mark.parametrize(("count_refused", "errcode"), [(False, 0), (True, 45009)])
def test_refused_messages_fill_the_window_only_if_told_so(
    clock: Clock, window: Window, count_refused: bool, errcode: int
) -> None:
    box = Sandbox({KEY: ""}, window=window, count_refused=count_refused, clock=clock)
    with served(box) as client:
        assert codes(client, 20, content="") == [44004] * 20
        assert client.send()["errcode"] == errcode


def test_calls_that_wecom_never_saw_do_not_fill_the_window(clock: Clock) -> None:
    sandbox = Sandbox({KEY: ""}, count_refused=True, clock=clock)
    sandbox.fault(KEY, "502", times=20)
    with served(sandbox) as client:
        for _ in range(20):
            assert client.post(SEND, json={}).status_code == 502
        assert client.send()["errcode"] == 0


@pytest.mark.parametrize(("count_refused", "errcode"), [(False, 0), (True, 45009)])
def test_hammering_a_blocked_robot_keeps_it_blocked_if_refused_calls_count(
    clock: Clock, count_refused: bool, errcode: int
) -> None:
    with served(Sandbox({KEY: ""}, count_refused=count_refused, clock=clock)) as client:
        codes(client, 21)
        clock.now += MINUTE - 1
        assert codes(client, 20) == [45009] * 20
        clock.now += 1
        assert client.send()["errcode"] == errcode


def test_a_rate_of_none_limits_nothing(client: Client) -> None:
    assert codes(client, 50) == [0] * 50


@pytest.mark.parametrize(
    ("fault", "refused"),
    [
        ("busy", (-1, "system busy")),
        (-1, (-1, "system busy")),
        (93000, (93000, "invalid webhook url")),
        ("45033", (45033, "api concurrent out of limit")),
        (40058, (40058, "fault")),
    ],
)
def test_an_errcode_can_be_injected_once(
    client: Client, sandbox: Sandbox, fault: str | int, refused: tuple[int, str]
) -> None:
    sandbox.fault(KEY, fault)
    assert client.send(key="key-of-b")["errcode"] == 0
    assert core(client.send()) == refused
    assert client.send()["errcode"] == 0
    assert len(sandbox.messages(KEY)) == 1


@pytest.mark.parametrize(
    ("fault", "status"),
    [("html", 200), ("429", 429), ("502", 502), ("403", 403), ("404", 404), ("407", 407),
     ("408", 408), ("425", 425)],
)  # fmt: skip
def test_a_proxy_can_answer_in_html_in_place_of_wecom(
    client: Client, sandbox: Sandbox, fault: str, status: int
) -> None:
    sandbox.fault(KEY, fault)
    response = client.post(SEND, json=HI)
    assert response.status_code == status
    assert response.text.startswith("<html>")
    assert response.headers.get("Retry-After") == ("5" if status == 429 else None)
    assert sandbox.messages() == []
    assert sandbox.calls[-1].errcode is None
    assert client.send()["errcode"] == 0


def test_a_connection_can_be_reset_without_the_message_being_taken(
    client: Client, sandbox: Sandbox
) -> None:
    sandbox.fault(KEY, "reset")
    with pytest.raises(requests.ConnectionError, match="reset by peer"):
        client.send()
    assert sandbox.messages() == []
    assert client.send()["errcode"] == 0


def test_a_message_can_be_taken_and_its_reply_lost(client: Client, sandbox: Sandbox) -> None:
    sandbox.fault(KEY, "lost")
    with pytest.raises(requests.ConnectionError, match="reset by peer"):
        client.send(content="lost")
    assert [call.payload["text"] for call in sandbox.messages()] == [{"content": "lost"}]
    assert sandbox.calls[-1].errcode == 0


def test_a_call_can_hang_until_the_client_gives_up(client: Client, sandbox: Sandbox) -> None:
    sandbox.fault(KEY, "hang")
    with pytest.raises(requests.ReadTimeout):
        client.http.post(f"{client.url}{SEND}?key={KEY}", json={}, timeout=0.2)
    assert sandbox.messages() == []
    assert client.send()["errcode"] == 0


def test_closing_the_sandbox_releases_a_hanging_call() -> None:
    called = threading.Event()

    def clock() -> float:
        called.set()
        return 0.0

    sandbox = Sandbox({KEY: ""}, clock=clock)
    sandbox.fault(KEY, "hang")
    serving = serve(sandbox)
    with (client := Client(serving.url)).http, ThreadPoolExecutor() as pool:
        hanging = pool.submit(client.send)
        assert called.wait(timeout=PATIENCE)
        serving.close()
        assert isinstance(hanging.exception(timeout=PATIENCE), requests.ConnectionError)


@pytest.mark.parametrize(
    ("fault", "errmsg"),
    [("warning", "ok. Warning: wrong json format. "), ("ok_nul", "ok\0"),
     ("ok_surrogate", "ok\ud800")],
)  # fmt: skip
def test_a_message_can_be_taken_with_a_warning_or_an_errmsg_that_no_database_stores(
    client: Client, sandbox: Sandbox, fault: str, errmsg: str
) -> None:
    sandbox.fault(KEY, fault)
    assert client.send() == {"errcode": 0, "errmsg": errmsg}
    assert len(sandbox.messages()) == 1


@pytest.mark.parametrize(
    ("fault", "answer"),
    [
        ("errcode_large", '{"errcode": 99999999999999999999, "errmsg": "ok"}'),
        ("errcode_infinite", '{"errcode": 1e999, "errmsg": "ok"}'),
        ("errcode_fraction", '{"errcode": 0.9, "errmsg": "ok"}'),
        ("errcode_false", '{"errcode": false, "errmsg": "ok"}'),
        ("errcode_text", '{"errcode": "ok", "errmsg": "ok"}'),
        ("errmsg_nul", '{"errcode": 40058, "errmsg": "\\u0000 invalid"}'),
        ("errmsg_surrogate", '{"errcode": -1, "errmsg": "\\ud800 busy"}'),
        ("huge", "x" * (4 << 20)),
    ],
)
def test_an_answer_can_be_none_that_wecom_would_give(
    client: Client, sandbox: Sandbox, fault: str, answer: str
) -> None:
    sandbox.fault(KEY, fault)
    response = client.post(SEND, json=HI)
    assert (response.status_code, response.text) == (200, answer)
    assert sandbox.messages() == []
    assert client.send()["errcode"] == 0


@pytest.mark.parametrize("fault", ["retry_after_far", "retry_after_absurd", "retry_after_large"])
def test_a_retry_after_can_be_absurd(client: Client, sandbox: Sandbox, fault: str) -> None:
    sandbox.fault(KEY, fault)
    response = client.post(SEND, json={})
    assert response.status_code in (429, 503)
    assert "99" in response.headers["Retry-After"]


class Steps(threading.Event):
    """Ends each pause of a reply when a test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.step = threading.Semaphore(0)

    def wait(self, timeout: float | None = None) -> bool:
        if timeout and not self.is_set():
            self.step.acquire(timeout=PATIENCE)
        return self.is_set()

    def set(self) -> None:
        super().set()
        self.step.release()


@pytest.mark.parametrize(
    ("fault", "begin"),
    [
        ("drip_head", b"HTTP/1.1 502"),
        ("drip_body", b"<htm"),
        ("continue", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"),
    ],
)
def test_a_reply_can_come_piece_by_piece(
    client: Client, sandbox: Sandbox, fault: str, begin: bytes
) -> None:
    steps = sandbox.released = Steps()
    sandbox.fault(KEY, fault)
    place = urlsplit(client.url)
    with socket.create_connection((place.hostname, place.port), timeout=30) as connection:
        connection.sendall(f"POST {SEND}?key={KEY} HTTP/1.1\r\nContent-Length: 0\r\n\r\n".encode())
        read, pieces = connection.recv(4096), 1
        while begin not in read:
            steps.step.release()
            piece = connection.recv(4096)
            assert piece
            read, pieces = read + piece, pieces + 1
    steps.set()
    assert pieces > 1
    assert sandbox.messages() == []


def test_closing_the_sandbox_ends_a_reply_that_drips(sandbox: Sandbox) -> None:
    sandbox.fault(KEY, "drip_head")
    serving = serve(sandbox)
    with (client := Client(serving.url)).http, ThreadPoolExecutor() as pool:
        dripping = pool.submit(client.send)
        until(lambda: len(sandbox.calls) == 1)
        serving.close()
        assert isinstance(dripping.exception(timeout=PATIENCE), requests.ConnectionError)


def test_faults_are_met_in_order_also_by_uploads_and_can_be_cleared(
    client: Client, sandbox: Sandbox
) -> None:
    sandbox.fault(KEY, "busy", times=2)
    sandbox.fault(KEY, 40007)
    sandbox.fault(KEY, 93008, always=True)
    assert [client.send()["errcode"], client.upload()["errcode"]] == [-1, -1]
    assert codes(client, 3) == [40007, 93008, 93008]
    sandbox.clear_faults()
    assert client.send()["errcode"] == 0


@pytest.mark.parametrize("fault", ["nonsense", "0", 0, "1.5", ""])
def test_an_unknown_fault_is_refused(sandbox: Sandbox, fault: str | int) -> None:
    with pytest.raises(ValueError, match="unknown fault"):
        sandbox.fault(KEY, fault)


def test_a_fault_for_an_unknown_key_is_refused(sandbox: Sandbox) -> None:
    with pytest.raises(ValueError, match="unknown key: other"):
        sandbox.fault("other", "busy")


def test_faults_can_be_set_and_cleared_over_http(client: Client) -> None:
    faults = f"{client.url}/sandbox/faults"
    two = {"key": KEY, "fault": "45033", "times": 2}
    assert client.http.post(faults, json=two, timeout=PATIENCE).status_code == 200
    assert codes(client, 1) == [45033]
    assert client.http.delete(faults, timeout=PATIENCE).status_code == 200
    assert codes(client, 1) == [0]


@pytest.mark.parametrize(
    "payload",
    [{}, [], None, {"key": KEY}, {"key": KEY, "fault": "x"}, {"key": "other", "fault": "busy"},
     {"key": KEY, "fault": "busy", "times": "2"}, {"key": KEY, "fault": "busy", "colour": 1}],
)  # fmt: skip
def test_a_wrong_fault_over_http_is_a_400_that_says_why(client: Client, payload: Any) -> None:
    response = client.http.post(f"{client.url}/sandbox/faults", json=payload, timeout=PATIENCE)
    assert response.status_code == 400
    assert response.json()["error"]


def test_every_call_is_kept_with_its_outcome(client: Client, sandbox: Sandbox) -> None:
    client.send()
    client.send(key="other")
    client.upload(name="a.txt")
    kept = [(call.key, call.path, call.msgtype, call.errcode) for call in sandbox.calls]
    assert kept == [(KEY, SEND, "text", 0), ("other", SEND, "text", 93000), (KEY, UPLOAD, "", 0)]
    assert sandbox.calls[2].payload == {"filename": "a.txt", "size": 6}


def test_an_image_is_kept_once_and_decoded_once(
    client: Client, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode, decoded = base64.b64decode, []
    monkeypatch.setattr(base64, "b64decode", lambda *a, **b: decoded.append(1) or decode(*a, **b))
    client.send("image", **image(PNG))
    assert len(decoded) == 1
    assert sandbox.messages()[0].payload is sandbox.calls[0].payload


def test_accepted_messages_are_listed_over_http_by_time_and_by_robot(
    client: Client, clock: Clock
) -> None:
    client.send(key="key-of-b", content="one")
    clock.now += 1
    client.send(content="two")
    client.send(content="")
    listed = client.http.get(f"{client.url}/sandbox/messages", timeout=PATIENCE).json()
    assert [message["payload"]["text"]["content"] for message in listed] == ["one", "two"]
    only = client.http.get(f"{client.url}/sandbox/messages?key={KEY}", timeout=PATIENCE).json()
    payload = {"msgtype": "text", "text": {"content": "two"}}
    expected = {"key": KEY, "name": "甲组", "at": clock.now, "msgtype": "text", "payload": payload}
    assert only == [expected]


def page(client: Client) -> str:
    return client.http.get(client.url, timeout=PATIENCE).text


def test_the_page_shows_each_group_as_it_would_look(client: Client) -> None:
    client.send("markdown", content="**一** <script>alert(1)</script>")
    client.send("file", media_id=client.upload(name="崩溃.log")["media_id"])
    html = page(client)
    assert "甲组" in html
    assert "乙组" in html
    assert "<strong>一</strong> &lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert '<div class="file">崩溃.log</div>' in html


def test_the_page_says_why_the_last_message_was_not_taken(client: Client, sandbox: Sandbox) -> None:
    client.send(content="")
    assert "44004 empty content" in page(client)
    sandbox.fault(KEY, "502")
    client.post(SEND, json={})
    assert "502" in page(client)


def test_the_page_tells_the_time_in_shanghai(client: Client) -> None:
    client.send()
    client.send(content="")
    assert page(client).count("01-15 16:00:00") == 2  # of the message, and of the refusal


def test_the_page_of_an_empty_sandbox_says_what_to_do_next() -> None:
    with served(Sandbox()) as client:
        html = page(client)
    assert "暂无消息" in html
    assert f"WECOM_API_URL={client.url}" in html


def test_the_page_of_a_silent_robot_says_how_to_reach_it(client: Client) -> None:
    client.send()
    html = page(client)
    assert "WECOM_BOT_KEY=key-of-b" in html
    assert f"WECOM_BOT_KEY={KEY}" not in html


def test_the_page_is_sent_again_only_if_something_came(client: Client) -> None:
    etag = client.http.get(client.url, timeout=PATIENCE).headers["ETag"]
    again = {"If-None-Match": etag}
    assert client.http.get(client.url, headers=again, timeout=PATIENCE).status_code == 304
    client.send()
    assert client.http.get(client.url, headers=again, timeout=PATIENCE).status_code == 200


def test_a_connection_is_kept_alive_until_the_sandbox_closes(sandbox: Sandbox) -> None:
    serving = serve(sandbox)
    with (client := Client(serving.url)).http:
        for _ in range(3):
            response = client.post(SEND, json=HI)
            assert response.raw.version == 11
            assert "Connection" not in response.headers
        assert len(serving.connections) == 1
        serving.close()
        with pytest.raises(requests.ConnectionError):
            client.send()


def test_many_connections_at_once_lose_and_invent_nothing(sandbox: Sandbox) -> None:
    def chat(number: int) -> list[int]:
        with (client := Client(url)).http:
            return codes(client, 20, content=str(number))

    with serve(sandbox) as url, ThreadPoolExecutor(32) as pool:
        assert list(pool.map(chat, range(32))) == [[0] * 20] * 32
    said = [call.payload["text"]["content"] for call in sandbox.messages()]
    assert sorted(said) == sorted([str(number) for number in range(32)] * 20)


def test_replies_can_be_slow(clock: Clock) -> None:
    with (
        served(Sandbox({KEY: ""}, latency=30, clock=clock)) as client,
        pytest.raises(requests.ReadTimeout),
    ):
        client.http.post(f"{client.url}{SEND}?key={KEY}", json={}, timeout=0.2)


def test_a_sandbox_can_go_down_and_come_back_at_the_same_place(sandbox: Sandbox) -> None:
    port = free_port()
    first = serve(sandbox, port=port)
    first.close()
    with pytest.raises(requests.ConnectionError), (client := Client(first.url)).http:
        client.send()
    with serve(sandbox, port=port), (client := Client(first.url)).http:
        assert client.send()["errcode"] == 0
        sandbox.fault(KEY, "hang")
        with pytest.raises(requests.ReadTimeout):
            client.http.post(f"{client.url}{SEND}?key={KEY}", json={}, timeout=0.2)


def test_a_chunked_body_is_read_whole(client: Client) -> None:
    body = iter([b'{"msgtype": "text", ', b'"text": {"content": "hi"}}'])
    assert client.reply(client.post(SEND, data=body))["errcode"] == 0
    assert client.send()["errcode"] == 0


def test_a_client_that_asks_for_it_is_told_to_go_on_and_disconnected(client: Client) -> None:
    body, place = b'{"msgtype": "text", "text": {"content": "hi"}}', urlsplit(client.url)
    head = f"POST {SEND}?key={KEY} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
    with socket.create_connection((place.hostname, place.port), timeout=30) as connection:
        asked = f"{head}Connection: close\r\nExpect: 100-continue\r\n\r\n"
        connection.sendall(asked.encode())
        assert connection.recv(4096).startswith(b"HTTP/1.1 100 ")
        connection.sendall(body)
        with connection.makefile("rb") as answer:
            assert b'"errcode":0' in answer.read()  # to the end of the connection


def test_a_port_in_use_is_an_os_error_and_one_line_for_the_command(client: Client) -> None:
    port = client.url.rpartition(":")[2]
    with pytest.raises(OSError, match="in use"):
        serve(Sandbox(), port=int(port))
    result = CliRunner().invoke(commands, ["sandbox", "--port", port])
    assert result.exit_code == 1
    assert len(result.output.splitlines()) == 1
    assert "Address already in use" in result.output
