"""The admin password, for the console and `/metrics` together, and the limit on guesses of it."""

import hmac
import ipaddress
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from flask import current_app, request
from werkzeug.exceptions import TooManyRequests

from bridge.addresses import plain
from bridge.wiring import bridge

FAILURES = 5  # of one address in a MINUTE
MINUTE = 60.0  # seconds
ADDRESSES = 10_000  # that it remembers; then it forgets the one seen longest ago


class Throttle:
    """Counts failures by address in this process; `clock` gives seconds that never go back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: OrderedDict[str, list[float]] = OrderedDict()

    def enter(self, address: str) -> float:
        """Count a try as a failure; return 0, or the seconds until the next is allowed.

        Counted before the password is compared, so that simultaneous tries are limited too.
        """
        address, now = _network(address), self._clock()
        with self._lock:
            tries = [at for at in self._failures.pop(address, []) if at > now - MINUTE]
            wait = tries[0] + MINUTE - now if len(tries) >= FAILURES else 0.0
            self._failures[address] = tries if wait else [*tries, now]
            while len(self._failures) > ADDRESSES:
                self._failures.popitem(last=False)
        return wait

    def forget(self, address: str) -> None:
        """Drop an address's failures, because it gave the password."""
        with self._lock:
            self._failures.pop(_network(address), None)


def is_password(given: str) -> bool:
    """Return whether the client gave the admin password.

    Raises TooManyRequests, which says how long to wait, after too many wrong ones.
    """
    password, address = bridge.settings.admin_password, request.remote_addr or ""
    throttle: Throttle = current_app.extensions["throttle"]
    if wait := math.ceil(throttle.enter(address)):
        raise TooManyRequests(retry_after=wait)
    if not password or not hmac.compare_digest(given.encode(), password.reveal().encode()):
        return False
    throttle.forget(address)
    return True


def _network(address: str) -> str:
    """Return an address, or the /64 of an IPv6 one: a client has a whole /64."""
    try:
        parsed = ipaddress.ip_address(plain(address))
    except ValueError:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    return str(ipaddress.ip_network((parsed, 64), strict=False))
