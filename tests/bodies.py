"""Bodies that carry an event, in every wrapping, and what is expected of them."""

import gzip
import json
import zlib
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

from bridge.model import FIELDS, Event
from bridge.receiving import decoding as pgyer

NOW = 1_800_000_000.0
FORM = "application/x-www-form-urlencoded"


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
ANY_OBJECT = [name for name in WRAPPINGS if name != "a percent-encoded array"]


def nested(depth: int, mark: str = '"') -> bytes:
    return (f"{{{mark}a{mark}:" * depth + "1" + "}" * depth).encode()


def as_read(value: str) -> str:
    return "" if value.strip() in NOTHING else value.strip()
