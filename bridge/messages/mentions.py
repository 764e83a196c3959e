"""Whom a message mentions, and how each msgtype can (document 91770); pure.

A userid can be mentioned by `<@userid>` in the content. `@all` and mobile numbers need lists that
only a text message has. For whom the main message cannot mention, a text message follows.
"""

import re
from collections.abc import Sequence

from bridge.messages.markdown import defuse, shorten, size
from bridge.model import Message
from bridge.msgtypes import MSGTYPES

_MAX_INLINE = 1000  # bytes; some 40 people
_MAX_TITLE = 200  # bytes of it in the message that follows


def inline_mentions(msgtype: str, names: Sequence[str]) -> str:
    """Return the mentions for the content itself, as many as leave it room."""
    users = dict.fromkeys(name for name in names if not needs_list(name))
    mentions = [f"<@{user}>" for user in users] if MSGTYPES[msgtype].inline_mentions else []
    while size(" ".join(mentions)) > _MAX_INLINE:
        mentions.pop()
    return " ".join(mentions)


def follow_up(msgtype: str, names: Sequence[str], title: str) -> list[Message]:
    """Return the text message that mentions whom the main message cannot, if there is anyone."""
    kind = MSGTYPES[msgtype]
    missing = [name for name in names if needs_list(name) or not kind.inline_mentions]
    if kind.mention_lists or not missing:
        return []
    content = defuse(shorten(title, _MAX_TITLE), "text")
    return [Message("text", {"content": content, **mention_lists(missing, users=True)})]


def mention_lists(names: Sequence[str], users: bool = False) -> dict[str, list[str]]:
    """Return a text message's lists: `@all` and mobiles, and with `users` the userids too."""
    mobiles = [name for name in names if name != "@all" and needs_list(name)]
    others = [name for name in names if name == "@all" or (users and not needs_list(name))]
    lists = {"mentioned_list": others, "mentioned_mobile_list": mobiles}
    return {key: list(dict.fromkeys(found)) for key, found in lists.items() if found}


def needs_list(name: str) -> bool:
    """Return whether a mention is `@all` or a mobile number, which cannot be mentioned inline."""
    return name == "@all" or re.fullmatch(r"1[3-9]\d{9}", name) is not None
