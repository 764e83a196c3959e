"""Whatever wraps an event, it is found; whatever holds none is refused, and quickly."""

import gzip
import json
import random
import sys
import time
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support import ROOT

from bridge.errors import TooLargeError, UndecodableError
from bridge.model import FIELDS, Event
from bridge.receiving import decoding as pgyer

SAMPLES = ROOT / "bridge" / "samples"
NOW = 1_800_000_000.0
FORM = "application/x-www-form-urlencoded"
LIMIT = 0.2  # seconds for one decoding; 0.05 is the promise, and a busy machine is slower
NOTHING = ("None", "null", "undefined", "NULL")

UPDATE = {
    "action": "应用更新",
    "title": "声动 🎵 \"A & B\" = 100% 'x'",
    "link": "https://www.pgyer.com/Cb6T",
    "message": "您的应用声动有了新的版本(1.0.4)更新。",
    "type": "updateVersion",
    "os_version": "1.0.4",
    "build_version": "17",
    "created": "2017-04-27 10:47:17",
    "updated": "2017-04-27 10:47:17",
    "timestamp": "1493261238",
    "appsize": "15896263",
    "device_type": "Android",
    "appQRCodeURL": "https://static.pgyer.com/app/qrcode/Cb6T",
    "notes": 'first line\nsecond {"type": "feedback"}\r\n<redacted> -> C:\\new\\table [1] \t+1',
}
PLAIN = {
    **UPDATE,
    "title": "声动：测试",
    "notes": "修复了一些小的问题\n第二行",
}  # what GBK can write
TRADITIONAL = {"type": "feedback", "title": "應用", "notes": "修復了一些小弱智的小問題"}


def decode_one(body: bytes, content_type: str = "", content_encoding: str = "") -> Event:
    [event] = pgyer.decode(body, NOW, content_type, content_encoding)
    return event


def fields_of(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(values.get(name, "")) for name in FIELDS}


def dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def written(values: Mapping[str, str], mark: str = '"', end: str = "", raw: str = "\n\r") -> str:
    """Write an object by hand: with either quotes, a trailing comma, characters left raw."""

    def text(value: str) -> str:
        def char(c: str) -> str:
            if c in raw:
                return c
            return f"\\{c}" if c in ("\\", mark) else f"\\u{ord(c):04x}" if c < " " else c

        return mark + "".join(map(char, value)) + mark

    return "{" + ",".join(f"{text(k)}:{text(v)}" for k, v in values.items()) + end + "}"


def multipart(parts: Mapping[str, str | bytes], filename: str = "") -> bytes:
    lines = []
    for name, value in parts.items():
        data = value.encode() if isinstance(value, str) else value
        head = f'--xXbOuNdArYXx\r\nContent-Disposition: form-data; name="{name}"'
        head += f'; filename="{filename}"\r\nContent-Type: text/x' if filename else ""
        lines.append(head.encode() + b"\r\n\r\n" + data + b"\r\n")
    return b"".join(lines) + b"--xXbOuNdArYXx--\r\n"


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


MULTIPART = "multipart/form-data; boundary=xXbOuNdArYXx"
Wrapped = tuple[bytes, str, str]


def _plain(content_type: str, charset: str = "utf-8") -> Callable[[Mapping[str, str]], Wrapped]:
    return lambda v: (dumps(v).encode(charset), content_type, "")


def _text(write: Callable[[Mapping[str, str]], str]) -> Callable[[Mapping[str, str]], Wrapped]:
    return lambda v: (write(v).encode(), "application/json", "")


def _bytes(
    pack: Callable[[Mapping[str, str]], bytes], content_type: str = "", encoding: str = ""
) -> Callable[[Mapping[str, str]], Wrapped]:
    return lambda v: (pack(v), content_type, encoding)


