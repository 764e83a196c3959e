"""Secrets in what was received → `***`, before anything of it is stored; pure.

Senders post more than an event: a reply of Pgyer's API with the password of a build, a signed
download link, a key. What is named like a secret is masked in the payload. Then the bytes that
came are not kept either (`decoding.event_of`), so no page, message, log line or backup has it.
"""

import re
from typing import Any

from bridge.model import FIELDS

MASK = "***"
_SECRET_NAME = re.compile(
    r"(?i:passw|passphrase|passcode|pwd|secret|token|credential|cookie|jwt|session_?id)"
    r"|(?i:(?:\b|_)(?:pass|auth|authorization|sign|signature)$)|Sign(?:ature)?$"
    r"|(?i:(?:api|app|user|access|auth|private|sign(?:ing)?|encrypt(?:ion)?|bot|webhook)[_-]?key)"
    r"|(?:\b|_)[kK]eys?\d*$|Keys?\d*$|KEYS?\d*$"
    r"|密码|密钥|口令|令牌|私钥|InstallAnswer"
)
_DOWNLOAD = re.compile(r"download_?(?:ur[il]|link)$", re.IGNORECASE)
# `buildKey` is an identifier: the addresses of Pgyer's own download pages contain it.
_NO_SECRET = {*FIELDS, "buildKey"}
_QUERY = re.compile(r"([?#])([\w.~%&=+/:;,@!$()*-]+)", re.ASCII)
# The beginning of `"name": value`, `name=value` and `<name>value`, and a value, maybe cut off.
_NAME = re.compile(r"""(?<![\w.-])([\w.-]{1,64}+)(?:\\*["'\]]|%5D){0,4}+\s*+[:=>]\s*+""")
_VALUE = re.compile(
    r"""(\\*")(?:[^"\\]|\\.)*+|(\\*')(?:[^'\\]|\\.)*+|[^\s,;&<}\]"']+""",
    re.DOTALL,
)


def mask(value: Any) -> Any:
    """Return decoded JSON with every value that is named like a secret as `***`.

    Names count in objects, in the queries of addresses, and in texts that are JSON themselves.
    Empty values, true and false stay, and so does a download link that is not signed.
    """
    if isinstance(value, str):
        text = _mask_pairs(value) if value[:1] in ("{", "[") else value
        return _QUERY.sub(_mask_query, text) if "?" in text or "#" in text else text
    if isinstance(value, dict):
        return {
            name: mask(item) if name in _NO_SECRET else _mask_named(name, item)
            for name, item in value.items()
        }
    return [mask(item) for item in value] if isinstance(value, list) else value


def mask_body(body: bytes) -> bytes:
    """Return a body that cannot be decoded with what looks like a named secret as `***`."""
    text = body.decode("utf-8", "surrogateescape")
    return _mask_pairs(text).encode("utf-8", "surrogateescape")


def _names_secret(name: str) -> bool:
    # Real names are short; searching a very long one would take too long.
    return name not in _NO_SECRET and _SECRET_NAME.search(name[-100:]) is not None


def _mask_named(name: str, value: Any) -> Any:
    if value == "" or isinstance(value, bool):
        return value
    is_signed = isinstance(value, str) and "?" in value and _DOWNLOAD.search(name)
    return MASK if is_signed or _names_secret(name) else mask(value)


def _mask_query(query: re.Match[str]) -> str:
    pairs = (pair.partition("=") for pair in query[2].split("&"))
    is_secret = any(value and _names_secret(name) for name, _, value in pairs)
    return query[1] + MASK if is_secret else query[0]


def _mask_pairs(text: str) -> str:
    parts, done = [], 0
    for name in _NAME.finditer(text):
        if name.start() < done or not _names_secret(name[1]):
            continue
        if value := _VALUE.match(text, name.end()):
            parts += [text[done : name.end()], value[1] or value[2] or "", MASK]
            done = value.end()
    return "".join([*parts, text[done:]])
