"""Message → HTTP → Outcome: the client of WeCom's robots, and what its answers mean.

Business errors come with HTTP 200, so errcode decides and never the status (document 91770).
Nothing here retries: what to do next stands in the outcome, and the outbox remembers it.
"""

import json
import logging
import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import requests
from requests.adapters import HTTPAdapter

from bridge.model import Bot, Message, Outcome, Verdict

log = logging.getLogger(__name__)

CONNECT_TIMEOUT = 3.0  # seconds
READ_TIMEOUT = 5.0  # seconds without a byte
CALL_TIMEOUT = 8.0  # seconds for a whole call; less than the outbox's lease
_MAX_REPLY = 1 << 16  # bytes; WeCom's own are some 200

# errcode → verdict and reason (document 90313). Whatever is not here will never be taken.
_POLICY: Mapping[int, tuple[Verdict, str]] = {
    0: (Verdict.SENT, "ok"),
    -1: (Verdict.RETRY, "system_busy"),
    45009: (Verdict.REST, "rate_limited"),
    45033: (Verdict.RETRY, "too_concurrent"),
    93000: (Verdict.STOP, "invalid_webhook"),
    93004: (Verdict.STOP, "robot_disabled"),
    93008: (Verdict.STOP, "robot_not_in_group"),
    40008: (Verdict.PARK, "invalid_msgtype"),
    44004: (Verdict.PARK, "empty_content"),
    40058: (Verdict.PARK, "invalid_parameter"),
    40007: (Verdict.PARK, "invalid_media_id"),
    41006: (Verdict.PARK, "media_id_missing"),
}


class Client:
    """Posts messages to robots; one for a whole process, safe to use from many threads."""

    def __init__(
        self, session: requests.Session | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._session = session or _session()
        self._surroundings = cache(self._look_around)
        self._call = cache(self._prepare)
        self._clock = clock

    def send(self, bot: Bot, message: Message) -> Outcome:
        """Make one call and return how it ended; never raises for what the far side does.

        A `file` that is not uploaded yet is uploaded by this call, and sent by a next one.
        """
        url = bot.webhook.reveal()
        if "data" in message.body:
            url = upload_url(url)
            files = {"media": _part(message)}
            return self._post(url, requests.Request("POST", url, files=files).prepare())
        # Rendered first and encoded last: no quote in a title can break the JSON.
        call = self._call(url).copy()
        call.prepare_body(json.dumps(message.to_json(), ensure_ascii=False).encode(), None)
        return self._post(url, call)

    def _prepare(self, url: str) -> requests.PreparedRequest:
        """Return a call without its body: a bot's address is taken apart once, not each time."""
        headers = {"Content-Type": "application/json"}
        return requests.Request("POST", url, headers=headers).prepare()

    def _post(self, url: str, call: requests.PreparedRequest) -> Outcome:
        deadline = self._clock() + CALL_TIMEOUT
        # By the adapter itself: of what a session adds (cookies, redirects) WeCom has none.
        adapter = self._session.get_adapter(url)
        try:
            with adapter.send(
                call, timeout=(CONNECT_TIMEOUT, READ_TIMEOUT), **self._surroundings(url)
            ) as response:
                reply = self._read(response, deadline)
                return classify(response.status_code, reply, response.headers.get("Retry-After"))
        except requests.RequestException as error:
            return transport_failure(error)

    def _look_around(self, url: str) -> Mapping[str, Any]:
        """Return the proxies and certificates that the environment asks for."""
        return self._session.merge_environment_settings(url, {}, True, None, None)

    def _read(self, response: requests.Response, deadline: float) -> bytes:
        """Read a reply that may be endless or trickle: at most _MAX_REPLY, until the deadline."""
        reply = b""
        for chunk in response.iter_content(4096):
            reply += chunk
            if len(reply) > _MAX_REPLY:
                break
            if self._clock() > deadline:
                raise requests.Timeout
        return reply


def upload_url(webhook: str) -> str:
    """Return the address that takes a robot's files, from the one that takes its messages."""
    parts = urlsplit(webhook)
    path = f"{parts.path.rpartition('/')[0]}/upload_media"
    return urlunsplit(parts._replace(path=path, query=f"{parts.query}&type=file"))


def _part(message: Message) -> tuple[str, bytes, str]:
    return message.body["filename"], message.body["data"], "text/plain"


def _session() -> requests.Session:
    session = requests.Session()
    # A retry inside the stack would neither be counted against the rate nor survive a restart.
    adapter = HTTPAdapter(max_retries=0, pool_maxsize=64)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def classify(status: int, reply: bytes, retry_after: str | None = None) -> Outcome:
    """Return what WeCom's answer means: by its errcode where there is one, else by the status."""
    try:
        answer = json.loads(reply)
        errcode = int(answer["errcode"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return _without_errcode(status, retry_after)
    detail = core_message(answer.get("errmsg"))
    verdict, reason = _POLICY.get(errcode, (Verdict.PARK, f"errcode_{errcode}"))
    media_id = str(answer.get("media_id") or "")
    return Outcome(verdict, reason, detail, errcode, media_id=media_id)


def _without_errcode(status: int, retry_after: str | None) -> Outcome:
    detail = f"HTTP {status} without an errcode"
    if 400 <= status < 500 and status != 429:
        return Outcome(Verdict.PARK, f"http_{status}", detail)
    reason = "not_json" if status < 300 else f"http_{status}"
    return Outcome(Verdict.RETRY, reason, detail, retry_after=_seconds(retry_after))


def _seconds(retry_after: str | None) -> float | None:
    """Read a Retry-After header: seconds, or a date (RFC 9110, 10.2.3)."""
    if retry_after is None:
        return None
    if re.fullmatch(r"\s*\d{1,9}\s*", retry_after):
        return float(retry_after)
    try:
        return max(0.0, (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def core_message(errmsg: object) -> str:
    """Return an errmsg without its tail of hint, IP and address, which says nothing to a reader."""
    return re.split(r",?\s*(?:hint:|from ip:|more info at)", str(errmsg or ""), maxsplit=1)[0][:200]


def transport_failure(error: requests.RequestException) -> Outcome:
    """Return the outcome of a call without an answer; the exception's text holds the key."""
    kinds = (
        (requests.exceptions.ConnectTimeout, "connect_timeout", "no connection in time"),
        (requests.Timeout, "read_timeout", "no answer in time: it may have arrived all the same"),
        (requests.exceptions.SSLError, "tls", "the TLS handshake failed"),
        (requests.exceptions.ProxyError, "proxy", "the proxy refused"),
    )
    for kind, reason, detail in kinds:
        if isinstance(error, kind):
            return Outcome(Verdict.RETRY, reason, detail)
    return Outcome(Verdict.RETRY, "connection", "the connection failed or broke")
