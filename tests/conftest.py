"""Fixtures that the tests share."""

import copy
import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import postgres
import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, settings
from support import ROOT, Clock, Deployment, environment, new_database, new_sqlite

from bridge.cli import commands
from bridge.messages import child
from bridge.model import Bot, Secret
from bridge.sandbox import Sandbox, serve
from bridge.storage.database import Database
from bridge.storage.outbox import Outbox

# The tests read English unless they ask for Chinese. A process with an environment of its own, as
# a deployment has, speaks Chinese, since it has none of these variables.
os.environ.pop("LC_ALL", None)
os.environ["LC_MESSAGES"] = "en_US.UTF-8"
# A busy machine is no fault of what is tested. The examples are the same each time; SOAK=1 asks for
# others.
settings.register_profile(
    "any machine",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=not os.environ.get("SOAK"),
)
settings.load_profile("any machine")

# What takes longest begins first, so that no process is left alone with it at the end; files that
# wait and files that calculate take turns, so that there is always something to calculate. The
# others go by folder, then by name.
_FIRST = (
    "test_floods", "test_outbox_machine", "test_demo", "test_defusing", "test_bodies",
    "test_kill", "test_budget", "test_deadline", "test_template_pages", "test_far_side",
    "test_wheel", "test_database", "test_platform_files", "test_database_trouble",
    "test_every_page", "test_dispatcher", "test_odd_requests", "test_database_faults",
    "test_browser", "test_faults", "test_machines", "test_browser_templates",
    "test_slow_connections", "test_secrets_everywhere", "test_restarts",
)  # fmt: skip
_RANKS = {"trust": 0, "system": 1, "messages": 1, "console": 1}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the tests in the order in which they are handed out; let some count no lines.

    Coverage doubles the time of a test. What runs the program in other processes reaches no lines
    here, and the lines that a sweep takes again and again are reached by other tests too.
    """

    @cache
    def folder(path: Path) -> str:
        return path.relative_to(Path(__file__).parent).parts[0]

    @cache
    def place(path: Path) -> tuple[int, str, Path]:
        if path.stem in _FIRST:
            return _FIRST.index(path.stem), path.name, path
        return len(_FIRST) + _RANKS.get(folder(path), 2), path.name, path

    items.sort(key=lambda item: place(item.path))
    if not config.getoption("cov_source", None):
        return
    for item in items:
        if folder(item.path) in ("trust", "system") or item.get_closest_marker("sweep"):
            item.add_marker(pytest.mark.no_cover)


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """The same, for a test that needs no others."""
    return environment(tmp_path)


@pytest.fixture(autouse=True, scope="session")
def _shipped_templates() -> Iterator[None]:
    """Lint and try the bridge's own templates once in a process, not for the app of each test."""
    shipped = {path.name: path.read_text(encoding="utf-8") for path in ROOT.glob("templates/*.j2")}
    run, found = child.run, dict[str, Any]()

    def run_once(work: Callable[..., Any], *args: Any) -> Any:
        if work.__name__ not in ("lint", "try_files") or args[0] != shipped:
            return run(work, *args)
        key = repr((work, args[1:]))
        if key not in found:
            found[key] = run(work, *args)
        return copy.deepcopy(found[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(child, "run", run_once)
        yield


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
        variables = environment(tmp_path, WECOM_API_URL=api) | environ
        made.append(Deployment(tmp_path, variables))
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
def postgres_server(
    testrun_uid: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[postgres.Server]:
    """A real PostgreSQL for all tests; where there is none they are skipped, but never in CI."""
    if not postgres.binaries():
        assert not os.environ.get("CI"), postgres.INSTALL
        pytest.skip(f"there is no PostgreSQL: {postgres.INSTALL}")
    users = tmp_path_factory.getbasetemp().parent / f"postgres-{testrun_uid}"
    with postgres.shared(users) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_name(postgres_server: postgres.Server) -> str:
    """The name of a PostgreSQL database that the tests of one process use in turn."""
    name = f"test_{os.getpid()}"
    new_database(postgres_server.create(name))
    return name


@pytest.fixture
def postgres_url(postgres_server: postgres.Server, postgres_name: str) -> str:
    """The URL of a PostgreSQL database with the schema and nothing else.

    The next test has the same one, emptied: who changes the schema takes another database.
    """
    return postgres_server.empty(postgres_name)


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
