"""What platforms do with this repository, as far as it can be done without them.

The Dockerfile's steps in a folder instead of an image, the Procfile's lines in an exported tree,
and the files for servers before the programs that read them.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from far_side import make_certificate
from postgres import free_port
from support import PATIENCE, ROOT, TOKEN, Deployment, environment, until
from system_helpers import DEFAULT, Served, contents, new_version

INSTALL = "as root: make proxies"


def installed(program: str, where: str = INSTALL) -> str:
    """Return the path of a program; without it the test is skipped, but never in CI."""
    path = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin")
    if not path:
        assert not os.environ.get("CI"), where
        pytest.skip(f"there is no {program}: {where}")
    return path


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the repository, as a platform gets them."""
    folder = tmp_path_factory.mktemp("exported")
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
    return folder


def url_of(port: int) -> str:
    return f"http://127.0.0.1:{port}"


@contextmanager
def running(command: str, folder: Path, environ: Mapping[str, str]) -> Iterator[None]:
    """Run a command as a platform does; with a PORT, from when it serves. It ends by SIGTERM."""
    log = (folder / "process.log").open("ab")
    process = subprocess.Popen(
        ["sh", "-c", f"exec {command}"], cwd=folder, env=environ, stdout=log, stderr=log,
        start_new_session=True,
    )  # fmt: skip

    def serves() -> bool:
        assert process.poll() is None, (folder / "process.log").read_text()
        try:
            return requests.get(f"{url_of(int(environ['PORT']))}/healthz", timeout=5).ok
        except requests.ConnectionError:
            return False

    try:
        if "PORT" in environ:
            until(serves, f"{command} serves, see {folder}/process.log")
        yield
        process.terminate()
        assert process.wait(PATIENCE) == 0
    finally:
        log.close()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


# Docker


class Image:
    """The steps of a Dockerfile, in a folder that stands for the root of all its stages."""

    def __init__(self, root: Path, context: Path) -> None:
        self.root, self.context = root, context
        text = re.sub(r"\\\n\s*", "", (context / "Dockerfile").read_text())
        lines = [line for line in text.splitlines() if line and not line.startswith("#")]
        self.steps = [line.split(maxsplit=1) for line in lines]
        self.environ: dict[str, str] = {}
        self.folder = root
        self.last: dict[str, str] = {}
        patterns = (context / ".dockerignore").read_text().splitlines()
        self.admitted = {line.removeprefix("!") for line in patterns if line.startswith("!")}
        assert "*" in patterns

    def inside(self, text: str) -> str:
        return re.sub(r"(^|[\s=:/])/(?=(?:venv|src|app|data)\b)", rf"\1{self.root}/", text)

    def build(self, until_step: str = "") -> None:
        """Take the next steps, up to and with the first that contains a text."""
        while self.steps:
            kind, text = self.steps.pop(0)
            self.last[kind] = text
            getattr(self, kind.lower(), lambda text: None)(self.inside(text))
            if until_step and until_step in text:
                return

    def env(self, text: str) -> None:
        for pair in shlex.split(text):
            name, _, value = pair.partition("=")
            self.environ[name] = value.replace("$PATH", os.environ["PATH"])

    def workdir(self, text: str) -> None:
        self.folder = Path(text)
        self.folder.mkdir(exist_ok=True)

    def copy(self, text: str) -> None:
        *sources, target = text.split()
        if sources[0].startswith("--from"):
            assert Path(target).exists()  # all stages have one root here
            return
        for source in sources:
            assert source in self.admitted, f"{source} is not in .dockerignore"
            at = self.folder / target / (source if target == "./" else "")
            copy = shutil.copytree if (self.context / source).is_dir() else shutil.copy
            copy(self.context / source, at)

    def run(self, text: str) -> None:
        if text.startswith("useradd"):  # for root alone
            for folder in re.findall(r"install -d -o bridge -g bridge (\S+)", text):
                Path(folder).mkdir()
            return
        environ = {**os.environ, "PIP_NO_COMPILE": "1"}  # which is but for faster starts
        subprocess.run(
            ["sh", "-c", text], cwd=self.folder, env=environ, check=True, capture_output=True
        )

    def start_environ(self, **more: str) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], **self.environ, **more}

    @property
    def health(self) -> list[str]:
        words: list[str] = json.loads(self.last["HEALTHCHECK"].partition(" CMD ")[2])
        return words

    @property
    def command(self) -> str:
        return shlex.join(json.loads(self.last["CMD"]))