# Every way in which any object at all comes through unchanged.
WRAPPINGS: dict[str, Callable[[Mapping[str, str]], Wrapped]] = {
    "JSON": _plain("application/json"),
    "no Content-Type": _plain(""),
    "text/plain": _plain("text/plain"),
    "the wrong Content-Type": _plain("image/png"),
    "a form by its Content-Type": _plain(FORM),
    "multipart by its Content-Type": _plain(MULTIPART),
    "multipart without a boundary by its Content-Type": _plain("multipart/form-data"),
    "a broken Content-Type": _plain(";;=,\"charset='"),
    "charset=utf-8": _plain("application/json; charset=utf-8"),
    'charset="UTF8", quoted': _plain('application/json;charset="UTF8"'),
    "charset=gbk, wrongly": _plain("application/json; charset=gbk"),
    "charset=iso-8859-1, wrongly": _plain("text/plain; charset=ISO-8859-1"),
    "charset=utf-16, wrongly": _plain("text/plain; charset=utf-16"),
    "charset=utf-32, wrongly": _plain("text/plain; charset=utf-32"),
    "an unknown charset": _plain("text/plain; charset=klingon"),
    "UTF-8 with a BOM": _plain("application/json", "utf-8-sig"),
    "UTF-8 with a BOM, charset=gbk": _plain("application/json; charset=gbk", "utf-8-sig"),
    "UTF-16 with a BOM": _plain("", "utf-16"),
    "UTF-16 with a BOM, charset=utf-8": _plain("text/plain; charset=utf-8", "utf-16"),
    "UTF-16, big-endian, with a BOM": _bytes(lambda v: ("\ufeff" + dumps(v)).encode("utf-16-be")),
    "UTF-16-LE without a BOM": _plain("", "utf-16-le"),
    "UTF-16-BE without a BOM": _plain("", "utf-16-be"),
    "UTF-16-LE without a BOM, charset=utf-16": _plain("x/y; charset=utf-16", "utf-16-le"),
    "UTF-16-BE without a BOM, charset=utf-16": _plain("x/y; charset=utf-16", "utf-16-be"),
    "UTF-16-LE, charset=utf-16le": _plain("x/y; charset=UTF-16LE", "utf-16-le"),
    "an array in UTF-16-LE without a BOM": _bytes(lambda v: f" [{dumps(v)}]".encode("utf-16-le")),
    "a JSON string in UTF-16-BE without a BOM": _bytes(
        lambda v: dumps(dumps(v)).encode("utf-16-be")
    ),
    "UTF-32 with a BOM": _plain("", "utf-32"),
    "UTF-32, big-endian, with a BOM": _bytes(lambda v: ("\ufeff" + dumps(v)).encode("utf-32-be")),
    "UTF-32-LE without a BOM": _plain("", "utf-32-le"),
    "UTF-32-BE without a BOM": _plain("", "utf-32-be"),
    "UTF-32-LE without a BOM, charset=utf-32": _plain("x/y; charset=utf-32", "utf-32-le"),
    r"\u escapes": _text(json.dumps),
    r"\/ escapes": _text(lambda v: dumps(v).replace("/", "\\/")),
    "much white space": _text(
        lambda v: "\r\n\t " + json.dumps(v, ensure_ascii=False, indent=4) + "\n"
    ),
    "another order": _text(lambda v: dumps(dict(reversed(v.items())))),
    "raw line breaks": _text(written),
    "single quotes": _text(lambda v: written(v, mark="'", raw="")),
    "single quotes and raw line breaks": _text(lambda v: written(v, mark="'")),
    "a trailing comma": _text(lambda v: written(v, end=",", raw="")),
    "a trailing comma and raw line breaks": _text(lambda v: written(v, end=" , ")),
    "single quotes, raw line breaks, a trailing comma": _text(lambda v: written(v, "'", ",")),
    r"single quotes and \u escapes": _text(lambda v: "{'x':1," + json.dumps(v)[1:]),
    "single quotes in UTF-16": _bytes(lambda v: written(v, mark="'").encode("utf-16")),
    "in a JSON string": _text(lambda v: dumps(dumps(v))),
    "twice in a JSON string": _text(lambda v: json.dumps(json.dumps(dumps(v)))),
    "single quotes in a JSON string": _text(lambda v: dumps(written(v, mark="'", end=","))),
    "an array": _text(lambda v: dumps([v])),
    "an array of strings": _text(lambda v: dumps([dumps(v)])),
    "an array in an array": _text(lambda v: dumps([[v]])),
    "an array in a JSON string": _text(lambda v: dumps(dumps([v]))),
    "an array with a trailing comma": _text(lambda v: f"[{written(v)}, ]"),
    "form fields": _bytes(lambda v: urlencode(v).encode(), FORM),
    "form fields, charset=utf-8": _bytes(lambda v: urlencode(v).encode(), f"{FORM}; charset=UTF-8"),
    "form fields, no Content-Type": _bytes(lambda v: urlencode(v).encode()),
    "form fields as JSON by the Content-Type": _bytes(
        lambda v: urlencode(v).encode(), "application/json"
    ),
    "JSON in a form field": _bytes(lambda v: urlencode({"payload": dumps(v)}).encode(), FORM),
    "JSON in a form field of any name": _bytes(
        lambda v: urlencode({"随便 what-ever[]": dumps(v)}).encode(), FORM
    ),
    "JSON in a form field, no Content-Type": _bytes(
        lambda v: urlencode({"data": json.dumps(v)}).encode()
    ),
    "JSON among other form fields": _bytes(
        lambda v: urlencode({"sign": "a1b2", "json": dumps(v), "nonce": "7"}).encode(), FORM
    ),
    "single quotes in a form field": _bytes(
        lambda v: urlencode({"body": written(v, mark="'")}).encode(), FORM
    ),
    "a JSON string in a form field": _bytes(
        lambda v: urlencode({"body": dumps([dumps(v)])}).encode(), FORM
    ),
    "percent-encoded": _bytes(lambda v: quote(dumps(v), safe="").encode()),
    "percent-encoded, with +": _bytes(lambda v: quote_plus(json.dumps(v)).encode(), "text/plain"),
    "a percent-encoded array": _bytes(lambda v: quote(dumps([v])).lower().encode()),
    "multipart fields": _bytes(multipart, MULTIPART),
    "multipart fields without a boundary": _bytes(multipart, "multipart/form-data"),
    "multipart fields with the wrong boundary": _bytes(
        multipart, "multipart/form-data; boundary=other"
    ),
    "multipart fields as JSON by the Content-Type": _bytes(multipart, "application/json"),
    "JSON in a multipart field": _bytes(lambda v: multipart({"payload": dumps(v)}), MULTIPART),
    "JSON among other multipart fields": _bytes(
        lambda v: multipart({"a": "1", "payload": written(v, mark="'"), "b": ""}), MULTIPART
    ),
    "JSON in a multipart file": _bytes(
        lambda v: multipart({"file": dumps(v)}, "event.json"), MULTIPART
    ),
    "UTF-16 in a multipart file": _bytes(
        lambda v: multipart({"file": dumps(v).encode("utf-16")}, "event.json"), ""
    ),
    "gzip": _bytes(lambda v: gzip.compress(dumps(v).encode()), "", "gzip"),
    "gzip by its old name": _bytes(lambda v: gzip.compress(dumps(v).encode()), "", " X-GZip "),
    "gzip, undeclared": _bytes(lambda v: gzip.compress(dumps(v).encode())),
    "gzip, declared as deflate": _bytes(lambda v: gzip.compress(dumps(v).encode()), "", "deflate"),
    "gzip of a form": _bytes(lambda v: gzip.compress(urlencode(v).encode()), FORM, "gzip"),
    "gzip of UTF-16": _bytes(lambda v: gzip.compress(dumps(v).encode("utf-16")), "", "gzip"),
    "deflate": _bytes(lambda v: zlib.compress(dumps(v).encode()), "", "deflate"),
    "deflate without a header": _bytes(lambda v: raw_deflate(dumps(v).encode()), "", "deflate"),
    "declared as gzip, and is not": _bytes(lambda v: dumps(v).encode(), "", "gzip"),
    "declared as deflate, and is not": _bytes(lambda v: dumps(v).encode(), "", "deflate"),
    "a form declared as deflate": _bytes(lambda v: urlencode(v).encode(), FORM, "deflate"),
    "an unknown Content-Encoding": _bytes(lambda v: dumps(v).encode(), "", "br"),
}
# A percent-encoded text in lower case is an array only where the text itself has no capitals.
_ANY_OBJECT = [name for name in WRAPPINGS if name != "a percent-encoded array"]


