"""What the tests share beside fixtures: a still clock, waiting, real deployments of the bridge."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import cache
from pathlib import Path

import requests
from postgres import free_port

from bridge.model import Event
from bridge.storage.database import Database

ROOT = Path(__file__).parent.parent
TOKEN = "a-token-that-nobody-guesses"
HOOK = f"/pgyer/{TOKEN}"
PATIENCE = 30.0  # seconds; a safety limit, never what a test is about


class Clock:
    """Epoch seconds that pass only when a test says so."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


def until(
    condition: Callable[[], bool], what: str = "it happened", patience: float = PATIENCE
) -> None:
    """Wait for what another thread or process does; fail where it does not come about."""
    began = time.monotonic()
    while not condition():
        waited = time.monotonic() - began
        assert waited < patience, f"waited {patience:.0f} s in vain until {what}"
        # To ask is work for whoever is waited for: the longer it takes, the less often.
        time.sleep(min(max(waited / 10, 0.005), 0.3))


def takes_less(seconds: float, work: Callable[[], object]) -> bool:
    """Return whether some work takes less of the processor's time, at one of three times."""
    return any(cpu_seconds(work) < seconds for _ in range(3))


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the processor's time for some work, without what a tracer (coverage) adds to it."""
    tracer = sys.gettrace()
    sys.settrace(None)
    try:
        start = time.thread_time()
        work()
        return time.thread_time() - start
    finally:
        sys.settrace(tracer)


class Session(requests.Session):
    """Keeps a connection, and does not look for proxies and passwords before each request.

    A request costs a third of what it costs by `requests.post`: for those that come by hundreds.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False


class Deployment:
    """The bridge as a platform runs it: `gunicorn --config gunicorn.conf.py` and an environment."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.hook = f"{self.url}/pgyer/{TOKEN}"
        self.log = folder / "bridge.log"
        self.environ = {"PORT": str(self.port), **environ}
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str, wait: bool = True) -> "Deployment":
        command = [sys.executable, "-m", "gunicorn", "--config", str(ROOT / "gunicorn.conf.py")]
        command += ["--bind", f"127.0.0.1:{self.port}", *options]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=self.folder,
                env={"PATH": os.environ["PATH"], **self.environ},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if wait:
            until(self.serves, f"the bridge serves, see {self.log}")
        return self

    def serves(self) -> bool:
        assert self.process and self.process.poll() is None, self.log.read_text()
        with socket.socket() as probe:  # a request in vain takes fifty times as long
            if probe.connect_ex(("127.0.0.1", self.port)):
                return False
        try:
            return requests.get(f"{self.url}/healthz", timeout=5).ok
        except requests.RequestException:
            return False

    def post(
        self, body: bytes | str, path: str = "", by: Session | None = None, **more: object
    ) -> requests.Response:
        """Post an event; each time by a new connection, unless `by` a session."""
        data = body.encode() if isinstance(body, str) else body
        with nullcontext(by) if by else Session() as session:
            return session.post(self.hook + path, data=data, timeout=60, **more)  # type: ignore[arg-type]

    def kill(self) -> None:
        """End every process of the bridge at once, as kill -9 or a lost machine would."""
        assert self.process
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """End it as a platform does; return the exit code."""
        assert self.process
        self.process.terminate()
        return self.process.wait(PATIENCE)


def new_database(url: str) -> None:
    """Bring an empty database's schema up to date."""
    database = Database(url)
    database.write(lambda connection: None)
    database.close()


@cache
def new_sqlite() -> bytes:
    """A database that has the schema and nothing else; to make it takes its time, so only once."""
    with tempfile.TemporaryDirectory() as folder:
        new_database(f"sqlite:///{folder}/new.db")
        return Path(folder, "new.db").read_bytes()


def environment(folder: Path, **more: str) -> dict[str, str]:
    """The variables of a bridge with two bots, whose database is in a folder."""
    if not (folder / "bridge.db").exists():
        (folder / "bridge.db").write_bytes(new_sqlite())
    return {
        "WECOM_BOT_KEY": "key-of-default",
        "WECOM_BOT_KEY_DEV": "key-of-dev",
        "BRIDGE_TOKEN": TOKEN,
        "BRIDGE_TEMPLATES": str(ROOT / "templates"),
        "DATABASE_URL": f"sqlite:///{folder}/bridge.db",
        **more,
    }


def event(clock: Clock, **payload: object) -> Event:
    """An event of a new version, with these fields."""
    fields = {"type": "updateVersion", "title": "OooPlay", **payload}
    return Event(str(fields["type"]), fields, clock())
