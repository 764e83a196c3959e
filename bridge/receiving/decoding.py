"""Raw body → Events: the inbound side, pure.

Pgyer's page tells receivers to read the raw body and to decode JSON from it; what arrives in
practice has no or the wrong Content-Type, another charset, or is not quite JSON (the samples in
Pgyer's own documentation are not). So every reading is tried, the strictest first, and only a
body in which none finds an object is refused.
"""

import codecs
import json
import math
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
from bridge.model import FIELDS, Event, as_text

_decode_json = json.JSONDecoder(strict=False).decode
MAX_BODY = 1 << 20  # bytes, as it came and once unpacked
MAX_EVENTS = 1000  # in one array
MAX_PARTS = 200  # of a form; Pgyer's events have 14 fields
MAX_DEPTH = 100  # of objects in objects
UNDECODABLE = "undecodable"  # the type of the event that stands for a body nobody can read

# Four of Pgyer's seven types are not published, so `action` picks the event where `type` cannot.
# Compared in simplified script, lower case, without spaces and punctuation.
_ACTIONS = {
    "updateVersion": "应用更新 版本更新 appupdate applicationupdate updateversion newversion",
    "feedback": "应用反馈 用户反馈 feedback appfeedback applicationfeedback userfeedback",
    "crashlog": "crashlog crash 崩溃日志 应用崩溃 闪退日志 crash日志 appcrash",
    "versionChange": "版本变动 版本变更 版本管理 versionchange versionmanagement versionchanged",
    "appSettings": "app设置变动 应用设置变动 设置变动 app设置变更 appsettings appsetting "
    "appsettingschange appsettingschanged applicationsettings",
    "transferApp": "迁移应用 应用迁移 appmigration migrateapp migrationapp transferapp apptransfer "
    "applicationmigration",
    "deleteApp": "删除应用 应用删除 appdeletion deleteapp appdelete appdeleted applicationdeletion",
}
_TYPE_OF = {word: name for name, words in _ACTIONS.items() for word in words.split()}
KNOWN_TYPES = tuple(_ACTIONS)
_SIMPLIFIED = str.maketrans("應饋誌潰變動設遷刪閃戶更", "应馈志溃变动设迁删闪户更")

# The charsets that a sender is believed to mean. gb18030 holds gbk and gb2312. latin-1 is not
# among them: it fits any bytes, and senders that name it mostly send UTF-8. Without a BOM, UTF-16
# is big-endian by the book and little-endian in practice.
_CHARSETS = {
    **dict.fromkeys(("gbk", "gb2312", "gb18030"), ("gb18030",)),
    **{name: (f"{name}-le", f"{name}-be") for name in ("utf-16", "utf-32")},
    **{f"utf-{n}-{end}": (f"utf-{n}-{end}",) for n in (16, 32) for end in ("le", "be")},
    **{name: (name,) for name in ("big5", "big5hkscs", "shift_jis", "euc_kr", "euc_jp")},
}
_BOMS = (
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe\0\0", "utf-32-le"),
    (b"\0\0\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)


def decode(
    body: bytes, received_at: float, content_type: str = "", content_encoding: str = ""
) -> list[Event]:
    """Return the events in a body: [] for an empty one, several for an array.

    Raises UndecodableError where no reading finds an object, TooLargeError where the unpacked
    body is over MAX_BODY. `received_at` is in epoch seconds.
    """
    body = _unpack(body, content_encoding)
    if body.startswith(b"{"):
        # By far the most bodies are JSON as it should be; the readings below find the same in them.
        with suppress(ValueError, RecursionError):
            return [event_of(_decode_json(body.decode()), received_at, body)]
    if not body.strip(b" \t\r\n\f\v\xef\xbb\xbf"):
        return []
    mimetype, options = parse_options_header(content_type)
    values = list(islice(_objects(_read(body, mimetype.lower(), options)), MAX_EVENTS + 1))
    if len(values) > MAX_EVENTS:
        raise UndecodableError(f"the array holds more than {MAX_EVENTS} events")
    if len(values) == 1:
        return [event_of(values[0], received_at, body)]
    return [event_of(value, received_at) for value in values]


def event_of(value: Mapping[str, Any], received_at: float, raw: bytes = b"") -> Event:
    """Return the event that a decoded object is; without `raw`, its own JSON stands for it."""
    payload = clean(value)
    raw = raw or json.dumps(payload, ensure_ascii=False).encode()
    return Event(event_type(payload), payload, received_at, raw)


def undecodable(body: bytes, received_at: float, why: str) -> Event:
    """Return the event that stands for a body in which none can be found; it keeps the bytes."""
    text = re.sub(r"\s+", " ", body[:400].decode("utf-8", "replace")).strip()
    shown = text[:80] + ("…" if len(text) > 80 or len(body) > 400 else "")
    payload = {"begins": clean_text(shown), "bytes": len(body)}
    return Event(UNDECODABLE, payload, received_at, body, why)


def event_type(payload: Mapping[str, Any]) -> str:
    """Return the event's type: Pgyer's own name for the seven that are known, else as it came."""
    given = as_text(payload.get("type"))
    if given in _ACTIONS:
        return given
    return (
        _TYPE_OF.get(_plain(given)) or _TYPE_OF.get(_plain(as_text(payload.get("action")))) or given
    )


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.translate(_SIMPLIFIED)).lower()


def clean(value: Any, depth: int = MAX_DEPTH) -> Any:
    """Return decoded JSON without what no database or message takes: nulls, broken characters."""
    if isinstance(value, str):
        return clean_text(value)
    if not depth:
        raise UndecodableError(f"nested more than {MAX_DEPTH} deep")
    if isinstance(value, dict):
        pairs = ((clean_text(str(key)), clean(item, depth - 1)) for key, item in value.items())
        return {key: item for key, item in pairs if item is not None}
    if isinstance(value, list):
        return [new for item in value if (new := clean(item, depth - 1)) is not None]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, int) and value.bit_length() > 1000:  # Python refuses to print longer ones
        raise UndecodableError("a number without end")
    return value


