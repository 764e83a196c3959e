"""The bridge as a wheel, on each Python that it supports and that is here, in an empty folder."""

import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import requests
from postgres import free_port
from support import PATIENCE, ROOT, until
from system_helpers import DEFAULT, Served, contents

OURS = f"{sys.version_info.major}.{sys.version_info.minor}"
VERSIONS = ("3.11", "3.12", "3.13", "3.14")
assert OURS in VERSIONS


def python(version: str) -> str:
    """Return an interpreter of this version; where there is none the test is skipped by name."""
    if version == OURS:
        return sys.executable
    places = [*map(Path, os.environ["PATH"].split(os.pathsep)), Path("/usr/bin")]
    places += sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin"))
    for place in places:
        command = str(place / f"python{version}")
        # Not one without parts of its library, nor a name of pyenv's that leads nowhere.
        tried = [command, "-c", "import venv, sqlite3, ssl"]
        if shutil.which(command) and subprocess.run(tried, capture_output=True).returncode == 0:
            return command
    pytest.skip(f"there is no Python {version} with venv on this machine")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    [built] = folder.glob("*.whl")
    return built


def install(version: str, wheel: Path, folder: Path) -> Path:
    """Make a venv with the wheel; return the folder of its commands."""
    subprocess.run([python(version), "-m", "venv", "--without-pip", folder], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin/python"), "install", "-q"]
    pip += ["--disable-pip-version-check", "--no-input", "--no-compile", str(wheel)]
    if version == OURS:
        # What it needs is installed here: only the bridge is to come from the wheel.
        pip.append("--no-deps")
        packages = next(folder.glob("lib/python*/site-packages"))
        (packages / "needed.pth").write_text(sysconfig.get_path("purelib"))
    done = subprocess.run(pip, capture_output=True, text=True)
    if done.returncode and not os.environ.get("CI") and "No matching distribution" in done.stderr:
        pytest.skip(f"nothing can be installed here for Python {version}")
    assert done.returncode == 0, done.stderr
    return folder / "bin"


@pytest.mark.parametrize("version", VERSIONS)
def test_from_an_empty_folder_to_the_first_message(
    version: str, wheel: Path, sandbox: Served, tmp_path: Path
) -> None:
    box, api = sandbox
    command = str(install(version, wheel, tmp_path / "venv") / "bridge")
    folder = tmp_path / "empty"
    folder.mkdir()
    environ = {"PATH": os.environ["PATH"], "LANG": "en_US.UTF-8", "TMPDIR": str(tmp_path)}

    def run(*args: str) -> str:
        done = subprocess.run(
            [command, *args], cwd=folder, env=environ, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert re.fullmatch(r"bridge \d+\.\d+\.\d+\n", run("--version"))
    if version == OURS:
        assert run("demo", "--once").count("✓") == 7
        assert list(folder.iterdir()) == []
    run("init")
    assert (folder / "templates/examples/crashlog.text.j2").is_file()
    port = free_port()
    env = folder / ".env"
    settings = f"WECOM_BOT_KEY={DEFAULT}\nWECOM_API_URL={api}\nPORT={port}\n"
    env.write_text(env.read_text().replace("WECOM_BOT_KEY=\n", settings))
    url = f"http://127.0.0.1:{port}"
    log = tmp_path / "log"
    with log.open("w") as out:
        bridge = subprocess.Popen(
            [command, "serve"], cwd=folder, env=environ, stdout=out, stderr=out
        )

    def serves() -> bool:
        assert bridge.poll() is None, log.read_text()
        try:
            return requests.get(f"{url}/readyz", timeout=5).ok
        except requests.RequestException:
            return False

    try:
        until(serves, f"it serves, see {log}")
        hook = run("url").split()[3].replace("https://<your-app>", url)
        assert requests.post(hook, data='{"type": "feedback"}', timeout=20).ok
        until(lambda: len(contents(box, DEFAULT)) == 1, f"the message comes, see {log}")
        answer = requests.get(f"{url}/console/static/console.css", timeout=20)
        assert answer.ok
        assert "密码" in requests.get(f"{url}/console/sign-in", timeout=20).text
        bridge.send_signal(signal.SIGTERM)
        assert bridge.wait(PATIENCE) == 0
    finally:
        bridge.kill()
        bridge.wait()
    made = {path.name for path in folder.iterdir()}
    assert made == {".env", ".env.example", "routes.toml", "templates", "bridge.db"}
    assert "ERROR" not in log.read_text()
    shutil.rmtree(tmp_path / "venv")


def test_the_package_has_its_types(wheel: Path) -> None:
    assert b"bridge/py.typed" in wheel.read_bytes()
