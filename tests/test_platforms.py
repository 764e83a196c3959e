"""Platforms: the disks that they empty, and the files that they read."""

import base64
import json
import re
import secrets
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from environments import KEY
from support import ROOT

from bridge.platforms import database_loss
from bridge.settings import load

# Disks


@pytest.mark.parametrize(
    ("environ", "url", "lost"),
    [
        ({}, "sqlite:///bridge.db", ""),
        ({"DYNO": "web.1"}, "sqlite:///bridge.db", "Heroku"),
        ({"DYNO": "web.1"}, "sqlite:////data/bridge.db", "Heroku"),  # it has no volumes
        ({"DYNO": "web.1"}, "postgresql://user:pw@host/name", ""),
        ({"CBR_ENV_ID": "prod-1"}, "sqlite:////data/bridge.db", "WeChat Cloud Run"),
        ({"RENDER": "true"}, "sqlite:///bridge.db", "Render"),
        ({"RENDER": "true"}, "sqlite:////data/sub/bridge.db", ""),
        ({"RENDER": "true"}, "sqlite:////elsewhere/bridge.db", "Render"),
        ({"RAILWAY_SERVICE_ID": "x"}, "sqlite:////vol/bridge.db", "Railway"),
        ({"RAILWAY_SERVICE_ID": "x", "RAILWAY_VOLUME_MOUNT_PATH": "/vol"},
         "sqlite:////vol/bridge.db", ""),
        ({"RAILWAY_SERVICE_ID": "x", "RAILWAY_VOLUME_MOUNT_PATH": "/vol"},
         "sqlite:////volume/bridge.db", "Railway"),
        ({"RAILWAY_TOKEN": "x", "FLY_API_TOKEN": "x"}, "sqlite:///bridge.db", ""),  # a laptop's
        ({"ZEABUR_SERVICE_ID": "x"}, "sqlite:////app/bridge.db", "Zeabur"),
        ({"FLY_MACHINE_ID": "x"}, "sqlite:////data/bridge.db", ""),
        ({"FLY_MACHINE_ID": "x"}, "sqlite:////bridge.db", "Fly"),
    ],
)  # fmt: skip
def test_a_database_on_a_disk_that_the_platform_empties_is_found(
    environ: dict[str, str], url: str, lost: str
) -> None:
    loss = database_loss(url, environ, lambda folder: folder == Path("/data"))
    assert loss.partition(" empties")[0] == lost
    assert not loss or url.rpartition("/")[2] in loss


# Files


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def variables(name: str) -> dict[str, str]:
    """Return the variables of a file with lines such as `NAME=value`."""
    return dict(re.findall(r"^(\w+)=(.*)$", text_of(name), re.MULTILINE))


HEROKU: dict[str, Any] = json.loads(text_of("app.json"))
RENDER: dict[str, Any] = yaml.safe_load(text_of("render.yaml"))
FLY: dict[str, Any] = tomllib.loads(text_of("fly.toml"))
COMPOSE: dict[str, Any] = yaml.safe_load(text_of("compose.yaml"))
ASKED = {"WECOM_BOT_KEY": KEY, "BRIDGE_TOKEN": secrets.token_hex(16)}
POSTGRES = "postgres://user:pw@host:5432/name"
BASE64 = base64.b64encode(b"\xfb\xff" * 16).decode()  # with + and /, as it may well come


def on_heroku() -> dict[str, str]:
    rows = HEROKU["env"].items()
    made = {name: secrets.token_hex(32) for name, row in rows if "generator" in row}
    asked = {name: ASKED[name] for name, row in rows if "generator" not in row}
    return made | asked | {"DATABASE_URL": POSTGRES}


def on_render() -> dict[str, str]:
    environ = {}
    for row in RENDER["services"][0]["envVars"]:
        made = BASE64 if row.get("generateValue") else row.get("value")
        environ[row["key"]] = made or ASKED[row["key"]]
    return environ


def on_a_server() -> dict[str, str]:
    environ = variables("deploy/bridge.env")
    empty = {name for name, value in environ.items() if not value}
    assert empty == {"WECOM_BOT_KEY", "BRIDGE_TOKEN", "BRIDGE_ADMIN_PASSWORD"}
    return environ | dict.fromkeys(empty, secrets.token_hex(16))


@pytest.mark.parametrize(
    "environ",
    [on_heroku(), on_render(), on_a_server(), ASKED | FLY["env"]],
    ids=["heroku", "render", "server", "fly"],
)
def test_the_bridge_starts_with_what_a_platform_asks_and_makes(environ: dict[str, str]) -> None:
    settings, problems = load(environ)
    assert (problems, settings.warnings) == ([], [])


def test_what_render_makes_is_no_token() -> None:
    """The reason why render.yaml asks for it."""
    assert load({**ASKED, "BRIDGE_TOKEN": BASE64})[1]


def test_the_heroku_button_has_what_its_schema_knows() -> None:
    """https://devcenter.heroku.com/articles/app-json-schema"""
    assert HEROKU.keys() <= {
        "name", "description", "keywords", "website", "repository", "logo", "success_url",
        "scripts", "env", "formation", "addons", "buildpacks", "environments", "stack", "image",
    }  # fmt: skip
    assert re.fullmatch(r"[a-zA-Z\-_.]{3,30}", HEROKU["name"])
    for row in HEROKU["env"].values():
        assert row.keys() <= {"description", "value", "required", "generator"}
        assert row.get("generator", "secret") == "secret"
    assert HEROKU["formation"]["web"]["size"] != "eco"  # it sleeps
    assert [addon["plan"].partition(":")[0] for addon in HEROKU["addons"]] == ["heroku-postgresql"]


