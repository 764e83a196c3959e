"""`bridge preview`: the messages that an event would make."""

import builtins
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from cli_client import Cli
from click.testing import Result
from support import ROOT

from bridge.samples import samples


def messages(done: Result) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(done.stdout)["messages"]
    return found


@pytest.mark.parametrize("kind", sorted(samples()))
def test_every_type_has_a_preview(kind: str, cli: Cli) -> None:
    done = cli("preview", kind)
    assert (done.exit_code, done.stderr) == (0, "")
    title, head, *content = done.stdout.splitlines()
    assert title.startswith(f"{kind} · 商城")
    used = len("\n".join(content).encode())
    cut = "  cut" if kind == "crashlog" else ""
    assert head == f"── 1/1  markdown  {used}/4096 bytes{cut}"


@pytest.mark.parametrize("name", ["botStopped", "expired", "test", "undecodable"])
def test_events_of_the_bridge_itself_have_a_preview_too(name: str, cli: Cli) -> None:
    done = cli("preview", name)
    assert (done.exit_code, done.stderr) == (0, "")
    assert "机器人" in done.stdout or "事件 1" in done.stdout


def test_a_digest_of_all_samples(cli: Cli) -> None:
    done = cli("preview", "digest")
    assert done.exit_code == 0
    assert done.stdout.startswith("digest · 7/7\n")
    assert "共 7 条" in done.stdout


def test_no_preview_without_a_subject(cli: Cli) -> None:
    for arguments in ([], ["--bot", "dev"], ["crashlog", "--event", "1", "--payload", "x"]):
        assert cli("preview", *arguments).exit_code == 2
    done = cli("preview", "crashlgo")
    assert done.exit_code == 2
    assert "crashlog" in done.stderr and "_macros" not in done.stderr


def test_the_route_of_a_bot_applies_when_it_is_named(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "routes.toml").write_text(
        '[[route]]\ntype = "feedback"\nbots = "dev"\nmention = ["wangqing", "@all"]\n'
        'template = "crashlog"\nattach = "qrcode"\n'
    )
    assert [m["msgtype"] for m in messages(cli("preview", "feedback", "--json"))] == ["markdown"]
    main, call, image = messages(cli("preview", "feedback", "--bot", "DEV", "--json"))
    assert "崩溃日志" in main["body"]["content"] and "<@wangqing>" in main["body"]["content"]
    assert call["body"]["mentioned_list"] == ["@all"]
    assert (image["msgtype"], image["limit"]) == ("image", 2 << 20)
    shown = cli("preview", "feedback", "--bot", "dev").stdout
    for said in ("1/3  markdown", "2/3  text", "[mentioned_list: @all]", "[QR code]"):
        assert said in shown
    # A template that is named goes before the route's.
    [text, *_] = messages(cli("preview", "updateVersion.markdown", "--bot", "dev", "--json"))
    assert "新版本" in text["body"]["content"]
    unrouted = messages(cli("preview", "feedback", "--bot", "default", "--json"))
    assert "<@wangqing>" in unrouted[0]["body"]["content"]  # as if the URL named the bot
    assert cli("preview", "feedback", "--bot", "devv").exit_code == 2


def test_a_payload_from_a_file_or_standard_input(cli: Cli, tmp_path: Path) -> None:
    body = json.dumps({"type": "crashlog", "title": "Mine", "notes": "x" * 9999})
    (tmp_path / "body.json").write_text(body)
    for arguments, given in ((["body.json"], None), (["-"], body)):
        done = cli("preview", "--payload", *arguments, "--bot", "dev", given=given)
        assert done.exit_code == 0
        assert done.stdout.startswith("crashlog · Mine\n")
        assert "4096 bytes  cut" in done.stdout
        assert "[file Mine-crash.txt, 1 lines]" in done.stdout
    [main, file] = messages(cli("preview", "--payload", "-", "--bot", "dev", "--json", given=body))
    assert main["bytes"] == len(main["body"]["content"].encode()) <= 4096
    assert main["cut"] and not file["cut"]
    assert file["bytes"] == 9999


def test_a_payload_with_the_template_of_another_type(cli: Cli) -> None:
    done = cli("preview", "crashlog", "--payload", "-", given='{"type": "feedback"}')
    assert "崩溃日志" in done.stdout


def test_every_event_of_a_payload_is_shown(cli: Cli) -> None:
    done = cli("preview", "--payload", "-", given='[{"title": "a"}, {"title": "b"}]')
    assert "no type · a" in done.stdout and "· b" in done.stdout


@pytest.mark.parametrize("body", ["<<", "", " \n"])
def test_a_payload_without_an_event_is_exit_code_1(body: str, cli: Cli) -> None:
    for command in (["preview", "--payload", "-"], ["routes", "test", "-"]):
        done = cli(*command, given=body)
        assert (done.exit_code, done.stdout) == (1, "")


def test_a_file_that_cannot_be_read_is_wrong_use(cli: Cli, tmp_path: Path) -> None:
    for name in ("nowhere.json", str(tmp_path), "x" * 300):
        done = cli("preview", "--payload", name)
        assert done.exit_code == 2
        assert "crashlog" in done.stderr  # there are samples to begin with


