"""The faults by which a robot's calls can fail, beside any errcode; pure."""

import json
from collections.abc import Mapping

Answer = tuple[str, int, Mapping[str, str]]  # body, HTTP status, headers

_HTML = {"Content-Type": "text/html; charset=utf-8"}
_JSON = {"Content-Type": "application/json"}


def _html(status: int, **headers: str) -> Answer:
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    return f"<html><body><h1>{status}</h1></body></html>", status, _HTML | more


# What something between the bridge and WeCom answers, which does not see the message then.
ANSWERS: Mapping[str, Answer] = {
    "html": _html(200),
    "429": _html(429, Retry_After="5"),
    **{str(status): _html(status) for status in (400, 403, 404, 407, 408, 425, 500, 502, 503)},
    "huge": ("x" * (4 << 20), 200, _HTML),
    "errcode_large": ('{"errcode": 99999999999999999999, "errmsg": "ok"}', 200, _JSON),
    "errcode_infinite": ('{"errcode": 1e999, "errmsg": "ok"}', 200, _JSON),
    "errcode_fraction": ('{"errcode": 0.9, "errmsg": "ok"}', 200, _JSON),
    "errcode_false": ('{"errcode": false, "errmsg": "ok"}', 200, _JSON),
    "errcode_text": ('{"errcode": "ok", "errmsg": "ok"}', 200, _JSON),
    "errmsg_nul": (json.dumps({"errcode": 40058, "errmsg": "\0 invalid"}), 200, _JSON),
    "errmsg_surrogate": (json.dumps({"errcode": -1, "errmsg": "\ud800 busy"}), 200, _JSON),
    "errmsg_long": (json.dumps({"errcode": -1, "errmsg": " " * 60_000}), 200, _JSON),
    "retry_after_far": _html(503, Retry_After="Fri, 31 Dec 9999 23:59:59 GMT"),
    "retry_after_absurd": _html(503, Retry_After="Wed, 21 Oct 99999999999 07:28:00 GMT"),
    "retry_after_large": _html(429, Retry_After="9" * 30),
}
# WeCom decides about the message, and a message that it accepts gets this errmsg, '' for no reply.
ERRMSGS = {
    "lost": "",
    "warning": "ok. Warning: wrong json format. ",
    "ok_nul": "ok\0",
    "ok_surrogate": "ok\ud800",
}
RESET = ("reset", "hang", "lost")  # the connection ends without a reply
PAUSE = 1.0  # seconds between two bytes that drip, and between two `100 Continue`

SLOW = ("drip_head", "drip_body", "continue")  # the reply never ends

NAMES = {*ANSWERS, *ERRMSGS, *RESET, *SLOW}
# What Pgyer's API answers instead, or is answered for it; `array` is a list without its envelope.
PGYER_ANSWERS = {**ANSWERS, "302": _html(302, Location="/apiv2/moved")}
PGYER_NAMES = {*PGYER_ANSWERS, *RESET, *SLOW, "array"}
