"""The command in Chinese and English, by LC_ALL, LC_MESSAGES or LANG: one language on each line."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cli_client import PARKED, Cli, EndAll
from support import ROOT, environment

from bridge.cli import commands

ZH, EN = "zh_CN.UTF-8", "en_US.UTF-8"
CHINESE = re.compile("[一-鿿]")
# What is the same in both: names of commands, variables, files, fields, codes, places in Pgyer.
NAMES = re.compile(
    r"\b(bridge|default|dev|crashlog|feedback|parked|pending|sent|expired|bot|routes|test|since|all"
    r"|log|template|type|app|notes|title|wangqing|markdown|text|check|send|events|retry|show|state"
    r"|appSettings|botStopped|deleteApp|digest|transferApp|undecodable|updateVersion|versionChange"
    r"|commands|templates|import|name|is|OooPlay|iOS|mention|continue)\b|[A-Z_]{3,}|\S*[/.:_=|\[\]()'-]\S*|https?://\S+"
)
PGYER = re.compile(
    "应用 → 设置 → Webhook 设置 → 创建 Webhook|其他指定URL|选择订阅内容|状态|开启|保存"
    "|账户设置 → API 信息"
)


RULES = """\
[[route]]
app = "Other"
[[route]]
mention = "wangqing"
quiet = "00:00-23:59"
continue = true
[[route]]
bots = []
[[route]]
bots = "dev"
"""


def in_both(cli: Cli, *args: str, given: str | None = None, **more: str) -> list[tuple[str, str]]:
    """Return standard output and error in Chinese, then in English."""
    found = []
    for language in (ZH, EN):
        done = cli(*args, given=given, LC_ALL=language, **more)
        found.append((done.stdout, done.stderr))
    return found


def check_languages(zh: str, en: str) -> None:
    """Check that no line mixes languages: in each, whatever is no name is of its own language."""
    assert zh.strip() and en.strip()
    for line in zh.splitlines():
        words = re.findall(r"[A-Za-z]{3,}", NAMES.sub(" ", line))
        assert len(words) < 3, f"English in a Chinese line: {line} {words}"
    for line in en.splitlines():
        line = line.replace("商城", "")  # of the samples
        assert not CHINESE.search(PGYER.sub("", line)), f"Chinese in an English line: {line}"
    assert " · " not in re.sub(r"\w+ · (OooPlay|商城)", "", zh + en)
    assert CHINESE.search(zh)


def stored(cli: Cli, end_all: EndAll) -> None:
    cli("send", "-", "--bot", "default,dev", given='{"type": "crashlog", "title": "OooPlay"}')
    end_all(PARKED)


@pytest.mark.parametrize(
    "arguments",
    [
        ["check"],
        ["url"],
        ["events", "--app", "nothing"],
        ["show", "1"],
        ["retry", "1", "--dry-run"],
        ["retry", "--bot", "dev", "--dry-run"],
        ["retry"],
        ["retry", "--all", "--since", "2h"],
        ["routes", "test", "body.json"],
        ["routes", "test", "body.json", "--bot", "nobody"],
        ["send", "empty.json"],
        ["send", "odd.txt"],
        ["send", "nothing.json"],
        ["preview"],
        ["preview", "nothing"],
        ["preview", "--payload", "odd.txt"],
        ["preview", "x.text.j2"],
        ["routes"],
        ["templates", "list"],
        ["templates", "show", "nothing.j2"],
        ["templates", "import", "x.text.j2", "odd.txt"],
        ["templates", "import", "none.j2"],
        ["show", "99"],
        ["show", "1", "--raw", "--json"],
        ["events", "--since", "soon"],
        ["events", "--state", "lost"],
        ["show"],
        ["show", "1", "2"],
        ["show", "--nothing"],
        ["nothing"],
        ["db", "upgrade"],
        ["init"],
    ],
    ids=" ".join,
)
def test_what_a_command_says_is_in_one_language(
    arguments: list[str], cli: Cli, end_all: EndAll, tmp_path: Path
) -> None:
    stored(cli, end_all)
    (tmp_path / "routes.toml").write_text(RULES)
    (tmp_path / "body.json").write_text('{"type": "crashlog", "title": "OooPlay"}')
    (tmp_path / "empty.json").write_text("")
    (tmp_path / "odd.txt").write_text("<xml>")
    (tmp_path / "x.text.j2").write_text("{{ titel }} **x**")
    (zh, zh_err), (en, en_err) = in_both(cli, *arguments)
    check_languages(zh + zh_err, en + en_err)


def test_the_help_of_every_command_is_in_one_language() -> None:
    # Click keeps an option's help in the language in which it was first asked for.
    script = (
        "import json, sys; from click.testing import CliRunner; from bridge.cli import commands; "
        "names, run = sys.argv[1:], CliRunner().invoke; "
        "said = [run(commands, [*name.split(), '-h'], prog_name='bridge') for name in names]; "
        "print(json.dumps([[done.exit_code, done.stdout, done.stderr] for done in said]))"
    )
    names = [*commands.commands, "routes test", "db upgrade", "templates import", ""]
    said = []
    for language in (ZH, EN):
        done = subprocess.run(
            [sys.executable, "-c", script, *names],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "LC_ALL": language},
            capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        said.append(json.loads(done.stdout))
    for (zh_code, zh, zh_err), (en_code, en, en_err) in zip(*said, strict=True):
        assert (zh_code, zh_err, en_code, en_err) == (0, "", 0, "")
        check_languages(zh, en)


def test_the_short_help_of_every_command_is_whole_in_chinese(cli: Cli) -> None:
    lines = cli("--help", LC_ALL=ZH).stdout.splitlines()
    for name in commands.commands:
        [line] = [line for line in lines if line.split()[:1] == [name]]
        assert CHINESE.search(line) and "..." not in line


WRONG = {
    "WECOM_BOT_KEY": "",
    "WECOM_BOT_KEY_DEV": "https://nowhere",
    "WECOM_BOT_KEY_dev": "key-of-another",
    "BRIDGE_TOKEN": "with blank",
    "BRIDGE_RATE": "many",
    "BRIDGE_TEMPLATE": "x",
    "BRIDGE_TIMEZONE": "Nowhere",
    "BRIDGE_PUBLIC_URL": "ftp://x",
    "DATABASE_URL": "oracle://x",
    "BRIDGE_ADMIN_PASSWORD_FILE": "missing",
    "LOG_LEVEL": "loud",
    "PORT": "x",
}
ROUTES = """\
[[route]]
bots = "nobody"
typ = "x"
type = "crashlogs"
mention = ["王清"]
[[route]]
quiet = "22-8"
attach = "pdf"
continue = 1
template = 5
[other]
"""


@pytest.mark.parametrize("routes", [ROUTES, "type = “crashlog”\n"], ids=["rules", "no TOML"])
def test_the_refusal_to_start_is_in_one_language(routes: str, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "routes.toml").write_text(routes)
    (_, zh), (_, en) = in_both(cli, "events", **WRONG)
    assert zh.count("\n") == en.count("\n") > 12
    assert zh.startswith("本服务无法启动") and en.startswith("The bridge cannot start")
    own = ("'王清'", "帐号 in", "“crashlog”")  # what was written, and WeCom's own word
    for text in own:
        zh, en = zh.replace(text, ""), en.replace(text, "")
    check_languages(zh, en)
    first_words = [[line.split()[1].rstrip(":：") for line in t.splitlines()[1:]] for t in (zh, en)]
    assert first_words[0] == first_words[1]  # the variable, or the file and line


def test_the_files_to_begin_with_are_in_one_language(cli: Cli, tmp_path: Path) -> None:
    written = []
    for language in (ZH, EN):
        folder = tmp_path / language
        assert cli("init", str(folder), LC_ALL=language).exit_code == 0
        texts = [(folder / name).read_text() for name in (".env", ".env.example", "routes.toml")]
        written.append("\n".join(texts).replace("群设置 → 群机器人 → 添加", ""))
    written[1] = written[1].replace("→ 复制 Webhook 地址", "")
    check_languages(*written)


def test_gunicorn_refuses_in_the_language_too(tmp_path: Path) -> None:
    for language, begin in ((ZH, "本服务无法启动，有 1 个问题"), (EN, "The bridge cannot start")):
        environ = environment(tmp_path, BRIDGE_RATE="x", LC_ALL=language)
        done = subprocess.run(
            [sys.executable, "-m", "gunicorn", "--config", str(ROOT / "gunicorn.conf.py")],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], **environ},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 2
        assert done.stderr.startswith(begin)


def test_json_is_the_same_in_every_language(cli: Cli, end_all: EndAll, tmp_path: Path) -> None:
    stored(cli, end_all)
    (tmp_path / "x.text.j2").write_text("{{ titel }} **x** {% if %}")
    (tmp_path / "odd.txt").write_text("<xml>")
    for arguments in (
        ["check"], ["url"], ["preview", "crashlog"], ["preview", "x.text.j2"], ["events"],
        ["show", "1"], ["routes", "test", "crashlog"], ["send", "odd.txt"],
    ):  # fmt: skip
        (zh, _), (en, _) = in_both(cli, *arguments, "--json")
        assert json.loads(zh) == json.loads(en), arguments
    (zh, _), (en, _) = in_both(cli, "check", "--json", **WRONG)
    assert json.loads(zh) == json.loads(en)
    assert not CHINESE.search(zh)
    assert "BRIDGE_RATE" in [entry["text"] for entry in json.loads(zh)]
