"""`bridge send`: a payload is handled as if Pgyer had posted it."""

import gzip
import json
from pathlib import Path

from cli_client import Cli

from bridge.receiving import decoding as pgyer


def test_a_payload_goes_by_the_routes(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "routes.toml").write_text('[[route]]\ntype = "crashlog"\nbots = ["dev"]\n')
    assert cli("send", "crashlog").stdout == "event 1 (crashlog) → dev\n"
    assert cli("send", "feedback").stdout == "event 2 (feedback) → default\n"
    assert "deliveries" in cli("events", "--json").stdout


def test_a_duplicate_is_reported(cli: Cli) -> None:
    cli("send", "crashlog")
    done = cli("send", "crashlog")
    assert done.exit_code == 0
    assert "event 1" in done.stdout and "duplicate" in done.stdout
    answer = json.loads(cli("send", "crashlog", "--json").stdout)
    assert answer == {"status": "duplicate", "event": 1}


def test_the_bots_may_be_named(cli: Cli) -> None:
    done = cli("send", "crashlog", "--bot", "dev,DEFAULT", "--bot", "dev", "--json")
    assert json.loads(done.stdout) == {"status": "accepted", "event": 1, "bots": ["dev", "default"]}
    wrong = cli("send", "feedback", "--bot", "devv")
    assert wrong.exit_code == 2
    assert "default, dev" in wrong.stderr
    assert cli("events", "--limit", "5").stdout.count("\n") == 1


def test_a_file_goes_before_a_sample_of_its_name(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "crashlog").write_text('{"type": "feedback"}')
    assert "(feedback)" in cli("send", "crashlog").stdout


def test_several_events_in_one_body(cli: Cli) -> None:
    done = cli("send", "-", given='[{"type": "feedback"}, {"title": "b"}]')
    assert done.stdout.splitlines() == [
        "event 1 (feedback) → default",
        "event 2 (no type) → default",
    ]


def test_a_muted_event_is_stored_and_sent_to_nobody(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "routes.toml").write_text("[[route]]\nbots = []\n")
    assert cli("send", "feedback").stdout.endswith("→ nobody\n")
    assert "Rule 1 sends it to nobody" in cli("show", "1").stdout


def test_an_undecodable_body_is_kept_and_reported_with_exit_code_1(cli: Cli) -> None:
    done = cli("send", "-", given="neither <this>")
    assert done.exit_code == 1
    assert "event 1 (undecodable) → default" in done.stdout
    assert "cannot be decoded" in done.stderr
    assert cli("show", "1", "--raw").stdout_bytes == b"neither <this>"
    assert "cannot be decoded" in cli("show", "1").stdout
    answer = cli("send", "-", "--json", given="nor that")
    assert answer.exit_code == 1
    assert json.loads(answer.stdout)["event"] == 2


def test_an_empty_body_and_one_that_is_too_large_are_refused(cli: Cli, tmp_path: Path) -> None:
    empty = cli("send", "-", given="\n")
    assert (empty.exit_code, cli("events").stdout) == (1, "")
    assert json.loads(cli("send", "-", "--json", given="").stdout) == {"status": "ping"}
    bombs = (b" " * (pgyer.MAX_BODY + 1), gzip.compress(b" " * (pgyer.MAX_BODY + 1)))
    for bomb in bombs:
        (tmp_path / "big").write_bytes(bomb)
        done = cli("send", "big")
        assert done.exit_code == 1
        assert str(pgyer.MAX_BODY) in done.stderr
