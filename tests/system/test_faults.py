"""Every fault of the far side, over the real program."""

import sqlite3
from collections.abc import Iterable
from pathlib import Path

import pytest
import requests
from support import TOKEN, until
from system_helpers import DEFAULT, DEV, Deploy, Served, contents, new_version, rows

from bridge.sandbox import Sandbox
from bridge.sandbox.state import Robot

FAULTS = ["busy", "502", "429", "reset", "lost", "html", "45033"]


def one_bot_each(box: Sandbox, faults: Iterable[str | int], always: bool = False) -> dict[str, str]:
    """Have a robot meet each fault once, or always.

    Returns the variables of their bots, each of which is named as its fault.
    """
    variables = {}
    for fault in faults:
        key = f"key-of-{fault}"
        box.robots[key] = Robot(key=key, name=str(fault))
        box.fault(key, fault, always=always)
        variables[f"WECOM_BOT_KEY_{fault}".upper()] = key
    return variables


def test_a_passing_fault_ends_in_delivery(sandbox: Served, deploy: Deploy, tmp_path: Path) -> None:
    box, api = sandbox
    more = ["hang", "warning"]
    bridge = deploy(api, **one_bot_each(box, [*FAULTS, *more])).start()
    bridge.post(new_version(), f"/{','.join([*FAULTS, *more])}")
    until(lambda: rows(tmp_path, "select distinct state from deliveries") == [("sent",)])
    for fault in FAULTS:
        query = f"select verdict from attempts where bot = '{fault}' order by id"
        assert (fault, rows(tmp_path, query)) == (fault, [("retry",), ("sent",)])
        arrived = len(box.messages(f"key-of-{fault}"))
        assert (fault, arrived) == (fault, 2 if fault == "lost" else 1)  # it knows no idempotency
    query = "select reason from attempts where bot = 'hang' order by id"
    assert rows(tmp_path, query) == [("read_timeout",), ("ok",)]
    # A warning of WeCom is success, and loud.
    assert rows(tmp_path, "select verdict from attempts where bot = 'warning'") == [("sent",)]
    until(lambda: "WARNING bridge.delivery.sender: event 1" in bridge.log.read_text())


def test_a_permanent_refusal_is_parked_and_does_not_block_the_next(
    sandbox: Served, deploy: Deploy, tmp_path: Path
) -> None:
    box, api = sandbox
    errcodes = (40008, 40058, 44004, 301019, 987654)
    bridge = deploy(api, **one_bot_each(box, errcodes)).start()
    for n in (1, 2):
        bridge.post(new_version(n), f"/{','.join(map(str, errcodes))}")
    until(lambda: len(box.messages()) == len(errcodes))
    for errcode in errcodes:
        [content] = contents(box, f"key-of-{errcode}")
        assert "App 2" in content
        query = f"select state, tries from deliveries where bot = '{errcode}' order by id limit 1"
        assert (errcode, rows(tmp_path, query)) == (errcode, [("parked", 1)])
        query = f"select errcode from attempts where bot = '{errcode}' order by id limit 1"
        assert rows(tmp_path, query) == [(errcode,)]


def test_a_dead_bot_is_stopped_and_default_gets_a_notice_while_others_send(
    sandbox: Served, deploy: Deploy
) -> None:
    box, api = sandbox
    errcodes = (93000, 93004, 93008)
    dead = f"/{','.join(map(str, errcodes))}"
    bridge = deploy(api, **one_bot_each(box, errcodes, always=True)).start()
    bridge.post(new_version(1), dead)
    until(lambda: len(box.messages(DEFAULT)) == len(errcodes))
    notices = "".join(contents(box, DEFAULT))
    assert [notices.count(f"机器人 {errcode}：") for errcode in errcodes] == [1, 1, 1]
    bridge.post(new_version(2), f"{dead},default")
    until(lambda: len(box.messages(DEFAULT)) == len(errcodes) + 1)
    ready = requests.get(f"{bridge.url}/readyz", timeout=20)
    assert ready.status_code == 503
    for errcode in errcodes:
        assert f"bot {errcode} is stopped" in ready.text
        assert box.messages(f"key-of-{errcode}") == []
    assert requests.get(f"{bridge.url}/healthz", timeout=20).status_code == 200
    assert bridge.stop() == 0

    # A new key brings it back, and what waited is sent.
    for errcode in errcodes:
        key = bridge.environ[f"WECOM_BOT_KEY_{errcode}"] = f"a-new-key-for-{errcode}"
        box.robots[key] = Robot(key=key, name=str(errcode))
    bridge.start()
    for errcode in errcodes:
        key = f"a-new-key-for-{errcode}"
        until(lambda key=key: len(box.messages(key)) == 2)
        first_lines = [c.split("\n")[0][-5:] for c in contents(box, key)]
        assert first_lines == ["App 1", "App 2"]


