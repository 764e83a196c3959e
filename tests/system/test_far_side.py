"""The whole bridge against a far side that answers as no WeCom should."""

from collections.abc import Callable

import pytest
import requests
from support import Deployment, until

from bridge.delivery.wecom import Client
from bridge.model import Bot, Message, Secret, Verdict
from bridge.sandbox import SEND, Sandbox
from bridge.sandbox.faults import NAMES

DEV = "key-of-dev"
OUTCOMES = {
    "html": (Verdict.RETRY, "not_json"),
    "huge": (Verdict.RETRY, "not_json"),
    "400": (Verdict.PARK, "http_400"),
    "403": (Verdict.STOP, "wrong_address"),
    "404": (Verdict.STOP, "wrong_address"),
    "407": (Verdict.RETRY, "proxy"),
    **{
        code: (Verdict.RETRY, f"http_{code}") for code in ("408", "425", "429", "500", "502", "503")
    },
    "errcode_large": (Verdict.RETRY, "not_wecom"),
    "errcode_infinite": (Verdict.RETRY, "not_wecom"),
    "errcode_fraction": (Verdict.RETRY, "not_wecom"),
    "errcode_false": (Verdict.RETRY, "not_wecom"),
    "errcode_text": (Verdict.RETRY, "not_wecom"),
    "errmsg_nul": (Verdict.PARK, "invalid_parameter"),
    "errmsg_surrogate": (Verdict.RETRY, "system_busy"),
    "errmsg_long": (Verdict.RETRY, "system_busy"),
    "retry_after_far": (Verdict.RETRY, "http_503"),
    "retry_after_absurd": (Verdict.RETRY, "http_503"),
    "retry_after_large": (Verdict.RETRY, "http_429"),
    "warning": (Verdict.SENT, "ok"),
    "ok_nul": (Verdict.SENT, "ok"),
    "ok_surrogate": (Verdict.SENT, "ok"),
    "reset": (Verdict.RETRY, "connection"),
    "lost": (Verdict.RETRY, "connection"),
}


def test_every_fault_of_the_sandbox_has_its_outcome(sandbox: tuple[Sandbox, str]) -> None:
    box, api = sandbox
    client, bot = Client(), Bot("dev", Secret(f"{api}{SEND}?key={DEV}"))
    for fault, outcome in OUTCOMES.items():
        box.fault(DEV, fault)
        found = client.send(bot, Message("text", {"content": "hi"}))
        assert (fault, (found.verdict, found.reason)) == (fault, outcome)
    # These never end by themselves, and are tried with a short deadline elsewhere.
    assert set(OUTCOMES) == NAMES - {"hang", "drip_head", "drip_body", "continue"}


def test_an_answer_that_no_database_stores_is_recorded_and_sent_once(
    sandbox: tuple[Sandbox, str], deploy: Callable[..., Deployment], database_url: str
) -> None:
    box, api = sandbox
    faults = ("ok_nul", "ok_surrogate", "errmsg_nul")
    for fault in faults:
        box.fault(DEV, fault)
    bridge = deploy(api, DATABASE_URL=database_url).start()
    for n in range(len(faults) + 1):
        bridge.post(f'{{"type": "feedback", "title": "{n}"}}', "/dev")
    until(lambda: len(box.messages(DEV)) == 3, "all but the refused one have arrived")
    assert [call.fault for call in box.calls] == [*faults, ""]


@pytest.mark.parametrize("fault", ["403", "404"])
def test_a_wrong_address_stops_the_bot_and_keeps_what_is_to_be_sent(
    sandbox: tuple[Sandbox, str], deploy: Callable[..., Deployment], fault: str
) -> None:
    box, api = sandbox
    box.fault(DEV, fault, always=True)
    bridge = deploy(api).start()
    bridge.post('{"type": "feedback"}', "/dev")

    def ready() -> requests.Response:
        return requests.get(f"{bridge.url}/readyz", timeout=20)

    until(lambda: "wrong_address" in ready().text, "the bot is stopped")
    assert ready().status_code == 503
    # The notice of it goes to the other bot, and then only the event is pending.
    until(lambda: len(box.messages("key-of-default")) == 1, "the notice has arrived")
    until(lambda: ready().json()["pending"] == 1, "the event is kept")


def test_other_bots_go_on_and_the_bridge_ends_in_order_while_a_far_side_drips(
    sandbox: tuple[Sandbox, str], deploy: Callable[..., Deployment]
) -> None:
    box, api = sandbox
    box.fault(DEV, "drip_head", always=True)
    bridge = deploy(api).start()
    bridge.post('{"type": "feedback"}', "/dev,default")
    until(lambda: len(box.messages("key-of-default")) == 1)
    assert bridge.stop() == 0
    # The call was cut off and recorded before the process was.
    assert "bot dev: read_timeout" in bridge.log.read_text()
