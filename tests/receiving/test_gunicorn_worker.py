"""What makes a request whole, byte by byte: nothing else gets a thread."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.receiving.gunicorn_worker import MAX_BODY, MAX_HEAD, Incoming, RefusedError

GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /pgyer/t HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"POST /pgyer/t HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nhello\r\n6;name=x\r\n\r\n0\r\n\r\r\n0\r\nTrailer: 1\r\n\r\n"
)


def no_continue() -> None:
    raise AssertionError("nobody asked for 100 Continue")


def whole_after(request: bytes, size: int) -> list[int]:
    """Return after which numbers of bytes, in pieces of this size, the request is whole."""
    incoming, found = Incoming(), []
    for start in range(0, len(request), size):
        incoming.data += request[start : start + size]
        if incoming.is_whole(no_continue):
            found.append(len(incoming.data))
    return found


@pytest.mark.parametrize("request_", [GET, POST, CHUNKED], ids=["get", "post", "chunked"])
@given(size=st.integers(1, 200))
def test_a_request_is_whole_with_its_last_byte_and_not_before(request_: bytes, size: int) -> None:
    assert whole_after(request_, size) == [len(request_)]


def test_a_body_without_a_length_is_empty() -> None:
    request = b"POST / HTTP/1.1\r\nHost: x\r\n\r\n"
    assert whole_after(request, 1) == [len(request)]


@pytest.mark.parametrize("name", [b"content-length", b"CONTENT-LENGTH", b"Content-Length"])
def test_names_of_headers_are_read_in_any_case(name: bytes) -> None:
    request = b"POST / HTTP/1.1\r\n" + name + b":  2 \r\n\r\nab"
    assert whole_after(request, 1) == [len(request)]


@pytest.mark.parametrize("length", [b"1048577", b"99999999999"])
def test_a_body_that_is_too_large_is_not_waited_for(length: bytes) -> None:
    incoming = Incoming()
    incoming.data += b"POST / HTTP/1.1\r\nContent-Length: " + length + b"\r\n\r\n"
    assert incoming.is_whole(no_continue)


def test_chunks_that_are_too_large_together_are_not_waited_for() -> None:
    incoming = Incoming()
    incoming.data += b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    while not incoming.is_whole(no_continue):
        incoming.data += b"1000\r\n" + b"x" * 0x1000 + b"\r\n"
    assert len(incoming.data) < MAX_BODY + 2 * 0x1000


def test_a_head_without_end_is_refused() -> None:
    incoming = Incoming()
    incoming.data += b"GET / HTTP/1.1\r\nX: " + b"x" * MAX_HEAD
    with pytest.raises(RefusedError, match="431"):
        incoming.is_whole(no_continue)


@pytest.mark.parametrize(
    "body",
    [b"x\r\n", b"-1\r\n", b"\r\n", b"123456789\r\n", b"2\r\nabcd", b"5\r\nhelloXX", b"1" * 2000],
)
def test_a_broken_chunk_is_refused(body: bytes) -> None:
    incoming = Incoming()
    incoming.data += b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + body
    with pytest.raises(RefusedError, match="400"):
        incoming.is_whole(no_continue)


def test_a_sender_that_waits_for_100_continue_gets_it_once() -> None:
    asked: list[int] = []
    incoming = Incoming()
    for byte in b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc":
        incoming.data.append(byte)
        whole = incoming.is_whole(lambda: asked.append(1))
    assert whole
    assert asked == [1]