def test_45009_lets_the_bot_rest_and_loses_nothing(
    sandbox: Served, deploy: Deploy, tmp_path: Path
) -> None:
    box, api = sandbox
    box.fault(DEFAULT, 45009)
    bridge = deploy(api).start()
    bridge.post(new_version())
    until(lambda: rows(tmp_path, "select verdict from attempts") == [("rest",)])
    [(ended, rest_until)] = rows(
        tmp_path,
        "select ended_at, rest_until from attempts, bots where name = 'default'",
    )
    assert rest_until == pytest.approx(ended + 65)
    assert rows(tmp_path, "select state from deliveries") == [("pending",)]


def test_a_bot_that_hangs_holds_up_nobody_else(
    sandbox: Served, deploy: Deploy, tmp_path: Path
) -> None:
    box, api = sandbox
    box.fault(DEV, "hang", always=True)
    bridge = deploy(api).start()
    bridge.post(new_version(), "/dev")
    until(lambda: rows(tmp_path, "select name from bots where lease != ''") == [("dev",)])
    for n in range(5):
        bridge.post(new_version(n), "/default")
    until(lambda: len(box.messages(DEFAULT)) == 5)
    # The last of the others may not be recorded yet; the one that hangs is under way still.
    until(lambda: rows(tmp_path, "select name from bots where lease != ''") == [("dev",)])


def test_order_is_kept_per_bot(sandbox: Served, deploy: Deploy) -> None:
    box, api = sandbox
    box.fault(DEFAULT, "502", times=2)
    bridge = deploy(api).start()
    for n in range(10):
        bridge.post(new_version(n), "/default")
    until(lambda: len(box.messages(DEFAULT)) == 10)
    assert [f"App {n}" for n in range(10)] == [
        c.split("\n")[0].rsplit("</font> ")[1] for c in contents(box)
    ]


def test_no_secret_shows_anywhere_under_any_fault(
    sandbox: Served, deploy: Deploy, tmp_path: Path
) -> None:
    box, api = sandbox
    password = "an-admin-password/with+signs"
    bridge = deploy(
        api,
        LOG_LEVEL="DEBUG",
        BRIDGE_ADMIN_PASSWORD=password,
        GUNICORN_CMD_ARGS="--access-logfile - --log-level debug",
    ).start()
    replies: list[str] = []

    def keep(answer: requests.Response) -> None:
        replies.append(f"{answer.status_code} {answer.headers} {answer.text}")

    for n, fault in enumerate([*FAULTS, "warning", "hang", 40058, 93000]):
        box.fault(DEFAULT, fault)
        keep(bridge.post(new_version(n)))
        keep(bridge.post(new_version(n), "/dev"))
        count = f"select count(*) > {n} from attempts where bot = 'default' and verdict != ''"
        until(lambda count=count: rows(tmp_path, count) == [(1,)])
        assert requests.get(bridge.hook, timeout=20).ok
        connection = sqlite3.connect(tmp_path / "bridge.db")
        with connection:
            connection.execute("update bots set rest_until = 0")
        connection.close()
    for body in ("garbage", "{}", "", b" " * ((1 << 20) + 1)):
        keep(bridge.post(body))
    for path in ("/nobody", "/dev/", "/%00", "/dev?x=1"):
        keep(bridge.post("{}", path))
        keep(requests.get(bridge.hook + path, timeout=20))
        keep(requests.put(bridge.hook + path, timeout=20))
    keep(requests.post(f"{bridge.hook}-wrong", timeout=20))
    keep(requests.get(f"{bridge.url}/readyz", timeout=20))
    held = sqlite3.connect(tmp_path / "bridge.db", isolation_level=None)
    held.execute("BEGIN EXCLUSIVE")
    keep(bridge.post(new_version(99)))
    held.close()
    bridge.stop()
    outlets = {
        "the log": bridge.log.read_text(),
        "a reply": "\n".join(replies),
        **{file.name: file.read_bytes().decode("latin-1") for file in tmp_path.glob("*.db*")},
    }
    assert "DEBUG" in outlets["the log"] and "503" in outlets["a reply"]
    assert "/cgi-bin/webhook/send?key=***" in outlets["the log"]
    for name, text in outlets.items():
        for secret in (DEFAULT, DEV, TOKEN, password, "an-admin-password%2Fwith%2Bsigns"):
            assert secret not in text, f"{secret} stands in {name}"
