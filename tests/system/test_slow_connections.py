"""Strangers' connections cost the bridge no thread, and end by a deadline."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import requests
from support import TOKEN, Deployment, environment, free_port, until

from bridge.receiving.gunicorn_worker import REQUEST
from bridge.sandbox import Sandbox

OK = b'{"status": "ok"}'
HALF_HEAD = b"POST /pgyer/x HTTP/1.1\r\nHost: x\r\nX-Long: "
HALF_BODY = f"POST /pgyer/{TOKEN} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{".encode()
HALF_CHUNK = (
    f"POST /pgyer/{TOKEN} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab".encode()
)
NOWHERE = b"POST /nowhere HTTP/1.1\r\nHost: x\r\n"
KINDS = {
    "silent": b"",
    "half a head": HALF_HEAD,
    "half a body": HALF_BODY,
    "half a chunk": HALF_CHUNK,
    "a body of odd length": NOWHERE + b"Content-Length: " + b"0" * 30 + b"900\r\n\r\n",
    "a body that is too large": NOWHERE + b"Content-Length: 2000000\r\n\r\n",
    "tiny chunks": NOWHERE + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 200_000,
    "its last answer": b"GET /healthz HTTP/1.0\r\n\r\n",
    "an answer that closes": NOWHERE + b"Connection: close\r\n\r\n",
    "an error": b"nonsense\r\n\r\n",
}


def connect(bridge: Deployment, first: bytes = b"") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", bridge.port), timeout=30)
    connection.sendall(first)
    return connection


def read_until(connection: socket.socket, *parts: bytes, count: int = 1) -> None:
    """Read until each part has come so often; fail where the connection ends before."""
    read = b""
    while any(read.count(part) < count for part in parts):
        piece = connection.recv(4096)
        assert piece, f"closed after {read!r}"
        read += piece


def seconds_until_closed(connection: socket.socket) -> float:
    began = time.monotonic()
    connection.settimeout(60)
    try:
        while connection.recv(4096):
            pass
    except (ConnectionResetError, BrokenPipeError):
        pass
    return time.monotonic() - began


@pytest.fixture
def bridge(sandbox: tuple[Sandbox, str], deploy: Callable[..., Deployment]) -> Deployment:
    return deploy(sandbox[1]).start()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A bridge for tests that leave nothing behind; nobody takes its messages."""
    folder = tmp_path_factory.mktemp("shared")
    api = f"http://127.0.0.1:{free_port()}"
    deployment = Deployment(folder, environment(folder, WECOM_API_URL=api)).start()
    yield deployment
    deployment.kill()


@pytest.fixture
def slow(bridge: Deployment) -> Iterator[list[socket.socket]]:
    """Eight connections of each kind, which nobody closes; half of them send a byte a second."""
    ending = threading.Event()
    with ExitStack() as stack:
        made = [
            stack.enter_context(connect(bridge, first))
            for first in KINDS.values()
            for _ in range(8)
        ]
        dripping = made[8::2]

        def drip() -> None:
            while not ending.wait(1.0):
                for connection in dripping:
                    try:
                        connection.send(b"x")
                    except OSError:
                        continue

        thread = threading.Thread(target=drip)
        thread.start()
        yield made
        ending.set()
        thread.join()


def test_slow_connections_neither_delay_the_others_nor_stay(
    bridge: Deployment, slow: list[socket.socket], sandbox: tuple[Sandbox, str]
) -> None:
    began = time.monotonic()
    for n in range(5):
        assert requests.get(f"{bridge.url}/healthz", timeout=20).status_code == 200
        assert bridge.post(f'{{"type": "feedback", "n": {n}}}').status_code == 200
    # Ten requests: on an idle machine they take some 50 ms together, and nothing is closed before.
    assert time.monotonic() - began < REQUEST
    until(lambda: len(sandbox[0].messages()) == 5)
    assert len(slow) == 8 * len(KINDS)
    for connection in slow:
        seconds_until_closed(connection)
    assert time.monotonic() - began < 2 * REQUEST  # the promise is 20 s, and the machine is busy
    assert bridge.post('{"type": "feedback", "n": 9}').status_code == 200


def test_a_request_that_comes_in_pieces_is_answered(shared: Deployment) -> None:
    body = b'{"type": "feedback"}'
    head = f"POST /pgyer/{TOKEN} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    with connect(shared) as connection:
        for byte in head.encode() + body:
            connection.send(bytes([byte]))
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_requests_that_come_at_once_on_one_connection_are_all_answered(shared: Deployment) -> None:
    get = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    with connect(shared, get * 3 + get[:10]) as connection:
        read_until(connection, OK, count=3)
        connection.send(get[10:])
        read_until(connection, OK)


def test_a_broken_chunk_is_answered_400(shared: Deployment) -> None:
    head = f"POST /pgyer/{TOKEN} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with connect(shared, head.encode() + b"5\r\nhello\r\nnonsense\r\n") as connection:
        assert connection.recv(4096).startswith(b"HTTP/1.1 400 ")


def test_a_body_that_is_announced_as_too_large_is_answered_at_once(shared: Deployment) -> None:
    head = f"POST /pgyer/{TOKEN} HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n"
    with connect(shared, head.encode()) as connection:
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_a_sender_that_waits_for_100_continue_is_served(shared: Deployment) -> None:
    body = b'{"type": "feedback"}'
    head = (
        f"POST /pgyer/{TOKEN} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    with connect(shared, head.encode()) as connection:
        assert connection.recv(4096).startswith(b"HTTP/1.1 100 ")
        connection.send(body)
        read_until(connection, b"HTTP/1.1 200 ")


def test_a_stop_does_not_wait_for_requests_that_have_not_arrived(
    bridge: Deployment, slow: list[socket.socket]
) -> None:
    assert slow
    began = time.monotonic()
    assert bridge.stop() == 0
    assert time.monotonic() - began < REQUEST
