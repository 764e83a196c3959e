"""No call takes longer than its deadline, however slowly the far side answers."""

import shutil
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from far_side import check_storable, drip, far_side, make_certificate, read_message
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support import PATIENCE

from bridge.delivery.wecom import Client
from bridge.model import Bot, Message, Outcome, Secret, Verdict
from bridge.sandbox import SEND, Sandbox, serve, server

MESSAGE = Message("text", {"content": "hi"})
LARGE = Message("text", {"content": "x" * 50_000_000})
SOON = 0.3  # seconds, the deadline of these tests
OK = b'{"errcode": 0, "errmsg": "ok"}'


def bot_at(url: str) -> Bot:
    return Bot("default", Secret(f"{url}/send?key=k"))


def send(url: str, timeout: float = SOON, message: Message = MESSAGE) -> Outcome:
    """Make one call; a test fails where it does not end at all."""
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(Client(timeout=timeout).send, bot_at(url), message)
        return call.result(PATIENCE)


ANSWERS = [
    (b"", b"H"),  # no status line ever
    (b"HTTP/1.1 200 OK\r\n", b"X"),  # a header that does not end
    (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"),
    (b"HTTP/1.1 100 Continue\r\n", b"X"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n", b" "),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\nConnection: close\r\n\r\n" + OK, b" "),
    (b"HTTP/1.0 200 OK\r\n\r\n" + OK, b" "),  # a body that only the connection's end ends
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
]


@pytest.mark.parametrize(("start", "piece"), ANSWERS)
def test_an_answer_that_drips_ends_at_the_deadline(start: bytes, piece: bytes) -> None:
    with far_side(drip(start, piece)) as place:
        outcome = send(f"http://{place}")
    assert (outcome.verdict, outcome.reason) == (Verdict.RETRY, "read_timeout")


@pytest.mark.parametrize("fault", ["drip_head", "drip_body", "continue"])
def test_the_faults_of_the_sandbox_that_drip_end_at_the_deadline(
    fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "PAUSE", 0.2)
    box = Sandbox({"k": "k"}, rate=None)
    box.fault("k", fault)
    with serve(box) as url:
        client, bot = Client(timeout=4.0), Bot("default", Secret(f"{url}{SEND}?key=k"))
        assert client.send(bot, MESSAGE).reason == "read_timeout"
        assert client.send(bot, MESSAGE).verdict is Verdict.SENT


def test_a_far_side_that_never_reads_ends_at_the_deadline() -> None:
    unread = threading.Event()
    with far_side(lambda connection: unread.wait(PATIENCE) and None) as place:
        outcome = send(f"http://{place}", message=LARGE)
        unread.set()
    assert outcome.verdict is Verdict.RETRY


def test_a_kept_connection_has_a_deadline_for_each_call() -> None:
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(OK), OK)
    connections = []

    def talk(connection: socket.socket) -> None:
        connections.append(connection)
        for _ in range(3):
            read_message(connection)
            connection.sendall(reply)
        drip(b"", b"H")(connection)

    with far_side(talk) as place:
        client, bot = Client(timeout=4.0), bot_at(f"http://{place}")
        reasons = [client.send(bot, MESSAGE).reason for _ in range(4)]
    assert reasons == ["ok", "ok", "ok", "read_timeout"]
    assert len(connections) == 1


def test_a_call_that_ends_in_time_is_not_touched_by_a_later_one() -> None:
    """The descriptor of a closed socket may be another's by the time of the deadline."""
    reply = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"

    def talk(connection: socket.socket) -> None:
        read_message(connection)
        connection.sendall(reply % (len(OK), OK))

    with far_side(talk) as place, ThreadPoolExecutor(8) as pool:
        client, bot = Client(), bot_at(f"http://{place}")
        sent = list(pool.map(lambda _: client.send(bot, MESSAGE).reason, range(200)))
    assert sent == ["ok"] * 200


