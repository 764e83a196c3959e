"""Any bytes are events or refused, and a hostile body costs little time."""

import random
from contextlib import suppress
from functools import partial

import pytest
from bodies import FORM, MULTIPART, NOW, dumps, nested
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support import takes_less

from bridge.errors import TooLargeError, UndecodableError
from bridge.model import FIELDS, Event
from bridge.receiving import decoding as pgyer

LIMIT = 0.2  # seconds for one decoding; 0.05 is the promise, and a busy machine is slower


TOKENS = [
    *(
        b"{ } [ ] \" ' : , \\ \n \r = & % + # // /* */ ' ; - -- NaN null 0x 1e9 \\u \\ud83d".split(
            b" "
        )
    ),
    *(b"\0", b" ", b"\xff", b"\xfe\xff", b"\xff\xfe", b"\xef\xbb\xbf", b"\x1f\x8b", b"%7B", b"%FF"),
    *(b'"type"', b"'notes'", b"type=", b"payload=", b'"{', b'\\"', b"\xd3\xa6", "应".encode()),
    *(b"--x", b"\r\n", b"\r\n\r\n", b'Content-Disposition: form-data; name="a"', b"--x--\r\n"),
]
soup = st.lists(st.sampled_from(TOKENS), max_size=300).map(b"".join)
HEADERS = [
    "application/json",
    FORM,
    "multipart/form-data; boundary=x",
    'multipart/form-data; boundary="',
    "multipart/mixed; boundary*=utf-8''%ff",
    "text/plain; charset=utf-16",
    "text/plain; charset=gbk",
    "text/plain; charset*0=gb; charset*1=k",
    "text/plain; charset*=x''%",
    "text/plain; charset=idna",
    "text/plain; charset=../../x",
    "text/plain; charset=unicode_escape",
]


@pytest.mark.sweep
@given(
    body=st.binary(max_size=4096) | soup,
    content_type=st.text(max_size=60) | st.sampled_from(HEADERS),
    encoding=st.sampled_from(["", "gzip", "deflate", "br"]) | st.text(max_size=20),
)
@example(body=b"--x\r\nContent-Disposition:\r\n\r\n\r\n--x--", content_type="", encoding="")
@example(body=b"{}", content_type="a/b; charset=\0", encoding="")
@example(body=b"\x1f\x8b" * 9, content_type="", encoding="deflate")
@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_any_bytes_are_events_or_refused_and_quickly(
    body: bytes, content_type: str, encoding: str
) -> None:
    events: list[Event] = []

    def work() -> None:
        try:
            events.extend(pgyer.decode(body, NOW, content_type, encoding))
        except (UndecodableError, TooLargeError) as error:
            events.append(pgyer.undecodable(body, NOW, str(error)))

    assert takes_less(LIMIT, work)
    for event in events:
        assert set(event.fields) == set(FIELDS)
        assert "\0" not in dumps(event.payload)
        dumps(event.payload).encode()


KB100 = 100_000
_dice = random.Random(2)
HOSTILE = {
    "brackets": b"[" * KB100,
    "braces": b"{" * KB100,
    "deep objects": nested(14_000),
    "deep objects in single quotes": nested(14_000, "'"),
    "deep arrays in an object": b'{"a":' + b"[" * 49_000 + b"]" * 49_000 + b"}",
    "quotes": b'"' * KB100,
    "single quotes": b"'" * KB100,
    "both quotes": b"\"'" * (KB100 // 2),
    "quotes and line breaks": b"{'" + b"\n'" * (KB100 // 2),
    "many strings with line breaks": b"[" + b"'\n'," * 9_000 + b"}",
    "single-quoted members": b"{" + b"'a':'b'," * 12_000,
    "line breaks in a string": b"{'a':'" + b"\n" * KB100 + b"'}",
    "backslashes": b"\\" * KB100,
    "a string of backslashes": b"{'a':'" + b"\\" * KB100,
    "escaped quotes": b'"' + b'\\"' * (KB100 // 2),
    "lone surrogates": b'{"a":"' + b"\\ud83d" * 16_000 + b'"}',
    "ampersands": b"&" * KB100,
    "empty form fields": b"=&" * (KB100 // 2),
    "form fields": b"a=1&" * (KB100 // 4),
    "form fields that look like JSON": b"&".join(b"{%d=[{" % n for n in range(999)),
    "form fields of deep JSON": b"&".join(
        b'{"%d":' % n + b'[{"a":' * 6 + b'={"a":' + b'[{"a":' * 6 for n in range(999)
    ),
    "percent signs": b"%" * KB100,
    "a field of percent signs": b"a=" + b"%" * KB100,
    "percent signs and one byte in GBK": b"a=" + b"%" * KB100 + b"%C4%E3",
    "half escapes": b"a=" + b"%2" * (KB100 // 2),
    "broken UTF-8 in a form": b"a=" + b"%FF" * (KB100 // 3),
    "GBK and escapes in a form": b"a=" + b"\xd3\xa6%41" * 20_000 + b"%FF",
    "an encoded brace and percent signs": b"%7B" + b"%" * KB100,
    "plus signs": b"a=" + b"+" * KB100,
    "an array of empty arrays": b"[" + b"[]," * 33_000 + b"[]]",
    "an array of strings of empty arrays": b"[" + b'"[]",' * 19_999 + b'"[]"]',
    "an array of strings of comments": b"[" + b'"[/**/]",' * 11_000 + b'"[]"]',
    "an object of empty arrays": b'{"a":[' + b"[]," * 33_000 + b"[]]}",
    "an object of empty objects": b'{"a":[' + b"{}," * 33_000 + b"{}]}",
    "an object of numbers": b'{"a":[' + b"0," * 49_000 + b"0]}",
    "an object of texts": b'{"a":[' + '"é",'.encode() * 20_000 + b"0]}",
    "a long number": b'{"a":' + b"9" * KB100 + b"}",
    "a long hexadecimal number": b'{"a":0x' + b"F" * KB100 + b"}",
    "comments": b"{" + b"/*" * (KB100 // 2),
    "white space": b"{" + b" " * KB100,
    "NULs": b"\0" * KB100,
    "half of UTF-16": b"{\0" * (KB100 // 2),
    "random bytes": _dice.randbytes(KB100),
    "random bytes after a brace": b"{" + _dice.randbytes(KB100),
    "random bytes that say gzip": b"\x1f\x8b\x08\0" + _dice.randbytes(KB100),
    "dashes": b"--" * (KB100 // 2),
    "parts without end": b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n"
    + b"\r\n-" * (KB100 // 3),
    "almost boundaries": b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n"
    + b"\r\n--y" * (KB100 // 5)
    + b"\r\n--x--\r\n",
    "many parts": b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n" * 2_000,
    "many parts that look like JSON": b"".join(
        b'--x\r\nContent-Disposition: form-data; name="{%d"\r\n\r\n{\'"\n\'"\n\'"\n{a:[{a\r\n' % n
        for n in range(999)
    )
    + b"--x--\r\n",
}


@pytest.mark.sweep
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_body_costs_little(name: str) -> None:
    def work(content_type: str) -> None:
        with suppress(UndecodableError):
            pgyer.decode(HOSTILE[name], NOW, content_type)

    for kind in ("", FORM, MULTIPART, "text/plain; charset=utf-16"):
        assert takes_less(LIMIT, partial(work, kind)), kind
