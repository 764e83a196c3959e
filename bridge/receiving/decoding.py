"""Raw body → Events, pure.

Pgyer's documentation asks receivers to decode JSON from the raw body. In practice bodies come with
a wrong Content-Type or none, in another charset, or as invalid JSON (the samples in Pgyer's own
documentation are). So every reading is tried, the strictest first, and a body is refused only when
none of them finds an object.
"""

import codecs
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from typing import Any

import pyjson5
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder, NeedData

from bridge.errors import TooLargeError, UndecodableError
from bridge.model import FIELDS, Event
from bridge.receiving.builds import with_build_fields
from bridge.receiving.cleaning import MAX_DEPTH, clean, clean_text
from bridge.receiving.event_types import UNDECODABLE, event_type
from bridge.receiving.masking import mask, mask_body

# An absurdly long number is refused here already: Python would take long to read it.
_decode_json = json.JSONDecoder(strict=False, parse_int=lambda s: clean(int(s[:400]))).decode
MAX_BODY = 1 << 20  # bytes, as it came and once unpacked
MAX_EVENTS = 1000  # in one array
MAX_PARTS = 200  # of a form; Pgyer's events have 14 fields

# Declared charsets that are tried. UTF-8, UTF-16 and UTF-32 are detected, and what is left is read
# as gb18030, a superset of gbk and gb2312. latin-1 decodes any bytes, and who declares it mostly
# sends UTF-8.
_CHARSETS = {"big5", "big5hkscs", "shift_jis", "euc_kr", "euc_jp"}
_FIELDS = set(FIELDS)
_PLAIN_TYPES = {str, int}
_SPECIAL_BYTES = b"\\\0?#["  # without them a value has no escape, no query and no JSON in it


def decode(
    body: bytes, received_at: float, content_type: str = "", content_encoding: str = ""
) -> list[Event]:
    """Return the events in a body: [] for an empty one, several for an array.

    Raises UndecodableError where no reading finds an object, TooLargeError where the body is over
    MAX_BODY, as it came or unpacked. `received_at` is in epoch seconds.
    """
    if len(body) > MAX_BODY:
        raise TooLargeError("over %(most)s bytes", most=MAX_BODY)
    body = _unpack(body, content_encoding)
    if body.startswith(b"{"):
        # Nearly every body is valid JSON; this finds the same as the readings below, only faster.
        with suppress(ValueError, RecursionError):
            value = _decode_json(body.decode())
            if _is_usual(value, body):
                return [Event(event_type(value), value, received_at, body)]
            return [event_of(value, received_at, body)]
    if not body.strip(b" \t\r\n\f\v\xef\xbb\xbf"):
        return []
    mimetype, options = parse_options_header(content_type)
    values = list(islice(_objects(_read(body, mimetype.lower(), options)), MAX_EVENTS + 1))
    if len(values) > MAX_EVENTS:
        raise UndecodableError("an array of too many events")
    if len(values) == 1:
        return [event_of(values[0], received_at, body)]
    return [event_of(value, received_at) for value in values]


def _is_usual(value: dict[str, Any], body: bytes) -> bool:
    """Return whether `event_of` would change nothing: only Pgyer's fields, and plain values."""
    return (
        value.keys() <= _FIELDS
        and set(map(type, value.values())) <= _PLAIN_TYPES
        and body.rfind(b"{") == 0
        and not any(map(body.__contains__, _SPECIAL_BYTES))
    )


def event_of(value: Mapping[str, Any], received_at: float, raw: bytes = b"") -> Event:
    """Return a decoded object as an event.

    Without `raw`, and where a secret had to be masked, the payload's own JSON is kept as raw.
    """
    found = with_build_fields(clean(value))
    payload = mask(found)
    if not raw or payload != found:
        raw = json.dumps(payload, ensure_ascii=False).encode()
    return Event(event_type(payload), payload, received_at, raw)


def undecodable(body: bytes, received_at: float, why: str) -> Event:
    """Return the event that stands for a body without one: its bytes, and how they begin.

    They are kept as they came, except for what looks like the value of a secret.
    """
    raw = mask_body(body)
    text = re.sub(r"\s+", " ", raw[:400].decode("utf-8", "replace")).strip()
    shown = text[:80] + ("…" if len(text) > 80 or len(raw) > 400 else "")
    payload = {"begins": clean_text(shown), "bytes": len(body)}
    return Event(UNDECODABLE, payload, received_at, raw, why)


def _unpack(body: bytes, encoding: str) -> bytes:
    packed = body[:2] == b"\x1f\x8b" or encoding.strip().lower() in ("gzip", "x-gzip", "deflate")
    if not packed:
        return body
    # Some senders of "deflate" leave zlib's header out, hence the second reading.
    for wbits in (zlib.MAX_WBITS | 32, -zlib.MAX_WBITS):
        with suppress(zlib.error):
            unpacker = zlib.decompressobj(wbits)
            unpacked = unpacker.decompress(body, MAX_BODY + 1)
            if len(unpacked) > MAX_BODY:
                raise TooLargeError("unpacks to more than %(most)s bytes", most=MAX_BODY)
            if unpacker.eof and not unpacker.unused_data:
                return unpacked
    return body  # the header is wrong: nothing was packed


