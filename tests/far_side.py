"""A far side that answers as no WeCom should, and what must hold of every outcome."""

import re
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bridge.model import Outcome

Talk = Callable[[socket.socket], None]


@contextmanager
def far_side(talk: Talk, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Serve each connection by `talk` in a thread of its own; gives `host:port`."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        copies: list[socket.socket] = []  # which end a conversation from outside

        def converse(connection: socket.socket, copy: socket.socket) -> None:
            with suppress(OSError), connection, _by(tls, connection) as end:
                talk(end)
            with suppress(OSError):
                copy.shutdown(socket.SHUT_RDWR)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    copies.append(connection.dup())
                    both = connection, copies[-1]
                    threading.Thread(target=converse, args=both, daemon=True).start()

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)
        accepting.join()
        for copy in copies:
            with suppress(OSError):
                copy.shutdown(socket.SHUT_RDWR)
            copy.close()


def _by(tls: ssl.SSLContext | None, connection: socket.socket) -> socket.socket:
    return tls.wrap_socket(connection, server_side=True) if tls else connection


def read_message(connection: socket.socket) -> None:
    """Read a request whose body is JSON; raises OSError where there is none any more."""
    while not (read := connection.recv(65536)).endswith(b"}"):
        if not read:
            raise ConnectionError


def drip(start: bytes, piece: bytes) -> Talk:
    """Read a request, answer its start at once, and then one piece after the other, for ever."""

    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(start)
        stopped = threading.Event()
        while not stopped.wait(0.02):
            connection.sendall(piece)

    return talk


def make_certificate(folder: Path, openssl: str = "openssl") -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1, and its key, by the names that certbot gives them."""
    certificate, key = folder / "fullchain.pem", folder / "privkey.pem"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", "/CN=bridge", "-addext", "subjectAltName=IP:127.0.0.1",
         "-out", certificate, "-keyout", key],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


def check_storable(outcome: Outcome) -> None:
    """Check what SQLite and PostgreSQL demand of numbers and texts."""
    assert outcome.errcode is None or abs(outcome.errcode) < 2**31
    assert outcome.retry_after is None or 0 <= outcome.retry_after <= 86400
    assert re.fullmatch(r"[a-z0-9_-]{1,30}", outcome.reason)
    for text in (outcome.detail, outcome.media_id):
        assert len(text) <= 256
        assert "\0" not in text
        text.encode()
