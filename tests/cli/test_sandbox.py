"""`bridge sandbox` as its users start and end it."""

import re
import signal

import pytest
import requests
from background import read_until, started
from support import PATIENCE


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_sandbox_serves_until_a_signal_ends_it_in_order(number: signal.Signals) -> None:
    with started("sandbox", "--port", "0", "--key", "mine") as process:
        found = re.search(r"http://\S+:\d+", read_until(process, "Ctrl-C"))
        assert found
        url = found.group()
        send = f"{url}/cgi-bin/webhook/send?key=mine"
        hi = {"msgtype": "text", "text": {"content": "hi"}}
        assert requests.post(send, json=hi, timeout=20).json()["errcode"] == 0
        process.send_signal(number)
        assert process.wait(PATIENCE) == 0
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=20)


def test_a_signal_ends_the_sandbox_also_while_a_call_hangs() -> None:
    with started("sandbox", "--port", "0", "--key", "mine") as process:
        found = re.search(r"http://\S+:\d+", read_until(process, "Ctrl-C"))
        assert found
        fault = {"key": "mine", "fault": "hang", "always": True}
        requests.post(f"{found.group()}/sandbox/faults", json=fault, timeout=20)
        with pytest.raises(requests.ReadTimeout):
            requests.post(f"{found.group()}/cgi-bin/webhook/send?key=mine", json={}, timeout=0.2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
