"""Load on an endpoint: by wrk where it is installed, else from threads of this process."""

import json
import re
import shutil
import subprocess
import threading
import time
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

WRK = shutil.which("wrk")
REFUSED: list[str] = []  # what went wrong, a line each
SCRIPT = Path(__file__).parent / "post.lua"


@dataclass(frozen=True)
class Load:
    """What a burst of requests came to: answers a second, and latencies in ms."""

    rate: float
    p50: float
    p99: float


def event(build: str) -> bytes:
    """Return the body of an event that no other has."""
    fields = {"type": "updateVersion", "title": "OooPlay", "os_version": "2.4", "notes": "修复"}
    return json.dumps({**fields, "build_version": f"{build}-{time.time_ns()}"}).encode()


def load(url: str, path: str, seconds: float, connections: int = 16) -> Load:
    """Post different events as fast as they are answered."""
    if not WRK:
        return _load_by_threads(url, path, seconds, connections)
    done = subprocess.run(
        [WRK, "-t2", f"-c{connections}", f"-d{max(1, seconds):.0f}s", "--latency",
         "-s", str(SCRIPT), url, "--", path, str(time.time_ns())],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    if refused := re.search(r"Non-2xx or 3xx responses: (\d+)", done.stdout):
        # A whole run takes half an hour: it goes on, and ends with an error.
        REFUSED.append(f"{url}: {refused[1]} requests were not answered 200")
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)[1])  # type: ignore[index]
    return Load(rate, _wrk_ms(done.stdout, "50"), _wrk_ms(done.stdout, "99"))


def _wrk_ms(text: str, percent: str) -> float:
    number, unit = re.search(rf"{percent}%\s+([\d.]+)(us|ms|s)", text).groups()  # type: ignore[union-attr]
    return float(number) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit]


def _load_by_threads(url: str, path: str, seconds: float, connections: int) -> Load:
    latencies: list[float] = []
    end = time.perf_counter() + seconds

    def client(number: int) -> None:
        connection = HTTPConnection(url.removeprefix("http://"))
        while (began := time.perf_counter()) < end:
            connection.request("POST", path, event(str(number)))
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200, answer.status
            latencies.append(1000 * (time.perf_counter() - began))
        connection.close()

    threads = [threading.Thread(target=client, args=(n,)) for n in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ranked = sorted(latencies)
    return Load(len(ranked) / seconds, ranked[len(ranked) // 2], ranked[len(ranked) * 99 // 100])
