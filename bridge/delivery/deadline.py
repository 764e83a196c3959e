"""One deadline for a whole HTTP call: no wait of its socket is longer than the time that is left.

The time-out of a socket counts from one byte to the next, so that a far side that sends a byte now
and then, be it inside a reply's head, would keep its thread for ever. Only the look-up of a host's
name, and a TLS record within the TLS to a proxy, may take longer.
"""

import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from http.client import HTTPResponse
from io import BufferedReader, RawIOBase
from math import inf
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection

from bridge.model import is_loopback


class _Call(threading.local):
    deadline = inf  # monotonic s, of the call that this thread makes


_call = _Call()


class Caller:
    """Makes HTTP calls by the proxies and certificates of the environment; safe for many threads.

    By an adapter itself: of what a session adds (cookies, redirects) none is wanted, and a retry
    inside it would be seen by nobody.
    """

    def __init__(self, connections: int = 1) -> None:
        self._adapter = _Adapter(max_retries=0, pool_maxsize=connections)
        self._surroundings = cache(surroundings)

    def call(
        self, request: requests.Request, seconds: float, timeout: tuple[float, float], most: int
    ) -> tuple[requests.Response, bytes]:
        """Return the answer to a request, and at most so many bytes of its body.

        All of it takes no more than `seconds`; `timeout` is for the connection and for each wait.
        Raises whatever the far side makes a library raise.
        """
        _call.deadline = time.monotonic() + seconds
        around = self._surroundings(request.url)
        with self._adapter.send(request.prepare(), timeout=timeout, **around) as response:
            return response, response.raw.read(most, decode_content=True)


def time_left() -> float:
    """Return how many seconds this thread's call may still take; 0 or less when it is late."""
    return _call.deadline - time.monotonic()


def surroundings(url: str) -> Mapping[str, Any]:
    """Return the proxies and certificates that the environment asks for, for an adapter."""
    found = requests.Session().merge_environment_settings(url, {}, True, None, None)
    return {**found, "proxies": {}} if is_loopback(url) else found


def _bound(connected: socket.socket) -> None:
    """Let a socket's next wait end at the deadline; raises TimeoutError where that has passed."""
    left = time_left()
    if left <= 0:
        raise TimeoutError
    connected.settimeout(min(connected.gettimeout() or inf, left))


class _Adapter(HTTPAdapter):
    """Makes connections that keep the deadline of the thread that uses them, by proxies too."""

    def get_connection_with_tls_context(self, *args: Any, **more: Any) -> Any:
        """Return the pool for a request, as requests asks for it."""
        pool: Any = super().get_connection_with_tls_context(*args, **more)
        pool.ConnectionCls = _bounded(pool.ConnectionCls)
        return pool


class _Reader(RawIOBase):
    def __init__(self, connected: socket.socket) -> None:
        self._socket, self._raw = connected, connected.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        _bound(self._socket)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(HTTPResponse):
    def __init__(self, connected: socket.socket, *args: Any, **more: Any) -> None:
        super().__init__(connected, *args, **more)
        self.fp.close()
        self.fp = BufferedReader(_Reader(connected))


class _Connection(HTTPConnection):
    response_class = _Response  # a proxy's too

    def _new_conn(self) -> socket.socket:
        # The time-out is for each address of the host, and for the TLS handshake after it.
        with suppress(OSError):  # the base class says what is wrong with the name
            addresses = socket.getaddrinfo(self._dns_host, self.port, type=socket.SOCK_STREAM)
            self.timeout = max(0.001, min(float(self.timeout or inf), time_left() / len(addresses)))
        connected = super()._new_conn()
        try:
            _bound(connected)
        except TimeoutError:
            connected.close()
            raise
        return connected

    def _tunnel(self) -> None:
        super()._tunnel()
        _bound(self.sock)  # for the TLS handshake

    def send(self, data: Any) -> None:
        # Not by `sendall`, whose time-out over TLS is for each 16 KiB.
        if self.sock is None:
            self.connect()
        rest = memoryview(data)
        while rest:
            _bound(self.sock)
            rest = rest[self.sock.send(rest) :]


@cache
def _bounded(kind: type) -> Any:
    is_bounded = issubclass(kind, _Connection)
    return kind if is_bounded else type(kind.__name__, (_Connection, kind), {})
