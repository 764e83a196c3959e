"""`bridge templates`: list, show, export, import."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_client import Cli
from support import environment

from bridge import configure
from bridge.model import Event, Target
from bridge.wiring import Bridge

FILE = "crashlog.text.j2"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The bridge's folder of templates, with three of them."""
    made = tmp_path / "templates"
    made.mkdir()
    (made / FILE).write_text("{% import '_m.j2' as m %}{{ m.head() }} {{ title }}\n")
    (made / "_m.j2").write_text("{% macro head() %}head{% endmacro %}\n")
    (made / "default.text.j2").write_text("{{ title }}\n")
    return made


@pytest.fixture
def bridge(tmp_path: Path, folder: Path) -> Iterator[Bridge]:
    """What a running bridge has."""
    made = Bridge(*configure(environment(tmp_path, BRIDGE_TEMPLATES=str(folder))))
    yield made
    made.close()


@pytest.fixture
def templates(cli: Cli, folder: Path) -> Cli:
    """Run `bridge templates …` beside it."""
    environ = {"BRIDGE_TEMPLATES": str(folder), "LC_ALL": "zh_CN.UTF-8"}
    return lambda *args, **more: cli("templates", *args, **{**environ, **more})


def message(bridge: Bridge) -> str:
    event = Event("crashlog", {"type": "crashlog", "title": "商城"}, 0.0)
    content: str = bridge.renderer.messages(event, Target("default"))[0].body["content"]
    return content


def test_the_list_says_what_is_edited(templates: Cli, bridge: Bridge) -> None:
    bridge.template_versions.save({FILE: "{{ title }}", "short.text.j2": "{{ title }}"})
    done = templates("list")
    assert done.exit_code == 0
    rows = [line.split() for line in done.stdout.splitlines()]
    assert [row[0] for row in rows] == ["_m.j2", FILE, "default.text.j2", "short.text.j2"]
    assert [row[1] for row in rows] == ["文件", "已在控制台编辑", "文件", "只在控制台"]
    assert [len(row) for row in rows] == [2, 4, 2, 4]  # date and time


def test_the_list_for_scripts(templates: Cli, bridge: Bridge, folder: Path) -> None:
    bridge.template_versions.save({FILE: "{{ title }}"})
    (folder / "default.text.j2").write_text("{{ title")
    helper, crashlog, default = json.loads(templates("list", "--json").stdout)
    assert helper == {
        "file": "_m.j2", "msgtype": "", "in_folder": True, "saved_at": None, "problem": "",
    }  # fmt: skip
    assert crashlog["msgtype"] == "text"
    assert crashlog["saved_at"].endswith("+08:00")
    assert default["problem"].startswith("default.text.j2:1: ")


def test_show_prints_the_text_in_use(templates: Cli, bridge: Bridge) -> None:
    assert templates("show", "default.text.j2").stdout == "{{ title }}\n"
    bridge.template_versions.save({"default.text.j2": "saved\n{{ title }}\n"})
    assert templates("show", "default.text.j2").stdout == "saved\n{{ title }}\n"
    done = templates("show", "none.text.j2")
    assert done.exit_code == 2
    assert FILE in done.stderr


def test_export_writes_what_is_in_use(
    templates: Cli, bridge: Bridge, tmp_path: Path, folder: Path
) -> None:
    bridge.template_versions.save({FILE: "mine {{ title }}", "短信.text.j2": "字"})
    done = templates("export", str(tmp_path / "new" / "folder"))
    assert done.exit_code == 0
    written = {p.name: p.read_text() for p in (tmp_path / "new" / "folder").iterdir()}
    assert written == dict(bridge.renderer.files)
    assert written[FILE] == "mine {{ title }}" and written["短信.text.j2"] == "字"
    assert done.stdout.count("\n") == len(written)
    assert (folder / FILE).read_text().startswith("{% import")
    (tmp_path / "a-file").write_text("")
    assert templates("export", str(tmp_path / "a-file" / "x")).exit_code == 1


def test_import_saves_what_the_running_bridge_then_uses(
    templates: Cli, bridge: Bridge, tmp_path: Path
) -> None:
    assert message(bridge) == "head 商城"
    (tmp_path / FILE).write_text("\ufeffmine {{ title }}\n", encoding="utf-8")
    done = templates("import", str(tmp_path / FILE))
    assert (done.exit_code, done.stdout, done.stderr) == (0, f"已保存 {FILE}。\n", "")
    assert message(bridge) == "mine 商城"
    done = templates("import", str(tmp_path / FILE))
    assert (done.exit_code, done.stdout) == (0, f"{FILE} 没有变化。\n")
    assert len(bridge.template_versions.of(FILE)) == 1


def test_what_was_exported_can_be_imported_elsewhere(
    templates: Cli, bridge: Bridge, tmp_path: Path
) -> None:
    """Also where helpers and those that use them have changed together."""
    bridge.template_versions.save(
        {
            "_m.j2": "{% macro other() %}other{% endmacro %}",
            FILE: "{% import '_m.j2' as m %}{{ m.other() }} {{ title }}",
        }
    )
    exported = dict(bridge.renderer.files)
    templates("export", str(tmp_path / "out"))
    (tmp_path / "out" / "notes.txt").write_text("no template")
    elsewhere = {"DATABASE_URL": f"sqlite:///{tmp_path}/elsewhere.db"}
    done = templates("import", str(tmp_path / "out"), **elsewhere)
    assert (done.exit_code, done.stderr) == (0, "")
    other = Bridge(*configure({**environment(tmp_path), **elsewhere}))
    assert {**exported, **other.template_versions.texts()} == exported
    assert sorted(other.template_versions.texts()) == ["_m.j2", FILE]
    other.close()