def test_a_proxy_that_drips_ends_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    with far_side(drip(b"HTTP/1.1 200 Connection", b"x")) as place:
        for name in ("HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, f"http://{place}")
        for url in ("http://wecom.invalid", "https://wecom.invalid"):
            assert send(url).reason == "read_timeout"


def test_a_tls_handshake_that_drips_ends_at_the_deadline() -> None:
    with far_side(drip(b"\x16\x03\x03\x40\x00", b"\x02")) as place:
        assert send(f"https://{place}").verdict is Verdict.RETRY


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """Serves by a certificate that the client trusts."""
    if not shutil.which("openssl"):
        pytest.skip("there is no openssl to make a certificate with")
    certificate, key = make_certificate(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


@pytest.mark.parametrize(("start", "piece"), ANSWERS)
def test_an_answer_over_tls_that_drips_ends_at_the_deadline(
    start: bytes, piece: bytes, tls: ssl.SSLContext
) -> None:
    with far_side(drip(start, piece), tls) as place:
        assert send(f"https://{place}", timeout=1.0).reason == "read_timeout"


def test_a_far_side_that_reads_slowly_over_tls_ends_at_the_deadline(tls: ssl.SSLContext) -> None:
    def talk(connection: socket.socket) -> None:
        stopped = threading.Event()
        while connection.recv(16384) and not stopped.wait(0.02):
            pass

    with far_side(talk, tls) as place:
        assert send(f"https://{place}", timeout=1.0, message=LARGE).reason == "read_timeout"


def test_all_addresses_of_a_host_share_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[float] = []

    def no_answer(sock: socket.socket, address: object) -> None:
        tried.append(sock.gettimeout() or 0.0)
        raise TimeoutError

    class Silent(socket.socket):
        connect = no_answer  # type: ignore[assignment]

    address = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 9))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [address] * 8)
    monkeypatch.setattr(socket, "socket", Silent)
    assert send("http://wecom.invalid", timeout=4.0).reason == "connect_timeout"
    assert len(tried) == 8
    assert sum(tried) <= 4.0


def test_a_host_without_an_address_is_a_failed_connection() -> None:
    assert send("http://wecom.invalid").reason == "connection"


def test_a_descriptor_is_given_back_after_each_call() -> None:
    with far_side(drip(b"", b"H")) as place:
        send(f"http://{place}")
        before = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(5):
            send(f"http://{place}", timeout=0.05)
        assert len(list(Path("/proc/self/fd").iterdir())) <= before + 10  # of the far side


def test_calls_at_once_have_a_deadline_each() -> None:
    with far_side(drip(b"", b"H")) as place, ThreadPoolExecutor(16) as pool:
        outcomes = pool.map(lambda _: send(f"http://{place}"), range(16))
        assert {outcome.reason for outcome in outcomes} == {"read_timeout"}


@settings(max_examples=100, deadline=None)
@given(
    st.binary(max_size=200)
    | st.tuples(st.sampled_from(ANSWERS), st.binary(max_size=50)).map(
        lambda found: found[0][0] + found[1]
    )
)
@example(b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n")
@example(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc")
@example(b"HTTP/1.1 200 OK\r\nContent-Encoding: br, zstd, x\r\nContent-Length: 3\r\n\r\nabc")
@example(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
@example(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n")
@example(b"HTTP/1.1 200 " + b"x" * 100_000)
@example(b"HTTP/1.1 503 x\r\nRetry-After: \xff\xfe\r\nContent-Length: 0\r\n\r\n")
@example(b"HTTP/9.9 200 OK\r\n\r\n")
@example(b"HTTP/1.1 -1 OK\r\n\r\n")
def test_whatever_bytes_are_answered_the_call_ends_and_can_be_stored(answer: bytes) -> None:
    def talk(connection: socket.socket) -> None:
        read_message(connection)
        connection.sendall(answer)

    with far_side(talk) as place:
        outcome = send(f"http://{place}", timeout=5.0)
    check_storable(outcome)
    assert outcome.reason != "internal_error"