@pytest.mark.parametrize("name", _ANY_OBJECT)
def test_it_finds_the_event_in(name: str) -> None:
    event = decode_one(*WRAPPINGS[name](UPDATE))
    assert event.fields == UPDATE
    assert event.type == "updateVersion"
    assert event.received_at == NOW
    assert event.error == ""


def test_it_finds_the_event_in_a_percent_encoded_array_in_lower_case() -> None:
    body, *said = WRAPPINGS["a percent-encoded array"]({"type": "feedback", "title": "声动"})
    assert b"%5b%7b" in body
    assert decode_one(body, *said).fields["title"] == "声动"


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "application/json",
        "application/json; charset=gbk",
        "application/json; charset=GB2312",
        "application/json; charset=cp936",
        "application/json; charset=utf-8",
        "application/json; charset=latin-1",
    ],
)
@pytest.mark.parametrize("charset", ["gbk", "gb18030"])
def test_it_reads_gbk_declared_or_not(content_type: str, charset: str) -> None:
    assert decode_one(dumps(PLAIN).encode(charset), content_type).fields == PLAIN


def test_it_reads_a_short_gbk_body_as_gbk() -> None:
    assert decode_one('{"title":"应用"}'.encode("gbk")).fields["title"] == "应用"


def test_it_reads_gb18030_with_characters_that_gbk_lacks() -> None:
    assert decode_one(dumps(UPDATE).encode("gb18030"), "text/plain").fields == UPDATE


