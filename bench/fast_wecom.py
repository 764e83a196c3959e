"""WeCom as a load test needs it: it judges messages as the sandbox does, but costs less CPU.

`python bench/fast_wecom.py PORT LATENCY`. It reads HTTP by itself, so that the bridge is measured
rather than the stand-in, and has no limit of the rate.
"""

import json
import sys
import time
from socketserver import StreamRequestHandler, ThreadingTCPServer
from urllib.parse import parse_qs, urlsplit

from bridge.sandbox.rules import judge, parse

HANG = 60.0  # seconds


class Handler(StreamRequestHandler):
    """HTTP/1.1 with Content-Length and kept connections, and no more of it."""

    server: "FastWeCom"
    disable_nagle_algorithm = True

    def handle(self) -> None:
        while line := self.rfile.readline():
            size = 0
            while (header := self.rfile.readline().strip()) != b"":
                name, _, value = header.partition(b":")
                if name.lower() == b"content-length":
                    size = int(value)
            url = urlsplit(line.split()[1].decode())
            key = parse_qs(url.query).get("key", [""])[0]
            reply = json.dumps(self.server.answer(url.path, key, self.rfile.read(size))).encode()
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(reply)}\r\n\r\n"
            self.wfile.write(head.encode() + reply)


class FastWeCom(ThreadingTCPServer):
    """Answers after `latency` seconds, and never while a key is to hang."""

    allow_reuse_address = daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, latency: float) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.latency = latency
        self.hanging: set[str] = set()
        self.messages: list[tuple[str, float]] = []  # key, epoch seconds; only appended to

    def answer(self, path: str, key: str, body: bytes) -> object:
        """Return what to reply to a request."""
        messages = self.messages
        match path:
            case "/sandbox/count":
                return {"accepted": len(messages)}
            case "/sandbox/messages":
                return [{"key": k, "at": at} for k, at in messages if not key or k == key]
            case "/sandbox/faults":
                self.hanging.add(json.loads(body)["key"])
                return {"status": "set"}
            case "/healthz":
                return {"status": "ok"}
        if key in self.hanging:
            time.sleep(HANG)
        at = time.time()
        errcode, errmsg = judge(parse(body), ())
        if errcode == 0:
            messages.append((key, at))
        time.sleep(self.latency)
        return {"errcode": errcode, "errmsg": errmsg}


if __name__ == "__main__":
    FastWeCom(int(sys.argv[1]), float(sys.argv[2])).serve_forever()
