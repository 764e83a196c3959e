"""`bridge routes`: the rules in words, which of them match, and which bots get an event."""

import json
from pathlib import Path

from cli_client import Cli

ZH = {"LC_ALL": "zh_CN.UTF-8"}
RULES = """
[[route]]
type = "crash*"
app = "Other"
[[route]]
type = ["feedback", "crashlog"]
bots = ["dev"]
mention = "wangqing"
attach = "log"
quiet = "00:00-23:59"
continue = true
[[route]]
device = "Android"
template = "crashlog"
[[route]]
bots = []
"""


def test_the_rules_are_listed_in_words(cli: Cli, tmp_path: Path) -> None:
    assert cli("routes", **ZH).stdout == "没有路由规则：所有通知 → default\n"
    rules = '[[route]]\napp = "商城*"\nbots = "dev"\nmention = "@all"\n[[route]]\nbots = []\n'
    (tmp_path / "routes.toml").write_text(rules)
    assert cli("routes", **ZH).stdout.splitlines() == [
        "第 1 条：应用名匹配 商城* → dev，提醒 @所有人",
        "第 2 条：所有通知 → 不发送",
        "都不匹配 → default",
    ]


def test_each_rule_says_why_it_matches_or_not(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "routes.toml").write_text(RULES)
    done = cli("routes", "test", "crashlog", **ZH)
    assert done.exit_code == 0
    event, *rules, dev, default = done.stdout.splitlines()
    assert event == "事件: crashlog · 商城 3.8.1 (1874) Android"
    assert rules == [
        "  ✗ 第 1 条：应用名是“商城”，不是 Other",
        "  ✓ 第 2 条：匹配，再看后面的规则",
        "  ✓ 第 3 条：匹配",
        "  – 第 4 条：前面已有规则生效，不再看",
    ]
    assert dev.startswith("  → dev，提醒 @wangqing，截断时附完整文件，暂缓到 ")
    assert default == "  → default，模板 crashlog，截断时附完整文件"


def test_without_rules_without_a_match_and_with_a_mute_it_says_so(cli: Cli, tmp_path: Path) -> None:
    assert "没有路由规则" in cli("routes", "test", "crashlog", **ZH).stdout
    (tmp_path / "routes.toml").write_text('[[route]]\nversion = "9.*"\n')
    done = cli("routes", "test", "crashlog", **ZH)
    assert "都不匹配 → default\n" in done.stdout and "\n  → default" in done.stdout
    (tmp_path / "routes.toml").write_text("[[route]]\nbots = []\n")
    assert cli("routes", "test", "crashlog", **ZH).stdout.endswith("\n  → 不发送\n")


def test_routes_test_sends_and_stores_nothing(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "bridge.db").unlink()
    assert cli("routes", "test", "crashlog").exit_code == 0
    assert not (tmp_path / "bridge.db").exists()


def test_bots_may_be_named_as_in_the_url(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "routes.toml").write_text('[[route]]\nmention = "wangqing"\n')
    done = cli("routes", "test", "crashlog", "--bot", "dev,Default", **ZH)
    assert "→ dev，提醒 @wangqing" in done.stdout and "→ default" in done.stdout
    assert cli("routes", "test", "crashlog", "--bot", "nope").exit_code == 2


def test_a_rule_s_missing_template_is_found(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "routes.toml").write_text('[[route]]\ntemplate = "nope"\n')
    done = cli("routes", "test", "crashlog")
    assert done.exit_code == 1
    assert "'nope'" in done.stderr


def test_routes_test_has_a_json_form(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "routes.toml").write_text(RULES)
    [found] = json.loads(cli("routes", "test", "crashlog", "--json").stdout)
    assert [(rule["rule"], rule["result"], rule["failed"]) for rule in found["rules"]] == [
        (1, "failed", ["app"]),
        (2, "matched", []),
        (3, "matched", []),
        (4, "not reached", []),
    ]
    dev, default = found["bots"]
    assert dev["quiet_until"] > 1.7e9
    assert (default["template"], default["quiet_until"]) == ("crashlog", None)


def test_bad_routes_stop_every_command(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "routes.toml").write_text('[[route]]\nbots = "nobody"\n')
    done = cli("routes", "test", "crashlog")
    assert done.exit_code == 2
    assert "routes.toml:1" in done.stderr


def test_routes_need_no_keys(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "routes.toml").write_text('[[route]]\nbots = ["ops", "dev"]\n')
    bare = {"WECOM_BOT_KEY": "", "WECOM_BOT_KEY_DEV": "", "BRIDGE_TOKEN": ""}
    assert cli("routes", **bare).stdout.startswith("Rule 1: every event → ops and dev")
    done = cli("routes", "test", "crashlog", **bare)
    assert (done.exit_code, done.stderr) == (0, "")
    assert "→ ops" in done.stdout and "→ dev" in done.stdout and "*" not in done.stdout
    assert cli("routes", "test", "crashlog").exit_code == 2  # with keys, `ops` has to have one
    assert cli("check", **bare).exit_code == 2  # whatever sends needs them
