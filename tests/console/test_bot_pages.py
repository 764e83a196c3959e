"""The page of bots: its order, many of them, and a test message to a stopped one."""

import re
from pathlib import Path

import pytest
from console_client import Console, flashed, path_of, serve, settle

from bridge.console.pages import in_order
from bridge.model import Verdict


def listed(page: str) -> list[str]:
    return re.findall(r'id="bot-([^"]+)"', page)


def fail(console: Console, name: str, **values: object) -> None:
    changes = ", ".join(f"{column} = :{column}" for column in values)
    statement = f"UPDATE bots SET {changes} WHERE name = :name"
    console.bridge.outbox.database.write(lambda c: c.execute(statement, {**values, "name": name}))


@pytest.fixture
def many(tmp_path: Path) -> Console:
    names = {f"WECOM_BOT_KEY_TEAM_{n}": f"key-of-team-{n}" for n in range(1, 19)}
    console = serve(tmp_path, **names)
    console.sign_in()
    return console


def test_names_are_in_the_order_in_which_people_count() -> None:
    names = ["team_10", "dev", "team_2", "a9b10", "a9b9", "default", "team"]
    assert in_order(names) == ["default", "a9b9", "a9b10", "dev", "team", "team_2", "team_10"]


def test_bots_in_trouble_are_first_and_then_all_by_their_numbers(many: Console) -> None:
    later = many.bridge.clock() + 600
    fail(many, "team_11", stopped="robot_disabled", rest_until=later)
    fail(many, "team_3", stopped="invalid_webhook", rest_until=later)
    fail(many, "team_12", failures=3, rest_until=later)
    fail(many, "dev", rest_until=later)
    page = many.page("/bots")
    names = ["team_3", "team_11", "team_12", "dev", "default"]
    names += [f"team_{n}" for n in range(1, 19) if n not in (3, 11, 12)]
    assert listed(page) == names
    assert "Enable it in its group, then try again." in page
    for pill, count in {"stopped": 2, "retrying later": 1, "rate limited": 1, "ready": 16}.items():
        assert page.count(f">{pill}</span>") == count
    assert many.page("/").index("team_3</b>") < many.page("/").index("default</b>")
    options = re.findall(r"<option>([^<]+)</option>", many.page("/events"))
    assert options == in_order(names)
    many.bridge.close()


def test_a_few_bots_have_a_card_each_and_many_a_line_each(console: Console, many: Console) -> None:
    assert '<article class="card" id="bot-dev">' in console.page("/bots")
    assert "<article" not in many.page("/bots")
    assert len(listed(many.page("/bots"))) == 20
    many.bridge.close()


def test_a_bot_at_its_own_rate_waits_for_it_and_does_not_retry(console: Console) -> None:
    settle(console, Verdict.SENT, "ok", 0)
    fail(console, "default", rest_until=console.bridge.clock() + 30)
    page = console.page("/bots", "zh")
    assert "限流等待中" in page and "等待重试" not in page


def test_a_test_message_to_a_stopped_bot_is_tried_at_once_and_its_page_has_the_answer(
    console: Console,
) -> None:
    settle(console, Verdict.STOP, "invalid_webhook", 93000)
    [notice] = console.bridge.outbox.claim(5)
    assert notice.bot == "dev"
    answer = console.post("/bots/default/test")
    assert "A test message is sent to default" in flashed(console, answer)
    path = path_of(answer).removeprefix("/console")
    for waiting in (path, "/bots"):
        assert "Next try" not in console.page(waiting)
    settle(console, Verdict.STOP, "invalid_webhook", 93000)
    page = console.page(path)
    assert page.count("errcode 93000") == 1
    assert "The bot default is stopped: the webhook&#39;s key is wrong" in page
    assert "into WECOM_BOT_KEY and restart the bridge" in page
    console.post("/bots/default/test")
    settle(console, Verdict.STOP, "invalid_webhook", 93000)
    assert console.page(path).count("errcode 93000") == 1
