"""`bridge url`: what to paste into Pgyer."""

import json

from cli_client import Cli
from support import TOKEN


def test_the_addresses_to_paste_are_printed(cli: Cli) -> None:
    done = cli("url", BRIDGE_PUBLIC_URL="https://bridge.example.com/")
    base = f"https://bridge.example.com/pgyer/{TOKEN}"
    assert done.exit_code == 0
    assert [line.split()[-1] for line in done.stdout.splitlines()] == [
        base,
        f"{base}/default",
        f"{base}/dev",
    ]
    assert done.stderr.count("\n") == 1
    for step in ("Webhook 设置", "其他指定URL", "选择订阅内容", "保存"):
        assert step in done.stderr


def test_without_a_public_address_there_is_a_placeholder(cli: Cli) -> None:
    done = cli("url", "--json")
    assert json.loads(done.stdout) == {
        "url": f"https://<your-app>/pgyer/{TOKEN}",
        "bots": {name: f"https://<your-app>/pgyer/{TOKEN}/{name}" for name in ("default", "dev")},
    }
    assert "BRIDGE_PUBLIC_URL" in cli("url").stderr


def test_during_a_rotation_the_new_token_is_the_one_to_paste(cli: Cli) -> None:
    done = cli("url", BRIDGE_TOKEN="the-new-token-of-ours,the-old-token-of-ours")
    assert "the-new-token-of-ours" in done.stdout
    assert "the-old-token-of-ours" not in done.output
