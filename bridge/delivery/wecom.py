"""Message → HTTP → Outcome: the client of WeCom's robots, and what its answers mean.

Business errors come with HTTP 200, so errcode decides and never the status (document 91770).
Nothing here retries: what to do next stands in the outcome, and the outbox remembers it.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.util import find_spec
from urllib.parse import urlsplit, urlunsplit

import requests
import urllib3
from requests import exceptions
from requests.utils import should_bypass_proxies

from bridge.delivery.deadline import Caller, time_left
from bridge.model import Bot, Message, Outcome, Verdict, is_loopback, to_json
from bridge.wording import N_, gettext

CONNECT_TIMEOUT = 3.0  # seconds
READ_TIMEOUT = 5.0  # seconds without a byte
CALL_TIMEOUT = 8.0  # seconds for a whole call; less than the outbox's lease
_JSON = {"Content-Type": "application/json"}
_MAX_REPLY = 1 << 16  # bytes; WeCom's own are some 200
_MAX_DETAIL, _MAX_MEDIA_ID = 200, 256  # characters
_MAX_ERRCODE = 2**31 - 1  # what a column holds; WeCom's own have at most 7 digits
_MAX_RETRY_AFTER = 86400.0  # seconds

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
# Statuses without an errcode that are not about the message: WeCom answers these with HTTP 200.
_WRONG_ADDRESS = (401, 403, 404, 405, 410)
_TRANSIENT = (408, 421, 425, 429)
_LATE = Outcome(
    Verdict.RETRY, "read_timeout", "no answer in time: it may have arrived all the same"
)


class Client:
    """Posts messages to robots; one for a whole process, safe to use from many threads.

    No call takes longer than `timeout` seconds, whatever the far side does.
    """

    def __init__(self, timeout: float = CALL_TIMEOUT) -> None:
        self._caller = Caller(connections=64)
        self._timeout = timeout

    def send(self, bot: Bot, message: Message) -> Outcome:
        """Make one call and return how it ended; never raises for what the far side does.

        A `file` that is not uploaded yet is uploaded by this call, and sent by a next one.
        """
        url = bot.webhook.reveal()
        if "data" in message.body:
            files = {"media": (message.body["filename"], message.body["data"], "text/plain")}
            outcome = self._post(requests.Request("POST", upload_url(url), files=files))
            if outcome.verdict is Verdict.SENT and not outcome.media_id:
                return Outcome(Verdict.RETRY, "not_wecom", "an upload was taken without a media_id")
            return outcome
        # Rendered first and encoded last: no quote in a title can break the JSON.
        body = to_json(message.to_json()).encode()
        outcome = self._post(requests.Request("POST", url, headers=_JSON, data=body))
        return replace(outcome, media_id="")  # only an upload has one

    def _post(self, request: requests.Request) -> Outcome:
        timeout = (CONNECT_TIMEOUT, READ_TIMEOUT)
        try:
            response, reply = self._caller.call(request, self._timeout, timeout, _MAX_REPLY)
            return classify(response.status_code, reply, response.headers.get("Retry-After"))
        except Exception as error:  # whatever an answer makes a library raise
            outcome = transport_failure(error)
        # At the deadline the library may say no more than that the connection broke.
        return _LATE if time_left() <= 0 and outcome.reason != "connect_timeout" else outcome


def upload_url(webhook: str) -> str:
    """Return the address that takes a robot's files, from the one that takes its messages."""
    parts = urlsplit(webhook)
    path = f"{parts.path.rpartition('/')[0]}/upload_media"
    return urlunsplit(parts._replace(path=path, query=f"{parts.query}&type=file"))


def classify(status: int, reply: bytes, retry_after: str | None = None) -> Outcome:
    """Return what WeCom's answer means: by its errcode where there is one, else by the status.

    Whatever the answer holds, the outcome can be stored and shown: its numbers are small, its
    texts short and without control characters.
    """
    try:
        answer = json.loads(reply)
    except (ValueError, RecursionError):
        return _without_errcode(status, retry_after)
    if not isinstance(answer, dict) or answer.get("errcode") is None:
        return _without_errcode(status, retry_after)
    errcode = _whole(answer["errcode"])
    if errcode is None:
        return Outcome(Verdict.RETRY, "not_wecom", f"HTTP {status} with an errcode that is none")
    verdict, reason = _POLICY.get(errcode, (Verdict.PARK, f"errcode_{errcode}"))
    detail = core_message(answer.get("errmsg"))
    return Outcome(verdict, reason, detail, errcode, media_id=_media_id(answer.get("media_id")))


