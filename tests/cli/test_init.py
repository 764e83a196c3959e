"""`bridge init` and `.env`: from an empty folder to a bridge that starts."""

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cli_client import Cli
from environments import NEEDED
from support import ROOT, environment

from bridge.receiving.routing import parse
from bridge.settings import load

STARTERS = ROOT / "bridge/cli/starters"
KEY = "693a91f6-7xxx-4bc4-97a0-0ec2sifa5aaa"


def bridge(folder: Path, *args: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder, with these variables alone."""
    return subprocess.run(
        [str(Path(sys.executable).parent / "bridge"), *args], cwd=folder,
        env={"PATH": os.environ["PATH"], "LANG": "en_US.UTF-8", **environ},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def values(text: str) -> dict[str, str]:
    """Return the lines of a .env, those that are commented out as well."""
    return dict(re.findall(r"^#?([A-Z_]+)=(.*)$", text, re.MULTILINE))


def test_it_leads_from_an_empty_folder_to_the_address_for_pgyer(tmp_path: Path) -> None:
    done = bridge(tmp_path, "init", "my bridge")
    assert (done.returncode, done.stderr) == (0, "")
    folder = tmp_path / "my bridge"
    made = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    shipped = {path.relative_to(ROOT) for path in (ROOT / "templates").rglob("*.j2")}
    assert made == shipped | {Path("routes.toml"), Path(".env.example"), Path(".env")}
    assert all(f"written: my bridge/{path}" in done.stdout for path in made)
    assert "cd 'my bridge' && bridge serve" in done.stdout
    env = folder / ".env"
    assert stat.S_IMODE(env.stat().st_mode) == 0o600
    secrets = values(env.read_text())
    assert secrets["WECOM_BOT_KEY"] == "" and len(secrets["BRIDGE_TOKEN"]) == 32
    assert secrets["BRIDGE_TOKEN"] not in done.stdout

    done = bridge(folder, "url")
    assert (done.returncode, done.stderr.count("\n")) == (2, 2)
    assert "WECOM_BOT_KEY is not set" in done.stderr
    # Editors of Windows write a mark at the begin; what looks like a variable is none.
    text = f"\ufeffWECOM_BOT_KEY='{KEY}' # ours\r\nLOG_FORMAT=${{HOME}}\r\n{env.read_text()}"
    env.write_text(text.replace("WECOM_BOT_KEY=\n", ""), encoding="utf-8")
    done = bridge(folder, "url")
    assert "LOG_FORMAT is '${HOME}'" in done.stderr
    done = bridge(folder, "url", LOG_FORMAT="text", BRIDGE_PUBLIC_URL="https://a.example/b")
    assert done.stdout.split()[3] == f"https://a.example/b/pgyer/{secrets['BRIDGE_TOKEN']}"

    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    (folder / "routes.toml").unlink()
    done = bridge(folder, "init")
    assert done.stdout.count("kept: ") == len(made) - 1
    assert "written: routes.toml" in done.stdout
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert "\n  2. Start the bridge: bridge serve\n" in done.stdout


def test_it_says_so_where_it_cannot_write(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "file").write_text("")
    done = cli("init", "file")
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: cannot write file")


@pytest.mark.parametrize("content", ["A=1\n".encode("utf-16"), b"A=a\0b\n"])
def test_an_env_file_that_is_no_text_stops_the_command(content: bytes, tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(content)
    done = bridge(tmp_path, "url")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "cannot read .env" in done.stderr


@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_setting_is_explained_with_its_default(language: str) -> None:
    text = (STARTERS / f"{language}.env.example").read_text(encoding="utf-8")
    lines = text.splitlines()
    explained = values(text)
    _, problems = load(dict.fromkeys(explained, "x y"))
    assert not any("is not a variable" in problem for problem in problems)
    names: set[str] = set()

    class Asked(dict[str, str]):
        def get(self, name: str, default: object = None) -> str:  # type: ignore[override]
            names.add(name)
            return super().get(name, "")

    load(Asked())
    assert set(explained) - {"WECOM_BOT_KEY_DEV"} == {n for n in names if not n.endswith("_FILE")}
    defaults = {name: value for name, value in explained.items() if value}
    assert load({**NEEDED, **defaults}) == load(NEEDED)
    for number, line in enumerate(lines):
        if re.match("#?[A-Z_]+=", line):
            assert re.match("# |#[A-Z_]+=", lines[number - 1]), line
    shown = [load({**NEEDED, name: value})[1] for name, value in defaults.items()]
    assert not any(shown)


@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_examples_of_routes_are_rules_once_they_are_not_comments(language: str) -> None:
    text = (STARTERS / f"{language}.routes.toml").read_text(encoding="utf-8")
    assert parse(text, "routes.toml", ["default"]) == ([], [])
    rules = re.sub(r"^# (?=\[\[|[a-z]+ = )", "", text, flags=re.MULTILINE)
    routes, problems = parse(rules, "routes.toml", ["default", "dev"])
    assert (len(routes), problems) == (3, [])


def test_the_command_says_its_version(cli: Cli) -> None:
    project = (ROOT / "pyproject.toml").read_text()
    version = re.search(r'^version = "(.*)"', project, re.MULTILINE)
    assert version and cli("--version").stdout == f"bridge {version[1]}\n"


def test_settings_of_the_environment_win(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(
        "WECOM_BOT_KEY=x y\nBRIDGE_RATE=x\nBRIDGE_TOKEN=from-the-file-0001"
    )
    done = bridge(tmp_path, "url", **environment(tmp_path, BRIDGE_RATE="5"))
    assert done.returncode == 0
    assert "from-the-file" not in done.stdout
