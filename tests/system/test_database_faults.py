"""The real program while its database fails: no 200 for what is not kept, and health says why."""

import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import postgres
import pytest
import requests
from support import ROOT, Deployment, until
from system_helpers import Deploy, Served, new_version

from bridge.sandbox import Sandbox
from bridge.storage.driver import Connection

PASSWORD = "a-password-of-ours"
LONGEST = 20.0  # seconds that a request may wait; the promise is 10, and the machine is busy


def workers(bridge: Deployment) -> list[int]:
    assert bridge.process
    main = bridge.process.pid
    return [int(pid) for pid in Path(f"/proc/{main}/task/{main}/children").read_text().split()]


def ready(bridge: Deployment) -> requests.Response:
    return requests.get(f"{bridge.url}/readyz", timeout=30)


def database_up(bridge: Deployment) -> bool:
    text = requests.get(f"{bridge.url}/metrics", auth=("", PASSWORD), timeout=30).text
    [line] = [line for line in text.splitlines() if line.startswith("bridge_database_up ")]
    return line.endswith(" 1.0")


def check(bridge: Deployment, *before: str) -> int:
    """Return the exit code of `bridge check` in a deployment's environment."""
    done = subprocess.run(
        [*before, sys.executable, "-m", "bridge", "check"], cwd=bridge.folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **bridge.environ},
        capture_output=True, timeout=60,
    )  # fmt: skip
    return done.returncode


def says_that_it_cannot_store(bridge: Deployment, reason: str) -> None:
    began = time.monotonic()
    refused = bridge.post(new_version(99))
    assert time.monotonic() - began <= LONGEST
    assert refused.status_code == 503 and refused.headers["Retry-After"]
    answer = ready(bridge)
    assert answer.status_code == 503
    assert any(p.startswith("database: ") and reason in p for p in answer.json()["problems"])
    assert not database_up(bridge)
    assert requests.get(f"{bridge.url}/healthz", timeout=30).status_code == 200


def stores_again(bridge: Deployment, box: Sandbox) -> None:
    until(lambda: bridge.post(new_version(100)).status_code == 200, "it stores again")
    until(lambda: ready(bridge).status_code == 200 and database_up(bridge), "it says so")
    until(lambda: any("App 100" in str(call.payload) for call in box.messages()), "it sends again")


@contextmanager
def full_disk(bridge: Deployment) -> Iterator[str]:
    """Let the bridge write to no file any more; yield the limit for other processes.

    A limit of the files' present size would leave room once SQLite begins its log anew.
    """
    [worker] = workers(bridge)
    _, hard = resource.prlimit(worker, resource.RLIMIT_FSIZE)
    resource.prlimit(worker, resource.RLIMIT_FSIZE, (1, hard))
    yield "--fsize=1"
    resource.prlimit(worker, resource.RLIMIT_FSIZE, (hard, hard))


def test_a_full_disk_shows_and_passes(sandbox: Served, deploy: Deploy) -> None:
    box, api = sandbox
    bridge = deploy(api, BRIDGE_ADMIN_PASSWORD=PASSWORD).start()
    assert bridge.post(new_version(1)).status_code == 200
    until(lambda: len(box.messages()) == 1)
    assert ready(bridge).status_code == 200 and database_up(bridge)
    with full_disk(bridge) as limit:
        says_that_it_cannot_store(bridge, "disk")
        assert check(bridge, "prlimit", limit) == 1
        until(lambda: ready(bridge).status_code == 503, "a trial of its own fails as well")
    stores_again(bridge, box)
    assert check(bridge) == 0


def test_a_disk_that_fills_up_while_nothing_comes_shows_as_well(
    sandbox: Served, deploy: Deploy
) -> None:
    bridge = deploy(sandbox[1], BRIDGE_ADMIN_PASSWORD=PASSWORD).start()
    assert bridge.post(new_version(1)).status_code == 200
    until(lambda: len(sandbox[0].messages()) == 1)
    with full_disk(bridge):
        until(lambda: ready(bridge).status_code == 503, "an idle bridge notices it")
        assert not database_up(bridge)