@pytest.mark.parametrize("charset", ["big5", "Big5", "big5-hkscs"])
def test_it_reads_big5_where_it_is_declared(charset: str) -> None:
    event = decode_one(dumps(TRADITIONAL).encode("big5"), f"text/plain; charset={charset}")
    assert event.fields == fields_of(TRADITIONAL)


@pytest.mark.parametrize(
    ("charset", "content_type"),
    [("gbk", FORM), ("gbk", ""), ("utf-8", f"{FORM}; charset=gbk"), ("gbk", f"{FORM};charset=gbk")],
)
def test_it_reads_a_percent_encoded_form_in_gbk(charset: str, content_type: str) -> None:
    body = urlencode(PLAIN, encoding=charset).encode()
    assert decode_one(body, content_type).fields == PLAIN


def test_it_reads_json_in_a_form_field_in_gbk() -> None:
    body = urlencode({"payload": dumps(PLAIN)}, encoding="gbk").encode()
    assert decode_one(body, FORM).fields == PLAIN


def test_it_reads_a_form_that_is_not_percent_encoded() -> None:
    body = "type=feedback&title=应用&notes=a b"
    for charset in ("utf-8", "gbk"):
        fields = decode_one(body.encode(charset), FORM).fields
        assert fields == fields_of({"type": "feedback", "title": "应用", "notes": "a b"})


def test_it_reads_multipart_fields_in_gbk() -> None:
    parts = {name: value.encode("gbk") for name, value in PLAIN.items()}
    assert decode_one(multipart(parts), MULTIPART).fields == PLAIN


@pytest.mark.parametrize("content_type", [MULTIPART, ""])
def test_it_reads_a_multipart_file_in_gbk(content_type: str) -> None:
    body = multipart({"file": dumps(PLAIN).encode("gbk")}, "event.json")
    assert decode_one(body, content_type).fields == PLAIN


