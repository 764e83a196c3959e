"""A body without an event is refused or empty; one that is too large or too deep is refused."""

import gzip
import tracemalloc
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
    [
        b"",
        b" ",
        b"\r\n\t \n\f\v",
        b"\xef\xbb\xbf\n",
        gzip.compress(b"", mtime=0),
        gzip.compress(b"\n", mtime=0),
    ],
    ids=["empty", "space", "white space", "a BOM", "gzip of nothing", "gzip of white space"],
)
@pytest.mark.parametrize("content_type", ["", "application/json", FORM, MULTIPART])
def test_an_empty_body_holds_no_event(body: bytes, content_type: str) -> None:
    assert pgyer.decode(body, NOW, content_type) == []


@pytest.mark.parametrize(
    "body",
    [
        b"garbage",
        b"X",
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


@pytest.mark.parametrize(
    ("body", "content_type", "why"),
    [
        (b"garbage", "", "neither JSON nor a form"),
        (b"color=blue", "", "neither JSON nor a form"),
        (b"color", FORM, "neither JSON nor a form"),
        (b"a b=c", FORM, "neither JSON nor a form"),
        (multipart({"a b": "c"}), MULTIPART, "neither JSON nor a form"),
        (
            multipart({str(n): "x" for n in range(201)}),
            MULTIPART,
            "broken multipart",
        ),
        (b'"hello"', "", "a string without JSON in it"),
        (b"[]", "", "the array is empty"),
        (b"[{}, 1]", "", "JSON, but not an object"),
        (b"null", "", "JSON, but not an object"),
        (nested(101), "", "nested too deep"),
        (b'{"notes": [%s]}' % (b"[" * 99 + b"]" * 99), "", "nested too deep"),
        (b'{"notes": [%d]}' % (2**1000), "", "a number of more than 1000 bits"),
        (b'{"timestamp": %d}' % (2**1000), "", "a number of more than 1000 bits"),
        (b'[%s"x"]' % (b"{}," * 1001), "", "an array of too many events"),
    ],
)
def test_it_says_why_it_refuses(body: bytes, content_type: str, why: str) -> None:
    with pytest.raises(UndecodableError) as refused:
        pgyer.decode(body, NOW, content_type)
    assert str(refused.value) == why


@pytest.mark.parametrize(
    "body",
    [
        nested(99),
        b'{"notes": [%s]}' % (b"[" * 98 + b"]" * 98),
        b'{"notes": [%d]}' % (2**1000 - 1),
    ],
    ids=["objects", "arrays", "a number"],
)
def test_what_is_just_within_the_limits_is_taken(body: bytes) -> None:
    assert decode_one(body).raw == body


@pytest.mark.parametrize("separator", [b"&", b"&a="])
def test_a_form_has_at_most_200_fields(separator: bytes) -> None:
    body = b"type=feedback" + separator * 199
    assert decode_one(body).type == "feedback"
    with pytest.raises(UndecodableError):
        pgyer.decode(body + separator, NOW)


def test_a_multipart_form_has_at_most_200_parts() -> None:
    parts = {"type": "feedback"} | {f"p{n}": "x" for n in range(199)}
    assert decode_one(multipart(parts)).type == "feedback"
    with pytest.raises(UndecodableError):
        pgyer.decode(multipart(parts | {"more": "x"}), NOW)


def test_a_part_without_a_name_is_no_field_of_a_form() -> None:
    body = multipart({"x": "blue"}).replace(b'; name="x"', b"")
    with pytest.raises(UndecodableError):
        pgyer.decode(body, NOW, MULTIPART)


@pytest.mark.parametrize("mark", ['"', "'"])
def test_raw_line_breaks_are_read_among_at_most_20_000_quotes(mark: str) -> None:
    other = "'" if mark == '"' else '"'

    def body(strings: int, more: str = "") -> bytes:
        text = "a\nb" + more
        parts = ["{title: ", mark, text, mark, ", x: [", f"{mark}{mark}," * (strings - 1), "]}"]
        return "".join(parts).encode()

    assert decode_one(body(10_000)).fields["title"] == "a\nb"
    for more in (body(10_000, other), body(10_001)):
        with pytest.raises(UndecodableError):
            pgyer.decode(more, NOW)


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
    with pytest.raises(TooLargeError, match=r"^unpacks to more than 1048576 bytes$"):
        pgyer.decode(bomb, NOW, "", encoding)


def test_of_a_body_that_unpacks_to_very_much_no_more_than_the_limit_is_unpacked() -> None:
    bomb = gzip.compress(b" " * (50 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(TooLargeError):
            pgyer.decode(bomb, NOW)
        assert tracemalloc.get_traced_memory()[1] < 5 << 20  # bytes at most at a time
    finally:
        tracemalloc.stop()


def test_a_body_of_just_the_limit_is_taken_and_one_byte_more_is_not() -> None:
    body = b'{"notes":"%s"}' % (b"x" * (pgyer.MAX_BODY - 12))
    assert len(body) == pgyer.MAX_BODY
    for taken in (body, gzip.compress(body, mtime=0)):
        assert decode_one(taken).fields["notes"] == "x" * (pgyer.MAX_BODY - 12)
    with pytest.raises(TooLargeError, match=r"^over 1048576 bytes$"):
        pgyer.decode(body + b" ", NOW)


@pytest.mark.parametrize(
    ("body", "begins"),
    [
        (b"  oops\r\n\r\nit  broke ", "oops it broke"),
        ("坏了".encode(), "坏了"),
        (b"x" * 81, "x" * 80 + "…"),
        (b"x" * 80, "x" * 80),
        (b"x" + b" " * 1000, "x…"),
        (b"x" + b" " * 399, "x"),
        (b"x" + b" " * 400, "x…"),
        (b" " * 400 + b"y", "…"),
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
