"""One deadline for a whole HTTP call, kept by shutting its socket down.

The time-outs of a socket count from one byte to the next. A far side that sends a byte now and
then, be it inside a reply's head or in a TLS handshake, would keep its thread for ever. When a
socket is shut down, whatever waits for it ends at once. Only the look-up of a host's name cannot
be ended from outside: it takes as long as the system's resolver does.
"""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from math import inf
from typing import Any, cast

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool


class Call:
    """What one thread sends and reads until `deadline` (monotonic s)."""

    def __init__(self, seconds: float) -> None:
        self.deadline = time.monotonic() + seconds
        self.is_cut = False
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()

    def watch(self, connected: socket.socket | None) -> None:
        """Cut this socket off at the deadline, and no more the one that was watched before.

        By a copy of its descriptor, which remains valid when TLS takes the socket over, or a reply
        is still read from a connection that counts as closed.
        """
        with self._lock:
            if self._socket:
                self._socket.close()
            self._socket = connected and socket.socket(fileno=os.dup(connected.fileno()))
        if self.is_cut:
            self.cut()

    def cut(self) -> None:
        """Shut the socket down; its thread then meets the end of the connection."""
        self.is_cut = True
        with self._lock, suppress(OSError):
            if self._socket:
                self._socket.shutdown(socket.SHUT_RDWR)


class _Watchdog:
    """Cuts calls off in a thread of its own: one for all calls, started with the first."""

    def __init__(self) -> None:
        self._calls: set[Call] = set()
        self._changed = threading.Condition()
        self._wakes_at = inf  # monotonic s
        self._thread: threading.Thread | None = None

    def add(self, call: Call) -> None:
        with self._changed:
            self._calls.add(call)
            if not self._thread or not self._thread.is_alive():  # a fork has no thread either
                self._wakes_at = inf
                self._thread = threading.Thread(target=self._run, name="deadlines", daemon=True)
                self._thread.start()
            elif call.deadline < self._wakes_at:
                self._changed.notify()

    def remove(self, call: Call) -> None:
        with self._changed:
            self._calls.discard(call)

    def _run(self) -> None:
        with self._changed:
            while True:
                now = time.monotonic()
                for call in [call for call in self._calls if call.deadline <= now]:
                    self._calls.remove(call)
                    call.cut()
                self._wakes_at = min((call.deadline for call in self._calls), default=inf)
                self._changed.wait(None if self._wakes_at == inf else self._wakes_at - now)


_watchdog = _Watchdog()
_thread = threading.local()  # `call` is the one that this thread makes


@contextmanager
def deadline(seconds: float) -> Iterator[Call]:
    """Cut off what this thread sends and reads through an `Adapter` after so many seconds."""
    call = _thread.call = Call(seconds)
    _watchdog.add(call)
    try:
        yield call
    finally:
        _watchdog.remove(call)
        call.watch(None)
        del _thread.call


class Adapter(HTTPAdapter):
    """Gives its connections to the deadline of the thread that uses them, through proxies too."""

    def get_connection_with_tls_context(self, *args: Any, **more: Any) -> HTTPConnectionPool:
        """Return the pool for a request, as requests asks for it."""
        pool: Any = super().get_connection_with_tls_context(*args, **more)
        if not issubclass(pool.ConnectionCls, _Watched):
            pool.ConnectionCls = _watched(pool.ConnectionCls)
        return cast(HTTPConnectionPool, pool)


class _Watched(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        call: Call = _thread.call
        # The time-out is for each address of the host, and for the TLS handshake after it.
        with suppress(OSError):  # the base class says what is wrong with the name
            addresses = socket.getaddrinfo(self._dns_host, self.port, type=socket.SOCK_STREAM)
            share = (call.deadline - time.monotonic()) / len(addresses)
            self.timeout = max(0.001, min(float(self.timeout or inf), share))
        connected = super()._new_conn()
        call.watch(connected)
        return connected

    def request(self, *args: Any, **more: Any) -> None:
        if self.sock:  # of an earlier call
            _thread.call.watch(self.sock)
        super().request(*args, **more)


@cache
def _watched(kind: type) -> Any:
    return type(kind.__name__, (_Watched, kind), {})