def test_import_refuses_what_is_not_sound_and_saves_the_rest(
    templates: Cli, bridge: Bridge, tmp_path: Path
) -> None:
    drafts = tmp_path / "drafts"
    drafts.mkdir()
    for name, body in {
        "good.text.j2": b"{{ title }}", FILE: b"one\n{{ title",
        "Feedback.text.j2": b"x", "feedback.txt.j2": b"x",
        "latin.text.j2": "é".encode("latin-1"), "nul.text.j2": b"a\0b",
    }.items():  # fmt: skip
        (drafts / name).write_bytes(body)
    done = templates("import", str(drafts))
    assert done.exit_code == 1
    assert done.stdout == "已保存 good.text.j2。\n"
    said = dict(line.split(" 未保存：") for line in done.stderr.splitlines())
    assert list(said) == sorted({path.name for path in drafts.iterdir()} - {"good.text.j2"})
    assert said[FILE].startswith("第 2 行 ")
    assert "feedback.text.j2" in said["Feedback.text.j2"]
    assert "feedback.text.j2" in said["feedback.txt.j2"]
    assert "UTF-8" in said["latin.text.j2"] and "NUL" in said["nul.text.j2"]
    assert bridge.template_versions.texts() == {"good.text.j2": "{{ title }}"}


def test_import_refuses_a_helper_that_breaks_another_file(
    templates: Cli, bridge: Bridge, tmp_path: Path
) -> None:
    (tmp_path / "_m.j2").write_text("{% macro tail() %}x{% endmacro %}")
    done = templates("import", str(tmp_path / "_m.j2"))
    assert done.exit_code == 1
    assert "_m.j2 未保存：" in done.stderr and f"{FILE}:1: " in done.stderr
    assert bridge.template_versions.texts() == {}


def test_without_its_database_the_command_does_not_pretend_that_nothing_is_saved(
    templates: Cli, tmp_path: Path
) -> None:
    (tmp_path / FILE).write_text("x")
    away = {"DATABASE_URL": f"sqlite:///{tmp_path}/no/such.db"}
    for arguments in (
        ["list"], ["show", FILE], ["export", str(tmp_path / "out")],
        ["import", str(tmp_path / FILE)],
    ):  # fmt: skip
        done = templates(*arguments, **away)
        assert (done.exit_code, done.stdout) == (1, "")
        assert "数据库不可用" in done.stderr


def test_what_is_saved_is_previewed_and_may_be_named_by_a_route(
    cli: Cli, bridge: Bridge, folder: Path, tmp_path: Path
) -> None:
    bridge.template_versions.save({"short.text.j2": "short {{ title }}"})
    (tmp_path / "routes.toml").write_text('[[route]]\ntype = "crashlog"\ntemplate = "short"\n')
    environ = {"BRIDGE_TEMPLATES": str(folder)}
    assert "short " in cli("preview", "crashlog", "--bot", "default", **environ).stdout
    checked = cli("check", **environ)
    assert checked.exit_code == 0
    # A file that is only saved is checked as well.
    lines = checked.stdout.splitlines()
    *others, saved = [line for line in lines if "there is no link" in line]
    assert saved.startswith("?? templates: short.text.j2: ")  # for it is no file of the folder
    assert saved.endswith("(edited in the console)")
    assert len(others) == 2 and all(f"templates: {folder}/" in line for line in others)
    (tmp_path / "bridge.db").write_text("no database")
    (tmp_path / "bridge.db-wal").unlink()
    for command in (["preview", "crashlog"], ["routes", "test", "crashlog"]):
        done = cli(*command, **environ)
        assert done.exit_code == 1 and "there is no template" not in done.stderr
        assert done.stderr.startswith("the database cannot be used")


def test_a_preview_makes_no_database(cli: Cli, tmp_path: Path) -> None:
    done = cli("preview", "crashlog", DATABASE_URL=f"sqlite:///{tmp_path}/none.db")
    assert done.exit_code == 0
    assert not (tmp_path / "none.db").exists()


def test_a_name_that_is_not_utf8_is_printed(
    templates: Cli, folder: Path, tmp_path: Path, cli: Cli
) -> None:
    odd = Path(os.fsdecode(bytes(folder) + b"/\xd0\xc2.text.j2"))
    odd.write_text("{{ title }}")
    done = templates("list")
    assert done.exit_code == 0
    [row] = [line for line in done.stdout.splitlines() if line.startswith(r"\xd0\xc2.text.j2")]
    assert "文件名不是 UTF-8" in row
    assert templates("export", str(tmp_path / "all")).exit_code == 0
    done = templates("import", str(odd))
    assert done.exit_code == 1 and ".text.j2 未保存：" in done.stderr
    done = cli("check", BRIDGE_TEMPLATES=str(folder))
    assert r"\xd0\xc2.text.j2" in done.stdout
