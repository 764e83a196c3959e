"""A gunicorn worker that reads each request whole before a thread takes it.

In gunicorn's own threaded worker a connection takes a thread while the rest of its request
arrives, and stops the main loop until the client has closed it after its last answer. So a few
strangers that send half a request, or a byte a second, or do not close, keep Pgyer out. Here the
main loop reads all connections and waits for none: a stranger's costs no thread, and each request
has a deadline for head and body together. A proxy that buffers requests does the same before it.
"""

import re
import socket
import struct
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from gunicorn import http
from gunicorn.workers.gthread import TConn, ThreadWorker

from bridge.addresses import plain

REQUEST = 15.0  # seconds for a request, from the connection or its first byte to its last
LINGER = 2.0  # seconds for a client to close its side after its last answer
BLOCKED = 10.0  # seconds for which a thread waits for a socket that takes or gives nothing
MAX_HEAD = 1 << 16  # bytes
MAX_BODY = (1 << 20) + 1  # bytes; of a larger body this much shows that it is too large
MAX_CHUNKED = 2 * MAX_BODY  # bytes of a body with what marks its chunks, which may be tiny
READ = 1 << 16  # bytes at once

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([^\r\n]*?)[ \t]*\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[^\r\n]*chunked[ \t]*\r\n", re.IGNORECASE)
_EXPECTS = re.compile(rb"\r\nexpect:[ \t]*100-continue[ \t]*\r\n", re.IGNORECASE)
_CHUNK_SIZE = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,8})[ \t]*(;[^\r\n]*)?\r\n")
_ANSWER = "HTTP/1.1 {}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class RefusedError(Exception):
    """A request that is answered with this status, e.g. `400 Bad Request`, and not read on."""


class Incoming:
    """The bytes of a request so far; `is_whole` tells whether it has arrived.

    Then `is_cut` tells whether a part of it is missing, because it is too large.
    """

    def __init__(self) -> None:
        self.data = bytearray()
        self.is_cut = False
        self._body_at = 0  # where the body begins, 0 before the head has ended
        self._body_end: int | None = None  # where it ends; None: in chunks
        self._chunk_at = 0  # where the next chunk begins
        self._chunks = 0  # bytes in the chunks before it

    def is_whole(self, answer_continue: Callable[[], None]) -> bool:
        """Tell whether the request is complete, or as much of it as shows that it is too large.

        `answer_continue` is called where the sender waits for that before it sends the body.
        Raises RefusedError.
        """
        if not self._body_at:
            end = self.data.find(b"\r\n\r\n")
            if end < 0:
                if len(self.data) > MAX_HEAD:
                    raise RefusedError("431 Request Header Fields Too Large")
                return False
            self._body_at = self._chunk_at = end + 4
            head = bytes(self.data[: end + 2])
            length = _LENGTH.search(head)
            if length and not re.fullmatch(rb"0*\d{1,18}", length[1]):
                raise RefusedError("400 Bad Request")
            if not _CHUNKED.search(head):
                self._body_end = self._body_at + (int(length[1]) if length else 0)
            if _EXPECTS.search(head) and len(self.data) == self._body_at:
                answer_continue()
        if self._body_end is not None:
            self.is_cut = len(self.data) < self._body_end
            return not self.is_cut or self._body_end - self._body_at >= MAX_BODY
        if len(self.data) - self._body_at > MAX_CHUNKED:
            raise RefusedError("413 Content Too Large")
        return self._has_last_chunk()

    def _has_last_chunk(self) -> bool:
        """Go from chunk to chunk as far as they have arrived (RFC 9112, 7.1)."""
        while size := _CHUNK_SIZE.match(self.data, self._chunk_at):
            end = size.end() + int(size[1], 16)
            if end == size.end():
                # The empty line that ends the trailers, of which there are mostly none.
                return self.data.find(b"\r\n\r\n", end - 2) >= 0
            if self._chunks + min(end, len(self.data)) - size.end() >= MAX_BODY:
                self.is_cut = True
                return True
            if len(self.data) < end + 2:
                return False
            if self.data[end : end + 2] != b"\r\n":
                raise RefusedError("400 Bad Request")
            self._chunk_at, self._chunks = end + 2, self._chunks + end - size.end()
        rest = self.data[self._chunk_at :]
        if len(rest) > 1024 or b"\r\n" in rest:
            raise RefusedError("400 Bad Request")
        return False


class Closing(Incoming):
    """What still comes after a connection's last answer: it is dropped."""

    def is_whole(self, answer_continue: Callable[[], None]) -> bool:
        """Return False; raises RefusedError where it goes on and on."""
        self._chunks += len(self.data)
        self.data.clear()
        if self._chunks > READ:
            raise RefusedError("")
        return False


class BufferingWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no annotations
    """gunicorn's threaded worker, with the reading of requests in its main loop."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._incoming: dict[TConn, Incoming] = {}

    def accept(self, listener: socket.socket) -> None:
        """Accept a connection, and wait for its request without a thread."""
        try:
            client, address = listener.accept()
        except OSError:  # it is gone already, or another worker was quicker
            return
        address = (plain(address[0]), *address[1:]) if isinstance(address, tuple) else address
        self.nr_conns += 1
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            client.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", int(BLOCKED), 0))
        self._await(TConn(self.cfg, client, address, listener.getsockname()))

    def on_client_socket_readable(self, conn: TConn, client: socket.socket) -> None:
        """Read what has arrived; on a kept connection it begins the next request."""
        if conn not in self._incoming:
            self._begin(conn)
        try:
            data = client.recv(READ)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if data:
            self._take(conn, data)
        else:
            self._refuse(conn, "")

    def murder_pending(self) -> None:
        """Close the connections whose request has not arrived in time."""
        super().murder_pending()
        now = time.monotonic()
        for conn in [conn for conn in self._incoming if conn.timeout <= now]:
            self._refuse(conn, "408 Request Timeout" if self._incoming[conn].data else "")

    def finish_request(self, conn: TConn, future: Any) -> None:
        """A thread has answered; what it left of a next request is waited for here, too."""
        if future.cancelled() or future.exception() or not future.result():
            self._close_soon(conn)
            return
        unreader = getattr(conn.parser, "unreader", None)
        rest = unreader.take_buffered() if unreader and self.alive else b""
        super().finish_request(conn, future)
        if rest and conn in self.keepalived_conns:
            self._begin(conn)
            self._take(conn, rest)

    def _keepalive_after(self, conn: TConn, keepalive: bool) -> bool:
        """Keep no connection whose body was cut: gunicorn would wait for the rest in a thread."""
        return keepalive and not conn.is_cut and conn.parser.finish_body()

    def _cap_keepalive(self, deadline: float) -> None:
        """At a stop, drop by this time what has not arrived."""
        super()._cap_keepalive(deadline)
        for conn in self._incoming:
            conn.timeout = min(conn.timeout, deadline)

    def _await(
        self, conn: TConn, seconds: float = REQUEST, what: type[Incoming] = Incoming
    ) -> None:
        conn.sock.setblocking(False)
        conn.timeout = time.monotonic() + seconds
        self._incoming[conn] = what()
        self.poller.register(conn.sock, 1, partial(self.on_client_socket_readable, conn))

    def _begin(self, conn: TConn) -> None:
        """Read a kept connection's next request; gunicorn has registered it for reading."""
        self.keepalived_conns.remove(conn)
        conn.timeout = time.monotonic() + REQUEST
        self._incoming[conn] = Incoming()

    def _take(self, conn: TConn, data: bytes) -> None:
        """Add what has arrived; a thread answers the request as soon as it is whole."""
        incoming = self._incoming[conn]
        incoming.data += data
        try:
            if not incoming.is_whole(partial(self._say, conn, "HTTP/1.1 100 Continue\r\n\r\n")):
                return
        except RefusedError as refused:
            self._refuse(conn, str(refused))
            return
        self.poller.unregister(conn.sock)
        del self._incoming[conn]
        conn.is_cut = incoming.is_cut
        if conn.parser is None:
            conn.parser = http.get_parser(self.cfg, conn.sock, conn.client)
        conn.parser.unreader.unread(bytes(incoming.data))
        conn.data_ready = True
        self.enqueue_req(conn)

    def _refuse(self, conn: TConn, status: str) -> None:
        """Close a connection whose request is not served, with a status if there is one."""
        del self._incoming[conn]
        self.poller.unregister(conn.sock)
        if status:
            self._say(conn, _ANSWER.format(status))
            self._close_soon(conn)
        else:
            self.nr_conns -= 1
            conn.close()

    def _close_soon(self, conn: TConn) -> None:
        """Close it once the client does, or a little later (RFC 9112, 9.6)."""
        try:
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:  # the client has gone, or gunicorn has closed it in an answer
            self.nr_conns -= 1
            conn.close()
        else:
            self._await(conn, LINGER, Closing)

    def _say(self, conn: TConn, text: str) -> None:
        try:
            conn.sock.send(text.encode())
        except OSError:
            self.log.debug("a client has gone before its answer")
