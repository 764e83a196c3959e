"""Every fault of the far side, over the real program."""

import sqlite3
from pathlib import Path

import pytest
import requests
from support import TOKEN, until
from system_helpers import DEFAULT, DEV, Deploy, Served, contents, new_version, rows

FAULTS = ["busy", "502", "429", "reset", "lost", "html", "45033"]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_passing_fault_ends_in_delivery(
    fault: str, sandbox: Served, deploy: Deploy, tmp_path: Path
) -> None:
    box, api = sandbox
    box.fault(DEFAULT, fault)
    bridge = deploy(api).start()
    bridge.post(new_version())
    until(lambda: rows(tmp_path, "select state from deliveries") == [("sent",)])
    verdicts = rows(tmp_path, "select verdict from attempts order by id")
    assert verdicts == [("retry",), ("sent",)]
    assert len(box.messages()) == (2 if fault == "lost" else 1)  # WeCom knows no idempotency key


def test_a_hanging_wecom_is_given_up_and_tried_again(
    sandbox: Served, deploy: Deploy, tmp_path: Path
) -> None:
    box, api = sandbox
    box.fault(DEFAULT, "hang")
    bridge = deploy(api).start()
    bridge.post(new_version())
    until(lambda: rows(tmp_path, "select state from deliveries") == [("sent",)])
    assert rows(tmp_path, "select reason from attempts order by id") == [("read_timeout",), ("ok",)]


def test_a_warning_of_wecom_is_success_and_loud(
    sandbox: Served, deploy: Deploy, tmp_path: Path
) -> None:
    box, api = sandbox
    box.fault(DEFAULT, "warning")
    bridge = deploy(api).start()
    bridge.post(new_version())
    until(lambda: rows(tmp_path, "select state from deliveries") == [("sent",)])
    until(lambda: "WARNING bridge.delivery.sender: event 1" in bridge.log.read_text())


@pytest.mark.parametrize("errcode", [40008, 40058, 44004, 301019, 987654])
def test_a_permanent_refusal_is_parked_and_does_not_block_the_next(
    errcode: int, sandbox: Served, deploy: Deploy, tmp_path: Path
) -> None:
    box, api = sandbox
    box.fault(DEFAULT, errcode)
    bridge = deploy(api).start()
    bridge.post(new_version(1))
    bridge.post(new_version(2))
    until(lambda: len(box.messages()) == 1)
    assert "App 2" in contents(box)[0]
    query = "select state, tries from deliveries order by id limit 1"
    assert rows(tmp_path, query) == [("parked", 1)]
    assert rows(tmp_path, "select errcode from attempts order by id limit 1") == [(errcode,)]


@pytest.mark.parametrize("errcode", [93000, 93004, 93008])
def test_a_dead_bot_is_stopped_and_default_is_told_while_others_go_on(
    errcode: int, sandbox: Served, deploy: Deploy, tmp_path: Path
) -> None:
    box, api = sandbox
    box.fault(DEV, errcode, always=True)
    bridge = deploy(api).start()
    bridge.post(new_version(1), "/dev")
    until(lambda: len(box.messages(DEFAULT)) == 1)
    assert "**dev**" in contents(box, DEFAULT)[0]
    bridge.post(new_version(2), "/dev,default")
    until(lambda: len(box.messages(DEFAULT)) == 2)
    ready = requests.get(f"{bridge.url}/readyz", timeout=20)
    assert ready.status_code == 503
    assert "bot dev is stopped" in ready.text
    assert requests.get(f"{bridge.url}/healthz", timeout=20).status_code == 200
    assert box.messages(DEV) == []
    assert bridge.stop() == 0

    # A new key brings it back, and what waited is sent.
    box.clear_faults()
    box.fault(DEV, 93000, always=True)
    box.robots["a-new-key"] = type(box.robots[DEV])(key="a-new-key", name="dev")
    bridge.environ["WECOM_BOT_KEY_DEV"] = "a-new-key"
    bridge.start()
    until(lambda: len(box.messages("a-new-key")) == 2)
    assert [c.split("\n")[0][-5:] for c in contents(box, "a-new-key")] == ["App 1", "App 2"]


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
