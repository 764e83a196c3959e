"""The database is full, locked, restarted or cut off under load: what was acknowledged is there."""

import os
import random
import resource
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import postgres
import psycopg
import pytest
from support import Deployment, until
from trust.load import Figure, Load, check, settle
from trust.scale import scaled

from bridge.sandbox import Sandbox

Served = tuple[Sandbox, str]
Deploy = Callable[..., Deployment]

CUTS, RESTARTS, LOCKS = scaled(8, 100), scaled(2, 30), scaled(1, 20)
SEED = 17
MORE = {"BRIDGE_RATE": "1000000"}
WAIT = 20.0  # seconds; the promise is 10, and the machine is busy


@pytest.fixture
def server() -> Iterator[postgres.Server]:
    """A PostgreSQL that a test may restart: no other test's."""
    if not postgres.binaries():
        assert not os.environ.get("CI"), postgres.INSTALL
        pytest.skip(f"there is no PostgreSQL: {postgres.INSTALL}")
    with postgres.served() as served:
        yield served


def processes(bridge: Deployment) -> list[int]:
    """Return the bridge's processes, the master first."""
    assert bridge.process
    master = bridge.process.pid
    children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    return [master, *map(int, children)]


def limit_files(bridge: Deployment, size: int) -> None:
    """Let no file of the bridge grow beyond a size, as on a full disk; -1 for no limit."""
    for pid in processes(bridge):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def test_a_full_disk_costs_nothing_that_was_acknowledged(
    sandbox: Served, deploy: Deploy, tmp_path: Path, figure: Figure
) -> None:
    box, api = sandbox
    bridge, load = deploy(api, **MORE).start(), Load()
    with load.on(bridge):
        load.wait_for(20)
        largest = max(file.stat().st_size for file in tmp_path.glob("bridge.db*"))
        limit_files(bridge, largest + 16_384)
        until(lambda: load.statuses[503] >= 10, "the disk is full")
        limit_files(bridge, resource.RLIM_INFINITY)
        load.wait_for(20)
    settle(bridge)
    twice = check(load, box, load.statuses[503])
    assert load.statuses.keys() <= {200, 503}
    assert bridge.stop() == 0
    figure(f"disk full: {dict(load.statuses)}, 0 lost, {twice} messages came twice")


def test_a_locked_sqlite_is_a_503_in_time(
    sandbox: Served, deploy: Deploy, tmp_path: Path, figure: Figure
) -> None:
    box, api = sandbox
    bridge, load = deploy(api, **MORE).start(), Load()
    longest = 0.0
    with load.on(bridge):
        for _ in range(LOCKS):
            load.wait_for(10)
            with closing(sqlite3.connect(tmp_path / "bridge.db", isolation_level=None)) as other:
                other.execute("PRAGMA busy_timeout = 30000")
                other.execute("BEGIN IMMEDIATE")
                began = time.monotonic()
                before = load.statuses[503]
                until(lambda before=before: load.statuses[503] > before, "it answers 503")
                longest = max(longest, time.monotonic() - began)
                other.execute("ROLLBACK")
        load.wait_for(10)
    settle(bridge)
    twice = check(load, box, load.statuses[503])
    assert longest < WAIT
    assert bridge.stop() == 0
    figure(f"SQLite locked {LOCKS} times: 503 after {longest:.1f} s at most, 0 lost, {twice} twice")


def test_a_table_lock_of_postgresql_is_a_503_in_time(
    sandbox: Served, deploy: Deploy, postgres_url: str, figure: Figure
) -> None:
    box, api = sandbox
    bridge, load = deploy(api, DATABASE_URL=postgres_url, **MORE).start(), Load()
    longest = 0.0
    with load.on(bridge):
        for _ in range(LOCKS):
            load.wait_for(10)
            with psycopg.connect(postgres_url) as other:
                other.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
                began = time.monotonic()
                before = load.statuses[503]
                until(lambda before=before: load.statuses[503] > before, "it answers 503")
                longest = max(longest, time.monotonic() - began)
                other.rollback()
        load.wait_for(10)
    settle(bridge)
    twice = check(load, box, load.statuses[503] + LOCKS)
    assert longest < WAIT
    assert bridge.stop() == 0
    figure(f"PostgreSQL locked {LOCKS} times: 503 after {longest:.1f} s at most, {twice} twice")


@pytest.mark.parametrize("way", ["directly", "by a pooler"])
def test_cut_connections_cost_nothing_that_was_acknowledged(
    way: str,
    sandbox: Served,
    deploy: Deploy,
    postgres_url: str,
    postgres_server: postgres.Server,
    figure: Figure,
) -> None:
    with ExitStack() as stack:
        url = postgres_url
        if way == "by a pooler":
            if not postgres.pooler():
                assert not os.environ.get("CI"), postgres.POOLER
                pytest.skip(f"there is no PgBouncer: {postgres.POOLER}")
            url = stack.enter_context(postgres.pooled(postgres_server, postgres_url, 2))
        result = cut(url, postgres_url, *sandbox, deploy)
    figure(f"PostgreSQL's connections cut {CUTS} times {way}: {result}")


def cut(url: str, direct: str, box: Sandbox, api: str, deploy: Deploy) -> str:
    """End every session of a database again and again; return what came of it."""
    bridge, load = deploy(api, DATABASE_URL=url, **MORE).start(), Load()
    dice = random.Random(SEED)
    print(f"seed {SEED}")
    ending = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid != pg_backend_pid()"
    )
    with load.on(bridge), psycopg.connect(direct, autocommit=True) as other:
        for _ in range(CUTS):
            load.wait_for(dice.randrange(1, 20))
            other.execute(ending)
        load.wait_for(10)
    settle(bridge)
    twice = check(load, box, CUTS)
    assert load.statuses.keys() <= {200, 503}
    assert bridge.stop() == 0
    return f"{dict(load.statuses)}, 0 lost, {twice} twice"


def test_restarts_of_postgresql_cost_nothing_that_was_acknowledged(
    sandbox: Served, deploy: Deploy, server: postgres.Server, figure: Figure
) -> None:
    box, api = sandbox
    url = server.create("restarts")
    bridge, load = deploy(api, DATABASE_URL=url, **MORE).start(), Load()
    with load.on(bridge):
        for number in range(RESTARTS):
            load.wait_for(15)
            server.stop("immediate" if number % 2 == 0 else "fast")
            before = load.statuses[503]
            until(lambda before=before: load.statuses[503] > before, "it answers 503")
            server.start()
        load.wait_for(15)
    settle(bridge)
    twice = check(load, box, RESTARTS)
    assert load.statuses.keys() <= {200, 503}
    assert bridge.stop() == 0
    figure(f"PostgreSQL restarted {RESTARTS} times: {dict(load.statuses)}, 0 lost, {twice} twice")
