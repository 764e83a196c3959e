"""`make bench`: the bridge beside a bare Flask endpoint under the same gunicorn settings.

Both run in turns on the same machine, so that what counts is a ratio. Load comes from wrk where
it is installed, else from threads of this process. Writes bench/RESULTS.md.
"""

import argparse
import contextlib
import json
import os
import platform
import re
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT / "tests"))

import postgres  # noqa: E402  # the tests' own server
import requests  # noqa: E402
from support import free_port  # noqa: E402

TOKEN = "a-token-that-is-only-for-the-bench"
GUNICORN = [sys.executable, "-m", "gunicorn"]


@dataclass
class Load:
    """What a burst of requests came to: answers a second, and latencies in ms."""

    rate: float
    p50: float
    p99: float


@dataclass
class Row:
    """One figure, what it should reach, and what was measured."""

    figure: str
    reach: str
    measured: str
    good: bool


class Server:
    """A gunicorn, or the sandbox, in a process group of its own."""

    def __init__(self, command: list[str], environ: dict[str, str], port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.port = port
        self.began = time.perf_counter()
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "HOME": "/tmp", **environ},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def wait(self) -> float:
        """Wait until it answers; return the seconds since it was started."""
        while True:
            assert self.process.poll() is None, "a server did not start"
            try:
                requests.get(f"{self.url}/healthz", timeout=5)
                return time.perf_counter() - self.began
            except requests.ConnectionError:
                time.sleep(0.005)

    def pids(self) -> list[int]:
        groups = subprocess.run(
            ["ps", "-o", "pid=", "-g", str(self.process.pid)], capture_output=True, text=True
        )
        return [int(pid) for pid in groups.stdout.split()]

    def memory(self) -> float:
        """Return the MiB that all its processes hold, shared pages divided among them."""
        total = 0
        for pid in self.pids():
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += int(re.search(r"^Pss:\s+(\d+)", rollup, re.MULTILINE)[1])  # type: ignore[index]
        return total / 1024

    def cpu(self) -> float:
        """Return the CPU seconds that its processes have used."""
        ticks = 0
        for pid in self.pids():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(15)
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def running(*servers: Server) -> Iterator[None]:
    try:
        for server in servers:
            server.wait()
        yield
    finally:
        for server in servers:
            server.stop()


def bare(wecom: str = "") -> Server:
    port = free_port()
    options = ["--config", "/dev/null", "-k", "gthread", "--threads", "8", "-w", "1"]
    options += ["--keep-alive", "75", "--no-control-socket", "-b", f"127.0.0.1:{port}"]
    url = f"{wecom}/cgi-bin/webhook/send?key=bare"
    return Server([*GUNICORN, *options, "--chdir", str(HERE), "bare:app"], {"WECOM_URL": url}, port)


def bridge(database: str, wecom: str, **more: str) -> Server:
    port = free_port()
    environ = {
        "WECOM_BOT_KEY": "key-default",
        "WECOM_API_URL": wecom,
        "BRIDGE_TOKEN": TOKEN,
        "BRIDGE_TEMPLATES": str(ROOT / "templates"),
        "DATABASE_URL": database,
        "LOG_LEVEL": "WARNING",
        **more,
    }
    command = [*GUNICORN, "--config", str(ROOT / "gunicorn.conf.py"), "-b", f"127.0.0.1:{port}"]
    return Server(command, environ, port)


def worker(database: str, wecom: str, **more: str) -> subprocess.Popen[bytes]:
    environ = {
        "PATH": os.environ["PATH"],
        "WECOM_BOT_KEY": "key-default",
        "WECOM_API_URL": wecom,
        "BRIDGE_TOKEN": TOKEN,
        "BRIDGE_TEMPLATES": str(ROOT / "templates"),
        "DATABASE_URL": database,
        "LOG_LEVEL": "WARNING",
        **more,
    }
    return subprocess.Popen([sys.executable, "-m", "bridge", "worker"], cwd=ROOT, env=environ)


def sandbox(latency: float = 0.0) -> Server:
    port = free_port()
    command = [sys.executable, "-m", "bridge", "sandbox", "--port", str(port), "--rate", "0"]
    return Server([*command, "--latency", str(latency)], {}, port)