def _whole(errcode: object) -> int | None:
    """Return an errcode, None where it is no whole number or more than any of WeCom's."""
    if isinstance(errcode, str) and re.fullmatch(r"-?[0-9]{1,10}", errcode):
        errcode = int(errcode)
    if isinstance(errcode, bool) or not isinstance(errcode, int) or abs(errcode) > _MAX_ERRCODE:
        return None
    return errcode


def _media_id(value: object) -> str:
    is_good = isinstance(value, str) and re.fullmatch(rf"[!-~]{{1,{_MAX_MEDIA_ID}}}", value)
    return str(value) if is_good else ""


def _without_errcode(status: int, retry_after: str | None) -> Outcome:
    detail = f"HTTP {status} without an errcode"
    if status in _WRONG_ADDRESS:
        return Outcome(Verdict.STOP, "wrong_address", detail)
    if status == 407:
        return Outcome(Verdict.RETRY, "proxy", "the proxy asks for a name and password (HTTP 407)")
    if 400 <= status < 500 and status not in _TRANSIENT:
        return Outcome(Verdict.PARK, f"http_{status}", detail)
    reason = "not_json" if status < 300 else f"http_{status}"
    return Outcome(Verdict.RETRY, reason, detail, retry_after=_seconds(retry_after))


def _seconds(retry_after: str | None) -> float | None:
    """Read a Retry-After header: seconds, or a date (RFC 9110, 10.2.3); None for an absurd one."""
    text = (retry_after or "").strip()
    try:
        if re.fullmatch(r"[0-9]{1,9}", text):
            seconds = float(text)
        else:
            seconds = (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
    except Exception:  # the parser raises errors of many kinds for a malformed date
        return None
    return max(0.0, seconds) if seconds <= _MAX_RETRY_AFTER else None


def core_message(errmsg: object) -> str:
    """Return an errmsg without its tail of hint, IP and address, which says nothing to a reader."""
    text = errmsg[: 2 * _MAX_DETAIL] if isinstance(errmsg, str) else ""
    core = re.split(r",?\s*(?:hint:|from ip:|more info at)", text, maxsplit=1)[0][:_MAX_DETAIL]
    # Control characters could not be stored (NUL) or would act in a log or on a terminal.
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", " ", core)


def transport_failure(error: Exception) -> Outcome:
    """Return the outcome of a call without an answer; the exception's text holds the key."""
    # The robot's own address was checked at the start: an invalid one is the proxy's.
    proxy = (exceptions.ProxyError, exceptions.InvalidURL, exceptions.InvalidSchema)
    if isinstance(error, exceptions.ConnectTimeout):
        return Outcome(Verdict.RETRY, "connect_timeout", "no connection in time")
    if isinstance(error, exceptions.Timeout):
        return _LATE
    if isinstance(error, exceptions.SSLError):
        return Outcome(Verdict.RETRY, "tls", "the TLS handshake failed")
    if isinstance(error, proxy):
        return Outcome(Verdict.RETRY, "proxy", "the proxy refused, or cannot be used")
    if isinstance(error, OSError | urllib3.exceptions.HTTPError):
        return Outcome(Verdict.RETRY, "connection", "the connection failed or broke")
    return Outcome(Verdict.RETRY, "unreadable_answer", f"{type(error).__name__} at the answer")


def proxy_problems(environ: Mapping[str, str], urls: list[str]) -> list[str]:
    """Return for each variable that names a proxy for one of these addresses what is wrong with it.

    The proxy's own address is not shown, because it may hold a password.
    """
    problems = {}
    no_proxy = environ.get("no_proxy", environ.get("NO_PROXY", ""))
    for url in urls:
        if is_loopback(url) or should_bypass_proxies(url, no_proxy):
            continue
        names = [f"{urlsplit(url).scheme}_proxy", "all_proxy"]
        pairs = [(name if name in environ else name.upper()) for name in names]
        variable = next((name for name in pairs if environ.get(name)), "")
        scheme, found, _ = environ.get(variable, "").strip().lower().partition("://")
        is_socks = scheme.startswith("socks")
        if not found or scheme in ("http", "https") or (is_socks and find_spec("socks")):
            continue
        text = N_(
            "%(variable)s names a proxy of an unknown kind, which cannot be used: "
            "name an http:// proxy, or add WeCom's host to NO_PROXY"
        )
        if is_socks:
            text = N_(
                "%(variable)s names a SOCKS proxy, which cannot be used: name an http:// proxy, "
                "add WeCom's host to NO_PROXY, or pip install 'requests[socks]'"
            )
        problems[variable] = gettext(text, variable=variable)
    return list(problems.values())