def test_it_reads_a_form_with_names_that_pgyer_does_not_use_where_it_says_so() -> None:
    body = b"color=blue&build.number=7&empty="
    assert decode_one(body, FORM).payload == {"color": "blue", "build.number": "7", "empty": ""}
    with pytest.raises(UndecodableError):
        pgyer.decode(body, NOW)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda v: (urlencode(v).encode(), FORM),
        lambda v: (urlencode(v).encode(), ""),
        lambda v: (multipart(v), MULTIPART),
    ],
    ids=["form", "undeclared form", "multipart"],
)
@pytest.mark.parametrize("notes", ['{"type": "crashlog", "title": "evil"}', '[{"title": "evil"}]'])
def test_a_form_whose_notes_look_like_json_is_not_hijacked(
    wrap: Callable[[Mapping[str, str]], tuple[bytes, str]], notes: str
) -> None:
    event = decode_one(*wrap({"notes": notes, "type": "feedback", "title": "good"}))
    assert event.type == "feedback"
    assert event.fields == fields_of({"notes": notes, "type": "feedback", "title": "good"})


DOCUMENTED = {
    "title": "OooPlay",
    "link": "http://www.pgyer.com/oooplay_test",
    "os_version": "2.4",
    "build_version": "139",
    "created": "2015-10-09 11:25:16",
    "updated": "2015-10-09 11:25:16",
    "timestamp": "1444361118",
    "appsize": "2238036",
    "device_type": "iOS",
    "appQRCodeURL": "",
}
MADE_UP = {
    **DOCUMENTED,
    "type": "",
    "link": "https://www.pgyer.com/oooplay_test",
    "created": "2026-11-20 10:02:11",
    "updated": "2026-11-20 10:02:11",
    "timestamp": "1795140131",
    "notes": "",
}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "updateVersion",
            {
                **DOCUMENTED,
                "action": "應用更新",
                "message": "您的應用OooPlay有了新的版本(2.4)更新。",
                "type": "updateVersion",
                "notes": "修復了一些小弱智的小bug",
            },
        ),
        (
            "feedback",
            {
                **DOCUMENTED,
                "action": "應用反饋",
                "message": "您的應用OooPlay收到一條新的反饋信息",
                "type": "feedback",
                "notes": "修復了一些小弱智的小bug",
            },
        ),
        (
            "crashlog",
            {
                **DOCUMENTED,
                "action": "Crash log",
                "message": "您的應用OooPlay收到了新的Crash Log",
                "type": "crashlog",
                "notes": "libsystem_kernel.dylib 0x3094c49c mach_msg_trap 20 CoreFoundation "
                "0x21edf7f3 <redacted> 146 CoreFoundation 0x21edddb9 <redacted> 1016 ...",
            },
        ),
        (
            "versionChange",
            {
                **MADE_UP,
                "action": "版本变动",
                "message": "您的应用OooPlay的版本2.4(139)已被隐藏。",
            },
        ),
        (
            "appSettings",
            {
                **MADE_UP,
                "action": "App 设置变动",
                "message": "您的应用OooPlay的设置已变动。",
                "device_type": "Android",
            },
        ),
        (
            "transferApp",
            {
                **MADE_UP,
                "action": "迁移应用",
                "message": "您的应用OooPlay已迁移到新的账号。",
                "device_type": "Android",
            },
        ),
        (
            "deleteApp",
            {**MADE_UP, "action": "删除应用", "message": "您的应用OooPlay已被删除。"},
        ),
    ],
)
def test_it_reads_the_sample_as_it_is(name: str, expected: dict[str, str]) -> None:
    body = (SAMPLES / f"{name}.json").read_bytes()
    event = decode_one(body, "application/json")
    assert event.type == name
    assert event.fields == expected
    assert event.raw == body


def test_there_is_a_sample_of_every_known_event() -> None:
    assert {path.stem for path in SAMPLES.glob("*.json")} == set(pgyer.KNOWN_TYPES)


@pytest.mark.parametrize("name", ["updateVersion", "feedback", "crashlog"])
def test_the_documented_samples_are_not_json(name: str) -> None:
    text = (SAMPLES / f"{name}.json").read_text(encoding="utf-8")
    assert "'iOS'" in text
    with pytest.raises(ValueError, match="Expecting value"):
        json.loads(text)


