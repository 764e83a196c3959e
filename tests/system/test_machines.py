"""Several web processes and workers on one real PostgreSQL, and what happens when some die."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import postgres
import pytest
import requests
from support import ROOT, TOKEN, Deployment, free_port, until
from system_helpers import DEFAULT, Deploy, Served, new_version

from bridge.sandbox import Sandbox
from bridge.storage.database import Database
from bridge.storage.operator import Operator


class Workers:
    """`bridge worker` processes with a deployment's environment."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "workers.log"
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, bridge: Deployment, **more: str) -> subprocess.Popen[bytes]:
        environ = {"PATH": os.environ["PATH"], **bridge.environ, "BRIDGE_DISPATCH": "on"}
        del environ["PORT"]  # the web process has it
        environ |= more
        before = self.log.read_text().count("dispatching for") if self.log.exists() else 0
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "bridge", "worker"],
                cwd=bridge.folder, env=environ | {"PYTHONPATH": str(ROOT)}, stdout=log, stderr=log,
            )  # fmt: skip
        self.processes.append(process)
        until(lambda: self.log.read_text().count("dispatching for") > before, "a worker dispatches")
        return process


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    made = Workers(tmp_path)
    yield made
    for process in made.processes:
        if process.poll() is None:
            process.kill()
        process.wait()


def heads(box: Sandbox, key: str = DEFAULT) -> list[str]:
    texts = [call.payload["markdown"]["content"] for call in box.messages(key)]
    return [text.split("\n")[0].rsplit("</font> ")[1] for text in texts]


def test_web_processes_and_workers_tell_each_event_once_and_in_order(
    sandbox: Served, deploy: Deploy, workers: Workers, postgres_url: str
) -> None:
    box, api = sandbox
    more = {"DATABASE_URL": postgres_url, "BRIDGE_RATE": "1000"}
    one = deploy(api, **more).start()
    two = deploy(api, **more, BRIDGE_DISPATCH="off").start()
    for _ in range(2):
        workers.start(one)
    for n in range(40):
        assert (one, two)[n % 2].post(new_version(n), "/default,dev").status_code == 200
    for key in (DEFAULT, "key-of-dev"):
        until(lambda key=key: len(box.messages(key)) >= 40)
        assert heads(box, key) == [f"App {n}" for n in range(40)]
    assert [process.terminate() for process in workers.processes] == [None, None]
    assert [process.wait(20) for process in workers.processes] == [0, 0]
    assert one.stop() == two.stop() == 0
    assert len(box.messages()) == 80


def test_the_rate_is_exact_across_all_of_them(
    sandbox: Served, deploy: Deploy, workers: Workers, postgres_url: str
) -> None:
    box, api = sandbox
    more = {"DATABASE_URL": postgres_url, "BRIDGE_RATE": "7", "WEB_CONCURRENCY": "2"}
    bridge = deploy(api, **more).start()
    workers.start(bridge)
    for n in range(7):
        bridge.post(new_version(n))
        until(lambda n=n: len(box.calls) == n + 1)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: bridge.post(new_version(n)), range(7, 40)))
    database = Database(postgres_url)
    resting = "SELECT count(*) FROM bots WHERE rest_until > extract(epoch FROM now())"

    def rests() -> bool:
        with database.read() as connection:
            return connection.execute(resting)[0]["count"] == 1

    until(rests, "the bot rests")
    assert len(box.calls) == 7
    database.close()


def test_whoever_dispatches_is_woken_by_what_another_process_stores(
    postgres_url: str,
) -> None:
    one, two = Database(postgres_url), Database(postgres_url)
    stopping = threading.Event()
    listener = threading.Thread(target=one.listen, args=(stopping,))
    listener.start()
    assert one.wakeup.wait(30)  # it listens
    one.wakeup.clear()
    Operator(two, 3600.0).send_test("default")
    assert one.wakeup.wait(30)
    stopping.set()
    listener.join(30)
    assert not listener.is_alive()
    one.close()
    two.close()


def test_another_takes_over_from_a_worker_that_dies_in_the_middle_of_a_call(
    sandbox: Served, deploy: Deploy, workers: Workers, postgres_url: str
) -> None:
    box, api = sandbox
    web = deploy(api, DATABASE_URL=postgres_url, BRIDGE_DISPATCH="off").start()
    box.fault(DEFAULT, "hang")
    first = workers.start(web)
    web.post(new_version(1))
    until(lambda: not box.robots[DEFAULT].faults, "the call hangs")
    first.send_signal(signal.SIGKILL)
    first.wait()
    workers.start(web)
    until(lambda: heads(box) == ["App 1"])


