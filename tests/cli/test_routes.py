"""`bridge routes test`: which rules match, and which bots get the event."""

import json
from pathlib import Path

from cli_client import Cli

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
device = "iOS"
template = "crashlog"
[[route]]
bots = []
"""


def test_each_rule_says_why_it_matches_or_not(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "routes.toml").write_text(RULES)
    done = cli("routes", "test", "crashlog")
    assert done.exit_code == 0
    event, *rules, dev, default = done.stdout.splitlines()
    assert event == "Event: crashlog · OooPlay 2.4 (139) iOS"
    assert "rule 1: ✗ app = OooPlay, not Other" in rules[0] and "type" not in rules[0]
    assert "rule 2: ✓" in rules[1] and "goes on" in rules[1]
    assert "rule 3: ✓" in rules[2] and "goes on" not in rules[2]
    assert "rule 4: - not reached" in rules[3]
    assert "→ dev" in dev and "wangqing" in dev and "log" in dev and "quiet until" in dev
    assert "→ default" in default and "template crashlog" in default


def test_without_rules_without_a_match_and_with_a_mute_it_says_so(cli: Cli, tmp_path: Path) -> None:
    assert "no rules" in cli("routes", "test", "crashlog").stdout
    (tmp_path / "routes.toml").write_text('[[route]]\nversion = "9.*"\n')
    done = cli("routes", "test", "crashlog")
    assert "nothing matches" in done.stdout and "→ default" in done.stdout
    (tmp_path / "routes.toml").write_text("[[route]]\nbots = []\n")
    assert "nobody" in cli("routes", "test", "crashlog").stdout


def test_routes_test_sends_and_stores_nothing(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "bridge.db").unlink()
    assert cli("routes", "test", "crashlog").exit_code == 0
    assert not (tmp_path / "bridge.db").exists()


def test_bots_may_be_named_as_in_the_url(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "routes.toml").write_text('[[route]]\nmention = "wangqing"\n')
    done = cli("routes", "test", "crashlog", "--bot", "dev,Default")
    assert "→ dev  mention wangqing" in done.stdout and "→ default" in done.stdout
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


def test_routes_test_needs_no_keys(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "routes.toml").write_text('[[route]]\nbots = ["ops", "dev"]\n')
    bare = {"WECOM_BOT_KEY": "", "WECOM_BOT_KEY_DEV": "", "BRIDGE_TOKEN": ""}
    done = cli("routes", "test", "crashlog", **bare)
    assert (done.exit_code, done.stderr) == (0, "")
    assert "→ ops" in done.stdout and "→ dev" in done.stdout and "*" not in done.stdout
    assert cli("routes", "test", "crashlog").exit_code == 2  # with keys, `ops` has to have one
    assert cli("check", **bare).exit_code == 2  # whatever sends needs them