@pytest.mark.parametrize(
    ("written_as", "read_as"),
    [
        (r'"\u5e94\u7528"', "应用"),
        (r'"\ud83d\ude00"', "😀"),
        (r"'\ud83d\ude00'", "😀"),
        (r'"http:\/\/pgyer.com\/a"', "http://pgyer.com/a"),
        (r"'http:\/\/pgyer.com\/a'", "http://pgyer.com/a"),
        (r'"a\\nb"', r"a\nb"),
        ('"a\nb"', "a\nb"),
        ("'a\nb'", "a\nb"),
        ("'a\r\nb'", "a\r\nb"),
        ("'say \"a\nb\"'", 'say "a\nb"'),
        ('"it\'s\n"', "it's"),
        (r"'it\'s'", "it's"),
        ('"a\tb"', "a\tb"),
        (r'"a\u0000b"', "ab"),
        ('"  padded\\n"', "padded"),
        ("139", "139"),
        ("2.4", "2.4"),
        ("2.0", "2"),
        ("-1", "-1"),
        ("1e3", "1000"),
        ("12345678901234567890", "12345678901234567890"),
        ("true", "true"),
        ("false", "false"),
        ("null", ""),
        ("NaN", ""),
        ("Infinity", ""),
        ("-Infinity", ""),
        ("1e999", ""),
        ("[]", ""),
        ("{}", ""),
        ('["a", 1]', '["a", 1]'),
        ('{"a": "应"}', '{"a": "应"}'),
        ('{"a": null}', ""),
        ("[null]", ""),
        ("[NaN]", ""),
        ("[1, Infinity, null]", "[1]"),
        ('"null"', ""),
        ('"None"', ""),
        ('"undefined"', ""),
        ('" NULL "', ""),
        ('"null pointer"', "null pointer"),
    ],
)
@pytest.mark.parametrize("field", ["notes", "timestamp"])
def test_it_reads_the_value(field: str, written_as: str, read_as: str) -> None:
    assert decode_one(f'{{"{field}": {written_as}}}'.encode()).fields[field] == read_as


@pytest.mark.parametrize("escape", [r"\ud83d", r"\ude00", r"\ude00\ud83d"])
def test_it_leaves_no_lone_surrogate(escape: str) -> None:
    event = decode_one(f'{{"notes": "a{escape}b", "x{escape}": ["{escape}"]}}'.encode())
    notes = event.fields["notes"]
    assert notes[0] == "a"
    assert notes[-1] == "b"
    dumps(event.payload).encode()  # it would raise


def test_a_raw_line_break_beside_a_lone_surrogate_does_no_harm() -> None:
    assert decode_one(b'{"notes": "a\nb\\ud83d"}').fields["notes"].startswith("a\nb")


def test_it_leaves_no_nul_anywhere() -> None:
    event = decode_one(rb'{"a\u0000": "b\u0000", "c": [{"d\u0000": "\u0000"}]}')
    assert event.payload == {"a": "b", "c": [{"d": ""}]}


@pytest.mark.parametrize("number", ["9" * 5000, "0x" + "F" * 4000, "1" + "0" * 4000])
@pytest.mark.parametrize("form", ['{{"notes": {}}}', '[{{"notes": {}}}, {{}}]'])
def test_a_number_of_any_length_does_no_harm(number: str, form: str) -> None:
    try:
        events = pgyer.decode(form.format(number).encode(), NOW)
    except UndecodableError:
        return
    for event in events:
        assert event.fields["title"] == ""
        assert json.loads(dumps(event.payload)) == event.payload


def test_missing_fields_are_empty_and_extra_ones_are_kept() -> None:
    event = decode_one('{"title": "应用", "新": {"a": [1, null, {"b": null}]}}'.encode())
    assert event.fields == fields_of({"title": "应用"})
    assert event.payload == {"title": "应用", "新": {"a": [1, {}]}}


