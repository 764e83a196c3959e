"""Fixtures that the tests share."""

import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import postgres
import pytest
from click.testing import CliRunner, Result
from support import Clock, Deployment, environment, new_database, new_sqlite

from bridge.cli import commands
from bridge.model import Bot, Secret
from bridge.sandbox import Sandbox, serve
from bridge.storage.database import Database
from bridge.storage.outbox import Outbox

# The tests read English unless they ask for Chinese. A process with an environment of its own, as
# a deployment has, speaks Chinese, since it has none of these variables.
os.environ.pop("LC_ALL", None)
os.environ["LC_MESSAGES"] = "en_US.UTF-8"


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
        new_database(server.create("new"))
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


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run the `bridge` command in this process, in a folder of its own, with two bots."""
    monkeypatch.chdir(tmp_path)
    for name in [
        n for n in os.environ if n.startswith(("BRIDGE_", "WECOM_", "DATABASE_", "PGYER_"))
    ]:
        monkeypatch.delenv(name)
    environ = environment(tmp_path)

    def run(*args: str, given: str | bytes | None = None, **more: str) -> Result:
        done = CliRunner().invoke(commands, args, input=given, env={**environ, **more})
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done

    return run