def test_a_database_that_restarts_costs_nothing_that_was_acknowledged(
    sandbox: Served, deploy: Deploy, tmp_path: Path
) -> None:
    if not postgres.binaries():
        assert not os.environ.get("CI"), postgres.INSTALL
        pytest.skip(f"there is no PostgreSQL: {postgres.INSTALL}")
    box, api = sandbox
    with postgres.served() as server:
        bridge = deploy(api, DATABASE_URL=server.create("restarts"), BRIDGE_RATE="1000").start()
        acknowledged = []
        for n in range(5):
            assert bridge.post(new_version(n)).status_code == 200
            acknowledged.append(f"App {n}")
        server.stop("immediate")
        refused = bridge.post(new_version(5))
        assert refused.status_code == 503 and refused.headers["Retry-After"]
        ready = requests.get(f"{bridge.url}/readyz", timeout=30)
        assert ready.status_code == 503 and "database" in ready.text
        assert requests.get(f"{bridge.url}/healthz", timeout=30).status_code == 200
        server.start()
        until(lambda: bridge.post(new_version(6)).status_code == 200, "it stores again")
        acknowledged.append("App 6")
        until(lambda: set(acknowledged) <= set(heads(box)))
        # One that was sent as the database went may be sent twice; no other.
        assert len(heads(box)) <= len(acknowledged) + 1
        bridge.stop()


def test_a_worker_says_what_it_has_sent_where_it_has_a_port(
    sandbox: Served, deploy: Deploy, workers: Workers
) -> None:
    box, api = sandbox
    more = {"BRIDGE_DISPATCH": "off", "BRIDGE_ADMIN_PASSWORD": "a-password-of-ours"}
    bridge = deploy(api, **more).start()
    # Where another program has its port, it sends all the same.
    other = workers.start(bridge, PORT=str(bridge.port))
    bridge.post(new_version(0))
    until(lambda: len(box.messages()) == 1)
    assert f"no /metrics of this worker: PORT {bridge.port}" in workers.log.read_text()
    other.terminate()
    assert other.wait(20) == 0
    port = free_port()
    workers.start(bridge, PORT=str(port))
    bridge.post(new_version(1))
    sent = 'bridge_deliveries_total{bot="default",state="sent"} 1.0'

    def metrics(of: int) -> str:
        url = f"http://127.0.0.1:{of}/metrics"
        return requests.get(url, auth=("", "a-password-of-ours"), timeout=20).text

    until(lambda: sent in metrics(port), "the worker counts what it sent")
    assert len(box.messages()) == 2
    assert sent not in metrics(bridge.port)
    assert requests.get(f"http://127.0.0.1:{port}/readyz", timeout=20).json()["status"] == "ready"
    assert requests.get(f"http://127.0.0.1:{port}/metrics", timeout=20).status_code == 401
    assert requests.post(f"http://127.0.0.1:{port}/pgyer/{TOKEN}", timeout=20).status_code == 404


def worker_on(url: str, log: Path) -> subprocess.Popen[bytes]:
    environ = {"PATH": os.environ["PATH"], "WECOM_BOT_KEY": DEFAULT, "BRIDGE_TOKEN": TOKEN}
    with log.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "bridge", "worker"],
            cwd=ROOT, env=environ | {"DATABASE_URL": url}, stdout=file, stderr=file,
        )  # fmt: skip


def test_a_worker_refuses_the_database_of_a_newer_bridge(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/newer.db"
    database = Database(url)
    database.write(
        lambda c: c.execute("INSERT INTO schema_versions (version, applied_at) VALUES (9999, 0)")
    )
    database.close()
    assert worker_on(url, tmp_path / "log").wait(60) == 1
    said = (tmp_path / "log").read_text()
    assert "它的表结构是第 9999 版" in said or "its schema is version 9999" in said
    assert "dispatching" not in said


def test_a_worker_waits_for_a_database_that_is_away(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with worker_on(f"postgresql://bridge@127.0.0.1:{free_port()}/bridge", log) as process:
        try:
            until(lambda: log.read_text().count("\n") >= 3, "it says three things", 60.0)
            process.terminate()
            assert process.wait(60) == 0
        finally:
            process.kill()
    said = log.read_text().splitlines()
    assert "the database cannot be used yet" in said[0]
    assert "dispatching for default" in said[1]
    assert "; next try in 2 s" in said[2] or "not notified by others for 2 s" in said[2]