def load(url: str, path: str, seconds: float, connections: int = 16) -> Load:
    """Post different events as fast as they are answered."""
    if shutil.which("wrk"):
        seed = str(time.time_ns())
        done = subprocess.run(
            ["wrk", "-t2", f"-c{connections}", f"-d{seconds:.0f}s", "--latency", "-s",
             str(HERE / "post.lua"), url, "--", path, seed],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert "Non-2xx" not in done.stdout, done.stdout
        rate = float(re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)[1])  # type: ignore[index]
        return Load(rate, _wrk_ms(done.stdout, "50"), _wrk_ms(done.stdout, "99"))
    return _load_by_threads(url, path, seconds, connections)


def _wrk_ms(text: str, percent: str) -> float:
    number, unit = re.search(rf"{percent}%\s+([\d.]+)(us|ms|s)", text).groups()  # type: ignore[union-attr]
    return float(number) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit]


def _load_by_threads(url: str, path: str, seconds: float, connections: int) -> Load:
    latencies: list[float] = []
    end = time.perf_counter() + seconds

    def client(number: int) -> None:
        connection, n = HTTPConnection(url.removeprefix("http://")), 0
        while (began := time.perf_counter()) < end:
            n += 1
            connection.request("POST", path, event(f"{number}-{n}-{began}"))
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


def event(build: str, **more: str) -> bytes:
    fields = {"type": "updateVersion", "title": "OooPlay", "os_version": "2.4", "notes": "修复"}
    return json.dumps({**fields, "build_version": build, **more}).encode()


def median(values: list[float]) -> float:
    return statistics.median(values)