@pytest.fixture(scope="module")
def requirements(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The image up to where requirements.txt is installed, which is all that a PaaS installs."""
    image = Image(tmp_path_factory.mktemp("image"), exported)
    image.build("-r requirements.txt")
    return image


def test_the_lines_of_the_procfile_work_where_only_the_requirements_are_installed(
    requirements: Image, exported: Path, tmp_path: Path, sandbox: Served
) -> None:
    box, api = sandbox
    lines = dict(line.split(": ", 1) for line in (exported / "Procfile").read_text().splitlines())
    assert lines.keys() == {"web", "worker"}
    environ = environment(tmp_path, WECOM_API_URL=api, PATH=f"{requirements.root}/venv/bin:/bin")
    del environ["BRIDGE_TEMPLATES"]
    port = free_port()
    web = {**environ, "PORT": str(port), "BRIDGE_DISPATCH": "off"}
    with running(lines["web"], exported, web), running(lines["worker"], exported, environ):
        answer = requests.post(f"{url_of(port)}/pgyer/{TOKEN}", data=new_version(), timeout=60)
        assert answer.json()["status"] == "accepted"
        until(lambda: bool(contents(box, DEFAULT)), "the worker has sent it")


def test_the_steps_of_the_dockerfile_make_a_bridge_that_its_health_check_finds(
    requirements: Image, tmp_path: Path, sandbox: Served
) -> None:
    box, api = sandbox
    image = requirements
    image.build()
    version = (image.context / ".python-version").read_text().strip()
    froms = re.findall(r"^FROM (\S+)", (image.context / "Dockerfile").read_text(), re.MULTILINE)
    assert froms == [f"python:{version}-slim"] * 2
    assert image.last["USER"] == "bridge" and "VOLUME" not in image.last
    assert not {".env", ".git", "bridge.db"} & image.admitted
    port = str(free_port())
    environ = image.start_environ(
        WECOM_BOT_KEY="key-of-default", BRIDGE_TOKEN=TOKEN, WECOM_API_URL=api, PORT=port
    )

    def run(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words, cwd=image.folder, env={**environ, **more}, capture_output=True, text=True,
            timeout=60,
        )  # fmt: skip

    assert image.folder == image.root / "app" and not any(image.folder.iterdir())
    refused = run("sh", "-c", image.command, BRIDGE_RATE="x")
    assert refused.returncode == 2 and "BRIDGE_RATE" in refused.stderr
    assert f"{image.root}/venv/" in run("bridge", "check").stdout  # its own templates
    assert run(*image.health).returncode == 1
    # As a mounted folder does.
    shutil.copytree(ROOT / "templates", image.folder / "templates")
    (image.folder / "templates/updateVersion.markdown.j2").write_text("mounted {{ title }}")
    with running(image.command, image.folder, environ):
        assert run(*image.health).returncode == 0
        requests.post(f"{url_of(int(port))}/pgyer/{TOKEN}", data=new_version(), timeout=60)
        until(lambda: bool(contents(box, DEFAULT)), "the message has arrived")
    assert contents(box, DEFAULT) == ["mounted App 0"]
    assert (image.root / "data/bridge.db").exists()


# Servers


def test_systemd_takes_the_unit_and_finds_it_well_protected(tmp_path: Path) -> None:
    program = installed("systemd-analyze", "install systemd")
    executable = tmp_path / "bridge"
    executable.write_text("#!/bin/sh\n")
    executable.chmod(0o755)
    unit = tmp_path / "bridge.service"
    text = (ROOT / "deploy/bridge.service").read_text()
    unit.write_text(text.replace("/opt/bridge/.venv/bin/bridge", str(executable)))
    assert "RestartPreventExitStatus=2\n" in text  # as the Dockerfile's command ends, above
    for command in (["verify"], ["security", "--offline=true", "--threshold=20", "--no-pager"]):
        done = subprocess.run(
            [program, *command, unit], capture_output=True, text=True, timeout=PATIENCE
        )
        complaints = [line for line in done.stderr.splitlines() if unit.name in line]
        assert (done.returncode, complaints) == (0, []), done.stdout + done.stderr


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    return make_certificate(tmp_path, installed("openssl"))


def test_nginx_brings_events_with_tls_at_a_host_and_under_a_path(
    deploy: Callable[..., Deployment], sandbox: Served, tmp_path: Path,
    certificate: tuple[Path, Path],
) -> None:  # fmt: skip
    program = installed("nginx")
    bridge = deploy(sandbox[1], BRIDGE_ADMIN_PASSWORD="a-password-of-ours").start()
    plain, tls = free_port(), free_port()
    site = re.sub(r"^ *listen \[::\].*\n", "", (ROOT / "deploy/nginx.conf").read_text(), flags=re.M)
    for old, new in (
        ("/etc/letsencrypt/live/hooks.example.com", str(tmp_path)),
        ("listen 80;", f"listen 127.0.0.1:{plain};"),
        ("listen 443 ssl;", f"listen 127.0.0.1:{tls} ssl;"),
        # The other file is for a server block like this one.
        ("    location / {", (ROOT / "deploy/nginx-path.conf").read_text() + "    location / {"),
    ):
        assert old in site
        site = site.replace(old, new)
    site = site.replace("http://127.0.0.1:8000", bridge.url)
    temporary = "".join(
        f"{name}_temp_path {tmp_path}/{name};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (tmp_path / "nginx.conf").write_text(
        f"daemon off; master_process off; error_log {tmp_path}/error.log; "
        f"pid {tmp_path}/pid; events {{}} http {{ access_log off; {temporary} {site} }}"
    )
    words = [program, "-p", str(tmp_path), "-e", f"{tmp_path}/error.log", "-c", "nginx.conf"]
    done = subprocess.run([*words, "-t"], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr

    with requests.Session() as session:
        session.trust_env, session.verify = False, str(certificate[0])

        def serves() -> bool:
            try:
                return session.get(f"https://127.0.0.1:{tls}/healthz", timeout=5).ok
            except requests.ConnectionError:
                return False

        nginx = subprocess.Popen(words)
        try:
            until(serves, "nginx serves")
            for n, path in enumerate(("", "/bridge")):
                address = f"https://127.0.0.1:{tls}{path}/pgyer/{TOKEN}"
                assert session.post(address, data=new_version(n)).json()["status"] == "accepted"
                page = session.get(f"https://127.0.0.1:{tls}{path}/console/")
                assert page.ok and f'"{path}/console/static/console.css' in page.text
            moved = session.get(f"{url_of(plain)}/console/", allow_redirects=False)
            assert (moved.status_code, moved.headers["Location"][:8]) == (301, "https://")
        finally:
            nginx.terminate()
            nginx.wait(PATIENCE)


def test_caddy_takes_its_file() -> None:
    program = installed("caddy")
    file = str(ROOT / "deploy/Caddyfile")
    environ = {"PATH": os.environ["PATH"], "BRIDGE_PUBLIC_URL": "https://hooks.example.com"}
    for words in (["validate", "--adapter", "caddyfile", "--config", file], ["fmt", file]):
        done = subprocess.run(
            [program, *words], env=environ, capture_output=True, text=True, timeout=PATIENCE
        )
        assert done.returncode == 0, done.stderr
    assert done.stdout == (ROOT / "deploy/Caddyfile").read_text()