def test_the_blueprint_has_what_render_requires() -> None:
    """https://render.com/docs/blueprint-spec"""
    assert RENDER.keys() <= {"services", "databases", "envVarGroups", "projects", "previews"}
    [service] = RENDER["services"]
    assert {"type", "name", "runtime", "buildCommand", "startCommand"} <= service.keys()
    assert service["plan"] != "free"  # it sleeps, and has no disk
    assert service["healthCheckPath"] == "/healthz"
    for row in service["envVars"]:
        sources = {"value", "generateValue", "sync", "fromDatabase", "fromService"} & row.keys()
        assert len(sources) == 1, row
    assert {"name", "mountPath", "sizeGB"} == service["disk"].keys()
    assert f"sqlite:///{service['disk']['mountPath']}/" in on_render()["DATABASE_URL"]
    # The way to PostgreSQL that its comments describe.
    other = yaml.safe_load(re.sub(r"# (?= *-? *\w+:)", "", text_of("render.yaml")))
    [database] = other["databases"]
    variable = other["services"][0]["envVars"][-1]
    assert variable["fromDatabase"] == {"name": database["name"], "property": "connectionString"}


def test_the_file_for_fly_keeps_one_machine_awake_that_ends_in_time() -> None:
    """https://fly.io/docs/reference/configuration/"""
    assert FLY.keys() <= {
        "app", "primary_region", "kill_signal", "kill_timeout", "build", "env", "mounts",
        "http_service", "vm",
    }  # fmt: skip
    assert (FLY["kill_signal"], FLY["kill_timeout"]) == ("SIGTERM", "15s")
    [mount] = FLY["mounts"]
    assert {"source", "destination"} <= mount.keys()
    assert mount["destination"] == "/data"
    service = FLY["http_service"]
    assert str(service["internal_port"]) == FLY["env"]["PORT"]
    assert (service["auto_stop_machines"], service["min_machines_running"]) == ("off", 1)
    assert [check["path"] for check in service["checks"]] == ["/healthz"]


def test_compose_has_the_bridge_alone_and_two_profiles() -> None:
    """https://docs.docker.com/reference/compose-file/"""
    assert COMPOSE.keys() == {"services", "volumes"}
    services = COMPOSE["services"]
    profiles = {name: service.get("profiles") for name, service in services.items()}
    assert profiles == {"bridge": None, "postgres": ["postgres"], "caddy": ["caddy"]}
    for service in services.values():
        assert service.keys() <= {
            "build", "image", "profiles", "restart", "env_file", "environment", "ports",
            "volumes", "read_only", "tmpfs", "cap_drop", "security_opt",
        }  # fmt: skip
        for source, _, _ in (volume.partition(":") for volume in service["volumes"]):
            there = (ROOT / source).exists() if source.startswith("./") else None
            assert there or source in COMPOSE["volumes"], source
        for value in service.get("environment", {}).values():
            assert isinstance(value, str)
    assert services["bridge"]["ports"] == ["127.0.0.1:${PORT:-8000}:8000"]
    assert services["caddy"]["environment"]["UPSTREAM"] == "bridge:8000"
    # The same names as in the file that Caddy reads.
    named = set(re.findall(r"\{\$(\w+)", text_of("deploy/Caddyfile")))
    assert named == services["caddy"]["environment"].keys()


def test_every_platform_starts_the_bridge_alike() -> None:
    web = re.findall(r"^web: (.*)$", text_of("Procfile"), re.MULTILINE)
    assert [RENDER["services"][0]["startCommand"]] == web
    assert web[0].split()[-2:] == ["bridge", "serve"]
    assert 'CMD ["bridge", "serve"]' in text_of("Dockerfile").splitlines()
    assert "/bridge serve --bind 127.0.0.1:${PORT}\n" in text_of("deploy/bridge.service")


# Pages

ROWS = {
    "": ["Database", "Sleep", "Health check", "Variables", "Logs", "Tried"],
    "zh-CN/": ["数据库", "休眠", "健康检查", "变量", "日志", "试过吗"],
}
PAGES = sorted(path.name for path in (ROOT / "docs/deploy").glob("*.md"))
PLATFORMS = [name for name in PAGES if name != "README.md"]


def page(language: str, name: str) -> str:
    return text_of(f"docs/{language}deploy/{name}")


def test_both_languages_have_the_same_pages_and_the_index_names_each() -> None:
    assert sorted(path.name for path in (ROOT / "docs/zh-CN/deploy").iterdir()) == PAGES
    for language in ROWS:
        named = re.findall(r"^\| \[[^]]+\]\((\S+\.md)\)", page(language, "README.md"), re.MULTILINE)
        assert sorted(named) == PLATFORMS


@pytest.mark.parametrize("name", PLATFORMS)
def test_a_page_says_the_same_six_things_and_has_the_same_steps(name: str) -> None:
    texts = [page(language, name) for language in ROWS]
    for text, rows in zip(texts, ROWS.values(), strict=True):
        assert re.findall(r"^\| ([^|`]+?) \| \S", text, re.MULTILINE)[1:7] == rows
        assert "/healthz" in text
    fence = re.compile(r"^ *```\w*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
    commands = [[re.sub(r"\s+# .*", "", code) for code in fence.findall(text)] for text in texts]
    assert commands[0] == commands[1]
    shapes = [re.findall(r"^ *(#+|\d+\.|-|\|) ", fence.sub("", text), re.M) for text in texts]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("language", ROWS)
def test_the_variables_that_a_page_names_are_known(language: str) -> None:
    texts = "".join(page(language, name) for name in PAGES)
    named = set(re.findall(r"\b(?:BRIDGE|WECOM|PGYER)_[A-Z_]+\b", texts))
    problems = load({**ASKED, **dict.fromkeys(named, "")})[1]
    assert named and not [problem for problem in problems if "is not a variable" in problem]