@pytest.mark.parametrize("nothing", [None, *NOTHING, float("nan"), float("inf"), [None]])
def test_nothing_shows_where_there_is_nothing(nothing: object) -> None:
    event = decode_one(dumps(dict.fromkeys(FIELDS, nothing)).encode())
    assert event.fields == dict.fromkeys(FIELDS, "")
    assert event.type == ""


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


def test_each_object_of_an_array_becomes_an_event() -> None:
    events = pgyer.decode(
        '[{"type": "feedback"}, "{\'title\': \'应用\'}", [{"action": "删除应用"}]]'.encode(), NOW
    )
    assert [event.type for event in events] == ["feedback", "", "deleteApp"]
    assert [event.fields["title"] for event in events] == ["", "应用", ""]
    assert [json.loads(event.raw) for event in events] == [event.payload for event in events]
    assert {event.received_at for event in events} == {NOW}


def test_it_takes_as_many_events_as_it_says_and_no_more() -> None:
    assert len(pgyer.decode(dumps([{}] * pgyer.MAX_EVENTS).encode(), NOW)) == pgyer.MAX_EVENTS
    with pytest.raises(UndecodableError, match=f"more than {pgyer.MAX_EVENTS}"):
        pgyer.decode(dumps([{}] * (pgyer.MAX_EVENTS + 1)).encode(), NOW)


def nested(depth: int, mark: str = '"') -> bytes:
    return (f"{{{mark}a{mark}:" * depth + "1" + "}" * depth).encode()


def test_it_takes_objects_in_objects() -> None:
    assert decode_one(nested(50)).payload == json.loads(nested(50))


@pytest.mark.parametrize("depth", [pgyer.MAX_DEPTH + 1, 900, 5_000, 100_000])
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


def test_the_event_keeps_the_bytes_of_its_body() -> None:
    body = "\n{'title': '应用',}".encode("gbk")
    assert decode_one(body).raw == body
    assert decode_one(gzip.compress(body, mtime=0)).raw == body  # as they are once unpacked


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
    assert event.type == pgyer.UNDECODABLE
    assert event.payload == {"begins": begins, "bytes": len(body)}
    assert event.raw == body
    assert event.error == "neither JSON nor a form"
    assert event.received_at == NOW
    assert event.fields == dict.fromkeys(FIELDS, "")


@pytest.mark.parametrize(
    ("name", "actions"),
    [
        ("updateVersion", "应用更新|應用更新|App update|APP UPDATE|app-update| 应用 更新 "),
        ("feedback", "应用反馈|應用反饋|App feedback|Feedback|FEEDBACK|app_feedback"),
        ("crashlog", "Crash log|crash log|CrashLog|crash_log|崩溃日志|崩潰日誌"),
        ("versionChange", "版本变动|版本變動|Version management|version change|VERSION MANAGEMENT"),
        (
            "appSettings",
            "App 设置变动|App 設置變動|App设置变动|app 设置变动|App settings|AppSettings",
        ),
        ("transferApp", "迁移应用|遷移應用|App migration|app  Migration"),
        ("deleteApp", "删除应用|刪除應用|App deletion|App Deletion|delete app"),
    ],
)
def test_the_action_names_the_event_where_the_type_does_not(name: str, actions: str) -> None:
    for action in actions.split("|"):
        for given_type in ("", "null", "app_something", "未知"):
            assert pgyer.event_type({"type": given_type, "action": action}) == name, action
        assert pgyer.event_type({"action": action}) == name, action


@pytest.mark.parametrize("name", pgyer.KNOWN_TYPES)
def test_a_known_type_names_the_event_whatever_the_action(name: str) -> None:
    for given_type in (name, name.upper(), f" {name} ", name.lower()):
        assert pgyer.event_type({"type": given_type, "action": "应用更新"}) == name
        assert pgyer.event_type({"type": given_type, "action": "别的"}) == name
        assert pgyer.event_type({"type": given_type}) == name


def test_the_known_events_are_the_seven_of_the_contract() -> None:
    names = "updateVersion feedback crashlog versionChange appSettings transferApp deleteApp"
    assert sorted(pgyer.KNOWN_TYPES) == sorted(names.split())