def clean_text(text: str) -> str:
    r"""Return text that UTF-8 can carry: pairs of \u surrogates joined, lone ones and NUL out."""
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text.replace("\0", "")


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
                raise TooLargeError(f"unpacks to more than {MAX_BODY} bytes")
            if unpacker.eof and not unpacker.unused_data:
                return unpacked
    return body  # it only says that it is packed


def _read(body: bytes, mimetype: str, options: Mapping[str, str]) -> Any:
    charset = options.get("charset", "")
    parts = _multipart(body, mimetype, options)
    if parts is None:
        with suppress(ValueError):
            return _json(_text(body, charset))
        parts = _urlencoded(_text(body, charset))
    form = {_text(name, charset): _text(value, charset) for name, value in parts}
    if set(FIELDS) & set(form):
        return form
    if (inner := _json_field(form)) is not None:
        return inner
    said = mimetype in ("application/x-www-form-urlencoded", "multipart/form-data")
    if said and all(re.fullmatch(r"[\w.\[\]-]{1,100}", name) for name in form) and form:
        return form
    raise UndecodableError("neither JSON nor a form")


def _text(data: bytes, charset: str) -> str:
    """Decode by what the bytes themselves prove (BOM, NULs, valid UTF-8), then by what is said."""
    for bom, name in _BOMS:
        if data.startswith(bom):
            return data[len(bom) :].decode(name, "replace")
    declared = _declared(charset)
    wide = ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be") if b"\0" in data[:4] else ()
    for name in (*wide, *(n for n in declared if n.startswith("utf"))):
        with suppress(UnicodeDecodeError):
            text = data.decode(name)
            if text.lstrip()[:1] in ("{", "[", '"'):
                return text
    for name in ("utf-8", *declared, "gb18030"):
        with suppress(UnicodeDecodeError):
            return data.decode(name)
    return data.decode("utf-8", "replace")


def _declared(charset: str) -> tuple[str, ...]:
    try:
        return _CHARSETS.get(codecs.lookup(charset).name, ())
    except (LookupError, ValueError):
        return ()


def _json(text: str) -> Any:
    """Read JSON as people write it; raises ValueError where it is none."""
    with suppress(ValueError, RecursionError):
        return _decode_json(text)
    for candidate in (text, _escape_newlines(text)):
        with suppress(pyjson5.Json5DecoderException, RecursionError, UnicodeError):
            return pyjson5.decode(candidate, maxdepth=MAX_DEPTH)
    raise ValueError("not JSON")


_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"?|\'(?:[^\'\\]|\\.)*+\'?', re.DOTALL)


def _escape_newlines(text: str) -> str:
    """Write raw newlines inside strings as escapes: JSON5 has no `strict=False`."""
    if text.count('"') + text.count("'") > 20_000:
        return ""  # no event has so many strings, and looking at each takes its time
    return _STRING.sub(lambda s: s.group().replace("\n", "\\n").replace("\r", "\\r"), text)


def _objects(value: Any, depth: int = 3) -> Iterator[Mapping[str, Any]]:
    """Yield the objects in a decoded value: itself, an array's, or JSON inside a JSON string."""
    if isinstance(value, Mapping):
        yield value
    elif isinstance(value, list) and depth:
        if not value:  # every item is an event or ends the search, which bounds the work
            raise UndecodableError("the array is empty")
        for item in value:
            yield from _objects(item, depth - 1)
    elif isinstance(value, str) and depth:
        try:
            inner = _json(value)
        except ValueError:
            raise UndecodableError("a string that holds no JSON") from None
        yield from _objects(inner, depth - 1)
    else:
        raise UndecodableError(f"JSON, but no object: {type(value).__name__}")


def _multipart(
    body: bytes, mimetype: str, options: Mapping[str, str]
) -> list[tuple[bytes, bytes]] | None:
    """Return a multipart body's parts as (name, bytes), None where it is not multipart."""
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
    except Exception as error:
        raise UndecodableError(f"multipart, but broken: {type(error).__name__}") from None
    return parts


def _urlencoded(text: str) -> list[tuple[bytes, bytes]]:
    """Return a form's fields as (name, value), [] where the text is none."""
    text = text.strip()
    if ("=" not in text and text[:3].upper() not in ("%7B", "%5B")) or text.count("&") >= MAX_PARTS:
        return []
    data = text.encode().replace(b"+", b" ")
    pairs = (pair.partition(b"=") for pair in data.split(b"&") if pair)
    return [(_unquote(name), _unquote(value)) for name, _, value in pairs]


def _unquote(data: bytes) -> bytes:
    """Undo %-escapes; unlike urllib's, not slowed down by what only looks like one."""
    return re.sub(
        rb"(?:%[0-9A-Fa-f]{2})+",
        lambda run: bytes.fromhex(run[0].replace(b"%", b"").decode()),
        data,
    )


def _json_field(form: Mapping[str, str]) -> Any:
    """Return the JSON object or array in the first value (or name) that holds one, else None."""
    for name, value in form.items():
        for text in (value, name):
            if text.lstrip()[:1] in ("{", "["):
                try:
                    return _json(text)
                except ValueError:
                    continue
    return None