def test_a_lock_of_another_program_shows_and_passes(sandbox: Served, deploy: Deploy) -> None:
    box, api = sandbox
    bridge = deploy(api, BRIDGE_ADMIN_PASSWORD=PASSWORD).start()
    with closing(sqlite3.connect(bridge.folder / "bridge.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        says_that_it_cannot_store(bridge, "locked")
        assert check(bridge) == 1
        other.execute("ROLLBACK")
    stores_again(bridge, box)


def test_a_postgresql_that_is_read_only_shows_and_passes(
    sandbox: Served, deploy: Deploy, postgres_server: postgres.Server, postgres_url: str
) -> None:
    box, api = sandbox
    more = {"DATABASE_URL": postgres_url, "BRIDGE_ADMIN_PASSWORD": PASSWORD}
    bridge = deploy(api, **more).start()
    name = postgres_url.rpartition("/")[2]
    others = Connection(postgres_server.url())

    def set_read_only(state: str) -> None:
        others.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = {state}")
        others.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name",
            {"name": name},
        )

    set_read_only("on")
    until(lambda: "read-only transaction" in ready(bridge).text, "it notices")
    says_that_it_cannot_store(bridge, "read-only transaction")
    assert check(bridge) == 1
    set_read_only("off")
    stores_again(bridge, box)
    others.close()


def stored_titles(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [title for (title,) in connection.execute("SELECT title FROM events")]


@pytest.mark.parametrize("is_back", ["empty", "with another file", "not"])
def test_what_is_acknowledged_after_the_folder_was_removed_is_in_the_new_one(
    is_back: str, sandbox: Served, deploy: Deploy, tmp_path: Path
) -> None:
    box, api = sandbox
    folder = tmp_path / "data"
    folder.mkdir()
    bridge = deploy(
        api, DATABASE_URL=f"sqlite:///{folder}/x.db", BRIDGE_ADMIN_PASSWORD=PASSWORD
    ).start()
    assert bridge.post(new_version(1)).status_code == 200
    until(lambda: len(box.messages()) == 1)
    shutil.copy(folder / "x.db", tmp_path / "old.db")
    shutil.rmtree(folder)
    if is_back == "not":
        says_that_it_cannot_store(bridge, "")
        folder.mkdir()
    else:
        folder.mkdir()
        if is_back == "with another file":
            shutil.copy(tmp_path / "old.db", folder / "x.db")
    acknowledged = [n for n in range(2, 12) if bridge.post(new_version(n)).status_code == 200]
    assert len(acknowledged) == 10
    assert {f"App {n}" for n in acknowledged} <= set(stored_titles(folder / "x.db"))
    stores_again(bridge, box)
    assert "removed or replaced" in bridge.log.read_text()
    bridge.kill()
    assert {f"App {n}" for n in acknowledged} <= set(stored_titles(folder / "x.db"))


@pytest.mark.parametrize("count", [1, 10])
def test_ten_first_starts_at_once_do_without_an_error_and_preload_leaves_nothing_in_the_master(
    count: int, sandbox: Served, deploy: Deploy, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """One process begins with an empty file, ten with an empty database of PostgreSQL."""
    box, api = sandbox
    url = f"sqlite:///{tmp_path}/outbox.db"
    if count > 1:
        server = request.getfixturevalue("postgres_server")
        url = server.create(f"first_{os.getpid()}")
    bridge = deploy(
        api, DATABASE_URL=url, BRIDGE_ADMIN_PASSWORD=PASSWORD, WEB_CONCURRENCY=str(count),
        BRIDGE_RATE="1000", BRIDGE_TEMPLATES=str(tmp_path),  # ten would try each template
    ).start("--preload")  # fmt: skip
    until(lambda: bridge.log.read_text().count("dispatching for") == count, "all have started")
    assert " ERROR " not in bridge.log.read_text()
    assert bridge.process
    master = Path(f"/proc/{bridge.process.pid}")
    assert len(list((master / "task").iterdir())) == 1
    links = [str(link.readlink()) for link in (master / "fd").iterdir()]
    assert not [link for link in links if "outbox.db" in link]
    assert len([link for link in links if link.startswith("socket:")]) == 1  # that it listens on
    for n in range(20):
        assert bridge.post(new_version(n)).status_code == 200
    until(lambda: len(box.messages()) == 20)
    until(lambda: ready(bridge).status_code == 200)
    text = requests.get(f"{bridge.url}/metrics", auth=("", PASSWORD), timeout=30).text
    assert 'bridge_events_total{outcome="accepted",type="updateVersion"} 20.0' in text
    for worker in workers(bridge):
        os.kill(worker, 9)
    until(bridge.serves, "new workers serve")
    assert bridge.post(new_version(20)).status_code == 200
    until(lambda: len(box.messages()) == 21)
    assert bridge.stop() == 0
    assert "Traceback" not in bridge.log.read_text()
