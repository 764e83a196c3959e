"""Environments for the tests of the settings, and what was read from them."""

from bridge.settings import Settings, load

KEY = "693a91f6-7xxx-4bc4-97a0-0ec2sifa5aaa"
TOKEN = "a-token-that-nobody-guesses"
WECOM = "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key="
NEEDED = {"WECOM_BOT_KEY": KEY, "BRIDGE_TOKEN": TOKEN}


def good(**environ: str) -> Settings:
    settings, problems = load({**NEEDED, **environ})
    assert problems == []
    return settings


def problems(**environ: str) -> list[str]:
    return load({**NEEDED, **environ})[1]


def problem(**environ: str) -> str:
    [only] = problems(**environ)
    return only


def webhooks(settings: Settings) -> dict[str, str]:
    assert all(name == bot.name for name, bot in settings.bots.items())
    return {name: bot.webhook.reveal() for name, bot in settings.bots.items()}