class Bench:
    """The rows, in the order of the table."""

    def __init__(self, folder: Path, seconds: float, rounds: int) -> None:
        self.folder = folder
        self.seconds = seconds
        self.rounds = rounds
        self.rows: list[Row] = []
        self.count = 0

    def sqlite(self) -> str:
        self.count += 1
        return f"sqlite:///{self.folder}/bench{self.count}.db"

    def row(self, figure: str, reach: str, good: bool, measured: str) -> None:
        self.rows.append(Row(figure, reach, measured, good))
        print(f"{'ok ' if good else 'NOT'} {figure}: {measured} (reach {reach})", flush=True)

    def acknowledge(self) -> None:
        rates, tails, both = [], [], []
        ours, theirs = bridge(self.sqlite(), "http://127.0.0.1:9", BRIDGE_RATE="1"), bare()
        with running(ours, theirs):
            # Many short turns rather than a few long ones: a machine's speed changes by the second.
            for _ in range(2 * self.rounds):
                b = load(theirs.url, f"/pgyer/{TOKEN}", self.seconds / 2)
                a = load(ours.url, f"/pgyer/{TOKEN}", self.seconds / 2)
                rates.append(a.rate / b.rate)
                tails.append(a.p99 / b.p99)
                both.append((a.rate, b.rate))
        shown = f"{both[-1][0]:.0f}/s beside {both[-1][1]:.0f}/s"
        ratio, tail = median(rates), median(tails)
        self.row("acknowledge, durable: requests/s ÷ bare", "≥ 0.65", ratio >= 0.65,
                 f"{ratio:.2f} ({shown})")  # fmt: skip
        self.row("the same, p99 ÷ bare p99", "≤ 2", tail <= 2, f"{tail:.2f}")

    def undisturbed(self) -> None:
        """Compare p99 with WeCom hanging, or a backlog draining, to p99 with nothing to do."""
        box = sandbox()
        hang = {"key": "key-default", "fault": "hang", "always": True}
        with running(box):
            many = {f"WECOM_BOT_KEY_B{n}": f"key-{n}" for n in range(20)}
            idle = bridge(self.sqlite(), box.url, BRIDGE_RATE="1")
            hung = bridge(self.sqlite(), box.url, BRIDGE_RATE="1000000")
            busy = bridge(self.sqlite(), box.url, BRIDGE_RATE="1000000", **many)
            requests.post(f"{box.url}/sandbox/faults", json=hang, timeout=10)
            with running(idle, hung, busy):
                names = ",".join(f"b{n}" for n in range(20))
                ratios: dict[str, list[float]] = {"hang": [], "backlog": []}
                for _ in range(self.rounds):
                    quiet = load(idle.url, f"/pgyer/{TOKEN}", self.seconds)
                    waiting = load(hung.url, f"/pgyer/{TOKEN}", self.seconds)
                    ratios["hang"].append(waiting.p99 / quiet.p99)
                    for n in range(500):
                        body = event(f"{time.time_ns()}-{n}")
                        requests.post(f"{busy.url}/pgyer/{TOKEN}/{names}", data=body, timeout=30)
                    draining = load(busy.url, f"/pgyer/{TOKEN}/default", self.seconds)
                    ratios["backlog"].append(draining.p99 / quiet.p99)
        for name, what in (("hang", "while WeCom hangs"), ("backlog", "while a backlog drains")):
            ratio = median(ratios[name])
            self.row(f"acknowledge p99 {what} ÷ p99 idle", "≤ 1.5", ratio <= 1.5, f"{ratio:.2f}")

    def arrival(self) -> None:
        box = sandbox()
        with running(box):
            ours = bridge(self.sqlite(), box.url, BRIDGE_RATE="1000000")
            theirs = bare(box.url)
            with running(ours, theirs):
                a, b = self._arrivals(box, {
                    "key-default": f"{ours.url}/pgyer/{TOKEN}",
                    "bare": f"{theirs.url}/forward/{TOKEN}",
                })  # fmt: skip
        ratio = a / b
        figure = "POST → arrival, one at a time: p50 ÷ Flask calling requests.post"
        shown = f"{ratio:.2f} ({1000 * a:.1f} ms beside {1000 * b:.1f} ms)"
        self.row(figure, "≤ 1.5", ratio <= 1.5, shown)

    def _arrivals(self, box: Server, urls: dict[str, str], count: int = 200) -> list[float]:
        """Return the median seconds until a message is there, by the robot each URL tells.

        In turns, so that both meet the machine in the same moods.
        """
        session, sent = requests.Session(), {key: [] for key in urls}
        for n in range(count):
            for key, url in urls.items():
                sent[key].append(time.time())
                session.post(url, data=event(f"{time.time_ns()}-{n}"), timeout=30)
                time.sleep(0.03)  # one at a time: the one before has arrived long ago
        medians = []
        for key, begun in sent.items():
            found = requests.get(f"{box.url}/sandbox/messages", params={"key": key}, timeout=30)
            ends = [message["at"] for message in found.json()]
            medians.append(median([end - at for at, end in zip(begun, ends, strict=True)]))
        return medians

    def slow_wecom(self) -> None:
        box = sandbox(latency=0.1)
        with running(box):
            ours = bridge(self.sqlite(), box.url, BRIDGE_RATE="1000000")
            theirs = bare(box.url)
            with running(ours, theirs):
                b = load(theirs.url, f"/forward/{TOKEN}", self.seconds)
                a = load(ours.url, f"/pgyer/{TOKEN}", self.seconds)
        ratio = a.rate / b.rate
        self.row("acknowledged/s, WeCom answering after 100 ms ÷ the forwarder", "≥ 8", ratio >= 8,
                 f"{ratio:.1f} ({a.rate:.0f}/s, p99 {a.p99:.0f} ms beside "
                 f"{b.rate:.0f}/s, p99 {b.p99:.0f} ms)")  # fmt: skip

    def deliveries(self) -> None:
        box = sandbox()
        with running(box):
            rate = self._drain(self.sqlite(), box, 1, via_workers=False)
        self.row("deliveries/s over 200 bots, SQLite", "≥ 400", rate >= 400, f"{rate:.0f}")

    def two_workers(self) -> None:
        if not postgres.binaries():
            return
        ratios = []
        for n in range(self.rounds):
            # Which comes first changes, so that a machine that becomes slower favours neither.
            rate = {workers: self._drained_by(workers) for workers in ((1, 2), (2, 1))[n % 2]}
            one, two = rate[1], rate[2]
            ratios.append(two / one)
        ratio = median(ratios)
        self.row("the same on PostgreSQL, 2 worker processes ÷ 1", "≥ 1.6", ratio >= 1.6,
                 f"{ratio:.2f} (last: {two:.0f}/s beside {one:.0f}/s)")  # fmt: skip

    def _drained_by(self, workers: int) -> float:
        # A server of its own, which does not clean up after an earlier measurement meanwhile.
        box = sandbox()
        with postgres.served() as server, running(box):
            return self._drain(server.create("bench"), box, workers, via_workers=True)

    def _drain(self, url: str, box: Server, workers: int, via_workers: bool) -> float:
        """Return the deliveries a second at which a backlog over 200 bots is told."""
        bots = {f"WECOM_BOT_KEY_B{n}": f"key-{n}" for n in range(200)}
        names, events = ",".join(f"b{n}" for n in range(200)), 30
        quiet = bridge(url, box.url, BRIDGE_DISPATCH="off", BRIDGE_RATE="1000000", **bots)
        with running(quiet):
            for n in range(events):
                target = f"{quiet.url}/pgyer/{TOKEN}/{names}"
                requests.post(target, data=event(f"{time.time_ns()}-{n}"), timeout=30)
        before = self._told(box)
        processes: list[subprocess.Popen[bytes]] = []
        server = None
        if via_workers:
            more = {"BRIDGE_RATE": "1000000", **bots}
            processes = [worker(url, box.url, **more) for _ in range(workers)]
        else:
            server = bridge(url, box.url, BRIDGE_RATE="1000000", **bots)
        total = 200 * events
        while self._told(box) - before < total:
            time.sleep(0.5)  # seldom: asking costs the cores that are measured
        messages = requests.get(f"{box.url}/sandbox/messages", timeout=30).json()
        arrived = sorted(message["at"] for message in messages)[-total:]
        rate = (total - 1) / (arrived[-1] - arrived[0])
        for process in processes:
            process.terminate()
            process.wait(20)
        if server:
            server.stop()
        return rate

    def _told(self, box: Server) -> int:
        return int(requests.get(f"{box.url}/sandbox/count", timeout=30).json()["accepted"])

    def start(self) -> None:
        url, ratios = self.sqlite(), []
        for n in range(self.rounds + 1):
            ours = bridge(url, "http://127.0.0.1:9")
            a = ours.wait()
            ours.stop()
            theirs = bare()
            b = theirs.wait()
            theirs.stop()
            if n:  # the first makes the schema
                ratios.append(a / b)
        ratio = median(ratios)
        self.row("start (exec → first 200) ÷ bare", "≤ 2", ratio <= 2, f"{ratio:.2f} (last: "
                 f"{1000 * a:.0f} ms beside {1000 * b:.0f} ms)")  # fmt: skip

    def memory_and_idle(self) -> None:
        box = sandbox()
        with running(box):
            ours = bridge(self.sqlite(), box.url, BRIDGE_RATE="1000000")
            theirs = bare()
            with running(ours, theirs):
                session = requests.Session()
                for n in range(10_000):
                    body = event(f"{time.time_ns()}-{n}")
                    session.post(f"{ours.url}/pgyer/{TOKEN}", data=body, timeout=30)
                for n in range(10_000):
                    session.post(f"{theirs.url}/pgyer/{TOKEN}", data=event(str(n)), timeout=30)
                while requests.get(f"{ours.url}/readyz", timeout=30).json()["pending"]:
                    time.sleep(0.1)
                a, b = ours.memory(), theirs.memory()
                time.sleep(2)
                before = ours.cpu()
                time.sleep(20)
                idle = (ours.cpu() - before) / 20
        self.row("memory after 10,000 events ÷ bare", "≤ 1.5", a / b <= 1.5,
                 f"{a / b:.2f} ({a:.0f} MiB beside {b:.0f} MiB)")  # fmt: skip
        self.row("CPU when idle", "≤ 0.3 % of a core", idle <= 0.003, f"{100 * idle:.2f} %")

    def million(self) -> None:
        url, empty = self.sqlite(), self.sqlite()
        with running(bridge(url, "http://127.0.0.1:9")):
            pass
        _fill(url.removeprefix("sqlite:///"), 1_000_000)
        acks, claims = [], []
        box = sandbox()
        with running(box):
            options = {"BRIDGE_RATE": "1000000", "BRIDGE_RETENTION_DAYS": "3650"}
            full, none = bridge(url, box.url, **options), bridge(empty, box.url, **options)
            with running(full, none):
                for _ in range(self.rounds):
                    b = load(none.url, f"/pgyer/{TOKEN}", self.seconds)
                    a = load(full.url, f"/pgyer/{TOKEN}", self.seconds)
                    acks.append(a.rate / b.rate)
            many, few = self._claims(url), self._claims(empty)
            claims.append(few / many)
        self._retention(url)
        ack, claim = median(acks), median(claims)
        self.row("acknowledge and claim with 1,000,000 stored events ÷ with none", "≥ 0.9",
                 min(ack, claim) >= 0.9, f"{ack:.2f} and {claim:.2f}")  # fmt: skip

    def _retention(self, url: str) -> None:
        """Delete old events while others write; the row is how long the slowest had to wait."""
        from bridge.storage.database import Database
        from bridge.storage.queries import Queries

        database, waited = Database(url), [0.0]
        history, end = Queries(database, {}), time.monotonic() + self.seconds * self.rounds
        deleting = threading.Event()

        def write() -> None:
            while not deleting.is_set():
                began = time.perf_counter()
                database.write(lambda connection: None)
                waited.append(time.perf_counter() - began)
                time.sleep(0.002)

        writer, deleted = threading.Thread(target=write), 0
        writer.start()
        while time.monotonic() < end:
            deleted += history.prune(time.time() - 3600)
        deleting.set()
        writer.join()
        database.close()
        longest, usual = 1000 * max(waited), 1000 * median(waited)
        self.row("retention: the longest that a writer waits for it", "≤ 50 ms", longest <= 50,
                 f"{longest:.0f} ms, usually {usual:.0f} ms ({deleted} deleted)")  # fmt: skip

    def _claims(self, url: str) -> float:
        """Return the median seconds of claiming and settling one delivery."""
        from bridge.model import Bot, Event, Outcome, Secret, Target, Verdict
        from bridge.storage.outbox import Outbox

        bot = Bot("claimer", Secret("http://127.0.0.1:9/send?key=c"))
        outbox = Outbox(url, {"claimer": bot}, rate=10**6, max_age=86400.0, dedupe=600.0)
        took = []
        for n in range(200):
            payload = {"build_version": f"{time.time_ns()}-{n}"}
            outbox.accept([(Event("x", payload, time.time()), [Target("claimer")])])
            began = time.perf_counter()
            [attempt] = outbox.claim(1)
            outbox.settle(attempt, Outcome(Verdict.SENT, "ok"))
            took.append(time.perf_counter() - began)
        outbox.database.close()
        return median(took)


