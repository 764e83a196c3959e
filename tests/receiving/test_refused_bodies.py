"""A body without an event is refused or empty; one that is too large or too deep is refused."""

import gzip
import zlib
from collections.abc import Callable

import pytest
from bodies import (
    FORM,
    MULTIPART,
    NOW,
    decode_one,
    multipart,
    nested,
    raw_deflate,
)

from bridge.errors import TooLargeError, UndecodableError
from bridge.model import FIELDS
from bridge.receiving import decoding as pgyer
from bridge.receiving.cleaning import MAX_DEPTH
from bridge.receiving.event_types import UNDECODABLE


@pytest.mark.parametrize(
    "body",
    [b"", b" ", b"\r\n\t \n", gzip.compress(b"", mtime=0), gzip.compress(b"\n", mtime=0)],
    ids=["empty", "space", "white space", "gzip of nothing", "gzip of white space"],
)
@pytest.mark.parametrize("content_type", ["", "application/json", FORM, MULTIPART])
def test_an_empty_body_holds_no_event(body: bytes, content_type: str) -> None:
    assert pgyer.decode(body, NOW, content_type) == []


@pytest.mark.parametrize(
    "body",
    [
        b"garbage",
        b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR",
        b"<xml><type>feedback</type></xml>",
        b'{"type": "feedback"',
        b'{"type": "feedb',
        b"{'type': 'feedback'",
        b"{",
        b"}",
        b'{"a": 1} {"b": 2}',
        b"null",
        b"1",
        b"true",
        b'"hello"',
        b'"null"',
        b'""',
        b"[]",
        b"[[]]",
        b"[1]",
        b"[null]",
        b'[{"type": "feedback"}, 1]',
        b'[{"type": "feedback"}, null]',
        b'[{"type": "feedback"}, "x"]',
        b"payload=",
        b"payload=[]",
        b"payload=1",
        b"a=b",
        b"%7B%22type%22",
        b"%",
        b"&",
        b"=",
        b"\x1f\x8b",
        b"\x1f\x8b\x08\x00 not really",
        gzip.compress(b"garbage", mtime=0),
        multipart({"payload": '[{"type": "feedback"'})[:60],
        b"--x\r\nContent-Disposition: form-data\r\n\r\n",
    ],
)
def test_it_refuses_what_holds_no_event(body: bytes) -> None:
    with pytest.raises(UndecodableError) as refused:
        pgyer.decode(body, NOW)
    assert str(refused.value)


@pytest.mark.parametrize("body", [b"garbage", b"null", b'"0', b'"1', b"[1", b"k=v", b"%7B"])
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_what_only_says_that_it_is_packed_does_not_count_as_empty(
    body: bytes, encoding: str
) -> None:
    with pytest.raises(UndecodableError):
        pgyer.decode(body, NOW, "", encoding)


@pytest.mark.parametrize("body", [b'{"gbfccbe":"a"}', b'{"title":"x"}', b"{'x':1}", b"[{}]"])
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_short_object_that_only_says_that_it_is_packed_is_read(
    body: bytes, encoding: str
) -> None:
    assert decode_one(body, "", encoding).payload == decode_one(body).payload


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 900, 5_000, 100_000])
@pytest.mark.parametrize("mark", ['"', "'"])
def test_it_refuses_what_nests_too_deep(depth: int, mark: str) -> None:
    with pytest.raises(UndecodableError):
        pgyer.decode(nested(depth, mark), NOW)


@pytest.mark.parametrize(
    ("pack", "encoding"),
    [
        (gzip.compress, "gzip"),
        (gzip.compress, ""),
        (zlib.compress, "deflate"),
        (raw_deflate, "deflate"),
    ],
)
@pytest.mark.parametrize("content", [b" ", b"\0"])
def test_a_body_that_unpacks_to_more_than_the_limit_is_refused(
    pack: Callable[[bytes], bytes], encoding: str, content: bytes
) -> None:
    bomb = pack(content * (50 << 20))
    assert len(bomb) < 1 << 17
    with pytest.raises(TooLargeError):
        pgyer.decode(bomb, NOW, "", encoding)


def test_a_body_that_unpacks_to_just_the_limit_is_taken() -> None:
    body = b'{"notes":"%s"}' % (b"x" * (pgyer.MAX_BODY - 12))
    assert len(body) == pgyer.MAX_BODY
    assert decode_one(gzip.compress(body, mtime=0)).fields["notes"] == "x" * (pgyer.MAX_BODY - 12)


@pytest.mark.parametrize(
    ("body", "begins"),
    [
        (b"  oops\r\n\r\nit  broke ", "oops it broke"),
        ("坏了".encode(), "坏了"),
        (b"x" * 81, "x" * 80 + "…"),
        (b"x" * 80, "x" * 80),
        (b"x" + b" " * 1000, "x…"),
        (b"\xff\0\xfe", "\ufffd\ufffd"),
        (b"", ""),
    ],
)
def test_an_undecodable_body_becomes_an_event_that_quotes_its_beginning(
    body: bytes, begins: str
) -> None:
    event = pgyer.undecodable(body, NOW, "neither JSON nor a form")
    assert event.type == UNDECODABLE
    assert event.payload == {"begins": begins, "bytes": len(body)}
    assert event.raw == body
    assert event.error == "neither JSON nor a form"
    assert event.received_at == NOW
    assert event.fields == dict.fromkeys(FIELDS, "")