def test_a_stored_event_can_be_previewed(cli: Cli) -> None:
    cli("send", "-", given='{"type": "feedback", "title": "Stored"}')
    assert "Stored" in cli("preview", "--event", "1").stdout
    assert "崩溃日志" in cli("preview", "crashlog", "--event", "1").stdout
    assert cli("preview", "--event", "2").exit_code == 1
    assert cli("preview", "--event", str(2**70)).exit_code == 2


def test_a_template_s_file_is_shown_as_if_it_were_in_the_folder(cli: Cli, tmp_path: Path) -> None:
    drafts = tmp_path / "drafts"
    drafts.mkdir()
    (drafts / "_ours.j2").write_text("{% macro hi() %}hi{% endmacro %}")
    (drafts / "crashlog-short.text.j2").write_text(
        "{% import '_ours.j2' as o %}{{ o.hi() }} {{ type }} {{ os_version }}{# no link #}"
    )
    done = cli("preview", "drafts/crashlog-short.text.j2")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "text  17/2048" in done.stdout
    assert "hi crashlog 3.8.1" in done.stdout
    assert not (ROOT / "templates" / "crashlog-short.text.j2").exists()


def test_the_examples_have_previews(cli: Cli) -> None:
    for file in sorted((ROOT / "templates" / "examples").glob("*.j2")):
        done = cli("preview", str(file))
        assert (done.exit_code, done.stderr) == (0, ""), file
        assert f"  {file.name.split('.')[1]}  " in done.stdout
    card = cli("preview", str(ROOT / "templates/examples/updateVersion.template_card.j2"))
    assert '"card_type": "text_notice"' in card.stdout


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("x.markdown.j2", "ok\n{% if %}", "x.markdown.j2:2: no_value"),
        ("x.markdown.j2", "{{ link }}\n{{ title|nope }}", "x.markdown.j2:2: unknown_filter"),
        ("x.markdown.j2", "{{ link }}{{ '0' * 10 ** 9 }}", "x.markdown.j2:1: too_large"),
        ("x.text.j2", "{{ link }}\n{{ titel }}", "x.text.j2:2: unknown_variable name=titel"),
        ("x.html.j2", "ok", "x.html.j2: no_msgtype"),
        ("x.news.j2", "{}{# link #}", "x.news.j2: articles most=8"),
    ],
)
def test_a_template_s_problem_is_exit_code_1(
    name: str, text: str, problem: str, cli: Cli, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    done = cli("preview", name)
    assert done.exit_code == 1
    where = problem.rpartition(": ")[0]
    assert done.stderr.startswith(f"!! template {where}: ") and done.stderr.count("\n") == 1
    [found] = json.loads(cli("preview", name, "--json").stdout)["problems"]
    assert found.startswith(problem)


def test_what_is_likely_a_mistake_is_shown_and_is_no_failure(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "x.markdown.j2").write_text("- {{ title }}")
    done = cli("preview", "x.markdown.j2")
    assert done.exit_code == 0
    assert [line[:28] for line in done.stderr.splitlines()] == [
        "?? template x.markdown.j2: t",
        "?? template x.markdown.j2:1:",
    ]


def test_samples_need_no_keys(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "routes.toml").write_text('[[route]]\nbots = "ops"\nmention = "wangqing"\n')
    bare = {"WECOM_BOT_KEY": "", "WECOM_BOT_KEY_DEV": "", "BRIDGE_TOKEN": ""}
    assert "崩溃日志" in cli("preview", "crashlog", **bare).stdout
    assert "<@wangqing>" in cli("preview", "crashlog", "--bot", "ops", **bare).stdout
    assert cli("preview", "crashlog", "--bot", "nope", **bare).exit_code == 2
    wrong = cli("preview", "crashlog", BRIDGE_RATE="x", **bare)
    assert wrong.exit_code == 2 and wrong.stderr.count("\n  - ") == 1
    assert cli("preview", "crashlog").exit_code == 2  # with keys, the route's bot must have one


def test_an_unreadable_draft_is_wrong_use(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.text.j2").write_text("x")
    opened = builtins.open

    def refused(name: Any, *args: Any, **more: Any) -> Any:
        if name == "x.text.j2":
            raise PermissionError(13, "Permission denied")
        return opened(name, *args, **more)

    monkeypatch.setattr(builtins, "open", refused)
    done = cli("preview", "x.text.j2")
    assert done.exit_code == 2
    assert "Permission denied" in done.stderr


def test_a_template_that_fails_on_this_event_only(cli: Cli, tmp_path: Path) -> None:
    templates = tmp_path / "mine"
    shutil.copytree(ROOT / "templates", templates)
    (templates / "feedback.markdown.j2").write_text("{{ 1 // (title != 'Bad')|int }}")
    environ = {"BRIDGE_TEMPLATES": str(templates)}
    assert cli("preview", "feedback", **environ).exit_code == 0
    given = '{"type": "feedback", "title": "Bad"}'
    done = cli("preview", "--payload", "-", given=given, **environ)
    assert done.exit_code == 1
    assert "feedback.markdown.j2:1" in done.stderr