def _fill(path: str, count: int) -> None:
    connection = sqlite3.connect(path)
    old = time.time() - 86400
    columns = "received_at, type, title, device_type, os_version, build_version, link, brief"
    rows = (
        (n, old + n / 100, "updateVersion", "OooPlay", "iOS", "2.4", str(n), "https://a.b/c", "x")
        for n in range(1, count + 1)
    )
    connection.executemany(
        f"INSERT INTO events (id, {columns}, payload, raw, error, digest) "
        "VALUES (?,?,?,?,?,?,?,?,?, '{\"title\": \"OooPlay\"}', x'7b7d', '', hex(randomblob(32)))",
        rows,
    )
    connection.execute(
        "INSERT INTO deliveries (event_id, bot, state, reason, template, mention, attach, step, "
        "media_id, media_at, tries, created_at, held_until, expires_at, settled_at) "
        "SELECT id, 'default', 'sent', '', '', '[]', '[]', 1, '', 0, 1, received_at, 0, "
        "received_at + 86400, received_at FROM events"
    )
    connection.commit()
    connection.close()


def report(rows: list[Row]) -> str:
    cores = os.cpu_count()
    lines = [
        "# Results of `make bench`",
        "",
        f"{platform.system()} {platform.machine()}, {cores} cores, Python "
        f"{platform.python_version()}, load by {'wrk' if shutil.which('wrk') else 'threads'}; "
        "client, sandbox and server share the cores.",
        "",
        "| figure | reach | measured | |",
        "|---|---|---|---|",
        *(f"| {r.figure} | {r.reach} | {r.measured} | {'✓' if r.good else '✗'} |" for r in rows),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", help="only these, e.g. acknowledge start")
    parser.add_argument("--seconds", type=float, default=6.0, help="of each burst")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), options.seconds, options.rounds)
        everything: dict[str, Callable[[], None]] = {
            "acknowledge": bench.acknowledge,
            "undisturbed": bench.undisturbed,
            "arrival": bench.arrival,
            "slow_wecom": bench.slow_wecom,
            "deliveries": bench.deliveries,
            "two_workers": bench.two_workers,
            "start": bench.start,
            "memory_and_idle": bench.memory_and_idle,
            "million": bench.million,
        }
        for name, measure in everything.items():
            if not options.rows or name in options.rows:
                measure()
    if not options.rows:
        (HERE / "RESULTS.md").write_text(report(bench.rows), encoding="utf-8")


if __name__ == "__main__":
    main()
