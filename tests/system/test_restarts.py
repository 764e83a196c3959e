"""Starts, stops and sudden ends."""

import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from support import until
from system_helpers import DEFAULT, Deploy, Served, contents, new_version, rows

STOP = 20.0  # seconds; platforms kill after 10, and the machine is busy


def test_sigterm_finishes_what_is_in_flight(
    sandbox: Served, deploy: Deploy, tmp_path: Path
) -> None:
    box, api = sandbox
    box.latency = 1.5
    bridge = deploy(api).start()
    bridge.post(new_version())
    until(lambda: rows(tmp_path, "select count(*) from bots where lease != ''") == [(1,)])
    began = time.monotonic()
    assert bridge.stop() == 0
    assert time.monotonic() - began < STOP
    assert rows(tmp_path, "select state from deliveries") == [("sent",)]


def test_sigterm_does_not_wait_for_a_wecom_that_hangs(
    sandbox: Served, deploy: Deploy, tmp_path: Path
) -> None:
    box, api = sandbox
    box.fault(DEFAULT, "hang", always=True)
    bridge = deploy(api).start()
    bridge.post(new_version())
    until(lambda: rows(tmp_path, "select count(*) from bots where lease != ''") == [(1,)])
    began = time.monotonic()
    bridge.stop()
    assert time.monotonic() - began < STOP
    assert rows(tmp_path, "select state from deliveries") == [("pending",)]


def test_a_storage_that_cannot_be_written_is_a_503_and_heals(
    sandbox: Served, deploy: Deploy, tmp_path: Path
) -> None:
    box, api = sandbox
    bridge = deploy(api).start()
    bridge.post(new_version(1))
    # WeCom has the message a moment before the bridge has it on record.
    until(lambda: rows(tmp_path, "SELECT state FROM deliveries") == [("sent",)])
    held = sqlite3.connect(tmp_path / "bridge.db", isolation_level=None)
    held.execute("BEGIN EXCLUSIVE")
    answer = bridge.post(new_version(2))
    held.execute("ROLLBACK")
    held.close()
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert bridge.post(new_version(2)).status_code == 200
    until(lambda: len(box.messages()) == 2)


def test_it_starts_without_a_database_and_says_so(
    sandbox: Served, deploy: Deploy, tmp_path: Path
) -> None:
    box, api = sandbox
    bridge = deploy(api, DATABASE_URL=f"sqlite:///{tmp_path}/later/bridge.db").start()
    assert bridge.post(new_version()).status_code == 503
    ready = requests.get(f"{bridge.url}/readyz", timeout=20)
    assert ready.status_code == 503 and "database" in ready.text
    (tmp_path / "later").mkdir()
    assert bridge.post(new_version()).status_code == 200
    until(lambda: len(box.messages()) == 1)


def test_workers_of_several_processes_tell_each_event_once(sandbox: Served, deploy: Deploy) -> None:
    box, api = sandbox
    bridge = deploy(api, WEB_CONCURRENCY="3", BRIDGE_RATE="1000000").start()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: bridge.post(new_version(n), "/default"), range(60)))
    assert all(answer.status_code == 200 for answer in answers)
    until(lambda: len(box.messages()) >= 60)
    assert bridge.stop() == 0
    first_lines = [content.split("\n")[0] for content in contents(box)]
    assert len(first_lines) == len(set(first_lines)) == 60


@pytest.mark.parametrize(
    "environ",
    [
        {"BRIDGE_RATE": "many", "BRIDGE_TIMEZONE": "Mars/Base", "BRIDGE_TYPO": "1"},
        {"BRIDGE_TOKEN": ""},
        {"WECOM_BOT_KEY": ""},
        {"PORT": "http"},
    ],
)
def test_a_bad_setting_stops_the_start_with_one_message(
    environ: dict[str, str], sandbox: Served, deploy: Deploy
) -> None:
    bridge = deploy(sandbox[1], **environ).start(wait=False)
    assert bridge.process and bridge.process.wait(30) == 2
    said = bridge.log.read_text()
    assert "Traceback" not in said
    for name in environ:
        assert said.count(name) == 1, said


def test_a_bad_route_stops_the_start_beside_the_other_problems(
    sandbox: Served, deploy: Deploy, tmp_path: Path
) -> None:
    (tmp_path / "routes.toml").write_text('[[route]]\nbots = ["devv"]\ncolour = "red"\n')
    bridge = deploy(sandbox[1], BRIDGE_RATE="0").start(wait=False)
    assert bridge.process and bridge.process.wait(30) == 2
    said = bridge.log.read_text()
    for part in ("BRIDGE_RATE", "routes.toml:1 第 1 条规则", "'devv'", "应为 'dev' 吗", "colour"):
        assert part in said