@pytest.mark.parametrize(
    ("payload", "name"),
    [
        ({"type": "buildFinished", "action": "打包完成"}, "buildFinished"),
        ({"type": " 新 类型 "}, "新 类型"),
        ({"type": "a/b_C"}, "a/b_C"),
        ({"type": 7}, "7"),
        ({"type": None, "action": None}, ""),
        ({"type": "undefined"}, ""),
        ({"type": "---"}, "---"),
        ({}, ""),
    ],
)
def test_an_unknown_type_stays_as_it_came(payload: dict[str, Any], name: str) -> None:
    assert decode_one(dumps(payload).encode()).type == name


# --- any object, any bytes ---

# Without NUL and lone surrogates, which no message takes, and without U+FEFF, which is a BOM where
# a part of a form begins with it.
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0\ufeff"), max_size=40)
tricky = st.text(st.sampled_from("\\'\"{}[]:,=&%+#;/*\n\r\t u0041应😀\u2028-"), max_size=40)
objects = st.dictionaries(st.sampled_from(FIELDS), texts | tricky, min_size=1)


def as_read(value: str) -> str:
    return "" if value.strip() in NOTHING else value.strip()


@pytest.mark.parametrize("name", _ANY_OBJECT)
@given(values=objects)
@settings(deadline=None, max_examples=30)
def test_any_object_comes_through(name: str, values: dict[str, str]) -> None:
    event = decode_one(*WRAPPINGS[name](values))
    assert event.fields == fields_of({key: as_read(value) for key, value in values.items()})


scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts | st.sampled_from(NOTHING)
values = st.recursive(scalars, lambda v: st.lists(v) | st.dictionaries(texts, v), max_leaves=10)


@given(payload=st.dictionaries(st.sampled_from(FIELDS) | texts, values))
@settings(deadline=None)
def test_no_value_shows_that_it_is_missing(payload: dict[str, Any]) -> None:
    event = decode_one(json.dumps(payload).encode())
    assert not set(event.fields.values()) & {*NOTHING, "nan", "inf", "-inf", "[null]", "[NaN]"}
    strict = json.dumps(event.payload, allow_nan=False)
    assert json.loads(strict) == event.payload
    assert ": null" not in strict.replace('"null"', "")


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


def seconds(work: Callable[[], object]) -> float:
    """Return the processor's time for some work, without what a tracer (coverage) adds."""
    tracer = sys.gettrace()
    sys.settrace(None)
    try:
        start = time.thread_time()
        work()
        return time.thread_time() - start
    finally:
        sys.settrace(tracer)


@given(
    body=st.binary(max_size=4096) | soup,
    content_type=st.text(max_size=60) | st.sampled_from(HEADERS),
    encoding=st.sampled_from(["", "gzip", "deflate", "br"]) | st.text(max_size=20),
)
@example(body=b"--x\r\nContent-Disposition:\r\n\r\n\r\n--x--", content_type="", encoding="")
@example(body=b"{}", content_type="a/b; charset=\0", encoding="")
@example(body=b"\x1f\x8b" * 9, content_type="", encoding="deflate")
@settings(deadline=None, max_examples=1000, suppress_health_check=[HealthCheck.too_slow])
def test_any_bytes_are_events_or_refused_and_quickly(
    body: bytes, content_type: str, encoding: str
) -> None:
    events: list[Event] = []

    def work() -> None:
        try:
            events.extend(pgyer.decode(body, NOW, content_type, encoding))
        except (UndecodableError, TooLargeError) as error:
            events.append(pgyer.undecodable(body, NOW, str(error)))

    assert min(seconds(work) for _ in range(2)) < LIMIT
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


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("content_type", ["", FORM, MULTIPART, "text/plain; charset=utf-16"])
def test_a_hostile_body_costs_little(name: str, content_type: str) -> None:
    def work() -> None:
        with suppress(UndecodableError):
            pgyer.decode(HOSTILE[name], NOW, content_type)

    assert min(seconds(work) for _ in range(3)) < LIMIT
