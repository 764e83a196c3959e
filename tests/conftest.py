"""What the tests share: a clock that stands still, a sandbox, real deployments of the bridge."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import postgres
import pytest
import requests
from click.testing import CliRunner, Result

from bridge import schema
from bridge.cli import commands
from bridge.database import Database
from bridge.model import Bot, Event, Secret
from bridge.outbox import Outbox
from bridge.sandbox import Sandbox, serve

ROOT = Path(__file__).parent.parent
TOKEN = "a-token-that-nobody-guesses"
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
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"waited {patience:.0f} s in vain until {what}"
        time.sleep(0.01)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


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

    def start(self, *, wait: bool = True) -> "Deployment":
        command = [sys.executable, "-m", "gunicorn", "--config", str(ROOT / "gunicorn.conf.py")]
        command += ["--bind", f"127.0.0.1:{self.port}"]
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
            until(self.serves, f"the bridge serves; its log:\n{self.log.read_text()}")
        return self

    def serves(self) -> bool:
        assert self.process and self.process.poll() is None, self.log.read_text()
        try:
            return requests.get(f"{self.url}/healthz", timeout=5).ok
        except requests.ConnectionError:
            return False

    def post(self, body: bytes | str, path: str = "", **more: object) -> requests.Response:
        data = body.encode() if isinstance(body, str) else body
        return requests.post(self.hook + path, data=data, timeout=60, **more)  # type: ignore[arg-type]

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


@cache
def new_sqlite() -> bytes:
    """A database that has the schema and nothing else; to make it takes its time, so only once."""
    with tempfile.TemporaryDirectory() as folder:
        schema.upgrade(f"sqlite:///{folder}/new.db")
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


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """The same, for a test that needs no others."""
    return environment(tmp_path)


@pytest.fixture(autouse=True)
def databases(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Close the databases that a test left open, as the end of a process would."""
    made: list[Database] = []
    begin = Database.__init__

    def init(database: Database, *args: Any, **more: Any) -> None:
        made.append(database)
        begin(database, *args, **more)

    monkeypatch.setattr(Database, "__init__", init)
    yield
    for database in made:
        database.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sandbox() -> Iterator[tuple[Sandbox, str]]:
    """A served sandbox without a rate limit that knows the bots `default` and `dev`."""
    box = Sandbox({"key-of-default": "default", "key-of-dev": "dev"}, rate=None)
    with serve(box) as url:
        yield box, url


@pytest.fixture
def deploy(tmp_path: Path) -> Iterator[Callable[..., Deployment]]:
    """Make a deployment that is not started yet; whatever still runs at the end is killed."""
    made: list[Deployment] = []

    def make(api: str, **environ: str) -> Deployment:
        settings = environment(tmp_path, WECOM_API_URL=api) | environ
        made.append(Deployment(tmp_path, settings))
        return made[-1]

    yield make
    for deployment in made:
        if deployment.process and deployment.process.poll() is None:
            deployment.kill()


@pytest.fixture
def bots() -> dict[str, Bot]:
    names = ("default", "dev")
    url = "http://wecom.invalid/cgi-bin/webhook/send?key=key-of-"
    return {name: Bot(name, Secret(url + name)) for name in names}


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Server]:
    """A real PostgreSQL; where there is none its tests are skipped, but never in CI."""
    if not postgres.binaries():
        assert not os.environ.get("CI"), postgres.INSTALL
        pytest.skip(f"there is no PostgreSQL: {postgres.INSTALL}")
    with postgres.served() as server:
        schema.upgrade(server.create("new"))
        yield server


@pytest.fixture
def postgres_url(postgres_server: postgres.Server) -> str:
    """The URL of a PostgreSQL database of the test's own, with the schema and nothing else."""
    return postgres_server.create(f"test_{secrets.token_hex(6)}", template="new")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database with the schema and nothing else; each test runs on both kinds."""
    if request.param == "sqlite":
        (tmp_path / "outbox.db").write_bytes(new_sqlite())
        return f"sqlite:///{tmp_path}/outbox.db"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def outbox(database_url: str, bots: dict[str, Bot], clock: Clock) -> Iterator[Outbox]:
    """An outbox by the still clock, with jitter in the middle of its range."""
    box = Outbox(
        database_url,
        bots,
        rate=18,
        max_age=86400.0,
        dedupe=600.0,
        clock=clock,
        jitter=lambda: 0.5,
    )
    yield box
    box.database.close()


def event(clock: Clock, **payload: object) -> Event:
    """An event of a new version, with these fields."""
    fields = {"type": "updateVersion", "title": "OooPlay", **payload}
    return Event(str(fields["type"]), fields, clock())


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run the `bridge` command in this process, in a folder of its own, with two bots."""
    monkeypatch.chdir(tmp_path)
    for name in [n for n in os.environ if n.startswith(("BRIDGE_", "WECOM_", "DATABASE_"))]:
        monkeypatch.delenv(name)
    environ = environment(tmp_path)

    def run(*args: str, given: str | bytes | None = None, **more: str) -> Result:
        done = CliRunner().invoke(commands, args, input=given, env={**environ, **more})
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done

    return run