def _read(body: bytes, mimetype: str, options: Mapping[str, str]) -> Any:
    """Return the first decoded value that a body has as multipart, JSON or form, in this order.

    Raises UndecodableError where it is none of them.
    """
    charset = options.get("charset", "")
    parts = _multipart(body, mimetype, options)
    if parts is None:
        with suppress(ValueError):
            return _json(_text(body, charset))
        parts = _urlencoded(_text(body, charset))
    form = {_text(name, charset): _text(value, charset) for name, value in parts}
    if {*FIELDS, "buildName", "buildKey"} & set(form):
        return form
    if (inner := _json_field(form)) is not None:
        return inner
    is_form = mimetype in ("application/x-www-form-urlencoded", "multipart/form-data")
    if is_form and all(re.fullmatch(r"[\w.\[\]-]{1,100}", name) for name in form) and form:
        return form
    raise UndecodableError("neither JSON nor a form")


def _text(data: bytes, charset: str) -> str:
    """Decode by the evidence in the bytes (BOM, NULs, valid UTF-8), then as declared, then GBK."""
    detected = json.detect_encoding(data)
    for name in (detected, "utf-8", _declared(charset), "gb18030"):
        with suppress(UnicodeDecodeError):
            return data.decode(name)
    return data.decode(detected, "replace")


def _declared(charset: str) -> str:
    with suppress(LookupError, ValueError):
        name = codecs.lookup(charset).name
        return name if name in _CHARSETS else "utf-8"
    return "utf-8"


def _json(text: str) -> Any:
    """Parse JSON, or JSON5 with raw line breaks in its strings; ValueError if it is neither."""
    with suppress(ValueError, RecursionError):
        return _decode_json(text)
    for prepared in (str, _escape_newlines):
        with suppress(pyjson5.Json5DecoderException, RecursionError, UnicodeError):
            return pyjson5.decode(prepared(text), maxdepth=MAX_DEPTH)
    raise ValueError("not JSON")


_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"?|\'(?:[^\'\\]|\\.)*+\'?', re.DOTALL)


def _escape_newlines(text: str) -> str:
    """Escape raw line breaks inside strings, which the JSON5 parser does not accept."""
    if text.count('"') + text.count("'") > 20_000:
        return ""  # no event has so many strings; escaping each would take too long
    return _STRING.sub(lambda s: s.group().replace("\n", "\\n").replace("\r", "\\r"), text)


def _objects(value: Any, depth: int = 3) -> Iterator[Mapping[str, Any]]:
    """Yield the objects in a decoded value: itself, an array's items, JSON in a JSON string."""
    if isinstance(value, Mapping):
        yield value
    elif isinstance(value, list) and depth:
        # Each item then yields an event or raises, so that MAX_EVENTS bounds the work.
        if not value:
            raise UndecodableError("the array is empty")
        for item in value:
            yield from _objects(item, depth - 1)
    elif isinstance(value, str) and depth:
        try:
            inner = _json(value)
        except ValueError:
            raise UndecodableError("a string without JSON in it") from None
        yield from _objects(inner, depth - 1)
    else:
        raise UndecodableError("JSON, but not an object")


def _multipart(
    body: bytes, mimetype: str, options: Mapping[str, str]
) -> list[tuple[bytes, bytes]] | None:
    """Return the parts of a multipart body as (name, data), None where it is not multipart."""
    boundary = options.get("boundary", "").encode() if mimetype.startswith("multipart/") else b""
    head = re.match(rb"\s*--([^\r\n]{1,200})\r?\nContent-Disposition:", body, re.IGNORECASE)
    if head:
        boundary = head.group(1)
    if not boundary or b"--" + boundary not in body:
        return None
    decoder = MultipartDecoder(boundary, max_parts=MAX_PARTS)
    parts: list[tuple[bytes, bytes]] = []
    try:
        decoder.receive_data(body)
        decoder.receive_data(None)
        while not isinstance(event := decoder.next_event(), Epilogue | NeedData):
            if isinstance(event, Field | File):
                parts.append(((event.name or "").encode(), b""))
            elif isinstance(event, Data):
                name, data = parts[-1]
                parts[-1] = (name, data + event.data)
    except Exception:
        raise UndecodableError("broken multipart") from None
    return parts


def _urlencoded(text: str) -> list[tuple[bytes, bytes]]:
    """Return the fields of a urlencoded form as (name, value), [] where the text is not a form."""
    text = text.strip()
    if ("=" not in text and text[:3].upper() not in ("%7B", "%5B")) or text.count("&") >= MAX_PARTS:
        return []
    data = text.encode().replace(b"+", b" ")
    pairs = (pair.partition(b"=") for pair in data.split(b"&") if pair)
    return [(_unquote(name), _unquote(value)) for name, _, value in pairs]


def _unquote(data: bytes) -> bytes:
    """Decode %-escapes, quickly also in a text full of bare percent signs, unlike urllib."""
    return re.sub(rb"%([0-9A-Fa-f]{2})", lambda found: bytes.fromhex(found[1].decode()), data)


def _json_field(form: Mapping[str, str]) -> Any:
    """Return the first JSON object or array that is a field's value or name, else None."""
    for name, value in form.items():
        for text in (value, name):
            if text.lstrip()[:1] in ("{", "["):
                with suppress(ValueError):
                    return _json(text)
    return None
