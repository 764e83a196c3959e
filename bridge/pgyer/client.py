"""The client of Pgyer's API 2.0: a POST of a form, and a reply whose `code` decides.

The key is for the whole account and can delete apps. It is in the form alone: in no address, and
no exception of the HTTP library gets out of here.
"""

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import requests

from bridge import metrics
from bridge.delivery.deadline import Adapter, begin_call, surroundings
from bridge.errors import PgyerError
from bridge.model import Secret, as_text
from bridge.setting_values import PGYER

# Pgyer's own clients try it next. They name a third host as well, but in two spellings: the key
# must not go to a host that may be somebody else's.
FALLBACKS = ("https://api.xcxwo.com",)
CALL = 15.0  # seconds for a whole call to one host
MAX_REPLY = 4 << 20  # bytes; a page has 20 builds with their notes
WRONG_KEY = (1002, 1055)


@dataclass(frozen=True)
class Reply:
    """The `data` of a reply, and when it was made (epoch s), by Pgyer's clock if it says so."""

    data: Any
    at: float


class Client:
    """Calls Pgyer's API at `url`; safe for many threads. `clock` gives epoch seconds."""

    def __init__(
        self, key: Secret, url: str = PGYER, clock: Callable[[], float] = time.time
    ) -> None:
        self._key, self._clock = key, clock
        self._hosts = [url, *(FALLBACKS if url == PGYER else ())]
        self._adapter = Adapter(max_retries=0, pool_maxsize=4)
        self._surroundings = cache(surroundings)

    def call(self, name: str, form: dict[str, str], seconds: float = CALL, hosts: int = 2) -> Reply:
        """Call `/apiv2/app/<name>`; each of at most so many `hosts` has so many seconds.

        Raises PgyerError. Another host is asked only where one is away, not where it refuses.
        """
        for host in list(self._hosts)[:hosts]:
            try:
                reply = self._post(f"{host}/apiv2/app/{name}", seconds, form)
            except PgyerError as error:
                metrics.PGYER_ASKS.labels(error.outcome).inc()
                failure = error
                if error.outcome != "away":
                    break
                # The next call begins with another one.
                self._hosts = [*self._hosts[1:], self._hosts[0]]
            else:
                metrics.PGYER_ASKS.labels("ok").inc()
                return reply
        raise failure

    def _post(self, url: str, seconds: float, form: dict[str, str]) -> Reply:
        around, timeout = self._surroundings(url), (min(5.0, seconds), seconds)
        begin_call(seconds)
        failed = ""
        try:
            # In no variable: a traceback may show these.
            request = requests.Request("POST", url, data=self._form(form)).prepare()
            with self._adapter.send(request, timeout=timeout, **around) as response:
                body = response.raw.read(MAX_REPLY + 1, decode_content=True)
        except Exception as error:  # whatever an answer makes a library raise
            failed = type(error).__name__
        if failed:  # raised here, since in there it would carry the error, which has the form
            raise PgyerError("away", f"{urlsplit(url).hostname} cannot be reached: {failed}")
        return Reply(read(response.status_code, body), self._time_of(response.headers.get("Date")))

    def _form(self, fields: dict[str, str]) -> dict[str, str]:
        return {"_api_key": self._key.reveal(), **fields}

    def _time_of(self, date: str | None) -> float:
        try:
            return parsedate_to_datetime(date or "").timestamp()
        except Exception:  # the parser raises errors of many kinds
            return float(int(self._clock()))  # as exact as Pgyer's own times


def read(status: int, body: bytes) -> Any:
    """Return the `data` of a reply. Raises PgyerError by its code, or where there is none.

    Business errors come with HTTP 200; a host that is down, moved or hijacked answers with HTML or
    a redirect, which is never followed.
    """
    if len(body) > MAX_REPLY:
        raise PgyerError("unreadable", f"a reply of more than {MAX_REPLY} bytes")
    if 300 <= status < 400:
        raise PgyerError("away", f"a redirect (HTTP {status}), which is not followed")
    try:
        reply = json.loads(body.decode("utf-8-sig", "replace"), strict=False)
        code = as_text(reply["code"])
    except (ValueError, RecursionError, LookupError, TypeError):
        raise PgyerError("away", f"no reply of Pgyer's API (HTTP {status})") from None
    if not re.fullmatch(r"-?[0-9]{1,9}", code):
        raise PgyerError("away", f"a reply without a code (HTTP {status})")
    if int(code) in WRONG_KEY:
        raise PgyerError("wrong_key", f"Pgyer does not know the key (code {code})", int(code))
    if int(code):
        raise PgyerError("refused", f"Pgyer refuses (code {code})", int(code))
    if status >= 400:
        raise PgyerError("away", f"HTTP {status}")
    return reply.get("data")
