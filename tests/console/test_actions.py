"""What the console's buttons do."""

import time
from pathlib import Path

from console_client import Console, flashed, path_of, serve, settle, states

from bridge.model import Verdict


def test_send_again_sends_to_the_same_bots_once_more(console: Console) -> None:
    number = console.event({"title": "Both"}, "/dev,default")
    answer = console.post(f"/events/{number}/send-again")
    assert answer.status_code == 303
    assert path_of(answer) == f"/console/events/{number}"
    assert "Sending again to dev, default." in flashed(console, answer)
    assert [bot for bot, _ in states(console, number)] == ["dev", "default"] * 2


def test_send_again_leaves_out_bots_that_are_gone(console: Console, tmp_path: Path) -> None:
    number = console.event({"title": "Dev only"}, "/dev")
    console.bridge.close()
    later = serve(tmp_path, WECOM_BOT_KEY_DEV="")
    later.sign_in()
    answer = later.post(f"/events/{number}/send-again")
    assert "Choose one to send it to" in flashed(later, answer)
    assert states(later, number) == [("dev", "pending")]
    later.bridge.close()


def test_send_to_another_bot(console: Console) -> None:
    assert "Sending to dev." in flashed(console, console.post("/events/1/send-to", bot="dev"))
    assert states(console) == [("default", "pending"), ("dev", "pending")]
    assert console.post("/events/1/send-to", bot="nobody").status_code == 404
    assert console.post("/events/99/send-to", bot="dev").status_code == 404
    assert console.post("/events/99/send-again").status_code == 404


def test_a_failed_delivery_can_be_tried_again_or_marked_as_done(console: Console) -> None:
    settle(console, Verdict.PARK, "empty_content", 44004)
    assert "Mark as done" in console.page("/events/1")
    assert "tried again" in flashed(console, console.post("/deliveries/1/retry", event="1"))
    assert states(console) == [("default", "pending")]
    answer = console.post("/deliveries/1/retry", event="1")
    assert "Nothing was changed" in flashed(console, answer)
    assert "marked as done" in flashed(console, console.post("/deliveries/1/done", event="1"))
    assert states(console) == [("default", "expired")]
    assert "marked as done by hand" in console.page("/events/1")
    assert "Nothing was changed" in flashed(console, console.post("/deliveries/1/done", event="1"))
    assert "verdict attention" not in console.page("/")
    for wrong in ({"event": "2"}, {"event": "x"}, {"event": "9" * 30}, {}):
        assert console.post("/deliveries/1/done", **wrong).status_code == 404
    assert console.post("/deliveries/9/done", event="1").status_code == 404


def test_a_bot_can_be_tested_and_a_stopped_one_tried_again(console: Console) -> None:
    settle(console, Verdict.STOP, "invalid_webhook", 93000)
    page = console.page("/bots")
    assert "stopped" in page and "webhook&#39;s key is wrong" in page and "Next try" in page
    answer = console.post("/bots/default/resume")
    assert (answer.status_code, path_of(answer)) == (303, "/console/bots")
    assert "default is tried again now" in flashed(console, answer)
    assert console.bridge.queries.bots(time.time())[0].stopped == ""
    answer = console.post("/bots/dev/test")
    assert "A test message is sent to dev" in flashed(console, answer)
    number = int(path_of(answer).rpartition("/")[2])
    assert ("dev", "pending") in states(console, number)
    assert "测试消息" in console.page(f"/events/{number}")
    for action in ("test", "resume"):
        assert console.post(f"/bots/nobody/{action}").status_code == 404


def test_an_action_wakes_the_dispatcher(console: Console) -> None:
    woken = console.bridge.outbox.database.wakeup
    settle(console, Verdict.PARK, "empty_content", 44004)
    for path, form in (
        ("/events/1/send-again", {}),
        ("/events/1/send-to", {"bot": "dev"}),
        ("/bots/dev/test", {}),
        ("/bots/dev/resume", {}),
        ("/deliveries/1/retry", {"event": "1"}),
    ):
        woken.clear()
        console.post(path, **form)
        assert woken.is_set(), path
